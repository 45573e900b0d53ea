//! The name server: dig(1) asks it, nsupdate(1) changes it. Its refusals in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::value::{Type, shown, whole};
use super::{Algorithm, Records, Spec};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::Cx;

/// How long an answer may take, in seconds, and how often it is asked for.
const SECONDS: u32 = 3;

/// What is wrong with a secret, if anything. Its text is in no message.
pub(super) fn secret_problem(text: &str) -> Option<String> {
    let text = text.trim();
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    let good = !text.is_empty() && text.len().is_multiple_of(4) && text.bytes().all(base64);
    (!good).then(|| "`secret` is no key: base64 in one line, what stands behind `secret` in a key file".into())
}

/// Asks for the records; the outer `None` if there is no dig(1).
pub(super) fn ask(spec: &Spec, cx: &mut Cx<'_>) -> Result<Option<Option<Records>>, Fault> {
    let argv = [
        format!("@{}", spec.server),
        format!("-p{}", spec.port),
        format!("-q{}", whole(&spec.name)),
        format!("-t{}", spec.record.name()),
    ];
    let how = ["+tcp", "+norecurse", "+nocookie", "+noall", "+comments", "+answer", "+tries=1"].map(str::to_owned);
    let argv: Vec<String> =
        std::iter::once("dig".into()).chain(argv).chain(how).chain([format!("+time={SECONDS}")]).collect();
    let output = match cx.host.run(&Command::reading(argv)) {
        Err(fault) if fault.code == FaultCode::NotFound => return Ok(None),
        output => output?,
    };
    answer(spec, &output).map(Some)
}

fn answer(spec: &Spec, output: &Output) -> Result<Option<Records>, Fault> {
    let text = &output.stdout;
    let header = text.lines().find_map(|line| line.strip_prefix(";; ->>HEADER<<-")?.split_once("status: "));
    let Some(status) = header.and_then(|(_, rest)| rest.split(',').next()) else {
        let last = [&output.stderr, text].into_iter().flat_map(|t| t.lines().rev()).find(|l| !l.trim().is_empty());
        return Err(away(spec, last.unwrap_or("no answer").trim_start_matches([';', ' '])));
    };
    if !["NOERROR", "NXDOMAIN"].contains(&status) {
        let message = format!("the name server {} does not tell {}: {status}", spec.server, spec.name);
        return Err(
            Fault::new(FaultCode::Denied, message).hint("is it the zone's primary server, and may this host ask it?")
        );
    }
    let authority = text.lines().find(|line| line.starts_with(";; flags:")).is_some_and(|line| {
        line.split(';').nth(2).is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "aa"))
    });
    if !authority {
        let message = format!("the name server {} is no authority for {}", spec.server, spec.zone);
        return Err(Fault::new(FaultCode::Conflict, message).hint("name the zone's primary server"));
    }
    let name = whole(&spec.name);
    let (mut ttl, mut values) = (0, BTreeSet::new());
    for line in text.lines().filter(|line| !line.starts_with(';')) {
        let Some((_, time, kind, value)) = row(line).filter(|(owner, ..)| whole(owner) == name) else { continue };
        if kind == "CNAME" && spec.record != Type::Cname {
            let message = format!("{} is another name of {value} (CNAME), and can have no other record", spec.name);
            return Err(Fault::new(FaultCode::Conflict, message).hint("take the CNAME away first"));
        }
        if kind == spec.record.name() {
            // What we cannot read could not be put back.
            let unread = || Fault::new(FaultCode::Unsupported, format!("unreadable {kind} record of {name} `{value}`"));
            values.insert(shown(spec.record, value).ok_or_else(unread)?);
            ttl = time;
        }
    }
    Ok((!values.is_empty()).then_some(Records { ttl, values }))
}

