//! `locale`: the language of the host: `/etc/default/locale`, which Debian's logins read, and the locales that are
//! generated (locale-gen(8), locale.gen(5)) into the archive that programs read (localedef(1)).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Node};
use super::text::{self, Text};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, read_text};
use crate::resource::{Circumstances, Claim, Cx, Lens};

const DEFAULT: &str = "/etc/default/locale";
const LIST: &str = "/etc/locale.gen";
const DIRECTORY: &str = "/usr/lib/locale";
const ARCHIVE: &str = "/usr/lib/locale/locale-archive";
const SUPPORTED: &str = "/usr/share/i18n/SUPPORTED";

/// Variables of locale(7) that stand in the file; `LC_ALL`, which goes over all of them, does not belong there.
const CATEGORIES: [&str; 13] = [
    "LANGUAGE",
    "LC_ADDRESS",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
];

/// The host's language.
#[derive(Debug)]
pub struct Locale;

/// The host's language: variables in `/etc/default/locale`, which the next login reads, and the locales that are
/// generated. Lines of others in that file and in `/etc/locale.gen` stay; locales that are there stay. Undo puts the
/// archive of generated locales back as it was.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "locale")]
pub struct Spec {
    /// `LANG`, e.g. `de_DE.UTF-8`. It has to be generated, unless it is `C.UTF-8`, `C` or `POSIX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// Others of locale(7), e.g. `LC_TIME: de_DE.UTF-8`; also `LANGUAGE`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Locales to generate, e.g. `de_DE.UTF-8`, or with a character set `de_DE@euro ISO-8859-15`; they come with the
    /// package `locales`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generate: Vec<String>,
}

/// Files, and what is generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `/etc/default/locale`.
    pub default: text::State,
    /// `/etc/locale.gen`.
    pub list: text::State,
    /// `/usr/lib/locale/locale-archive`; `None` in a wanted state: what generating makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Node>,
    /// Names in the archive, as localedef(1) lists them.
    pub known: BTreeSet<String>,
}

