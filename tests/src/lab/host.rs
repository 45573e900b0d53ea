//! A host of a lab: what a test asks of it.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use rustix::mount::{MountFlags, mount};

use super::base::Release;
use super::machine::Machine;
use super::network::{Port, Site};
use super::{base, leftover};
use crate::tool;

/// In a host's directory: the file system of what it writes, if that has a size.
const DISK: &str = "disk";

/// Fills a host's root file system.
const FILLED: &str = "/var/tmp/filled-by-the-lab";

/// What a host shall be.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// The host name: letters, digits and `-`.
    pub name: String,
    /// File systems of limited size or rights. They keep their content when the host reboots or loses its power, and
    /// are seen below [`LabHost::root`] as well.
    pub tmpfs: Vec<Tmpfs>,
    /// The size of its root file system for what it writes, as in `tmpfs(5)`; `None`: the machine's own disk.
    pub disk: Option<String>,
    /// Where it stands.
    pub site: Site,
    /// What it runs.
    pub release: Release,
}

impl HostOptions {
    /// A host with a name and nothing special.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Says where it stands.
    #[must_use]
    pub fn at(mut self, site: Site) -> Self {
        self.site = site;
        self
    }

    /// Says what it runs.
    #[must_use]
    pub fn runs(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Gives its root file system a size, such as `768m`; it is in memory then.
    #[must_use]
    pub fn disk(mut self, size: &str) -> Self {
        self.disk = Some(size.to_owned());
        self
    }

    /// Adds a file system; `options` as in `tmpfs(5)`, such as `size=4m` or `size=64m,noexec`.
    #[must_use]
    pub fn tmpfs(mut self, path: &str, options: &str) -> Self {
        self.tmpfs.push(Tmpfs { path: path.into(), options: options.to_owned() });
        self
    }
}

/// A file system in memory.
#[derive(Clone, Debug)]
pub struct Tmpfs {
    /// Where it is mounted, such as `/var/lib/weiche`; made if it does not exist.
    pub path: PathBuf,
    /// Options as in `tmpfs(5)`; of the general ones, `noexec` and `ro` are understood.
    pub options: String,
}

/// A running host; gone when dropped, or with its lab.
///
/// Users: `root`, `weiche` (all sudo without password) and `nosudo`, all with the lab's key. The local packages
/// `wl-lib`, `wl-server`, `wl-slow`, `wl-tool`, `wl-other` and `wl-broken` can be installed, as versions 1.0 and 2.0.
#[derive(Debug)]
pub struct LabHost {
    /// Its host name.
    pub name: String,
    /// Its address on the lab's network.
    pub address: Ipv4Addr,
    /// Its public ed25519 host key, `ssh-ed25519 AAAA...`.
    pub host_key: String,
    machine: Arc<Machine>,
    port: Port,
    identity: PathBuf,
    known_hosts: PathBuf,
}

impl LabHost {
    pub(crate) fn new(
        machine: Arc<Machine>,
        port: Port,
        address: Ipv4Addr,
        host_key: String,
        identity: PathBuf,
        known_hosts: PathBuf,
    ) -> Self {
        Self { name: machine.name().to_owned(), address, host_key, machine, port, identity, known_hosts }
    }

    /// Its root directory as seen from outside, also while it is off; what `/run` and `/tmp` hold is not in it.
    pub fn root(&self) -> PathBuf {
        self.machine.root()
    }

    /// Runs a program inside as root, without ssh, so that it works without network too.
    pub fn exec(&self, argv: &[&str]) -> Output {
        self.command(argv).output().unwrap_or_else(|error| panic!("{argv:?} on {}: {error}", self.name))
    }

    /// Runs a program inside that must succeed, and returns its stdout without the last line's end.
    pub fn run(&self, argv: &[&str]) -> String {
        let stdout = tool::try_run(&mut self.command(argv)).unwrap_or_else(|error| panic!("on {}: {error}", self.name));
        stdout.trim_end().to_owned()
    }

    /// Prepares a program that runs inside as root, for tests that need its pipes; stdin is empty.
    pub fn command(&self, argv: &[&str]) -> Command {
        self.machine.command(argv)
    }

    /// Prepares an `ssh` from the controller's place that knows the host's key and asks nothing; the remote command is
    /// still to be added.
    pub fn ssh(&self, user: &str) -> Command {
        let mut ssh = self.port.command("ssh");
        ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=yes"]).env_remove("SSH_AUTH_SOCK");
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        ssh.arg("-i").arg(&self.identity).arg(format!("{user}@{}", self.address));
        ssh
    }

    /// Reboots it in the orderly way and waits until it is up again.
    pub fn reboot(&self) {
        let boots = self.boots();
        // The command may or may not see its own end.
        let _ = self.exec(&["systemctl", "reboot"]);
        self.wait_boots(boots + 1);
    }

    /// How often it has booted; a reboot that something inside asks for counts too.
    pub fn boots(&self) -> u32 {
        self.machine.boots()
    }

    /// Waits until it has booted this often and is up.
    pub fn wait_boots(&self, boots: u32) {
        self.machine.wait_up(boots);
    }

    /// Waits until it has powered itself off, because something inside asked for it.
    pub fn wait_off(&self) {
        self.machine.wait_off();
    }

    /// Takes away its power: every process dies at once. What was written stays, synced or not.
    pub fn power_off(&self) {
        self.machine.stop();
    }

