//! What people write: the fleet's YAML, checked as a whole, all problems at once. Pure: files come in as text, but for
//! [`load`], the shell.
//!
//! [`source`] <- [`diagnostic`] <- [`yaml`] <- the formats ([`config`], [`member`], [`profile`], [`playbook`]) <-
//! [`fleet`] <- [`apply`] <- [`check`] <- [`load`].

pub mod apply;
pub mod check;
pub mod config;
pub mod diagnostic;
pub mod files;
pub mod fleet;
pub mod load;
pub mod member;
pub mod paper;
pub mod playbook;
pub mod probe;
pub mod profile;
pub mod resource;
pub mod rollout;
pub mod room;
pub mod scalar;
pub mod schema;
pub mod selector;
pub mod shipped;
pub mod signer;
pub mod source;
pub mod suggest;
pub mod target;
pub mod template;
pub mod webhook;
pub mod window;
pub mod yaml;

#[cfg(test)]
pub(crate) mod tests;
