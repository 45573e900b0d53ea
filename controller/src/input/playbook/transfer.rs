//! The step `transfer` as written: directory trees from another host, through the agents or directly (`via: direct`).

use std::time::Duration;

use super::step::{known_keys, mapping, required, text};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::source::{Source, Span};
use crate::input::yaml::{Key, Node, Value, decode};

/// All keys.
const KEYS: [&str; 15] = [
    "from",
    "paths",
    "delete",
    "via",
    "rounds",
    "every",
    "bandwidth",
    "owners",
    "delete_at_most",
    "again",
    "final",
    "within",
    "reverse",
    "end",
    "forget_aside",
];
/// What stands beside the paths of a direct transfer that begins: keys of the kind `mirror`.
const BEGIN: [&str; 6] = ["rounds", "every", "bandwidth", "owners", "delete_at_most", "reverse"];
/// The same for the last round: `reverse`, and what is for the way back.
const FINAL: [&str; 6] = ["within", "delete_at_most", "reverse", "every", "bandwidth", "owners"];
/// The same for the way back by itself.
const REVERSE: [&str; 4] = ["reverse", "every", "bandwidth", "owners"];
/// The same at its end.
const END: [&str; 1] = ["forget_aside"];
/// What is only for the way back, where the last round has one.
const FEED: [&str; 3] = ["every", "bandwidth", "owners"];

/// Directory trees from another host.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The other host, by an input or a template.
    pub from: Node,
    /// A path or a list of paths.
    pub paths: Node,
    /// Which way they take.
    pub via: Via,
}

/// Which way the data take.
#[derive(Clone, Debug)]
pub enum Via {
    /// Through the agents and the controller: small trees, any platform.
    Agents {
        /// Whether what the other host does not have is removed.
        delete: bool,
    },
    /// From host to host, by rsync(1) over SSH, in a stage whose hosts take turns.
    Direct(Direct),
}

/// A part of a direct transfer.
#[derive(Clone, Debug)]
pub struct Direct {
    /// Which one.
    pub part: Part,
    /// What is handed to the kind `mirror`: `rounds`, `every`, `bandwidth`, `owners`, `delete_at_most`, `within`,
    /// `forget_aside`, perhaps with templates.
    pub options: Vec<(Key, Node)>,
    /// How long the rounds may take in all.
    pub timeout: Option<Duration>,
}

/// The parts of a direct transfer, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rounds until little is left; users work on the other host meanwhile.
    Begin {
        /// What the way back needs is made as well, so that nobody has to wait for it later.
        prepared: bool,
    },
    /// One more round, while users work, and no more by the timer: right before the last one.
    Again,
    /// The last round, while nobody writes.
    Final {
        /// From now on the other host follows this one, so that going back loses nothing.
        reverse: bool,
    },
    /// The other host follows this one from now on, behind the last round.
    Reverse,
    /// Keys and settings are removed on both hosts; neither follows the other.
    End,
}

/// Reads the value of `transfer:`.
pub(super) fn parse(
    source: &Source,
    key: &Key,
    value: Node,
    timeout: Option<(Span, Duration)>,
    problems: &mut Problems,
) -> Option<Transfer> {
    let value = mapping(source, key, value, problems)?;
    known_keys(source, "transfer", &value, &KEYS, problems);
    let from = required(source, key, &value, "from", problems);
    let paths = required(source, key, &value, "paths", problems);
    let direct = via(source, &value, problems);
    let via = if direct {
        Via::Direct(self::direct(source, &value, timeout, problems))
    } else {
        if let Some((at, _)) = timeout {
            problems.add(Diagnostic::new(source, at, "`transfer` has no timeout").hint("leave it out"));
        }
        agents(source, &value, problems)?
    };
    Some(Transfer { from: text(source, key, from?, problems)?, paths: paths?, via })
}

/// Whether it is direct.
fn via(source: &Source, value: &Node, problems: &mut Problems) -> bool {
    let Some(node) = value.get("via") else { return false };
    let direct = node.text() == Some("direct");
    if !direct && node.text() != Some("agents") {
        let hint = "`direct`: from host to host, by rsync over SSH; `agents` (or nothing): through the agents";
        problems.add(Diagnostic::new(source, node.span, "`via` must be `agents` or `direct`").hint(hint));
    }
    // What is wrong with the other keys is told for the way that was meant.
    direct
        || (node.text() != Some("agents")
            && ["again", "final", "end", "rounds"].iter().any(|key| value.get(key).is_some()))
}

