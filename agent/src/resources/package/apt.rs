//! What `package` asks of apt and dpkg: apt-get(8), apt-mark(8), apt-cache(8), dpkg(1), dpkg-query(1).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::{Installed, Spec, archive};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::Cx;
use crate::resources::node::Presence;

/// Nothing is asked; edited configuration files stay as they are; another apt is waited for; exactly the packages that
/// were shown are touched.
pub(super) const OPTIONS: [&str; 12] = [
    "-y",
    "-q",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "DPkg::Lock::Timeout=60",
    "-o",
    "APT::Get::AutomaticRemove=false",
];

/// Only said of packages that we ourselves name with their version.
pub(super) const EXACTLY: [&str; 2] = ["--allow-downgrades", "--allow-change-held-packages"];

/// Tab-separated, because versions have no tabs.
const FORMAT: &str = r"${Package}\t${Architecture}\t${db:Status-Want}\t${db:Status-Status}\t${Version}\n";

type Packages = BTreeMap<String, Installed>;

/// Looks up packages; `marks` also asks which are marked as automatic (else `auto` is `false`).
pub(super) fn query(names: &[String], marks: bool, cx: &mut Cx<'_>) -> Result<Packages, Fault> {
    let mut packages: Packages = names.iter().map(|n| (n.clone(), Installed::Absent)).collect();
    if names.is_empty() {
        return Ok(packages);
    }
    let stdout = expect_answer(read(["dpkg-query", "-W", "-f", FORMAT], names, cx)?)?;
    let mut known = Vec::new();
    for line in stdout.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [package, arch, want, status, version] = fields.as_slice() else { continue };
        let qualified = format!("{package}:{arch}");
        let name = if packages.contains_key(&qualified) { qualified } else { (*package).to_owned() };
        let installed = match *status {
            "installed" => {
                known.push(name.clone());
                Installed::Installed { version: (*version).to_owned(), auto: false, hold: *want == "hold" }
            }
            "config-files" => Installed::ConfigFiles,
            "not-installed" => Installed::Absent,
            status => Installed::Broken { dpkg: status.to_owned() },
        };
        // Of several architectures under one name the first is the host's own.
        if let Some(entry @ Installed::Absent) = packages.get_mut(&name) {
            *entry = installed;
        }
    }
    if marks && !known.is_empty() {
        let output = read(["apt-mark", "showauto"], &known, cx)?.expect_ok(&["apt-mark showauto".into()])?;
        for name in output.stdout.lines() {
            if let Some(Installed::Installed { auto, .. }) = packages.get_mut(name.trim()) {
                *auto = true;
            }
        }
    }
    Ok(packages)
}

/// Every package that dpkg knows.
pub(super) fn inventory(cx: &mut Cx<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let stdout = expect_answer(read(["dpkg-query", "-W", "-f", FORMAT], &[], cx)?)?;
    let auto = read(["apt-mark", "showauto"], &[], cx)?.expect_ok(&["apt-mark showauto".into()])?.stdout;
    let auto: BTreeSet<&str> = auto.lines().map(str::trim).collect();
    let mut packages = BTreeMap::new();
    for line in stdout.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [package, arch, want, status, version] = fields.as_slice() else { continue };
        let marks = [(*want == "hold", ", held"), (auto.contains(package), ", automatic")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let words = match *status {
            "not-installed" => continue,
            "installed" => format!("{version}{marks}"),
            status => format!("{version}, {status}"),
        };
        packages.insert(format!("{package}:{arch}"), words);
    }
    Ok(packages)
}

/// The paths of packages' configuration files.
pub(super) fn config_files(names: &[String], cx: &mut Cx<'_>) -> Result<Vec<String>, Fault> {
    let output = read(["dpkg-query", "-W", "-f", "${Conffiles}\\n"], names, cx)?;
    Ok(expect_answer(output)?.lines().filter_map(conffile).map(str::to_owned).collect())
}

/// Reads a line ` PATH MD5` or ` PATH MD5 obsolete`.
fn conffile(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_suffix(" obsolete").unwrap_or(line);
    let (path, md5) = line.rsplit_once(' ')?;
    // A new file that was never unpacked has `newconffile` for a digest.
    (path.starts_with('/') && !md5.is_empty()).then_some(path)
}

