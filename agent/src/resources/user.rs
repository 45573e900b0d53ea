//! `user`: a local account, as lines of `/etc/passwd` and `/etc/shadow` and its memberships in `/etc/group` and
//! `/etc/gshadow`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::{
    GROUP, GSHADOW, Hidden, Line, PASSWD, SHADOW, Table, field_problem, keep_times, name_problem, number, put_times,
};
use super::node::{Presence, path_problem};
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Lens};

/// A local account.
#[derive(Debug)]
pub struct User;

/// A local account. A new one has no password. Its home directory is not made: declare a `directory` for it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "user")]
pub struct Spec {
    /// Name.
    pub name: String,
    /// Number; a new account gets the next free one, an existing one keeps its own. Files keep the number they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Primary group, which must exist or be declared before; a new account belongs to the group of its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Groups that it also belongs to. Memberships that are not named stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Home directory; of a new account `/home/NAME`, of a system account `/nonexistent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Login shell; of a new account `/bin/bash`, of a system account `/usr/sbin/nologin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Full name or purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// A new account without `uid` gets a number below 1000.
    #[serde(default)]
    pub system: bool,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
}

/// The account's lines and memberships.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// In `/etc/passwd`.
    pub passwd: Option<Line>,
    /// In `/etc/shadow`.
    pub shadow: Option<Hidden>,
    /// Groups of `/etc/group` that list it, each with its place in the list; `None` for the end.
    pub groups: BTreeMap<String, Option<usize>>,
    /// The same of `/etc/gshadow`.
    pub gshadow: BTreeMap<String, Option<usize>>,
    /// Number of the primary group that the spec names, if that exists.
    pub primary: Option<u32>,
    /// Whether the host has `/etc/shadow`.
    pub shadowed: bool,
}

impl Lens for User {
    const NAME: &'static str = "user";
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = name_problem("user", &spec.name).into_iter().collect();
        problems.extend(spec.group.iter().chain(&spec.groups).filter_map(|g| name_problem("group", g)));
        let fields = [("home", &spec.home), ("shell", &spec.shell), ("comment", &spec.comment)];
        problems.extend(fields.iter().filter_map(|(field, v)| field_problem(field, v.as_deref()?)));
        problems.extend(spec.home.iter().chain(&spec.shell).filter_map(|p| path_problem(p)));
        let plain = fields.iter().all(|(_, v)| v.is_none()) && spec.uid.is_none() && spec.group.is_none();
        if spec.state == Presence::Absent && !(plain && spec.groups.is_empty() && !spec.system) {
            problems.push("an absent user has nothing but its name".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("user", spec.name.clone())]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let shadow = Table::read(SHADOW, cx)?;
        let group = Table::read(GROUP, cx)?;
        let primary = group.as_ref().and_then(|t| gid(t, spec.group.as_deref().unwrap_or(&spec.name)));
        Ok(State {
            passwd: Table::read(PASSWD, cx)?.and_then(|t| t.get(&spec.name)),
            shadowed: shadow.is_some(),
            shadow: shadow.and_then(|t| t.hidden(&spec.name)),
            groups: group.map(|t| memberships(&t, &spec.name)).unwrap_or_default(),
            gshadow: Table::read(GSHADOW, cx)?.map(|t| memberships(&t, &spec.name)).unwrap_or_default(),
            primary,
        })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if spec.state == Presence::Absent {
            let none = State {
                passwd: None,
                shadow: None,
                groups: BTreeMap::new(),
                gshadow: BTreeMap::new(),
                ..state.clone()
            };
            return Ok(none);
        }
        let name = &spec.name;
        let mut line = state.passwd.clone().unwrap_or_else(|| {
            let (home, shell) = match spec.system {
                true => (String::from("/nonexistent"), "/usr/sbin/nologin"),
                false => (format!("/home/{name}"), "/bin/bash"),
            };
            let password = if state.shadowed { "x" } else { "!" };
            let uid = number(spec.uid, spec.system);
            Line::new(format!("{name}:{password}:{uid}:{}::{home}:{shell}", primary(spec, state)))
        });
        if let Some(uid) = spec.uid {
            line = line.with(2, &uid.to_string());
        }
        if spec.group.is_some() {
            line = line.with(3, &primary(spec, state));
        }
        for (at, value) in [(4, &spec.comment), (5, &spec.home), (6, &spec.shell)] {
            line = value.as_ref().map_or(line.clone(), |v| line.with(at, v));
        }
        let mut wanted = State { passwd: Some(line), ..state.clone() };
        if wanted.shadow.is_none() && state.shadowed {
            wanted.shadow = Some(Hidden::new(&locked(name)));
        }
        for group in spec.groups.iter().filter(|g| !state.groups.contains_key(*g)) {
            wanted.groups.insert(group.clone(), None);
            wanted.gshadow.entry(group.clone()).or_insert(None);
        }
        Ok(wanted)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let name = &spec.name;
        let mut passwd = Table::needed(PASSWD, cx)?;
        let mut group = Table::needed(GROUP, cx)?;
        if let Some(missing) = to.groups.keys().find(|g| !now.groups.contains_key(*g) && group.get(g).is_none()) {
            return Err(no_group(missing));
        }
        let mut line = to.passwd.as_ref().map(|line| passwd.numbered(line)).transpose()?;
        if let Some(l) = &mut line {
            // A group that an earlier step was to make.
            if let Some(wanted) = l.text.split(':').nth(3).and_then(|f| f.strip_prefix('<')?.strip_suffix('>')) {
                *l = l.with(3, &gid(&group, wanted).ok_or_else(|| no_group(wanted))?.to_string());
            }
            passwd.unique(name, l)?;
        }
        passwd.put(name, line.as_ref());
        join(&mut group, name, &now.groups, &to.groups);
        group.save(cx)?;
        if let Some(mut gshadow) = Table::read(GSHADOW, cx)? {
            join(&mut gshadow, name, &now.gshadow, &to.gshadow);
            gshadow.save(cx)?;
        }
        if let Some(mut shadow) = Table::read(SHADOW, cx)? {
            shadow.put_hidden(name, to.shadow.as_ref(), &locked(name), cx)?;
            shadow.save(cx)?;
        }
        passwd.save(cx)?;
        put_times(to, cx)
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if now.shadow.is_some() && wanted.shadow.is_none() {
            Table::needed(SHADOW, cx)?.keep(&spec.name, cx)?;
        }
        keep_times(now, cx)
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        let digest = |s: &State| s.shadow.as_ref().map(|h| h.digest.clone());
        let lines = Line::same(a.passwd.as_ref(), b.passwd.as_ref()) && digest(a) == digest(b);
        lines && a.groups.keys().eq(b.groups.keys()) && a.gshadow.keys().eq(b.gshadow.keys())
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        Self::same(spec, after, now)
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "scan", "system": true, "group": "users", "groups": ["adm"], "comment": "Scanner" }),
            json!({ "name": "frida", "uid": 1200, "group": "users", "groups": ["adm"], "shell": "/bin/bash" }),
            json!({ "name": "retired", "state": "absent" }),
        ]
    }
}

