//! `firewall`: the nftables ruleset, as a file that is loaded at boot and as the rules in force now; nft(8).
//!
//! The file owns the whole ruleset: it must begin with `flush ruleset`, so that loading it twice is loading it once.
//! Whether the rules in force are those of the file is found by loading the file in a network namespace of its own and
//! comparing what `nft list ruleset` says there and here.

mod rule;

use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::Content;
use super::hold::without_holds;
use super::node::{Node, Owned, path_problem};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

/// Bound of a ruleset, in bytes.
const MAX: u64 = 1 << 20;

/// Loads a ruleset from standard input into a network namespace that ends with it, and tells how it reads there. Constant.
const TRY: [&str; 5] = ["unshare", "--net", "sh", "-c", "nft -f - && exec nft -s list ruleset"];

/// The firewall's rules.
#[derive(Debug)]
pub struct Firewall;

/// The nftables ruleset: a file, and the rules in force, which the file replaces in one step. Programs that add rules of
/// their own (Docker, fail2ban) have to be restarted after it, and a `hold` ends. Declare `unit nftables` as well, so that the file is
/// loaded at boot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "firewall")]
pub struct Spec {
    /// The rules in the language of nft(8), beginning with `flush ruleset`. A new ruleset is checked with `nft -c` first.
    pub ruleset: Content,
    /// Where the file lies; `/etc/nftables.conf`, which Debian loads at boot, without it.
    #[serde(default = "default_path")]
    pub path: String,
    /// The port over which this host is managed: rules that drop input by default and accept it nowhere are refused.
    #[serde(default = "default_port")]
    pub ssh_port: u16,
}

fn default_path() -> String {
    "/etc/nftables.conf".into()
}

fn default_port() -> u16 {
    22
}

/// The file and the rules in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What stands at the path.
    pub file: Node,
    /// Digest of what `nft -s list ruleset` says; `None` in a wanted state: what the file makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Digest>,
    /// Whether the rules in force are those of the file. Where that cannot be found out: whether there are any.
    pub loaded: bool,
}

