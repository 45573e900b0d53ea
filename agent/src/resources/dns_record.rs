//! `dns_record`: the records of one name and type in a zone, changed by a dynamic update (RFC 2136) that is signed with a
//! shared key (TSIG, RFC 8945).
//!
//! Asked with dig(1), changed with nsupdate(1), which gets all through its standard input: the key is in no argument,
//! state or message. One message compares and swaps: what is replaced is what was seen, or the server refuses.

mod server;
mod value;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::Content;
use super::node::Presence;
use super::period;
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};
pub use value::Type;

/// Bound of a secret, in bytes, and of what one name may have of a type.
const MAX_SECRET: u64 = 1024;
const MAX_VALUES: usize = 64;

/// Longest time that anybody may remember a record (RFC 8767 caps it at a week).
const MAX_TTL: u32 = 604_800;

/// Records of a name.
#[derive(Debug)]
pub struct DnsRecord;

/// The records of one name and type in a zone, on the zone's primary name server: changed by a dynamic update (RFC 2136)
/// with a key (TSIG) that the server knows. The server is asked first, and takes the change only if it still has what was
/// seen. Undo puts the records back that were there; for that the key stays in the run's directory on the host, which only
/// root reads. Resolvers remember the old records for their old time to live: lower that well before a move. Needs dig and
/// nsupdate on the host (Debian: `bind9-dnsutils`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "dns_record")]
pub struct Spec {
    /// Address of the zone's primary name server.
    pub server: String,
    /// Its port; 53 without it.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The zone, e.g. `town.example`.
    pub zone: String,
    /// The whole name, e.g. `records.town.example`.
    pub name: String,
    /// Type of the records.
    #[serde(rename = "type")]
    pub record: Type,
    /// All values, as in a zone file: `192.0.2.100`, `10 mail.town.example.`; names are whole ones. Of `TXT` the text
    /// itself, without quotes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// How long resolvers may remember it, in seconds.
    #[serde(default = "default_ttl")]
    pub ttl: u32,
    /// The key that the server lets change the zone.
    pub key: Key,
    /// The key's secret in base64, as `tsig-keygen` prints it. It never appears in a plan, diff, log or report.
    pub secret: Content,
    /// After a change, also when it is taken back, it is waited until nobody may remember what was there before: for its
    /// time to live. What may be remembered for longer than this (a number with `s` or `m`, at most `10m`) is not changed:
    /// lower it first, well before. Secondary name servers that are late are not waited for. Without it, nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<String>,
    /// `present` (default) or `absent`: no record of this name and type.
    #[serde(default)]
    pub state: Presence,
}

/// A key's public part.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "tsig_key")]
pub struct Key {
    /// Its name, which the server must have, too.
    pub name: String,
    /// How it signs.
    #[serde(default)]
    pub algorithm: Algorithm,
}

/// How a message is signed; RFC 8945 advises against older ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "tsig_algorithm")]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[default]
    #[serde(rename = "hmac-sha256")]
    Sha256,
    /// HMAC with SHA-384.
    #[serde(rename = "hmac-sha384")]
    Sha384,
    /// HMAC with SHA-512.
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

fn default_port() -> u16 {
    53
}

fn default_ttl() -> u32 {
    3600
}

/// What the server has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `None` if there is none.
    pub records: Option<Records>,
    /// The server could not be asked: there is no dig(1) (yet).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// Records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// In seconds.
    pub ttl: u32,
    /// As dig(1) writes them.
    pub values: BTreeSet<String>,
}

