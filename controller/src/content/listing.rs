//! What a directory shall hold, checked: names stay inside, links lead nowhere else, nothing is there twice, and no
//! entry lies behind a link or in a file. Pure; the one guard for trees and for archives, however hostile.

use std::collections::{BTreeMap, VecDeque};

use weiche_agent::resources::entries::{Entries, Entry, MAX_ENTRIES};

/// Longest part of a name, from limits.h (`NAME_MAX`).
const MAX_PART: usize = 255;
/// Longest name: below `PATH_MAX` together with where it goes.
const MAX_NAME: usize = 3000;
/// Deepest nesting: what the agent follows.
const MAX_DEPTH: usize = 60;
/// Links that are followed in one path, from path_resolution(7).
const MAX_LINKS: usize = 40;

/// Reads a name: its parts, without `.` and empty ones.
///
/// # Errors
/// Why it is refused: it is absolute, leads out, is too long or no text.
pub fn name(raw: &[u8]) -> Result<String, String> {
    let shown = || String::from_utf8_lossy(&raw[..raw.len().min(80)]).escape_debug().to_string();
    let text = std::str::from_utf8(raw).map_err(|_| format!("the name `{}` is not UTF-8", shown()))?;
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let problem = if text.starts_with('/') {
        "is absolute"
    } else if parts.contains(&"..") {
        "has `..` in it"
    } else if text.contains('\0') {
        "has a NUL in it"
    } else if parts.len() > MAX_DEPTH || text.len() > MAX_NAME || parts.iter().any(|part| part.len() > MAX_PART) {
        "is too long"
    } else {
        return Ok(parts.join("/"));
    };
    Err(format!("the name `{}` {problem}", shown()))
}

/// Collects entries, each with the directories it lies in.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Entries,
}

impl Listing {
    /// Adds an entry by its checked name. The directory itself (an empty name) and directories that are known are fine.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn add(&mut self, name: &str, entry: Entry) -> Result<(), String> {
        if name.is_empty() {
            return if entry == Entry::Directory { Ok(()) } else { Err("an entry has no name".into()) };
        }
        for (at, _) in name.match_indices('/') {
            let above = &name[..at];
            match self.entries.get(above) {
                None => drop(self.entries.insert(above.to_owned(), Entry::Directory)),
                Some(Entry::Directory) => {}
                Some(_) => return Err(format!("`{name}` lies behind `{above}`, which is no directory")),
            }
        }
        match (self.entries.get(name), &entry) {
            (None, _) => drop(self.entries.insert(name.to_owned(), entry)),
            (Some(Entry::Directory), Entry::Directory) => {}
            (Some(_), _) => return Err(format!("`{name}` is there twice")),
        }
        if self.entries.len() > MAX_ENTRIES {
            return Err(format!("there are more than {MAX_ENTRIES} entries"));
        }
        Ok(())
    }

    /// What stands under a name so far.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The entries as they are, links unchecked.
    pub fn unchecked(self) -> Entries {
        self.entries
    }

    /// Without the first `strip` parts of every name; what has no more is left out.
    ///
    /// # Errors
    /// If names become the same, or nothing is left.
    pub fn strip(self, strip: u8) -> Result<Listing, String> {
        let mut stripped = Listing::default();
        for (name, entry) in self.entries {
            if let Some(rest) = name.splitn(usize::from(strip) + 1, '/').nth(usize::from(strip)) {
                stripped.add(rest, entry)?;
            }
        }
        Ok(stripped)
    }

    /// The entries, with all links checked.
    ///
    /// # Errors
    /// Which link leads out, or round and round.
    pub fn finish(self) -> Result<Entries, String> {
        for (name, entry) in &self.entries {
            if let Entry::Symlink(target) = entry {
                inside(&self.entries, name, target).map_err(|why| {
                    format!("the link `{name}` to `{}` {why}", target.chars().take(80).collect::<String>())
                })?;
            }
        }
        Ok(self.entries)
    }
}

