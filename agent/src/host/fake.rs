//! An in-memory host that can lose power before and after every effect, for the laws and the whole-system tests.
//!
//! Every call that may change something is an *effect* and is counted. After a crash every call fails with `Crashed`
//! until [`FakeHost::reboot`]. Times come from a counter. It never touches the machine it runs on.

mod picture;
mod seed;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Address, Attributes, Clock, Command, Host, Meta, Output, Platform, Survey, simulated};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::protocol::RunId;
use crate::protocol::facts::Space;
use tree::Tree;

/// On which side of an effect the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The effect does not happen.
    Before,
    /// Of bytes that are appended to a file of the state directory, half are there; of a file or link of the host, that
    /// is under its temporary name; like `Before` for other effects, and in programs.
    Within,
    /// The effect has happened; nobody hears of it.
    After,
    /// The effect happens; then it is lost with everything since the last sync. A real disk loses any part of that.
    Unsynced,
    /// The same, but of the agent's state directory only: the host's own files happen to be on the disk.
    UnsyncedState,
}

/// The agent's state directory: contents by name.
pub type State = BTreeMap<String, Vec<u8>>;

/// A host in memory. A clone is a second host that happens to be equal.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    tree: Tree,
    state: State,
    effects: u64,
    crash: Option<(u64, Moment)>,
    /// What a crash that is due will leave, if it loses what was not synced.
    durable: Option<Box<(Tree, State)>>,
    dead: bool,
    clock: Clock,
    /// A program is at work, whose temporary files are its own.
    in_program: bool,
    /// Guards whose watch runs, as `RUN STAGE`.
    watches: BTreeSet<String>,
    /// Packets that were sent, with where they went.
    sent: Vec<(SocketAddrV4, Vec<u8>)>,
    /// Machines of its network: the hardware address of each one's address.
    neighbours: BTreeMap<IpAddr, String>,
    /// Addresses that its network was told of.
    told: Vec<IpAddr>,
}

impl FakeHost {
    /// Lets the power fail at the `n`th effect from now, counted from 1.
    pub fn crash_at(&mut self, n: u64, moment: Moment) {
        self.crash = Some((self.effects + n, moment));
        let loses = matches!(moment, Moment::Unsynced | Moment::UnsyncedState);
        self.durable = loses.then(|| Box::new((self.tree.clone(), self.state.clone())));
    }

    /// Effects so far, the one that a crash prevented included.
    pub fn effects(&self) -> u64 {
        self.effects
    }

    /// Whether the power has failed.
    pub fn crashed(&self) -> bool {
        self.dead
    }

    /// Brings the host up again; no crash is due any more.
    pub fn reboot(&mut self) {
        self.dead = false;
        self.crash = None;
        self.durable = None;
    }

    /// The power was off and is on again: another boot, whose clock starts anew, and no process of before.
    pub fn boot_anew(&mut self) {
        self.reboot();
        self.does("systemctl reboot");
        self.clock.boottime_ms = 0;
        self.watches.clear();
    }

    /// Sets both clocks.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The guards whose watch runs, as `RUN STAGE`; whoever removes one has killed it.
    pub fn watches(&mut self) -> &mut BTreeSet<String> {
        &mut self.watches
    }

    /// The packets that were sent, and where to.
    pub fn sent(&self) -> &[(SocketAddrV4, Vec<u8>)] {
        &self.sent
    }

    /// Machines of its network: the hardware address of each one's address.
    pub fn neighbours(&mut self) -> &mut BTreeMap<IpAddr, String> {
        &mut self.neighbours
    }

    /// The addresses that its network was told of.
    pub fn told(&self) -> &[IpAddr] {
        &self.told
    }

    /// Every path of the host with one line for what stands there, times of files included; without the agent's
    /// state directory.
    pub fn snapshot(&self) -> BTreeMap<String, String> {
        self.tree.snapshot()
    }

    fn alive(&self) -> Result<(), Fault> {
        if self.dead { Err(Fault::new(FaultCode::Crashed, "the host has lost power")) } else { Ok(()) }
    }