/// Owner, time to live, type and value of `www.town.example. 300 IN A 192.0.2.1`.
fn row(line: &str) -> Option<(&str, u32, &str, &str)> {
    let mut rest = line;
    let mut word = || {
        let (word, more) = rest.trim_start().split_once([' ', '\t'])?;
        rest = more;
        Some(word)
    };
    let (owner, ttl, _class, kind) = (word()?, word()?.parse().ok()?, word()?, word()?);
    Some((owner, ttl, kind, rest.trim()))
}

/// Replaces `now` by `to` in one message, if the server still has `now`.
pub(super) fn swap(
    spec: &Spec,
    secret: &str,
    now: Option<&Records>,
    to: Option<&Records>,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    let argv = ["nsupdate", "-v", "-t", "10"].map(str::to_owned);
    let stdin = script(spec, secret, now, to).into_bytes();
    let update = Command { stdin, ..Command::changing(argv, cx.timeout) };
    let output = cx.host.run(&update).map_err(|fault| match fault.code {
        FaultCode::NotFound => missing("nsupdate"),
        _ => fault,
    })?;
    if output.ok() { Ok(()) } else { Err(refusal(spec, &output.stderr.replace(secret, "(secret)"))) }
}

fn script(spec: &Spec, secret: &str, now: Option<&Records>, to: Option<&Records>) -> String {
    let algorithm = match spec.key.algorithm {
        Algorithm::Sha256 => "hmac-sha256",
        Algorithm::Sha384 => "hmac-sha384",
        Algorithm::Sha512 => "hmac-sha512",
    };
    let (name, kind) = (whole(&spec.name), spec.record.name());
    let mut text = format!(
        "server {} {}\nzone {}\nkey {algorithm}:{} {secret}\n",
        spec.server,
        spec.port,
        whole(&spec.zone),
        whole(&spec.key.name)
    );
    match now {
        Some(now) => {
            for value in &now.values {
                let _ = writeln!(text, "prereq yxrrset {name} IN {kind} {value}");
            }
            let _ = writeln!(text, "update delete {name} IN {kind}");
        }
        // Beside another record a server leaves a CNAME out and says nothing (RFC 2136, section 3.4.2.2).
        None if spec.record == Type::Cname => drop(writeln!(text, "prereq nxdomain {name}")),
        None => drop(writeln!(text, "prereq nxrrset {name} IN {kind}")),
    }
    for (value, ttl) in to.iter().flat_map(|to| to.values.iter().map(|value| (value, to.ttl))) {
        let _ = writeln!(text, "update add {name} {ttl} IN {kind} {value}");
    }
    text.push_str("send\n");
    text
}

/// What nsupdate says when the server does not do it.
fn refusal(spec: &Spec, said: &str) -> Fault {
    let (server, zone, key) = (&spec.server, &spec.zone, &spec.key.name);
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["NXRRSET", "YXRRSET", "YXDOMAIN", "NXDOMAIN"]) {
        let message = format!("the records of {} have changed since they were read", spec.name);
        return Fault::new(FaultCode::Drifted, message).hint("plan again: somebody else changes them, too");
    }
    if has(&["NOTAUTH", "BADKEY", "BADSIG", "BADTIME", "TSIG error", "tsig indicates error"]) {
        let why = ["BADKEY", "BADSIG", "BADTIME"].into_iter().find(|word| said.contains(word));
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let message = format!("the name server {server} does not accept the key `{key}` for {zone}{why}");
        let hint = "name, algorithm and secret have to be the server's; the clocks may differ by 5 minutes at most";
        return Fault::new(FaultCode::Denied, message).hint(hint);
    }
    if has(&["REFUSED"]) {
        let message = format!("the name server {server} refuses to change {zone} for the key `{key}`");
        return Fault::new(FaultCode::Denied, message)
            .hint("give the key the right: `update-policy` or `allow-update` (BIND)");
    }
    if has(&["timed out", "ommunication with", "onnection refused", "unreachable", "could not talk"]) {
        return away(spec, said.trim().lines().last().unwrap_or_default().trim_start_matches([';', ' ']));
    }
    let last = said.trim().lines().last().unwrap_or("nsupdate failed");
    let message = format!("the name server {server} does not change {}", spec.name);
    Fault::new(FaultCode::CommandFailed, last).within(message)
}

