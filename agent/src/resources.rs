//! The resource kinds, one file each, and what several of them share (`node`: what stands at a path; `owner`: names
//! and numbers of users and groups).

pub(crate) mod account;
pub mod command;
pub mod directory;
pub mod file;
pub mod group;
pub mod node;
pub(crate) mod owner;
pub mod package;
pub mod symlink;
pub mod tree;
pub mod unit;
pub mod user;
