//! What `package` asks of dnf 4 and rpm: dnf(8), rpm(8). Versions are `[EPOCH:]VERSION-RELEASE.ARCH`, as dnf shows them.
//!
//! What dnf would do is read from the table that `--assumeno` shows: dnf 4 has no other form for it, and dnf 5 has other
//! words, so there nothing is changed. What is carried out goes through `dnf shell`, which alone installs, downgrades
//! and removes in one transaction. rpm does not know of a transaction that was cut off; dnf's history does, see
//! [`repair`].

mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::apt::{change, read, run};
use super::{Installed, Spec, rpms};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::Cx;
use crate::resources::node::Presence;
use said::{Row, interrupted, refusal, table};

/// The metadata stay as they are, as apt's index does; only what was named goes; another dnf is not waited for.
pub(super) const OPTIONS: [&str; 3] =
    ["--setopt=*.metadata_expire=never", "--setopt=clean_requirements_on_remove=False", "--setopt=exit_on_lock=True"];

/// Tab-separated, because no part has tabs.
pub(super) const FORMAT: &str = r"%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n";

type Packages = BTreeMap<String, Installed>;

/// Touched packages with their new version, `None` for a removal.
pub(super) type Outcome = BTreeMap<String, Option<String>>;

/// Looks up packages; `marks` also asks which came as dependencies only (else `auto` is `false`). Of a package that is
/// there several times (kernels, architectures) the version is all versions, separated by spaces.
pub(super) fn query(names: &[String], marks: bool, cx: &mut Cx<'_>) -> Result<Packages, Fault> {
    let mut packages: Packages = names.iter().map(|n| (n.clone(), Installed::Absent)).collect();
    if names.is_empty() {
        return Ok(packages);
    }
    let stdout = answer(read(["rpm", "-q", "--qf", FORMAT], names, cx)?)?;
    for (name, version) in rows(&stdout) {
        let name = key(name, &version, names);
        match packages.get_mut(&name) {
            Some(Installed::Installed { version: all, .. }) if *all != version => *all += &format!(" {version}"),
            Some(entry @ Installed::Absent) => *entry = Installed::Installed { version, auto: false, hold: false },
            _ => {}
        }
    }
    if marks && packages.values().any(|package| package.version().is_some()) {
        let chosen = chosen(cx)?;
        for (name, package) in &mut packages {
            if let Installed::Installed { version, auto, .. } = package {
                *auto = !chosen.contains(plain(name, version));
            }
        }
    }
    Ok(packages)
}

/// Every package that rpm knows.
pub(super) fn inventory(cx: &mut Cx<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let stdout = answer(read(["rpm", "-qa", "--qf", FORMAT], &[], cx)?)?;
    let chosen = chosen(cx)?;
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    for (name, version) in rows(&stdout) {
        let mark = if chosen.contains(name) { "" } else { ", automatic" };
        let words = format!("{version}{mark}");
        // rpm's order is that of its database.
        let mut all: Vec<&str> = packages.get(name).map(|all| all.split("; ").collect()).unwrap_or_default();
        all.push(&words);
        all.sort_unstable();
        let all = all.join("; ");
        packages.insert(name.to_owned(), all);
    }
    Ok(packages)
}

/// The paths of packages' configuration files.
pub(super) fn config_files(names: &[String], cx: &mut Cx<'_>) -> Result<Vec<String>, Fault> {
    let stdout = answer(read(["rpm", "-q", "--configfiles"], names, cx)?)?;
    Ok(stdout.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect())
}

/// Whether an installed version is the wanted one, which may leave out epoch and architecture.
pub(super) fn is_version(installed: &str, wanted: &str) -> bool {
    let parts = |version: &str| version.split_once(':').map_or(version.to_owned(), |(_, rest)| rest.to_owned());
    let without_epoch = if wanted.contains(':') { installed.to_owned() } else { parts(installed) };
    let wanted = wanted.strip_prefix("0:").unwrap_or(wanted);
    without_epoch.strip_prefix(wanted).is_some_and(|rest| {
        // What is left may be the architecture only: a wanted version has its release.
        rest.is_empty() || wanted.contains('-') && rest.strip_prefix('.').is_some_and(|arch| !arch.contains('.'))
    })
}

