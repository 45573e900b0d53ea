//! Journals, damaged. The journal is all that an undo has: what is lost of it must be told.

use std::collections::BTreeMap;
use std::io::Read;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use weiche_agent::engine;
use weiche_agent::fault::FaultCode;
use weiche_agent::host::Host;
use weiche_agent::host::fake::{FakeHost, Moment};
use weiche_agent::journal::Journal;
use weiche_agent::protocol::{Status, Step, StepId};

use super::corpus::{Damage, cases, corpus, damage};
use super::{heap, id, step};

const JOURNAL: &str = "runs/run-1/journal";

/// A journal of so many bytes may cost so much. It is read at once, and a record becomes values.
fn of_journal(bytes: usize) -> usize {
    (64 << 10) + 64 * bytes
}

type Statuses = BTreeMap<StepId, Status>;

fn statuses(host: &mut FakeHost) -> Result<Statuses, FaultCode> {
    let journal = Journal::open(&id("run-1"), host).map_err(|fault| fault.code)?;
    Ok(journal.statuses().into_iter().map(|s| (s.step, s.status)).collect())
}

fn text(host: &mut FakeHost) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reader = host.state_open(JOURNAL).unwrap();
    reader.map(|mut reader| reader.read_to_end(&mut bytes).unwrap());
    bytes
}

fn steps() -> Vec<Step> {
    vec![
        step("s.0", "directory", json!({ "path": "/srv/data" })),
        step("s.1", "symlink", json!({ "path": "/srv/now", "target": "d\u{e4}ta" })),
        step("s.2", "unit", json!({ "name": "cron", "running": false })),
        step("s.3", "line", json!({ "path": "/etc/hosts", "line": "192.0.2.7 print" })),
    ]
}

/// Hosts that lost power at every moment of a run and its undo that leaves another journal, the last one whole.
fn hosts() -> Vec<FakeHost> {
    let mut hosts: Vec<FakeHost> = Vec::new();
    let mut whole = FakeHost::debian();
    for back in [false, true] {
        let act = |host: &mut FakeHost| {
            let Ok(mut journal) = Journal::open(&id("run-1"), host) else { return };
            let _ = if back {
                engine::undo(None, false, &mut journal, host, &mut |_| {}).map(|_| ())
            } else {
                engine::apply(&steps(), &mut journal, host, &mut |_| {}).map(|_| ())
            };
        };
        for (n, moment) in (1..).flat_map(|n| [(n, Moment::Within), (n, Moment::After)]) {
            let mut host = whole.clone();
            host.crash_at(n, moment);
            act(&mut host);
            let crashed = host.crashed();
            host.reboot();
            if hosts.last_mut().is_none_or(|last| text(last) != text(&mut host)) {
                hosts.push(host);
            }
            if !crashed {
                break;
            }
        }
        act(&mut whole);
    }
    hosts
}

/// What is told of a journal of which bytes are others, but none is missing: the truth, or that it is damaged.
fn nothing_is_forgotten(host: &FakeHost, truth: &Statuses, damaged: &[u8], what: &str) {
    let mut host = host.clone();
    host.state_write(JOURNAL, &mut &*damaged).unwrap();
    match heap::within(of_journal(damaged.len()), what, || statuses(&mut host)) {
        Ok(told) => assert_eq!(told, *truth, "{what}"),
        Err(code) => assert!(matches!(code, FaultCode::Corrupt | FaultCode::Unsupported), "{what}: {code:?}"),
    }
}

#[test]
fn no_changed_byte_makes_a_step_forgotten() {
    for (n, mut host) in hosts().into_iter().enumerate() {
        let (whole, truth) = (text(&mut host), statuses(&mut host).unwrap());
        // Every byte of the last two lines, some of the others: a bit, a newline, and what disks put there.
        let start = whole.split_inclusive(|b| *b == b'\n').rev().skip(2).map(<[u8]>::len).sum();
        for at in (0..start).step_by(11).chain(start..whole.len()) {
            for byte in [whole[at] ^ 1, whole[at] ^ 0x80, b'\n', b' ', b'}', 0, 0xc3, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                nothing_is_forgotten(&host, &truth, &damaged, &format!("journal {n}, byte {at} is {byte:#04x}"));
            }
        }
    }
}

