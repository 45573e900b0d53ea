//! The kinds and the SSH layer on real hosts: systemd, apt, sudo, Debian's own sshd configuration. Needs root.

#![expect(clippy::disallowed_methods, reason = "shell")]

mod cutover;
mod fleet;
mod guard;
mod handover;
mod interrupted;
mod kinds;
mod line;
mod moments;
mod office;
mod postgres;
mod profile;
mod refusals;
mod server;
mod steps;
mod wake;
mod witness;
