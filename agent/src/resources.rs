//! The resource kinds, one file each, and what several of them share (`address`: addresses with a prefix; `node` and
//! `nodes`: what stands at paths; `entries`: what stands in a directory; `small`: a file with a text of ours; `text`: a
//! part of a file that others own too; `units`: units of systemd with their files; `kernel`: a value below `/proc/sys`; `owner`: names and numbers of users and
//! groups; `period`: a length of time).

pub(crate) mod account;
pub(crate) mod address;
pub mod apt_source;
pub mod archive;
pub mod authorized_key;
pub mod block;
pub mod certificate;
pub mod command;
pub mod content;
pub mod cron;
pub mod directory;
pub mod dns_record;
pub mod download;
pub mod entries;
pub mod file;
pub mod firewall;
pub mod group;
pub mod hold;
pub mod hostname;
pub mod hosts_entry;
pub mod ini;
pub mod kernel;
pub(crate) mod label;
pub mod line;
pub mod locale;
pub mod mirror;
pub mod mount;
pub mod network;
pub mod node;
pub mod nodes;
pub(crate) mod owner;
pub mod package;
pub(crate) mod period;
pub(crate) mod postgres;
pub mod postgres_database;
pub mod postgres_role;
pub mod postgres_server;
pub mod postgres_upgrade;
pub mod relay;
pub mod replica;
pub mod samba_share;
pub mod service_address;
pub mod small;
pub mod symlink;
pub mod sysctl;
pub mod text;
pub mod timer;
pub mod timezone;
pub mod tree;
pub mod unit;
pub(crate) mod units;
pub mod user;
