//! Whole hosts with systemd, sshd and apt, on a network of their own.
//!
//! A [`Lab`] is a network namespace with a bridge, where the controller of a test runs, and the hosts booted in it:
//! `systemd-nspawn` containers on a throw-away overlay of a cached Debian root, each in its own network namespace.
//! All of it carries the name `wl-PID-N` (PID: the test process), and all of it is removed when the lab is dropped;
//! what a killed test process left behind, the next one removes ([`Lab::sweep`]).
//!
//! A lab must never touch the machine's own interfaces, addresses, mounts or services.

mod base;
mod cgroup;
mod debian;
mod host;
mod leftover;
mod machine;
mod network;
mod package;
mod testinfra;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::tool;
use machine::Machine;
use network::Network;

pub use base::Release;
pub use host::{HostOptions, LabHost, Tmpfs};
pub use network::Site;

/// The labs of this process that are in use, by id.
static LIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Held by every lab; by one that has to be alone, for writing.
static ROOM: RwLock<()> = RwLock::new(());

/// How many labs this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A network with hosts on it.
#[derive(Debug)]
pub struct Lab {
    name: String,
    id: String,
    dir: PathBuf,
    identity: PathBuf,
    public_key: String,
    network: Network,
    machines: Mutex<Vec<Arc<Machine>>>,
    // Given up last.
    _room: Room,
}

/// A place for a lab on this machine.
#[derive(Debug)]
enum Room {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Lab {
    /// The controller's address on the lab's network, 192.0.2.0/24 (RFC 5737: reserved for documentation).
    pub const CONTROLLER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// Says why no lab can be made here.
    ///
    /// # Errors
    ///
    /// The missing right or the names of the missing programs; `tests/setup.sh` installs them.
    pub fn available() -> Result<(), String> {
        const PROGRAMS: [&str; 8] =
            ["apt-ftparchive", "debootstrap", "dpkg-deb", "ip", "nsenter", "ssh", "ssh-keygen", "systemd-nspawn"];
        if !rustix::process::geteuid().is_root() {
            return Err("not root".to_owned());
        }
        let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| tool::find(program).is_none()).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not installed: {}", missing.join(", "))) }
    }

    /// Makes the network. The first lab of a machine also builds the root that hosts start from, in about a minute.
    ///
    /// `name` appears in messages only.
    pub fn new(name: &str) -> Self {
        let guard = ROOM.read().unwrap_or_else(PoisonError::into_inner);
        Self::within(Room::Shared { _guard: guard }, name)
    }

    /// The same, while this test process has no other lab: for what users would notice of a busy machine. It waits for the others'
    /// ends, and they for its.
    pub fn alone(name: &str) -> Self {
        let guard = ROOM.write().unwrap_or_else(PoisonError::into_inner);
        Self::within(Room::Alone { _guard: guard }, name)
    }

    fn within(room: Room, name: &str) -> Self {
        Self::available().unwrap_or_else(|why| panic!("no lab: {why}"));
        Self::sweep();
        base::ready(Release::default());
        let id = format!("wl-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        locked(&LIVE).insert(id.clone());
        let dir = run_dir().join(&id);
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let identity = dir.join("id_ed25519");
        let public_key = tool::keygen(&identity, name);
        fs::write(dir.join("known_hosts"), "").expect("a writable lab directory");
        let network = Network::create(&id, Self::CONTROLLER);
        Self { name: name.to_owned(), id, dir, identity, public_key, network, machines: Mutex::default(), _room: room }
    }

    /// Removes what labs of dead test processes left behind: processes, mounts, namespaces, directories.
    pub fn sweep() {
        leftover::sweep(&run_dir(), |id| locked(&LIVE).contains(id));
    }

    /// Boots a host and waits until it is up and its sshd answers.
    pub fn boot(&self, options: HostOptions) -> LabHost {
        let place = self.place(&options);
        self.boot_at(place, &options)
    }

    /// Boots several hosts at the same time; their addresses are in order.
    pub fn boot_all(&self, options: &[HostOptions]) -> Vec<LabHost> {
        let places: Vec<_> = options.iter().map(|options| (self.place(options), options)).collect();
        std::thread::scope(|scope| {
            let boot = |(place, options)| scope.spawn(move || self.boot_at(place, options));
            let boots: Vec<_> = places.into_iter().map(boot).collect();
            boots.into_iter().map(|boot| boot.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }

    /// A machine that is off, and its number.
    fn place(&self, options: &HostOptions) -> (Arc<Machine>, u8) {
        let mut machines = locked(&self.machines);
        assert!(!machines.iter().any(|machine| machine.name() == options.name), "two hosts named {}", options.name);
        let number = u8::try_from(machines.len() + 1).expect("at most 200 hosts");
        let dir = self.dir.join(&options.name);
        let id = format!("{}-{}", self.id, options.name);
        let machine = Machine::new(id, options.name.clone(), dir, options.site.address(number), options.site);
        machines.push(Arc::clone(&machine));
        (machine, number)
    }

    fn boot_at(&self, (machine, number): (Arc<Machine>, u8), options: &HostOptions) -> LabHost {
        let address = options.site.address(number);
        self.network.join(machine.id(), number, options.site);
        let base = base::ready(options.release);
        let host_key = host::prepare(&machine, options, address, &base, &self.public_key);
        let line = format!("{address} {host_key}\n");
        let known_hosts = fs::OpenOptions::new().append(true).open(self.known_hosts());
        known_hosts.and_then(|mut file| file.write_all(line.as_bytes())).expect("a writable known_hosts");
        let port = self.network.port(number, options.site);
        let host = LabHost::new(machine, port, address, host_key, self.identity.clone(), self.known_hosts());
        host.power_on();
        host
    }

    /// Prepares a program that runs where the controller does: inside the lab's network.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.network.command(program)
    }

    /// Calls a function on a thread inside the lab's network, for sockets of the test itself.
    pub fn inside<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        network::inside(&self.id, function)
    }

    /// The name of the lab, of its namespace, and the start of its hosts' machine names: `wl-PID-N`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The lab's directory, removed with it; tests may put files there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The private key that may log in on every host as `root`, `weiche` (may use sudo) and `nosudo` (may not).
    pub fn identity(&self) -> &Path {
        &self.identity
    }

    /// A `known_hosts` file with the keys of all hosts booted up to now.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for machine in locked(&self.machines).drain(..) {
            machine.stop();
        }
        let outcome = leftover::remove(&self.id, &self.dir);
        locked(&LIVE).remove(&self.id);
        if let Err(why) = outcome {
            let why = format!("lab {} was not removed: {why}", self.name);
            if std::thread::panicking() { eprintln!("{why}") } else { panic!("{why}") }
        }
    }
}

/// Where roots are kept and labs live: `WEICHE_LAB_CACHE`, or `target/lab` of the workspace.
///
/// It must not be on an overlay file system itself, as directories of an unprivileged container often are.
fn cache() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab");
    let dir = std::env::var_os("WEICHE_LAB_CACHE").map_or_else(default, PathBuf::from);
    fs::create_dir_all(&dir).and_then(|()| dir.canonicalize()).unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
}

fn run_dir() -> PathBuf {
    cache().join("run")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
