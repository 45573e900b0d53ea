//! A cutover that nobody notices: users keep writing over HTTP while a server is swapped and swapped back, and no request
//! fails, and no write that was acknowledged is lost.

use std::collections::BTreeSet;

use weiche_tests::hall::users::{SERVICE, Users, meanwhile};
use weiche_tests::lab::{HostOptions, Lab, LabHost};

use crate::fleet::Fleet;

/// Takes files by PUT, as WebDAV does; rows are files with numbers for names.
const NGINX: &str =
    "server {\n  listen 80;\n  root /srv/rows;\n  dav_methods PUT;\n  add_header X-Server $hostname always;\n}\n";

/// Installs the service; both servers could do it.
fn set_up(host: &LabHost) {
    host.run(&["apt-get", "install", "-q", "-y", "nginx"]);
    let site = host.root().join("etc/nginx/sites-available/default");
    std::fs::write(site, NGINX).expect("write");
    host.run(&["sh", "-c", "install -d -o www-data /srv/rows && systemctl reload nginx"]);
}

/// The rows that a server has.
fn rows(host: &LabHost) -> BTreeSet<u32> {
    let names = host.run(&["ls", "/srv/rows"]);
    names.lines().filter_map(|name| name.parse().ok()).collect()
}

/// The stages of a swap; without a freeze, and with a pause where it would have mattered.
pub(crate) fn playbook(fleet: &Fleet, name: &str, freeze: bool) {
    let hold = |on: &str, rest: &str| match freeze {
        true => format!("      - hold: {{ name: rows, {rest} }}\n        on: {on}\n"),
        false => format!("      - check: {{ command: [sleep, \"1\"] }}\n        on: {on}\n"),
    };
    let (held, holds, opens) = match freeze {
        true => ("      - hold: { name: rows, ports: [80] }\n", hold("old", "ports: [80]"), hold("new", "state: open")),
        false => ("", String::new(), String::new()),
    };
    let pause = if freeze { String::new() } else { hold("old", "") };
    fleet.write(&format!("playbooks/{name}.yaml"), &format!(
        "playbook: {name}\ninputs: {{ old: host, new: host }}\nmeter: [rows]\nstages:\n  - stage: presync\n    on: new\n    steps:\n{held}      \
         - transfer: {{ from: old, paths: /srv/rows }}\n  - stage: cutover\n    on: [old, new]\n    within: 30s\n    steps:\n\
         {holds}      - transfer: {{ from: old, paths: /srv/rows, delete: true }}\n        on: new\n{pause}      \
         - service_address: {{ address: {SERVICE}/24, state: absent }}\n        on: old\n      \
         - service_address: {{ address: {SERVICE}/24 }}\n        on: new\n{opens}"
    ));
}

/// A town hall with two servers, of which the first has the service.
pub(crate) fn town(lab: &Lab) -> (Vec<LabHost>, Fleet<'_>) {
    let hosts = lab.boot_all(&["old", "new"].map(HostOptions::named));
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(move || set_up(host));
        }
    });
    let fleet = Fleet::new(lab, "weiche", &[(&hosts[0], "base"), (&hosts[1], "base")]);
    let path = fleet.path().join("members/rathaus.yaml");
    let member = std::fs::read_to_string(&path).expect("read");
    let service = format!(
        "services:\n  rows: {{ probe: {{ http: \"http://{SERVICE}/\", status: 403 }}, downtime_budget: 10s }}\n"
    );
    std::fs::write(path, member + &service).expect("write");
    fleet.write(
        "playbooks/place.yaml",
        &format!(
            "playbook: place\ninputs: {{ old: host }}\nstages:\n  - stage: s\n    on: old\n    steps:\n      \
         - service_address: {{ address: {SERVICE}/24 }}\n"
        ),
    );
    fleet.weiche(&["apply", "place", "old=old", "--yes", "--quiet"]).expect(0);
    (hosts, fleet)
}

#[test]
fn users_write_on_while_a_server_is_swapped() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("users_write_on_while_a_server_is_swapped", &why);
    }
    let lab = Lab::alone("cutover");
    let (hosts, fleet) = town(&lab);
    let [old, new] = hosts.as_slice() else { unreachable!("two hosts") };
    playbook(&fleet, "swap", true);
    let swap = ["apply", "swap", "old=old", "new=new", "--yes"];
    let users = Users::default();
    let mut said = String::new();
    let written = meanwhile(&lab, &users, || said = fleet.weiche(&swap).expect(0).stderr);
    eprintln!("{} rows, the slowest after {:?}\n{said}", written.acknowledged.len(), written.slowest);
    written.all_well(&said);
    let lost: Vec<u32> = written.acknowledged.difference(&rows(new)).copied().collect();
    assert_eq!(lost, Vec::<u32>::new(), "acknowledged, and not on the new server");
    assert!(rows(new).len() > rows(old).len(), "the new server has gone on");
    assert!(said.contains("rathaus/rows: "), "{said}");

    // Back it does not go by itself: what was written since would be lost. That is said, and users write on.
    let mut said = String::new();
    let more = meanwhile(&lab, &users, || said = fleet.weiche(&["rollback", "latest"]).expect(4).stderr);
    assert!(said.contains("rathaus/new: STUCK: step cutover.2: replica /srv/rows/** was changed since"), "{said}");
    assert!(said.contains("rathaus/old: STUCK: rathaus/new is stuck, so what came before it stays as well"), "{said}");
    more.all_well(&said);
    assert!(rows(new).is_superset(&more.acknowledged));
    // Who wants it all the same keeps a copy, and users notice nothing of it.
    let back = ["rollback", "latest", "--take-back-anyway"];
    let written = meanwhile(&lab, &users, || drop(fleet.weiche(&back).expect(0)));
    written.all_well("");
    assert!(rows(old).contains(written.acknowledged.last().expect("rows")), "the old server has gone on");
}

#[test]
fn without_a_freeze_writes_are_lost() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("without_a_freeze_writes_are_lost", &why);
    }
    let lab = Lab::new("no-freeze");
    let (hosts, fleet) = town(&lab);
    playbook(&fleet, "swap", false);
    let swap = ["apply", "swap", "old=old", "new=new", "--yes", "--quiet"];
    let users = Users::default();
    let written = meanwhile(&lab, &users, || drop(fleet.weiche(&swap).expect(0)));
    let lost = written.acknowledged.difference(&rows(&hosts[1])).count();
    assert!(lost > 0, "{} requests failed, but nothing was lost", written.failed.len());
}
