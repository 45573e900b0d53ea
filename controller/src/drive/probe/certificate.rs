//! Looks at a certificate: for whom it is, and for how long. Who signed it is not looked at here, because many town
//! halls have an authority of their own; a `check` of `http` with `https://` verifies that.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use weiche_agent::protocol::{Fault, FaultCode};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::drive::clock::now_ms;

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// Asks a TLS server for its certificate; it must be for `name`, or else for the endpoint's own name.
///
/// # Errors
/// Those of the connection, and what is wrong with the certificate.
pub(super) async fn of_server(endpoint: &str, name: Option<&str>, days_left: u32) -> Result<(), Fault> {
    let stream = TcpStream::connect(endpoint).await;
    let stream = stream.map_err(|e| Fault::io(format_args!("connect to {endpoint}"), &e))?;
    of_stream(stream, endpoint, name, days_left).await
}

/// The same over a connection to it.
///
/// # Errors
/// What is wrong with the certificate, or with the conversation.
pub(super) async fn of_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &str,
    name: Option<&str>,
    days_left: u32,
) -> Result<(), Fault> {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    let name = name.unwrap_or_else(|| host.trim_start_matches('[').trim_end_matches(']'));
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(endpoint, &e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    let server = server_name(name)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(server, stream).await.map_err(|e| refused(endpoint, &e.to_string()))?;
    let sent = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let leaf = sent.ok_or_else(|| refused(endpoint, "the server sent none"))?;
    look(endpoint, leaf, Some(name), days_left)
}

/// Looks at the first certificate of a PEM text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn of_text(path: &str, pem: &str, name: Option<&str>, days_left: u32) -> Result<(), Fault> {
    let first = CertificateDer::from_pem_slice(pem.as_bytes());
    let leaf = first.map_err(|e| refused(path, &format!("no certificate in PEM form: {e}")))?;
    look(path, &leaf, name, days_left)
}

fn look(place: &str, leaf: &CertificateDer<'_>, name: Option<&str>, days_left: u32) -> Result<(), Fault> {
    if let Some(name) = name {
        let parsed = ParsedCertificate::try_from(leaf).map_err(|e| refused(place, &e.to_string()))?;
        rustls::client::verify_server_name(&parsed, &server_name(name)?)
            .map_err(|e| refused(place, &format!("it is not for {name}: {e}")))?;
    }
    let parsed = Certificate::from_der(leaf).map_err(|e| refused(place, &e.to_string()))?;
    let validity = parsed.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let (begin, end, now) = (seconds(validity.not_before), seconds(validity.not_after), now_ms() / 1000);
    if now < begin {
        return Err(refused(place, &format!("it is not valid before {}", validity.not_before)));
    }
    let left = (end - now).div_euclid(DAY);
    if end <= now || left < i64::from(days_left) {
        let until = format!("it is valid until {}, {left} day(s), expected {days_left}", validity.not_after);
        return Err(refused(place, &until));
    }
    Ok(())
}

pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, Fault> {
    let wrong = |_| Fault::new(FaultCode::Invalid, format!("`{name}` is neither an IP address nor a DNS name"));
    ServerName::try_from(name.to_owned()).map_err(wrong)
}

fn refused(place: &str, why: &str) -> Fault {
    Fault::new(FaultCode::CommandFailed, why).within(format!("look at the certificate of {place}"))
}

/// Takes any certificate of a server that has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