    fn effect<T>(&mut self, act: impl FnOnce(&mut FakeHost) -> Result<T, Fault>) -> Result<T, Fault> {
        self.alive()?;
        self.effects += 1;
        let due = self.crash.filter(|(n, _)| *n == self.effects).map(|(_, moment)| moment);
        if matches!(due, Some(Moment::Before | Moment::Within)) {
            return Err(self.die());
        }
        let done = act(self);
        if due.is_some() {
            if let Some(durable) = self.durable.take() {
                self.state = durable.1;
                if due == Some(Moment::Unsynced) {
                    self.tree = durable.0;
                }
            }
            return Err(self.die());
        }
        done
    }

    /// Puts something at a path in one go, under a temporary name first.
    fn replaced(&mut self, path: &Path, put: impl FnOnce(&mut Tree, &Path) -> Result<(), Fault>) -> Result<(), Fault> {
        let temporary = temporary(path);
        if !self.dead && !self.in_program && self.crash == Some((self.effects + 1, Moment::Within)) {
            self.effects += 1;
            // What cannot be written leaves nothing either.
            let _ = put(&mut self.tree, &temporary);
            return Err(self.die());
        }
        self.effect(|h| {
            put(&mut h.tree, path)?;
            let _ = h.tree.remove(&temporary);
            Ok(())
        })
    }

    /// The few programs that tests of `command` use.
    fn program(&mut self, command: &Command) -> Result<Output, Fault> {
        if let Some(output) = simulated::run(self, command)? {
            return Ok(output);
        }
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let status = |ok: bool| Ok(Output { status: i32::from(!ok), ..Output::default() });
        let failed = |fault: Fault| match fault.code {
            FaultCode::Crashed => Err(fault),
            _ => Ok(Output { status: 1, stderr: fault.to_string(), ..Output::default() }),
        };
        match argv.as_slice() {
            ["true"] => status(true),
            ["false"] => status(false),
            ["touch", path] => {
                let path = Path::new(path);
                let touched = match self.lstat(path)? {
                    Some(_) => self.effect(|h| h.tree.touch(path)),
                    None => self.write(path, &mut std::io::empty(), &Attributes::default()),
                };
                touched.map_or_else(failed, |()| status(true))
            }
            ["rm", "-f", path] => match self.lstat(Path::new(path))? {
                Some(_) => self.remove(Path::new(path)).map_or_else(failed, |()| status(true)),
                None => status(true),
            },
            ["rm", "-rf", "--", path] => {
                self.effect(|h| h.tree.remove_all(Path::new(path))).map_or_else(failed, |()| status(true))
            }
            ["mv", "-T", "--", from, to] => {
                let (from, to) = (Path::new(from), Path::new(to));
                self.effect(|h| h.tree.rename(from, to)).map_or_else(failed, |()| status(true))
            }
            ["test", "-e", path] => status(self.lstat(Path::new(path))?.is_some()),
            ["test", "-d", path] => {
                status(self.lstat(Path::new(path))?.is_some_and(|m| m.file_type == super::FileType::Directory))
            }
            ["sleep", _] => Err(Fault::new(FaultCode::Timeout, "`sleep` did not end in time and was killed")),
            _ => Err(Fault::new(FaultCode::NotFound, format!("start `{}`: no such program", argv.join(" ")))),
        }
    }
}

impl Host for FakeHost {
    fn lstat(&mut self, path: &Path) -> Result<Option<Meta>, Fault> {
        self.alive()?;
        self.tree.lstat(path)
    }

    fn read_dir(&mut self, path: &Path) -> Result<Vec<OsString>, Fault> {
        self.alive()?;
        self.tree.read_dir(path)
    }

    fn survey(&mut self, path: &Path, _since: Option<(i64, u32)>) -> Result<Survey, Fault> {
        self.alive()?;
        let mut tree = self.tree.snapshot();
        tree.retain(|entry, _| Path::new(entry).starts_with(path));
        let digest = (!tree.is_empty()).then(|| Digest::of(format!("{tree:?}").as_bytes()));
        Ok(Survey { entries: tree.len() as u64, digest, ..Survey::default() })
    }