/// Whether a link, followed as the kernel does it, stays inside. It may lead to nothing.
fn inside(entries: &BTreeMap<String, Entry>, name: &str, target: &str) -> Result<(), &'static str> {
    let mut at: Vec<&str> = name.split('/').collect();
    at.pop();
    let mut left: VecDeque<&str> = VecDeque::from([]);
    let mut target = target;
    for _ in 0..=MAX_LINKS {
        if target.is_empty() || target.starts_with('/') || target.len() > MAX_NAME || target.contains('\0') {
            return Err("is not relative, or no path");
        }
        for part in target.rsplit('/') {
            left.push_front(part);
        }
        loop {
            match left.pop_front() {
                None => return Ok(()),
                Some("" | ".") => {}
                Some("..") => drop(at.pop().ok_or("leads out of the directory")?),
                Some(part) => {
                    at.push(part);
                    if let Some(Entry::Symlink(next)) = entries.get(&at.join("/")) {
                        at.pop();
                        target = next;
                        break;
                    }
                }
            }
        }
    }
    Err("leads round and round")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(list: &[(&str, &str)]) -> Result<Entries, String> {
        let mut listing = Listing::default();
        for (name, target) in list {
            let entry = if target.is_empty() { Entry::Directory } else { Entry::Symlink((*target).to_owned()) };
            listing.add(name, entry)?;
        }
        listing.finish()
    }

    #[test]
    fn names_stay_inside() {
        for (raw, read) in [("a", "a"), ("./a//b/", "a/b"), ("./", ""), ("a/...", "a/..."), ("ä\n", "ä\n")] {
            assert_eq!(name(raw.as_bytes()).as_deref(), Ok(read));
        }
        let long = "x".repeat(256);
        let deep = "d/".repeat(61);
        for raw in ["/etc/passwd", "../a", "a/../b", "a/..", "a\0b", long.as_str(), deep.as_str()] {
            assert!(name(raw.as_bytes()).is_err(), "{raw:?}");
        }
        assert!(name(b"a\xff").is_err());
    }

    #[test]
    fn links_stay_inside() {
        for good in [
            vec![("a", "b")],
            vec![("d", ""), ("d/up", "../x/./y")],
            vec![("here", ".")],
            vec![("d/e", ""), ("l", "d/e"), ("m", "l/..")],
        ] {
            assert!(links(&good).is_ok(), "{good:?}");
        }
        for bad in [
            vec![("a", "/etc")],
            vec![("a", "..")],
            vec![("d", ""), ("d/a", "../../x")],
            // Each word for word inside, but `d/e/up/..` is above the directory.
            vec![("d/e", ""), ("d/e/up", "../.."), ("out", "d/e/up/../x")],
            vec![("a", "b"), ("b", "a")],
            vec![("a", "a/x")],
        ] {
            assert!(links(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_lies_behind_a_link_or_twice() {
        assert!(links(&[("a", "b"), ("a/x", "y")]).is_err());
        assert!(links(&[("a/x", "y"), ("a", "b")]).is_err());
        assert!(links(&[("a", "b"), ("a", "b")]).is_err());
        assert!(links(&[("a", ""), ("a", ""), ("a/x", "y")]).is_ok());
    }

    #[test]
    fn leading_parts_are_left_out() {
        let mut listing = Listing::default();
        for name in ["top/a/b", "top/c", "readme"] {
            listing.add(name, Entry::Directory).unwrap();
        }
        let names: Vec<String> = listing.strip(1).unwrap().finish().unwrap().into_keys().collect();
        assert_eq!(names, ["a", "a/b", "c"]);
        let mut same = Listing::default();
        same.add("a/x", Entry::Symlink("p".into())).unwrap();
        same.add("b/x", Entry::Symlink("q".into())).unwrap();
        assert!(same.strip(1).is_err());
    }
}
