//! The packages of the local apt repository, each in the versions 1.0 and 2.0.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::tool;

/// The versions each package comes in.
const VERSIONS: [&str; 2] = ["1.0", "2.0"];

/// A package; `@VERSION@` in any text becomes the version.
#[derive(Hash)]
pub(crate) struct Package {
    name: &'static str,
    /// Further lines of the control file.
    control: &'static str,
    /// Path, mode and content.
    files: &'static [(&'static str, u32, &'static str)],
    /// Files that dpkg treats as configuration.
    conffiles: &'static str,
    /// Maintainer scripts.
    scripts: &'static [(&'static str, &'static str)],
}

/// All packages, alphabetically.
pub(crate) const ALL: [Package; 6] = [
    // Can be unpacked but never configured.
    Package {
        name: "wl-broken",
        control: "",
        files: &[("usr/share/wl-broken/version", 0o644, "@VERSION@\n")],
        conffiles: "",
        scripts: &[("postinst", "#!/bin/sh\necho 'wl-broken: this package cannot be configured' >&2\nexit 1\n")],
    },
    Package {
        name: "wl-lib",
        control: "",
        files: &[("usr/lib/wl/lib.txt", 0o644, "@VERSION@\n")],
        conffiles: "",
        scripts: &[],
    },
    Package {
        name: "wl-other",
        control: "Conflicts: wl-tool\n",
        files: &[("usr/bin/wl-other", 0o755, "#!/bin/sh\necho 'wl-other @VERSION@'\n")],
        conffiles: "",
        scripts: &[],
    },
    // A service as debhelper packages it (dh_installsystemd): enabled and started when installed.
    Package {
        name: "wl-server",
        control: "Depends: wl-lib (>= @VERSION@)\n",
        files: &[
            ("etc/wl-server.conf", 0o644, "# configuration of wl-server @VERSION@\ngreeting = hello\n"),
            ("lib/systemd/system/wl-server.service", 0o644, UNIT),
            ("usr/sbin/wl-server", 0o755, SERVER),
        ],
        conffiles: "/etc/wl-server.conf\n",
        scripts: &[("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)],
    },
    // Takes its time, so that a test can come in between.
    Package {
        name: "wl-slow",
        control: "",
        files: &[("usr/share/wl-slow/version", 0o644, "@VERSION@\n")],
        conffiles: "",
        scripts: &[("postinst", "#!/bin/sh\nsleep 4\n")],
    },
    Package {
        name: "wl-tool",
        control: "",
        files: &[("usr/bin/wl-tool", 0o755, "#!/bin/sh\necho 'wl-tool @VERSION@'\n")],
        conffiles: "",
        scripts: &[],
    },
];

const UNIT: &str = "[Unit]
Description=Test server @VERSION@

[Service]
ExecStartPre=/usr/sbin/wl-server check
ExecStart=/usr/sbin/wl-server

[Install]
WantedBy=multi-user.target
";

/// Refuses to start with a configuration that says `broken`, so that a bad change can be rehearsed.
const SERVER: &str = "#!/bin/sh
if grep -q broken /etc/wl-server.conf; then
    echo 'wl-server: /etc/wl-server.conf is broken' >&2
    exit 1
fi
[ \"$1\" != check ] || exit 0
echo 'wl-server @VERSION@ runs'
exec sleep infinity
";

const POSTINST: &str = r#"#!/bin/sh
set -e
if [ "$1" = configure ] || [ "$1" = abort-upgrade ]; then
    deb-systemd-helper unmask wl-server.service >/dev/null || true
    if deb-systemd-helper --quiet was-enabled wl-server.service; then
        deb-systemd-helper enable wl-server.service >/dev/null || true
    else
        deb-systemd-helper update-state wl-server.service >/dev/null || true
    fi
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload >/dev/null || true
        if [ -n "$2" ]; then action=restart; else action=start; fi
        deb-systemd-invoke "$action" wl-server.service >/dev/null || true
    fi
fi
"#;

const PRERM: &str = r#"#!/bin/sh
set -e
if [ -d /run/systemd/system ] && [ "$1" = remove ]; then
    deb-systemd-invoke stop wl-server.service >/dev/null || true
fi
"#;

const POSTRM: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ] && [ -x /usr/bin/deb-systemd-helper ]; then
    deb-systemd-helper purge wl-server.service >/dev/null || true
fi
"#;

/// Builds all packages and their index into a directory.
pub(crate) fn build_repository(dir: &Path) {
    for package in &ALL {
        for version in VERSIONS {
            build(package, version, dir);
        }
    }
    // apt-ftparchive writes to its output; the shell keeps the files beside what they describe.
    let index = "apt-ftparchive packages . >Packages && apt-ftparchive -o APT::FTPArchive::Release::Origin=weiche-lab \
                 release . >.Release && mv .Release Release";
    tool::try_run(tool::command("sh").args(["-c", index]).current_dir(dir)).unwrap_or_else(|error| panic!("{error}"));
}

fn build(package: &Package, version: &str, dir: &Path) {
    let Package { name, control, files, conffiles, scripts } = package;
    let tree = dir.join(format!("{name}-{version}"));
    let put = |path: &str, mode: u32, content: &str| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().expect("a file in the tree"))
            .and_then(|()| fs::write(&path, content.replace("@VERSION@", version)))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    let head = format!("Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Lab <lab@example.org>\n");
    put("DEBIAN/control", 0o644, &format!("{head}{control}Description: package {name} of the test lab\n"));
    if !conffiles.is_empty() {
        put("DEBIAN/conffiles", 0o644, conffiles);
    }
    for (script, content) in *scripts {
        put(&format!("DEBIAN/{script}"), 0o755, content);
    }
    for (path, mode, content) in *files {
        put(path, *mode, content);
    }
    tool::run("dpkg-deb", ["--root-owner-group", "-Zgzip", "--build", tool::text(&tree), tool::text(dir)]);
    fs::remove_dir_all(&tree).unwrap_or_else(|error| panic!("{}: {error}", tree.display()));
}
