//! A systemd-nspawn container, kept running through its own reboots.
//!
//! systemd-nspawn reports over the protocol of `sd_notify(3)`: which process is the container's first one, and when
//! systemd inside has finished booting. It ends with status 133 when the container wants to be started again.

use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::cgroup::{self, Cgroup};
use super::network::Site;
use super::{leftover, locked, network};
use crate::{process, tool};

/// How long a boot may take; a hundred times what it takes on an idle machine, for machines that are not.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// What systemd-nspawn's exit status is when the container wants to be started again.
const REBOOT: i32 = 133;

/// Joins the control groups named in the environment, then becomes the command.
const JOIN: &str = r#"for dir in $WEICHE_LAB_CGROUPS; do echo $$ 2>/dev/null >"$dir/cgroup.procs"; done
unset WEICHE_LAB_CGROUPS; exec "$@""#;

/// A container; all its files are in one directory.
#[derive(Debug)]
pub(crate) struct Machine {
    id: String,
    name: String,
    dir: PathBuf,
    address: Ipv4Addr,
    site: Site,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Whether it shall run; turned off before it is killed, so that nobody starts it again.
    wanted: bool,
    /// How often it has finished booting.
    boots: u32,
    nspawn: Option<u32>,
    leader: Option<u32>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Phase {
    #[default]
    Off,
    Booting,
    Up,
    Failed(String),
}

impl Machine {
    /// A container that is off; `id` is its machine name and the name of its network namespace.
    pub(crate) fn new(id: String, name: String, dir: PathBuf, address: Ipv4Addr, site: Site) -> Arc<Self> {
        fs::create_dir_all(dir.join("root")).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        Arc::new(Self { id, name, dir, address, site, state: Mutex::default(), changed: Condvar::new() })
    }

    /// The machine name, unique on the machine that runs the tests.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The host name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its root directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The first process inside, while it runs.
    pub(crate) fn leader(&self) -> Option<u32> {
        locked(&self.state).leader
    }

    /// How often it has finished booting.
    pub(crate) fn boots(&self) -> u32 {
        locked(&self.state).boots
    }

