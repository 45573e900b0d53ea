//! A member's file: one device at a time, so that ten thousand cost no more than their size, and a broken one spoils
//! no other.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use weiche_agent::protocol;

use super::{Known, address, window};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::fleet::{Host, HostKind};
use crate::input::member::{DEVICES, Device, Member, Printer, Service, Site};
use crate::input::scalar::{Name, host_key_problem};
use crate::input::source::{Source, Span};
use crate::input::suggest;
use crate::input::target::HostName;
use crate::input::yaml::{self, Located, Node, Value, decode, expected};

/// What of a host can only be checked once all files are read.
#[derive(Debug)]
pub(super) struct Later {
    /// The host.
    pub(super) host: HostName,
    /// Its file.
    pub(super) source: Source,
    /// Its name's place.
    pub(super) span: Span,
    /// Its `profile`.
    pub(super) profile: Option<Located<String>>,
    /// Its `replaces`.
    pub(super) replaces: Option<Located<String>>,
    /// Its `ssh.jump`.
    pub(super) jump: Option<Located<String>>,
    /// Its `parameters`.
    pub(super) parameters: Vec<(String, Span)>,
}

/// Reads a member's file; its hosts are added to the fleet's.
pub(super) fn parse(
    source: &Source,
    known: Known<'_>,
    hosts: &mut BTreeMap<HostName, Host>,
    later: &mut Vec<Later>,
    problems: &mut Problems,
) -> Option<Member> {
    let mut root = yaml::parse(source, problems)?;
    let devices = DEVICES.map(|key| (key, root.take(key).map(|(_, node)| node)));
    let mut member = decode(source, &root, problems).unwrap_or_else(|| stand_in(source));
    services(source, &member.services, problems);
    window::check(source, &root, &member, known.config, problems);
    approvers(source, &member, known, problems);
    watched(source, &member, problems);
    let mut names: HashMap<String, Span> = HashMap::new();
    for (key, node) in devices {
        for item in items(source, node, problems) {
            if key == "printers" {
                if let Some(printer) = printer(source, &item, &member.sites, &mut names, problems) {
                    member.printers.push(printer);
                }
                continue;
            }
            let kind = if key == "pcs" { HostKind::Pc } else { HostKind::Server };
            let Some(device) = decode::<Device>(source, &item, problems) else { continue };
            duplicate(source, &device.name, &mut names, problems);
            check(source, &item, kind, &device, &member.sites, problems);
            let (host, rest) = resolve(source, &item, kind, device, &member.member);
            // An earlier namesake stays; that there are two was reported above.
            if let std::collections::btree_map::Entry::Vacant(place) = hosts.entry(host.name.clone()) {
                place.insert(host);
                later.push(rest);
            }
        }
    }
    replacements(source, &member.printers, problems);
    Some(member)
}

/// Stands in for a member whose own keys are broken, so that its devices are checked all the same.
fn stand_in(source: &Source) -> Member {
    let stem = source.name().rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
    let name = Name::try_from(stem.to_owned());
    Member {
        member: Located { value: name.unwrap_or_default(), span: Span::default() },
        name: stem.to_owned(),
        sites: BTreeMap::new(),
        windows: BTreeMap::new(),
        approvers: Vec::new(),
        services: BTreeMap::new(),
        vantage: None,
        watch: Vec::new(),
        unwatched: Vec::new(),
        language: None,
        people: BTreeMap::new(),
        servers: Vec::new(),
        pcs: Vec::new(),
        printers: Vec::new(),
    }
}

/// Directories that hold no data but the kernel's and the moment's.
const UNWATCHABLE: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

fn watched(source: &Source, member: &Member, problems: &mut Problems) {
    for path in member.watch.iter().chain(&member.unwatched) {
        let plain = path.starts_with('/') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
        if !plain {
            let message = format!("`{}` is no plain absolute path below `/`", path.value);
            problems.add(Diagnostic::new(source, path.span, message).hint("write it like `/etc` or `/srv/shares`"));
        } else if UNWATCHABLE.iter().any(|no| Path::new(&path.value).starts_with(no)) {
            let message = format!("`{}` changes all the time: it cannot be watched", path.value);
            problems.add(Diagnostic::new(source, path.span, message));
        }
    }
}

