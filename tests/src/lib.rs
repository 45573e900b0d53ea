//! The harness for tests that use real components.
//!
//! [`disk`] mounts file systems for a test alone; [`sshd`] runs a real OpenSSH server as the current user; [`lab`] boots
//! whole hosts with systemd on a network of their own, which needs root. Neither changes the machine that runs the tests: everything lives in temporary
//! directories and namespaces, and is gone when the value that stands for it is dropped.
//!
//! The harness panics when a real component does not do what a test needs; there is nothing a test could do about it.
//! It must never sleep a fixed time to wait for something.

#![expect(clippy::disallowed_methods, reason = "shell")]

pub mod console;
pub mod demo;
pub mod disk;
pub mod fleet;
pub mod hall;
pub mod lab;
pub mod receiver;
pub mod sshd;
pub mod town;

mod process;
mod tool;

use std::time::{Duration, Instant};

/// Longer than this nothing takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it is so.
///
/// # Panics
/// If it never happens.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reports that a test cannot run here, on stderr.
///
/// # Panics
///
/// As root, or with `CI` set: there everything a test needs can be installed (`tests/setup.sh`), so that skipping it
/// would only hide it.
pub fn skip(test: &str, why: &str) {
    if rustix::process::geteuid().is_root() || std::env::var_os("CI").is_some() {
        panic!("{test} may not be skipped here: {why}; run tests/setup.sh as root");
    }
    eprintln!("skipped: {test}: {why}");
}