impl Lens for Firewall {
    const NAME: &'static str = "firewall";
    const UNDO: Exactness =
        Exactness::BestEffort("counters, and elements that rules or programs had added to sets with a timeout");
    const BARRIER: bool = true;
    const SENT: &'static [&'static str] = &["ruleset"];
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
        problems.extend(spec.ruleset.problem("ruleset"));
        if let Some(text) = &spec.ruleset.content {
            problems.extend(rule::problem(text, spec.ssh_port));
        }
        if spec.ssh_port == 0 {
            problems.push("`ssh_port` is a port from 1 to 65535".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(PathBuf::from(&spec.path)), Claim::Name("firewall", "ruleset".into())]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let path = Path::new(&spec.path);
        let file = Node::get(path, cx)?;
        let Some(live) = live(cx)? else { return Ok(State { file, live: None, loaded: false }) };
        let loaded = match &file {
            // Only of the wanted file is it worth knowing.
            Node::File { digest, size, .. } if spec.ruleset.blob.as_ref().is_some_and(|b| b.digest == *digest) => {
                let mut text = Vec::with_capacity(usize::try_from(*size).unwrap_or_default());
                let read = cx.host.open(path)?.take(MAX).read_to_end(&mut text);
                read.map_err(|e| Fault::path("read", path, &e))?;
                let there = cx.host.run(&Command { stdin: text, ..Command::reading(TRY) });
                match there {
                    Ok(output) if output.ok() => output.stdout == live,
                    Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
                    // No namespaces, or the rules name network cards that are only here.
                    _ => !live.is_empty(),
                }
            }
            _ => false,
        };
        Ok(State { file, live: Some(Digest::of(live.as_bytes())), loaded })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let owned = match &state.file {
            Node::File { owned, .. } => owned.clone(),
            _ => Owned::new(0o755),
        };
        let file = spec.ruleset.node(owned, Some(&state.file))?;
        let live = state.live.clone().filter(|_| state.loaded && file == state.file);
        Ok(State { file, live, loaded: true })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let rules = match &to.live {
            None if to.loaded => Some(spec.ruleset.text("ruleset", MAX, cx)?),
            Some(digest) if now.live != to.live => Some(kept(digest, cx)?),
            _ => None,
        };
        if let Some(rules) = rules {
            // First: if the kernel refuses them, nothing has changed.
            let argv = ["nft", "-f", "-"].map(str::to_owned);
            let load = Command { stdin: rules.into_bytes(), ..Command::changing(argv.clone(), cx.timeout) };
            nft(&load, cx)?.expect_ok(&argv)?;
        }
        to.file.put(Path::new(&spec.path), &now.file, cx)
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if wanted.live.is_none() && wanted.loaded {
            check(spec, cx)?;
        }
        let Some(text) = live(cx)? else { return Err(missing()) };
        if now.live == Some(Digest::of(text.as_bytes())) {
            cx.keep_bytes(&name(now.live.as_ref()), format!("flush ruleset\n{text}").as_bytes())?;
        }
        now.file.keep(Path::new(&spec.path), &wanted.file, cx)
    }

    /// Before, the file was another, so whether it was loaded was not looked at.
    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        a.file.same(&b.file) && a.live == b.live
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        after.file.alike(&now.file) && after.live == now.live
    }

    fn preview(spec: &Spec, state: &State, cx: &mut Cx<'_>) -> Option<String> {
        state.file.preview(Path::new(&spec.path), cx)
    }

    fn contents(spec: &Spec, wanted: &State) -> Vec<Digest> {
        let rules = spec.ruleset.blob.iter().map(|blob| blob.digest.clone());
        if wanted.live.is_none() { rules.collect() } else { wanted.file.contents() }
    }

    fn title(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn examples() -> Vec<Value> {
        let rules = "#!/usr/sbin/nft -f\n\
            flush ruleset\n\
            table inet filter {\n\
            \tchain input {\n\
            \t\ttype filter hook input priority filter; policy drop;\n\
            \t\tct state established,related accept\n\
            \t\tiif lo accept\n\
            \t\ttcp dport { 22, 631 } accept\n\
            \t}\n\
            }\n";
        vec![json!({ "ruleset": { "content": rules } })]
    }
}

/// The rules in force, without those of a `hold`; `None` if there is no nft.
fn live(cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let argv = ["nft", "-s", "list", "ruleset"].map(str::to_owned);
    match cx.host.run(&Command::reading(argv.clone())) {
        Err(fault) if fault.code == FaultCode::NotFound => Ok(None),
        output => output?.expect_ok(&argv).map(|output| Some(without_holds(&output.stdout))),
    }
}

/// Refuses rules that would shut us out, or that nft does not understand.
fn check(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let text = spec.ruleset.text("ruleset", MAX, cx)?;
    if let Some(problem) = rule::problem(&text, spec.ssh_port) {
        return Err(Fault::new(FaultCode::Invalid, problem));
    }
    let argv = ["nft", "-c", "-f", "-"].map(str::to_owned);
    let look = Command { stdin: text.into_bytes(), ..Command::reading(argv.clone()) };
    nft(&look, cx)?.expect_ok(&argv).map(drop).map_err(|fault| Fault { code: FaultCode::Invalid, ..fault })
}

fn kept(digest: &Digest, cx: &mut Cx<'_>) -> Result<String, Fault> {
    let mut text = String::new();
    let read = cx.kept_bytes(&name(Some(digest)))?.read_to_string(&mut text);
    read.map_err(|e| Fault::io("read the kept rules", &e))?;
    Ok(text)
}

fn name(live: Option<&Digest>) -> String {
    format!("nft-{}", live.map(ToString::to_string).unwrap_or_default())
}

fn nft(command: &Command, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    cx.host.run(command).map_err(|fault| if fault.code == FaultCode::NotFound { missing() } else { fault })
}

fn missing() -> Fault {
    Fault::new(FaultCode::Unsupported, "there is no `nft` on this host")
        .hint("declare the package `nftables` before it")
}