impl Lens for Locale {
    const NAME: &'static str = "locale";
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._@-:".contains(&b);
        for (name, value) in variables(spec) {
            if name != "LANG" && !CATEGORIES.contains(&name) {
                problems.push(format!("`{name}` is no variable of locale(7) for this file: {}", CATEGORIES.join(", ")));
            }
            if value.is_empty() || !value.bytes().all(ok) {
                problems.push(format!("`{value}` is no locale: write e.g. `de_DE.UTF-8`"));
            }
        }
        for locale in &spec.generate {
            let entry = entry(locale);
            if entry.split(' ').count() != 2 || !entry.bytes().all(|b| ok(b) || b == b' ') {
                problems.push(format!("`{locale}` names no character set: write e.g. `de_DE.UTF-8`"));
            }
        }
        if spec.lang.is_none() && spec.variables.is_empty() && spec.generate.is_empty() {
            problems.push("a locale needs `lang`, `variables` or `generate`".into());
        }
        problems
    }

    fn claims(_spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("locale", "of the host".into()), Claim::Path(ARCHIVE.into())]
    }

    fn edits(_spec: &Spec) -> Vec<std::path::PathBuf> {
        vec![DEFAULT.into(), LIST.into()]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let create = Some(Mode(0o644));
        let default = text::look(Path::new(DEFAULT), &|text| edit_default(spec, text), create, false, cx)?;
        let list = text::look(Path::new(LIST), &|text| edit_list(spec, text), create, false, cx)?;
        let archive = Node::get(Path::new(ARCHIVE), cx)?;
        let mut known = BTreeSet::new();
        if archive != Node::Absent {
            let command = Command::reading(["localedef", "--list-archive"]);
            let output = cx.host.run(&command)?.expect_ok(&command.argv)?;
            known.extend(output.stdout.split_ascii_whitespace().map(str::to_owned));
        }
        Ok(State { default, list, archive: Some(archive), known })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let generated = spec.generate.iter().map(|locale| archived(&entry(locale)));
        let missing: Vec<String> = generated.filter(|name| !state.known.contains(name)).collect();
        let archive = if missing.is_empty() { state.archive.clone() } else { None };
        let known = state.known.iter().cloned().chain(missing).collect();
        Ok(State { default: text::wanted(&state.default), list: text::wanted(&state.list), archive, known })
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if wanted.archive.is_none() {
            let Some(supported) = read_text(cx.host, Path::new(SUPPORTED))? else {
                let fault = Fault::new(FaultCode::Unsupported, format!("there is no {SUPPORTED}, and no locale-gen"));
                return Err(fault.hint("declare the package `locales` before this step"));
            };
            // locale-gen(8) goes on after an unknown one.
            let unknown = spec.generate.iter().find(|l| !supported.lines().any(|line| line.trim() == entry(l)));
            if let Some(locale) = unknown {
                let message = format!("{SUPPORTED} has no `{}`", entry(locale));
                return Err(Fault::new(FaultCode::NotFound, message).hint("correct the name"));
            }
        }
        let forward = wanted.default.change.is_none() && now.default.change.is_some();
        for (_, value) in variables(spec).filter(|(name, _)| forward && *name != "LANGUAGE") {
            // The locales that the C library brings, as a directory or built in.
            let builtin = ["C", "POSIX", "C.utf8"].contains(&archived(value).as_str());
            let directory = Path::new(DIRECTORY).join(archived(value));
            if !builtin && !wanted.known.contains(&archived(value)) && cx.host.lstat(&directory)?.is_none() {
                let fault = Fault::new(FaultCode::NotFound, format!("the locale `{value}` is not generated"));
                return Err(fault.hint("name it in `generate`, too"));
            }
        }
        now.default.file.keep(Path::new(DEFAULT), &wanted.default.file, cx)?;
        now.list.file.keep(Path::new(LIST), &wanted.list.file, cx)?;
        match (&now.archive, &wanted.archive) {
            (Some(now), None) => now.keep(Path::new(ARCHIVE), &Node::Absent, cx),
            (Some(now), Some(wanted)) => now.keep(Path::new(ARCHIVE), wanted, cx),
            _ => Ok(()),
        }
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        part(DEFAULT, &|text| edit_default(spec, text), &now.default, &to.default, cx)?;
        part(LIST, &|text| edit_list(spec, text), &now.list, &to.list, cx)?;
        match (&now.archive, &to.archive) {
            (_, None) => {
                let command = Command::changing(["locale-gen", "--keep-existing"], cx.timeout);
                cx.host.run(&command)?.expect_ok(&command.argv).map(drop)
            }
            (Some(now), Some(to)) => {
                sweep(cx)?;
                to.put(Path::new(ARCHIVE), now, cx)
            }
            (None, Some(_)) => Ok(()),
        }
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        let part = |a: &text::State, b| text::same(a, b) || (a.change.is_none() && b.change.is_none());
        part(&a.default, &b.default)
            && part(&a.list, &b.list)
            && a.archive.as_ref().zip(b.archive.as_ref()).is_none_or(|(a, b)| a.same(b))
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        // What others generated beside ours would go with the archive: that is for a person to decide.
        let archive = match (&after.archive, &now.archive) {
            (Some(after), Some(now)) => after.alike(now) || spec.generate.is_empty(),
            _ => true,
        };
        now.default.change.is_none() && now.list.change.is_none() && archive
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let mut lines = text::change(&now.default).unwrap_or_default();
        lines.extend(text::change(&now.list).unwrap_or_default());
        lines.extend(wanted.known.difference(&now.known).map(|name| format!("+ generate {name}")));
        Some(lines)
    }

    fn title(spec: &Spec) -> String {
        spec.lang.clone().unwrap_or_else(|| spec.generate.join(", "))
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "lang": "de_DE.UTF-8", "generate": ["de_DE.UTF-8", "en_GB.UTF-8"] }),
            json!({ "lang": "C.UTF-8", "variables": { "LC_MESSAGES": "C" } }),
        ]
    }
}

/// A file that is edited; one that we do not change is never touched.
fn part(
    path: &str,
    edit: text::EditText<'_>,
    now: &text::State,
    to: &text::State,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    if now.change.is_none() && to.change.is_none() {
        return Ok(());
    }
    text::put(Path::new(path), edit, now, to, cx)
}

/// Removes what localedef(1) leaves beside the archive if it is killed: `locale-archive.` and six letters.
fn sweep(cx: &mut Cx<'_>) -> Result<(), Fault> {
    for name in cx.host.read_dir(Path::new(DIRECTORY))? {
        let left = name.to_str().and_then(|n| n.strip_prefix("locale-archive.")).is_some_and(|end| end.len() == 6);
        if left {
            cx.host.remove(&Path::new(DIRECTORY).join(name))?;
        }
    }
    Ok(())
}

