//! A value of the running kernel below `/proc/sys` (proc(5)), shared by `sysctl` and `hostname`. Such a file can be
//! written in place only, never replaced, so `tee` writes it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultCode};
use crate::host::{Command, read_text};
use crate::resource::Cx;

/// Where the kernel says what is mounted where (proc_pid_mountinfo(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

/// A value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Its words with one blank between them, as the kernel does not care; `None`: there is no such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// It cannot be written here: `/proc/sys` is mounted read-only, as in containers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Value {
    /// Reads the one at a path below `/proc/sys`.
    ///
    /// # Errors
    /// Those of the host.
    pub fn get(path: &str, cx: &mut Cx<'_>) -> Result<Value, Fault> {
        let value = read_text(cx.host, Path::new(path))?.map(|text| words(&text));
        let read_only = match (&value, read_text(cx.host, Path::new(MOUNTS))?) {
            (Some(_), Some(mounts)) => read_only(path, &mounts),
            _ => false,
        };
        Ok(Value { value, read_only })
    }

    /// With another value.
    ///
    /// # Errors
    /// `ReadOnly` if it has another one and cannot be written.
    pub fn want(&self, path: &str, value: &str) -> Result<Value, Fault> {
        let value = Some(words(value));
        if self.read_only && self.value != value {
            let fault = Fault::new(FaultCode::ReadOnly, format!("{path} is mounted read-only"));
            return Err(fault.hint("in a container, set it on the host that the container runs on"));
        }
        Ok(Value { value, ..self.clone() })
    }

    /// Makes the kernel have it.
    ///
    /// # Errors
    /// `CommandFailed` if the kernel refuses the value.
    pub fn put(&self, path: &str, now: &Value, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Some(value) = self.value.as_ref().filter(|_| self.value != now.value) else { return Ok(()) };
        let mut command = Command::changing(["tee", path], cx.timeout);
        command.stdin = format!("{value}\n").into_bytes();
        let output = cx.host.run(&command)?;
        output.expect_ok(&command.argv).map(drop)
    }

    /// The change as a line of a diff.
    pub fn change(&self, path: &str, wanted: &Value) -> Option<String> {
        let text = |value: &Value| value.value.clone().unwrap_or_else(|| "(none)".into());
        (self.value != wanted.value).then(|| format!("~ {path}: {} -> {}", text(self), text(wanted)))
    }
}

fn words(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the file system that holds a path is mounted read-only: the last mount with the longest path above it.
fn read_only(path: &str, mounts: &str) -> bool {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        let (at, options) = (fields.next()?, fields.next()?);
        let above = Path::new(path).starts_with(at);
        above.then(|| (at.len(), options.split(',').any(|option| option == "ro")))
    };
    // Of equals, `max_by_key` takes the last.
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).is_some_and(|(_, ro)| ro)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "1 0 0:1 / / ro,relatime - ext4 /dev/vda ro\n2 1 0:2 / /proc rw,nosuid - proc proc rw\n\
            3 2 0:2 /sys /proc/sys ro,nosuid - proc proc rw\n4 3 0:2 /sys/net /proc/sys/net rw - proc proc rw\n";
        assert!(read_only("/proc/sys/kernel/panic", mounts));
        assert!(!read_only("/proc/sys/net/ipv4/ip_forward", mounts));
        assert!(!read_only("/proc/sysrq-trigger", mounts));
        assert!(!read_only("/proc/sys/kernel/panic", ""));
        let twice = format!("{mounts}5 3 0:2 /sys /proc/sys rw - proc proc rw\n");
        assert!(!read_only("/proc/sys/kernel/panic", &twice));
    }
}
