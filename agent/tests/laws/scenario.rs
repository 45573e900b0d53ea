//! Procedures of several steps that depend on each other.

use serde_json::json;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::protocol::{Step, StepId};

use super::bench::{Bench, step};

const DEMO_UNIT: &str = "[Service]\nExecStart=/usr/bin/demo\n[Install]\nWantedBy=multi-user.target\n";

/// Each with its hosts.
pub(crate) fn all() -> Vec<Bench> {
    let mut cases = Vec::new();
    for (host_name, host) in FakeHost::examples() {
        let mut add = |name: &str, steps: Vec<Step>| {
            cases.push(Bench::new(format!("scenario `{name}` on `{host_name}`"), host.clone(), steps));
        };
        if host_name != "in the way" {
            add("web server", web_server("worker_processes 2;\n"));
            add("tree of files", tree_of_files());
            add("through a link", through_a_link());
            add("taking a directory away", taking_away());
            add("accounts", accounts());
            add("own unit", own_unit());
            add("names", names());
            if host_name == "bare" || host_name == "occupied" {
                add("file server", file_server());
            }
            add("no web server", vec![step("s.0", "package", json!({ "name": "nginx-common", "state": "absent" }))]);
            add(
                "older web server",
                vec![
                    step("s.0", "package", json!({ "name": "nginx", "version": "1.22.1-9" })),
                    step("s.1", "package", json!({ "name": "samba-common", "version": "2:4.13.13+dfsg-1~deb11u6" })),
                ],
            );
        }
        if host_name == "dropped packages" {
            let upgrade = json!({ "name": "nginx", "version": "1.22.1-9" });
            add("a version that is dropped", vec![step("s.0", "package", upgrade)]);
        }
        if host_name == "occupied" {
            add("a database that is followed, and follows", upgrade_of_old());
            add("a database that follows, and is followed", upgrade_of_new());
        }
        if host_name == "as wanted" {
            // The restart fails: the old server must run again on its old configuration.
            add("broken configuration", web_server("syntax error\n"));
        }
    }
    for case in cases.iter_mut().filter(|c| c.name.contains("broken configuration") || c.name.contains("is followed`"))
    {
        case.half_way = true;
    }
    cases
}

/// The server that a database leaves.
fn upgrade_of_old() -> Vec<Step> {
    let of = json!({ "address": "192.0.2.11" });
    let modes =
        [json!({ "mode": "ready" }), json!({ "mode": "rests" }), json!({ "mode": "follows", "data": "own", "of": of })];
    upgrade(&modes)
}

/// The one that it goes to; the last step is refused, for it serves by then.
fn upgrade_of_new() -> Vec<Step> {
    let of = json!({ "address": "192.0.2.10" });
    upgrade(&[
        json!({ "mode": "ready" }),
        json!({ "mode": "follows", "of": of }),
        json!({ "mode": "serves" }),
        json!({ "mode": "follows", "of": of }),
    ])
}

fn upgrade(modes: &[serde_json::Value]) -> Vec<Step> {
    let spec = |mode: &serde_json::Value| {
        let mut spec = mode.clone();
        spec["database"] = json!("minutes");
        spec
    };
    modes.iter().enumerate().map(|(n, mode)| step(&format!("s.{n}"), "postgres_upgrade", spec(mode))).collect()
}

fn web_server(config: &str) -> Vec<Step> {
    let file = step("s.2", "file", json!({ "path": "/etc/nginx/nginx.conf", "content": config }));
    let unit = json!({ "name": "nginx", "enabled": true, "running": true, "restart_on": ["/etc/nginx/nginx.conf"] });
    vec![
        step("s.0", "package", json!({ "name": "nginx" })),
        Step { anchor: true, ..step("s.1", "unit", json!({ "name": "nginx", "settle": true })) },
        file,
        Step { watches: vec![StepId("s.2".into())], ..step("s.3", "unit", unit) },
    ]
}

