//! The shipped profile of an office PC, with an account for the support, on a host with systemd: applied, looked at by
//! testinfra, taken back.

use std::fs;

use weiche_tests::lab::{HostOptions, Lab};

use crate::fleet::{Fleet, assert_same};
use crate::witness::{APPLY, manifest, taken_back, watch_all};

/// The lab has neither Firefox nor a file server: any package and a file system in memory take their place.
const PROFILE: &str = "profile: desk\nincludes: [office-workplace, support-access]\n";
const PARAMETERS: &str = "\
    profile: desk, parameters: { browser: curl, share_client: wl-tool, share: ablage, share_type: tmpfs, \
    share_options: [nosuid, nodev, \"size=1m\"], share_state: mounted, updates_at: \"2099-01-01 12:15\", \
    print_server_address: 192.0.2.1, homepage: \"http://intranet.town.example/\", \
    support_key: \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f frida\" }";

#[test]
fn the_office_profile_is_applied_and_taken_back() {
    if let Err(why) = Lab::available().and_then(|()| Lab::testinfra_available()) {
        return weiche_tests::skip("the_office_profile_is_applied_and_taken_back", &why);
    }
    let lab = Lab::new("office");
    let host = lab.boot(HostOptions::named("pc"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "desk")]);
    fleet.write("profiles/desk.yaml", PROFILE);
    watch_all(&fleet);
    let member = fs::read_to_string(fleet.path().join("members/rathaus.yaml")).expect("read the member");
    fleet.write("members/rathaus.yaml", &member.replace("profile: desk", PARAMETERS));
    let suite = || {
        let output = lab.testinfra(&[&host], "tests/lab/test_office.py");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let before = manifest(&host);

    let (code, said) = suite();
    assert!(code == Some(1) && !said.contains(" passed"), "nothing of it is there beforehand: {said}");
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(2);
    assert_same(&manifest(&host), &before, "plan");
    fleet.weiche(&APPLY).expect(0);
    let (code, said) = suite();
    assert!(code == Some(0), "{said}");
    let applied = manifest(&host);
    let again = fleet.weiche(&APPLY).expect(0);
    assert!(again.stdout.contains("Nothing to change on 1 host(s)"), "{again:?}");
    assert_same(&manifest(&host), &applied, "applied again");
    fleet.weiche(&["drift"]).expect(0);

    taken_back(&fleet, &host, &before);
    let (code, said) = suite();
    assert!(code == Some(1) && !said.contains(" passed"), "nothing of it is left: {said}");
}
