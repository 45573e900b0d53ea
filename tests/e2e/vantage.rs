//! Services seen from a host in the users' network: what is away is seen from there too, and a line that is cut, silent
//! or not let through is never their absence.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use weiche_tests::sshd::{Sshd, SshdOptions};
use weiche_tests::town::{Ran, Town, ran};
use weiche_tests::until;

use super::meter::{Server, waits_at_a_door};
use super::steps::TlsServer;

/// A town with a server `a` and a PC `pc` that services are seen from.
fn town(pc: &Sshd, services: &str) -> Town {
    let town = Town::new(&["a"]);
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    let host = format!(
        "pcs:\n  - {{ name: pc, address: {}, port: {}, host_key: \"{}\", ssh: {{ identity: {:?} }} }}\n",
        pc.address, pc.port, pc.host_key, pc.identity
    );
    town.write("members/rathaus.yaml", &format!("{member}{host}vantage: pc\nservices:\n{services}"));
    waits_at_a_door(&town);
    town
}

fn is_under_way(town: &Town) -> bool {
    std::fs::read_to_string(town.root("a").join("etc/motd")).is_ok_and(|text| text == "new\n")
}

/// Lets the run and the servers end, also when a test fails.
struct Open<'a>(&'a Town, &'a AtomicBool);

impl Open<'_> {
    fn run(&self) {
        self.0.write("door", "open\n");
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.run();
        self.1.store(true, Ordering::Relaxed);
    }
}

/// What was measured of a service, from the pc or from the controller.
fn measured(report: &Ran, service: &str, from_pc: bool) -> Value {
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let service = &report["services"][format!("rathaus/{service}")];
    if from_pc { service["vantages"]["rathaus/pc"]["measure"].clone() } else { service["measure"].clone() }
}

#[track_caller]
fn number(measure: &Value, key: &str) -> u64 {
    measure[key].as_u64().unwrap_or_else(|| panic!("{key} in {measure:#}"))
}

/// A web server that says that it is there, or not.
struct Web {
    listener: TcpListener,
    address: SocketAddr,
    away: AtomicBool,
    asked: AtomicBool,
}

