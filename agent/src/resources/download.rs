//! `download`: a file that comes from a URL, named by its digest. The controller fetches it once and hands it on; or
//! the host fetches it itself with curl(1), into the run's own directory, and uses it only if the digest is right.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Node, Owned, path_problem};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::Command;
use crate::host::simulated::DOWNLOADED;
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

/// Largest file that is fetched.
pub const MAX_BYTES: u64 = 8 << 30;

/// Redirects that are followed.
pub const MAX_REDIRECTS: usize = 5;

/// A file from a URL.
#[derive(Debug)]
pub struct Download;

/// A regular file from a URL, named by its SHA-256. Nothing is fetched where the host has that content already. Its
/// directory must exist. At most 8 GiB.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "download")]
pub struct Spec {
    /// Absolute path on the host.
    pub path: String,
    /// Where it comes from, `https://` or `http://`, without user and password. At most 5 redirects are followed.
    pub url: String,
    /// SHA-256 of the content in 64 hexadecimal digits, as sha256sum(1) prints it; anything else is refused.
    pub sha256: String,
    /// Who fetches it: the `controller` (default), once for all hosts, or the `host` itself with curl(1), where its own
    /// line is the faster one.
    #[serde(default)]
    pub via: Via,
    /// Permission bits, e.g. `"0755"`; a new file gets 0644, an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner, by name or number; a new file belongs to root, an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Who fetches a download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The controller.
    #[default]
    Controller,
    /// The host.
    Host,
}

impl Lens for Download {
    const NAME: &'static str = "download";
    const WITNESS: Witness = Witness::Paths;
    type Spec = Spec;
    /// The size of a wanted content that is not there yet is not known: 0.
    type State = Node;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
        problems.extend(url_problem(&spec.url));
        problems.extend(digest_problem(&spec.sha256));
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(PathBuf::from(&spec.path))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<Node, Fault> {
        Node::get(Path::new(&spec.path), cx)
    }

    fn want(spec: &Spec, state: &Node, _given: Circumstances) -> Result<Node, Fault> {
        let digest = digest(spec)?;
        let (old, size) = match state {
            Node::File { owned, digest: have, size, .. } if *have == digest => (owned.clone(), *size),
            Node::File { owned, .. } => (owned.clone(), 0),
            _ => (Owned::new(0o644), 0),
        };
        let owned = old.with(spec.mode, spec.owner.as_ref(), spec.group.as_ref());
        Ok(state.rewritten(&digest, size, owned))
    }

    fn put(spec: &Spec, now: &Node, to: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        to.put(Path::new(&spec.path), now, cx)
    }

    /// Where the host fetches it: before anything changes.
    fn keep(spec: &Spec, now: &Node, wanted: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        now.keep(Path::new(&spec.path), wanted, cx)?;
        let fetched =
            spec.via == Via::Host && wanted.contents() == [digest(spec)?] && now.contents() != wanted.contents();
        if fetched { fetch(spec, cx) } else { Ok(()) }
    }

    fn same(_spec: &Spec, a: &Node, b: &Node) -> bool {
        a.same(b)
    }

    fn intact(_spec: &Spec, after: &Node, now: &Node) -> bool {
        after.alike(now)
    }

    fn contents(spec: &Spec, wanted: &Node) -> Vec<Digest> {
        if spec.via == Via::Host { Vec::new() } else { wanted.contents() }
    }

    fn needs(spec: &Spec, now: &Node, wanted: &Node) -> Vec<Digest> {
        let mut needs = Download::contents(spec, wanted);
        needs.retain(|_| now.contents() != wanted.contents());
        needs
    }

    fn title(spec: &Spec) -> String {
        format!("{} from {}", spec.path, spec.url)
    }

    fn examples() -> Vec<Value> {
        let sha256 = Digest::of(DOWNLOADED);
        let url = "https://downloads.example/viewer-3.2.jar";
        vec![
            json!({ "path": "/srv/viewer.jar", "url": url, "sha256": sha256, "via": "host", "mode": "0644" }),
            json!({ "path": "/etc/motd", "url": "https://downloads.example/motd", "sha256": Digest::of(b"") }),
        ]
    }
}

