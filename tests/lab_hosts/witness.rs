//! What public tools see of a host: mtree(8) from outside, getfattr(1) and getfacl(1) inside, dpkg, findmnt and sysctl.
//! Nothing in it is from Weiche, which keeps a manifest of its own.

use std::fs;
use std::process::Command;

use weiche_tests::lab::LabHost;
use weiche_tests::town::Ran;

use crate::fleet::{Fleet, assert_same, packages};

pub(crate) const APPLY: [&str; 4] = ["apply", "converge", "hosts=all", "--yes"];

/// What is nobody's configuration: state, the kernel's file systems, the linker's cache and the accounts' lock.
const LEFT_OUT: &str = "./var\n./proc\n./sys\n./dev\n./run\n./tmp\n./etc/ld.so.cache\n./etc/.pwd.lock\n";

/// Contents, modes, owners and links of all files; times, attributes and access lists of those that are configured;
/// packages, mounts, units (but for the logins of the moment) and the kernel's network settings.
pub(crate) fn manifest(host: &LabHost) -> String {
    let left_out = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(left_out.path(), LEFT_OUT).expect("write");
    // Directories' own times and sizes say nothing of what is in them; `-C` writes a whole path on every line.
    let script = "set -e; tree=$(mtree -c -k $0 -X $1 -p $2); printf '%s\\n' \"$tree\" | mtree -C -k $0";
    let mut mtree = Command::new("sh");
    mtree.args(["-c", script, "type,mode,uid,gid,link,sha256"]).arg(left_out.path()).arg(host.root());
    let tree = mtree.output().expect("run mtree");
    assert!(tree.status.success(), "mtree: {}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    let inside = "\
        find /etc /home /root /srv -xdev ! -type d ! -path /etc/ld.so.cache ! -path '/etc/.pwd.lock' \
            -printf '%p %T@\\n' | sort
        getfattr -R -h -P -d -m - -e hex --absolute-names /etc /home /root /srv 2>/dev/null
        getfacl -R -P -n -s -p /etc /home /root /srv
        findmnt --raw --noheadings --output TARGET,SOURCE,FSTYPE,OPTIONS | grep -v '^/proc/\\|^/run/user/\\|binfmt' | sort
        systemctl list-unit-files --no-legend | grep -v '^session-' | sort
        systemctl list-units --no-legend --plain --type=timer,mount,automount | awk '{print $1, $3, $4}' | \
            grep -v '^run-user\\|binfmt'
        sysctl net.ipv4.conf";
    [tree, host.run(&["sh", "-c", inside]), packages(host)].join("\n-- \n")
}

/// Takes the last run back: Weiche says `identical`, and again when asked, and the witness agrees.
#[track_caller]
pub(crate) fn taken_back(fleet: &Fleet, host: &LabHost, before: &str) -> Ran {
    let back = fleet.weiche(&["rollback", "latest"]).expect(0);
    assert!(back.stderr.contains(&format!("rathaus/{}: identical to before (", host.name)), "{}", back.stderr);
    fleet.weiche(&["verify", "latest"]).expect(0);
    assert_same(&manifest(host), before, "taken back");
    back
}

/// Adds keys to the member of a fleet, such as what it watches.
pub(crate) fn watch_all(fleet: &Fleet) {
    let path = fleet.path().join("members/rathaus.yaml");
    let member = fs::read_to_string(path).expect("read the member");
    let watch = "watch: [/etc, /home, /root, /srv, /usr]\nunwatched: [/etc/ld.so.cache, /srv/apt]\nservers:";
    fleet.write("members/rathaus.yaml", &member.replace("servers:", watch));
}