    fn open(&mut self, path: &Path) -> Result<Box<dyn Read>, Fault> {
        self.alive()?;
        Ok(Box::new(Cursor::new(self.tree.content(path)?)))
    }

    fn read_link(&mut self, path: &Path) -> Result<PathBuf, Fault> {
        self.alive()?;
        self.tree.read_link(path)
    }

    fn write(&mut self, path: &Path, content: &mut dyn Read, meta: &Attributes) -> Result<(), Fault> {
        let bytes = all(content)?;
        self.replaced(path, |tree, path| tree.write(path, bytes, meta))
    }

    fn make_dir(&mut self, path: &Path, meta: &Attributes) -> Result<(), Fault> {
        self.effect(|h| h.tree.make_dir(path, meta))
    }

    fn symlink(&mut self, path: &Path, target: &Path, meta: &Attributes) -> Result<(), Fault> {
        self.replaced(path, |tree, path| tree.symlink(path, target, meta))
    }

    fn set_attributes(&mut self, path: &Path, meta: &Attributes) -> Result<(), Fault> {
        self.effect(|h| h.tree.set_attributes(path, meta))
    }

    fn remove(&mut self, path: &Path) -> Result<(), Fault> {
        self.effect(|h| h.tree.remove(path))
    }

    fn sweep(&mut self, path: &Path) -> Result<(), Fault> {
        self.alive()?;
        let temporary = temporary(path);
        match self.tree.lstat(&temporary)? {
            Some(_) => self.effect(|h| h.tree.remove(&temporary)),
            None => Ok(()),
        }
    }

    fn keep_inode(&mut self, path: &Path, name: &str) -> Result<bool, Fault> {
        if self.state.contains_key(name) {
            return self.alive().map(|()| true);
        }
        self.effect(|h| {
            let inode = h.tree.keep(path)?;
            h.state.insert(name.to_owned(), inode.to_string().into());
            Ok(true)
        })
    }

    fn restore_inode(&mut self, name: &str, path: &Path) -> Result<(), Fault> {
        self.effect(|h| {
            let missing = || Fault::new(FaultCode::NotFound, format!("put back {}: no {name}", path.display()));
            let number = h.state.get(name).ok_or_else(missing)?;
            let inode = String::from_utf8_lossy(number).parse().map_err(|_| missing())?;
            h.tree.restore(inode, path)
        })
    }

    fn run(&mut self, command: &Command) -> Result<Output, Fault> {
        self.alive()?;
        let outer = std::mem::replace(&mut self.in_program, true);
        let ran = if command.effect { self.effect(|h| h.program(command)) } else { self.program(command) };
        self.in_program = outer;
        ran
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.effect(|h| {
            if let Some(durable) = &mut h.durable {
                **durable = (h.tree.clone(), h.state.clone());
            }
            Ok(())
        })
    }

    fn state_open(&mut self, name: &str) -> Result<Option<Box<dyn Read>>, Fault> {
        self.alive()?;
        Ok(self.state.get(name).map(|bytes| Box::new(Cursor::new(bytes.clone())) as Box<dyn Read>))
    }

    fn state_write(&mut self, name: &str, content: &mut dyn Read) -> Result<(), Fault> {
        let bytes = all(content)?;
        self.effect(|h| {
            if let Some(durable) = h.durable.as_mut().filter(|_| name == simulated::INSTANCES) {
                // Invocation ids never come back, whatever is lost.
                durable.1.insert(name.to_owned(), bytes.clone());
            }
            h.state.insert(name.to_owned(), bytes);
            Ok(())
        })
    }

    fn state_append(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        if !self.dead && self.crash == Some((self.effects + 1, Moment::Within)) {
            self.state.entry(name.to_owned()).or_default().extend_from_slice(&bytes[..bytes.len() / 2]);
        }
        self.effect(|h| {
            h.state.entry(name.to_owned()).or_default().extend_from_slice(bytes);
            if let (Some(durable), Some(whole)) = (&mut h.durable, h.state.get(name)) {
                durable.1.insert(name.to_owned(), whole.clone());
            }
            Ok(())
        })
    }

