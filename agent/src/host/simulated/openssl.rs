//! openssl(1): the public key of a PEM text is the first line in it, and only certificates with the word `expired` in
//! them have expired.

use super::{Output, fails, says};

pub(super) fn openssl(arguments: &[&str], stdin: &[u8]) -> Output {
    let text = String::from_utf8_lossy(stdin);
    let body = text.lines().nth(1).unwrap_or_default();
    match arguments {
        ["pkey", "-pubout"] | ["x509", "-noout", "-pubkey"] => says(format!("{body}\n")),
        ["x509", "-noout", "-checkend", _] if text.contains("expired") => fails(1, ""),
        ["x509", "-noout", "-checkend", _] => says("Certificate will not expire\n"),
        ["x509", "-noout", "-enddate"] => says("notAfter=Jan  1 00:00:00 2000 GMT\n"),
        _ => fails(1, "openssl: bad usage"),
    }
}