fn tree_of_files() -> Vec<Step> {
    vec![
        step("s.0", "directory", json!({ "path": "/srv/site", "mode": "0750", "group": "www-data" })),
        step("s.1", "directory", json!({ "path": "/srv/site/pages" })),
        step("s.2", "file", json!({ "path": "/srv/site/pages/index.html", "content": "<h1>Rathaus</h1>\n" })),
        step("s.3", "symlink", json!({ "path": "/srv/site/start", "target": "pages/index.html" })),
        step(
            "s.4",
            "command",
            json!({ "argv": ["touch", "/srv/site/ready"], "creates": "/srv/site/ready",
            "undo": ["rm", "-f", "/srv/site/ready"] }),
        ),
        step("s.5", "file", json!({ "path": "/srv/site/ready", "content": "yes\n", "mode": "0600" })),
    ]
}

fn through_a_link() -> Vec<Step> {
    vec![
        step("s.0", "directory", json!({ "path": "/srv/release-2" })),
        step("s.1", "symlink", json!({ "path": "/srv/current", "target": "release-2" })),
        step("s.2", "file", json!({ "path": "/srv/current/index.html", "content": "new\n", "owner": "www-data" })),
    ]
}

fn taking_away() -> Vec<Step> {
    vec![
        step("s.0", "file", json!({ "path": "/srv/data/kept", "state": "absent" })),
        step("s.1", "directory", json!({ "path": "/srv/data", "state": "absent" })),
    ]
}

fn accounts() -> Vec<Step> {
    vec![
        step("s.0", "group", json!({ "name": "frida" })),
        step("s.1", "group", json!({ "name": "council" })),
        step("s.2", "user", json!({ "name": "frida", "groups": ["council", "adm"] })),
        step("s.3", "user", json!({ "name": "daemon2", "system": true, "group": "frida", "groups": ["council"] })),
        step("s.4", "directory", json!({ "path": "/srv/frida", "owner": "frida", "group": "frida", "mode": "0700" })),
        step(
            "s.5",
            "file",
            json!({ "path": "/srv/frida/.profile", "content": "umask 077\n", "owner": "frida", "group": "council" }),
        ),
        step("s.6", "user", json!({ "name": "www-data", "state": "absent" })),
    ]
}

const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA second";

fn names() -> Vec<Step> {
    vec![
        step("s.0", "hostname", json!({ "name": "files", "domain": "town.example", "in_hosts": true })),
        step("s.1", "hosts_entry", json!({ "address": "192.0.2.9", "names": ["print"] })),
        step("s.2", "hosts_entry", json!({ "address": "192.0.2.8", "names": ["scan"] })),
        step("s.3", "block", json!({ "path": "/etc/hosts", "name": "pcs", "text": "192.0.2.50 pc-1\n" })),
        step("s.4", "line", json!({ "path": "/etc/hosts", "line": "192.0.2.51 pc-2", "after": "192.0.2.8" })),
    ]
}

/// The account, the home and the program that checks come with the same run.
fn file_server() -> Vec<Step> {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    vec![
        step("s.0", "package", json!({ "name": "samba" })),
        step(
            "s.1",
            "ini",
            json!({ "path": "/etc/samba/smb.conf", "section": "global", "key": "workgroup", "value": "A" }),
        ),
        step("s.2", "samba_share", json!({ "name": "scan", "path": "/srv/scan" })),
        step("s.3", "samba_share", json!({ "name": "council", "path": "/srv/share", "read_only": false })),
        step("s.4", "user", json!({ "name": "frida", "group": "users", "home": "/srv/frida" })),
        step("s.5", "directory", json!({ "path": "/srv/frida", "owner": "frida", "group": "users", "mode": "0750" })),
        step("s.6", "authorized_key", json!({ "user": "frida", "key": key })),
        step("s.7", "authorized_key", json!({ "user": "frida", "key": OTHER_KEY })),
        step("s.8", "sysctl", json!({ "key": "vm.swappiness", "value": 1 })),
    ]
}

fn own_unit() -> Vec<Step> {
    let watches = vec![StepId("s.1".into())];
    let unit = json!({ "name": "demo", "enabled": true, "running": true, "restart_on": ["demo.service"] });
    vec![
        Step { anchor: true, ..step("s.0", "unit", json!({ "name": "demo", "settle": true })) },
        step("s.1", "file", json!({ "path": "/etc/systemd/system/demo.service", "content": DEMO_UNIT })),
        Step { watches, ..step("s.2", "unit", unit) },
        step("s.3", "unit", json!({ "name": "cron", "enabled": false, "running": false })),
    ]
}
