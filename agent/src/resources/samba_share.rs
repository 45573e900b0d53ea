//! `samba_share`: a share, as a section of `/etc/samba/smb.conf` (smb.conf(5)), checked by testparm(1) before it is
//! written. smbd(8) reads its configuration again by itself within a minute; where it runs, it is told at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ini::{Item, items};
use super::node::{Mode, Presence, path_problem};
use super::text::{self, State, Text, line_problem};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::{Circumstances, Claim, Cx, Lens};

const FILE: &str = "/etc/samba/smb.conf";

/// smbd's own file, there while it runs.
const PID: &str = "/run/samba/smbd.pid";

/// A share.
#[derive(Debug)]
pub struct SambaShare;

/// A share of the Samba file server: a section of `/etc/samba/smb.conf`. The section has the parameters that are named
/// here and no others; its comments and all other sections stay as they are. `testparm` checks the file before it is
/// written. Sessions that are open keep what they have.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "samba_share")]
pub struct Spec {
    /// Name of the share. `global` is no share: use `ini` for its parameters.
    pub name: String,
    /// The directory that is shared; a `directory` resource makes it. `homes` and `printers` do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What people see beside the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether nobody may write; Samba's default is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Whether no password is needed; Samba's default is no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_ok: Option<bool>,
    /// Whether the share is seen in lists; Samba's default is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browseable: Option<bool>,
    /// Who may use it: users, and groups with `@` before them. Empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid_users: Vec<String>,
    /// Who may write to it even if it is read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write_list: Vec<String>,
    /// Permission bits that new files may have at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_mask: Option<Mode>,
    /// The same for new directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_mask: Option<Mode>,
    /// Any other parameters of smb.conf(5), e.g. `force group: council`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// `present` (default) or `absent`: the section is removed.
    #[serde(default)]
    pub state: Presence,
}

/// Parameters that have a field of their own, and the other names that smb.conf(5) has for them.
const OWN: [&str; 19] = [
    "path",
    "directory",
    "comment",
    "readonly",
    "writable",
    "writeable",
    "writeok",
    "guestok",
    "public",
    "browseable",
    "browsable",
    "validusers",
    "writelist",
    "createmask",
    "createmode",
    "directorymask",
    "directorymode",
    "include",
    "copy",
];

impl Lens for SambaShare {
    const NAME: &'static str = "samba_share";
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        // Letters that clients cannot have in a share's name: [MS-SMB2] 2.2.9 by way of [MS-FSCC] 2.1.6.
        let bad = |c: char| c.is_control() || "\"\\/[]:|<>+=;,*?%".contains(c);
        if spec.name.is_empty() || spec.name.len() > 80 || spec.name.trim() != spec.name || spec.name.contains(bad) {
            problems.push(format!("`{}` is no name of a share", spec.name));
        }
        if spec.name.eq_ignore_ascii_case("global") {
            problems.push("`global` is no share: set its parameters with `ini`".into());
        }
        if spec.state == Presence::Absent {
            if !parameters(spec).is_empty() {
                problems.push("an absent share has nothing but its name".into());
            }
            return problems;
        }
        match &spec.path {
            Some(path) => problems.extend(path_problem(path)),
            None if ["homes", "printers"].contains(&spec.name.to_ascii_lowercase().as_str()) => {}
            None => problems.push("a share needs a `path`".into()),
        }
        for (key, names) in [("valid_users", &spec.valid_users), ("write_list", &spec.write_list)] {
            if names.iter().any(|n| n.trim().is_empty() || n.contains(['"', ',']) || n.chars().any(char::is_control)) {
                problems.push(format!("`{key}` is a list of names without commas and quotes"));
            }
        }
        for key in spec.options.keys() {
            if OWN.contains(&squeezed(key).as_str()) {
                problems
                    .push(format!("`{key}` does not belong into `options`: it has a field, or reaches beyond a share"));
            } else if key.trim() != key || key.is_empty() || key.contains(['=', '[', '#', ';']) {
                problems.push(format!("`{key}` is no name of a parameter"));
            }
        }
        for (key, value) in parameters(spec) {
            let line = if value.is_empty() { None } else { line_problem(&key, &value) };
            if line.is_some() || value.trim() != value || value.ends_with('\\') {
                problems.push(format!("`{key}` must be one line, without blanks around it and `\\` at its end"));
            }
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("samba share", spec.name.to_ascii_lowercase())]
    }

    fn edits(_spec: &Spec) -> Vec<PathBuf> {
        vec![FILE.into()]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        text::look(Path::new(FILE), &|text| edit(spec, text), Some(Mode(0o644)), false, cx)
    }

    fn want(_spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        Ok(text::wanted(state))
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if now.change.is_some() && wanted.change.is_none() {
            let (old, new) = text::both(Path::new(FILE), &|text| edit(spec, text), now, cx)?;
            check(&old, new, cx)?;
        }
        now.file.keep(Path::new(FILE), &wanted.file, cx)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        text::put(Path::new(FILE), &|text| edit(spec, text), now, to, cx)?;
        if now.file != to.file && cx.host.lstat(Path::new(PID))?.is_some() {
            // smbd reads it within a minute anyhow, so it is no fault if it cannot be told: it may be about to end.
            let command = Command::changing(["smbcontrol", "smbd", "reload-config"], cx.timeout);
            match cx.host.run(&command) {
                Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
                _ => {}
            }
        }
        Ok(())
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        text::same(a, b)
    }

    fn intact(_spec: &Spec, _after: &State, now: &State) -> bool {
        now.change.is_none()
    }

    fn change(now: &State, _wanted: &State) -> Option<Vec<String>> {
        text::change(now)
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "council", "path": "/srv/share", "comment": "Files of the council", "read_only": false,
                "valid_users": ["@council", "frida"], "create_mask": "0664", "directory_mask": "2775",
                "options": { "force group": "council" } }),
            json!({ "name": "scan", "path": "/srv/scan", "guest_ok": true, "browseable": false }),
            json!({ "name": "council", "state": "absent" }),
        ]
    }
}

