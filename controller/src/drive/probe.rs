//! Looks from outside (tcp, http, dns, certificate) or on the host (unit, postgres, command, a certificate's file),
//! again and again until it succeeds or time is up.

mod certificate;
mod dns;
mod open_files;
mod state;
pub(super) mod through;

use std::sync::OnceLock;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use weiche_agent::protocol::{Fault, FaultCode};

use super::clock::now_ms;
use super::pool::Held;
use super::session::Session;
use super::shared::{as_fault, chain};
use crate::input::scalar::Period;
use crate::plan::procedure::{Check, Probe};

/// One attempt takes at most this long.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Probes until success; what is to be told of it, if anything.
///
/// # Errors
/// The last attempt's error once `within` has passed.
pub(super) async fn check<'p, F>(check: &Check, hold: impl Fn() -> F) -> Result<Option<String>, Fault>
where
    F: Future<Output = Result<(Held, tokio::sync::SemaphorePermit<'p>), Fault>>,
{
    let end = Instant::now() + check.within;
    loop {
        let attempt = async {
            if !check.probe.on_host() {
                return once(&check.probe).await.map(|()| None);
            }
            let (mut held, _permit) = hold().await?;
            let session = held.session().await.map_err(|e| as_fault(e.into()))?;
            on_host(&check.probe, session).await
        };
        let fault = match attempt.await {
            Ok(told) => return Ok(told),
            Err(fault) => fault,
        };
        if Instant::now() + check.every >= end {
            return Err(fault.within(format!("the check did not succeed within {}", Period(check.within))));
        }
        sleep(check.every).await;
    }
}

/// Looks once, from outside.
///
/// # Errors
/// What was wrong; `Timeout` if there is no answer for five seconds.
pub(super) async fn once(probe: &Probe) -> Result<(), Fault> {
    let late = |_| Fault::new(FaultCode::Timeout, format!("no answer within {ATTEMPT:?}"));
    timeout(ATTEMPT, from_here(probe)).await.unwrap_or_else(|e| Err(late(e)))
}

async fn from_here(probe: &Probe) -> Result<(), Fault> {
    match probe {
        Probe::Tcp(address) => tcp(address).await,
        Probe::Http { url, status } => http(url, *status).await,
        Probe::Dns { name, r#type, server, expect } => {
            dns::look(name, *r#type, server.as_deref(), expect, ATTEMPT).await
        }
        Probe::Certificate { endpoint, name, days_left } => {
            certificate::of_server(endpoint, name.as_deref(), *days_left).await
        }
        Probe::CertificateFile { .. } | Probe::Unit(_) | Probe::Postgres { .. } | Probe::Command(_) => Ok(()),
        Probe::Disk { .. } | Probe::Fresh { .. } | Probe::Clock { .. } | Probe::OpenFiles { .. } => Ok(()),
    }
}

/// Looks once, on the host.
async fn on_host(probe: &Probe, session: &mut Session) -> Result<Option<String>, Fault> {
    let refused = |argv: &[String], detail| Fault::new(FaultCode::CommandFailed, detail).within(argv.join(" "));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (argv, expect) = match probe {
        Probe::CertificateFile { path, name, days_left } => {
            let text = session.read(path, ATTEMPT).await.map_err(|e| as_fault(e.into()))?;
            let missing = || Fault::new(FaultCode::NotFound, format!("{path} cannot be read on the host"));
            return certificate::of_text(path, &text.ok_or_else(missing)?, name.as_deref(), *days_left).map(|()| None);
        }
        Probe::OpenFiles { most } => return open_files::look(*most, session).await,
        Probe::Unit(unit) => (words(&["systemctl", "is-active", unit]), None),
        // Without psqlrc, unaligned, tuples only; it never asks for a password.
        Probe::Postgres { database, query, expect } => {
            let psql = ["runuser", "-u", "postgres", "--", "psql", "-X", "-tA", "-w", "-d", database, "-c", query];
            (words(&psql), expect.as_deref())
        }
        Probe::Command(argv) => (argv.clone(), None),
        Probe::Disk { .. } | Probe::Fresh { .. } | Probe::Clock { .. } => {
            (state::argv(probe).unwrap_or_default(), None)
        }
        Probe::Tcp(_) | Probe::Http { .. } | Probe::Dns { .. } | Probe::Certificate { .. } => return Ok(None),
    };
    let asked = now_ms();
    let (ok, detail, output) = session.check(argv.clone(), ATTEMPT).await.map_err(|e| as_fault(e.into()))?;
    match expect {
        _ if !ok => Err(refused(&argv, detail)),
        Some(expect) if output.trim() != expect.trim() => {
            Err(refused(&argv, format!("the answer is `{}`, expected `{}`", output.trim(), expect.trim())))
        }
        _ => state::judge(probe, &output, (asked, now_ms())).map(|()| None),
    }
}

async fn tcp(address: &str) -> Result<(), Fault> {
    let attempt = TcpStream::connect(address).await;
    attempt.map(drop).map_err(|e| Fault::io(format_args!("connect to {address}"), &e))
}

async fn http(url: &str, status: u16) -> Result<(), Fault> {
    let fault = |e: reqwest::Error| Fault::new(FaultCode::Io, chain(&e.without_url())).within(format!("GET {url}"));
    let answer = client().map_err(fault)?.get(url).send().await.map_err(fault)?.status().as_u16();
    if answer == status {
        return Ok(());
    }
    Err(Fault::new(FaultCode::CommandFailed, format!("GET {url} answered {answer}, expected {status}")))
}

/// Made once, for it reads the certificates of all authorities. It keeps no connection: who looks comes anew.
static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();

fn client() -> reqwest::Result<&'static reqwest::Client> {
    if let Some(made) = CLIENT.get() {
        return Ok(made);
    }
    // The process-wide provider may be set already; either way there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().timeout(ATTEMPT).redirect(reqwest::redirect::Policy::none());
    let made = builder.pool_max_idle_per_host(0).no_proxy().build()?;
    Ok(CLIENT.get_or_init(|| made))
}