#[test]
fn the_corpus_is_read() {
    for (name, bytes) in corpus("journal") {
        let mut host = FakeHost::debian();
        host.state_write(JOURNAL, &mut bytes.as_slice()).unwrap();
        let told = heap::within(of_journal(bytes.len()), &name, || statuses(&mut host));
        // What is to be said of it is in the name.
        match name.split('-').next() {
            Some("corrupt") => assert_eq!(told, Err(FaultCode::Corrupt), "{name}"),
            Some("unsupported") => assert_eq!(told, Err(FaultCode::Unsupported), "{name}"),
            Some(number) => assert_eq!(told.map(|told| told.len()), Ok(number.parse().unwrap()), "{name}"),
            None => {}
        }
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    /// A sector that was lost reads as zeros or ones.
    #[test]
    fn no_lost_sector_makes_a_step_forgotten(which in any::<Index>(), at in any::<Index>(), n in 1..600_usize, ones in any::<bool>()) {
        let hosts = some_hosts();
        let host = &hosts[which.index(hosts.len())];
        let mut damaged = host.1.clone();
        Damage::Run(at, n, ones).happen(&mut damaged);
        nothing_is_forgotten(&host.0, &host.2, &damaged, "a lost sector");
    }

    /// A journal that is cut off says what it said at an earlier moment, and an undo goes on from there.
    #[test]
    fn a_journal_that_is_cut_off_tells_an_earlier_truth(which in any::<Index>(), cut in any::<Index>()) {
        let hosts = some_hosts();
        let (host, whole, _) = &hosts[which.index(hosts.len())];
        let cut = cut.index(whole.len() + 1);
        let mut host = host.clone();
        host.state_write(JOURNAL, &mut &whole[..cut]).unwrap();
        let told = statuses(&mut host).unwrap();
        let lines = whole[..cut].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        host.state_write(JOURNAL, &mut &whole[..lines]).unwrap();
        prop_assert_eq!(told, statuses(&mut host).unwrap());
    }

    /// Any damage at all: no panic, and never a step that did not exist, nor a journal that cannot be appended to.
    #[test]
    fn any_damage_is_survived(which in any::<Index>(), damages in prop::collection::vec(damage(), 1..6)) {
        let hosts = some_hosts();
        let (host, whole, truth) = &hosts[which.index(hosts.len())];
        let mut damaged = whole.clone();
        damages.iter().for_each(|damage| damage.happen(&mut damaged));
        let mut host = host.clone();
        host.state_write(JOURNAL, &mut damaged.as_slice()).unwrap();
        if let Ok(told) = heap::within(of_journal(damaged.len()), "any damage", || statuses(&mut host)) {
            prop_assert!(told.keys().all(|step| truth.contains_key(step)));
            let mut journal = Journal::open(&id("run-1"), &mut host).unwrap();
            engine::undo(None, true, &mut journal, &mut host, &mut |_| {}).unwrap();
            prop_assert!(statuses(&mut host).is_ok(), "{}", damaged.escape_ascii());
        }
    }
}

/// Hosts with their journal, and where its steps truly stand.
type Truths = std::rc::Rc<Vec<(FakeHost, Vec<u8>, Statuses)>>;

/// [`hosts`] with their journals and what these say, made once for each test.
fn some_hosts() -> std::rc::Rc<Vec<(FakeHost, Vec<u8>, Statuses)>> {
    thread_local! {
        static HOSTS: std::cell::OnceCell<Truths> =
            const { std::cell::OnceCell::new() };
    }
    let with_truth = |mut host: FakeHost| {
        let (whole, truth) = (text(&mut host), statuses(&mut host).unwrap());
        (host, whole, truth)
    };
    HOSTS.with(|made| made.get_or_init(|| std::rc::Rc::new(hosts().into_iter().map(with_truth).collect())).clone())
}
