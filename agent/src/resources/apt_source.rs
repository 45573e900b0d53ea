//! `apt_source`: a source of packages in the deb822 style of sources.list(5), with the key that signs it, and the index
//! of what it has.
//!
//! The index of this source alone is fetched when it is new; indexes of other sources stay as they are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::Content;
use super::node::{Node, Owned, Presence};
use super::nodes::{self, Nodes};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::Command;
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

const SOURCES: &str = "/etc/apt/sources.list.d";
const KEYRINGS: &str = "/etc/apt/keyrings";
const LISTS: &str = "/var/lib/apt/lists";

/// Bound of a key, in bytes.
const MAX_KEY: u64 = 256 << 10;

/// A source of packages.
#[derive(Debug)]
pub struct AptSource;

/// A source of packages for apt, in `/etc/apt/sources.list.d/NAME.sources`, trusted by a key of its own in
/// `/etc/apt/keyrings/NAME.asc`. Its index is fetched at once, so that packages can be declared after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "apt_source")]
pub struct Spec {
    /// Name of the files.
    pub name: String,
    /// Addresses, e.g. `https://deb.example/debian`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// Suites, e.g. `bookworm`; one that ends with `/` is a path, and has no components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Components, e.g. `main`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Architectures, e.g. `amd64`; those of the host without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// The public key that signs the source, in ASCII armour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Content>,
    /// `present` (default) or `absent`: source and key are removed.
    #[serde(default)]
    pub state: Presence,
}

/// The files, and which indexes of the source are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The source, the key and the directory of keys.
    pub files: Nodes,
    /// Names in `/var/lib/apt/lists` that begin like the indexes of this source.
    pub lists: Vec<String>,
    /// Whether every suite has an index; `true` where the source shall be absent.
    pub indexed: bool,
}

impl Lens for AptSource {
    const NAME: &'static str = "apt_source";
    const UNDO: Exactness =
        Exactness::BestEffort("indexes of the source that were there before may be newer, and apt's caches");
    const BARRIER: bool = true;
    const SENT: &'static [&'static str] = &["key"];
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        problems(spec)
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(PathBuf::from(source_path(spec))), Claim::Path(PathBuf::from(key_path(spec)))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let files = nodes::get([KEYRINGS.to_owned(), key_path(spec), source_path(spec)], cx)?;
        let starts = index_names(spec);
        let mut lists = Vec::new();
        if !starts.is_empty() && cx.host.lstat(Path::new(LISTS))?.is_some() {
            let names = cx.host.read_dir(Path::new(LISTS))?;
            let ours = |name: &String| starts.iter().any(|start| name.starts_with(start));
            lists.extend(names.into_iter().filter_map(|name| name.into_string().ok()).filter(ours));
        }
        let has = |start: &String| {
            let release = |list: &String| list.ends_with("Release") && list.starts_with(start);
            lists.iter().any(release)
        };
        Ok(State { files, indexed: starts.iter().all(has), lists })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let mut files = state.files.clone();
        if spec.state == Presence::Absent {
            files.insert(source_path(spec), Node::Absent);
            files.insert(key_path(spec), Node::Absent);
            return Ok(State { files, ..state.clone() });
        }
        let source = source_path(spec);
        files.insert(source.clone(), nodes::file(text(spec).as_bytes(), 0o644, state.files.get(&source)));
        if let Some(key) = &spec.key {
            let now = state.files.get(&key_path(spec));
            let owned = match now {
                Some(Node::File { owned, .. }) => owned.clone(),
                _ => Owned::new(0o644),
            };
            files.insert(key_path(spec), key.node(owned, now)?);
            if !matches!(files.get(KEYRINGS), Some(Node::Directory { .. })) {
                files.insert(KEYRINGS.into(), Node::Directory { owned: Owned::new(0o755) });
            }
        } else {
            files.insert(key_path(spec), Node::Absent);
        }
        Ok(State { files, lists: state.lists.clone(), indexed: true })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        cx.offer(text(spec).as_bytes());
        nodes::put(&now.files, &to.files, cx)?;
        if to.indexed && ours(spec, to) && !(now.indexed && ours(spec, now)) {
            return update(spec, cx);
        }
        // Going back: what was fetched for us is nobody's.
        for list in now.lists.iter().filter(|list| !to.lists.contains(list)) {
            cx.host.remove(Path::new(&format!("{LISTS}/{list}")))?;
        }
        Ok(())
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if let Some(key) = spec.key.as_ref().filter(|_| ours(spec, wanted))
            && let Some(problem) = key_problem(&key.text("key", MAX_KEY, cx)?)
        {
            return Err(Fault::new(FaultCode::Invalid, problem));
        }
        if ours(spec, wanted) {
            cx.host.run(&Command::reading(["apt-get", "--version"])).map_err(|fault| match fault.code {
                FaultCode::NotFound => Fault::new(FaultCode::Unsupported, "there is no apt on this host"),
                _ => fault,
            })?;
        }
        nodes::keep(&now.files, &wanted.files, cx)
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        nodes::same(&a.files, &b.files)
            && a.lists.iter().all(|list| b.lists.contains(list))
            && a.lists.len() == b.lists.len()
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        nodes::alike(&after.files, &now.files)
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        let key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZQ==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        vec![
            json!({ "name": "region", "uris": ["https://deb.example/debian"], "suites": ["bookworm"],
                    "components": ["main"], "architectures": ["amd64"], "key": { "content": key } }),
            json!({ "name": "old-vendor", "state": "absent" }),
        ]
    }
}

