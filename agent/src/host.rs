//! The fence between the agent and the operating system: everything the agent reads or changes goes through [`Host`].
//!
//! Three hosts stand behind it: the real one (also under a root directory), the sandbox (real files, simulated package
//! and unit commands) and the in-memory fake of the tests that can lose power before and after every effect.
//! Paths are absolute paths *of the host*; `state_*` names are relative names below the agent's own state directory.

pub mod fake;
mod real;
pub(crate) mod simulated;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::protocol::RunId;
use crate::protocol::facts::Space;

pub use real::RealHost;

/// What a resource, the journal and the engine may do.
pub trait Host {
    /// Type and metadata of a path, not following a final link; `None` if nothing is there.
    fn lstat(&mut self, path: &Path) -> Result<Option<Meta>, Fault>;
    /// Names in a directory, sorted.
    fn read_dir(&mut self, path: &Path) -> Result<Vec<OsString>, Fault>;
    /// Sums up a directory with all that is below it, without a `lost+found` at its top; what has changed later than
    /// `since` (`ctime`, which nobody sets) is counted. Empty if there is no such directory.
    fn survey(&mut self, path: &Path, since: Option<(i64, u32)>) -> Result<Survey, Fault>;
    /// Opens a regular file for reading, not following a final link.
    fn open(&mut self, path: &Path) -> Result<Box<dyn Read>, Fault>;
    /// The target of a symbolic link.
    fn read_link(&mut self, path: &Path) -> Result<PathBuf, Fault>;

    /// Makes `path` a regular file with this content and metadata: atomically, replacing a file or link that is there.
    /// Not durable before [`Host::sync`].
    fn write(&mut self, path: &Path, content: &mut dyn Read, meta: &Attributes) -> Result<(), Fault>;
    /// Makes a directory.
    fn make_dir(&mut self, path: &Path, meta: &Attributes) -> Result<(), Fault>;
    /// Makes `path` a symbolic link: atomically, replacing a file or link that is there.
    fn symlink(&mut self, path: &Path, target: &Path, meta: &Attributes) -> Result<(), Fault>;
    /// Sets the metadata of what is there (of a link: all but the mode, which Linux does not keep).
    fn set_attributes(&mut self, path: &Path, meta: &Attributes) -> Result<(), Fault>;
    /// Removes a file, a link or an empty directory.
    fn remove(&mut self, path: &Path) -> Result<(), Fault>;
    /// Removes what [`Host::write`], [`Host::symlink`] or [`Host::restore_inode`] left beside `path` when the agent was
    /// killed in the middle of it; no error if there is nothing.
    fn sweep(&mut self, path: &Path) -> Result<(), Fault>;
    /// Gives a regular file a further name in the state directory, so that its very inode can be put back;
    /// not durable before [`Host::sync`]. `false` if that cannot be: they are on different file systems.
    fn keep_inode(&mut self, path: &Path, name: &str) -> Result<bool, Fault>;
    /// Makes `path` a name of the inode that [`Host::keep_inode`] kept: atomically, replacing a file or link that is
    /// there.
    fn restore_inode(&mut self, name: &str, path: &Path) -> Result<(), Fault>;

    /// Runs a program to its end or deadline; its whole process group is ended then.
    fn run(&mut self, command: &Command) -> Result<Output, Fault>;
    /// Makes everything done so far durable.
    fn sync(&mut self) -> Result<(), Fault>;

