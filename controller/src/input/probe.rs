//! Ways to look, as people write them: in services and in the steps `check` and `wait_for`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::room::Room;
use super::scalar::{Period, address_problem, endpoint_problem, path_problem};

/// The ways to look, for messages.
pub const WAYS: &str = "one of `tcp`, `http`, `dns`, `certificate`, `unit`, `postgres`, `disk`, `fresh`, `clock`, `open_files` and \
     `command`";

/// Days that a certificate has to be valid, unless asked otherwise: time to get another one.
const DAYS_LEFT: u32 = 14;

/// A way to look: exactly one of `tcp`, `http`, `dns`, `certificate`, `unit`, `postgres`, `disk`, `fresh`, `clock`, `open_files`
/// and `command`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeForm {
    /// `host:port` to which a TCP connection from the controller succeeds.
    #[serde(default)]
    pub tcp: Option<String>,
    /// A URL that answers a GET from the controller.
    #[serde(default)]
    pub http: Option<String>,
    /// The status it answers with; 200 if not given.
    #[serde(default)]
    pub status: Option<u16>,
    /// A name that is found in the DNS, asked from the controller.
    #[serde(default)]
    pub dns: Option<DnsForm>,
    /// A certificate that is still valid for some time.
    #[serde(default)]
    pub certificate: Option<CertificateForm>,
    /// A systemd unit that is active on the host; in playbooks only.
    #[serde(default)]
    pub unit: Option<String>,
    /// A PostgreSQL that answers on the host; in playbooks only.
    #[serde(default)]
    pub postgres: Option<PostgresForm>,
    /// A file system of the host that has room; in playbooks only.
    #[serde(default)]
    pub disk: Option<DiskForm>,
    /// A file of the host, or one below a directory, that is young, such as a backup; in playbooks only.
    #[serde(default)]
    pub fresh: Option<FreshForm>,
    /// A clock of the host that agrees with the controller's; in playbooks only.
    #[serde(default)]
    pub clock: Option<ClockForm>,
    /// Files that users have open on shares of the host (Samba) are told, before they lose them; in playbooks only.
    #[serde(default)]
    pub open_files: Option<OpenFilesForm>,
    /// Program and arguments on the host, which end with status 0; in playbooks only.
    #[serde(default)]
    pub command: Option<Vec<String>>,
}

/// A question to the DNS.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsForm {
    /// The name in full.
    pub name: String,
    /// Type of the records asked for.
    #[serde(default)]
    pub r#type: RecordType,
    /// IP address of the server that is asked, perhaps with a port; those of the controller's system if not given.
    #[serde(default)]
    pub server: Option<String>,
    /// A value or a list of values: there must be just these, in any order. If not given, any answer will do.
    #[serde(default)]
    pub expect: Option<Values>,
}

/// Types of records (RFC 1035, RFC 3596, RFC 2782).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
pub enum RecordType {
    /// IPv4 addresses.
    #[default]
    A,
    /// IPv6 addresses.
    #[serde(rename = "AAAA")]
    Aaaa,
    /// The name that this one is an alias of.
    #[serde(rename = "CNAME")]
    Cname,
    /// Mail servers: `10 mail.example`.
    #[serde(rename = "MX")]
    Mx,
    /// Name servers.
    #[serde(rename = "NS")]
    Ns,
    /// The name of an address.
    #[serde(rename = "PTR")]
    Ptr,
    /// Servers of a service: `0 5 5060 sip.example`.
    #[serde(rename = "SRV")]
    Srv,
    /// Texts.
    #[serde(rename = "TXT")]
    Txt,
}

impl RecordType {
    /// As in zone files.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
            RecordType::Cname => "CNAME",
            RecordType::Mx => "MX",
            RecordType::Ns => "NS",
            RecordType::Ptr => "PTR",
            RecordType::Srv => "SRV",
            RecordType::Txt => "TXT",
        }
    }
}

/// A value or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Values {
    /// As a list.
    pub fn list(self) -> Vec<String> {
        match self {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        }
    }
}