    /// Boots it and waits until it is up; a running host loses its power first.
    pub fn power_on(&self) {
        let boots = self.boots();
        self.machine.start();
        self.machine.wait_up(boots + 1);
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.machine.leader().is_some()
    }

    /// Pulls its network plug: the host sees the link go down.
    pub fn cut(&self) {
        self.port.set_plugged(false);
    }

    /// Puts the network plug in again.
    pub fn uncut(&self) {
        self.port.set_plugged(true);
    }

    /// Loses every packet from and to it, silently: links stay up and connections hang.
    pub fn mute(&self) {
        self.port.set_forwarding(false);
    }

    /// Ends [`Self::mute`].
    pub fn unmute(&self) {
        self.port.set_forwarding(true);
    }

    /// Slows its line down, both ways, to a rate as in `tc(8)`, such as `5mbit`; `None` ends that.
    pub fn slow(&self, rate: Option<&str>) {
        self.port.set_rate(self.machine.id(), rate);
    }

    /// Leaves so many mebibytes free on its root file system, which must have a size ([`HostOptions::disk`]), until
    /// [`Self::empty`].
    ///
    /// # Errors
    /// Says why it cannot: it is off, or would fill the machine's disk.
    pub fn fill(&self, free: u64) -> Result<(), String> {
        if !self.machine.dir().join(DISK).exists() {
            return Err(format!("{} has no file system of its own", self.name));
        }
        self.empty()?;
        let told = self.tried(&["df", "--block-size=1M", "--output=avail", "/"])?;
        let there: u64 = told.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or_default();
        match there.saturating_sub(free) {
            0 => Ok(()),
            size => self.tried(&["fallocate", "--length", &format!("{size}MiB"), FILLED]).map(drop),
        }
    }

    /// Removes what [`Self::fill`] made.
    ///
    /// # Errors
    /// Says why it cannot: it is off.
    pub fn empty(&self) -> Result<(), String> {
        self.tried(&["rm", "-f", FILLED]).map(drop)
    }

    /// Runs a program inside that should succeed; its stdout.
    fn tried(&self, argv: &[&str]) -> Result<String, String> {
        if !self.is_on() {
            return Err(format!("{} is off", self.name));
        }
        tool::try_run(&mut self.command(argv))
    }

    /// What has appeared on its console, over all boots.
    pub fn console(&self) -> String {
        self.machine.console()
    }

    /// The process of the machine that is process 1 inside.
    pub fn leader(&self) -> Option<u32> {
        self.machine.leader()
    }
}

impl Drop for LabHost {
    fn drop(&mut self) {
        self.machine.stop();
        // What fails here, the lab tries again, and reports.
        let _ = leftover::remove(self.machine.id(), self.machine.dir());
    }
}

/// Makes the root of a host that is off: overlay, identity, keys, extra file systems. Returns its public host key.
pub(crate) fn prepare(
    machine: &Machine,
    options: &HostOptions,
    address: Ipv4Addr,
    base: &Path,
    public_key: &str,
) -> String {
    let (root, name) = (machine.root(), machine.name());
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    assert!(!name.is_empty() && name.len() <= 32 && name.bytes().all(is_valid), "{name:?} is no host name");
    let mut dir = machine.dir().to_owned();
    if let Some(size) = &options.disk {
        dir.push(DISK);
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        mount_at(&dir, "tmpfs", MountFlags::empty(), &format!("size={size},mode=0755"));
    }
    let [upper, work] = ["upper", "work"].map(|name| dir.join(name));
    for dir in [&upper, &work] {
        fs::create_dir_all(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    }
    // Overlay takes the upper directory's rights for the root's: the base has Debian's.
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).expect("our own directory");
    let layers = format!("lowerdir={},upperdir={},workdir={}", base.display(), upper.display(), work.display());
    mount_at(&root, "overlay", MountFlags::empty(), &layers);

    put(&root.join("etc/hostname"), &format!("{name}\n"));
    put(&root.join("etc/hosts"), &format!("127.0.0.1 localhost\n::1 localhost\n{address} {name}\n"));
    let machine_id = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a random number");
    put(&root.join("etc/machine-id"), &machine_id.replace('-', ""));
    let host_key = tool::keygen(&root.join("etc/ssh/ssh_host_ed25519_key"), &format!("root@{name}"));
    for (home, owner) in base::HOMES {
        let dir = root.join(home).join(".ssh");
        // Debian's package makes root's, and nobody else's.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        put(&dir.join("authorized_keys"), &format!("{public_key} lab\n"));
        for path in [dir.join("authorized_keys"), dir] {
            chown(&path, Some(owner), Some(owner)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    for tmpfs in &options.tmpfs {
        let path = root.join(tmpfs.path.strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (mut flags, mut data) = (MountFlags::empty(), vec!["mode=0755"]);
        for option in tmpfs.options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "noexec" => flags |= MountFlags::NOEXEC,
                "ro" => flags |= MountFlags::RDONLY,
                other => data.push(other),
            }
        }
        mount_at(&path, "tmpfs", flags, &data.join(","));
    }
    host_key
}

fn mount_at(target: &Path, kind: &str, flags: MountFlags, options: &str) {
    let data = std::ffi::CString::new(options).expect("options without NUL");
    mount(kind, target, kind, flags, data.as_c_str())
        .unwrap_or_else(|error| panic!("mount {kind} at {} ({options}): {error}", target.display()));
}

fn put(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
