//! Wakes a host that is switched off: another one on its site sends the magic packet.

use std::time::Duration;

use super::shared::Shared;
use crate::input::target::HostName;

/// How long another host may take to send the packet.
const SEND: Duration = Duration::from_secs(30);

/// How long a host is looked for once it was woken.
pub(super) const UP: Duration = Duration::from_secs(120);

/// Wakes the host; `false` if its network card is not known or nobody near can be reached.
pub(super) async fn wake(shared: &Shared, host: &HostName) -> bool {
    let Some(wake) = shared.pool.wake(host) else { return false };
    for waker in &wake.through {
        if let Ok(Some(packets)) = tokio::time::timeout(SEND, send(shared, waker, &wake.mac)).await
            && packets > 0
        {
            tracing::info!(%host, by = %waker, "woken");
            return true;
        }
    }
    false
}

async fn send(shared: &Shared, waker: &HostName, mac: &str) -> Option<u32> {
    let (mut held, _permit) = shared.pool.hold(waker).await?;
    held.session().await.ok()?.wake(mac, SEND).await.ok()
}