/// A certificate: of a TLS server, or in a file on the host.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateForm {
    /// `host:port` of a TLS server, asked from the controller.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// A PEM file on the host; its first certificate counts.
    #[serde(default)]
    pub path: Option<String>,
    /// The name that it must be for; that of the endpoint if not given.
    #[serde(default)]
    pub name: Option<String>,
    /// How many days it must still be valid.
    #[serde(default = "CertificateForm::days")]
    pub days_left: u32,
}

impl CertificateForm {
    fn days() -> u32 {
        DAYS_LEFT
    }
}

/// A question to the PostgreSQL on the host, asked as its user `postgres` through psql(1).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresForm {
    /// The database; `postgres` if not given.
    #[serde(default)]
    pub database: Option<String>,
    /// What is asked, in SQL; it must not change anything. `SELECT 1` if not given.
    #[serde(default)]
    pub query: Option<String>,
    /// What is answered, columns separated by `|`; if not given, any answer will do.
    #[serde(default)]
    pub expect: Option<String>,
}

/// Room on a file system, for programs that are not root's.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskForm {
    /// A path on it.
    pub path: String,
    /// At least so much: `20 GiB`, or a share of it, `5%`.
    pub free: Room,
}

/// The age of files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshForm {
    /// A file, or a directory of which one file will do.
    pub path: String,
    /// It was written within this time, and is not empty.
    pub within: Period,
}

/// The time that a host tells.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockForm {
    /// It differs by no more than this.
    pub within: Period,
}

/// Files that users have open.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenFilesForm {
    /// So many may be open; if not given, they are only told.
    #[serde(default)]
    pub most: Option<u32>,
}

impl ProbeForm {
    /// Says what is wrong with it.
    pub fn problem(&self) -> Option<String> {
        let given = [
            self.tcp.is_some(),
            self.http.is_some(),
            self.dns.is_some(),
            self.certificate.is_some(),
            self.unit.is_some(),
            self.postgres.is_some(),
            self.disk.is_some(),
            self.fresh.is_some(),
            self.clock.is_some(),
            self.open_files.is_some(),
            self.command.is_some(),
        ];
        match given.iter().filter(|given| **given).count() {
            0 => return Some(format!("say what is looked at: {WAYS}")),
            1 => {}
            _ => return Some(format!("give only {WAYS}")),
        }
        if self.status.is_some() && self.http.is_none() {
            return Some("`status` belongs to `http`".into());
        }
        let none = || None;
        None.or_else(|| self.tcp.as_deref().map_or_else(none, endpoint_problem))
            .or_else(|| self.http.as_deref().map_or_else(none, http_problem))
            .or_else(|| self.dns.as_ref().map_or_else(none, dns_problem))
            .or_else(|| self.certificate.as_ref().map_or_else(none, certificate_problem))
            .or_else(|| self.unit.as_deref().map_or_else(none, unit_problem))
            .or_else(|| self.postgres.as_ref().map_or_else(none, postgres_problem))
            .or_else(|| self.disk.as_ref().map_or_else(none, |form| path_problem(&form.path)))
            .or_else(|| self.fresh.as_ref().map_or_else(none, |form| path_problem(&form.path)))
            .or_else(|| {
                let argv = self.command.as_ref()?;
                argv.first().is_none_or(String::is_empty).then(|| "`command` needs a program".into())
            })
    }

    /// Whether it looks on the host itself, not from outside.
    pub fn on_host(&self) -> bool {
        let file = self.certificate.as_ref().is_some_and(|certificate| certificate.path.is_some());
        let state = [self.disk.is_some(), self.fresh.is_some(), self.clock.is_some(), self.open_files.is_some()]
            .contains(&true);
        self.command.is_some() || self.unit.is_some() || self.postgres.is_some() || state || file
    }
}

fn http_problem(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let good = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    (!good).then(|| format!("`{url}` is no URL with `http://` or `https://`"))
}