/// What dnf would do for a spec.
///
/// # Errors
/// In dnf's words, classified; or what would come out of it is not what the spec asks for.
pub(super) fn plan(spec: &Spec, cx: &mut Cx<'_>) -> Result<Outcome, Fault> {
    known(cx)?;
    let word = match &spec.version {
        Some(version) => format!("{}-{version}", spec.name),
        None => spec.name.clone(),
    };
    let verb = if spec.state == Presence::Absent { "remove" } else { "install" };
    let request = [verb.to_owned(), word];
    let output = read(["dnf"].into_iter().chain(OPTIONS).chain(["--assumeno"]), &request, cx)?;
    let said = format!("{}\n{}", output.stdout, output.stderr);
    if !output.ok() && !said.contains("Operation aborted") {
        return Err(refusal(&output, &request.join(" ")));
    }
    let names = std::slice::from_ref(&spec.name);
    let rows = table(&output.stdout)?;
    let outcome = keyed(&rows, names);
    let fits = match (outcome.get(&spec.name), &spec.version) {
        (Some(None), _) => spec.state == Presence::Absent,
        (Some(Some(version)), Some(wanted)) => is_version(version, wanted),
        (Some(Some(_)), None) => spec.state == Presence::Present,
        (None, _) => false,
    };
    if !fits {
        let instead: Vec<&str> = outcome.keys().map(String::as_str).collect();
        let instead = if instead.is_empty() { "nothing".to_owned() } else { instead.join(", ") };
        let message = format!("`dnf {}` would not do that: it would change {instead}", request.join(" "));
        let hint = "name the package itself, not what it provides; a version is `[EPOCH:]VERSION-RELEASE`, as \
            `dnf list --showduplicates NAME` shows it";
        return Err(Fault::new(FaultCode::NotFound, message).hint(hint));
    }
    let names: Vec<String> = outcome.keys().cloned().collect();
    for (name, package) in query(&names, false, cx)? {
        let version = package.version().unwrap_or_default();
        // A kernel, or another architecture: dnf installs it beside what is there.
        let same = |row: &&Row| key(&row.name, &row.version, std::slice::from_ref(&name)) == name && row.comes;
        let beside = !version.is_empty() && rows.iter().filter(same).any(|row| row.new);
        if version.contains(' ') || beside || rows.iter().filter(same).count() > 1 {
            let message = format!("{name} is or would be there several times ({version})");
            let hint = "`package` cannot undo that: install it with a `command` step, or leave it as it is";
            return Err(Fault::new(FaultCode::Unsupported, message).hint(hint));
        }
    }
    Ok(outcome)
}

/// Makes exactly these packages be so, from wherever an earlier attempt stopped.
pub(super) fn make(to: &Packages, cx: &mut Cx<'_>) -> Result<(), Fault> {
    known(cx)?;
    let names: Vec<String> = to.keys().cloned().collect();
    repair(to, &names, cx)?;
    let mut have = query(&names, true, cx)?;
    let (mut come, mut go) = (Vec::new(), Vec::new());
    for (name, should) in to {
        match should {
            Installed::Installed { version, .. } if have[name].version() != Some(version) => {
                come.push(source(name, version, cx)?);
            }
            Installed::Absent | Installed::ConfigFiles if !have[name].gone() => go.push(name.clone()),
            _ => {}
        }
    }
    // Files have to come in the first command, all in one.
    let lines: Vec<String> = [("install", come), ("remove", go)]
        .into_iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(verb, words)| format!("{verb} {}", words.join(" ")))
        .collect();
    if !lines.is_empty() {
        let said = shell(&lines, "--assumeno", cx)?;
        let outcome = keyed(&table(&said.stdout)?, &names);
        let differs = |name: &&String| {
            let is = have.get(*name).and_then(Installed::version).map(str::to_owned);
            let then = outcome.get(*name).cloned().unwrap_or(is);
            to.get(*name).is_none_or(|should| should.version() != then.as_deref())
        };
        let differing: BTreeSet<&String> = outcome.keys().chain(to.keys()).filter(differs).collect();
        if !differing.is_empty() {
            let (own, others): (Vec<&str>, Vec<&str>) =
                differing.into_iter().map(String::as_str).partition(|name| to.contains_key(*name));
            if others.is_empty() {
                return Err(
                    refusal(&said, &lines.join("; ")).within(format!("dnf would not change {}", own.join(", ")))
                );
            }
            let message = format!("dnf would also change {}, which this step does not cover", others.join(", "));
            let hint = "packages were installed or upgraded since that depend on the old state: remove or declare them";
            return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        }
        carry_out(&lines, cx)?;
        have = query(&names, true, cx)?;
    }
    mark(&have, to, cx)?;
    let have = query(&names, true, cx)?;
    let differs = names.iter().filter(|name| !super::apt::alike(&have[*name], &to[*name]));
    let differs: Vec<String> = differs.map(|n| format!("{n} is {:?}, not {:?}", have[n], to[n])).collect();
    if differs.is_empty() { Ok(()) } else { Err(Fault::new(FaultCode::NotConverged, differs.join("; "))) }
}

