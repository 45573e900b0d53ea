//! The fleet's secret, `.weiche/seed`: 32 random bytes, made when a playbook first needs keys. Of it and a plan's nonce
//! the keys of direct transfers are made, so that none of them is stored.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::exit::Failure;
use crate::drive::clock::nonce;

/// What it consists of.
pub(super) type Seed = [u8; 32];

fn place(fleet: &Path) -> PathBuf {
    fleet.join(".weiche/seed")
}

/// Reads it.
///
/// # Errors
/// There is none, or one that others may read, or that is cut: the operator can restore it.
pub(super) fn read(fleet: &Path) -> Result<Seed, Failure> {
    let path = place(fleet);
    try_read(&path)?.ok_or_else(|| {
        Failure::new(format!("there is no {}, and the plan's keys were made with it", path.display()))
            .hint("bring it back; without it the run can be taken back (`weiche rollback`) and planned anew")
    })
}

/// Reads it, or makes one if there is none.
///
/// # Errors
/// As for [`read`], or it cannot be written.
pub(super) fn read_or_make(fleet: &Path) -> Result<Seed, Failure> {
    let path = place(fleet);
    if let Some(seed) = try_read(&path)? {
        return Ok(seed);
    }
    let fail = |what: &str| {
        let what = format!("{what} {}", path.display());
        move |e| Failure::of(&what, &e)
    };
    let mut seed = Seed::default();
    // See random(4); the standard library has nothing for secrets.
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut seed))
        .map_err(fail("make a secret for"))?;
    let directory = path.parent().unwrap_or(fleet);
    fs::create_dir_all(directory).map_err(fail("make the directory of"))?;
    // It gets its name whole, and only if no other weiche was first.
    let beside = directory.join(format!("seed-{}", nonce()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&seed)?;
        file.sync_all()?;
        match fs::hard_link(&beside, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => File::open(directory)?.sync_all(),
        }
    };
    let written = write();
    let _ = fs::remove_file(&beside);
    written.map_err(fail("write"))?;
    read(fleet)
}

fn try_read(path: &Path) -> Result<Option<Seed>, Failure> {
    let fail = |e| Failure::of(&format!("read {}", path.display()), &e);
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(fail)?,
    };
    let mode = file.metadata().map_err(fail)?.mode();
    if mode & 0o077 != 0 {
        let message = format!("others than you may read {} (its mode is {:04o})", path.display(), mode & 0o7777);
        return Err(Failure::new(message).hint(format!("chmod 600 {}", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(Seed::default().len() as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    let seed = Seed::try_from(bytes).map_err(|_| {
        Failure::new(format!("{} is no seed: it must have 32 bytes", path.display()))
            .hint("bring it back; or, if no run is under way, remove it: another one is made")
    })?;
    Ok(Some(seed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_is_only_its_owner_s() {
        let fleet = tempfile::tempdir().unwrap();
        assert!(read(fleet.path()).is_err());
        let seed = read_or_make(fleet.path()).unwrap();
        assert_ne!(seed, [0; 32]);
        assert_eq!(read_or_make(fleet.path()).unwrap(), seed);
        assert_eq!(read(fleet.path()).unwrap(), seed);
        let path = place(fleet.path());
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.nlink(), metadata.len()), (0o600, 1, 32));
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["seed"]);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(read_or_make(other.path()).unwrap(), seed);
    }

    #[test]
    fn what_others_may_read_and_what_is_cut_or_longer_is_refused() {
        let fleet = tempfile::tempdir().unwrap();
        read_or_make(fleet.path()).unwrap();
        let path = place(fleet.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_or_make(fleet.path()).unwrap_err().to_string().contains("0640"));
        for length in [0, 31, 33] {
            fs::write(&path, vec![7; length]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(read_or_make(fleet.path()).unwrap_err().to_string().contains("32 bytes"), "{length}");
        }
    }
}
