//! A direct transfer, `transfer: { via: direct }`: ordinary resources on both hosts, each host's part in its turn. The
//! source lets a key read one directory by rsync(1); the follower has that key and a resource `mirror`.

pub(super) mod key;
mod part;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use handlebars::Context;
use serde_json::{Map, Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::resource::kind;

use super::stage::Expansion;
use crate::input::apply::{Applied, Body};
use crate::input::diagnostic::Diagnostic;
use crate::input::fleet::Host;
use crate::input::playbook::{self, Direct, Part};
use crate::input::source::Span;
use crate::input::target::HostName;
use part::{Piece, Side};

/// Longest name of a mirror, and what of a path that is not its own name stands before eight digits of its digest.
const NAME_MAX: usize = 32;
const NAME_STEM: usize = 23;

/// What is known of the direct transfers of a playbook from its steps so far.
#[derive(Default)]
pub(super) struct Known {
    /// By host, both of them, and name.
    begun: BTreeMap<(HostName, String), Begun>,
    /// Directories that several of them share and an earlier step makes.
    made: BTreeSet<(HostName, &'static str)>,
}

/// How far one is.
#[derive(Clone, PartialEq)]
struct Begun {
    from: HostName,
    to: HostName,
    /// The last round was made, and whether the other host follows since then.
    last: Option<bool>,
    /// What the way back needs is there.
    prepared: bool,
    /// It has a timer, and whether that was ended by one more round. On the way back it is then that what the last
    /// round's step leaves open is proven.
    timer: bool,
    again: bool,
    /// What was said that holds for all rounds.
    options: Map<String, Value>,
}

/// The step that is expanded, for one path.
struct Asked<'s> {
    direct: &'s Direct,
    options: &'s Map<String, Value>,
    path: &'s str,
    from: &'s Host,
    to: &'s Host,
}

/// What a step means for one path.
struct Pieces {
    /// On the host that receives.
    ours: Vec<Piece>,
    /// On the other one.
    others: Vec<Piece>,
    /// On the other one, behind both.
    ready: Vec<Piece>,
}

/// What is wrong, and what to do about it.
type Wrong = (String, &'static str);

/// What a step means on each host, in order.
pub(super) type Turns<'a> = Vec<(&'a Host, Vec<Applied>)>;

impl<'a> Expansion<'a, '_> {
    /// What both hosts do for a part of a direct transfer to `to`; the stage has the hosts `on`. Nothing, and problems, if
    /// that cannot be.
    pub(super) fn direct(
        &mut self,
        (step, transfer, direct): (&playbook::Step, &playbook::Transfer, &Direct),
        to: &'a Host,
        on: &[&'a Host],
        known: &Context,
    ) -> Turns<'a> {
        let before = self.problems.len();
        let from = self.from(&transfer.from, to, known);
        let (Some(from), Some(paths)) = (from, self.paths(&transfer.paths, known)) else { return Vec::new() };
        let has_a_part = !matches!(direct.part, Part::Again | Part::Final { reverse: false });
        if has_a_part && !on.iter().any(|host| host.name == from.name) {
            let message = format!("`{}` has a part in this transfer, and is not among the stage's hosts", from.name);
            self.wrong(transfer.from.span, message, "name it in the stage's `on:`");
        }
        let readers = match direct.part {
            Part::Begin { prepared: true } => vec![to, from],
            Part::Begin { .. } => vec![to],
            Part::Final { reverse: true } | Part::Reverse => vec![from],
            Part::Again | Part::Final { reverse: false } | Part::End => Vec::new(),
        };
        // from= of sshd(8) compares addresses, and names only if sshd looks them up.
        let no_ip = |host: &Host| host.address.as_ref().is_none_or(|address| address.parse::<IpAddr>().is_err());
        for host in readers.into_iter().filter(|host| no_ip(host)) {
            let at = host.address.as_deref().unwrap_or_default();
            let message = format!("`{}` would read with a key for `{at}` only, and that is no IP address", host.name);
            self.wrong(step.key, message, "give its IP address in the member's file");
        }
        let mut options = Map::new();
        for (key, node) in &direct.options {
            let value = self.applier.renderer.node(self.source(), node, known, self.problems);
            options.extend(value.map(|value| (key.name.clone(), value)));
        }
        let fed_back = self.direct.fed_back(from, to);
        let (mut ours, mut others, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        for path in &paths {
            let asked = Asked { direct, options: &options, path, from, to };
            match self.pieces(&asked) {
                Ok(pieces) => {
                    ours.extend(pieces.ours);
                    others.extend(pieces.others);
                    ready.extend(pieces.ready);
                }
                Err((message, hint)) => self.wrong(transfer.paths.span, message, hint),
            }
        }
        if self.problems.len() > before {
            return Vec::new();
        }
        let ours = self.applied(ours, step, direct);
        let others = self.applied(others, step, direct);
        let ready = self.applied(ready, step, direct);
        // Who is read is ready first, and who reads ends first.
        match direct.part {
            Part::Begin { .. } => vec![(from, others), (to, ours), (from, ready)],
            Part::Again | Part::Final { .. } | Part::Reverse => vec![(to, ours), (from, others)],
            Part::End if fed_back => vec![(from, others), (to, ours)],
            Part::End => vec![(to, ours), (from, others)],
        }
    }

    fn wrong(&mut self, span: Span, message: String, hint: &'static str) {
        self.problems.add(Diagnostic::new(self.source(), span, message).hint(hint));
    }

    /// What both hosts do for one path.
    fn pieces(&mut self, asked: &Asked<'_>) -> Result<Pieces, Wrong> {
        let Asked { path, from, to, options, direct } = asked;
        let name = name(path)?;
        let begun = self.direct.step(asked, &name)?;
        let (keys, fleet) = (self.keys, self.fleet);
        let key = |reads: &Host, read: &Host| {
            let pair = key::pair(keys, &read.name.0, &reads.name.0, &name);
            pair.map_err(|message| (message, "this is a fault of weiche"))
        };
        let (there, back) = (key(to, from)?, key(from, to)?);
        let side = |host: &Host| {
            let target = fleet.target(&host.name);
            target.map(Side::of).map_err(|fault| (fault.to_string(), "complete it in the member's file"))
        };
        let (old, new) = (side(from)?, side(to)?);
        let mut options = Map::clone(options);
        for (key, value) in begun.options {
            options.entry(key).or_insert(value);
        }
        let mut shared = |host: &Host| {
            let shared = part::SHARED.into_iter();
            shared.filter(|path| self.direct.made.insert((host.name.clone(), path))).collect::<Vec<_>>()
        };
        let mut ready = Vec::new();
        let (ours, others) = match direct.part {
            Part::Begin { prepared } => {
                let mut others = part::directories(&name, &shared(from));
                others.extend(part::lets_read(&name, path, &new, &there));
                let mut ours = part::directories(&name, &shared(to));
                ours.extend(part::can_read(&name, &old, &there));
                if prepared {
                    ready.push(part::is_ready(&name, path, &new, &lasting(&options)));
                    others.extend(part::can_read(&name, &new, &back));
                    ours.extend(part::lets_read(&name, path, &old, &back));
                }
                ours.push(part::follows(&name, path, &old, "copy", &options, direct.timeout));
                (ours, others)
            }
            Part::Again => (vec![part::follows(&name, path, &old, "copy", &options, direct.timeout)], Vec::new()),
            Part::Final { reverse: false } => {
                (vec![part::own(&name, path, &options, begun.prepared && begun.again)], Vec::new())
            }
            Part::Final { reverse: true } | Part::Reverse => {
                let (mut ours, mut others) = (Vec::new(), Vec::new());
                if !begun.prepared && begun.last != Some(true) {
                    ours.extend(part::lets_read(&name, path, &old, &back));
                    others.extend(part::can_read(&name, &new, &back));
                }
                if direct.part != Part::Reverse {
                    ours.push(part::own(&name, path, &options, begun.again));
                }
                others.push(part::follows(&name, path, &new, "own", &options, None));
                (ours, others)
            }
            Part::End => {
                let follows = begun.last == Some(true);
                let keys = begun.prepared || follows;
                let mut ours = vec![part::gone(&name, path, &options)];
                ours.extend(part::nothing(&name, keys.then_some(&back), true));
                let mut others = Vec::new();
                if keys {
                    others.push(part::gone(&name, path, &Map::new()));
                }
                others.extend(part::nothing(&name, Some(&there), keys));
                (ours, others)
            }
        };
        Ok(Pieces { ours, others, ready })
    }

    /// Resources as those of a playbook are; what is wrong with them is told where the step stands.
    fn applied(&mut self, pieces: Vec<Piece>, step: &playbook::Step, direct: &Direct) -> Vec<Applied> {
        let mut list = Vec::new();
        for Piece { kind: name, mut spec, content, timeout } in pieces {
            let span = direct.options.first().filter(|_| name == "mirror").map_or(step.key, |(key, _)| key.span);
            let Some(kind) = kind(name) else {
                self.wrong(span, format!("there is no kind `{name}`"), "this is a fault of weiche");
                continue;
            };
            let mut bodies = Vec::new();
            if let (Some(text), Some(map)) = (content, spec.as_object_mut()) {
                let digest = Digest::of(text.as_bytes());
                map.insert("blob".into(), json!({ "digest": digest, "size": text.len() }));
                bodies.push((digest, Body::Text(text)));
            }
            let wrong = kind.problems(&spec);
            for message in &wrong {
                self.wrong(span, message.clone(), "`weiche kind mirror` tells what may stand there");
            }
            let Some(claims) = kind.claims(&spec).ok().filter(|_| wrong.is_empty()) else { continue };
            let (edits, place) = (kind.edits(&spec), (self.source().clone(), step.key));
            list.push(Applied { kind, spec, bodies, claims, edits, watches: Vec::new(), timeout, place });
        }
        list
    }
}

impl Known {
    /// Whether the source of a transfer follows the host that it went to.
    fn fed_back(&self, from: &Host, to: &Host) -> bool {
        self.begun.values().any(|begun| begun.last == Some(true) && begun.from == from.name && begun.to == to.name)
    }

    /// Notes a step, and returns how far the transfer was before it.
    fn step(&mut self, asked: &Asked<'_>, name: &str) -> Result<Begun, Wrong> {
        let Asked { from, to, path, direct, options } = asked;
        let places = [(from.name.clone(), name.to_owned()), (to.name.clone(), name.to_owned())];
        let known: Vec<Option<Begun>> = places.iter().map(|place| self.begun.get(place).cloned()).collect();
        let fresh = Begun {
            from: from.name.clone(),
            to: to.name.clone(),
            last: None,
            prepared: direct.part == Part::Begin { prepared: true },
            timer: options.contains_key("every"),
            again: false,
            options: lasting(options),
        };
        let found = known.iter().flatten().next().cloned();
        let ours = found.filter(|begun| (&begun.from, &begun.to) == (&from.name, &to.name));
        let (before, after) = match (direct.part, ours) {
            (Part::Begin { .. }, None) if known.iter().all(Option::is_none) => (fresh.clone(), Some(fresh)),
            (Part::Begin { .. }, _) => {
                let message =
                    format!("{path} is a part of a direct transfer already, on `{}` or `{}`", from.name, to.name);
                return Err((
                    message,
                    "take the last round of that one (`final: true`), or end it first (`end: true`)",
                ));
            }
            (Part::Again, Some(begun)) if begun.last.is_none() => {
                (begun.clone(), Some(Begun { again: begun.timer, ..begun }))
            }
            (Part::Final { reverse }, Some(begun)) if begun.last.is_none() => {
                (begun.clone(), Some(Begun { last: Some(reverse), ..begun }))
            }
            (Part::Again | Part::Final { .. }, Some(_)) => {
                return Err((format!("the last round of {path} was made already"), "leave this step out"));
            }
            // Again, perhaps: then only what is said of it changes.
            (Part::Reverse, Some(begun)) if begun.last.is_some() => {
                (begun.clone(), Some(Begun { last: Some(true), ..begun }))
            }
            (Part::Reverse, Some(_)) => {
                let message = format!("the last round of {path} comes before the way back");
                return Err((message, "its place is behind the step with `final: true`"));
            }
            (Part::End, Some(begun)) => (begun, None),
            (Part::Again | Part::Final { .. } | Part::Reverse | Part::End, None) => {
                let message =
                    format!("no direct transfer of {path} from `{}` to `{}` has begun before", from.name, to.name);
                return Err((message, "its first rounds are a step without `final` and `end`, in an earlier stage"));
            }
        };
        for place in places {
            match &after {
                Some(after) => drop(self.begun.insert(place, after.clone())),
                None => drop(self.begun.remove(&place)),
            }
        }
        Ok(before)
    }
}

/// What holds for all rounds, in both directions.
fn lasting(options: &Map<String, Value>) -> Map<String, Value> {
    let lasting = options.iter().filter(|(key, _)| matches!(key.as_str(), "owners" | "delete_at_most"));
    lasting.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The name of a path's mirror: `srv-files` for `/srv/files`; with some of its digest where that would not be the path's own.
fn name(path: &str) -> Result<String, Wrong> {
    // What rsyncd.conf(5) reads otherwise than it stands.
    if path.contains(['%', '\\']) || path.chars().any(char::is_control) || path.trim() != path {
        let message = format!("`{}` cannot be transferred directly", path.escape_debug());
        return Err((
            message,
            "rsyncd.conf(5) takes no `%`, no `\\` and no line ends in a path, nor blanks at its end",
        ));
    }
    let words = path.split('/').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !words.is_empty() && words.len() <= NAME_MAX && path.chars().all(|c| plain(c) || c == '/') {
        return Ok(words);
    }
    let stem: String = words.chars().map(|c| c.to_ascii_lowercase()).map(|c| if plain(c) { c } else { '-' }).collect();
    let stem: String = stem.trim_matches('-').chars().take(NAME_STEM).collect();
    let digest = Digest::of(path.as_bytes()).to_string();
    Ok(format!("{}-{}", if stem.is_empty() { "root" } else { &stem }, digest.get(..8).unwrap_or_default()))
}