/// What `dpkg-query` says. Status 1 tells that a name is unknown to dpkg, which is an answer.
fn expect_answer(output: Output) -> Result<String, Fault> {
    if output.status <= 1 { Ok(output.stdout) } else { output.expect_ok(&["dpkg-query".into()]).map(|o| o.stdout) }
}

/// The words behind `apt-get` that ask for what the spec wants.
pub(super) fn request(spec: &Spec) -> Vec<String> {
    match (spec.state, &spec.version) {
        (Presence::Absent, _) => vec!["remove".into(), spec.name.clone()],
        (Presence::Present, None) => vec!["install".into(), spec.name.clone()],
        (Presence::Present, Some(version)) => vec!["install".into(), format!("{}={version}", spec.name)],
    }
}

/// What apt would do: each touched package with its new version, `None` for a removal.
///
/// # Errors
/// In apt's words, classified.
pub(super) fn simulate(request: &[String], cx: &mut Cx<'_>) -> Result<BTreeMap<String, Option<String>>, Fault> {
    let options = ["apt-get", "--simulate"].into_iter().chain(OPTIONS).chain(EXACTLY);
    let output = read(options, request, cx)?;
    if !output.ok() {
        return Err(refusal(&output, request));
    }
    if output.stdout.contains("essential packages will be removed") {
        let message = format!("`apt-get {}` would remove essential packages", request.join(" "));
        return Err(Fault::new(FaultCode::Conflict, message).hint("the host would no longer work; choose another way"));
    }
    Ok(parse(&output.stdout))
}

/// Reads the `Inst`, `Remv` and `Purg` lines of `apt-get --simulate`.
pub(super) fn parse(stdout: &str) -> BTreeMap<String, Option<String>> {
    let mut outcome = BTreeMap::new();
    for line in stdout.lines() {
        let Some((verb, rest)) = line.split_once(' ') else { continue };
        let Some(name) = rest.split(' ').next() else { continue };
        match verb {
            // Inst nginx [1.18.0-6.1] (1.22.1-9 Debian:12.9/stable [amd64]) []
            "Inst" => {
                let version = rest.split_once('(').and_then(|(_, r)| r.split([' ', ')']).next());
                outcome.insert(name.to_owned(), version.map(str::to_owned));
            }
            "Remv" | "Purg" => drop(outcome.insert(name.to_owned(), None)),
            _ => {}
        }
    }
    outcome
}

/// Whether a package is as it should be. What `remove` leaves depends on the package, so both kinds of gone will do
/// where configuration files were left.
pub(super) fn alike(is: &Installed, should: &Installed) -> bool {
    match should {
        Installed::ConfigFiles => is.gone(),
        _ => is == should,
    }
}

/// Makes exactly these packages be so, from wherever an earlier attempt stopped.
pub(super) fn make(to: &Packages, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let names: Vec<String> = to.keys().cloned().collect();
    let mut have = query(&names, true, cx)?;
    if have.values().any(|p| matches!(p, Installed::Broken { .. })) || interrupted(cx)? {
        repair(&have, to, cx)?;
        have = query(&names, true, cx)?;
    }
    let mut words = Vec::new();
    for (name, should) in to {
        let is = &have[name];
        match should {
            Installed::Installed { version, .. } if is.version() != Some(version) => {
                // Undo does not depend on what the sources still offer.
                let word = archive::kept(name, version, cx)?.unwrap_or_else(|| format!("{name}={version}"));
                words.push(word);
            }
            Installed::Absent | Installed::ConfigFiles if !is.gone() => words.push(format!("{name}-")),
            _ => {}
        }
    }
    if !words.is_empty() {
        words.insert(0, "install".into());
        let also = simulate(&words, cx)?.into_iter().filter(|(name, version)| match to.get(name) {
            Some(should) => should.version() != version.as_deref(),
            None => true,
        });
        let also: Vec<String> = also.map(|(name, _)| name).collect();
        if !also.is_empty() {
            let message = format!("apt would also change {}, which this step does not cover", also.join(", "));
            let hint = "packages were installed or upgraded since that depend on the old state: remove or declare them";
            return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        }
        let options = ["apt-get"].into_iter().chain(OPTIONS).chain(EXACTLY);
        let output = change(options, &words, cx)?;
        if !output.ok() {
            return Err(refusal(&output, &words));
        }
        have = query(&names, true, cx)?;
    }
    let left = names.iter().filter(|n| to[*n] == Installed::Absent && have[*n] == Installed::ConfigFiles);
    let left: Vec<String> = left.cloned().collect();
    if !left.is_empty() {
        let argv = ["dpkg", "--purge"];
        change(argv, &left, cx)?.expect_ok(&argv.map(String::from))?;
        have = query(&names, true, cx)?;
    }
    mark(&have, to, cx)?;
    let have = query(&names, true, cx)?;
    let differs = names.iter().filter(|name| !alike(&have[*name], &to[*name]));
    let differs: Vec<String> = differs.map(|n| format!("{n} is {:?}, not {:?}", have[n], to[n])).collect();
    if differs.is_empty() { Ok(()) } else { Err(Fault::new(FaultCode::NotConverged, differs.join("; "))) }
}

