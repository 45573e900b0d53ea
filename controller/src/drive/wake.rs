//! Wakes a host that is switched off: another one on its site sends the magic packet.

use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::input::target::HostName;

/// How long another host may take to send the packet.
const SEND: Duration = Duration::from_secs(30);

/// How long a host is looked for once it was woken.
const UP: Duration = Duration::from_secs(120);

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(3);

/// Wakes the host, if its network card is known and somebody near can be reached; `true` once it answers.
pub(super) async fn wake(shared: &Shared, host: &HostName) -> bool {
    let Some(wake) = shared.pool.wake(host) else { return false };
    let mut sent = false;
    for waker in &wake.through {
        match tokio::time::timeout(SEND, send(shared, waker, &wake.mac)).await {
            Ok(Some(packets)) if packets > 0 => {
                tracing::info!(%host, by = %waker, "woken");
                sent = true;
                break;
            }
            _ => {}
        }
    }
    let begin = Instant::now();
    while sent && begin.elapsed() < UP {
        // The connection is let go in between: others work meanwhile.
        if let Some((mut held, _permit)) = shared.pool.hold(host).await
            && held.session().await.is_ok()
        {
            return true;
        }
        tokio::time::sleep(AGAIN).await;
    }
    false
}

async fn send(shared: &Shared, waker: &HostName, mac: &str) -> Option<u32> {
    let (mut held, _permit) = shared.pool.hold(waker).await?;
    held.session().await.ok()?.wake(mac, SEND).await.ok()
}