    /// Opens a file of the agent's state directory; `None` if there is none.
    fn state_open(&mut self, name: &str) -> Result<Option<Box<dyn Read>>, Fault>;
    /// Makes a whole file of the state directory, atomically; durable after [`Host::sync`].
    fn state_write(&mut self, name: &str, content: &mut dyn Read) -> Result<(), Fault>;
    /// Appends and makes durable (content, length and directory entry) before it returns.
    fn state_append(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault>;
    /// Gives a file of the state directory another name there, replacing what has it.
    fn state_rename(&mut self, from: &str, to: &str) -> Result<(), Fault>;
    /// Removes a file or directory tree of the state directory; no error if there is none.
    fn state_remove(&mut self, name: &str) -> Result<(), Fault>;
    /// Names in a directory of the state directory, sorted; empty if there is none.
    fn state_list(&mut self, name: &str) -> Result<Vec<String>, Fault>;
    /// Where a file of the state directory is, for programs that read or write it there.
    fn state_path(&mut self, name: &str) -> Result<PathBuf, Fault>;
    /// Takes the lock that lets only one agent change this host; held until [`Host::unlock`] or the host is dropped.
    fn lock(&mut self) -> Result<(), Fault>;
    /// The same at a guard's deadline: another agent that does not let go soon is ended, and so is what it has started.
    fn lock_by_force(&mut self) -> Result<(), Fault>;
    /// Lets the lock go.
    fn unlock(&mut self);

    /// What the time is.
    fn clock(&mut self) -> Clock;
    /// Lets time pass.
    fn pause(&mut self, time: Duration);
    /// Sees to it that the watch of a stage's guard runs: an agent in a process of its own, which neither the end of this
    /// agent nor that of its session ends. Starts it unless it runs.
    fn start_watch(&mut self, run: &RunId, stage: &str) -> Result<(), Fault>;
    /// Says that this process is that watch; `false` if another one is.
    fn be_watch(&mut self, run: &RunId, stage: &str) -> Result<bool, Fault>;
    /// Gives this agent's program a further name in the state directory, where nobody tidies it away; returns its path.
    fn keep_program(&mut self, name: &str) -> Result<PathBuf, Fault>;
    /// Sends a packet by UDP to a network's broadcast address, out of the interface that has the address `from`.
    fn broadcast(&mut self, from: Ipv4Addr, to: SocketAddrV4, packet: &[u8]) -> Result<(), Fault>;
    /// Asks the network of a card who has an address: the hardware address of another machine that says it has, or is
    /// about to. `None` once nobody has answered for 150 ms.
    fn ask_neighbours(&mut self, card: &str, address: IpAddr) -> Result<Option<String>, Fault>;
    /// Tells the network of a card that this machine has an address now, so that switches and neighbours learn it.
    fn tell_neighbours(&mut self, card: &str, address: IpAddr) -> Result<(), Fault>;

    /// Free bytes and the agent's user id, architecture, kernel release, host name, addresses and number of processors.
    fn platform(&mut self) -> Result<Platform, Fault>;
    /// Room of the file system that a path is on. It can take long where that is another machine's.
    fn space(&mut self, path: &Path) -> Result<Space, Fault>;
    /// Whether package and unit commands are simulated here.
    fn simulated(&self) -> bool;
    /// Whether a rehearsal may inject faults: never on a host whose `/` is real.
    fn rehearsal(&self) -> bool;
    /// Ends the agent as SIGKILL does; returns only on the fake.
    fn die(&mut self) -> Fault;
}

/// Two clocks, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Since this boot, suspend included; nobody sets it (`CLOCK_BOOTTIME`, clock_gettime(2)).
    pub boottime_ms: u64,
    /// Since the epoch, as far as the host knows.
    pub wall_ms: u64,
}

/// The type of what stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe: never touched.
    Other,
}

/// What `lstat` tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// Type.
    pub file_type: FileType,
    /// Length in bytes.
    pub size: u64,
    /// Of a regular file that has several names (hard links): the number of its inode. It is the same after a reboot,
    /// which the number of a device is not.
    pub inode: Option<u64>,
    /// The rest.
    pub attributes: Attributes,
}

/// Settable metadata. `None` leaves a value as it is, or as a new file gets it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: Option<u32>,
    /// Owner id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Modification time: seconds and nanoseconds since the epoch.
    pub mtime: Option<(i64, u32)>,
    /// All extended attributes: name to value. Those that are there and not named are removed.
    pub xattrs: Option<BTreeMap<String, Vec<u8>>>,
    /// Whether a regular file has holes. Where it shall have some, [`Host::write`] leaves out blocks of zeros; otherwise
    /// it is of no effect.
    pub sparse: Option<bool>,
}

