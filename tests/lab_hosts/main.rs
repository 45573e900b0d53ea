//! The kinds and the SSH layer on real hosts: systemd, apt, sudo, Debian's own sshd configuration. Needs root.

#![expect(clippy::disallowed_methods, reason = "shell")]

mod back_test;
mod centre_move;
mod cutover;
mod fleet;
mod guard;
mod handover;
mod interrupted;
mod kinds;
mod line;
mod mirror;
mod mirror_figures;
mod moments;
mod names;
mod office;
mod postgres;
mod postgres_major;
mod profile;
mod refusals;
mod relay;
mod server;
mod server_swap;
mod steps;
mod swap;
mod swap_faults;
mod town_swap;
mod wake;
mod witness;