fn source_path(spec: &Spec) -> String {
    format!("{SOURCES}/{}.sources", spec.name)
}

fn key_path(spec: &Spec) -> String {
    format!("{KEYRINGS}/{}.asc", spec.name)
}

/// Whether source and key have the contents that the spec asks for.
fn ours(spec: &Spec, state: &State) -> bool {
    let digest = |path: String| match state.files.get(&path) {
        Some(Node::File { digest, .. }) => Some(digest.clone()),
        _ => None,
    };
    let key = spec.key.as_ref().and_then(|key| key.blob.as_ref()).map(|blob| blob.digest.clone());
    let source = Some(Digest::of(text(spec).as_bytes()));
    spec.state == Presence::Present && digest(source_path(spec)) == source && digest(key_path(spec)) == key
}

/// The stanza, as in sources.list(5).
fn text(spec: &Spec) -> String {
    let mut text = format!("Types: deb\nURIs: {}\nSuites: {}\n", spec.uris.join(" "), spec.suites.join(" "));
    for (key, values) in [("Components", &spec.components), ("Architectures", &spec.architectures)] {
        if !values.is_empty() {
            let _ = writeln!(text, "{key}: {}", values.join(" "));
        }
    }
    if spec.key.is_some() {
        let _ = writeln!(text, "Signed-By: {}", key_path(spec));
    }
    text
}

/// How apt names the indexes of every address and suite (`URItoFileName` of apt-pkg): the address without its scheme,
/// `/` as `_`, and what else separates or surprises in hexadecimal digits.
fn index_names(spec: &Spec) -> Vec<String> {
    let name = |uri: &String, suite: &String| {
        let rest = uri.split_once(':').map_or(uri.as_str(), |(_, rest)| rest);
        let rest = rest.strip_prefix("//").unwrap_or(rest).trim_end_matches('/');
        let path = match suite.strip_suffix('/') {
            Some("" | ".") => format!("{rest}/"),
            Some(path) => format!("{rest}/{path}/"),
            None => format!("{rest}/dists/{suite}/"),
        };
        let mut name = String::new();
        for byte in path.bytes() {
            match byte {
                b'/' => name.push('_'),
                0..=b' ' | 127.. => drop(write!(name, "%{byte:02x}")),
                _ if b"\\|{}[]<>\"^~_=!@#$%&*".contains(&byte) => drop(write!(name, "%{byte:02x}")),
                _ => name.push(char::from(byte)),
            }
        }
        name
    };
    spec.uris.iter().flat_map(|uri| spec.suites.iter().map(move |suite| name(uri, suite))).collect()
}

/// Fetches the index of this source alone; apt-get(8) with what its configuration is for one source.
fn update(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let list = format!("Dir::Etc::sourcelist={}", source_path(spec));
    let others =
        ["-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any"];
    let argv = ["apt-get", "update", "-q", "-o", &list].into_iter().chain(others).map(str::to_owned);
    let argv: Vec<String> = argv.collect();
    let output = cx.host.run(&Command::changing(argv.clone(), cx.timeout))?;
    let done = output.expect_ok(&argv).map(drop);
    done.map_err(|fault| {
        fault
            .within(format!("the index of the source `{}` cannot be fetched", spec.name))
            .hint("check address, suite and key, and that the host reaches the address")
    })
}