/// A directory tree in a few words, as [`Host::survey`] finds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Number of entries, itself included.
    pub entries: u64,
    /// Bytes in its files.
    pub bytes: u64,
    /// The newest `ctime` of an entry: seconds and nanoseconds since the epoch.
    pub newest: (i64, u32),
    /// Digest of path, inode, size and both times of every entry.
    pub digest: Option<Digest>,
    /// How many entries have changed later than was asked.
    pub newer: u64,
    /// The first few of them.
    pub names: Vec<String>,
}

impl Survey {
    /// Most [`Survey::names`].
    pub const NAMES: usize = 3;
}

/// A program to run: an argument vector, never a shell string.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the small fixed environment.
    pub env: Vec<(String, String)>,
    /// Written to its standard input.
    pub stdin: Vec<u8>,
    /// Then its process group is ended.
    pub timeout: Duration,
    /// Whether it may change the host (the fake counts an effect).
    pub effect: bool,
}

impl Command {
    /// A program that only looks.
    pub fn reading(argv: impl IntoIterator<Item = impl Into<String>>) -> Command {
        Command {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(60),
            effect: false,
        }
    }

    /// A program that changes the host.
    pub fn changing(argv: impl IntoIterator<Item = impl Into<String>>, timeout: Duration) -> Command {
        Command { timeout, effect: true, ..Command::reading(argv) }
    }
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Exit status; 128 + signal if a signal ended it.
    pub status: i32,
    /// Standard output, at most [`Output::MAX`] bytes of it.
    pub stdout: String,
    /// The end of standard error, at most 64 KiB.
    pub stderr: String,
}

impl Output {
    /// Bound of what is kept of standard output: a full `dpkg-query` of a large host.
    pub const MAX: usize = 8 << 20;

    /// Exit status 0.
    pub fn ok(&self) -> bool {
        self.status == 0
    }

    /// Itself if the status is 0.
    ///
    /// # Errors
    /// `CommandFailed` with the end of what the program said.
    pub fn expect_ok(self, argv: &[String]) -> Result<Output, Fault> {
        if self.ok() {
            return Ok(self);
        }
        let said = [self.stderr.trim(), self.stdout.trim()].into_iter().find(|s| !s.is_empty()).unwrap_or("no output");
        let tail = said.char_indices().nth_back(1999).map_or(said, |(at, _)| &said[at..]);
        let message = format!("`{}` ended with status {}", argv.join(" "), self.status);
        Err(Fault::new(crate::fault::FaultCode::CommandFailed, tail).within(message))
    }
}

/// What the operating system says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Platform {
    /// Host name that the kernel reports.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// Logical processors.
    pub cpus: u32,
    /// Free bytes for the state directory.
    pub state_free_bytes: u64,
    /// The user the agent runs as.
    pub uid: u32,
    /// Addresses of the network interfaces; none on a host with a root directory.
    pub addresses: Vec<Address>,
}

/// An address of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The kernel's number of the interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix: u8,
}

/// Reads a small text file whole; `None` if there is none.
///
/// # Errors
/// Those of the host; `Invalid` over 4 MiB or if it is not UTF-8.
pub fn read_text(host: &mut dyn Host, path: &Path) -> Result<Option<String>, Fault> {
    const BOUND: u64 = 4 << 20;
    if host.lstat(path)?.is_none() {
        return Ok(None);
    }
    let mut text = String::new();
    host.open(path)?.take(BOUND).read_to_string(&mut text).map_err(|e| Fault::path("read", path, &e))?;
    Ok(Some(text))
}

/// A name in the same directory that only we use; the same after a crash, so leftovers are found.
fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".weiche-");
    // NAME_MAX is 255 bytes: a long name is cut, which is as good for a temporary one.
    temporary.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(200)]));
    temporary.push("~");
    temporary
}

/// Whether a name is such a one.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".weiche-") && name.as_bytes().ends_with(b"~")
}
