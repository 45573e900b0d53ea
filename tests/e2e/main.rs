//! The binaries as people use them: real `weiche`, real sshd, real agents, each host a directory of its own.

#![expect(clippy::disallowed_methods, reason = "shell")]

mod bad_input;
mod certificate;
mod ci;
mod contents;
mod crash;
mod direct;
mod faults;
mod forecast;
mod identity;
mod meter;
mod parts;
mod rollout;
mod steps;
mod swap;
mod vantage;
mod waits;
mod webhook;
mod weekend;
