//! Ten thousand devices: correct, and no slower than their number.

use std::fmt::Write as _;

use super::*;

/// Members and devices of a large fleet.
const MEMBERS: usize = 20;
const DEVICES: usize = 500;

/// A fleet with 10,000 devices. The texts live as long as the test process.
fn large() -> Texts {
    let mut texts = good();
    for member in 0..MEMBERS {
        let mut text = format!(
            "member: m{member}\nname: Member {member}\nsites: {{ rathaus: {{ address: Main Street }} }}\npcs:\n"
        );
        for device in 0..DEVICES {
            let _ = writeln!(
                text,
                "  - {{ name: pc-{device}, address: \"2001:db8:{member:x}::{device:x}\", serial: S{member}-{device}, site: rathaus, \
                 profile: demo, parameters: {{ greeting: g{} }}, labels: [floor-{}], \
                 lease: {{ contract: L-{member}, ends: 2029-06-30 }} }}",
                device % 7,
                device % 4,
            );
        }
        let name: &'static str = Box::leak(format!("members/m{member}.yaml").into_boxed_str());
        texts.insert(name, text);
    }
    texts
}

#[test]
fn ten_thousand_devices_are_read() {
    let texts = large();
    let (result, sources) = read(&texts);
    let (fleet, warnings) = result.unwrap_or_else(|problems| panic!("{}", render(&problems, &sources, false)));
    assert!(warnings.is_empty());
    assert_eq!(fleet.hosts().count(), MEMBERS * DEVICES + 3);
    let host = fleet.find("m7/pc-42").unwrap();
    assert_eq!(host.address.as_deref(), Some("2001:db8:7::2a"));
    assert_eq!(fleet.parameters_of(host)["greeting"], "g0");
    assert_eq!(fleet.find("pc-42").unwrap_err().len(), MEMBERS);
}

#[test]
fn one_mistake_among_ten_thousand_is_found() {
    let mut texts = large();
    let text = texts["members/m7.yaml"].replace("name: pc-42,", "name: pc-42, prot: 22,");
    texts.insert("members/m7.yaml", text);
    let problems = read(&texts).0.unwrap_err();
    assert_eq!(problems.to_string(), "members/m7.yaml:47:20: unknown key `prot`");
}
