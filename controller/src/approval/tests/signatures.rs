//! Signatures: ours, ssh-keygen's, and all that is wrong with others.

use std::sync::LazyLock;

use weiche_agent::digest::Digest;

use crate::approval::{KeyFault, Statement, StatementFault, VerifyFault, sign, signing_key, verify};
use crate::calendar::Zone;
use crate::input::diagnostic::{Problems, render};
use crate::input::signer::{self, Signers};
use crate::input::source::{Source, Sources};

/// 2026-11-22T00:00:00Z.
const NOW: i64 = 1_795_305_600_000;

/// Keys of nobody, made for these tests.
pub(crate) static PUBLIC: [&str; 3] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICP4bLn3v6jXwqNbwPh2n21+2+i19QHFy6281Je26n9R",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMfJ+wqYB4TYeZ8jACouL/3j/666cQwg9e9jC18vryE6",
];

/// The private part of the first.
const PRIVATE: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
QyNTUxOQAAACB08uxm/FOJhtddsVGGu44wfZnoQMBZ9thAkwe9lCQpLQAAAIiCnF1vgpxd\n\
bwAAAAtzc2gtZWQyNTUxOQAAACB08uxm/FOJhtddsVGGu44wfZnoQMBZ9thAkwe9lCQpLQ\n\
AAAECXLd923o6DQf6pT0AUfo1htHOQt38P5Av34kyEY22eyHTy7Gb8U4mG112xUYa7jjB9\n\
mehAwFn22ECTB72UJCktAAAAAAECAwQF\n\
-----END OPENSSH PRIVATE KEY-----\n\
";

/// Another, with the passphrase `open sesame`.
const ENCRYPTED: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABCW6Y45SP\n\
x0so8gWyLV/FdbAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIG2buepIA5NnIvBL\n\
7mdphF6jsH2mx+jqGbgDQdSM/cWsAAAAkGTWysSj26txiRYmscJO6rZyrlb3L766ZV3KeR\n\
JTd8z8S2xTdVc5UuCBVLycG8vYFichbgKX6XWFxMP7VWCMV4zVLK147gkqinbHI/tncwC5\n\
3fZ/cKzslgx43RH7PfQTDxU1v/fSMiKm8klYohZNuh7/14YbCzfgMCg3OO4Z+ZEkeMrB8M\n\
YUeW4VfpuCkY9qWA==\n\
-----END OPENSSH PRIVATE KEY-----\n\
";

static STATEMENT: LazyLock<Statement> = LazyLock::new(|| {
    let window = Some("Fri 2026-11-27 18:00 CET - Sun 2026-11-29 22:00 CET".to_owned());
    Statement::new("20261122-080000-swap", Digest::of(b"plan"), "cutover", window, None).unwrap()
});