    fn state_rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        self.effect(|h| {
            let missing = || Fault::new(FaultCode::NotFound, format!("rename {from}: no such file"));
            let bytes = h.state.remove(from).ok_or_else(missing)?;
            h.state.insert(to.to_owned(), bytes);
            Ok(())
        })
    }

    fn state_remove(&mut self, name: &str) -> Result<(), Fault> {
        self.effect(|h| {
            let below = format!("{name}/");
            h.state.retain(|n, _| n != name && !n.starts_with(&below));
            Ok(())
        })
    }

    fn state_list(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        self.alive()?;
        let below = format!("{name}/");
        let names = self.state.keys().filter_map(|n| n.strip_prefix(&below)?.split('/').next().map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.dedup();
        Ok(names)
    }

    fn state_path(&mut self, name: &str) -> Result<PathBuf, Fault> {
        self.alive()?;
        Ok(Path::new("/var/lib/weiche").join(name))
    }

    fn lock(&mut self) -> Result<(), Fault> {
        self.alive()
    }

    fn lock_by_force(&mut self) -> Result<(), Fault> {
        self.alive()
    }

    fn unlock(&mut self) {}

    fn clock(&mut self) -> Clock {
        self.clock
    }

    fn pause(&mut self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.clock.boottime_ms = self.clock.boottime_ms.saturating_add(ms);
        self.clock.wall_ms = self.clock.wall_ms.saturating_add(ms);
    }

    fn start_watch(&mut self, run: &RunId, stage: &str) -> Result<(), Fault> {
        let watch = format!("{run} {stage}");
        if self.watches.contains(&watch) {
            return self.alive();
        }
        self.effect(|h| {
            h.watches.insert(watch);
            Ok(())
        })
    }

    fn be_watch(&mut self, _run: &RunId, _stage: &str) -> Result<bool, Fault> {
        self.alive().map(|()| true)
    }

    fn keep_program(&mut self, name: &str) -> Result<PathBuf, Fault> {
        self.state_write(name, &mut "the agent".as_bytes())?;
        self.state_path(name)
    }

    fn broadcast(&mut self, _from: Ipv4Addr, to: SocketAddrV4, packet: &[u8]) -> Result<(), Fault> {
        let packet = packet.to_vec();
        self.effect(|h| {
            h.sent.push((to, packet));
            Ok(())
        })
    }

    fn ask_neighbours(&mut self, _card: &str, address: IpAddr) -> Result<Option<String>, Fault> {
        self.alive().map(|()| self.neighbours.get(&address).cloned())
    }

    fn tell_neighbours(&mut self, _card: &str, address: IpAddr) -> Result<(), Fault> {
        self.effect(|h| {
            h.told.push(address);
            Ok(())
        })
    }

    fn platform(&mut self) -> Result<Platform, Fault> {
        self.alive()?;
        let hostname = self.tree.content(Path::new("/etc/hostname")).unwrap_or_default();
        Ok(Platform {
            hostname: String::from_utf8_lossy(&hostname).trim().to_owned(),
            kernel: "6.1.0-fake".into(),
            arch: "x86_64".into(),
            cpus: 4,
            state_free_bytes: 64 << 30,
            uid: 0,
            addresses: vec![Address { interface: 2, address: [192, 0, 2, 10].into(), prefix: 24 }],
        })
    }

    fn space(&mut self, _path: &Path) -> Result<Space, Fault> {
        self.alive()?;
        Ok(Space { size_bytes: 128 << 30, free_bytes: 64 << 30 })
    }

    fn simulated(&self) -> bool {
        true
    }

    fn rehearsal(&self) -> bool {
        true
    }

    fn die(&mut self) -> Fault {
        self.dead = true;
        Fault::new(FaultCode::Crashed, "the host has lost power")
    }
}

/// As on a real host.
fn temporary(path: &Path) -> PathBuf {
    path.with_file_name(super::temporary_name(path.file_name().unwrap_or_default()))
}

fn all(content: &mut dyn Read) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(|e| Fault::io("read a content", &e))?;
    Ok(bytes)
}
