//! The reference pages say what the code says, and every kind's proofs exist. `INSTA_UPDATE=always` writes the pages
//! (`make bless`).

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use weiche::input::resource::kind_names;
use weiche::show::reference;
use weiche_agent::resource::{examples, kind};

/// Tests on real hosts that prove a kind: kind, test function or Python test, or a reason in words after `-`.
const REAL: &str = include_str!("../../tests/lab/kinds.txt");

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn same(path: &str, wanted: &str) {
    let path = top().join(path);
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, wanted).unwrap();
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(have == wanted, "{} is not what the code says: run `make bless`", path.display());
}

fn real() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut real: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in REAL.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (kind, proof) = line.split_once(' ').expect("KIND PROOF");
        real.entry(kind).or_default().push(proof.trim());
    }
    real
}

#[test]
fn every_kind_has_its_page() {
    for name in kind_names() {
        same(&format!("docs/kinds/{name}.md"), &reference::page(name).unwrap());
    }
    let pages = fs::read_dir(top().join("docs/kinds")).unwrap().count();
    assert_eq!(pages, kind_names().count() + 1, "a page of a kind that is no more");
}

#[test]
fn the_table_of_proofs_is_true() {
    let sources = sources(&top().join("tests"));
    let real = real();
    let mut table = String::from(
        "# Resource kinds\n\n\
        Each is one file in `agent/src/resources`. The laws (`agent/tests/laws.rs`) try every example of every kind on six\n\
        hosts: apply, apply again, undo, undo after a power cut before and after every effect, with what was not synced lost.\n\
        Generated; `make bless` writes it anew.\n\n\
        | kind | get, want, put | laws and crashes | on a real host | undo |\n|---|---|---|---|---|\n",
    );
    for name in kind_names() {
        let count = examples().iter().filter(|(kind, _)| kind.name() == name).count();
        assert!(count > 0, "{name} has no example: no law is tried on it");
        let source = fs::read_to_string(top().join(format!("agent/src/resources/{name}.rs"))).unwrap();
        let cases = if source.contains("#[cfg(test)]") { "laws, data cases" } else { "laws" };
        let proofs = real.get(name).unwrap_or_else(|| panic!("tests/lab/kinds.txt has no line for `{name}`"));
        for proof in proofs.iter().filter(|proof| !proof.starts_with('-')) {
            assert!(
                sources.contains(&format!("fn {proof}(")) || sources.contains(&format!("def {proof}(")),
                "no test `{proof}`"
            );
        }
        let words = |proof: &&str| match proof.strip_prefix('-') {
            Some(reason) => reason.trim().to_owned(),
            None => format!("`{proof}`"),
        };
        let proofs: Vec<String> = proofs.iter().map(words).collect();
        let undo = reference::undo(kind(name).unwrap());
        table += &format!(
            "| [`{name}`]({name}.md) | {cases} | {count} example(s) x 6 hosts | {} | {undo} |\n",
            proofs.join(", ")
        );
    }
    same("docs/kinds/README.md", &table);
}

fn sources(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "py") {
            text += &fs::read_to_string(&path).unwrap();
        }
    }
    text
}
