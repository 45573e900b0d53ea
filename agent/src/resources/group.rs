//! `group`: a group of the host, as lines of `/etc/group` and `/etc/gshadow`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::{GROUP, GSHADOW, Hidden, Line, PASSWD, Table, keep_times, name_problem, number, put_times};
use super::node::Presence;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Lens};

/// A group.
#[derive(Debug)]
pub struct Group;

/// A group. Who belongs to it is said by each `user`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "group")]
pub struct Spec {
    /// Name.
    pub name: String,
    /// Number; a new group gets the next free one, an existing one keeps its own. Files keep the number they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// A new group without `gid` gets a number below 1000.
    #[serde(default)]
    pub system: bool,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
}

/// The group's lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// In `/etc/group`.
    pub group: Option<Line>,
    /// In `/etc/gshadow`.
    pub gshadow: Option<Hidden>,
    /// Whether the host has `/etc/gshadow`.
    pub shadowed: bool,
}

impl Lens for Group {
    const NAME: &'static str = "group";
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = name_problem("group", &spec.name).into_iter().collect();
        if spec.state == Presence::Absent && (spec.gid.is_some() || spec.system) {
            problems.push("an absent group has nothing but its name".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("group", spec.name.clone())]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let gshadow = Table::read(GSHADOW, cx)?;
        Ok(State {
            group: Table::read(GROUP, cx)?.and_then(|t| t.get(&spec.name)),
            shadowed: gshadow.is_some(),
            gshadow: gshadow.and_then(|t| t.hidden(&spec.name)),
        })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if spec.state == Presence::Absent {
            return Ok(State { group: None, gshadow: None, ..state.clone() });
        }
        let name = &spec.name;
        let group = match (&state.group, spec.gid) {
            (Some(line), Some(gid)) => line.with(2, &gid.to_string()),
            (Some(line), None) => line.clone(),
            (None, gid) => Line::new(format!("{name}:x:{}:", number(gid, spec.system))),
        };
        let gshadow = state.gshadow.clone().or_else(|| state.shadowed.then(|| Hidden::new(&locked(name))));
        Ok(State { group: Some(group), gshadow, ..state.clone() })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let name = &spec.name;
        let mut group = Table::needed(GROUP, cx)?;
        let line = to.group.as_ref().map(|line| group.numbered(line)).transpose()?;
        match (&line, &now.group) {
            (Some(line), _) => group.unique(name, line)?,
            (None, Some(old)) => unused(name, old, cx)?,
            (None, None) => {}
        }
        // Of a line that is there only the number is ours: members come and go with users.
        let here = group.get(name).zip(line.as_ref()).map(|(here, line)| here.with(2, field(&line.text, 2)));
        group.put(name, here.or(line).as_ref());
        if let Some(mut gshadow) = Table::read(GSHADOW, cx)? {
            if to.gshadow.is_none() || gshadow.get(name).is_none() {
                gshadow.put_hidden(name, to.gshadow.as_ref(), &locked(name), cx)?;
            }
            gshadow.save(cx)?;
        }
        group.save(cx)?;
        put_times(to, cx)
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if now.gshadow.is_some() && wanted.gshadow.is_none() {
            Table::needed(GSHADOW, cx)?.keep(&spec.name, cx)?;
        }
        keep_times(now, cx)
    }

    /// Members, in both files, are the users' matter.
    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        let line = |s: &State| s.group.as_ref().map(|l| l.with(3, "").text);
        line(a) == line(b) && a.gshadow.is_some() == b.gshadow.is_some()
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        Self::same(spec, after, now)
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "council", "gid": 1600 }),
            json!({ "name": "scan", "system": true }),
            json!({ "name": "oldteam", "state": "absent" }),
        ]
    }
}

/// Its new line in `/etc/gshadow`: no password fits; gshadow(5).
fn locked(name: &str) -> String {
    format!("{name}:!::")
}

fn field(text: &str, at: usize) -> &str {
    text.split(':').nth(at).unwrap_or_default()
}

/// Refuses to take away the primary group of a user.
fn unused(name: &str, old: &Line, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let Some(passwd) = Table::read(PASSWD, cx)? else { return Ok(()) };
    let gid = field(&old.text, 2);
    match passwd.rows().find(|row| row.get(3) == Some(&gid)) {
        None => Ok(()),
        Some(row) => {
            let message = format!("`{name}` is the primary group of the user `{}`", row[0]);
            Err(Fault::new(FaultCode::Conflict, message).hint("remove that user first, or give it another group"))
        }
    }
}