/// Whether dpkg was stopped while it wrote its database (dpkg leaves its unmerged updates then).
fn interrupted(cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let updates = Path::new("/var/lib/dpkg/updates");
    Ok(cx.host.lstat(updates)?.is_some() && !cx.host.read_dir(updates)?.is_empty())
}

/// Lets dpkg finish what was interrupted, so that apt works again. Its failure is not final: what cannot be configured
/// may still be removed or replaced.
fn repair(have: &Packages, to: &Packages, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let configured = change(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"], &[], cx)?;
    if configured.ok() {
        return Ok(());
    }
    // A package whose unpacking was cut off can be neither configured nor removed without force.
    let torn = |name: &&String| matches!(&have[*name], Installed::Broken { dpkg } if dpkg == "half-installed");
    let torn: Vec<String> = to.keys().filter(torn).filter(|n| to[*n].gone()).cloned().collect();
    if !torn.is_empty() {
        change(["dpkg", "--force-remove-reinstreq", "--remove"], &torn, cx)?;
    }
    Ok(())
}

/// Sets marks and holds where they differ.
fn mark(have: &Packages, to: &Packages, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, should) in to {
        let (Installed::Installed { auto, hold, .. }, Installed::Installed { auto: is_auto, hold: is_hold, .. }) =
            (should, &have[name])
        else {
            continue;
        };
        if auto != is_auto {
            lists.entry(if *auto { "auto" } else { "manual" }).or_default().push(name.clone());
        }
        if hold != is_hold {
            lists.entry(if *hold { "hold" } else { "unhold" }).or_default().push(name.clone());
        }
    }
    for (verb, names) in lists {
        change(["apt-mark", verb], &names, cx)?.expect_ok(&["apt-mark".into(), verb.into()])?;
    }
    Ok(())
}

/// Says what apt means.
fn refusal(output: &Output, request: &[String]) -> Fault {
    let said = format!("{}\n{}", output.stderr, output.stdout);
    let (code, hint) = if said.contains("Unable to locate package") || said.contains("has no installation candidate") {
        (FaultCode::NotFound, "check the name, or run `apt-get update` on the host: its package index may be old")
    } else if said.contains("was not found") {
        (FaultCode::NotFound, "`apt-cache madison NAME` on the host lists the versions that it can get")
    } else if said.contains("Could not get lock") || said.contains("Unable to acquire") {
        (FaultCode::Busy, "another apt or dpkg works on the host (unattended-upgrades?): wait for it to end")
    } else if said.contains("dpkg was interrupted") {
        (FaultCode::Conflict, "an installation was interrupted: run `dpkg --configure -a` on the host")
    } else if said.contains("held broken packages") || said.contains("unmet dependencies") {
        (
            FaultCode::Conflict,
            "declare the packages that it names, in matching versions, before this one; or release a hold",
        )
    } else if said.contains("ssential packages") {
        (FaultCode::Conflict, "the host would no longer work; choose another way")
    } else if said.contains("No space left") || said.contains("enough free space") {
        (FaultCode::NoSpace, "free some space, e.g. with `apt-get clean`")
    } else if said.contains("Unable to fetch") || said.contains("Failed to fetch") {
        (FaultCode::CommandFailed, "a package source could not be reached, or no longer has what the local index lists")
    } else {
        (FaultCode::CommandFailed, "see /var/log/apt/term.log on the host")
    };
    let errors = telling(&said);
    let end = said.trim();
    let end = end.char_indices().nth_back(1999).map_or(end, |(at, _)| &end[at..]);
    let cause = if errors.is_empty() { end.to_owned() } else { errors.join("; ") };
    Fault::new(code, cause)
        .within(format!("`apt-get {}` ended with status {}", request.join(" "), output.status))
        .hint(hint)
}

