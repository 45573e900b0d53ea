//! What dnf 4 prints: the table of a transaction, the history, errors. Pure.

use crate::fault::{Fault, FaultCode};
use crate::host::Output;

/// A package in a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    /// As everywhere here: `[EPOCH:]VERSION-RELEASE.ARCH`.
    pub(super) version: String,
    /// Whether this version comes; else it goes.
    pub(super) comes: bool,
    /// Whether it comes beside what is there, rather than instead of it.
    pub(super) new: bool,
}

/// Reads the table that dnf shows before it asks.
///
/// Each section has a heading and rows of NAME ARCH VERSION REPOSITORY SIZE, indented by one blank; what does not fit
/// a column goes on in the next line, further in. `replacing NAME.ARCH VERSION` tells what a package makes obsolete.
///
/// # Errors
/// `Unsupported` if the transaction would do what undo cannot take back.
pub(super) fn table(stdout: &str) -> Result<Vec<Row>, Fault> {
    let mut rows: Vec<Vec<&str>> = Vec::new();
    let mut section = "";
    for line in stdout.lines() {
        if line.trim_end() == "Transaction Summary" {
            break;
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        let words: Vec<&str> = line.split_whitespace().collect();
        match (indent, rows.last_mut()) {
            (0, _) if line.trim_end().ends_with(':') => {
                section = line.trim_end().trim_end_matches(':');
                if section.starts_with("Enabling") || section.starts_with("Switching") {
                    let message = "dnf would enable a module stream, which undo would leave behind";
                    let hint = "enable it in a step before, with `dnf module enable`";
                    return Err(Fault::new(FaultCode::Unsupported, message).hint(hint));
                }
            }
            _ if words.is_empty() => section = "",
            (1, _) if !section.is_empty() => rows.push([vec![section], words].concat()),
            (2.., Some(_)) if words[0] == "replacing" => rows.push(words),
            (2.., Some(row)) if !section.is_empty() => row.extend(words),
            _ => {}
        }
    }
    Ok(rows.iter().filter_map(|row| read(row)).collect())
}

fn read(row: &[&str]) -> Option<Row> {
    if let ["replacing", package, version] = row {
        let (name, arch) = package.rsplit_once('.')?;
        return Some(Row { name: name.into(), version: format!("{version}.{arch}"), comes: false, new: false });
    }
    let [section, name, arch, version, ..] = row else { return None };
    let verb = section.split(' ').next()?;
    let comes = match verb {
        "Installing" | "Upgrading" | "Downgrading" | "Reinstalling" => true,
        "Removing" => false,
        _ => return None,
    };
    let new = verb == "Installing";
    Some(Row { name: (*name).into(), version: format!("{version}.{arch}"), comes, new })
}

/// Reads what of the last transaction was cut off: lines ` ** VERB NAME-VERSION @REPOSITORY` of `dnf history info`.
pub(super) fn interrupted(stdout: &str) -> Vec<Row> {
    let row = |line: &str| {
        let mut words = line.trim_start().strip_prefix("** ")?.split_whitespace();
        let verb = words.next()?;
        let (name, version) = split(words.next()?)?;
        let comes = matches!(verb, "Install" | "Upgrade" | "Downgrade" | "Reinstall" | "Dep-Install");
        Some(Row { name: name.into(), version: version.into(), comes, new: verb.ends_with("Install") })
    };
    stdout.lines().filter_map(row).collect()
}

/// Splits NAME-[EPOCH:]VERSION-RELEASE.ARCH; neither version nor release have a hyphen.
fn split(package: &str) -> Option<(&str, &str)> {
    let release = package.rfind('-')?;
    let version = package[..release].rfind('-')?;
    Some((&package[..version], &package[version + 1..]))
}

/// Reads `SECONDS<TAB>PACKAGE`.
pub(super) fn timed(line: &str) -> Option<(u64, &str)> {
    let (time, package) = line.split_once('\t')?;
    Some((time.parse().ok()?, package))
}

/// All lines, without the prompts of `dnf shell`.
pub(super) fn lines(output: &Output) -> impl Iterator<Item = &str> {
    let lines = output.stdout.lines().chain(output.stderr.lines());
    lines.map(|line| line.trim_start_matches("> ").trim()).filter(|line| !line.is_empty())
}

/// Says what dnf means.
pub(super) fn refusal(output: &Output, request: &str) -> Fault {
    let said = format!("{}\n{}", output.stderr, output.stdout);
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let (code, hint) = if any(&["lready running", "process with pid", "Failed to obtain"]) || output.status == 200 {
        (FaultCode::Busy, "another dnf works on the host (dnf-automatic, dnf-makecache?): wait for it to end")
    } else if any(&["protected packages"]) {
        (FaultCode::Conflict, "the host would no longer work; choose another way")
    } else if any(&["nothing provides", "conflicting requests", "Problem:", "conflicts with"]) {
        (FaultCode::Conflict, "declare the packages that it names, in matching versions, before this one")
    } else if any(&["Unable to find a match", "No match for argument", "No package"]) {
        let hint = "check the name with `dnf list --showduplicates NAME` on the host, or run `dnf makecache`: its \
            metadata may be old; excluded and locked versions are not found either";
        (FaultCode::NotFound, hint)
    } else if any(&["No space left", "more space needed", "needed on the"]) {
        (FaultCode::NoSpace, "free some space, e.g. with `dnf clean packages`")
    } else if any(&["Failed to download", "Cannot download", "Curl error", "no cache for"]) {
        (FaultCode::CommandFailed, "a repository could not be reached, or no longer has what the metadata list")
    } else if any(&["GPG check FAILED", "is not signed", "Public key for"]) {
        (FaultCode::CommandFailed, "import the repository's key on the host with `rpm --import`")
    } else {
        (FaultCode::CommandFailed, "see /var/log/dnf.log and /var/log/dnf.rpm.log on the host")
    };
    let telling = |line: &&str| {
        let begins = ["Error", "Problem", "- ", "No match", "No package", "error:", "Failed"];
        begins.iter().any(|word| line.starts_with(word)) && !line.ends_with(':') && *line != "Error: Operation aborted."
    };
    let mut errors: Vec<&str> = lines(output).filter(telling).collect();
    errors.dedup();
    let errors = errors.join("; ");
    let cause = if errors.is_empty() { said.trim() } else { &errors };
    let end = cause.char_indices().nth_back(1999).map_or(cause, |(at, _)| &cause[at..]);
    Fault::new(code, end).within(format!("`dnf {request}` ended with status {}", output.status)).hint(hint)
}

#[cfg(test)]
#[path = "said/tests.rs"]
mod tests;
