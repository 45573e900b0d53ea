//! Kinds that edit a part of a text, on texts that nobody foresaw: an edit is made once, and taken back to the byte; of
//! what others write meanwhile, not a line is lost.

use std::io::Read;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use weiche_agent::engine;
use weiche_agent::fault::FaultCode;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::host::{Attributes, Host};
use weiche_agent::journal::Journal;
use weiche_agent::protocol::StepOutcome;
use weiche_agent::resource::{Kind, examples, kind};

use super::corpus::cases;
use super::{heap, id, step};

/// A text of so many bytes may cost so much, with the state, the journal and the fake host's copies of it.
fn of_text(bytes: usize) -> usize {
    (2 << 20) + 256 * bytes
}

/// What the kinds look for, and what is like it.
const LINES: [&str; 40] = [
    "",
    "",
    " ",
    "#",
    "# x",
    "; x",
    "old",
    "old = true",
    "old=1",
    "old = true # x",
    " old = true",
    "[mail]",
    "[mail",
    "[ MAIL ]",
    "[x]",
    "relay = y",
    "relay",
    "token=",
    "[api]",
    "[global]",
    "[council]",
    "[Council]",
    "path = /x",
    "path = \\",
    "   comment =",
    "# BEGIN weiche notice",
    "# END weiche notice",
    "; BEGIN weiche cache",
    "; END weiche cache",
    "# BEGIN weiche",
    "Wartung am Samstag",
    "192.0.2.9",
    "192.0.2.9 print",
    "192.0.2.8 old # x",
    "127.0.1.1\tfake fake.x",
    "::1 localhost",
    "LANG=C",
    "LC_MESSAGES",
    "# de_DE.UTF-8 UTF-8",
    "no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f old",
];

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => any::<Index>().prop_map(|at| LINES[at.index(LINES.len())].as_bytes().to_vec()),
        1 => "[ -~\u{e4}]{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>().prop_filter("no newline", |b| *b != b'\n'), 0..6),
    ]
}

/// Any text: its lines' endings may differ, and the last one may have none.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let ending = prop_oneof![Just(0_u8), Just(1), Just(2)];
    (prop::collection::vec((line(), any::<bool>()), 0..14), ending, any::<bool>()).prop_map(
        |(lines, endings, ended)| {
            let mut text = Vec::new();
            for (line, crlf) in lines {
                text.extend_from_slice(&line);
                text.extend_from_slice(if endings == 1 || (endings == 2 && crlf) { b"\r\n" } else { b"\n" });
            }
            if !ended {
                text.pop();
            }
            text
        },
    )
}

/// Every example that edits a file, and a host on which it can be carried out.
fn edits() -> Vec<(&'static dyn Kind, Value, PathBuf)> {
    let all = examples().into_iter();
    all.flat_map(|(kind, spec)| kind.edits(&spec).into_iter().map(move |path| (kind, spec.clone(), path))).collect()
}

fn host_with(path: &Path, text: &[u8]) -> FakeHost {
    let mut host = FakeHost::debian();
    for dir in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
        if host.lstat(dir).unwrap().is_none() {
            host.make_dir(dir, &Attributes::default()).unwrap();
        }
    }
    let old = host.lstat(path).unwrap().map(|meta| meta.attributes).unwrap_or_default();
    host.write(path, &mut &*text, &old).unwrap();
    host
}