impl Web {
    fn new() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        Web { listener, address, away: AtomicBool::new(false), asked: AtomicBool::new(false) }
    }

    fn serve(&self, end: &AtomicBool) {
        while !end.load(Ordering::Relaxed) {
            match self.listener.accept() {
                Ok((stream, _)) => drop(self.answer(stream)),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        let head: Vec<String> = BufReader::new(stream.try_clone()?)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .map(|line| line.to_ascii_lowercase())
            .collect();
        let host = format!("host: {}", self.address);
        // As the URL says; anything else is a mistake that a look has to show.
        let right = head.first().is_some_and(|line| line == "get /up?x=1 http/1.1") && head.contains(&host);
        let status = match (right, self.away.load(Ordering::Relaxed)) {
            (false, _) => "400 Bad Request",
            (true, true) => "503 Service Unavailable",
            (true, false) => "204 No Content",
        };
        self.asked.store(true, Ordering::Relaxed);
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }

    /// Is away for so long; returns for how long it was.
    fn goes(&self, away: Duration) -> Duration {
        let begin = Instant::now();
        self.away.store(true, Ordering::Relaxed);
        std::thread::sleep(away);
        self.away.store(false, Ordering::Relaxed);
        begin.elapsed()
    }
}

#[test]
fn what_is_away_is_seen_from_the_users_network_too() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("what_is_away_is_seen_from_the_users_network_too", &why);
    }
    let pc = Sshd::start(SshdOptions::default());
    let (short, long, web) = (Server::new(), Server::new(), Web::new());
    let services = format!(
        "  short: {{ probe: {{ tcp: \"{}\" }}, downtime_budget: 1m }}\n  long: {{ probe: {{ tcp: \"{}\" }}, \
         downtime_budget: 1500ms }}\n  web: {{ probe: {{ http: \"http://{}/up?x=1\", status: 204 }} }}\n  \
         name: {{ probe: {{ dns: {{ name: a.example, server: \"127.0.0.1:1\" }} }} }}\n",
        short.address, long.address, web.address
    );
    let town = town(&pc, &services);
    let (first, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let (ran, were) = std::thread::scope(|scope| {
        let (first, end, web) = (&first, &end, &web);
        let times = [(&short, 500), (&long, 2000)];
        let all = times.map(|(server, ms)| scope.spawn(move || server.serve(first, Duration::from_millis(ms), end)));
        scope.spawn(move || web.serve(end));
        let apply = scope.spawn(|| town.weiche(&["apply", "x", "hosts=a", "--yes"]));
        let door = Open(&town, end);
        until("the run is under way", || is_under_way(&town));
        until("the pc looks", || pc.log().contains("Accepted publickey") && web.asked.load(Ordering::Relaxed));
        first.store(true, Ordering::Relaxed);
        let was = web.goes(Duration::from_millis(500));
        let is_back = |server: &Server| TcpStream::connect(server.address).is_ok();
        until("the pc sees it", || {
            town.weiche(&["log", "latest"])
                .stdout
                .contains("rathaus/long from pc is away: rathaus/pc gets no connection")
        });
        until("all are back", || is_back(&short) && is_back(&long));
        until("the pc sees it", || town.weiche(&["log", "latest"]).stdout.contains("rathaus/long from pc is back"));
        door.run();
        let ran = apply.join().unwrap();
        drop(door);
        let [short, long] = all.map(|server| server.join().unwrap());
        (ran, [("short", short), ("long", long), ("web", was)])
    });
    let ran = ran.expect(0);
    let plan = "    from the controller and from rathaus/pc: rathaus/long, rathaus/short, rathaus/web\n    \
                from the controller only, for they ask the DNS: rathaus/name\n";
    assert!(ran.stdout.contains(plan), "{}", ran.stdout);
    // It was the pc's own sshd that tried.
    assert!(pc.log().contains(&format!("connect_to 127.0.0.1 port {}: failed", long.address.port())), "{}", pc.log());
    let told = ran.stderr.lines().find(|line| line.contains("rathaus/long from pc: away once, "));
    assert!(told.is_some_and(|line| line.contains("BUDGET of 1.5 s EXCEEDED")), "{}", ran.stderr);
    let report = town.weiche(&["report", "latest"]).expect(0);
    for (name, was) in were {
        for from_pc in [true, false] {
            let measure = measured(&report, name, from_pc);
            let error = number(&measure, "away_ms").abs_diff(u64::try_from(was.as_millis()).unwrap());
            let (apart, slowest) = (number(&measure, "coarsest_ms"), number(&measure, "slowest_ms"));
            eprintln!("{name}, from pc {from_pc}: {error} ms off {was:?}, looks at most {apart} ms apart");
            // A look begins some time after it was due where the machine is busy; what it took to answer is known.
            assert!(error <= apart + slowest + 100, "{name} was away for {was:?}: {measure:#}");
        }
    }
    let status = town.weiche(&["status", "latest"]).expect(0).stdout;
    assert!(
        status.contains("rathaus/short from pc: away once, ") && status.contains("budget of 1 min 0 s kept"),
        "{status}"
    );
    assert!(status.contains("GET http://") && status.contains(" answered 503, expected 204"), "{status}");
    assert!(!status.contains("rathaus/name from pc"), "{status}");
}

