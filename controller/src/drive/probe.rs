//! Looks from outside (tcp, http) or on the host (command), again and again until it succeeds or time is up.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use weiche_agent::protocol::{Fault, FaultCode};

use super::pool::Held;
use super::shared::as_fault;
use crate::plan::procedure::{Check, Probe};

/// One attempt takes at most this long.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Probes until success.
///
/// # Errors
/// The last attempt's error once `within` has passed.
pub(super) async fn check<'p, F>(check: &Check, hold: impl Fn() -> F) -> Result<(), Fault>
where
    F: Future<Output = Result<(Held, tokio::sync::SemaphorePermit<'p>), Fault>>,
{
    let end = Instant::now() + check.within;
    loop {
        let attempt = async {
            match &check.probe {
                Probe::Tcp(address) => tcp(address).await,
                Probe::Http { url, status } => http(url, *status).await,
                Probe::Command(argv) => {
                    let (mut held, _permit) = hold().await?;
                    let session = held.session().await.map_err(|e| as_fault(e.into()))?;
                    let (ok, detail) = session.check(argv.clone(), ATTEMPT).await.map_err(|e| as_fault(e.into()))?;
                    if ok { Ok(()) } else { Err(Fault::new(FaultCode::CommandFailed, detail).within(argv.join(" "))) }
                }
            }
        };
        let Err(fault) = attempt.await else { return Ok(()) };
        if Instant::now() + PAUSE >= end {
            return Err(fault.within(format!("the check did not succeed within {:?}", check.within)));
        }
        sleep(PAUSE).await;
    }
}

async fn tcp(address: &str) -> Result<(), Fault> {
    let attempt = timeout(ATTEMPT, TcpStream::connect(address)).await;
    let late = |_| Fault::new(FaultCode::Timeout, format!("{address} did not answer"));
    attempt.map_err(late)?.map(drop).map_err(|e| Fault::io(format_args!("connect to {address}"), &e))
}

async fn http(url: &str, status: u16) -> Result<(), Fault> {
    // The process-wide provider may be set already; either way there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fault = |e: reqwest::Error| Fault::new(FaultCode::Io, e.without_url().to_string()).within(format!("GET {url}"));
    let client = reqwest::Client::builder()
        .timeout(ATTEMPT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(fault)?;
    let answer = client.get(url).send().await.map_err(fault)?.status().as_u16();
    if answer == status {
        return Ok(());
    }
    Err(Fault::new(FaultCode::CommandFailed, format!("GET {url} answered {answer}, expected {status}")))
}