fn problems(spec: &Spec) -> Vec<String> {
    let mut problems = Vec::new();
    // apt ignores files with other names.
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if spec.name.is_empty() || spec.name.starts_with('.') || !spec.name.bytes().all(ok) || spec.name.len() > 100 {
        problems.push(format!("`{}` is no name of a source: letters, digits, `_`, `-`, `.`", spec.name));
    }
    if spec.state == Presence::Absent {
        let lists = [&spec.uris, &spec.suites, &spec.components, &spec.architectures];
        if lists.iter().any(|list| !list.is_empty()) || spec.key.is_some() {
            problems.push("an absent source has nothing but its name".into());
        }
        return problems;
    }
    if spec.uris.is_empty() || spec.suites.is_empty() {
        problems.push("a source needs `uris` and `suites`".into());
    }
    let schemes = ["https://", "http://", "file:/", "copy:/", "cdrom:"];
    for uri in &spec.uris {
        if !schemes.iter().any(|scheme| uri.starts_with(scheme)) || !word(uri) {
            problems.push(format!("`{uri}` is no address of a source: write e.g. `https://deb.example/debian`"));
        } else if uri.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|h| h.contains('@')))
        {
            problems.push("an address may not have a password in it: see apt_auth.conf(5)".into());
        }
    }
    for value in spec.suites.iter().chain(&spec.components).chain(&spec.architectures).filter(|value| !word(value)) {
        problems.push(format!("`{value}` is not one word"));
    }
    let flat = spec.suites.iter().any(|suite| suite.ends_with('/'));
    if flat != spec.components.is_empty() && !spec.suites.is_empty() {
        problems.push("a source needs `components`, unless its suites are paths that end with `/`".into());
    }
    problems.extend(spec.key.as_ref().and_then(|key| key.problem("key")));
    problems.extend(spec.key.as_ref().and_then(|key| key_problem(key.content.as_ref()?)));
    problems
}

fn word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// What is wrong with a key, if anything; RFC 9580, section 6.2.
fn key_problem(text: &str) -> Option<String> {
    let has = |line: &str| text.lines().any(|l| l.trim_end() == line);
    if text.contains("PRIVATE KEY") {
        return Some("`key` is a private key: give the public one, from `gpg --armor --export`".into());
    }
    let good = has("-----BEGIN PGP PUBLIC KEY BLOCK-----") && has("-----END PGP PUBLIC KEY BLOCK-----");
    (!good).then(|| "`key` is no public key in ASCII armour: `gpg --armor --export` or `--enarmor` makes one".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: Value) -> Spec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn indexes_are_named_as_apt_does() {
        let of = |uri: &str, suite: &str| index_names(&spec(json!({ "name": "x", "uris": [uri], "suites": [suite] })));
        assert_eq!(of("https://deb.example/debian/", "bookworm"), ["deb.example_debian_dists_bookworm_"]);
        assert_eq!(
            of("http://deb.example:8080/a_b", "stable/updates"),
            ["deb.example:8080_a%5fb_dists_stable_updates_"]
        );
        assert_eq!(of("file:///srv/repo", "./"), ["_srv_repo_"]);
        assert_eq!(of("file:/srv/our~repo", "./"), ["_srv_our%7erepo_"]);
    }

    #[test]
    fn the_stanza_is_as_in_the_manual() {
        let [source, _] = AptSource::examples().try_into().unwrap();
        assert_eq!(
            text(&spec(source)),
            "Types: deb\nURIs: https://deb.example/debian\nSuites: bookworm\nComponents: main\nArchitectures: amd64\n\
             Signed-By: /etc/apt/keyrings/region.asc\n"
        );
    }

    #[test]
    fn impossible_specs_are_refused() {
        let base = json!({ "name": "x", "uris": ["https://deb.example/x"], "suites": ["a"], "components": ["main"] });
        assert_eq!(problems(&spec(base.clone())), Vec::<String>::new());
        for (key, value) in [
            ("name", json!("a/b")),
            ("uris", json!(["deb.example"])),
            ("uris", json!(["https://user:secret@deb.example/x"])),
            ("uris", json!(["https://deb.example/x\nTrusted: yes"])),
            ("suites", json!([])),
            ("suites", json!(["./"])),
            ("components", json!([])),
            ("key", json!({ "content": "no key" })),
            ("key", json!({})),
            ("state", json!("absent")),
        ] {
            let mut value_of = base.clone();
            value_of[key] = value;
            let found = problems(&spec(value_of.clone()));
            assert!(!found.is_empty(), "{value_of}");
            assert!(!found.iter().any(|problem| problem.contains("secret")), "{found:?}");
        }
    }
}
