//! No damage to a text makes the reader panic or point outside of it.

use super::*;
use crate::input::{playbook, profile, shipped};

/// Texts put in the way: YAML's and Handlebars' own characters, and characters of several bytes.
const DEBRIS: [&str; 12] = ["{{", "}}", "\"", "'", "[", "}", ": ", "\n- ", "&a ", "*a", "ß€", "\t"];

fn survives(name: &str, text: &str) {
    let (source, mut problems) = (Source::new(name, text), Problems::new());
    if name.contains("profile") {
        profile::parse(&source, &mut problems);
    } else {
        playbook::parse(&source, &mut problems);
    }
    let mut sources = Sources::default();
    sources.add(source);
    render(&problems.sorted(), &sources, true);
}

#[test]
fn damaged_profiles_and_playbooks_are_read() {
    let all: Vec<Source> = shipped::profiles().into_iter().chain(shipped::playbooks()).collect();
    for source in &all {
        let text = source.text();
        for (n, (at, _)) in text.char_indices().enumerate().filter(|(n, _)| n % 7 == 0) {
            let debris = DEBRIS[n / 7 % DEBRIS.len()];
            survives(source.name(), &format!("{}{debris}{}", &text[..at], &text[at..]));
            survives(source.name(), &text[..at]);
        }
    }
}

#[test]
fn damaged_members_are_read() {
    for (n, (at, _)) in MEMBER.char_indices().enumerate().filter(|(n, _)| n % 11 == 0) {
        let debris = DEBRIS[n / 11 % DEBRIS.len()];
        let mut texts = good();
        texts.insert("members/alpha.yaml", format!("{}{debris}{}", &MEMBER[..at], &MEMBER[at..]));
        let (result, sources) = read(&texts);
        if let Err(problems) = result {
            render(&problems, &sources, false);
        }
    }
}
