//! Manifests, damaged: they are compared with the host line by line, and a damaged one must not say "identical".

use std::io::Read;

use proptest::prelude::*;
use serde_json::json;
use weiche_agent::host::Host;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::manifest;
use weiche_agent::protocol::{Entry, Scope};

use super::corpus::{cases, corpus, damage};
use super::{heap, id, step};

const MANIFEST: &str = "runs/run-1/manifest";

/// A manifest of so many bytes may cost so much: a line at a time is held, and the walk over the fake host.
fn of_manifest(bytes: usize) -> usize {
    (1 << 20) + 64 * bytes
}

fn host() -> (FakeHost, Vec<u8>) {
    let mut host = FakeHost::debian();
    let scope = Scope {
        steps: vec![
            step("s.1", "directory", json!({ "path": "/srv/data" })),
            step("s.2", "package", json!({ "name": "nginx" })),
            step("s.3", "unit", json!({ "name": "cron", "running": true })),
        ],
        listed: vec!["/srv".into()],
        watch: vec!["/etc".into()],
        except: vec!["/etc/systemd".into()],
    };
    manifest::take(&id("run-1"), &scope, &mut host).unwrap();
    let mut bytes = Vec::new();
    host.state_open(MANIFEST).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    (host, bytes)
}

/// Reads it in each way there is; the summary and the number of differences, if it can be read.
fn read(host: &mut FakeHost, bytes: &[u8], what: &str) -> Option<(weiche_agent::protocol::Manifest, u64)> {
    host.state_write(MANIFEST, &mut &*bytes).unwrap();
    heap::within(of_manifest(bytes.len()), what, || {
        let mut exported: Vec<Entry> = Vec::new();
        let export = manifest::export(&id("run-1"), host, &mut |entry| exported.push(entry));
        let mut told = 0;
        let verified = manifest::verify(&id("run-1"), host, &mut |_| told += 1);
        assert!(told <= manifest::TOLD_MAX, "{what}: {told} differences");
        if verified.is_ok() {
            assert!(export.is_ok(), "{what}: {export:?}");
        }
        verified.ok().flatten()
    })
}

#[test]
fn the_corpus_is_read() {
    let (host, _) = host();
    for (name, bytes) in corpus("manifest") {
        let verified = read(&mut host.clone(), &bytes, &name);
        assert_eq!(verified.is_some(), !name.starts_with("corrupt"), "{name}: {verified:?}");
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn a_damaged_manifest_is_never_taken_for_the_true_one(damages in prop::collection::vec(damage(), 1..4)) {
        let (mut host, whole) = host();
        let truth = read(&mut host, &whole, "the true one").unwrap();
        let mut damaged = whole.clone();
        damages.iter().for_each(|damage| damage.happen(&mut damaged));
        if let Some(told) = read(&mut host, &damaged, "a damaged one") {
            prop_assert_eq!(told.0 == truth.0, damaged == whole, "the controller compares the digest with its run log");
        }
    }
}
