//! Stand-ins for the package and unit programs, for the sandbox and the fake host, at the level of argument vectors.
//!
//! What they know is one JSON file of the host itself, [`WORLD`], which is there only while it says something; so a
//! snapshot of the host sees it, and undo must bring it back byte by byte. They work in several effects each, like the
//! originals, and can be interrupted between any two. Invocation ids, which never come back, live in the agent's state
//! directory.

mod catalogue;
mod curl;
mod dns;
mod mount;
mod network;
mod nft;
mod openssl;
mod package;
mod postgres;
mod rsync;
mod source;
mod system;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Attributes, Command, Host, Output, read_text};
use crate::fault::{Fault, FaultCode};

/// Where the simulated programs keep what they know.
pub(crate) const WORLD: &str = "/.weiche-sandbox.json";

/// Where, in the agent's state directory, they keep invocation ids.
pub(crate) const INSTANCES: &str = "sandbox-instances.json";

/// What simulated hosts are sent, whatever they download.
pub(crate) const DOWNLOADED: &[u8] = b"a simulated download\n";

/// The time of all files that simulated programs write: package builds are reproducible, and so are tests.
const MTIME: (i64, u32) = (1_600_000_000, 0);

/// Runs a simulated program; `None` if it is not one that is simulated.
pub(crate) fn run(host: &mut dyn Host, command: &Command) -> Result<Option<Output>, Fault> {
    let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    let Some((program, arguments)) = words.split_first() else { return Ok(None) };
    match *program {
        // Nobody is connected.
        "ss" => return Ok(Some(Output::default())),
        "tee" => return system::tee(host, arguments, &command.stdin),
        "mount" => return mount::mount(host, arguments).map(Some),
        "nft" => {
            let mut world = World::load(host)?;
            return nft::nft(host, &mut world, arguments, &command.stdin).map(Some);
        }
        "unshare" => return Ok(Some(nft::apart(arguments, &command.stdin))),
        "ip" | "networkctl" | "ifup" | "ifdown" => return network::run(host, &words).map(Some),
        "openssl" => return Ok(Some(openssl::openssl(arguments, &command.stdin))),
        "runuser" => return postgres::runuser(host, arguments, &command.stdin).map(Some),
        "pg_lsclusters" => return postgres::cluster::pg_lsclusters(host).map(Some),
        "systemctl" if arguments == ["start", "--no-block", "postgresql@15-main.service"] => {
            return postgres::cluster::pg_ctlcluster(host, &["start"]).map(Some);
        }
        "pg_ctlcluster" => return postgres::cluster::pg_ctlcluster(host, arguments).map(Some),
        program if program.ends_with("/pg_controldata") => return postgres::cluster::pg_controldata(host).map(Some),
        "rsync" => return rsync::rsync(host, command).map(Some),
        "date" => return Ok(Some(says("12:00\n"))),
        // What is done is on the disk once the host is synced.
        "ssh" | "sync" => return Ok(Some(Output::default())),
        "umount" => return mount::umount(host, arguments).map(Some),
        "systemd-analyze" => return Ok(Some(unit::systemd_analyze(arguments))),
        _ => {}
    }
    let program: fn(&mut dyn Host, &mut World, &[&str]) -> Result<Output, Fault> = match *program {
        "apt-get" => package::apt_get,
        "apt-mark" => package::apt_mark,
        "curl" => curl::curl,
        "dig" => dns::dig,
        "dpkg" => package::dpkg,
        "dpkg-deb" => package::dpkg_deb,
        "dpkg-query" => package::dpkg_query,
        "journalctl" => unit::journalctl,
        "locale-gen" => system::locale_gen,
        "localedef" => system::localedef,
        "nsupdate" => return dns::nsupdate(host, &command.stdin).map(Some),
        "smbcontrol" => system::smbcontrol,
        "systemctl" => unit::systemctl,
        "testparm" => return system::testparm(&World::load(host)?, &command.stdin).map(Some),
        _ => return Ok(None),
    };
    let mut world = World::load(host)?;
    program(host, &mut world, arguments).map(Some)
}

/// The id of the current boot of a simulated host; `systemctl reboot` changes it.
pub(crate) fn boot_id(host: &mut dyn Host) -> Result<String, Fault> {
    unit::boot_id(host)
}

/// All that is simulated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct World {
    packages: BTreeMap<String, Package>,
    units: BTreeMap<String, Unit>,
    /// What nft has in force.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rules: String,
    /// Tables of nft that hold connections, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    holds: BTreeMap<String, String>,
    /// Records of the one name server that there is, by name and type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    records: BTreeMap<String, dns::Record>,
    /// Addresses of network cards.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    addresses: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    postgres: Option<postgres::Server>,
}

/// A package that dpkg knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Package {
    version: String,
    /// As in `${db:Status-Status}` of dpkg-query(1).
    status: String,
    auto: bool,
    hold: bool,
    /// Files and directories that it brought.
    files: BTreeSet<String>,
    directories: BTreeSet<String>,
}

/// A unit that is not in its default state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit {
    file_state: String,
    active: String,
    /// Digest of the configuration that it was started with.
    config: Option<String>,
}

impl Default for Unit {
    fn default() -> Unit {
        Unit { file_state: "disabled".into(), active: "inactive".into(), config: None }
    }
}

impl World {
    fn load(host: &mut dyn Host) -> Result<World, Fault> {
        let Some(text) = read_text(host, Path::new(WORLD))? else { return Ok(World::default()) };
        serde_json::from_str(&text).map_err(|e| Fault::new(FaultCode::Corrupt, format!("read {WORLD}: {e}")))
    }

    fn save(&mut self, host: &mut dyn Host) -> Result<(), Fault> {
        self.units.retain(|_, unit| *unit != Unit::default());
        let path = Path::new(WORLD);
        if *self == World::default() {
            return if host.lstat(path)?.is_some() { host.remove(path) } else { Ok(()) };
        }
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|e| Fault::new(FaultCode::Invalid, format!("the sandbox cannot be written: {e}")))?;
        text.push('\n');
        host.write(path, &mut text.as_bytes(), &file_attributes())
    }
}

/// The name in the agent's state directory of a path that a program was given, if it leads there.
fn state_name(host: &mut dyn Host, path: &str) -> Result<Option<String>, Fault> {
    let inside = host.state_path("x")?;
    let below = inside.parent().and_then(|directory| Path::new(path).strip_prefix(directory).ok());
    Ok(below.and_then(Path::to_str).filter(|name| !name.is_empty()).map(str::to_owned))
}

fn file_attributes() -> Attributes {
    Attributes { mode: Some(0o644), uid: Some(0), gid: Some(0), mtime: Some(MTIME), ..Attributes::default() }
}

fn says(text: impl Into<String>) -> Output {
    Output { status: 0, stdout: text.into(), stderr: String::new() }
}

fn fails(status: i32, text: impl Into<String>) -> Output {
    Output { status, stdout: String::new(), stderr: text.into() }
}