/// The parameters of the section, in the order they are written.
fn parameters(spec: &Spec) -> Vec<(String, String)> {
    let yes = |flag: Option<bool>| flag.map(|yes| String::from(if yes { "yes" } else { "no" }));
    let quoted = |name: &String| if name.contains(' ') { format!("\"{name}\"") } else { name.clone() };
    let list =
        |names: &Vec<String>| (!names.is_empty()).then(|| names.iter().map(quoted).collect::<Vec<_>>().join(", "));
    let own = [
        ("comment", spec.comment.clone()),
        ("path", spec.path.clone()),
        ("read only", yes(spec.read_only)),
        ("guest ok", yes(spec.guest_ok)),
        ("browseable", yes(spec.browseable)),
        ("valid users", list(&spec.valid_users)),
        ("write list", list(&spec.write_list)),
        ("create mask", spec.create_mask.map(String::from)),
        ("directory mask", spec.directory_mask.map(String::from)),
    ];
    let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    own.chain(spec.options.clone()).collect()
}

/// A parameter's name as Samba compares it: without case and blanks.
fn squeezed(key: &str) -> String {
    key.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
}

fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
    let all = items(text);
    let ours = |item: &Item| matches!(item, Item::Section(name) if name.eq_ignore_ascii_case(&spec.name));
    let mut heads = (0..all.len()).filter(|at| ours(&all[*at]));
    let head = heads.next();
    if let Some(again) = heads.next() {
        let message = format!("{FILE} line {}: the section [{}] is there a second time", again + 1, spec.name);
        return Err(Fault::new(FaultCode::Conflict, message).hint("make one of the two, by hand"));
    }
    let line = |(key, value): &(String, String)| format!("   {key} = {value}").trim_end().to_owned();
    let Some(head) = head else {
        if spec.state == Presence::Present {
            if text.lines().next_back().is_some_and(|line| !line.trim().is_empty()) {
                text.insert(text.len(), "");
            }
            text.insert(text.len(), &format!("[{}]", spec.name));
            parameters(spec).iter().for_each(|parameter| text.insert(text.len(), &line(parameter)));
        }
        return Ok(());
    };
    let end = (head + 1..all.len()).find(|at| matches!(all[*at], Item::Section(_))).unwrap_or(all.len());
    let is_entry = |at: &usize| matches!(all[*at], Item::Entry { .. } | Item::Continuation);
    if spec.state == Presence::Absent {
        let last = (head..end).rev().find(is_entry).unwrap_or(head);
        (head..=last).rev().for_each(|at| text.remove(at));
        let blank = |text: &Text, at: usize| text.lines().nth(at).is_none_or(|line| line.trim().is_empty());
        if head > 0 && blank(text, head - 1) && blank(text, head) {
            text.remove(head - 1);
        }
        return Ok(());
    }
    let mut missing = parameters(spec);
    let (mut gone, mut last) = (Vec::new(), head);
    for at in (head + 1..end).filter(is_entry) {
        let Item::Entry { key, value, continues: false } = &all[at] else {
            gone.push(at);
            continue;
        };
        let Some(found) = missing.iter().position(|(wanted, _)| squeezed(wanted) == squeezed(key)) else {
            gone.push(at);
            continue;
        };
        let wanted = missing.remove(found);
        if value.as_ref() != Some(&wanted.1) {
            text.replace(at, &line(&wanted));
        }
        last = at;
    }
    missing.iter().rev().for_each(|parameter| text.insert(last + 1, &line(parameter)));
    for at in gone.into_iter().rev() {
        text.remove(if at > last { at + missing.len() } else { at });
    }
    Ok(())
}

