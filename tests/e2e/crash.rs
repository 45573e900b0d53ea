//! kill -9 of the agent and of the controller after every record: afterwards every host is new or exactly as it was.

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

const SWAP: [&str; 4] = ["copy-swap", "old=rathaus/old", "new=rathaus/new", "--yes"];

/// A town that the shipped swap can be run in.
pub(crate) fn swap_town() -> Town {
    let town = Town::new(&["old", "new"]);
    let member = format!(
        "member: rathaus\nname: Test town hall\nsites: {{ a: {{ address: \"made up\" }} }}\nservers:\n{}{}",
        town.server("old", ", profile: small-server"),
        town.server("new", ", replaces: old"),
    );
    town.write("members/rathaus.yaml", &member);
    town.write(
        "profiles/small-server.yaml",
        "\
profile: small-server
parameters: { data: { type: list, default: [/srv/share] } }
resources:
  - group: { name: staff-share, gid: 1500 }
  - package: { name: nginx }
  - file: { path: /etc/motd, content: \"{{host.name}}\\n\" }
  - directory: { path: /srv/intranet, mode: \"2775\", group: staff-share }
  - unit: { name: nginx, enabled: true, running: true, restart_on: [\"file /etc/motd\"] }
",
    );
    // The shipped playbook, with the shape of the real one and checks that a sandbox can pass.
    town.write(
        "playbooks/copy-swap.yaml",
        "\
playbook: copy-swap
inputs: { old: host, new: host }
stages:
  - stage: build
    on: new
    steps: [ { apply: \"{{old.profile}}\" } ]
  - stage: presync
    on: new
    steps: [ { transfer: { from: \"{{old.id}}\", paths: \"{{old.data}}\" } } ]
  - stage: stop
    on: old
    steps:
      - file: { path: /etc/retired, content: \"replaced by {{new.name}}\\n\" }
  - stage: cutover
    on: new
    steps:
      - transfer: { from: \"{{old.id}}\", paths: \"{{old.data}}\", delete: true }
      - file: { path: /etc/serving, content: \"since today\\n\" }
",
    );
    town
}

fn forward(town: &Town, more: &[&str]) -> i32 {
    let mut arguments = vec!["apply"];
    arguments.extend(SWAP);
    arguments.extend(more);
    town.weiche(&arguments).code
}

#[test]
fn the_agent_killed_after_every_record_leaves_every_host_as_it_was() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_agent_killed_after_every_record_leaves_every_host_as_it_was", &why);
    }
    let hosts = ["old", "new"];
    let town = swap_town();
    let before = town.manifests(&hosts);
    let mut killed = 0;
    for host in hosts {
        for record in 0.. {
            let code = forward(&town, &["--crash-agent", &format!("rathaus/{host}={record}")]);
            if code == 0 {
                // Never reached: the whole swap went through.
                town.weiche(&["rollback", "latest"]).expect(0);
                assert_eq!(town.manifests(&hosts), before);
                break;
            }
            assert_eq!(code, 3, "{host} after record {record}: {}", town.weiche(&["status", "latest"]).stdout);
            assert_eq!(town.manifests(&hosts), before, "{host} after record {record}");
            killed += 1;
        }
    }
    assert!(killed > 10, "only {killed} crashes: the rehearsal does not crash");
}

#[test]
fn the_controller_killed_after_every_event_can_go_on_or_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_controller_killed_after_every_event_can_go_on_or_back", &why);
    }
    let hosts = ["old", "new"];
    let town = swap_town();
    let before = town.manifests(&hosts);
    assert_eq!(forward(&town, &[]), 0);
    let after = town.manifests(&hosts);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&hosts), before);
    let mut killed = 0;
    for event in 1.. {
        // Even numbers go on, odd ones go back.
        let code = forward(&town, &["--crash-after-event", &event.to_string()]);
        if code == 0 {
            break;
        }
        assert_eq!(code, 128 + 6, "an abort after event {event}");
        killed += 1;
        let status = town.weiche(&["status", "latest"]).expect(0);
        assert!(status.stdout.contains("next: weiche"), "{}", status.stdout);
        let ended = town.weiche(&["status", "latest", "--json"]).stdout.contains("\"ended\"");
        if event % 2 == 0 && !ended {
            town.weiche(&["resume", "latest"]).expect(0);
            assert_eq!(town.manifests(&hosts), after, "resumed after event {event}");
        }
        town.weiche(&["rollback", "latest"]).expect(0);
        assert_eq!(town.manifests(&hosts), before, "taken back after event {event}");
    }
    assert!(killed > 10, "only {killed} crashes: the rehearsal does not crash");
}
