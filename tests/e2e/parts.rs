//! A playbook that uses another one for two pairs of hosts: in order, back in the reverse order, and a pair that is set aside.

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use crate::rollout::{HOSTS, MOTD, events};

const BOTH: &str = "playbook: both
inputs: { a: host, b: host, c: host, d: host }
stages:
  - use: one
    on_stop: set_aside
    parts:
      - { part: first, inputs: { old: a, new: b } }
      - { part: second, inputs: { old: c, new: d } }
";

const APPLY: [&str; 7] = ["apply", "both", "a=rathaus/a", "b=rathaus/b", "c=rathaus/c", "d=rathaus/d", "--yes"];

fn town() -> Town {
    let town = Town::new(&HOSTS);
    let one = format!(
        "playbook: one\ninputs: {{ old: host, new: host }}\nstages:\n  - stage: cutover\n    on: [old, new]\n    within: 60s\n    \
         steps:\n      - {MOTD}\n        on: old\n      - {MOTD}\n        on: new\n  - stage: soak\n    on: [old, new]\n    \
         steps:\n      - file: {{ path: /etc/soaked, content: \"yes\\n\" }}\n"
    );
    town.write("playbooks/one.yaml", &one);
    town.write("playbooks/both.yaml", BOTH);
    town
}

/// What became of the hosts, without times.
fn order(town: &Town, what: &str) -> Vec<String> {
    let short = |line: String| line.split_once("rathaus/").map(|(_, rest)| rest.to_owned());
    events(town, what).into_iter().filter_map(short).collect()
}

#[test]
fn a_pair_that_fails_goes_back_alone_and_the_others_go_on_or_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_pair_that_fails_goes_back_alone_and_the_others_go_on_or_back", &why);
    }
    let town = town();
    let before = town.manifests(&HOSTS);
    let same = || {
        let now = town.manifests(&HOSTS);
        HOSTS.into_iter().filter(|host| now[*host] == before[*host]).collect::<Vec<_>>()
    };
    let inject = [&APPLY[..], &["--inject", "rathaus/d:second-cutover.2=fail"]].concat();
    let ran = town.weiche(&inject).expect(6);
    assert!(ran.stderr.contains("stage second-cutover was taken back"), "{}", ran.stderr);
    assert_eq!(same(), ["c", "d"]);
    let said = town.weiche(&["status", "latest"]).expect(0).stdout;
    assert!(said.contains("HALTED in stage second-cutover"), "{said}");

    // On, without the pair: the steps of the others have their contents.
    town.weiche(&["continue", "latest"]).expect(3);
    assert_eq!(same(), ["c", "d"]);
    assert!(town.root("a").join("etc/soaked").exists() && !town.root("c").join("etc/soaked").exists());
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);

    // Or all back.
    town.weiche(&inject).expect(6);
    town.weiche(&["abort", "latest"]).expect(3);
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn the_parts_come_one_after_the_other_and_go_back_in_the_reverse_order() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_parts_come_one_after_the_other_and_go_back_in_the_reverse_order", &why);
    }
    let town = town();
    town.weiche(&APPLY).expect(0);
    let began: Vec<String> =
        events(&town, " started").iter().filter_map(|line| Some(line.split_once("stage ")?.1.to_owned())).collect();
    assert_eq!(
        began,
        ["first-cutover", "second-cutover", "first-soak", "second-soak"].map(|name| format!("{name} started"))
    );
    town.weiche(&["rollback", "latest"]).expect(0);
    let back = order(&town, "-cutover taken back");
    assert_eq!(back.len(), 4, "{back:?}");
    assert!(back[..2].iter().all(|line| line.contains("second-")), "{back:?}");
}
