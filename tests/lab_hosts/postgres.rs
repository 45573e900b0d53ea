//! PostgreSQL changes its server and comes back: streaming replication between two real servers, with a client that
//! writes all the time. No row that was acknowledged is lost or doubled, before or after the switch.

use weiche_tests::hall::sql;
use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};

const SWITCH: [&str; 5] = ["apply", "switch", "old=rathaus/old", "new=rathaus/new", "--yes"];
const CUT_OVER: [&str; 5] = ["apply", "cutover", "old=rathaus/old", "new=rathaus/new", "--yes"];

/// Beginning of a playbook: both servers let standbys in, and a clerk; the old one has a role for them. `VERIFIER` is that of
/// the password, `SETTINGS` are more lines of configuration.
pub(crate) const OPEN: &str = r#"inputs: { old: host, new: host }
stages:
  - stage: open
    on: [old, new]
    steps:
      - file:
          path: /etc/postgresql/15/main/conf.d/replication.conf
          content: "listen_addresses = '*'\nSETTINGS"
          owner: postgres
      - block:
          path: /etc/postgresql/15/main/pg_hba.conf
          name: replication
          text: "host replication standby 192.0.2.0/24 scram-sha-256\nhost town clerk 192.0.2.0/24 trust\n"
      - unit:
          name: postgresql@15-main
          running: true
          restart_on: ["file /etc/postgresql/15/main/conf.d/replication.conf", "block /etc/postgresql/15/main/pg_hba.conf"]
      - file: { path: /var/lib/postgresql/.pgpass, content: "*:*:replication:standby:geheim\n", owner: postgres,
                group: postgres, mode: "0600", sensitive: true }
  - stage: role
    on: old
    steps:
      - postgres_role: { name: standby, login: true, replication: true, password: { content: "VERIFIER\n" } }
"#;

/// Until the new server is a standby.
const COPY: &str = r#"  - stage: copy
    on: new
    steps:
      - postgres_server: { cluster: 15/main, mode: standby, of: { address: "{{old.address}}", user: standby, slot: new } }
"#;

/// The new server takes over, and the old one follows.
const CUTOVER: &str = r#"playbook: cutover
inputs: { old: { type: host }, new: { type: host } }
stages:
  - stage: stop
    on: old
    steps:
      - postgres_server: { cluster: 15/main, mode: stopped }
  - stage: promote
    on: new
    steps:
      - postgres_server: { cluster: 15/main, mode: primary }
  - stage: feed
    on: old
    steps:
      - postgres_server:
          { cluster: 15/main, mode: standby, data: own, of: { address: "{{new.address}}", user: standby, slot: old } }
"#;

/// Writes numbered rows until it is told to stop; notes those that were acknowledged. One that was not is tried again
/// with the next number, so a number is written once at most.
const WRITER: &str = r#"touch /root/go; i=0
while [ -e /root/go ]; do
    i=$((i + 1))
    psql -qX "host=$0 user=clerk dbname=town connect_timeout=2" -c "INSERT INTO row VALUES ($i)" 2>/dev/null && echo $i
done >/root/acknowledged"#;

/// A database with an empty table, into which a clerk may write; what PostgreSQL keeps of the password `geheim`.
pub(crate) fn make_database(host: &LabHost) -> String {
    host.run(&["runuser", "-u", "postgres", "--", "createdb", "town"]);
    sql(host, "CREATE ROLE clerk LOGIN");
    sql(host, "CREATE TABLE row (number bigint); GRANT ALL ON row TO clerk");
    sql(host, "SET password_encryption = 'scram-sha-256'; CREATE ROLE made PASSWORD 'geheim'");
    let verifier = sql(host, "SELECT rolpassword FROM pg_authid WHERE rolname = 'made'");
    sql(host, "DROP ROLE made");
    verifier
}

/// What replication could leave behind, and who the data are.
fn seen(host: &LabHost) -> String {
    let script = "ls -A /var/lib/postgresql /var/lib/postgresql/15; cat /etc/postgresql/15/main/start.conf
        pg_lsclusters -h -s; grep primary /var/lib/postgresql/15/main/postgresql.auto.conf
        /usr/lib/postgresql/15/bin/pg_controldata /var/lib/postgresql/15/main | grep identifier
        systemctl is-active postgresql@15-main
        runuser -u postgres -- psql -qXAt -c 'SELECT slot_name FROM pg_replication_slots' \
            -c 'SELECT rolname FROM pg_roles ORDER BY 1' -c 'SELECT pg_is_in_recovery()'";
    format!("{}\n{}", host.run(&["sh", "-c", script]), etc(host))
}