fn dns_problem(form: &DnsForm) -> Option<String> {
    // Names of services begin with an underscore (RFC 2782).
    let plain: String = form.name.replace('_', "a");
    if address_problem(&plain).is_some() || plain.parse::<std::net::IpAddr>().is_ok() {
        return Some(format!("`{}` is no DNS name", form.name));
    }
    let server = form.server.as_deref()?;
    let good = server.parse::<std::net::IpAddr>().is_ok() || server.parse::<std::net::SocketAddr>().is_ok();
    (!good).then(|| format!("`server` is an IP address, perhaps with a port, not `{server}`"))
}

fn certificate_problem(form: &CertificateForm) -> Option<String> {
    let name = form.name.as_deref().and_then(address_problem);
    match (&form.endpoint, &form.path) {
        (Some(endpoint), None) => endpoint_problem(endpoint).or(name),
        (None, Some(path)) => path_problem(path).or(name),
        _ => Some("a certificate is looked at by either `endpoint` or `path`".into()),
    }
}

/// Rules of systemd.unit(5); what begins with `-` would be an option.
fn unit_problem(unit: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let good = (1..=255).contains(&unit.len()) && !unit.starts_with('-') && unit.bytes().all(allowed);
    (!good).then(|| format!("`{unit}` is no name of a unit"))
}

fn postgres_problem(form: &PostgresForm) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    // With `=` in it or as a URL it would be a whole connection string.
    let name = form.database.as_deref().filter(|d| d.is_empty() || d.len() > 63 || !d.bytes().all(allowed));
    let empty = form.query.as_deref().is_some_and(|query| query.trim().is_empty());
    name.map(|name| format!("`{name}` cannot be the name of a database here"))
        .or_else(|| empty.then(|| "`query` is empty".into()))
        // A meta-command of psql(1) could do anything.
        .or_else(|| form.query.as_deref()?.trim_start().starts_with('\\').then(|| "`query` is SQL".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_checked() {
        let cases = [
            (r#"{}"#, "say what is looked at"),
            (r#"{"tcp":"a:1","unit":"x"}"#, "give only one"),
            (r#"{"unit":"x","status":200}"#, "belongs to `http`"),
            (r#"{"unit":"--force"}"#, "no name of a unit"),
            (r#"{"unit":"x y"}"#, "no name of a unit"),
            (r#"{"unit":"postgresql@15-main.service"}"#, ""),
            (r#"{"dns":{"name":"fs.example"}}"#, ""),
            (r#"{"dns":{"name":"_ldap._tcp.example","type":"SRV","server":"192.0.2.53:5353"}}"#, ""),
            (r#"{"dns":{"name":"192.0.2.1"}}"#, "no DNS name"),
            (r#"{"dns":{"name":"fs.example","server":"ns.example"}}"#, "IP address"),
            (r#"{"certificate":{"days_left":3}}"#, "either `endpoint` or `path`"),
            (r#"{"certificate":{"endpoint":"x.example:443","path":"/a"}}"#, "either `endpoint` or `path`"),
            (r#"{"certificate":{"endpoint":"x.example"}}"#, "host:port"),
            (r#"{"certificate":{"path":"relative"}}"#, "absolute"),
            (r#"{"disk":{"path":"srv","free":"5%"}}"#, "absolute"),
            (r#"{"fresh":{"path":"/srv/../etc","within":"1h"}}"#, "`..`"),
            (r#"{"clock":{"within":"2s"}}"#, ""),
            (r#"{"open_files":{"most":0}}"#, ""),
            (r#"{"postgres":{}}"#, ""),
            (r#"{"postgres":{"database":"host=other"}}"#, "name of a database"),
            (r#"{"postgres":{"query":"\\! id"}}"#, "`query` is SQL"),
            (r#"{"command":[]}"#, "needs a program"),
        ];
        for (text, expected) in cases {
            let form: ProbeForm = serde_json::from_str(text).unwrap();
            let problem = form.problem().unwrap_or_default();
            assert!(problem.contains(expected) && expected.is_empty() == problem.is_empty(), "{text}: {problem}");
        }
    }
}
