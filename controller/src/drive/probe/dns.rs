//! Asks the DNS, without a cache and without `/etc/hosts`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr;
use weiche_agent::protocol::{Fault, FaultCode};

use crate::input::probe::RecordType;

/// Asks for the records of a name and compares them with what is expected, if that is anything.
///
/// # Errors
/// What the server says, or what it answers instead.
pub(super) async fn look(
    name: &str,
    kind: RecordType,
    server: Option<&str>,
    expect: &[String],
    within: Duration,
) -> Result<(), Fault> {
    let asked = format!("ask {} for {} {name}", server.unwrap_or("the system's name servers"), kind.as_str());
    let fault = |text: String| Fault::new(FaultCode::CommandFailed, text).within(asked.clone());
    let io = |e: hickory_resolver::net::NetError| fault(e.to_string());
    let mut builder = match server {
        Some(server) => {
            let servers = vec![name_server(server).ok_or_else(|| fault(format!("`{server}` is no IP address")))?];
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
        None => Resolver::builder_tokio().map_err(io)?,
    };
    let options = builder.options_mut();
    // The step's own repetition is the only one, and nothing is remembered in between.
    (options.attempts, options.timeout, options.cache_size) = (0, within, 0);
    options.use_hosts_file = ResolveHosts::Never;
    let resolver = builder.build().map_err(io)?;
    let wanted = rr::RecordType::from_str(kind.as_str()).map_err(|e| fault(e.to_string()))?;
    let full = format!("{}.", name.trim_end_matches('.'));
    let found = resolver.lookup(full, wanted).await.map_err(io)?;
    let answers = found.answers().iter().filter(|record| record.record_type() == wanted);
    let mut answers: Vec<String> = answers.map(|record| plain(&record.data.to_string())).collect();
    answers.sort();
    if answers.is_empty() {
        return Err(fault("there is no such record".into()));
    }
    let mut expect: Vec<String> = expect.iter().map(|value| plain(value)).collect();
    expect.sort();
    if expect.is_empty() || answers == expect {
        return Ok(());
    }
    Err(fault(format!("the answer is {}, expected {}", answers.join(", "), expect.join(", "))))
}

/// Names are compared without their last dot and in small letters.
fn plain(value: &str) -> String {
    let plain = value.trim().trim_end_matches('.').to_ascii_lowercase();
    // The same address can be written in several ways.
    plain.parse::<IpAddr>().map_or(plain, |address| address.to_string())
}

/// UDP, and TCP for answers that do not fit.
fn name_server(text: &str) -> Option<NameServerConfig> {
    let address = text.parse::<SocketAddr>().or_else(|_| text.parse().map(|ip: IpAddr| (ip, 53).into())).ok()?;
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    Some(NameServerConfig::new(address.ip(), true, connections.into()))
}
