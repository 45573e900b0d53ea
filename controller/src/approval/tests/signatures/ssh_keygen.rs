//! Both directions against the real ssh-keygen, with every kind of key.

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::approval::NAMESPACE;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("weiche-approval-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn keygen(directory: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).current_dir(directory).env("TZ", "UTC");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ssh-keygen (package openssh-client)");
    // One that has seen enough does not read on.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Makes a key; returns its private and its public part.
fn make(directory: &Path, name: &str, kind: &[&str]) -> (String, String) {
    let arguments = [&["-q", "-N", "", "-C", "x", "-f", name], kind].concat();
    let (done, text) = keygen(directory, &arguments, "");
    assert!(done, "{text}");
    let read = |name: String| fs::read_to_string(directory.join(name)).unwrap();
    (read(name.to_owned()), read(format!("{name}.pub")))
}

const KINDS: [(&str, &[&str]); 5] = [
    ("ed25519", &["-t", "ed25519"]),
    ("p256", &["-t", "ecdsa", "-b", "256"]),
    ("p384", &["-t", "ecdsa", "-b", "384"]),
    ("p521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa", &["-t", "rsa", "-b", "3072"]),
];

#[test]
fn what_we_sign_it_verifies_and_what_it_signs_we_verify() {
    let scratch = Scratch::new("both");
    let directory = &scratch.0;
    for (name, kind) in KINDS {
        let (private, public) = make(directory, name, kind);
        let line = format!("anna@kitu.example namespaces=\"{NAMESPACE}\" {public}");
        fs::write(directory.join("allowed_signers"), &line).unwrap();
        let text = STATEMENT.to_string();

        let ours = sign(&signing_key(&private, None).unwrap(), &STATEMENT).unwrap();
        fs::write(directory.join("ours.sig"), &ours).unwrap();
        let arguments =
            ["-Y", "verify", "-f", "allowed_signers", "-I", "anna@kitu.example", "-n", NAMESPACE, "-s", "ours.sig"];
        let (good, said) = keygen(directory, &arguments, &text);
        assert!(good, "{name}: {said}");
        let (good, _) = keygen(directory, &arguments, &text.replace("cutover", "retire"));
        assert!(!good, "{name}: it takes anything");

        for hash in ["sha256", "sha512"] {
            let option = format!("hashalg={hash}");
            let arguments = ["-Y", "sign", "-f", name, "-n", NAMESPACE, "-O", &option];
            let (good, theirs) = keygen(directory, &arguments, &text);
            assert!(good, "{name}: {theirs}");
            // On standard error it says what it does.
            let start = theirs.find("-----BEGIN").unwrap();
            let end = theirs.find("-----END SSH SIGNATURE-----").unwrap() + "-----END SSH SIGNATURE-----".len();
            let theirs = &theirs[start..end];
            let signers = signers(&line);
            assert_eq!(verify(&signers, &STATEMENT, theirs, NOW), Ok("anna@kitu.example"), "{name} {hash}");
            let other = Statement::new("another", Digest::of(b""), "cutover", None, None).unwrap();
            let altered = VerifyFault::Altered("anna@kitu.example".into());
            assert_eq!(verify(&signers, &other, theirs, NOW), Err(altered), "{name} {hash}");
        }
    }
}

/// Lines of `allowed_signers` that it and we must judge alike, on 2026-11-22 in UTC; `KEY` stands for the key.
const LINES: [&str; 12] = [
    "anna KEY",
    "ben KEY",
    "anna namespaces=\"weiche\" KEY",
    "anna namespaces=\"git\" KEY",
    "anna namespaces=\"w*,!weiche\" KEY",
    "anna namespaces=\"git,we?che\" KEY",
    "anna valid-after=\"20261123\" KEY",
    "anna valid-after=\"20261122\" KEY",
    "anna valid-before=\"20261121235959\" KEY",
    "anna valid-before=\"20261122Z\" KEY",
    "anna valid-after=\"20260101\",valid-before=\"20270101\",namespaces=\"weiche\" KEY",
    "anna NAMESPACES=\"weiche\",Valid-Before=\"202701010000\" KEY comment of mine",
];

#[test]
fn it_and_we_judge_a_line_alike() {
    let scratch = Scratch::new("alike");
    let directory = &scratch.0;
    fs::write(directory.join("ours.sig"), signed()).unwrap();
    for line in LINES {
        let line = line.replace("KEY", PUBLIC[0]);
        fs::write(directory.join("allowed_signers"), &line).unwrap();
        let time = "verify-time=20261122000000Z";
        let arguments =
            ["-Y", "verify", "-f", "allowed_signers", "-I", "anna", "-n", NAMESPACE, "-s", "ours.sig", "-O", time];
        let (theirs, said) = keygen(directory, &arguments, &STATEMENT.to_string());
        let ours = verify(&signers(&line), &STATEMENT, &signed(), NOW) == Ok("anna");
        assert_eq!(ours, theirs, "{line}: {said}");
    }
}
