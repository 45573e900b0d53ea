//! The town hall of the demo: hosts as directories, with users' data on the old server, and the fleet that describes
//! them. All names are made up.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use weiche_agent::digest::Digest;

use super::service::Service;
use super::{Sandbox, SandboxHost};

/// The hosts, servers first.
pub const HOSTS: [&str; 5] = ["fs-old", "fs-new", "pc-101", "pc-102", "pc-103"];

/// The member that they belong to.
pub const MEMBER: &str = "obere-aller";

/// A host's root directory.
pub fn root(dir: &Path, host: &str) -> PathBuf {
    dir.join("hosts").join(host).join("root")
}

/// Writes the hosts' files; returns what the servers' users would reach.
///
/// # Errors
/// Those of the file system.
pub fn build(dir: &Path, sandbox: &Sandbox) -> io::Result<Vec<Service>> {
    for host in &sandbox.hosts {
        seed(&root(dir, &host.name), &host.name)?;
    }
    let mut services = Vec::new();
    let mut member = format!("member: {MEMBER}\nname: Verbandsgemeinde Obere Aller (made up)\n");
    member += "sites: { rathaus: { address: \"Eilsleben (made up)\" } }\nservers:\n";
    for host in &sandbox.hosts {
        let pc = host.name.starts_with("pc-");
        if host.name == "pc-101" {
            member += "pcs:\n";
        }
        let mut more = String::from("profile: office-workplace");
        if !pc {
            let (smb, http) = (free_port()?, free_port()?);
            let root = root(dir, &host.name);
            services.push(Service { root: root.clone(), unit: "smbd.service", port: smb, page: "etc/hostname" });
            services.push(Service { root, unit: "nginx.service", port: http, page: "srv/intranet/index.html" });
            let place = if host.name == "fs-new" { "replaces: fs-old" } else { "profile: file-server" };
            more = format!("{place}, parameters: {{ smb_port: {smb}, intranet_port: {http} }}");
        }
        member += &entry(dir, host, &more);
    }
    let identity = &sandbox.identity;
    let config = format!(
        "# A sandbox: embedded SSH hosts, each a directory; packages and units are simulated there.\n\
         fleet: demo\ntimezone: Europe/Berlin\nssh: {{ user: demo, identity: {identity:?}, become: none }}\n"
    );
    fs::create_dir_all(dir.join("fleet/members"))?;
    fs::write(dir.join("fleet/weiche.yaml"), config)?;
    fs::write(dir.join(format!("fleet/members/{MEMBER}.yaml")), member)?;
    Ok(services)
}

/// What users have saved on a server since it was set up.
///
/// # Errors
/// Those of the file system.
pub fn users_work(root: &Path) -> io::Result<()> {
    let files = root.join("srv/files");
    fs::create_dir_all(files.join("Bauamt/Pläne"))?;
    fs::create_dir_all(files.join("Standesamt"))?;
    fs::write(files.join("Bauamt/Pläne/B-Plan 7.txt"), "Bebauungsplan Nr. 7\n".repeat(4000))?;
    fs::write(files.join("Standesamt/Trauungen 2026.csv"), "Datum;Paar\n2026-05-02;Muster und Beispiel\n")?;
    fs::set_permissions(files.join("Standesamt"), fs::Permissions::from_mode(0o2770))?;
    symlink("Bauamt/Pläne", files.join("Pläne"))?;
    fs::write(root.join("srv/intranet/speiseplan.html"), "<p>Montag: Linsensuppe</p>\n")
}

/// A digest of everything in a host: types, modes, contents, links and the owners that the sandbox keeps; and the lines
/// that it was made of.
///
/// # Errors
/// Those of the file system.
pub fn snapshot(dir: &Path, host: &str) -> io::Result<(Digest, String)> {
    let mut lines = String::new();
    walk(&root(dir, host), Path::new(""), &mut lines)?;
    let owners = fs::read(dir.join("hosts").join(host).join("agent/sandbox-owners.json")).unwrap_or_default();
    let owners: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&owners).unwrap_or_default();
    for (path, owner) in owners {
        let _ = writeln!(lines, "owner {owner} {path}");
    }
    Ok((Digest::of(lines.as_bytes()), lines))
}

fn walk(root: &Path, relative: &Path, lines: &mut String) -> io::Result<()> {
    let path = root.join(relative);
    let meta = fs::symlink_metadata(&path)?;
    let mode = meta.permissions().mode() & 0o7777;
    let name = relative.display();
    // Writing to a string does not fail.
    if meta.is_symlink() {
        let _ = writeln!(lines, "link {} {name}", fs::read_link(&path)?.display());
    } else if meta.is_dir() {
        let _ = writeln!(lines, "directory {mode:04o} {name}");
        let mut names = fs::read_dir(&path)?.map(|e| e.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        names.iter().try_for_each(|name| walk(root, &relative.join(name), lines))?;
    } else {
        let digest = Digest::of_reader(&mut fs::File::open(&path)?)?.0;
        let _ = writeln!(lines, "file {mode:04o} {digest} {name}");
    }
    Ok(())
}

fn entry(dir: &Path, host: &SandboxHost, more: &str) -> String {
    let place = dir.join("hosts").join(&host.name);
    format!(
        "  - {{ name: {}, address: {}, port: {}, host_key: \"{}\", site: rathaus, {more}, agent: {{ directory: {:?}, root: {:?}, \
         simulate: true }} }}\n",
        host.name,
        host.address,
        host.port,
        host.host_key.trim(),
        place.join("agent"),
        place.join("root"),
    )
}

/// A port that nobody has; a service takes it when its unit is started.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn seed(root: &Path, name: &str) -> io::Result<()> {
    let dirs = [
        "etc/default",
        "etc/skel",
        "etc/sysctl.d",
        "srv",
        "tmp",
        "usr/share/i18n",
        "var/lib",
        "var/www",
        "lib/systemd/system",
    ];
    let more = ["etc/systemd/system", "proc/sys/net/ipv4/conf/all", "usr/lib/locale", "usr/share/zoneinfo/Europe"];
    for dir in dirs.iter().chain(&more) {
        fs::create_dir_all(root.join(dir))?;
    }
    let files = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n".to_owned()),
        ("etc/group", "root:x:0:\nwww-data:x:33:\nusers:x:100:\n".to_owned()),
        ("etc/shadow", "root:*:19000:0:99999:7:::\nwww-data:*:19000:0:99999:7:::\n".to_owned()),
        ("etc/gshadow", "root:*::\nwww-data:!::\nusers:*::\n".to_owned()),
        ("etc/hostname", format!("{name}\n")),
        ("etc/os-release", "PRETTY_NAME=\"Sandbox\"\nID=debian\nVERSION_ID=\"12\"\n".to_owned()),
        ("etc/motd", format!("{name} of the town hall\n")),
        ("proc/sys/net/ipv4/conf/all/accept_redirects", "1\n".to_owned()),
        (
            "lib/systemd/system/systemd-timesyncd.service",
            "[Service]\nExecStart=/lib/systemd/systemd-timesyncd\n[Install]\nWantedBy=sysinit.target\n".to_owned(),
        ),
        ("usr/share/i18n/SUPPORTED", "de_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n".to_owned()),
        ("usr/share/zoneinfo/Europe/Berlin", "TZif2\n".to_owned()),
    ];
    files.iter().try_for_each(|(path, text)| fs::write(root.join(path), text))
}