/// Its new line in `/etc/shadow`: no password fits, and nothing expires; shadow(5).
fn locked(name: &str) -> String {
    format!("{name}:!:::::::")
}

/// The primary group's number, or what `put` makes one of.
fn primary(spec: &Spec, state: &State) -> String {
    let name = spec.group.as_ref().unwrap_or(&spec.name);
    state.primary.map_or_else(|| format!("<{name}>"), |gid| gid.to_string())
}

fn gid(groups: &Table, name: &str) -> Option<u32> {
    groups.get(name)?.text.split(':').nth(2)?.parse().ok()
}

/// The groups of a database that list a user; both have the members in the last of four fields.
fn memberships(groups: &Table, user: &str) -> BTreeMap<String, Option<usize>> {
    let place = |row: Vec<&str>| {
        let at = row.get(3)?.split(',').filter(|m| !m.is_empty()).position(|m| m == user)?;
        Some((row[0].to_owned(), Some(at)))
    };
    groups.rows().filter_map(place).collect()
}

/// Takes the user out of the groups that only `now` has, and puts it into those that only `to` has.
fn join(groups: &mut Table, user: &str, now: &BTreeMap<String, Option<usize>>, to: &BTreeMap<String, Option<usize>>) {
    for group in now.keys().filter(|g| !to.contains_key(*g)) {
        groups.edit_list(group, 3, |members| members.retain(|m| m != user));
    }
    for (group, place) in to.iter().filter(|(g, _)| !now.contains_key(*g)) {
        groups.edit_list(group, 3, |members| {
            let end = members.len();
            members.insert(place.unwrap_or(end).min(end), user.to_owned());
        });
    }
}

fn no_group(name: &str) -> Fault {
    Fault::new(FaultCode::NotFound, format!("there is no group `{name}`"))
        .hint("declare a `group` resource for it before the user")
}
