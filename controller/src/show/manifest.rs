//! A manifest in the forms of public tools: mtree(5) for `mtree -f FILE -p /`, and `sha256sum -c FILE` (run in `/`).

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use weiche_agent::protocol::{Entry, EntryKind, HostPath};
use weiche_agent::resources::replica::path_of;

/// The form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// mtree(5), every path in full: `mtree -f FILE -p /` compares a host with it
    Mtree,
    /// Files only: `cd / && sha256sum -c FILE`
    Sha256sum,
}

impl Form {
    /// The first lines.
    pub fn head(self) -> &'static str {
        match self {
            Form::Mtree => "#mtree\n. type=dir\n",
            Form::Sha256sum => "",
        }
    }

    /// The lines of some entries.
    pub fn lines(self, entries: &[Entry]) -> String {
        let mut text = String::new();
        for entry in entries {
            match self {
                Form::Mtree => mtree(entry, &mut text),
                Form::Sha256sum => sha256sum(entry, &mut text),
            }
        }
        text
    }
}

fn mtree(entry: &Entry, text: &mut String) {
    let Entry { kind, mode, owner, group, mtime, .. } = entry;
    // Writing to a string does not fail.
    let _ = write!(text, ".{} ", octal(&entry.path));
    let _ = match kind {
        EntryKind::File { size, digest } => {
            let digest = digest.as_ref().map_or_else(String::new, |digest| format!(" sha256={digest}"));
            write!(text, "type=file size={size} time={}.{:09}{digest}", mtime.0, mtime.1)
        }
        EntryKind::Directory => write!(text, "type=dir"),
        EntryKind::Symlink { target } => write!(text, "type=link link={}", octal(target)),
    };
    let mode = if matches!(kind, EntryKind::Symlink { .. }) { String::new() } else { format!(" mode={mode:04o}") };
    let _ = writeln!(text, "{mode} uid={owner} gid={group}");
}

/// As vis(3) writes names in mtree(5): what is not plain ASCII, in octal.
fn octal(path: &HostPath) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'*' | b'?' | b'[' | b'=');
    let path = path_of(path);
    let word = |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("\\{byte:03o}") };
    path.as_os_str().as_bytes().iter().map(word).collect()
}

/// As sha256sum(1) writes it: a name with a backslash or newline is escaped, and its line begins with a backslash.
/// Names that are no UTF-8 are left out, because a text cannot hold them.
fn sha256sum(entry: &Entry, text: &mut String) {
    let (EntryKind::File { digest: Some(digest), .. }, HostPath::Text(path)) = (&entry.kind, &entry.path) else {
        return;
    };
    let name = path.trim_start_matches('/');
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    let _ = writeln!(text, "{mark}{digest}  {escaped}");
}
