//! The resource kinds, one file each, and what several of them share (`node`: what stands at a path; `owner`: names
//! and numbers of users and groups).

pub mod command;
pub mod directory;
pub mod file;
pub mod node;
pub(crate) mod owner;
pub mod symlink;
pub mod tree;
