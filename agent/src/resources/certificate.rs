//! `certificate`: a TLS certificate with its private key, as files that services read.
//!
//! Before anything changes the key must fit the certificate and the certificate be good for some days, as openssl(1) on
//! the host tells; it gets both through standard input. The key's content is in no state: its digest is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::Content;
use super::node::{Mode, Node, Owned, path_problem};
use super::nodes::{self, Nodes};
use crate::fault::{Fault, FaultCode};
use crate::host::Command;
use crate::resource::{Circumstances, Claim, Cx, Lens};

/// Bound of a key, a certificate and a chain, in bytes each.
const MAX: u64 = 256 << 10;

/// A certificate and its key.
#[derive(Debug)]
pub struct Certificate;

/// A TLS certificate for services: the certificate, its private key, and the chain of those who signed it, all in PEM.
/// Services read them when they start: name the paths in the unit's `restart_on`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "certificate")]
pub struct Spec {
    /// Absolute path of the certificate's file. Its directory must exist.
    pub path: String,
    /// The certificate; those of its signers may follow it (nginx and most others want it so).
    pub certificate: Content,
    /// Absolute path of the key's file.
    pub key_path: String,
    /// The private key, without a passphrase. It never appears in a plan, diff, log or report.
    pub key: Content,
    /// Absolute path of the chain's file, for services that want it apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_path: Option<String>,
    /// The certificates of the signers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Content>,
    /// Owner of the files; root without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group that may read the key, e.g. `ssl-cert`; root without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A certificate that expires within so many days is refused; 14 without it.
    #[serde(default = "default_days")]
    pub days_left: u16,
}

fn default_days() -> u16 {
    14
}

impl Spec {
    /// Every file: path, content, mode of a new one.
    fn files(&self) -> Vec<(&String, &Content, u32)> {
        // The key is for its group only if one is named.
        let key_mode = if self.group.is_some() { 0o640 } else { 0o600 };
        let mut files = vec![(&self.path, &self.certificate, 0o644), (&self.key_path, &self.key, key_mode)];
        files.extend(self.chain_path.iter().zip(&self.chain).map(|(path, chain)| (path, chain, 0o644)));
        files
    }
}