fn acknowledged(host: &LabHost) -> Vec<u64> {
    let text = host.run(&["sh", "-c", "cat /root/acknowledged 2>/dev/null || true"]);
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn postgresql_changes_its_server_and_comes_back_without_losing_a_row() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("postgresql_changes_its_server_and_comes_back_without_losing_a_row", &why);
    }
    let lab = Lab::new("postgres");
    let hosts = lab.boot_all(&["old", "new", "client"].map(HostOptions::named));
    let [old, new, client] = hosts.as_slice() else { panic!("three hosts") };
    let fleet = Fleet::new(&lab, "root", &[(old, "base"), (new, "base")]);
    for (host, package) in [(old, "postgresql"), (new, "postgresql"), (client, "postgresql-client-15")] {
        host.run(&["apt-get", "install", "-q", "-y", package]);
    }
    let verifier = make_database(old);
    let (before_old, before_new) = (seen(old), seen(new));
    let open = OPEN.replace("VERIFIER", &verifier).replace("SETTINGS", "autovacuum = off\\n");
    let copy = format!("playbook: switch\n{open}{COPY}");

    // Killed while the base backup is there and not yet through: its files, its slot and its program go.
    fleet.write("playbooks/switch.yaml", &copy);
    let slow =
        "cd /usr/lib/postgresql/15/bin && mv pg_basebackup real && cat >pg_basebackup && chmod 755 pg_basebackup";
    let script = "#!/bin/sh\n/usr/lib/postgresql/15/bin/real \"$@\" && touch /var/lib/postgresql/15/there\nwhile [ -e /var/lib/postgresql/15/there ]; do sleep 0.05; done\n";
    new.run(&["sh", "-c", &format!("printf '%s' \"$0\" | {{ {slow}; }}"), script]);
    let apply = fleet.start(&SWITCH);
    until("the copy is there", || new.root().join("var/lib/postgresql/15/there").exists());
    assert!(new.root().join("var/lib/postgresql/15/main.weiche-part").exists());
    assert_eq!(sql(old, "SELECT slot_name FROM pg_replication_slots"), "new");
    new.run(&["pkill", "-KILL", "-x", "weiche-agent"]);
    // What an agent leaves running is waited for.
    new.run(&["rm", "/var/lib/postgresql/15/there"]);
    let killed = apply.end().expect(3);
    assert!(killed.stderr.contains("the agent ended"), "{}", killed.stderr);
    new.run(&["sh", "-c", "cd /usr/lib/postgresql/15/bin && mv real pg_basebackup"]);
    assert_same(&seen(old), &before_old, "old, killed");
    assert_same(&seen(new), &before_new, "new, killed");

    // Through, while a client writes.
    fleet.write("playbooks/cutover.yaml", CUTOVER);
    let plan = fleet.weiche(&["plan", "switch", "old=rathaus/old", "new=rathaus/new"]).expect(2).stdout;
    assert!(plan.contains("its data are put aside, and a copy of the other server's taken"), "{plan}");
    assert!(!plan.contains("geheim") && !plan.contains(&verifier), "{plan}");
    fleet.weiche(&SWITCH).expect(0);
    assert_eq!(sql(old, "SELECT state FROM pg_stat_replication"), "streaming");
    let writes = ["sh", "-c", WRITER, &old.address.to_string()];
    let mut writer = client.command(&writes).spawn().expect("start the client");
    until("the client writes", || acknowledged(client).len() > 20);
    fleet.weiche(&CUT_OVER).expect(0);
    assert_eq!(sql(new, "SELECT pg_is_in_recovery()"), "f");
    assert_eq!(sql(old, "SELECT pg_is_in_recovery(), status FROM pg_stat_wal_receiver"), "t|streaming");
    let at_switch = acknowledged(client).len();

    // What is written to the new server is on the old one when that takes over again, and the new one follows.
    let more = "for i in $(seq 1000001 1000300); do echo \"INSERT INTO row VALUES ($i);\"; done | \
                psql -qX \"host=$0 user=clerk dbname=town\"";
    client.run(&["sh", "-c", more, &new.address.to_string()]);
    let written = || sql(new, "SELECT pg_current_wal_lsn()");
    let last = written();
    // The server's own last record: nothing is written after it while nobody writes.
    until("the new server is at rest", || written() != last);
    fleet.weiche(&["rollback", "latest"]).expect(0);
    until("the client writes again", || acknowledged(client).len() > at_switch + 20);
    until("the new server follows", || sql(old, "SELECT state FROM pg_stat_replication") == "streaming");
    assert_eq!(sql(new, "SELECT pg_is_in_recovery()"), "t");
    client.run(&["rm", "/root/go"]);
    writer.wait().expect("the client ends");

    // And the copy is taken back, too.
    let runs = fleet.weiche(&["status", "--json"]).expect(0).stdout;
    let copied: serde_json::Value = serde_json::from_str(runs.lines().nth(1).expect("a run")).expect("JSON");
    fleet.weiche(&["rollback", copied["run"].as_str().expect("its name")]).expect(0);
    let mut expected = acknowledged(client);
    expected.extend(1_000_001..=1_000_300);
    let rows = sql(old, "SELECT number FROM row");
    let mut counts = std::collections::HashMap::new();
    for row in rows.lines() {
        *counts.entry(row.parse::<u64>().expect("a number")).or_insert(0) += 1;
    }
    let wrong: Vec<&u64> = expected.iter().filter(|number| counts.get(number) != Some(&1)).collect();
    assert!(wrong.is_empty(), "acknowledged, and not there once: {wrong:?}");
    assert!(counts.values().all(|&count| count == 1), "doubled");
    assert_same(&seen(old), &before_old, "old, taken back");
    assert_same(&seen(new), &before_new, "new, taken back");
}
