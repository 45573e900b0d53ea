//! The resource kinds, one file each, and what several of them share (`node` and `nodes`: what stands at
//! paths; `entries`: what stands in a directory; `text`: a part of a file that others own too; `owner`: names and numbers of users and groups).

pub(crate) mod account;
pub mod archive;
pub mod command;
pub mod directory;
pub mod download;
pub mod entries;
pub mod file;
pub mod group;
pub mod line;
pub mod node;
pub mod nodes;
pub(crate) mod owner;
pub mod package;
pub mod replica;
pub mod symlink;
pub mod text;
pub mod timezone;
pub mod tree;
pub mod unit;
pub mod user;