/// A server whose queue is full takes no connection and refuses none: packets to it are dropped, and sent again a second
/// later (tcp(7), `tcp_abort_on_overflow`).
#[test]
fn a_service_that_hangs_is_away_for_as_long_as_it_does() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_service_that_hangs_is_away_for_as_long_as_it_does", &why);
    }
    let pc = Sshd::start(SshdOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 8).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let town = town(&pc, &format!("  rows: {{ probe: {{ tcp: \"{address}\" }} }}\n"));
    let (hangs, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let (ran, was) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) if !hangs.load(Ordering::Relaxed) => drop(stream),
                    _ => std::thread::sleep(Duration::from_millis(2)),
                }
                until("it is to go on", || !hangs.load(Ordering::Relaxed));
            }
        });
        let apply = scope.spawn(|| town.weiche(&["apply", "x", "hosts=a", "--yes"]));
        let door = Open(&town, &end);
        until("the run is under way", || is_under_way(&town));
        let log = || town.weiche(&["log", "latest"]).stdout;
        until("the pc looks", || pc.log().contains("Accepted publickey"));
        hangs.store(true, Ordering::Relaxed);
        // Who is in the queue has a connection, whatever becomes of it.
        let mut begin = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
            begin = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(2500));
        hangs.store(false, Ordering::Relaxed);
        let was = begin.elapsed();
        until("the pc sees it", || {
            log().contains("rathaus/rows from pc is back") && log().contains("rathaus/rows is back")
        });
        door.run();
        let ran = apply.join().unwrap();
        drop(door);
        (ran, was)
    });
    ran.expect(0);
    let report = town.weiche(&["report", "latest"]).expect(0);
    for from_pc in [true, false] {
        let measure = measured(&report, "rows", from_pc);
        let error = number(&measure, "away_ms").abs_diff(u64::try_from(was.as_millis()).unwrap());
        let apart = number(&measure, "coarsest_ms");
        eprintln!("from pc {from_pc}: {error} ms off {was:?}, looks at most {apart} ms apart");
        assert!(error <= apart + 100, "it hung for {was:?}: {measure:#}");
        // None of them waits for another one.
        assert!(number(&measure, "failed") > 5, "{measure:#}");
        assert_eq!(number(&measure, "gaps"), 1, "{measure:#}");
    }
}

#[test]
fn certificates_are_looked_at_through_the_line_too() {
    if let Err(why) = Sshd::available().and_then(|()| TlsServer::available()) {
        return weiche_tests::skip("certificates_are_looked_at_through_the_line_too", &why);
    }
    let pc = Sshd::start(SshdOptions::default());
    let server = TlsServer::start(pc.dir(), "DNS:intranet.example,IP:127.0.0.1");
    let endpoint = format!("127.0.0.1:{}", server.1);
    let services = format!(
        "  tls: {{ probe: {{ certificate: {{ endpoint: \"{endpoint}\", name: intranet.example }} }} }}\n  \
         old: {{ probe: {{ certificate: {{ endpoint: \"{endpoint}\", days_left: 40 }} }} }}\n  \
         web: {{ probe: {{ http: \"https://{endpoint}/\" }} }}\n  \
         other: {{ probe: {{ http: \"https://localhost:{}/\" }} }}\n",
        server.1
    );
    let town = town(&pc, &services);
    let end = AtomicBool::new(false);
    let (ran, log) = std::thread::scope(|scope| {
        let mut apply = town.command(&["apply", "x", "hosts=a", "--yes"]);
        // The authorities of the system that runs `weiche`.
        apply.env("SSL_CERT_FILE", pc.dir().join("cert.pem"));
        let apply = scope.spawn(move || ran(apply.output().unwrap()));
        let door = Open(&town, &end);
        let log = || town.weiche(&["log", "latest"]).stdout;
        for name in ["old", "other"] {
            until("the pc looks", || log().contains(&format!("rathaus/{name} from pc is away: ")));
        }
        door.run();
        (apply.join().unwrap(), log())
    });
    ran.expect(0);
    assert!(log.contains("day(s), expected 40"), "{log}");
    // Who serves another name than was asked for is not the service.
    let other =
        format!("rathaus/other from pc is away: GET https://localhost:{}/: invalid peer certificate: ", server.1);
    assert!(log.contains(&other), "{log}");
    let report = town.weiche(&["report", "latest"]).expect(0);
    for (name, from_pc) in [("tls", true), ("web", true), ("tls", false), ("web", false)] {
        let measure = measured(&report, name, from_pc);
        assert!(number(&measure, "probes") > 0 && number(&measure, "gaps") == 0, "{name}: {measure:#}");
    }
}

