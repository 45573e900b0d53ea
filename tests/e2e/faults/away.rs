//! Hosts that were there when the plan was made and are not when their turn comes: they count as failed.

use std::fmt::Write as _;
use std::process::Command;

use weiche_tests::sshd::{Sshd, SshdOptions};
use weiche_tests::town::Town;

use super::{apply, count, file, log, playbook};

/// Forty hosts at once are no attack.
fn crowd() -> SshdOptions {
    SshdOptions { config: vec!["MaxStartups 200".into()], ..SshdOptions::default() }
}

/// A town of forty; those in `away` are reached through the second server.
fn town(names: &[String], away: &[&str]) -> (Town, Sshd) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let town = Town::on(Sshd::start(crowd()), &names);
    let other = Sshd::start(crowd());
    let mut member =
        String::from("member: rathaus\nname: Test town hall\nsites: { a: { address: \"made up\" } }\nservers:\n");
    for name in &names {
        if away.contains(name) {
            let entry = town.server(name, &format!(", ssh: {{ identity: {:?} }}", other.identity));
            let entry = entry.replace(&format!("port: {},", town.sshd.port), &format!("port: {},", other.port));
            let _ = write!(member, "{}", entry.replace(town.sshd.host_key.trim(), other.host_key.trim()));
        } else {
            member += &town.server(name, "");
        }
    }
    town.write("members/rathaus.yaml", &member);
    // Fewer connections than hosts of a wave; and forty agents may start slowly.
    let fleet = std::fs::read_to_string(town.fleet().join("weiche.yaml")).unwrap();
    let fleet = fleet.replace("ssh: {", "ssh: { connect_timeout: 60s,") + "limits: { connections: 8 }\n";
    town.write("weiche.yaml", &fleet);
    (town, other)
}

/// The first host is given the agent, the others have it from there: pushing and syncing it forty times says nothing here.
fn spread_the_agent(town: &Town, names: &[&str]) {
    let (first, rest) = names.split_first().expect("hosts");
    town.weiche(&["plan", "x", &format!("hosts=rathaus/{first}")]).expect(2);
    for name in rest {
        let state = town.state(name);
        std::fs::create_dir_all(&state).unwrap();
        let copied = Command::new("cp").arg("-al").arg(town.state(first).join("agent")).arg(state).status();
        assert!(copied.unwrap().success());
    }
}

#[test]
fn three_of_forty_that_went_away_meet_a_stop_rule_of_two_and_everything_goes_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip(
            "three_of_forty_that_went_away_meet_a_stop_rule_of_two_and_everything_goes_back",
            &why,
        );
    }
    let names: Vec<String> = (1..=40).map(|n| format!("pc-{n:02}")).collect();
    let away = ["pc-07", "pc-11", "pc-12"];
    let (town, other) = town(&names, &away);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    // A person is waited for before the first change: meanwhile three hosts are switched off.
    let cable = String::from("manual: \"Is everybody at home?\"");
    let keys = ["waves: [10, 10, rest]", "stop: [{ failed: 2, over: stage }]", "on_stop: { rollback: run }"];
    playbook(&town, &[("ask", &[], &[cable]), ("s", &keys, &[file("/etc/motd")])]);
    let text = std::fs::read_to_string(town.fleet().join("playbooks/x.yaml")).unwrap();
    let text = text.replacen("on: hosts", "on: { name: pc-01 }", 1);
    town.write("playbooks/x.yaml", &text);
    spread_the_agent(&town, &all);
    let before = town.manifests(&all);

    town.weiche(&apply(&[])).expect(6);
    assert_eq!(town.manifests(&all), before, "nobody is at home yet");
    drop(other);
    town.weiche(&["done", "latest", "ask.1"]).expect(0);
    let ran = town.weiche(&["resume", "latest"]).expect(3);
    assert!(ran.stderr.contains("every host is as it was"), "{}", ran.stderr);

    // One is in the first wave and is tolerated; the second wave has the other two, and is the last one that begins.
    let log = log(&town);
    assert_eq!((count(&log, "wave 2 started"), count(&log, "wave 3 started")), (1, 0), "{log:?}");
    assert_eq!(count(&log, " s failed"), 3, "{log:?}");
    // Those of the second wave that had not begun yet, for want of a connection, never do.
    let s_begun = count(&log, " s begun");
    assert!((9..17).contains(&s_begun), "{s_begun}: {log:?}");
    assert_eq!(count(&log, " s taken back"), s_begun, "{log:?}");
    let stop = log.iter().position(|line| line.contains("taking back:")).expect("a stop");
    assert!(log[stop].contains("failed in stage s: "), "{}", log[stop]);
    assert_eq!(count(&log[stop..], " begun"), 0, "{log:?}");
    for host in away {
        let name = format!("rathaus/{host} ");
        assert_eq!(count(&log, &format!("{name}s begun")), 0);
        assert_eq!(count(&log, &format!("{name}s taken back")), 0);
    }
    let status = town.weiche(&["status", "latest"]).expect(0).stdout;
    for host in away {
        assert!(status.contains(&format!("rathaus/{host}: 0 changed, 0 unchanged, 0 taken back")), "{status}");
    }
    assert_eq!(town.manifests(&all), before);
}
