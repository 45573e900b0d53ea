//! What the kind does on a host in memory.

use std::time::Duration;

use super::*;
use crate::host::fake::FakeHost;

fn spec(at: usize) -> Spec {
    serde_json::from_value(Relay::examples().remove(at)).unwrap()
}

#[test]
fn impossible_specs_are_refused() {
    let good = Relay::examples().remove(0);
    assert_eq!(Relay::problems(&spec(0)), Vec::<String>::new());
    for (key, value) in [
        ("name", json!("a b")),
        ("name", json!("")),
        ("address", json!("rows.example")),
        ("address", json!("127.0.0.1")),
        ("to", json!("0.0.0.0")),
        ("to", json!("192.0.2.100")),
        ("ports", json!([])),
        ("ports", json!([0])),
        ("listen", json!(65_534)),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert_eq!(Relay::problems(&serde_json::from_value(bad.clone()).unwrap()).len(), 1, "{bad}");
    }
}

#[test]
fn it_comes_and_goes() {
    let mut host = FakeHost::debian();
    let before = host.snapshot();
    let mut own = spec(0);
    let mut put = |own: &Spec| {
        let mut cx = Cx::changing(&mut host, Duration::from_secs(1), "runs/r".into());
        let now = Relay::get(own, &mut cx).unwrap();
        let to = Relay::want(own, &now, Circumstances::default()).unwrap();
        Relay::put(own, &now, &to, &mut cx).unwrap();
        let after = Relay::get(own, &mut cx).unwrap();
        assert_eq!(Relay::want(own, &after, Circumstances::default()).unwrap(), after);
        after.unit
    };
    let unit = put(&own);
    assert_eq!((unit.enablement.as_str(), unit.active), ("enabled", Activity::Active));
    own.to = "198.51.100.7".into();
    assert_ne!(put(&own).instance, unit.instance, "it is started anew with what its files say");
    own.state = Presence::Absent;
    assert!(!put(&own).exists);
    assert_eq!(host.snapshot(), before);
}
