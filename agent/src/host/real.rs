//! The real Linux host: files below a root directory (`/` in earnest), programs, and the agent's state directory.
//!
//! Every path is resolved by the kernel with `RESOLVE_IN_ROOT` (openat2(2)), so a link inside a root directory cannot
//! lead out of it. Files are replaced by rename within their directory. In a sandbox, ownership that an ordinary user
//! cannot give is recorded beside the root and reported back, and package and unit commands are simulated.
#![expect(clippy::disallowed_methods, reason = "shell")]

mod address;
mod attributes;
mod files;
mod inode;
mod inside;
mod neighbour;
mod orphan;
mod program;
mod refusal;
mod sparse;
mod state;
mod survey;
mod wake;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Attributes, Clock, Command, Host, Meta, Output, Platform, Survey};
use crate::fault::{Fault, FaultCode};
use crate::host::simulated;
use crate::protocol::RunId;
use crate::protocol::facts::Space;

/// Linux, as this process sees it.
#[derive(Debug)]
pub struct RealHost {
    root: OwnedFd,
    root_path: PathBuf,
    state: state::StateDir,
    sandbox: Option<files::Owners>,
    /// A directory on each file system that was changed since the last sync, by device; the state directory's apart.
    touched: BTreeMap<u64, OwnedFd>,
    /// Held as long as this process is a guard's watch.
    watch: Option<fs::File>,
}

impl RealHost {
    /// Opens the host below `root` with the agent's state directory `state`, which is made if missing (mode 0700).
    ///
    /// # Errors
    /// If either cannot be opened; the operator can fix that.
    pub fn open(root: &Path, state: &Path, simulate: bool) -> Result<RealHost, Fault> {
        if simulate && root == Path::new("/") {
            return Err(Fault::new(FaultCode::Invalid, "a sandbox needs a root directory other than `/`"));
        }
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, rustix::fs::Mode::empty())
            .map_err(|e| Fault::path("open root directory", root, &e.into()))?;
        let state = state::StateDir::open(state)?;
        let sandbox = simulate.then(|| files::Owners::load(state.path())).transpose()?;
        Ok(RealHost { root: fd, root_path: root.to_owned(), state, sandbox, touched: BTreeMap::new(), watch: None })
    }

    /// Remembers the file system that a changed path is on.
    fn touch(&mut self, path: &Path) -> Result<(), Fault> {
        let directory = files::open_dir(&self.root, path)?;
        let device = |fd: rustix::fd::BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| stat.st_dev);
        let fault = |e: rustix::io::Errno| Fault::path("look at", path, &e.into());
        let (there, state) =
            (device(directory.as_fd()).map_err(fault)?, device(self.state.dir().as_fd()).map_err(fault)?);
        // Mostly both are on one file system, and a sync costs as much as what is unwritten on all of it.
        if there != state {
            self.touched.entry(there).or_insert(directory);
        }
        Ok(())
    }

    /// Reads what another agent may have recorded while it held the lock.
    fn look_again(&mut self) -> Result<(), Fault> {
        if self.sandbox.is_some() {
            self.sandbox = Some(files::Owners::load(self.state.path())?);
        }
        Ok(())
    }

    fn real_root(&self) -> bool {
        self.root_path == Path::new("/")
    }
}

impl Host for RealHost {
    fn lstat(&mut self, path: &Path) -> Result<Option<Meta>, Fault> {
        files::lstat(&self.root, path, self.sandbox.as_ref())
    }

    fn read_dir(&mut self, path: &Path) -> Result<Vec<OsString>, Fault> {
        files::read_dir(&self.root, path)
    }

    fn survey(&mut self, path: &Path, since: Option<(i64, u32)>) -> Result<Survey, Fault> {
        survey::survey(&self.root, path, since)
    }

    fn open(&mut self, path: &Path) -> Result<Box<dyn Read>, Fault> {
        files::open(&self.root, path).map(|file| Box::new(file) as Box<dyn Read>)
    }

    fn read_link(&mut self, path: &Path) -> Result<PathBuf, Fault> {
        files::read_link(&self.root, path)
    }

    fn write(&mut self, path: &Path, content: &mut dyn Read, meta: &Attributes) -> Result<(), Fault> {
        files::write(&self.root, path, content, meta, self.sandbox.as_mut())?;
        self.touch(path)
    }

    fn make_dir(&mut self, path: &Path, meta: &Attributes) -> Result<(), Fault> {
        files::make_dir(&self.root, path, meta, self.sandbox.as_mut())?;
        self.touch(path)
    }

    fn symlink(&mut self, path: &Path, target: &Path, meta: &Attributes) -> Result<(), Fault> {
        files::symlink(&self.root, path, target, meta, self.sandbox.as_mut())?;
        self.touch(path)
    }

    fn set_attributes(&mut self, path: &Path, meta: &Attributes) -> Result<(), Fault> {
        files::set_attributes(&self.root, path, meta, self.sandbox.as_mut())?;
        self.touch(path)
    }