/// Brings the packages of a transaction that was cut off to rest. rpm's database then has both versions of a package,
/// or says nothing of files that are already there; only dnf's history tells. Afterwards its last entry is whole.
fn repair(to: &Packages, names: &[String], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let history = read(["dnf", "-q", "--disablerepo=*", "history", "info", "last"], &[], cx)?;
    let cut = keyed(&interrupted(&history.stdout), names);
    if !cut.keys().any(|name| to.contains_key(name)) {
        return Ok(());
    }
    // Of two versions the one that came last has all its files: the other's record goes, and what only it had.
    for name in names {
        let of = ["rpm", "-q", "--qf", "%{INSTALLTIME}\\t%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\\n"];
        let output = read(of, std::slice::from_ref(name), cx)?;
        let mut there: Vec<(u64, &str)> = output.stdout.lines().filter_map(said::timed).collect();
        there.sort_unstable();
        there.pop();
        let old: Vec<String> = there.into_iter().map(|(_, package)| package.to_owned()).collect();
        if cut.contains_key(name) && !old.is_empty() {
            let argv = ["rpm", "-e", "--nodeps", "--noscripts", "--notriggers"];
            change(argv, &old, cx)?.expect_ok(&argv.map(String::from))?;
        }
    }
    let have = query(names, false, cx)?;
    let (mut whole, mut unknown) = (Vec::new(), Vec::new());
    for (name, version) in &cut {
        match (have.get(name), version) {
            (Some(Installed::Installed { version, .. }), _) => whole.push(source(name, version, cx)?),
            // rpm knows nothing of it, and yet its files may be there: it comes in full, and is removed below.
            (Some(_), Some(version)) => unknown.push(source(name, version, cx)?),
            _ => {}
        }
    }
    for (verb, words) in [("reinstall", whole), ("install", unknown)] {
        if !words.is_empty() {
            carry_out(&[format!("{verb} {}", words.join(" "))], cx)?;
        }
    }
    Ok(())
}

/// Where a version is taken from: undo does not depend on what the repositories still offer.
fn source(name: &str, version: &str, cx: &mut Cx<'_>) -> Result<String, Fault> {
    let kept = rpms::kept(name, version, cx)?;
    Ok(kept.unwrap_or_else(|| format!("{}-{version}", plain(name, version))))
}

/// Runs lines of `dnf shell`, which ends with status 0 even if it did nothing.
fn carry_out(lines: &[String], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let output = shell(lines, "-y", cx)?;
    let failed = said::lines(&output).any(|line| line.starts_with("Error"));
    if output.ok() && !failed { Ok(()) } else { Err(refusal(&output, &lines.join("; "))) }
}

fn shell(lines: &[String], option: &str, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    let argv = ["dnf"].into_iter().chain(OPTIONS).chain([option, "shell"]);
    let command = Command::changing(argv, cx.timeout);
    let stdin = format!("{}\nrun\n", lines.join("\n")).into_bytes();
    run(Command { stdin, effect: option == "-y", ..command }, cx)
}

/// Sets marks where they differ.
fn mark(have: &Packages, to: &Packages, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, should) in to {
        if let (Installed::Installed { auto, .. }, Installed::Installed { auto: is, .. }) = (should, &have[name])
            && auto != is
        {
            lists.entry(if *auto { "remove" } else { "install" }).or_default().push(name.clone());
        }
    }
    for (verb, names) in lists {
        let argv = ["dnf", "-q", "--disablerepo=*", "mark", verb];
        change(argv, &names, cx)?.expect_ok(&argv.map(String::from))?;
    }
    Ok(())
}

