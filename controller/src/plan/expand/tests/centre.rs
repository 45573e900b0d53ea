//! The shipped playbook `data-centre-move`.

use super::{good, outline, run};
use crate::input::tests::Texts;
use crate::plan::procedure::{Action, Procedure};

const GIVEN: [(&str, &str); 2] = [("old", "fs-old"), ("new", "fs-new")];

const COMPANIONS: [(&str, &str); 6] = [
    ("profiles/records-ready.yaml", "profile: records-ready\nincludes: [town-database-ready]"),
    ("profiles/records-follows.yaml", "profile: records-follows\nincludes: [town-database-follows]"),
    ("profiles/records-rests.yaml", "profile: records-rests\nincludes: [town-database-rests]"),
    ("profiles/records-serves.yaml", "profile: records-serves\nincludes: [town-database-serves]"),
    ("profiles/records-leaves.yaml", "profile: records-leaves\nincludes: [town-database-leaves]"),
    ("profiles/records-alone.yaml", "profile: records-alone\nincludes: [town-database-alone]"),
];

const SECRETS: [(&str, &str); 3] = [
    ("files/secrets/name.tsig", "c2VjcmV0"),
    ("files/secrets/standby.pgpass", "*:*:replication:standby:geheim"),
    ("files/secrets/standby.scram", "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"),
];

fn texts() -> Texts {
    let mut texts = good();
    let member = texts["members/alpha.yaml"].replace("profile: demo", "profile: records");
    let of = |name: &str, address: &str| {
        let from = format!("name: {name}, ");
        let values = "service_ports: [443, 5432], service_name: records.town.example, service_zone: town.example, \
            name_server: 192.0.2.53, name_key: weiche.town.example";
        (from.clone(), format!("{from}parameters: {{ service_address: {address}, {values} }}, "))
    };
    let (old, new) = (of("fs-old", "192.0.2.100"), of("fs-new", "198.51.100.100"));
    let window = "\nwindows: { weekend: { from: fri 18:00, to: sun 22:00, reserve: 2h } }\n";
    texts.insert("members/alpha.yaml", member.replace(&old.0, &old.1).replace(&new.0, &new.1) + window);
    let head =
        "parameters: { data: { type: list, default: [/srv/letters] }, backup: { type: path, default: /srv/backup } }";
    texts.insert(
        "profiles/records.yaml",
        format!("profile: records\n{head}\nincludes: [service-address, service-name]\nresources: []\n"),
    );
    for (file, text) in COMPANIONS {
        texts.insert(file, format!("{text}\nresources: []\n"));
    }
    for (file, text) in SECRETS {
        texts.insert(file, format!("{text}\n"));
    }
    texts
}

/// The steps of the kinds that users would notice, in the order in which the hosts do them.
fn handed_over(procedure: &Procedure) -> String {
    let mut lines = Vec::new();
    for stage in &procedure.stages {
        let steps = stage.hosts.iter().flat_map(|(host, actions)| actions.iter().map(move |action| (host, action)));
        let mut steps: Vec<_> = steps
            .filter_map(|(host, action)| match action {
                Action::Resource(step) if ["dns_record", "hold", "relay", "service_address"].contains(&&*step.kind) => {
                    let number: u32 = step.id.0.rsplit_once('.')?.1.parse().ok()?;
                    let mut spec = step.spec.clone();
                    for key in ["key", "secret", "server", "zone", "name", "type", "ports"] {
                        spec.as_object_mut()?.remove(key);
                    }
                    Some((number, format!("{} {} {spec}", host.name(), step.kind)))
                }
                _ => None,
            })
            .collect();
        steps.sort();
        let hold = stage.rules.hold_ms / 1000;
        lines.push(format!("{}{}", stage.name, if hold == 0 { String::new() } else { format!(", then {hold} s") }));
        lines.extend(steps.into_iter().map(|(_, line)| format!("  {line}")));
    }
    lines.join("\n")
}

#[test]
fn a_name_moves_and_who_comes_late_is_passed_on() {
    let procedure = run(&texts(), "data-centre-move", &GIVEN).unwrap();
    insta::assert_snapshot!(handed_over(&procedure), @r###"
preflight
backup
build
  fs-new service_address {"address":"198.51.100.100/24","state":"present"}
reach
  fs-new hold {"state":"open"}
announce, then 86400 s
  fs-old dns_record {"ttl":60,"values":["192.0.2.100"]}
join
  fs-new hold {"to":["198.51.100.100"]}
approach
cutover
  fs-old hold {"drain":"500ms","to":["192.0.2.100"]}
  fs-new hold {"state":"open"}
  fs-old relay {"address":"192.0.2.100","to":"198.51.100.100"}
  fs-old hold {"state":"open"}
hand-over
  fs-old dns_record {"settle":"10m","ttl":60,"values":["198.51.100.100"]}
soak, then 172800 s
retire
  fs-old dns_record {"ttl":3600,"values":["198.51.100.100"]}
  fs-old relay {"address":"192.0.2.100","state":"absent","to":"198.51.100.100"}
wipe
"###);
}

#[test]
fn what_comes_along_may_take_less_of_the_line_by_day() {
    let procedure = run(&texts(), "data-centre-move", &GIVEN).unwrap();
    let outline = outline(&procedure);
    assert!(!outline.contains("transfer"), "all of it is direct");
    // All ports are tried from the old server, one after the other.
    assert!(outline.contains(r#""198.51.100.100", "443 5432 "]) within 60s"#), "{outline}");
    let all = procedure.stages.iter().flat_map(|stage| stage.hosts.values().flatten().map(|a| (&stage.name, a)));
    let limited: Vec<String> = all
        .filter_map(|(stage, action)| match action {
            Action::Resource(step) if step.spec.get("bandwidth").is_some() => {
                Some(format!("{stage}: {}", step.spec["bandwidth"]))
            }
            _ => None,
        })
        .collect();
    assert_eq!(limited, ["join: [{\"from\":\"06:00\",\"limit\":\"4 MiB\",\"to\":\"20:00\"}]"]);
}