fn away(spec: &Spec, said: &str) -> Fault {
    let message = format!("the name server {} (port {}) does not answer", spec.server, spec.port);
    Fault::new(FaultCode::Timeout, said).within(message).hint("does it run, and may this host reach it by TCP?")
}

/// A program is not there.
pub(super) fn missing(program: &str) -> Fault {
    let fault = Fault::new(FaultCode::Unsupported, format!("there is no `{program}` on this host"));
    fault.hint("declare the package `bind9-dnsutils` (Debian) or `bind-utils` before it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Lens as _;
    use crate::resources::dns_record::DnsRecord;

    fn spec(at: usize) -> Spec {
        serde_json::from_value(DnsRecord::examples().remove(at)).unwrap()
    }

    fn said(status: &str, flags: &str, rows: &str) -> Output {
        let stdout = format!(
            ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: {status}, id: 1\n\
             ;; flags: {flags}; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n\n;; ANSWER SECTION:\n{rows}"
        );
        Output { stdout, ..Output::default() }
    }

    #[test]
    fn an_answer_is_read() {
        let rows = "records.town.example.\t300\tIN\tA\t192.0.2.7\nRecords.town.example. 300 IN A 192.0.2.8\n";
        let found = answer(&spec(0), &said("NOERROR", "qr aa", rows)).unwrap().unwrap();
        assert_eq!((found.ttl, found.values.len()), (300, 2));
        assert_eq!(answer(&spec(0), &said("NXDOMAIN", "qr aa", "")), Ok(None));
        let alias = "records.town.example. 300 IN CNAME old.town.example.\n";
        for (output, code) in [
            (said("NOERROR", "qr aa", alias), FaultCode::Conflict),
            (said("NOERROR", "qr ra", rows), FaultCode::Conflict),
            (said("REFUSED", "qr", ""), FaultCode::Denied),
            (Output { status: 9, stdout: ";; connection timed out\n".into(), ..Output::default() }, FaultCode::Timeout),
        ] {
            assert_eq!(answer(&spec(0), &output).unwrap_err().code, code, "{output:?}");
        }
    }

    #[test]
    fn a_message_compares_and_swaps() {
        let values = |value: &str| Records { ttl: 60, values: [value.to_owned()].into() };
        let (old, new) = (values("192.0.2.7"), values("192.0.2.8"));
        assert_eq!(
            script(&spec(0), "c2VjcmV0", Some(&old), Some(&new)),
            "server 192.0.2.53 53\nzone town.example.\nkey hmac-sha256:weiche.town.example. c2VjcmV0\n\
             prereq yxrrset records.town.example. IN A 192.0.2.7\nupdate delete records.town.example. IN A\n\
             update add records.town.example. 60 IN A 192.0.2.8\nsend\n"
        );
        assert!(script(&spec(0), "x", None, Some(&new)).contains("prereq nxrrset records.town.example. IN A\n"));
        assert!(script(&spec(2), "x", None, Some(&new)).contains("prereq nxdomain old.town.example.\n"));
    }

    #[test]
    fn refusals_are_told_apart() {
        for (said, code) in [
            ("update failed: NXRRSET\n", FaultCode::Drifted),
            ("update failed: REFUSED\n", FaultCode::Denied),
            ("; TSIG error with server: tsig indicates error\nupdate failed: NOTAUTH(BADKEY)\n", FaultCode::Denied),
            ("; Communication with 192.0.2.53#53 failed: timed out\n", FaultCode::Timeout),
            ("update failed: SERVFAIL\n", FaultCode::CommandFailed),
        ] {
            assert_eq!(refusal(&spec(0), said).code, code, "{said}");
        }
        assert!(refusal(&spec(0), "NOTAUTH(BADKEY)").message.contains("BADKEY"));
    }
}