impl Lens for Certificate {
    const NAME: &'static str = "certificate";
    const SENT: &'static [&'static str] = &["certificate", "key", "chain"];
    type Spec = Spec;
    type State = Nodes;

    fn problems(spec: &Spec) -> Vec<String> {
        let paths = [Some(&spec.path), Some(&spec.key_path), spec.chain_path.as_ref()];
        let mut problems: Vec<String> = paths.iter().flatten().filter_map(|path| path_problem(path)).collect();
        let contents =
            [("certificate", Some(&spec.certificate)), ("key", Some(&spec.key)), ("chain", spec.chain.as_ref())];
        for (key, content) in contents {
            let Some(content) = content else { continue };
            problems.extend(content.problem(key));
            problems.extend(content.content.as_ref().and_then(|text| pem_problem(key, text)));
        }
        if spec.chain.is_some() != spec.chain_path.is_some() {
            problems.push("`chain` and `chain_path` belong together".into());
        }
        if spec.path == spec.key_path
            || spec.chain_path.as_ref().is_some_and(|p| *p == spec.path || *p == spec.key_path)
        {
            problems.push("certificate, key and chain need a path each".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        spec.files().into_iter().map(|(path, ..)| Claim::Path(PathBuf::from(path))).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<Nodes, Fault> {
        nodes::get(spec.files().into_iter().map(|(path, ..)| path), cx)
    }

    fn want(spec: &Spec, state: &Nodes, _given: Circumstances) -> Result<Nodes, Fault> {
        let node = |(path, content, mode): (&String, &Content, u32)| {
            let now = state.get(path);
            let xattrs = match now {
                // Of what is there only what nobody can ask for stays.
                Some(Node::File { owned, .. }) => owned.xattrs.clone(),
                _ => Default::default(),
            };
            let new = Owned { xattrs, ..Owned::new(mode) };
            let owned = new.with(Some(Mode(mode)), spec.owner.as_ref(), spec.group.as_ref());
            Ok((path.clone(), content.node(owned, now)?))
        };
        spec.files().into_iter().map(node).collect()
    }

    fn put(_spec: &Spec, now: &Nodes, to: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
        nodes::put(now, to, cx)
    }

    fn keep(spec: &Spec, now: &Nodes, wanted: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if spec.files().iter().all(|(path, content, _)| {
            let blob = content.blob.as_ref().map(|blob| &blob.digest);
            matches!(wanted.get(*path), Some(Node::File { digest, .. }) if Some(digest) == blob)
        }) {
            check(spec, cx)?;
        }
        nodes::keep(now, wanted, cx)
    }

    fn intact(_spec: &Spec, after: &Nodes, now: &Nodes) -> bool {
        nodes::alike(after, now)
    }

    fn sensitive(_spec: &Spec) -> bool {
        true
    }

    fn title(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn examples() -> Vec<Value> {
        let pem = |label: &str, text: &str| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
        vec![json!({
            "path": "/etc/ssl/town-hall.pem", "certificate": { "content": pem("CERTIFICATE", "dG93biBoYWxs") },
            "key_path": "/etc/ssl/town-hall.key", "key": { "content": pem("PRIVATE KEY", "dG93biBoYWxs") },
            "chain_path": "/etc/ssl/town-hall.chain", "chain": { "content": pem("CERTIFICATE", "c2lnbmVy") },
            "group": "www-data",
        })]
    }
}

/// What is wrong with a PEM text, if anything. The text is in no message.
fn pem_problem(key: &str, text: &str) -> Option<String> {
    let label = |line: &str| {
        let label = line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
        let closed = text.contains(&format!("-----END {label}-----"));
        closed.then(|| label.to_owned())
    };
    let labels: Vec<String> = text.lines().filter_map(label).collect();
    let is_key = |label: &String| label.ends_with("PRIVATE KEY");
    match key {
        "key" if labels.iter().any(|l| l.starts_with("ENCRYPTED")) || text.contains("Proc-Type: 4,ENCRYPTED") => {
            Some("`key` has a passphrase, which no service could enter: remove it with `openssl pkey`".into())
        }
        "key" if labels.iter().filter(|l| is_key(l)).count() != 1 => Some("`key` is not one private key in PEM".into()),
        "key" => None,
        _ if labels.iter().any(is_key) => Some(format!("`{key}` has a private key in it, and everyone may read it")),
        _ if !labels.iter().any(|label| label == "CERTIFICATE") => Some(format!("`{key}` is no certificate in PEM")),
        _ => None,
    }
}

/// Asks openssl(1) whether the key fits and how long the certificate is good.
fn check(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let invalid = |message: String| Fault::new(FaultCode::Invalid, message);
    let (key, certificate) = (spec.key.text("key", MAX, cx)?, spec.certificate.text("certificate", MAX, cx)?);
    let mut problems: Vec<String> = pem_problem("key", &key).into_iter().collect();
    problems.extend(pem_problem("certificate", &certificate));
    if let Some(chain) = &spec.chain {
        problems.extend(pem_problem("chain", &chain.text("chain", MAX, cx)?));
    }
    if let Some(problem) = problems.into_iter().next() {
        return Err(invalid(problem));
    }
    let of_key = openssl(&["pkey", "-pubout"], &key, cx)?;
    let public = of_key.ok_or_else(|| invalid("openssl cannot read `key`".into()))?;
    let of_certificate = openssl(&["x509", "-noout", "-pubkey"], &certificate, cx)?;
    if of_certificate.ok_or_else(|| invalid("openssl cannot read `certificate`".into()))?.trim() != public.trim() {
        let hint = "take key and certificate from one request; of several certificates, the service's own comes first";
        return Err(invalid(format!("the key is not that of the certificate for {}", spec.path)).hint(hint));
    }
    let seconds = (u64::from(spec.days_left) * 24 * 60 * 60).to_string();
    if openssl(&["x509", "-noout", "-checkend", &seconds], &certificate, cx)?.is_none() {
        let end = openssl(&["x509", "-noout", "-enddate"], &certificate, cx)?.unwrap_or_default();
        let end = end.trim().trim_start_matches("notAfter=").to_owned();
        let message = format!("the certificate for {} ends on {end}, in less than {} days", spec.path, spec.days_left);
        return Err(invalid(message).hint("get a new one, or lower `days_left`"));
    }
    Ok(())
}

/// What openssl says; `None` if it says no. What it complains of may quote its input, and is dropped.
fn openssl(arguments: &[&str], stdin: &str, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let argv = ["openssl"].into_iter().chain(arguments.iter().copied());
    let output = cx.host.run(&Command { stdin: stdin.into(), ..Command::reading(argv) });
    let output = output.map_err(|fault| match fault.code {
        FaultCode::NotFound => Fault::new(FaultCode::Unsupported, "there is no `openssl` on this host")
            .hint("declare the package `openssl` before it"),
        _ => fault,
    })?;
    Ok(output.ok().then_some(output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
    }

    #[test]
    fn what_is_no_key_or_certificate_is_refused() {
        let (certificate, key) = (pem("CERTIFICATE"), pem("RSA PRIVATE KEY"));
        for (what, text, good) in [
            ("key", key.clone(), true),
            ("key", format!("{}{key}", pem("EC PARAMETERS")), true),
            ("key", certificate.clone(), false),
            ("key", pem("ENCRYPTED PRIVATE KEY"), false),
            ("key", format!("{key}{key}"), false),
            ("key", "-----BEGIN PRIVATE KEY-----\nAAAA\n".into(), false),
            ("certificate", format!("{certificate}{certificate}"), true),
            ("certificate", format!("subject=x\n{certificate}"), true),
            ("certificate", format!("{certificate}{key}"), false),
            ("certificate", pem("CERTIFICATE REQUEST"), false),
            ("chain", String::new(), false),
        ] {
            let problem = pem_problem(what, &text);
            assert_eq!(problem.is_none(), good, "{what} {text} {problem:?}");
            assert!(!problem.unwrap_or_default().contains("AAAA"));
        }
    }
}
