//! What users would reach on a sandbox host: a listener that is there exactly while the simulated unit is running, and
//! answers HTTP with a file of the host.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How soon a unit that was started or stopped is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// How long one client may take.
const CLIENT: Duration = Duration::from_secs(2);

/// A unit's listener.
#[derive(Clone, Debug)]
pub struct Service {
    /// The sandbox host's root directory.
    pub root: PathBuf,
    /// The unit, e.g. `nginx.service`.
    pub unit: &'static str,
    /// TCP port on the loopback.
    pub port: u16,
    /// What is served, relative to the root.
    pub page: &'static str,
}

impl Service {
    /// Serves for ever; stops with its task.
    pub async fn serve(self) {
        loop {
            while !self.running().await {
                sleep(LOOK).await;
            }
            let Ok(listener) = TcpListener::bind(("127.0.0.1", self.port)).await else {
                sleep(LOOK).await;
                continue;
            };
            let mut clients = JoinSet::new();
            while self.running().await {
                if let Ok(Ok((stream, _))) = timeout(LOOK, listener.accept()).await {
                    let page = self.root.join(self.page);
                    clients.spawn(timeout(CLIENT, answer(stream, page)));
                }
            }
        }
    }

    /// Asks the simulated service manager's record.
    async fn running(&self) -> bool {
        let Ok(text) = tokio::fs::read(self.root.join(".weiche-sandbox.json")).await else { return false };
        let Ok(world) = serde_json::from_slice::<serde_json::Value>(&text) else { return false };
        world["units"][self.unit]["active"] == "active"
    }
}

async fn answer(mut stream: TcpStream, page: PathBuf) {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await;
    let body = tokio::fs::read(page).await.unwrap_or_default();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
}