/// Has testparm(1) read the new text. What it already says of the old one is not ours.
fn check(old: &[u8], new: Vec<u8>, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let before = testparm(old.to_vec(), cx)?;
    let after = testparm(new, cx)?;
    let said = |output: &Output| {
        let lines = output.stderr.lines().map(str::trim).filter(|line| {
            ["nknown parameter", "gnoring", "not boolean", "ERROR", "rror "].iter().any(|sign| line.contains(sign))
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let known = said(&before);
    let new: Vec<String> = said(&after).into_iter().filter(|line| !known.contains(line)).collect();
    if new.is_empty() && (after.ok() || !before.ok()) {
        return Ok(());
    }
    let why = if new.is_empty() { after.stderr.trim().to_owned() } else { new.join("; ") };
    let fault = Fault::new(FaultCode::Invalid, why).within(format!("testparm refuses {FILE} with this share"));
    Err(fault.hint("correct the parameter: smb.conf(5) lists them; nothing was changed"))
}

fn testparm(stdin: Vec<u8>, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    let command = Command { stdin, ..Command::reading(["testparm", "-s", "/dev/stdin"]) };
    cx.host.run(&command).map_err(|fault| match fault.code {
        FaultCode::NotFound => Fault::new(FaultCode::Unsupported, "there is no program `testparm` to check the share")
            .hint("declare the package `samba` before this step"),
        _ => fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(more: Value, before: &str) -> String {
        let mut spec = json!({ "name": "s" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let mut text = Text::parse(before.as_bytes());
        edit(&spec, &mut text).unwrap();
        let once = text.clone();
        edit(&spec, &mut text).unwrap();
        assert_eq!(once, text, "editing twice is editing once");
        String::from_utf8(text.bytes(Path::new("/x")).unwrap()).unwrap()
    }

    #[test]
    fn a_share_is_its_section() {
        let share = json!({ "path": "/s", "read_only": false });
        let new = "[s]\n   path = /s\n   read only = no\n";
        let cases = [
            ("", new.to_owned()),
            ("[global]\n   workgroup = X\n", format!("[global]\n   workgroup = X\n\n{new}")),
            (
                "[S]\n\tPath = /s\n;\tpublic = yes\n\tREADONLY = no\n[t]\n\tpath = /t\n",
                "[S]\n\tPath = /s\n;\tpublic = yes\n\tREADONLY = no\n[t]\n\tpath = /t\n".into(),
            ),
            (
                "[s]\n   writable = yes\n   path = /old\n# why\n   read only = yes\n\n[t]\n",
                "[s]\n   path = /s\n# why\n   read only = no\n\n[t]\n".into(),
            ),
            (
                "[s]\n   comment = a \\\n   b\n   path = /s\n   public = yes",
                "[s]\n   path = /s\n   read only = no".into(),
            ),
            (
                "[s]\n   public = yes\n\n# printers\n[t]\n",
                "[s]\n   path = /s\n   read only = no\n\n# printers\n[t]\n".into(),
            ),
        ];
        for (before, after) in cases {
            assert_eq!(edited(share.clone(), before), after, "{before:?}");
        }
    }

    #[test]
    fn an_absent_share_has_no_section() {
        let absent = json!({ "state": "absent" });
        let before = "[a]\n   path = /a\n\n[s]\n# x\n   path = /s\n\n# the next\n[t]\n";
        assert_eq!(edited(absent.clone(), before), "[a]\n   path = /a\n\n# the next\n[t]\n");
        assert_eq!(edited(absent.clone(), "[a]\n\n[s]\n"), "[a]\n");
        assert_eq!(edited(absent, "[a]\n"), "[a]\n");
    }

    #[test]
    fn two_sections_are_one_too_many() {
        let spec: Spec = serde_json::from_value(json!({ "name": "s", "path": "/s" })).unwrap();
        let fault = edit(&spec, &mut Text::parse(b"[s]\n[S]\n")).unwrap_err();
        assert_eq!(fault.message, "/etc/samba/smb.conf line 2: the section [s] is there a second time");
    }

    #[test]
    fn names_with_blanks_are_quoted() {
        let share = json!({ "path": "/s", "valid_users": ["@Domain Users", "frida"] });
        assert!(edited(share, "").contains("valid users = \"@Domain Users\", frida\n"));
    }

    #[test]
    fn impossible_specs_are_refused() {
        for more in [
            json!({ "name": "a/b" }),
            json!({ "name": "Global" }),
            json!({ "path": "srv" }),
            json!({ "options": { "Writable": "yes" } }),
            json!({ "options": { "force user": "a\nb" } }),
            json!({ "options": { "a=b": "c" } }),
            json!({ "valid_users": ["a,b"] }),
            json!({ "comment": "x\\" }),
            json!({ "state": "absent" }),
        ] {
            let mut spec = json!({ "name": "s", "path": "/s" });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(SambaShare::problems(&serde_json::from_value(spec).unwrap()).len(), 1, "{more}");
        }
    }
}