fn variables(spec: &Spec) -> impl Iterator<Item = (&str, &str)> {
    let lang = spec.lang.iter().map(|value| ("LANG", value.as_str()));
    lang.chain(spec.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// A locale as `/etc/locale.gen` has it: name and character set.
fn entry(locale: &str) -> String {
    if locale.contains(' ') {
        return locale.to_owned();
    }
    let set = locale.split_once('.').map(|(_, set)| set.split('@').next().unwrap_or_default());
    set.filter(|set| !set.is_empty()).map_or_else(|| locale.to_owned(), |set| format!("{locale} {set}"))
}

/// A locale's name in the archive: the character set in small letters and digits only, as in `locale -a`.
fn archived(locale: &str) -> String {
    let name = locale.split(' ').next().unwrap_or_default();
    let Some((language, rest)) = name.split_once('.') else { return name.to_owned() };
    let (set, modifier) = rest.split_once('@').map_or((rest, None), |(set, modifier)| (set, Some(modifier)));
    let set: String = set.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    modifier.map_or_else(|| format!("{language}.{set}"), |modifier| format!("{language}.{set}@{modifier}"))
}

fn edit_default(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
    for (name, value) in variables(spec) {
        let of = |line: &str| line.trim().strip_prefix(name)?.strip_prefix('=').map(|v| v.trim_matches('"').to_owned());
        match text.rfind(|line| of(line).is_some()) {
            Some(at) if text.lines().nth(at).and_then(of).as_deref() == Some(value) => {}
            Some(at) => text.replace(at, &format!("{name}={value}")),
            None => text.insert(text.len(), &format!("{name}={value}")),
        }
    }
    Ok(())
}

fn edit_list(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
    for entry in spec.generate.iter().map(|locale| entry(locale)) {
        let is = |line: &str| line.split_ascii_whitespace().eq(entry.split(' '));
        if text.find(0, is).is_some() {
            continue;
        }
        match text.find(0, |line| line.trim_start().strip_prefix('#').is_some_and(is)) {
            Some(at) => text.replace(at, &entry),
            None => text.insert(text.len(), &entry),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(spec: Value) -> Spec {
        serde_json::from_value(spec).unwrap()
    }

    fn edited(edit: fn(&Spec, &mut Text) -> Result<(), Fault>, of: Value, before: &str) -> String {
        let mut text = Text::parse(before.as_bytes());
        edit(&spec(of), &mut text).unwrap();
        String::from_utf8(text.bytes(Path::new("/x")).unwrap()).unwrap()
    }

    #[test]
    fn names_are_as_locale_a_has_them() {
        for (locale, line, name) in [
            ("de_DE.UTF-8", "de_DE.UTF-8 UTF-8", "de_DE.utf8"),
            ("de_DE@euro ISO-8859-15", "de_DE@euro ISO-8859-15", "de_DE@euro"),
            ("ca_ES.UTF-8@valencia", "ca_ES.UTF-8@valencia UTF-8", "ca_ES.utf8@valencia"),
        ] {
            assert_eq!((entry(locale).as_str(), archived(locale).as_str()), (line, name));
        }
    }

    #[test]
    fn lines_of_others_stay() {
        let lang = json!({ "lang": "de_DE.UTF-8", "variables": { "LC_TIME": "C" } });
        let cases = [
            ("", "LANG=de_DE.UTF-8\nLC_TIME=C\n"),
            ("# x\nLANG=\"de_DE.UTF-8\"\nLC_TIME=C\n", "# x\nLANG=\"de_DE.UTF-8\"\nLC_TIME=C\n"),
            ("LANGUAGE=de\nLANG=C\n", "LANGUAGE=de\nLANG=de_DE.UTF-8\nLC_TIME=C\n"),
        ];
        for (before, after) in cases {
            assert_eq!(edited(edit_default, lang.clone(), before), after);
        }
        let list = json!({ "generate": ["de_DE.UTF-8"] });
        let cases = [
            (
                "# a\n# de_DE.UTF-8 UTF-8\n# de_DE@euro ISO-8859-15\n",
                "# a\nde_DE.UTF-8 UTF-8\n# de_DE@euro ISO-8859-15\n",
            ),
            ("de_DE.UTF-8   UTF-8\n", "de_DE.UTF-8   UTF-8\n"),
            ("", "de_DE.UTF-8 UTF-8\n"),
        ];
        for (before, after) in cases {
            assert_eq!(edited(edit_list, list.clone(), before), after);
        }
    }

    #[test]
    fn impossible_specs_are_refused() {
        for bad in [
            json!({}),
            json!({ "lang": "de DE" }),
            json!({ "variables": { "LC_ALL": "C" } }),
            json!({ "generate": ["de_DE"] }),
            json!({ "generate": ["de_DE UTF-8 x"] }),
        ] {
            assert_eq!(Locale::problems(&spec(bad.clone())).len(), 1, "{bad}");
        }
    }
}
