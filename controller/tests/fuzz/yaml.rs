//! Members, profiles, playbooks and the configuration, damaged: all problems are told, with places that exist. Damage by
//! characters in the way is tried in `input/tests/damage.rs`; here it is bytes, and what an input may cost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use weiche::input::check::{self, Documents};
use weiche::input::diagnostic::{Problems, render};
use weiche::input::files::NoFiles;
use weiche::input::fleet::Base;
use weiche::input::shipped;
use weiche::input::source::{Source, Sources};

use super::corpus::{cases, corpus, damage};
use super::heap;

/// A fleet of so many bytes may cost so much. Problems show the lines they are about, and aliases may repeat what is
/// long: up to 100,000 nodes.
fn of_fleet(bytes: usize) -> usize {
    (48 << 20) + 2000 * bytes
}

/// Texts by path, as they lie in a fleet's directory.
type Texts = BTreeMap<String, String>;

/// The example fleet, and the shipped playbooks and profiles as if they were its own.
fn fleet() -> Texts {
    let kitu = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kitu");
    let mut texts = Texts::new();
    for place in ["", "members", "profiles"] {
        for (name, text) in yaml_in(&kitu.join(place)) {
            texts.insert(PathBuf::from(place).join(name).to_string_lossy().into_owned(), text);
        }
    }
    let shipped = shipped::profiles().into_iter().chain(shipped::playbooks());
    for source in shipped {
        let name = source.name().rsplit('/').next().unwrap_or_default();
        let place = if source.name().contains("profiles/") { "profiles" } else { "playbooks" };
        texts.insert(format!("{place}/{name}"), source.text().to_owned());
    }
    assert!(texts.len() >= 8, "{:?}", texts.keys());
    texts
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn yaml_in(dir: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let yaml = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    yaml.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

fn read(texts: &Texts, what: &str) {
    let bytes: usize = texts.values().map(String::len).sum();
    heap::within(of_fleet(bytes), what, || {
        let (mut sources, mut documents) = (Sources::default(), Documents::default());
        for (name, text) in texts {
            let source = Source::new(name, text.as_str());
            sources.add(source.clone());
            match name.split('/').next() {
                Some("members") => documents.members.push(source),
                Some("profiles") => documents.profiles.push(source),
                Some("playbooks") => documents.playbooks.push(source),
                _ => documents.config = Some(source),
            }
        }
        let problems = match check::read(&documents, &NoFiles, Base::default(), &mut sources) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        let told = render(&problems, &sources, false);
        let wild = told.lines().find(|line| line.chars().any(|c| c.is_control() && c != '\t'));
        assert!(wild.is_none(), "{what}: {wild:?}");
    });
}

#[test]
fn the_corpus_is_read() {
    for (name, bytes) in corpus("yaml") {
        for place in ["members/x.yaml", "profiles/x.yaml", "playbooks/x.yaml", "weiche.yaml"] {
            let mut texts = fleet();
            texts.insert(place.into(), String::from_utf8_lossy(&bytes).into_owned());
            read(&texts, &format!("{name} as {place}"));
        }
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_damaged_fleet_is_read(which in any::<Index>(), damages in prop::collection::vec(damage(), 1..5)) {
        let mut texts = fleet();
        let name = texts.keys().nth(which.index(texts.len())).cloned().unwrap();
        let mut bytes = texts[&name].clone().into_bytes();
        damages.iter().for_each(|damage| damage.happen(&mut bytes));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // By itself as well: the fleet's other files may hide a problem behind theirs.
        let (source, mut problems) = (Source::new(&name, text.as_str()), Problems::new());
        weiche::input::yaml::parse(&source, &mut problems);
        texts.insert(name.clone(), text);
        read(&texts, &name);
    }
}