/// The lines that tell why: apt's errors, and those of dpkg with what the package's own script said before them.
fn telling(said: &str) -> Vec<String> {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(error) = line.strip_prefix("dpkg: error ") {
            let script = lines[at.saturating_sub(2)..at].iter().filter(|line| !line.starts_with("dpkg: "));
            found.extend(script.map(|line| (*line).to_owned()));
            found.push([error, lines.get(at + 1).copied().unwrap_or_default()].join(" "));
        } else if line.contains(" Depends: ") || line.starts_with("E:") && !line.starts_with("E: Sub-process") {
            found.push((*line).to_owned());
        }
    }
    found
}

pub(super) fn read<'a>(
    argv: impl IntoIterator<Item = &'a str>,
    more: &[String],
    cx: &mut Cx<'_>,
) -> Result<Output, Fault> {
    let argv = argv.into_iter().map(str::to_owned).chain(more.iter().cloned());
    // Reading takes a moment, whatever the step was given; but not for ever.
    let timeout = cx.timeout.max(Duration::from_secs(60));
    run(Command { timeout, ..Command::reading(argv) }, cx)
}

pub(super) fn change<'a>(
    argv: impl IntoIterator<Item = &'a str>,
    more: &[String],
    cx: &mut Cx<'_>,
) -> Result<Output, Fault> {
    let argv = argv.into_iter().map(str::to_owned).chain(more.iter().cloned());
    run(Command::changing(argv, cx.timeout), cx)
}

pub(super) fn run(command: Command, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    cx.host.run(&command).map_err(|fault| match fault.code {
        FaultCode::NotFound => unsupported(&command.argv[0]),
        _ => fault,
    })
}

fn unsupported(program: &str) -> Fault {
    let message = format!("there is no `{program}` on this host");
    Fault::new(FaultCode::Unsupported, message).hint("`package` needs apt and dpkg, or dnf 4 and rpm")
}

#[cfg(test)]
mod tests {
    use super::{conffile, parse, telling};

    #[test]
    fn the_words_of_a_script_come_first() {
        let said = "cannot be configured\ndpkg: error processing package x (--configure):\n \
            installed x package post-installation script subprocess returned error exit status 1\n\
            Errors were encountered while processing:\n x\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n";
        let error = "processing package x (--configure): installed x package post-installation script subprocess \
            returned error exit status 1";
        assert_eq!(telling(said), ["cannot be configured", error]);
    }

    #[test]
    fn apt_lines_are_read() {
        let said = "Reading package lists...\n\
            Inst nginx-common [1.18.0-6.1] (1.22.1-9+deb12u2 Debian:12.9/stable [all]) []\n\
            Inst libc6:i386 (2.36-9 Debian:12.9/stable [i386])\n\
            Remv apache2 [2.4.62-1~deb12u2]\nPurg old [1]\nConf nginx-common (1.22.1-9+deb12u2 Debian:12.9/stable [all])\n";
        let version = |v: &str| Some(v.to_owned());
        let expected = [
            ("apache2", None),
            ("libc6:i386", version("2.36-9")),
            ("nginx-common", version("1.22.1-9+deb12u2")),
            ("old", None),
        ];
        assert_eq!(parse(said), expected.map(|(name, v)| (name.to_owned(), v)).into());
    }

    #[test]
    fn lines_of_dpkg_are_read() {
        assert_eq!(conffile(" /etc/a.conf 0cc175b9c0f1b6a831c399e269772661"), Some("/etc/a.conf"));
        assert_eq!(conffile(" /etc/b c 0cc175b9c0f1b6a831c399e269772661 obsolete"), Some("/etc/b c"));
        assert_eq!(conffile(""), None);
    }
}