    fn remove(&mut self, path: &Path) -> Result<(), Fault> {
        files::remove(&self.root, path, self.sandbox.as_mut())?;
        self.touch(path)
    }

    fn sweep(&mut self, path: &Path) -> Result<(), Fault> {
        if files::sweep(&self.root, path)? { self.touch(path) } else { Ok(()) }
    }

    fn keep_inode(&mut self, path: &Path, name: &str) -> Result<bool, Fault> {
        inode::keep(&self.root, path, &self.state, name)
    }

    fn restore_inode(&mut self, name: &str, path: &Path) -> Result<(), Fault> {
        inode::restore(&self.state, name, &self.root, path)?;
        self.touch(path)
    }

    fn run(&mut self, command: &Command) -> Result<Output, Fault> {
        if self.simulated()
            && let Some(output) = simulated::run(self, command)?
        {
            return Ok(output);
        }
        if let Some(owners) = &mut self.sandbox
            && let Some(output) = inside::run(&self.root_path, owners, command, self.state.path())?
        {
            self.touch(Path::new("/"))?;
            return Ok(output);
        }
        if command.effect {
            self.touch(Path::new("/"))?;
        }
        program::run(command, command.effect.then(|| self.state.path()))
    }

    fn sync(&mut self) -> Result<(), Fault> {
        let fault = |e: rustix::io::Errno| Fault::io("sync what was changed", &e.into());
        rustix::fs::syncfs(self.state.dir()).map_err(fault)?;
        for (_, directory) in std::mem::take(&mut self.touched) {
            rustix::fs::syncfs(&directory).map_err(fault)?;
        }
        Ok(())
    }

    fn state_open(&mut self, name: &str) -> Result<Option<Box<dyn Read>>, Fault> {
        self.state.open_file(name)
    }

    fn state_write(&mut self, name: &str, content: &mut dyn Read) -> Result<(), Fault> {
        self.state.write(name, content)
    }

    fn state_append(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.state.append(name, bytes)
    }

    fn state_rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        self.state.rename(from, to)
    }

    fn state_remove(&mut self, name: &str) -> Result<(), Fault> {
        self.state.remove(name)
    }

    fn state_list(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        self.state.list(name)
    }

    fn state_path(&mut self, name: &str) -> Result<PathBuf, Fault> {
        self.state.at(name)
    }

    fn lock(&mut self) -> Result<(), Fault> {
        let held = self.state.locked();
        self.state.lock()?;
        if held { Ok(()) } else { self.look_again() }
    }

    fn lock_by_force(&mut self) -> Result<(), Fault> {
        self.state.lock_by_force()?;
        self.look_again()
    }

    fn unlock(&mut self) {
        self.state.unlock();
    }

    fn clock(&mut self) -> Clock {
        watch::clock()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn start_watch(&mut self, run: &RunId, stage: &str) -> Result<(), Fault> {
        watch::start(&self.state, &self.root_path, self.simulated(), run, stage)
    }

    fn be_watch(&mut self, run: &RunId, stage: &str) -> Result<bool, Fault> {
        self.watch = watch::hold(&self.state, run, stage)?;
        Ok(self.watch.is_some())
    }

    fn keep_program(&mut self, name: &str) -> Result<PathBuf, Fault> {
        watch::keep_program(&self.state, name)
    }

    fn broadcast(&mut self, from: Ipv4Addr, to: SocketAddrV4, packet: &[u8]) -> Result<(), Fault> {
        wake::broadcast(from, to, packet)
    }

    fn ask_neighbours(&mut self, card: &str, address: IpAddr) -> Result<Option<String>, Fault> {
        if self.simulated() { Ok(None) } else { neighbour::ask(card, address) }
    }

    fn tell_neighbours(&mut self, card: &str, address: IpAddr) -> Result<(), Fault> {
        if self.simulated() { Ok(()) } else { neighbour::announce(card, address) }
    }

    fn platform(&mut self) -> Result<Platform, Fault> {
        let uname = rustix::system::uname();
        let disk = rustix::fs::fstatvfs(self.state.dir())
            .map_err(|e| Fault::io("ask for the free space of the state directory", &e.into()))?;
        let hostname = match &self.sandbox {
            Some(_) => fs::read_to_string(self.root_path.join("etc/hostname")).unwrap_or_default().trim().to_owned(),
            None => uname.nodename().to_string_lossy().into_owned(),
        };
        Ok(Platform {
            hostname,
            kernel: uname.release().to_string_lossy().into_owned(),
            arch: uname.machine().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            state_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            uid: rustix::process::geteuid().as_raw(),
            addresses: if self.real_root() { address::addresses()? } else { Vec::new() },
        })
    }

    fn space(&mut self, path: &Path) -> Result<Space, Fault> {
        files::space(&self.root, path)
    }

    fn simulated(&self) -> bool {
        self.sandbox.is_some()
    }

    fn rehearsal(&self) -> bool {
        !self.real_root()
    }

    fn die(&mut self) -> Fault {
        let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        Fault::new(FaultCode::Crashed, format!("the agent could not kill itself: {killed:?}"))
    }
}
