//! What is shipped, and the example, have no mistakes.

use std::path::Path;

use super::*;
use crate::input::load::load;
use crate::input::shipped;

#[test]
fn the_good_fleet_is_good() {
    let (result, sources) = read(&good());
    let (fleet, warnings) = result.unwrap_or_else(|problems| panic!("{}", render(&problems, &sources, false)));
    assert!(warnings.is_empty(), "{}", render(&warnings, &sources, false));
    assert_eq!(fleet.hosts().count(), 3);
}

#[test]
fn every_shipped_playbook_and_profile_is_used() {
    let fleet = fleet(&good());
    let playbooks: Vec<&str> = fleet.playbooks().keys().map(String::as_str).collect();
    assert_eq!(playbooks, ["converge", "copy-swap", "data-centre-move", "server-swap", "town-hall-swap"]);
    // The good fleet has one of its own.
    assert_eq!(fleet.profiles().len(), shipped::profiles().len() + 1);
    for name in ["town-server", "base", "file-server"] {
        assert!(fleet.profiles().contains_key(name), "{name}");
    }
}

#[test]
fn what_can_be_swapped_has_all_its_companions() {
    let fleet = fleet(&good());
    for part in ["ready", "follows", "rests", "serves", "leaves", "alone"] {
        assert!(fleet.profiles().contains_key(&format!("town-server-{part}")), "{part}");
    }
}

#[test]
fn no_shipped_file_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks");
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let known = match name.strip_prefix("files/") {
                Some(file) => shipped::file(file).is_some(),
                None => {
                    let full = format!("{}{name}", shipped::PREFIX);
                    shipped::playbooks().iter().chain(&shipped::profiles()).any(|source| **source.name() == *full)
                }
            };
            assert!(known, "playbooks/{name} is not in the list of shipped files");
        }
    }
}

#[test]
fn the_example_is_clean() {
    let loaded = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kitu"))
        .unwrap_or_else(|failure| panic!("{}", failure.render(false)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.render(&loaded.warnings, false));
}

#[test]
fn the_documentation_is_clean() {
    let text = include_str!("../../../../docs/fleet.md");
    let key = MEMBER.split_once("ssh-ed25519 ").and_then(|(_, rest)| rest.split_once(',')).unwrap().0;
    let mut texts = Texts::new();
    for (name, start) in [
        ("weiche.yaml", "fleet: "),
        ("members/x.yaml", "member: "),
        ("profiles/x.yaml", "profile: "),
        ("playbooks/x.yaml", "playbook: "),
    ] {
        let mut blocks = text.split("```yaml\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0));
        texts.insert(name, blocks.find(|block| block.starts_with(start)).unwrap().replace("AAAA...", key));
    }
    let windows =
        text.split("```yaml\n").find(|block| block.starts_with("member: ") && block.contains("holidays: also"));
    texts.insert("members/windows.yaml", windows.unwrap().split_once("```").unwrap().0.into());
    let signers = text.split("```\n").find(|block| block.starts_with("anna@")).unwrap();
    let [first, second, _] = crate::approval::tests::signatures::PUBLIC;
    let signers = signers.replacen("ssh-ed25519 AAAA...", first, 1).replacen("ssh-ed25519 AAAA...", second, 1);
    texts.insert("allowed_signers", signers);
    let fleet = fleet(&texts);
    assert_eq!((fleet.hosts().count(), fleet.signers().principals().count()), (4, 2));
    assert_eq!(fleet.vantage("obere-aller").unwrap().name(), "pc-102");
    for window in ["weekend", "night", "bank-holiday", "christmas"] {
        assert!(fleet.window("wolmirstedt", window).unwrap().opening(0).is_some(), "{window}");
    }
}