fn signers(text: &str) -> Signers {
    let mut problems = Problems::new();
    let signers = signer::parse(&Source::new("allowed_signers", text), &Zone::UTC, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    signers
}

fn complaint(text: &str) -> String {
    let source = Source::new("allowed_signers", text);
    let (mut problems, mut sources) = (Problems::new(), Sources::default());
    signer::parse(&source, &Zone::UTC, &mut problems);
    sources.add(source);
    assert!(!problems.is_empty(), "nothing is wrong with {text}");
    render(&problems, &sources, false)
}

fn signed() -> String {
    sign(&signing_key(PRIVATE, None).unwrap(), &STATEMENT).unwrap()
}

/// What is said of the signature of the first key when the file has this one line, `KEY` standing for that key.
fn said(line: &str) -> Result<String, VerifyFault> {
    let signers = signers(&line.replace("KEY", PUBLIC[0]));
    verify(&signers, &STATEMENT, &signed(), NOW).map(str::to_owned)
}

#[test]
fn what_is_signed_can_be_read() {
    insta::assert_snapshot!(STATEMENT.to_string(), @r###"
weiche approval 1
run: 20261122-080000-swap
plan: 64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525
stage: cutover
window: Fri 2026-11-27 18:00 CET - Sun 2026-11-29 22:00 CET
"###);
    let text = STATEMENT.to_string();
    assert_eq!(Statement::parse(&text).as_ref(), Ok(&*STATEMENT));
    let altered = [
        text.replace("cutover", ""),
        text.replace("cutover", " cutover"),
        text.replace('\n', "\r\n"),
        text.replace("run: ", "run:  "),
        text.clone() + "\n",
        text.clone() + "extra: x\n",
        text.trim_end().to_owned(),
        text.replace("approval 1", "approval 2"),
        text.replacen("plan: ", "plan: A", 1),
    ];
    for altered in altered {
        assert!(Statement::parse(&altered).is_err(), "{altered}");
    }
}

#[test]
fn a_value_is_one_plain_line() {
    let stage = |stage: &str| Statement::new("r", Digest::of(b""), stage, None, None).map(|_| ());
    assert_eq!(stage("cut-over"), Ok(()));
    for bad in ["", " x", "x\nexpires: never", "x\u{202e}y", "x\0", "x\u{200b}", &"x".repeat(301)] {
        assert_eq!(stage(bad), Err(StatementFault::Value("stage")), "{bad:?}");
    }
}

#[test]
fn whose_signature_it_is() {
    assert_eq!(said("anna@kitu.example KEY").unwrap(), "anna@kitu.example");
    assert_eq!(
        said("# comment\n\n  anna@kitu.example   namespaces=\"git,weiche\"  KEY of Anna").unwrap(),
        "anna@kitu.example"
    );
    assert_eq!(said("\"anna\" Namespaces=weich?,valid-before=\"20261123\" KEY").unwrap(), "anna");
    // The same key again, once it is valid no longer and once for ever.
    assert_eq!(said("anna valid-before=\"20200101\" KEY\nanna KEY").unwrap(), "anna");
}

#[test]
fn whose_it_is_not() {
    let fault = |line: &str| said(line).unwrap_err();
    // The line was taken out: what was signed before counts no longer.
    assert!(matches!(fault(&format!("anna {}", PUBLIC[1])), VerifyFault::Unknown(key) if key.starts_with("SHA256:")));
    assert!(matches!(fault("# nobody"), VerifyFault::Unknown(_)));
    assert_eq!(fault("anna namespaces=\"git,file\" KEY"), VerifyFault::NotForThis("anna".into()));
    assert_eq!(fault("anna namespaces=\"*,!weiche\" KEY"), VerifyFault::NotForThis("anna".into()));
    assert_eq!(fault("anna valid-before=\"20261121Z\" KEY"), VerifyFault::Expired("anna".into()));
    assert_eq!(fault("anna valid-after=\"20261122000001\" KEY"), VerifyFault::NotYet("anna".into()));
}

#[test]
fn an_altered_statement_or_signature() {
    let signers = signers(&format!("anna {}\nben {}", PUBLIC[0], PUBLIC[1]));
    let others = [
        Statement::new("another", STATEMENT.plan().clone(), "cutover", None, None),
        Statement::new(STATEMENT.run(), Digest::of(b"another"), "cutover", STATEMENT.window().map(str::to_owned), None),
        Statement::new(
            STATEMENT.run(),
            STATEMENT.plan().clone(),
            "retire",
            STATEMENT.window().map(str::to_owned),
            None,
        ),
        Statement::new(STATEMENT.run(), STATEMENT.plan().clone(), "cutover", None, None),
    ];
    for other in others {
        assert_eq!(verify(&signers, &other.unwrap(), &signed(), NOW), Err(VerifyFault::Altered("anna".into())));
    }
    // One character at a time, all over the signature: it never counts, and never as somebody else's.
    let armor = signed();
    let head = armor.find('\n').unwrap() + 1;
    let tail = armor.rfind("-----END").unwrap();
    for at in head..tail {
        let mut bytes = armor.clone().into_bytes();
        bytes[at] = match bytes[at] {
            b'\n' => continue,
            b'A' => b'B',
            _ => b'A',
        };
        let altered = String::from_utf8(bytes).unwrap();
        if altered != armor {
            assert!(verify(&signers, &STATEMENT, &altered, NOW).is_err(), "byte {at}");
        }
    }
    for no in ["", "hello", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", &"x".repeat(20_000)] {
        assert!(matches!(verify(&signers, &STATEMENT, no, NOW), Err(VerifyFault::Form(_))));
    }
    // A mail program's blanks and line ends do not matter.
    let mailed = format!("\n  {}\r\n", armor.replace('\n', "\r\n  "));
    assert_eq!(verify(&signers, &STATEMENT, &mailed, NOW), Ok("anna"));
}

#[test]
fn a_signature_for_something_else() {
    let key = signing_key(PRIVATE, None).unwrap();
    let text = STATEMENT.to_string();
    let other = key.sign("file", russh::keys::HashAlg::Sha512, text.as_bytes()).unwrap();
    let armor = other.to_pem(russh::keys::ssh_key::LineEnding::LF).unwrap();
    let signers = signers(&format!("anna {}", PUBLIC[0]));
    assert_eq!(verify(&signers, &STATEMENT, &armor, NOW), Err(VerifyFault::Namespace("file".into())));
}

#[test]
fn private_keys() {
    assert!(matches!(signing_key(ENCRYPTED, None), Err(KeyFault::Encrypted)));
    assert!(matches!(signing_key(ENCRYPTED, Some("open barley")), Err(KeyFault::Unreadable(_))));
    assert!(matches!(signing_key("hello", None), Err(KeyFault::Unreadable(_))));
    assert!(sign(&signing_key(ENCRYPTED, Some("open sesame")).unwrap(), &STATEMENT).is_ok());
}

#[test]
fn a_file_of_approvers_that_cannot_be_meant() {
    let key = PUBLIC[0];
    let text = format!(
        "anna@kitu.example,ben@kitu.example {key}\n*@kitu.example {key}\nca cert-authority {key}\nanna {key}\nben {key}\n\
         eve namespace=weiche {key}\neve valid-before=tomorrow {key}\neve ssh-ed25519 AAAA\neve\n\
         eve valid-after=\"20270101\",valid-before=\"20260101\" {key}\neve namespaces=a,namespaces=b {key}\n\"eve {key}\n"
    );
    insta::assert_snapshot!(complaint(&text), @r###"
  x `anna@kitu.example,ben@kitu.example` is more than one principal
   ,-[allowed_signers:1:1]
 1 | anna@kitu.example,ben@kitu.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 2 | *@kitu.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   `----
  help: keep one of the names: approvals are counted by person

  x `*@kitu.example` is a pattern
   ,-[allowed_signers:2:1]
 1 | anna@kitu.example,ben@kitu.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 2 | *@kitu.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 3 | ca cert-authority ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   `----
  help: name the person: approvals are counted by person

  x certificates are not taken as approvals
   ,-[allowed_signers:3:1]
 2 | *@kitu.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 3 | ca cert-authority ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 4 | anna ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   `----
  help: write a line for each person, with their own public key

  x `ben` has the same key as `anna`
   ,-[allowed_signers:5:1]
 4 | anna ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 5 | ben ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 6 | eve namespace=weiche ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   `----
  help: approvals are counted by person: every person needs a key of their own

  x neither an option nor a kind of key: `namespace=weiche`
   ,-[allowed_signers:6:1]
 5 | ben ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 6 | eve namespace=weiche ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 7 | eve valid-before=tomorrow ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   `----
  help: there is `namespaces="..."`, `valid-after="..."` and `valid-before="..."`, then the key

  x `tomorrow` is no time
   ,-[allowed_signers:7:1]
 6 | eve namespace=weiche ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 7 | eve valid-before=tomorrow ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
   : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 8 | eve ssh-ed25519 AAAA
   `----
  help: write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC

  x there is no public key behind the name (length invalid)
   ,-[allowed_signers:8:1]
 7 | eve valid-before=tomorrow ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 8 | eve ssh-ed25519 AAAA
   : ^^^^^^^^^^^^^^^^^^^^
 9 | eve
   `----
  help: write e.g. `anna@example.org namespaces="weiche" ssh-ed25519 AAAA...`

  x there is no public key behind the name (length invalid)
    ,-[allowed_signers:9:1]
  8 | eve ssh-ed25519 AAAA
  9 | eve
    : ^^^
 10 | eve valid-after="20270101",valid-before="20260101" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
    `----
  help: write e.g. `anna@example.org namespaces="weiche" ssh-ed25519 AAAA...`

  x the key is never valid: it ends before it begins
    ,-[allowed_signers:10:1]
  9 | eve
 10 | eve valid-after="20270101",valid-before="20260101" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
    : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 11 | eve namespaces=a,namespaces=b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
    `----
  help: exchange the two times

  x `namespaces` is there twice
    ,-[allowed_signers:11:1]
 10 | eve valid-after="20270101",valid-before="20260101" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 11 | eve namespaces=a,namespaces=b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
    : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 12 | "eve ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
    `----
  help: keep one of them

  x a quotation mark is missing
    ,-[allowed_signers:12:1]
 11 | eve namespaces=a,namespaces=b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
 12 | "eve ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTy7Gb8U4mG112xUYa7jjB9mehAwFn22ECTB72UJCkt
    : ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    `----
  help: write e.g. `anna@example.org namespaces="weiche" ssh-ed25519 AAAA...`

11 errors
"###);
}

mod ssh_keygen;
