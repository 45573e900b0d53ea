//! What the kind does with the simulated name server.

use std::time::Duration;

use super::*;
use crate::host::Host as _;
use crate::host::fake::FakeHost;

#[test]
fn impossible_specs_are_refused() {
    let good = DnsRecord::examples().remove(0);
    for (key, value) in [
        ("server", json!("ns.town.example")),
        ("port", json!(0)),
        ("zone", json!("other.example")),
        ("name", json!("records")),
        ("name", json!("a b.town.example")),
        ("values", json!([])),
        ("values", json!(["192.0.2.1", "x"])),
        ("settle", json!("5")),
        ("settle", json!("11m")),
        ("settle", json!("30s")),
        ("secret", json!({ "content": "not base64!" })),
        ("secret", json!({})),
        ("state", json!("absent")),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let problems = DnsRecord::problems(&serde_json::from_value(bad.clone()).unwrap());
        assert_eq!(problems.len(), 1, "{bad} {problems:?}");
        assert!(!problems[0].contains("base64!"), "{problems:?}");
    }
}

#[test]
fn a_long_time_to_live_is_refused() {
    let mut long = DnsRecord::examples().remove(1);
    long["ttl"] = json!(10_000_000);
    assert_eq!(DnsRecord::problems(&serde_json::from_value(long).unwrap()).len(), 1);
}

#[test]
fn it_is_waited_until_nobody_remembers_what_was_there() {
    const SECRET: &str = "bm90IGEgc2VjcmV0IGF0IGFsbA==";
    let (mut host, digest) = (FakeHost::debian(), Digest::of(SECRET.as_bytes()));
    host.state_write(&format!("runs/r/in/{digest}"), &mut SECRET.as_bytes()).unwrap();
    let mut put = |value: &str, ttl: u32, settle: Option<&str>, back: bool| {
        let mut example = DnsRecord::examples().remove(0);
        example["values"] = json!([value]);
        (example["ttl"], example["settle"]) = (json!(ttl), json!(settle));
        example["secret"] = json!({ "blob": { "digest": digest, "size": SECRET.len() } });
        let spec: Spec = serde_json::from_value(example).unwrap();
        let begin = host.clock().boottime_ms;
        let mut cx = Cx::changing(&mut host, Duration::from_secs(1), "runs/r".into());
        let now = DnsRecord::get(&spec, &mut cx).unwrap();
        let to = DnsRecord::want(&spec, &now, Circumstances::default()).unwrap();
        DnsRecord::keep(&spec, &now, &to, &mut cx)?;
        DnsRecord::put(&spec, &now, &to, &mut cx).unwrap();
        if back {
            DnsRecord::put(&spec, &to, &now, &mut cx).unwrap();
        }
        Ok::<u64, Fault>((host.clock().boottime_ms - begin) / 1000)
    };
    assert_eq!(put("192.0.2.1", 70, Some("10m"), false).unwrap(), 0, "nobody knew it");
    let refused = put("192.0.2.2", 20, Some("60s"), false).unwrap_err();
    assert_eq!(refused.code, FaultCode::Conflict, "{refused}");
    assert_eq!(put("192.0.2.2", 20, Some("80s"), true).unwrap(), 90, "70 s on the way there, 20 s on the way back");
    assert_eq!(put("192.0.2.2", 20, None, true).unwrap(), 0);
}

#[test]
fn the_secret_is_in_no_state_argument_or_message() {
    const SECRET: &str = "d3Jvbmcgc2VjcmV0";
    let mut example = DnsRecord::examples().remove(0);
    let digest = Digest::of(SECRET.as_bytes());
    example["secret"] = json!({ "blob": { "digest": digest, "size": SECRET.len() } });
    let spec: Spec = serde_json::from_value(example).unwrap();
    let mut host = FakeHost::debian();
    host.state_write(&format!("runs/r/in/{digest}"), &mut SECRET.as_bytes()).unwrap();
    let mut cx = Cx::changing(&mut host, Duration::from_secs(1), "runs/r".into());
    let now = DnsRecord::get(&spec, &mut cx).unwrap();
    let wanted = DnsRecord::want(&spec, &now, Circumstances::default()).unwrap();
    DnsRecord::keep(&spec, &now, &wanted, &mut cx).unwrap();
    // The simulated server accepts one key only.
    let fault = DnsRecord::put(&spec, &now, &wanted, &mut cx).unwrap_err();
    assert_eq!(fault.code, FaultCode::Denied, "{fault}");
    let all = format!("{} {}", serde_json::to_string(&(&wanted, &fault)).unwrap(), json!(spec));
    assert!(!all.contains(SECRET), "{all}");
}