fn content(host: &mut FakeHost, path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    host.open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Applies one step in a run of its own; what became of it.
fn apply(run: &str, kind: &dyn Kind, spec: &Value, host: &mut FakeHost) -> Option<StepOutcome> {
    let mut outcome = None;
    let mut journal = Journal::open(&id(run), host).unwrap();
    let steps = [step("s.0", kind.name(), spec.clone())];
    engine::apply(&steps, &mut journal, host, &mut |event| outcome = Some(event.what)).unwrap();
    outcome
}

fn undo(host: &mut FakeHost) -> bool {
    let mut journal = Journal::open(&id("run-1"), host).unwrap();
    engine::undo(None, false, &mut journal, host, &mut |_| {}).unwrap().is_empty()
}

/// Lines without their endings, sorted, for texts that may have become others in no more than their order.
fn sorted(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).collect();
    lines.sort_unstable();
    lines
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

#[test]
fn every_kind_that_edits_is_tried() {
    let mut names: Vec<&str> = edits().iter().map(|(kind, ..)| kind.name()).collect();
    names.dedup();
    assert!(names.len() >= 7, "{names:?}");
}

/// Texts of which an edit was once not taken back, though others had only put a line at their end.
#[test]
fn what_was_once_too_much_is_taken_back() {
    let cases: [(&str, Value, &[u8]); 4] = [
        // An empty line sets the section apart only where something is above it.
        ("ini", json!({ "path": "/etc/x", "section": "mail", "key": "relay", "value": "y" }), b""),
        // Two places that change, and others' lines come between them.
        ("locale", json!({ "lang": "C.UTF-8", "variables": { "LC_MESSAGES": "C" } }), b"LANG=C\n"),
        // Latin-1; what is left of it without the block is ASCII.
        (
            "block",
            json!({ "path": "/etc/x", "name": "n", "state": "absent" }),
            b"# BEGIN weiche n\n\xfc\n# END weiche n\nx\n",
        ),
        // The same, and what is left is UTF-8.
        (
            "block",
            json!({ "path": "/etc/x", "name": "n", "state": "absent" }),
            b"# BEGIN weiche n\n\xfc\n# END weiche n\n\xc3\xa4\n",
        ),
    ];
    for (name, spec, text) in cases {
        let kind = kind(name).unwrap();
        let path = kind.edits(&spec).remove(0);
        let mut host = host_with(&path, text);
        assert_eq!(apply("run-1", kind, &spec, &mut host), Some(StepOutcome::Changed), "{name}");
        let touched = [content(&mut host, &path), b"# of others\n".to_vec()].concat();
        host.write(&path, &mut touched.as_slice(), &Attributes::default()).unwrap();
        assert!(undo(&mut host), "{name} is stuck");
        assert_eq!(shown(&content(&mut host, &path)), shown(&[text, b"# of others\n"].concat()), "{name}");
    }
    let (ini, continued) = (kind("ini").unwrap(), b"a = \\".as_slice());
    let mut host = host_with(Path::new("/etc/x"), continued);
    let made = apply("run-1", ini, &json!({ "path": "/etc/x", "key": "b", "value": "1" }), &mut host);
    assert!(matches!(made, Some(StepOutcome::Failed(fault)) if fault.code == FaultCode::Conflict));
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn an_edit_is_made_once_and_taken_back(text in text(), which in any::<Index>()) {
        let edits = edits();
        let (kind, spec, path) = &edits[which.index(edits.len())];
        let mut host = host_with(path, &text);
        let before = host.snapshot();
        let what = format!("{} {spec}", kind.name());
        let made = heap::within(of_text(text.len()), &what, || apply("run-1", *kind, spec, &mut host));
        if let Some(StepOutcome::Failed(fault)) = made {
            // A program may refuse what it is given; but what was edited is as the edit wants it.
            prop_assert!(fault.code != FaultCode::NotConverged, "{what}: {fault}");
        } else {
            let again = apply("run-2", *kind, spec, &mut host);
            prop_assert!(matches!(again, Some(StepOutcome::Unchanged)), "{what}, once more: {again:?}");
        }
        prop_assert!(undo(&mut host), "{what} is stuck, and nobody has touched it");
        prop_assert_eq!(content(&mut host, path), text, "{}", what);
        prop_assert_eq!(host.snapshot(), before, "{}", what);
    }

    /// Others put lines of their own above, below and between: all of them stay. Ours go, or none of them does.
    #[test]
    fn what_others_wrote_stays(text in text(), which in any::<Index>(), places in prop::collection::vec(any::<Index>(), 1..3)) {
        let edits = edits();
        let (kind, spec, path) = &edits[which.index(edits.len())];
        let mut host = host_with(path, &text);
        let what = format!("{} {spec}", kind.name());
        // A line that goes on on the next one goes on on theirs: then all that follows means something else.
        let continued = text.split(|b| *b == b'\n').any(|line| line.ends_with(b"\\") || line.ends_with(b"\\\r"));
        if continued || !matches!(apply("run-1", *kind, spec, &mut host), Some(StepOutcome::Changed)) {
            return Ok(());
        }
        let edited = content(&mut host, path);
        let crlf = edited.split_inclusive(|b| *b == b'\n').next().is_some_and(|line| line.ends_with(b"\r\n"));
        let theirs = |n: usize| format!("# of others {n}{}", if crlf { "\r" } else { "" }).into_bytes();
        let mut lines: Vec<Vec<u8>> = edited.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let mut expected: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        for (n, place) in places.iter().enumerate() {
            lines.insert(place.index(lines.len()), theirs(n));
            expected.push(theirs(n));
        }
        let touched = lines.join(&b'\n');
        let meta = host.lstat(path).unwrap().unwrap().attributes;
        host.write(path, &mut touched.as_slice(), &meta).unwrap();
        let back = undo(&mut host);
        let now = content(&mut host, path);
        // Stuck it may be with our part gone as well: where others' line has made the edit mean something else.
        if back || now != touched {
            let expected = expected.join(&b'\n');
            let (now, expected) = (sorted(&now).join(&b'\n'), sorted(&expected).join(&b'\n'));
            prop_assert_eq!(shown(&now), shown(&expected), "{}: {}", what, shown(&touched));
        }
    }
}
