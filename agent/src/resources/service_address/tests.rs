//! What the kind does on a host in memory.

use super::*;
use crate::host::Host;
use crate::host::fake::FakeHost;

fn spec(spec: Value) -> Spec {
    serde_json::from_value(spec).unwrap()
}

fn cx(host: &mut FakeHost) -> Cx<'_> {
    Cx::changing(host, Duration::from_secs(1), "runs/r".into())
}

/// A server with an address of its own.
fn server() -> FakeHost {
    let mut host = FakeHost::debian();
    host.has("/etc/systemd/system/multi-user.target.wants/cron.service", "");
    host.does("ip address add 192.0.2.10/24 dev eth0");
    host
}

fn put(spec: &Spec, host: &mut FakeHost) -> Result<State, Fault> {
    let mut cx = cx(host);
    let now = ServiceAddress::get(spec, &mut cx)?;
    let to = ServiceAddress::want(spec, &now, Circumstances::default())?;
    ServiceAddress::put(spec, &now, &to, &mut cx)?;
    Ok(now)
}

#[test]
fn it_is_taken_announced_and_given_up() {
    let (mut host, mut own) = (server(), spec(json!({ "address": "192.0.2.100/24" })));
    let before = put(&own, &mut host).unwrap();
    let ip: IpAddr = "192.0.2.100".parse().unwrap();
    assert_eq!(host.told(), [ip]);
    let state = ServiceAddress::get(&own, &mut cx(&mut host)).unwrap();
    let live = Live { card: "eth0".into(), address: "192.0.2.100/24".into() };
    assert_eq!((&state.live, &state.fixed), (&Some(live), &None));
    put(&own, &mut host).unwrap();
    assert_eq!(host.told(), [ip], "announced once");
    own.state = Presence::Absent;
    put(&own, &mut host).unwrap();
    assert!(ServiceAddress::same(&own, &before, &ServiceAddress::get(&own, &mut cx(&mut host)).unwrap()));
}

#[test]
fn it_is_refused_while_another_machine_has_it() {
    let (mut host, own) = (server(), spec(json!({ "address": "192.0.2.100/24" })));
    let before = host.snapshot();
    host.neighbours().insert("192.0.2.100".parse().unwrap(), "02:00:00:00:53:07".into());
    let fault = put(&own, &mut host).unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict);
    assert!(fault.message.contains("02:00:00:00:53:07"), "{fault}");
    assert_eq!(host.snapshot(), before);
    assert!(host.clock().boottime_ms >= PATIENCE_MS && host.told().is_empty());
}

#[test]
fn an_address_that_the_host_needs_stays() {
    let own = spec(json!({ "address": "192.0.2.10/24", "state": "absent" }));
    let why = |host: &mut FakeHost| put(&own, host).unwrap_err().message;
    assert!(why(&mut server()).contains("only address"));
    let mut host = server();
    host.does("ip address add 192.0.2.11/24 dev eth0");
    assert!(why(&mut host).contains("would take 192.0.2.11 with it"));
    let mut host = server();
    host.does("ip address add 198.51.100.1/24 dev eth0");
    host.has("/etc/systemd/network/10-eth0.network", "[Network]\nAddress=192.0.2.10/24\n");
    assert!(why(&mut host).contains("/etc/systemd/network/10-eth0.network names it"));
}

#[test]
fn while_the_host_comes_up_it_can_be_given_up_but_not_taken() {
    let (mut host, own) = (server(), spec(json!({ "address": "192.0.2.100/24" })));
    let before = put(&own, &mut host).unwrap();
    let after = ServiceAddress::get(&own, &mut cx(&mut host)).unwrap();
    let mut early = cx(&mut host);
    early.booting = true;
    let now = ServiceAddress::get(&own, &mut early).unwrap();
    ServiceAddress::put(&own, &now, &before, &mut early).unwrap();
    let now = ServiceAddress::get(&own, &mut early).unwrap();
    assert!(ServiceAddress::same(&own, &before, &now) && now.files.values().all(|node| *node == Node::Absent));
    assert!(ServiceAddress::put(&own, &now, &after, &mut early).is_err());
    assert_eq!(ServiceAddress::get(&own, &mut early).unwrap(), now);
}

#[test]
fn the_unit_says_what_systemd_understands() {
    let text = boot::unit(&spec(json!({ "address": "192.0.2.100/24" })), "eth0");
    assert!(text.contains("ConditionPathExists=/etc/systemd/system/weiche-address-192.0.2.100.service\n"), "{text}");
    assert!(text.contains("ip address replace \"$$2\" dev \"$$1\"' sh eth0 192.0.2.100/24\n"), "{text}");
}

#[test]
fn impossible_specs_are_refused() {
    for bad in ["192.0.2.100", "192.0.2.100/0", "fe80::1/64", "127.0.0.1/8", "x"] {
        assert!(!ServiceAddress::problems(&spec(json!({ "address": bad }))).is_empty(), "{bad}");
    }
    let lo = spec(json!({ "address": "192.0.2.100/24", "interface": "lo" }));
    assert_eq!(ServiceAddress::problems(&lo).len(), 1);
}
