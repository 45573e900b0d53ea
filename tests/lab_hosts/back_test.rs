//! What five swaps took predicts the sixth: real hosts, real packages, a service that moves from server to server.

use serde_json::Value;
use weiche_tests::lab::Lab;

use crate::cutover::{playbook, town};
use crate::fleet::Fleet;

/// Swaps that are recorded.
const RECORDED: usize = 5;

/// What is set up on the new server beforehand, in front of the stages of the test's swap, which has a window now.
fn with_a_build(fleet: &Fleet<'_>) {
    let path = fleet.path().join("playbooks/swap.yaml");
    let swap = std::fs::read_to_string(&path).expect("read");
    let build = "stages:\n  - stage: build\n    on: new\n    steps:\n      - package: { name: wl-server }\n      \
                 - file: { path: /etc/motd, content: \"the new one\\n\" }\n      - directory: { path: /srv/more }\n      \
                 - unit: { name: wl-server, enabled: true, running: true }\n      - check: { unit: wl-server }\n";
    let swap = swap.replace("stages:\n", build).replace("    within: 30s\n", "    within: 30s\n    window: weekend\n");
    std::fs::write(path, swap).expect("write");
    let path = fleet.path().join("members/rathaus.yaml");
    let member = std::fs::read_to_string(&path).expect("read");
    let window = "windows: { weekend: { from: 2026-01-01 00:00, to: 2126-01-01 00:00 } }\n";
    std::fs::write(path, member + window).expect("write");
}

fn report(fleet: &Fleet<'_>) -> Value {
    serde_json::from_str(&fleet.weiche(&["report", "latest"]).expect(0).stdout).expect("JSON")
}

fn ms(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn five_swaps_predict_the_sixth() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("five_swaps_predict_the_sixth", &why);
    }
    let lab = Lab::alone("back-test");
    let (hosts, fleet) = town(&lab);
    playbook(&fleet, "swap", true);
    with_a_build(&fleet);
    let swap = ["apply", "swap", "old=old", "new=new", "--yes", "--quiet"];
    for _ in 0..RECORDED {
        fleet.weiche(&swap).expect(0);
        fleet.weiche(&["rollback", "latest"]).expect(0);
    }
    let plan = ["--json", "whatif", "swap", "old=old", "new=new"];
    let forecast: Value = serde_json::from_str(&fleet.weiche(&plan).expect(0).stdout).expect("JSON");
    assert_eq!((&forecast["basis"]["assumed"], &forecast["basis"]["declared"]), (&0.into(), &0.into()), "{forecast}");
    assert!(ms(&forecast["basis"]["fewest"]) >= 3);

    // The sixth, there ...
    let said = fleet.weiche(&swap).expect(0).stderr;
    assert!(said.contains("cutover through by"), "how it lies in time is told: {said}");
    let report = self::report(&fleet);
    let stages = report["forecast"].as_array().expect("stages");
    assert_eq!(stages.len(), 3, "{stages:?}");
    let (mut steps, mut beyond) = (0, Vec::new());
    for stage in stages {
        let (took, bound) = (ms(&stage["took_ms"]), ms(&stage["bound_ms"]));
        eprintln!("{}: {took} ms, usually {}, at most {bound}", stage["stage"], stage["usual_ms"]);
        assert!(took <= bound, "{stage}");
        for step in stage["steps"].as_array().expect("steps") {
            steps += 1;
            if ms(&step["took_ms"]) > ms(&step["bound_ms"]) {
                beyond.push(step.to_string());
            }
        }
    }
    eprintln!("{} of {steps} steps beyond their bound", beyond.len());
    // The longest of five is the longest of six in five of six cases: a step may lie beyond it, the sum does not.
    assert!(steps >= 10 && beyond.len() * 4 <= steps, "{} of {steps}: {beyond:?}", beyond.len());

    // ... and back: as long as was said at most.
    fleet.weiche(&["rollback", "latest"]).expect(0);
    let report = self::report(&fleet);
    let events = report["events"].as_array().expect("events");
    let last = |name: &str| {
        let found = events.iter().filter(|event| event["what"].get(name).is_some());
        found.map(|event| ms(&event["at_ms"])).max().expect("it happened")
    };
    let took = last("run_ended") - last("rollback_started");
    let bound = ms(&forecast["stages"][2]["back_ms"]);
    eprintln!("back: {took} ms, at most {bound}");
    assert!(took <= bound, "{took} ms back, {bound} were said");
    drop(hosts);
}