/// What is wrong with a URL in a spec, if anything.
pub(super) fn url_problem(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if host.is_empty() || !url.bytes().all(|b| b.is_ascii_graphic()) || url.len() > 2000 {
        return Some(format!("`{url}` is no address that can be fetched: write `https://HOST/PATH`"));
    }
    // It would be seen in plans, logs and process lists.
    host.contains('@').then(|| "`url` has a user or password in it, which everyone could read in plans".into())
}

/// What is wrong with a digest in a spec, if anything.
pub(super) fn digest_problem(text: &str) -> Option<String> {
    let wrong = Digest::try_from(text.to_owned()).is_err();
    wrong.then(|| format!("`{text}` is no SHA-256: write the 64 lower-case hexadecimal digits that sha256sum prints"))
}

fn digest(spec: &Spec) -> Result<Digest, Fault> {
    Digest::try_from(spec.sha256.clone()).map_err(|message| Fault::new(FaultCode::Invalid, message))
}

/// Lets curl(1) fetch it into the contents of the run, unless it is there from an earlier try.
fn fetch(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let wanted = digest(spec)?;
    let here = |cx: &mut Cx<'_>, name: &str| match cx.host.state_open(name)? {
        Some(mut reader) => Digest::of_reader(&mut reader)
            .map(|seen| Some(seen.0))
            .map_err(|e| Fault::io(format_args!("read {name}"), &e)),
        None => Ok(None),
    };
    let name = format!("{}/in/{wanted}", cx.run_dir.clone().unwrap_or_default());
    if here(cx, &name)?.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let part = format!("{name}.part");
    // Makes the directory, and what is there private.
    cx.host.state_write(&part, &mut std::io::empty())?;
    let (output, max) = (cx.host.state_path(&part)?.to_string_lossy().into_owned(), MAX_BYTES.to_string());
    let (seconds, redirects) = (cx.timeout.as_secs().max(1).to_string(), MAX_REDIRECTS.to_string());
    let argv = [
        ["curl", "--disable"].as_slice(),
        &["--fail", "--silent", "--show-error", "--location", "--max-redirs", &redirects],
        &["--proto", "=https,http", "--proto-redir", "=https,http", "--retry", "2", "--connect-timeout", "20"],
        &["--max-time", &seconds, "--max-filesize", &max, "--output", &output, "--", &spec.url],
    ]
    .concat();
    let command = Command::changing(argv, cx.timeout);
    cx.kept = true;
    let fetched = cx.host.run(&command).map_err(|fault| match fault.code {
        FaultCode::NotFound => Fault::new(FaultCode::Unsupported, "there is no `curl` on this host")
            .hint("declare the package `curl` before it, or leave out `via: host`"),
        _ => fault,
    });
    let fetched = fetched.and_then(|output| output.expect_ok(&["curl".into(), spec.url.clone()]));
    let seen = fetched.and_then(|_| here(cx, &part));
    match seen {
        Ok(Some(seen)) if seen == wanted => cx.host.state_rename(&part, &name),
        Err(fault) if fault.code == FaultCode::Crashed => Err(fault),
        other => {
            cx.host.state_remove(&part)?;
            let seen = other?.map(|seen| seen.to_string()).unwrap_or_default();
            let fault = Fault::new(FaultCode::Corrupt, format!("{} has SHA-256 {seen}, not {wanted}", spec.url));
            Err(fault.hint("was it replaced there? If that is right, correct `sha256`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        for good in ["https://a.example/x", "http://[2001:db8::1]:8080/x?y=z#a@b"] {
            assert_eq!(url_problem(good), None);
        }
        for bad in ["ftp://a.example/x", "https:///x", "/etc/passwd", "https://u:p@a.example/", "https://a b/", "-o x"]
        {
            assert!(url_problem(bad).is_some(), "{bad}");
        }
        assert!(digest_problem("abc").is_some());
    }
}
