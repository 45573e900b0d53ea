//! What each kind wants of a state: cases as data, no host.

use serde_json::{Value, json};
use weiche_agent::fault::FaultCode;
use weiche_agent::resource::{Circumstances, kind};

fn want(name: &str, spec: &Value, state: &Value, watched_changed: bool) -> Result<Value, FaultCode> {
    let kind = kind(name).unwrap();
    kind.want(spec, state, Circumstances { watched_changed }).map_err(|fault| fault.code)
}

#[test]
fn states_become_as_wanted() {
    let unit = |exists: bool, enablement: &str, active: &str, instance: Option<&str>| {
        let mut state = json!({ "exists": exists, "enablement": enablement, "active": active });
        if let Some(instance) = instance {
            state["instance"] = instance.into();
        }
        state
    };
    let on = json!({ "name": "nginx", "enabled": true, "running": true });
    let off = json!({ "name": "nginx", "enabled": false, "running": false });
    let restart = json!({ "name": "nginx", "restart_on": ["x"] });
    let owned = |mode: &str, owner: &str| json!({ "type": "directory", "mode": mode, "owner": owner, "group": "adm" });
    let group = |line: Value| json!({ "group": line, "gshadow": null, "shadowed": false });
    #[rustfmt::skip]
    let cases = [
        // kind, spec, state, watched changed, wanted
        ("directory", json!({ "path": "/a", "mode": "0700" }), owned("0755", "frida"), false, owned("0700", "frida")),
        ("directory", json!({ "path": "/a", "state": "absent" }), owned("0755", "frida"), false, json!({ "type": "absent" })),
        ("group", json!({ "name": "g" }), group(Value::Null), false, group(json!({ "text": "g:x:<next>:" }))),
        ("group", json!({ "name": "g", "gid": 7 }), group(json!({ "text": "g:x:5:a,b", "after": "f" })), false,
            group(json!({ "text": "g:x:7:a,b", "after": "f" }))),
        ("symlink", json!({ "path": "/a", "target": "b" }), json!({ "type": "absent" }), false,
            json!({ "type": "symlink", "target": "b", "owner": "root", "group": "root" })),
        ("unit", on.clone(), unit(false, "", "inactive", None), false, unit(true, "enabled", "active", None)),
        ("unit", on.clone(), unit(true, "static", "failed", None), false, unit(true, "static", "active", None)),
        ("unit", on.clone(), unit(true, "enabled", "active", Some("i")), false, unit(true, "enabled", "active", Some("i"))),
        ("unit", on, unit(true, "enabled", "active", Some("i")), true, unit(true, "enabled", "active", None)),
        ("unit", off.clone(), unit(true, "enabled", "active", Some("i")), true, unit(true, "disabled", "inactive", None)),
        ("unit", off.clone(), unit(false, "", "inactive", None), false, unit(false, "", "inactive", None)),
        ("unit", off, unit(true, "masked", "inactive", None), false, unit(true, "masked", "inactive", None)),
        ("unit", restart.clone(), unit(true, "disabled", "inactive", None), true, unit(true, "disabled", "inactive", None)),
        ("unit", restart, unit(true, "disabled", "active", Some("i")), true, unit(true, "disabled", "active", None)),
    ];
    for (kind, spec, state, watched, wanted) in cases {
        assert_eq!(want(kind, &spec, &state, watched), Ok(wanted), "{kind} {spec} from {state}");
    }
}

#[test]
fn a_transaction_becomes_the_packages() {
    let installed = |version: &str| json!({ "status": "installed", "version": version, "auto": false, "hold": false });
    let spec = json!({ "name": "nginx" });
    let state = json!({
        "packages": { "nginx": { "status": "absent" }, "libssl3": installed("3.0.1") },
        "transaction": { "nginx": installed("1.22"), "libssl3": installed("3.0.2") },
    });
    let wanted = json!({ "packages": { "nginx": installed("1.22"), "libssl3": installed("3.0.2") } });
    assert_eq!(want("package", &spec, &state, false), Ok(wanted.clone()));
    assert_eq!(want("package", &spec, &wanted, false), Ok(wanted));
    let problem = json!({ "packages": {}, "problem": { "code": "busy", "message": "locked" } });
    assert_eq!(want("package", &spec, &problem, false), Err(FaultCode::Busy));
}

#[test]
fn specs_with_problems_are_refused() {
    #[rustfmt::skip]
    let cases = [
        ("group", json!({ "name": "Council" }), "`Council` is no group name"),
        ("group", json!({ "name": "g", "state": "absent", "gid": 5 }), "an absent group has nothing but its name"),
        ("package", json!({ "name": "nginx=1" }), "`nginx=1` is no package name"),
        ("package", json!({ "name": "nginx-" }), "`nginx-` is no package name"),
        ("package", json!({ "name": "nginx", "version": "latest" }), "`latest` is no exact package version"),
        ("unit", json!({ "name": "nginx" }), "a unit needs `enabled`, `running` or `restart_on`"),
        ("unit", json!({ "name": "--now", "running": true }), "`--now` is no unit name"),
        ("user", json!({ "name": "a", "comment": "x:y" }), "`comment` may not contain `:`"),
        ("user", json!({ "name": "a", "home": "tmp" }), "path `tmp` is relative"),
        ("user", json!({ "name": "1a" }), "`1a` is no user name"),
    ];
    for (name, spec, begin) in cases {
        let problems = kind(name).unwrap().problems(&spec);
        assert!(problems.iter().any(|p| p.starts_with(begin)), "{name} {spec}: {problems:?}");
    }
}
