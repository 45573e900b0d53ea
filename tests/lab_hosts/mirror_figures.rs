//! Figures of `mirror`, measured between two hosts of the lab: how long the freeze is and how fast the copy, beside plain
//! `rsync -aHAX` over ssh. Run by `tests/bench/mirror.sh`; sizes come from the environment.

use std::time::Instant;

use weiche_tests::lab::{HostOptions, Lab, LabHost};

use crate::mirror::{Town, files};

/// From the environment, or as small as that the test says only whether it works.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The events of a run that are about the mirror: seconds since its step began, and what it said.
fn told(stdout: &str) -> Vec<(f64, String)> {
    let events = stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut told = Vec::new();
    for event in events {
        let text = event.to_string();
        let took = |text: &str| text.split_once("\"took_us\":")?.1.split(['}', ',']).next()?.parse::<f64>().ok();
        if let Some((_, note)) = text.split_once("\"note\":\"") {
            told.push((took(&text).unwrap_or(0.0) / 1e6, note.split("\"}").next().unwrap_or_default().to_owned()));
        }
    }
    told
}

/// So many bytes in so many files.
fn fill(old: &LabHost, count: u64, mebibytes: u64) {
    let script = r#"mkdir -p /srv/files && cd /srv/files && python3 - "$0" "$1" <<'END'
import os, sys
count, size = int(sys.argv[1]), int(sys.argv[2]) * 2**20 // int(sys.argv[1])
for n in range(count):
    if n % 500 == 0:
        os.makedirs(f"d{n // 500}", exist_ok=True)
    open(f"d{n // 500}/{n}", "wb").write(os.urandom(size))
END
"#;
    old.run(&["sh", "-c", script, &count.to_string(), &mebibytes.to_string()]);
}

/// Writes into every hundredth part of the files.
fn churn(old: &LabHost, count: u64, percent: u64) {
    let every = 100 / percent.clamp(1, 100);
    let script = r#"cd /srv/files && find . -type f | awk "NR % $0 == 0" | head -n "$1" | xargs -n 200 python3 -c '
import sys
for name in sys.argv[1:]:
    with open(name, "r+b") as file:
        file.write(b"written meanwhile")'"#;
    old.run(&["sh", "-c", script, &every.to_string(), &count.to_string()]);
}

#[test]
fn a_freeze_is_short_and_a_copy_fast() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_freeze_is_short_and_a_copy_fast", &why);
    }
    let (count, mebibytes, percent) = (number("FILES", 300), number("MIB", 10), number("CHURN", 1));
    let lab = Lab::new("mirror-figures");
    let hosts = lab.boot_all(&["old", "new"].map(HostOptions::named));
    let [old, new] = hosts.as_slice() else { panic!("two hosts") };
    let town = Town::new(&lab, old, new);
    for host in [old, new] {
        host.run(&["apt-get", "install", "-q", "-y", "python3"]);
    }
    fill(old, count, mebibytes);
    town.playbooks("");

    // As somebody would do it by hand, with the same data in the same caches, once before and once behind.
    let plain = || {
        let known = format!("{} {}\n", old.address, old.host_key.trim());
        let script = r#"mkdir -p /root/by && cd /root/by && printf %s "$0" >key && printf %s "$1" >known && chmod 600 key
            rm -rf /srv/plain && rsync -aHAX -e "ssh -i key -o UserKnownHostsFile=known" root@"$2":/srv/files/ /srv/plain/"#;
        let begin = Instant::now();
        new.run(&["sh", "-c", script, &town.key().private, &known, &old.address.to_string()]);
        let took = begin.elapsed().as_secs_f64();
        // So that the next copy does not wait for this one's data to come to the disk.
        new.run(&["sh", "-c", "sync && rm -rf /srv/plain && sync"]);
        took
    };
    old.run(&["sh", "-c", "echo \"$0\" >>/root/.ssh/authorized_keys", &town.key().public]);
    let first = plain();
    old.run(&["sh", "-c", "sed -i '/ mirror$/d' /root/.ssh/authorized_keys"]);
    let mebibytes = mebibytes as f64;
    println!("plain rsync -aHAX: {first:.1} s, {:.0} MiB/s", mebibytes / first);
    let copied = told(&town.json("presync"));
    // No file is so large that it comes with the second only.
    let round = copied.first().expect("a round").0;
    println!("mirror, first round: {round:.1} s, {:.0} MiB/s, {:.2} of plain", mebibytes / round, first / round);
    for (seconds, text) in &copied {
        println!("  {seconds:.1} s: {text}");
    }
    churn(old, count, percent);
    for (seconds, text) in told(&town.json("forward")) {
        println!("last round, {count} files, {percent} % changed: {seconds:.2} s: {text}");
    }
    assert_eq!(files(new), files(old));
}