#[test]
fn a_line_that_is_cut_or_silent_is_no_gap() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_line_that_is_cut_or_silent_is_no_gap", &why);
    }
    let pc = Sshd::start(SshdOptions::default());
    let server = Server::new();
    let service = format!("  rows: {{ probe: {{ tcp: \"{}\" }}, downtime_budget: 0s }}\n", server.address);
    let town = town(&pc, &service);
    let end = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| server.until(&end));
        let apply = scope.spawn(|| town.weiche(&["apply", "x", "hosts=a", "--yes"]));
        let door = Open(&town, &end);
        until("the run is under way", || is_under_way(&town));
        let said = |text: &str, times: usize| {
            until(text, || town.weiche(&["log", "latest"]).stdout.matches(text).count() >= times);
        };
        until("the pc looks", || pc.log().contains("Accepted publickey"));
        pc.drop_connections();
        said("rathaus/rows from pc is not measured: the line to rathaus/pc is cut", 1);
        said("rathaus/rows from pc is measured again after ", 1);
        pc.hold_connections(true);
        said("rathaus/rows from pc is not measured: the line to rathaus/pc is silent", 1);
        pc.hold_connections(false);
        said("rathaus/rows from pc is measured again after ", 2);
        drop(pc);
        said("rathaus/rows from pc is not measured: the line to rathaus/pc is cut", 2);
        door.run();
        let ran = apply.join().unwrap();
        drop(door);
        ran
    });
    let ran = ran.expect(0);
    assert_eq!(
        ran.stderr.matches("rathaus/rows from pc is NOT MEASURED: ").count(),
        3,
        "each is told once: {}",
        ran.stderr
    );
    let told =
        ran.stderr.lines().find(|line| line.contains("rathaus/rows from pc: never away; ")).unwrap_or(&ran.stderr);
    assert!(told.contains("budget of 0 ms kept AS FAR AS MEASURED; NOT MEASURED for "), "{told}");
    let report = town.weiche(&["report", "latest"]).expect(0);
    let there = measured(&report, "rows", true);
    assert_eq!((number(&there, "gaps"), number(&there, "failed"), number(&there, "blanks")), (0, 0, 3), "{there:#}");
    assert!(number(&there, "probes") > 0 && there["blank"][2]["open"] == true, "{there:#}");
    let here = measured(&report, "rows", false);
    assert_eq!((number(&here, "gaps"), &here["blanks"]), (0, &Value::Null), "{here:#}");

    // A host that is switched off altogether.
    let ran = town.weiche(&["rollback", "latest"]).expect(0);
    assert!(
        ran.stderr.contains("rathaus/rows from pc: NOT MEASURED at all\n     not measured since "),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_host_that_does_not_let_us_look_is_told_with_a_hint() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_host_that_does_not_let_us_look_is_told_with_a_hint", &why);
    }
    let config = vec!["AllowTcpForwarding no".to_owned()];
    let pc = Sshd::start(SshdOptions { config, ..SshdOptions::default() });
    let server = Server::new();
    let town = town(&pc, &format!("  rows: {{ probe: {{ tcp: \"{}\" }}, downtime_budget: 1s }}\n", server.address));
    let end = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| server.until(&end));
        let apply = scope.spawn(|| town.weiche(&["apply", "x", "hosts=a", "--yes"]));
        let door = Open(&town, &end);
        until("it was tried twice", || pc.log().matches("refused local port forward").count() >= 2);
        door.run();
        let ran = apply.join().unwrap();
        drop(door);
        ran
    });
    let ran = ran.expect(0);
    let why = format!("the sshd of rathaus/pc makes no connection to {}: administratively prohibited", server.address);
    let told = format!(
        "rathaus/rows from pc is NOT MEASURED: {why}\n     hint: its sshd_config needs `AllowTcpForwarding local`"
    );
    assert_eq!(ran.stderr.matches(&told).count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("rathaus/rows: never away; budget of 1.0 s kept; "), "{}", ran.stderr);
    assert!(ran.stderr.contains("rathaus/rows from pc: NOT MEASURED at all\n"), "{}", ran.stderr);
    let there = measured(&town.weiche(&["report", "latest"]).expect(0), "rows", true);
    assert_eq!((number(&there, "gaps"), number(&there, "probes"), number(&there, "blanks")), (0, 0, 1), "{there:#}");
    // Each leaves a line in its log: far fewer than ten a second.
    let (looks, tried) = (number(&there, "length_ms") / 100, pc.log().matches("refused local port forward").count());
    assert!((tried as u64) < looks, "{tried} of {looks}");
}