/// Principals must be in the file of approvers: a misspelt one could never approve.
fn approvers(source: &Source, member: &Member, known: Known<'_>, problems: &mut Problems) {
    let Some(config) = known.config.filter(|_| !known.signers_unread) else { return };
    for (n, approver) in member.approvers.iter().enumerate() {
        if config.approvers.is_none() {
            let problem = Diagnostic::new(source, approver.span, "the fleet has no file of approvers");
            problems.add(problem.hint("add `approvers: allowed_signers` to weiche.yaml, and that file beside it"));
            return;
        }
        if !known.signers.principals().any(|principal| principal == approver.value) {
            let message = format!("the file of approvers has no `{}`", approver.value);
            let hint = suggest::hint(approver, known.signers.principals());
            problems.add(Diagnostic::new(source, approver.span, message).maybe_hint(hint));
        } else if let Some(first) = member.approvers[..n].iter().find(|other| other.value == approver.value) {
            let problem = Diagnostic::new(source, approver.span, format!("`{}` is there twice", approver.value));
            problems.add(problem.warning().related(source, first.span, "first here"));
        }
    }
}

fn items(source: &Source, node: Option<Node>, problems: &mut Problems) -> Vec<Node> {
    match node {
        Some(Node { value: Value::List(items), .. }) => items,
        Some(node) if node.value != Value::Null => {
            problems.add(expected(source, &node, "a list of devices"));
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn duplicate(source: &Source, name: &Located<Name>, names: &mut HashMap<String, Span>, problems: &mut Problems) {
    if let Some(first) = names.insert(name.to_string(), name.span) {
        let message = format!("there are two devices `{}` in this member", name.value);
        problems.add(
            Diagnostic::new(source, name.span, message)
                .hint("servers, PCs and printers of a member share one set of names")
                .related(source, first, "first here"),
        );
    }
}

fn check(
    source: &Source,
    item: &Node,
    kind: HostKind,
    device: &Device,
    sites: &BTreeMap<Name, Site>,
    problems: &mut Problems,
) {
    site(source, device.site.as_ref(), sites, problems);
    if let Some(given) = &device.address {
        address(source, given.span, given, problems);
    }
    match &device.host_key {
        Some(key) => {
            if let Some(problem) = host_key_problem(key) {
                let hint = "copy the line from /etc/ssh/ssh_host_ed25519_key.pub of that host";
                problems.add(Diagnostic::new(source, key.span, problem).hint(hint));
            }
        }
        None if kind == HostKind::Server && device.address.is_some() => {
            let message = format!("the server `{}` has an address but no `host_key`", device.name.value);
            let hint = "add the line from /etc/ssh/ssh_host_ed25519_key.pub, read at its console";
            problems.add(Diagnostic::new(source, device.name.span, message).hint(hint));
        }
        None => {}
    }
    let place = |key: &str| item.get(key).map_or(device.name.span, |node| node.span);
    if device.serial.as_deref().is_some_and(|serial| serial.trim().is_empty()) {
        let problem = Diagnostic::new(source, place("serial"), "an empty serial number identifies no machine");
        problems.add(problem.hint("leave `serial` out, or see what `weiche facts` shows"));
    }
    let is_id = |id: &str| id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if device.machine_id.as_deref().is_some_and(|id| !is_id(id)) {
        let problem = Diagnostic::new(source, place("machine_id"), "a machine id is 32 digits and letters from a to f");
        problems.add(problem.hint("copy /etc/machine-id of that host; `weiche facts` shows it"));
    }
    if let Some(mac) = device.mac.as_ref().filter(|mac| protocol::mac(&mac.value).is_none()) {
        let problem = Diagnostic::new(source, mac.span, format!("`{}` is no address of a network card", mac.value));
        problems.add(problem.hint("write six bytes, such as 00:00:5e:00:53:01"));
    }
    if device.port == Some(0) {
        let span = place("port");
        problems.add(Diagnostic::new(source, span, "0 is no port"));
    }
}

fn resolve(source: &Source, item: &Node, kind: HostKind, device: Device, member: &str) -> (Host, Later) {
    let name = HostName::new(member, &device.name);
    let spans = item.get("parameters").map(|node| node.entries().iter()).into_iter().flatten();
    let later = Later {
        host: name.clone(),
        source: source.clone(),
        span: device.name.span,
        profile: device.profile.clone(),
        replaces: device.replaces.clone(),
        jump: device.ssh.as_ref().and_then(|ssh| ssh.jump.clone()).flatten(),
        parameters: spans.map(|(key, value)| (key.name.clone(), value_span(key.span, value))).collect(),
    };
    let host = Host {
        name,
        kind,
        address: device.address.map(|v| v.value),
        port: device.port,
        host_key: device.host_key.map(|v| v.value),
        serial: device.serial,
        machine_id: device.machine_id,
        mac: device.mac.map(|mac| mac.value),
        model: device.model,
        site: device.site.map(|v| v.value),
        profile: device.profile.map(|v| v.value),
        parameters: device.parameters,
        // Found among all hosts later.
        replaces: None,
        labels: device.labels,
        lease: device.lease,
        ssh: device.ssh.map(Box::new),
        agent: device.agent.map(Box::new),
        place: (source.clone(), device.name.span),
    };
    (host, later)
}

fn value_span(key: Span, value: &Node) -> Span {
    if value.span.len > 0 { value.span } else { key }
}

fn site(source: &Source, site: Option<&Located<String>>, sites: &BTreeMap<Name, Site>, problems: &mut Problems) {
    if let Some(site) = site
        && !sites.keys().any(|known| **known == *site.value)
    {
        let hint = suggest::hint(site, sites.keys().map(|k| &**k)).unwrap_or_else(|| "add it under `sites`".into());
        let message = format!("the member has no site `{}`", site.value);
        problems.add(Diagnostic::new(source, site.span, message).hint(hint));
    }
}

fn printer(
    source: &Source,
    item: &Node,
    sites: &BTreeMap<Name, Site>,
    names: &mut HashMap<String, Span>,
    problems: &mut Problems,
) -> Option<Printer> {
    let printer = decode::<Printer>(source, item, problems)?;
    duplicate(source, &printer.name, names, problems);
    site(source, printer.site.as_ref(), sites, problems);
    if let Some(given) = &printer.address {
        address(source, given.span, given, problems);
    }
    Some(printer)
}

fn replacements(source: &Source, printers: &[Printer], problems: &mut Problems) {
    let going: HashMap<&str, bool> = printers.iter().map(|p| (&*p.name.value, p.replaced_by.is_some())).collect();
    for printer in printers {
        let Some(by) = &printer.replaced_by else { continue };
        match going.get(by.as_str()) {
            None => {
                let message = format!("the member has no printer `{}`", by.value);
                let hint = suggest::hint(by, going.keys().copied());
                problems.add(Diagnostic::new(source, by.span, message).maybe_hint(hint));
            }
            Some(true) => {
                let message = format!("`{}` is to go itself", by.value);
                problems.add(Diagnostic::new(source, by.span, message).hint("name a printer that stays"));
            }
            Some(false) => {}
        }
    }
}

fn services(source: &Source, services: &BTreeMap<Name, Located<Service>>, problems: &mut Problems) {
    for service in services.values() {
        let outside = "a service is probed from outside: `tcp`, `http`, `dns` or the `certificate` of an `endpoint`";
        let problem = service.probe.problem().or_else(|| service.probe.on_host().then(|| outside.to_owned()));
        if let Some(problem) = problem {
            let hint = "write e.g. { tcp: \"fs.example:445\" } or { http: \"https://intranet.example/\" }";
            problems.add(Diagnostic::new(source, service.span, problem).hint(hint));
        }
    }
}
