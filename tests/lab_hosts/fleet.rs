//! What lab tests share: the fleet, and what an independent tool sees of a host.

use std::collections::HashSet;

use weiche_tests::lab::LabHost;

pub(crate) use weiche_tests::fleet::Fleet;

/// What an independent tool inside the host sees of its configuration: contents, modes, owners, links.
pub(crate) fn etc(host: &LabHost) -> String {
    // The dynamic linker's and dpkg's caches and the machine's own state are nobody's configuration.
    let find = "find /etc /opt /root /srv /usr /var/lib/systemd/deb-systemd-helper-* -xdev \
                ! -path '/etc/ld.so.cache' ! -path '/etc/.pwd.lock' -printf '%p %y %m %u %g %l\\n' | sort; \
                find /etc /opt /root /srv -xdev -type f ! -path '/etc/ld.so.cache' -exec sha256sum {} + | sort -k 2";
    String::from_utf8_lossy(&host.exec(&["sh", "-c", find]).stdout).into_owned()
}

/// Packages with versions, states and marks.
pub(crate) fn packages(host: &LabHost) -> String {
    host.run(&[
        "sh",
        "-c",
        "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n' | sort; apt-mark showauto | sort",
    ])
}

/// Everything that has to be as it was: [`etc`], [`packages`], units.
pub(crate) fn state(host: &LabHost) -> String {
    let units = "systemctl list-unit-files --no-legend --type=service | awk '{print $1, $2}'; \
                 systemctl list-units --no-legend --plain --type=service --state=active,failed wl-* ssh* | \
                 awk '{print $1, $3, $4}'";
    [etc(host), packages(host), host.run(&["sh", "-c", units])].join("\n-- \n")
}

/// Panics with the lines that differ, and only those.
#[track_caller]
pub(crate) fn assert_same(now: &str, before: &str, what: &str) {
    let (old, have): (HashSet<&str>, HashSet<&str>) = (before.lines().collect(), now.lines().collect());
    let gone = before.lines().filter(|line| !have.contains(line)).map(|line| format!("-{line}"));
    let new = now.lines().filter(|line| !old.contains(line)).map(|line| format!("+{line}"));
    let differs: Vec<String> = gone.chain(new).collect();
    assert!(now == before, "{what}: the host differs:\n{}", differs.join("\n"));
}