/// The packages that somebody asked for.
fn chosen(cx: &mut Cx<'_>) -> Result<BTreeSet<String>, Fault> {
    // Without repositories: nothing is fetched for it.
    let argv = ["dnf", "-q", "--disablerepo=*", "repoquery", "--userinstalled", "--qf", "%{name}"];
    let output = read(argv, &[], cx)?.expect_ok(&argv.map(String::from))?;
    Ok(output.stdout.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Only dnf 4 is known.
fn known(cx: &mut Cx<'_>) -> Result<(), Fault> {
    let program = Path::new("/usr/bin/dnf");
    let link = cx.host.lstat(program)?.is_some_and(|meta| meta.file_type == crate::host::FileType::Symlink);
    if link && cx.host.read_link(program)?.ends_with("dnf5") {
        let fault = Fault::new(FaultCode::Unsupported, "packages are not changed with dnf 5");
        return Err(fault.hint("`package` knows dnf 4; change it with a `command` step"));
    }
    Ok(())
}

/// What `rpm -q` says. Its status is the number of packages that it does not know, which is an answer.
fn answer(output: Output) -> Result<String, Fault> {
    let failed = output.status >= 128 || output.stderr.lines().any(|line| line.starts_with("error:"));
    if failed { output.expect_ok(&["rpm -q".into()]).map(|output| output.stdout) } else { Ok(output.stdout) }
}

/// Reads lines of [`FORMAT`]; an epoch of 0 is none.
pub(super) fn rows(stdout: &str) -> impl Iterator<Item = (&str, String)> {
    let fields = stdout.lines().filter_map(|line| line.split_once('\t'));
    fields.map(|(name, version)| (name, version.strip_prefix("0:").unwrap_or(version).to_owned()))
}

/// How a package is named among `names`: as `NAME.ARCH` if so asked for.
fn key(name: &str, version: &str, names: &[String]) -> String {
    let qualified = version.rsplit_once('.').map(|(_, arch)| format!("{name}.{arch}")).unwrap_or_default();
    if names.contains(&qualified) { qualified } else { name.to_owned() }
}

fn keyed(rows: &[Row], names: &[String]) -> Outcome {
    let mut outcome = Outcome::new();
    for row in rows {
        let name = key(&row.name, &row.version, names);
        // What comes counts: a package may replace itself.
        let entry = outcome.entry(name).or_default();
        if row.comes {
            *entry = Some(row.version.clone());
        }
    }
    outcome
}

/// The name without the architecture of its version.
pub(super) fn plain<'a>(name: &'a str, version: &str) -> &'a str {
    let arch = version.rsplit_once('.').map(|(_, arch)| arch).unwrap_or_default();
    name.strip_suffix(arch).and_then(|name| name.strip_suffix('.')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::{is_version, plain, rows};

    #[test]
    fn rows_of_rpm_are_read() {
        let said = "nginx\t1:1.20.1-16.el9.x86_64\npackage x is not installed\nbash\t0:5.1.8-9.el9.x86_64\n";
        let expected = [("nginx", "1:1.20.1-16.el9.x86_64".to_owned()), ("bash", "5.1.8-9.el9.x86_64".to_owned())];
        assert_eq!(rows(said).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn versions_may_leave_out_epoch_and_architecture() {
        #[rustfmt::skip]
        let cases = [
            ("1:1.20.1-16.el9.x86_64", "1:1.20.1-16.el9.x86_64", true),
            ("1:1.20.1-16.el9.x86_64", "1:1.20.1-16.el9", true),
            ("1:1.20.1-16.el9.x86_64", "1.20.1-16.el9", true),
            ("1:1.20.1-16.el9.x86_64", "2:1.20.1-16.el9", false),
            ("1:1.20.1-16.el9.x86_64", "1.20.1", false),
            ("1:1.20.1-16.el9.x86_64", "1.20.1-16", false),
            ("1:1.20.1-16.el9.x86_64", "1.20.1-1", false),
            ("5.1.8-9.el9.x86_64", "0:5.1.8-9.el9", true),
            ("5.1.8-9.x86_64", "5.1.8", false),
        ];
        for (installed, wanted, expected) in cases {
            assert_eq!(is_version(installed, wanted), expected, "{installed} {wanted}");
        }
    }

    #[test]
    fn names_may_have_the_architecture() {
        assert_eq!(plain("nginx.x86_64", "1-1.x86_64"), "nginx");
        assert_eq!(plain("python3.11", "3.11-1.x86_64"), "python3.11");
    }
}