    /// What has appeared on its console.
    pub(crate) fn console(&self) -> String {
        let text = fs::read(self.dir.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Starts it, without waiting.
    pub(crate) fn start(self: &Arc<Self>) {
        self.stop();
        let address = SocketAddr::from_abstract_name(&self.id).expect("a short name");
        // Abstract addresses belong to a network namespace; systemd-nspawn runs in the host's.
        let socket = network::inside(&self.id, || UnixDatagram::bind_addr(&address));
        let socket = socket.unwrap_or_else(|error| panic!("notify socket: {error}"));
        let mut state = locked(&self.state);
        (state.wanted, state.phase) = (true, Phase::Booting);
        let (listener, supervisor) = (Arc::clone(self), Arc::clone(self));
        state.threads.push(thread::spawn(move || listener.listen(&socket)));
        state.threads.push(thread::spawn(move || supervisor.supervise()));
    }

    /// Kills it, as a loss of power would, and waits until it is gone.
    pub(crate) fn stop(&self) {
        let mut state = locked(&self.state);
        state.wanted = false;
        // With its first process all of a container ends, and systemd-nspawn cleans up behind it.
        if let Some(pid) = state.leader.or(state.nspawn) {
            process::kill(pid);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        state = self.wait(state, deadline, |state| state.nspawn.is_none());
        if let Some(pid) = state.nspawn {
            process::kill(pid);
        }
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        if threads.is_empty() {
            return;
        }
        let address = SocketAddr::from_abstract_name(&self.id).expect("a short name");
        let quit = || UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(b"QUIT", &address));
        let _ = network::inside(&self.id, quit);
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// Waits until it has booted `boots` times and its sshd answers.
    pub(crate) fn wait_up(&self, boots: u32) {
        let is_done = |state: &State| match state.phase {
            Phase::Off | Phase::Failed(_) => true,
            Phase::Up => state.boots >= boots,
            Phase::Booting => false,
        };
        let state = self.wait(locked(&self.state), Instant::now() + BOOT_LIMIT, is_done);
        if state.phase != Phase::Up || state.boots < boots {
            let phase = state.phase.clone();
            drop(state);
            let console = self.console();
            let lines: Vec<&str> = console.lines().collect();
            let tail = lines.split_at(lines.len().saturating_sub(40)).1.join("\n");
            panic!("{} is not up: {phase:?}; the end of its console:\n{tail}", self.name);
        }
    }

    /// Waits until it has powered itself off.
    pub(crate) fn wait_off(&self) {
        let state = self
            .wait(locked(&self.state), Instant::now() + BOOT_LIMIT, |state| state.nspawn.is_none() && !state.wanted);
        assert!(state.nspawn.is_none(), "{} did not power off", self.name);
    }

    /// Prepares a program that runs inside, next to the container's first process.
    pub(crate) fn command(&self, argv: &[&str]) -> std::process::Command {
        let leader = self.leader().unwrap_or_else(|| panic!("{} is off", self.name)).to_string();
        let mut command = tool::command("sh");
        command.args(["-c", JOIN, "sh", "nsenter", "--target", &leader, "--all"]);
        command.args(["env", "-i", &format!("PATH={}", tool::PATH), "HOME=/root", "USER=root", "LANG=C.UTF-8"]);
        command.args(argv).env("WEICHE_LAB_CGROUPS", words(&cgroup::of(&leader)));
        command
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
        is_done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let left = deadline.saturating_duration_since(Instant::now());
        let outcome = self.changed.wait_timeout_while(state, left, |state| !is_done(state));
        outcome.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    /// Runs systemd-nspawn, again and again while the container reboots.
    fn supervise(&self) {
        loop {
            let mut state = locked(&self.state);
            if !state.wanted {
                break;
            }
            state.phase = Phase::Booting;
            // Spawned under the lock, so that whoever stops it meanwhile finds a process to kill.
            let (mut child, groups) = self.spawn();
            state.nspawn = Some(child.id());
            drop(state);

            // The process stays a zombie, and its number ours, until nobody can kill it any more.
            let pid = Pid::from_child(&child);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let mut state = locked(&self.state);
            (state.nspawn, state.leader) = (None, None);
            let status = child.wait().expect("systemd-nspawn is our child");
            if status.code() != Some(REBOOT) || !state.wanted {
                let is_early = state.wanted && state.phase == Phase::Booting;
                state.phase = if is_early { Phase::Failed(format!("systemd-nspawn: {status}")) } else { Phase::Off };
                state.wanted = false;
            } else {
                state.phase = Phase::Booting;
            }
            drop(state);
            if let Err(error) = cgroup::remove(groups.dirs()) {
                eprintln!("control group of {}: {error}", self.name);
            }
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    fn spawn(&self) -> (Child, Cgroup) {
        network::boot(&self.id, self.address, self.site);
        let groups = Cgroup::create(&self.id);
        let record = groups.dirs().iter().map(|dir| format!("{}\n", dir.display())).collect::<String>();
        fs::write(self.dir.join(leftover::CGROUPS), record).expect("a writable host directory");
        let console = File::options().create(true).append(true).open(self.dir.join("console.log"));
        let console = console.expect("a writable host directory");
        let mut nspawn = tool::command("sh");
        // Started inside the host's namespace and told its path: the first gives the container this namespace's /sys
        // instead of the machine's, the second makes it "private", which decides about rights.
        let namespace = network::namespace_file(&self.id).display().to_string();
        nspawn.args(["-c", JOIN, "sh", "nsenter", &format!("--net={namespace}")]);
        nspawn.args(["systemd-nspawn", "--quiet", "--boot", "--keep-unit", "--register=no"]);
        nspawn.arg(format!("--directory={}", self.root().display()));
        nspawn.arg(format!("--machine={}", self.id)).arg(format!("--hostname={}", self.name));
        nspawn.arg(format!("--network-namespace-path={namespace}"));
        // A real host may change its network, and its files are its own.
        nspawn.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
        nspawn.args(["--capability=CAP_NET_ADMIN", "--link-journal=no", "--resolv-conf=off", "--timezone=off"]);
        nspawn.arg("--notify-ready=yes").env("NOTIFY_SOCKET", format!("@{}", self.id));
        nspawn.env("WEICHE_LAB_CGROUPS", words(groups.dirs()));
        // Ctrl-C is for whoever sits before the terminal: systemd-nspawn would power the host off.
        nspawn.process_group(0);
        let stderr = console.try_clone().expect("a file descriptor");
        let child = nspawn.stdout(console).stderr(stderr).stdin(Stdio::null()).spawn().expect("systemd-nspawn starts");
        (child, groups)
    }

    /// Follows what systemd-nspawn reports, until told to quit.
    fn listen(&self, socket: &UnixDatagram) {
        // From here on this thread can reach the host's own address, even while its plug is pulled.
        network::enter(&self.id);
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            for line in message.lines() {
                if line == "QUIT" {
                    return;
                } else if let Some(pid) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                    let mut state = locked(&self.state);
                    state.leader = pid.parse().ok().filter(|_| state.nspawn.is_some());
                } else if line == "READY=1" {
                    let answer = self.await_sshd();
                    let mut state = locked(&self.state);
                    // It may have gone down, or down and up, while we asked.
                    if state.phase == Phase::Booting && state.leader.is_some() {
                        state.boots += 1;
                        state.phase = answer.map_or_else(Phase::Failed, |()| Phase::Up);
                        self.changed.notify_all();
                    }
                }
            }
        }
    }

    /// Asks sshd for its greeting (RFC 4253, section 4.2) until it answers.
    fn await_sshd(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut greeting = [0; 4];
            let answer = TcpStream::connect(("127.0.0.1", 22)).and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                stream.read_exact(&mut greeting)
            });
            match answer {
                Ok(()) if &greeting == b"SSH-" => return Ok(()),
                outcome if Instant::now() > deadline || self.leader().is_none() => {
                    return Err(format!("sshd does not answer: {outcome:?}"));
                }
                _ => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

fn words(dirs: &[PathBuf]) -> String {
    dirs.iter().map(|dir| tool::text(dir)).collect::<Vec<_>>().join(" ")
}
