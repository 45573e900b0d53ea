//! What lab tests of swaps share beside [`weiche_tests::hall`]: what must be there later, and what must not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use weiche_tests::hall::users::Written;
use weiche_tests::hall::{Hall, Writer, longest, lost_letters, lost_rows};
use weiche_tests::lab::LabHost;

use crate::fleet::{Fleet, etc};

/// What the secretary was told of files that were not acknowledged, but for a few that took too long, as in
/// [`Written::few_lost_patience`].
pub(crate) fn unwritten(hall: &Hall<'_>, secretary: &Writer<'_>) -> String {
    let said = hall.user.run(&["sh", "-c", "cat /root/unwritten 2>/dev/null || true"]);
    let impatient = said.lines().filter(|line| line.contains("NT_STATUS_IO_TIMEOUT")).count();
    let most = if std::env::var_os("WEICHE_STRICT").is_some() { 0 } else { 1 + secretary.written().len() / 20 };
    // A number and what was said of it.
    if impatient <= most && said.lines().count() <= 2 * impatient { String::new() } else { said }
}

/// Every acknowledged file is there, with what was written into it.
#[track_caller]
pub(crate) fn all_files(host: &LabHost, letters: &BTreeMap<u32, u64>) {
    assert_eq!(lost_letters(host, letters), None);
}

/// All that was acknowledged is there, and once.
#[track_caller]
pub(crate) fn all_there(on: &LabHost, expected: &BTreeSet<u32>) {
    assert_eq!(lost_rows(on, expected), None);
}

/// What users got, and how far apart two acknowledgements of each other writer were at most.
pub(crate) fn figures(what: &str, written: &Written, others: &[BTreeMap<u32, u64>]) {
    let (rows, failed) = (written.acknowledged.len(), written.failed.len());
    eprintln!("{what}: {rows} rows over HTTP, {failed} failed, the slowest after {:?}", written.slowest);
    for other in others {
        eprintln!("    another writer: {} acknowledged, at most {:?} apart", other.len(), longest(other));
    }
}

/// All that a swap could leave behind, beside the data.
pub(crate) fn traces(host: &LabHost) -> String {
    let script = "ls -A /var/lib/postgresql /var/lib/postgresql/15 /root/.ssh /etc/systemd/system; ip -o addr; ip neigh show proxy
        nft list ruleset; pg_lsclusters -h -s; cat /etc/postgresql/15/main/start.conf /var/lib/postgresql/15/main/postgresql.auto.conf
        runuser -u postgres -- psql -qXAt -c 'SELECT slot_name, active FROM pg_replication_slots' \
            -c 'SELECT rolname FROM pg_roles ORDER BY 1' -c 'SELECT pg_is_in_recovery()'
        systemctl list-units --all --plain --no-legend 'weiche*' | cut -d ' ' -f 1; pgrep -a weiche; ls -A /run/weiche* 2>/dev/null";
    format!("{}\n{}", String::from_utf8_lossy(&host.exec(&["sh", "-c", script]).stdout), etc(host))
}

/// Somebody who may approve: the key.
pub(crate) fn approver(fleet: &Fleet<'_>) -> PathBuf {
    let key = fleet.path().join("anna");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen").success());
    let public = fs::read_to_string(key.with_extension("pub")).expect("read");
    fleet.write("allowed_signers", &format!("anna@rathaus.example namespaces=\"weiche\" {}\n", public.trim()));
    let config = fs::read_to_string(fleet.path().join("weiche.yaml")).expect("read");
    fleet.write("weiche.yaml", &format!("{config}approvers: allowed_signers\n"));
    key
}

/// The retirement is approved, all that it asks for is ticked, and it is carried out: what is left is to be done by hand.
pub(crate) fn approved(fleet: &Fleet<'_>, key: &Path, items: &[&str]) {
    let waits = fleet.weiche(&["resume", "latest"]).expect(6).stderr;
    assert!(waits.contains("1 of 1 approval is missing"), "{waits}");
    fleet.weiche(&["approve", "latest", "--stage", "retire", "--key", key.to_str().expect("UTF-8")]).expect(0);
    for item in items {
        fleet.weiche(&["tick", "latest", "retire", item]).expect(0);
    }
    let waits = fleet.weiche(&["resume", "latest"]).expect(6).stderr;
    assert!(waits.contains("Switch old off, wipe its disks"), "{waits}");
}
