//! Real file systems for a test, in files: ext4, xfs, btrfs, tmpfs.
//!
//! They are mounted in a mount namespace that only the test's own thread (and what it starts) is in, so the machine
//! never sees them, and the kernel unmounts them when the thread ends, however it ends. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

use crate::tool;

/// Says why no file system can be mounted here.
///
/// # Errors
///
/// The missing right or the names of the missing programs; `tests/setup.sh` installs them.
pub fn available() -> Result<(), String> {
    const PROGRAMS: [&str; 8] =
        ["mount", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "chattr", "getfattr", "setfacl", "setcap"];
    if !rustix::process::geteuid().is_root() {
        return Err("not root".to_owned());
    }
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| tool::find(program).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not installed: {}", missing.join(", "))) }
}

/// Calls a function on a thread with mounts of its own; what it mounts goes with it.
pub fn alone<T: Send>(function: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare_mounts().unwrap_or_else(|error| panic!("a mount namespace: {error}"));
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .unwrap_or_else(|error| panic!("mounts of our own: {error}"));
            function()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[expect(unsafe_code, reason = "unsafe only for UnshareFlags::FILES, which is not asked for")]
fn unshare_mounts() -> rustix::io::Result<()> {
    // SAFETY: the table of file descriptors stays shared with all threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

/// A mounted file system, to be made within [`alone`].
#[derive(Debug)]
pub struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// Makes a file of that size hold a new file system (`ext4`, `xfs` or `btrfs`) and mounts it.
    ///
    /// # Panics
    /// If the machine cannot, as do all functions here.
    pub fn new(kind: &str, megabytes: u64) -> Disk {
        let disk = Disk::unmounted();
        let image = disk.image();
        let made = fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20));
        made.unwrap_or_else(|error| panic!("{}: {error}", image.display()));
        let quiet = if kind == "btrfs" { "-f" } else { "-q" };
        tool::run(&format!("mkfs.{kind}"), [quiet, tool::text(&image)]);
        disk.mount(kind);
        disk
    }

    /// Mounts a file system in memory; options as in `tmpfs(5)`.
    pub fn tmpfs(options: &str) -> Disk {
        let disk = Disk::unmounted();
        tool::run("mount", ["-t", "tmpfs", "-o", options, "tmpfs", tool::text(&disk.path())]);
        disk
    }

    /// A second disk with what the first one's device holds at this moment: what a power cut leaves. Nothing is synced
    /// or unmounted before, so the file system has to recover. Whoever writes to it must be stopped.
    pub fn after_a_power_cut(&self, kind: &str) -> Disk {
        let disk = Disk::unmounted();
        let (from, to) = (self.image(), disk.image());
        // Copying takes its time, and the kernel may be writing: it was a moment only if both are the same afterwards.
        for attempt in 1.. {
            tool::run("cp", ["--sparse=always", tool::text(&from), tool::text(&to)]);
            match tool::try_run(tool::command("cmp").args([&from, &to])) {
                Ok(_) => break,
                Err(differs) => assert!(attempt < 20, "{} does not come to rest: {differs}", from.display()),
            }
        }
        disk.mount(kind);
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// Changes its options, such as `ro` or `rw`.
    pub fn remount(&self, options: &str) {
        tool::run("mount", ["-o", &format!("remount,{options}"), tool::text(&self.path())]);
    }

    fn unmounted() -> Disk {
        let dir = tempfile::Builder::new().prefix("weiche-disk-").tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("mnt")).expect("our own directory");
        Disk { dir }
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mount(&self, kind: &str) {
        // A copy has the first one's identity, which xfs otherwise refuses to mount twice.
        let options = if kind == "xfs" { "loop,nouuid" } else { "loop" };
        tool::run("mount", ["-t", kind, "-o", options, tool::text(&self.image()), tool::text(&self.path())]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The mount goes with its namespace in any case; the directory can only be removed without it.
        let _ = tool::try_run(tool::command("umount").args(["--lazy", tool::text(&self.path())]));
    }
}

/// Runs a program that must succeed, such as `chattr`, and returns its stdout.
pub fn run(program: &str, arguments: &[&str]) -> String {
    tool::run(program, arguments)
}

/// Everything about a tree that has to be as it was, a line an entry: type, mode, owner, names, size, time, target,
/// content, whether it has holes, and getfattr(1) for extended attributes. Left out are the times of directories (a
/// file that comes and goes leaves a trace there) and the numbers of inodes but those that have several names.
pub fn manifest(root: &Path) -> String {
    let mut found = Found::default();
    walk(root, root, &mut found);
    let sums = sha256(&found.files);
    let lines = found.lines.into_iter().map(|(path, line)| match sums.get(&path) {
        Some(sum) => format!("{line} {sum}"),
        None => line,
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    let mut getfattr = tool::command("getfattr");
    getfattr.args(["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."]).current_dir(root);
    let attributes = tool::try_run(&mut getfattr).unwrap_or_else(|error| panic!("{error}"));
    let mut attributes: Vec<&str> = attributes.split("\n\n").collect();
    attributes.sort_unstable();
    lines.join("\n") + "\n" + &attributes.join("\n\n")
}

/// What is in a tree: a line each, and the regular files among them.
#[derive(Default)]
struct Found {
    lines: Vec<(PathBuf, String)>,
    files: Vec<PathBuf>,
}

/// The digests of files, by sha256sum(1), many files a program.
fn sha256(files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut sums = BTreeMap::new();
    for some in files.chunks(500) {
        let output = tool::command("sha256sum").args(["--zero", "--"]).args(some).output().expect("run sha256sum");
        assert!(output.status.success(), "sha256sum: {}", String::from_utf8_lossy(&output.stderr));
        for entry in output.stdout.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            // 64 digits, a blank, the mode, the name.
            let (sum, name) = entry.split_at(64);
            let name = std::ffi::OsString::from_vec(name[2..].to_vec());
            sums.insert(name.into(), String::from_utf8_lossy(sum).into_owned());
        }
    }
    sums
}

fn walk(root: &Path, path: &Path, found: &mut Found) {
    use std::os::unix::fs::MetadataExt as _;
    let fault = |error: std::io::Error| -> ! { panic!("{}: {error}", path.display()) };
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| fault(error));
    let name = path.strip_prefix(root).unwrap_or(path);
    let mut line = format!("{name:?} {:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap_or_else(|error| fault(error)) {
            walk(root, &entry.unwrap_or_else(|error| fault(error)).path(), found);
        }
    } else {
        line += &format!(" {} bytes at {}.{:09}", meta.size(), meta.mtime(), meta.mtime_nsec());
    }
    if meta.is_symlink() {
        line += &format!(" -> {:?}", fs::read_link(path).unwrap_or_else(|error| fault(error)));
    }
    if meta.is_file() {
        if meta.nlink() > 1 {
            line += &format!(" one of {} names of {}", meta.nlink(), meta.ino());
        }
        found.files.push(path.to_owned());
        if meta.blocks() * 512 < meta.size() && meta.size() > 4096 {
            line += " sparse";
        }
    }
    found.lines.push((path.to_owned(), line));
}