fn agents(source: &Source, value: &Node, problems: &mut Problems) -> Option<Via> {
    for (key, _) in value.entries() {
        let name = key.name.as_str();
        if is_option(name) || ["again", "final", "end"].contains(&name) {
            let message = format!("`{name}` belongs to a transfer `via: direct`");
            problems.add(Diagnostic::new(source, key.span, message));
        }
    }
    let delete = value.get("delete").map_or(Some(false), |node| decode::<bool>(source, node, problems))?;
    Some(Via::Agents { delete })
}

fn is_option(name: &str) -> bool {
    BEGIN.contains(&name) || FINAL.contains(&name) || END.contains(&name)
}

fn direct(source: &Source, value: &Node, timeout: Option<(Span, Duration)>, problems: &mut Problems) -> Direct {
    let mut wrong = |span: Span, message: String, hint: &str| {
        problems.add(Diagnostic::new(source, span, message).hint(hint.to_owned()));
    };
    if let Some((key, _)) = value.entry("delete") {
        wrong(
            key.span,
            "`delete` belongs to a transfer through the agents".into(),
            "a direct transfer makes both the same: leave it out",
        );
    }
    let mut is = |name: &str| match value.get(name) {
        None => false,
        Some(Node { value: Value::Bool(said), .. }) => *said,
        Some(node) => {
            wrong(node.span, format!("`{name}` must be `true` or `false`"), "leave it out for `false`");
            false
        }
    };
    let (again, last, end) = (is("again"), is("final"), is("end"));
    if let (true, true, Some((key, _))) = (again, last || end, value.entry("again")) {
        wrong(key.span, "one more round is neither `final` nor at the `end`".into(), "write two steps, in two stages");
    }
    if let (true, true, Some((key, _))) = (last, end, value.entry("end")) {
        wrong(key.span, "a transfer is `final` or at its `end`, not both".into(), "write two steps, in two stages");
    }
    let reverse = value.get("reverse").map(|node| {
        if !matches!(node.text(), Some("armed" | "prepared")) {
            let hint = "leave it out if nothing is to be fed back";
            wrong(node.span, "`reverse` must be `armed` or `prepared`".into(), hint);
        }
        if let (true, Some("prepared")) = (last, node.text()) {
            let hint = "write `armed`, or `prepared` where it begins and `armed` behind this step";
            wrong(node.span, "behind the last round nothing can be prepared any more".into(), hint);
        }
        node.text() != Some("prepared")
    });
    let part = match (end, last, reverse) {
        (true, ..) => Part::End,
        _ if again => Part::Again,
        (_, true, reverse) => Part::Final { reverse: reverse.is_some() },
        (_, _, Some(true)) => Part::Reverse,
        (_, _, reverse) => Part::Begin { prepared: reverse.is_some() },
    };
    if let (Some((at, _)), Part::Final { .. } | Part::Reverse | Part::End) = (timeout, part) {
        let hint = "its bound is `within`, beside `final`";
        wrong(at, "only a transfer that begins, and one more round, have a timeout".into(), hint);
    }
    let mut options = Vec::new();
    for (key, node) in value.entries() {
        let name = key.name.as_str();
        if !is_option(name) {
            continue;
        }
        let (has, hint) = match part {
            Part::Begin { .. } if END.contains(&name) => (false, "it belongs to the step with `end: true`"),
            Part::Begin { .. } => (BEGIN.contains(&name), "it belongs to the step with `final: true`"),
            Part::Final { reverse: false } if FEED.contains(&name) => {
                (false, "it would be for the way back: add `reverse: armed`, or leave it out")
            }
            Part::Final { .. } if END.contains(&name) => (false, "it belongs to the step with `end: true`"),
            Part::Final { .. } => (FINAL.contains(&name), "rounds are made before the last one: leave it out"),
            Part::Again => (false, "it is as where the transfer begins: leave it out"),
            Part::Reverse if END.contains(&name) => (false, "it belongs to the step with `end: true`"),
            Part::Reverse => (REVERSE.contains(&name), "it belongs to the step with `final: true`"),
            Part::End => (END.contains(&name), "nothing is copied at the end: leave it out"),
        };
        if !has {
            let which = match part {
                Part::Begin { .. } => "a transfer that begins",
                Part::Final { .. } => "the last round of a transfer",
                Part::Again => "one more round of a transfer",
                Part::Reverse => "the way back of a transfer",
                Part::End => "the end of a transfer",
            };
            wrong(key.span, format!("{which} has no `{name}`"), hint);
        } else if name != "reverse" {
            options.push((key.clone(), node.clone()));
        }
    }
    Direct { part, options, timeout: timeout.map(|(_, timeout)| timeout) }
}