impl Lens for DnsRecord {
    const NAME: &'static str = "dns_record";
    const UNDO: Exactness = Exactness::BestEffort("the zone's serial number, and what resolvers remember for a while");
    const BARRIER: bool = true;
    const SENT: &'static [&'static str] = &["secret"];
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        if spec.server.parse::<IpAddr>().is_err() {
            problems.push(format!("`{}` is no address of a name server", spec.server));
        }
        if spec.port == 0 {
            problems.push("`port` is from 1 to 65535".into());
        }
        for name in [&spec.zone, &spec.name, &spec.key.name] {
            if !value::is_name(name) {
                problems.push(format!("`{name}` is no domain name"));
            }
        }
        let (zone, name) = (value::whole(&spec.zone), value::whole(&spec.name));
        if name != zone && !name.ends_with(&format!(".{zone}")) {
            problems.push(format!("`{}` is not in the zone `{}`: write the whole name", spec.name, spec.zone));
        }
        let wrong = spec.values.iter().filter(|text| value::canonical(spec.record, text).is_none());
        problems.extend(wrong.map(|text| format!("`{text}` is no value of a record of type {}", spec.record.name())));
        match (spec.state, spec.values.len()) {
            (Presence::Present, 0) => problems.push("a record needs `values`".into()),
            (Presence::Present, n) if n > MAX_VALUES => problems.push(format!("at most {MAX_VALUES} `values`")),
            (Presence::Present, n) if n > 1 && spec.record == Type::Cname => {
                problems.push("a `CNAME` has one value".into());
            }
            (Presence::Absent, n) if n > 0 => problems.push("an absent record has no `values`".into()),
            _ => {}
        }
        if spec.ttl > MAX_TTL {
            problems.push(format!("`ttl` is at most {MAX_TTL} seconds, a week"));
        }
        match (&spec.settle, settle(spec)) {
            (Some(text), None) => problems.push(format!("`settle` is a time such as `5m`, at most 10m; not `{text}`")),
            // It could not be taken back.
            (Some(text), Some(most)) if most < seconds(spec.ttl) && spec.state == Presence::Present => {
                problems.push(format!("a `ttl` of {} is longer than `settle`, {text}", spec.ttl));
            }
            _ => {}
        }
        problems.extend(spec.secret.problem("secret"));
        problems.extend(spec.secret.content.as_ref().and_then(|text| server::secret_problem(text)));
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("DNS record", format!("{} {}", value::whole(&spec.name), spec.record.name()))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        Ok(match server::ask(spec, cx)? {
            Some(records) => State { records, unseen: false },
            None => State { records: None, unseen: true },
        })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let values = spec.values.iter().filter_map(|text| value::canonical(spec.record, text)).collect();
        let records = (spec.state == Presence::Present).then_some(Records { ttl: spec.ttl, values });
        Ok(State { records, unseen: state.unseen })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if now.records == to.records {
            return Ok(());
        }
        let secret = secret(spec, cx)?;
        server::swap(spec, &secret, now.records.as_ref(), to.records.as_ref(), cx)?;
        if let (Some(most), Some(before)) = (settle(spec), &now.records) {
            // Somebody may have changed it since it was looked at: the wait has an end all the same.
            cx.host.pause(seconds(before.ttl).min(most));
        }
        Ok(())
    }

    fn keep(spec: &Spec, now: &State, _wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if now.unseen {
            return Err(server::missing("dig"));
        }
        if let (Some(most), Some(before)) = (settle(spec), &now.records)
            && most < seconds(before.ttl)
        {
            let message =
                format!("what {} says may be remembered for {} s, longer than `settle`", spec.name, before.ttl);
            let hint = "lower its time to live first, and wait for as long as the old one was";
            return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        }
        let secret = secret(spec, cx)?;
        cx.keep_bytes(&kept(spec)?, secret.as_bytes())
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let lines = |state: &State| -> Vec<String> {
            let all = state.records.iter().flat_map(|r| r.values.iter().map(|v| format!("{v} (ttl {})", r.ttl)));
            all.collect()
        };
        let (old, new) = (lines(now), lines(wanted));
        let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
        let all: Vec<String> =
            gone.chain(new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"))).collect();
        (!all.is_empty()).then_some(all)
    }

    fn sensitive(_spec: &Spec) -> bool {
        // The states have no secret; this keeps one that stands in the playbook out of saved plans, too.
        true
    }

    fn title(spec: &Spec) -> String {
        format!("{} {}", spec.name, spec.record.name())
    }

    fn examples() -> Vec<Value> {
        let key = json!({ "name": "weiche.town.example", "algorithm": "hmac-sha256" });
        let secret = json!({ "content": "bm90IGEgc2VjcmV0IGF0IGFsbA==\n" });
        let with = |more: Value| {
            let mut spec = json!({ "server": "192.0.2.53", "zone": "town.example", "key": key, "secret": secret });
            if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
                spec.extend(more);
            }
            spec
        };
        vec![
            with(json!({ "name": "records.town.example", "type": "A", "values": ["192.0.2.100"], "ttl": 60 })),
            with(json!({ "name": "town.example", "type": "TXT", "values": ["v=spf1 -all"] })),
            with(json!({ "name": "old.town.example", "type": "CNAME", "state": "absent", "settle": "5m" })),
        ]
    }
}

/// Longest wait.
const MAX_SETTLE: Duration = Duration::from_mins(10);

fn settle(spec: &Spec) -> Option<Duration> {
    period::read(spec.settle.as_deref()?, MAX_SETTLE)
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

/// The spec's, or, once the run's contents are gone, what was kept of it.
fn secret(spec: &Spec, cx: &mut Cx<'_>) -> Result<String, Fault> {
    let mut text = String::new();
    match cx.kept_bytes(&kept(spec)?) {
        Ok(reader) => {
            let read = reader.take(MAX_SECRET).read_to_string(&mut text);
            read.map_err(|e| Fault::io("read the kept key", &e))?;
        }
        Err(fault) if fault.code == FaultCode::NotFound => text = spec.secret.text("secret", MAX_SECRET, cx)?,
        Err(fault) => return Err(fault),
    }
    match server::secret_problem(&text) {
        None => Ok(text.trim().to_owned()),
        Some(problem) => Err(Fault::new(FaultCode::Invalid, problem)),
    }
}

fn kept(spec: &Spec) -> Result<String, Fault> {
    let digest: &Digest = &spec.secret.blob()?.digest;
    Ok(format!("tsig-{digest}"))
}

#[cfg(test)]
mod tests;
