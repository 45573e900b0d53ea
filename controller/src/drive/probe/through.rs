//! Looks from another host, through a tunnel to it: the same looks, over a connection that the host makes.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use weiche_agent::protocol::{Fault, FaultCode};

use super::certificate::{self, server_name};
use super::{ATTEMPT, client};
use crate::drive::chain;
use crate::drive::ssh::{NoStream, Stream, Tunnel};
use crate::input::target::HostName;
use crate::plan::procedure::Probe;

/// Why a look was not answered as it should have been.
#[derive(Debug, PartialEq)]
pub(in crate::drive) enum Missed {
    /// This is wrong with the service, if the line to the host that looks is as it should be.
    Wrong(Fault),
    /// Nothing was looked at, because the host that looks does not let us.
    Refused(Fault),
    /// The line to the host that looks is cut.
    Cut,
}

impl From<Fault> for Missed {
    fn from(fault: Fault) -> Missed {
        Missed::Wrong(fault)
    }
}

/// Looks once from `vantage`, at the end of this tunnel. `kept` is dropped once the host has answered.
///
/// # Errors
/// See [`Missed`]; no answer for five seconds is wrong with the service.
pub(in crate::drive) async fn once(
    probe: &Probe,
    vantage: &HostName,
    tunnel: &Tunnel,
    kept: impl Send + 'static,
) -> Result<(), Missed> {
    let way = Way { vantage, tunnel };
    let late = |_| Missed::Wrong(Fault::new(FaultCode::Timeout, format!("no answer within {ATTEMPT:?}")));
    timeout(ATTEMPT, way.look(probe, kept)).await.unwrap_or_else(|e| Err(late(e)))
}

struct Way<'a> {
    vantage: &'a HostName,
    tunnel: &'a Tunnel,
}

impl Way<'_> {
    async fn look(&self, probe: &Probe, kept: impl Send + 'static) -> Result<(), Missed> {
        match probe {
            Probe::Tcp(endpoint) => self.connect(endpoint, kept).await.map(drop),
            Probe::Http { url, status } => self.http(url, *status, kept).await,
            Probe::Certificate { endpoint, name, days_left } => {
                let stream = self.connect(endpoint, kept).await?;
                Ok(certificate::of_stream(stream, endpoint, name.as_deref(), *days_left).await?)
            }
            // A plan does not ask for it.
            Probe::Dns { .. }
            | Probe::CertificateFile { .. }
            | Probe::Unit(_)
            | Probe::Postgres { .. }
            | Probe::Disk { .. }
            | Probe::Fresh { .. }
            | Probe::Clock { .. }
            | Probe::OpenFiles { .. }
            | Probe::Command(_) => {
                let text = format!("`{probe}` is not looked at from {}", self.vantage);
                Err(Missed::Refused(Fault::new(FaultCode::Unsupported, text)))
            }
        }
    }

    async fn connect(&self, endpoint: &str, kept: impl Send + 'static) -> Result<Stream, Missed> {
        let parts = endpoint.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let (host, port) =
            parts.ok_or_else(|| Fault::new(FaultCode::Invalid, format!("`{endpoint}` is no host:port")))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.tunnel.connect(host, port, kept).await.map_err(|missed| match missed {
            NoStream::Failed => {
                Fault::new(FaultCode::Io, format!("{} gets no connection to {endpoint}", self.vantage)).into()
            }
            NoStream::Refused(why) => {
                let text = format!("the sshd of {} makes no connection to {endpoint}: {why}", self.vantage);
                Missed::Refused(Fault::new(FaultCode::Denied, text).hint(
                    "its sshd_config needs `AllowTcpForwarding local` (or `yes`) and no `PermitOpen` in the way, the key \
                     in authorized_keys neither `restrict` nor `no-port-forwarding`",
                ))
            }
            NoStream::Cut => Missed::Cut,
        })
    }

    /// What the controller asks for, as it asks for it: no redirect is followed.
    async fn http(&self, url: &str, status: u16, kept: impl Send + 'static) -> Result<(), Missed> {
        let place = format!("GET {url}");
        let wrong = |text: String| Fault::new(FaultCode::Io, text).within(place.clone());
        let asked = client().and_then(|client| client.get(url).build());
        let asked = asked.map_err(|e| wrong(chain(&e.without_url())))?;
        let (url, host) = (asked.url(), asked.url().host_str().unwrap_or_default());
        let port = url.port_or_known_default().unwrap_or(80);
        let stream = self.connect(&format!("{host}:{port}"), kept).await?;
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = hyper::Request::new(String::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = target.parse::<Uri>().map_err(|e| wrong(e.to_string()))?;
        *request.headers_mut() = asked.headers().clone();
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        request.headers_mut().insert(HOST, HeaderValue::try_from(authority).map_err(|e| wrong(e.to_string()))?);
        let answer = if url.scheme() == "https" {
            let name = server_name(host.trim_start_matches('[').trim_end_matches(']'))?;
            let tls = TlsConnector::from(tls().map_err(|e| wrong(e.to_string()))?);
            let stream = tls.connect(name, stream).await.map_err(|e| wrong(e.to_string()))?;
            exchange(stream, request).await
        } else {
            exchange(stream, request).await
        };
        let answer = answer.map_err(|e| wrong(chain(&e)))?;
        if answer == status {
            return Ok(());
        }
        Err(Fault::new(FaultCode::CommandFailed, format!("{place} answered {answer}, expected {status}")).into())
    }
}

/// One request, and the status that it is answered with.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: hyper::Request<String>,
) -> hyper::Result<u16> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = pin!(connection);
    let driven = async {
        // An end of the connection without an answer is told to whoever waits for the answer.
        let _ = connection.as_mut().await;
        pending::<Infallible>().await
    };
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status().as_u16()),
        never = driven => match never {},
    }
}

/// Made once, for it reads the certificates of all authorities: the system's, as for looks from the controller.
static TLS: OnceLock<Arc<ClientConfig>> = OnceLock::new();

fn tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    if let Some(made) = TLS.get() {
        return Ok(Arc::clone(made));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    Ok(Arc::clone(TLS.get_or_init(|| Arc::new(config))))
}
