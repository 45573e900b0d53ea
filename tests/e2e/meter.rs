//! How long services are away, measured: against servers that are away for half a second, two and ten.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;
use weiche_tests::until;

/// A server that takes connections and closes them.
pub(super) struct Server {
    pub(super) address: std::net::SocketAddr,
}

impl Server {
    /// Any port.
    pub(super) fn new() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Server { address: listener.local_addr().unwrap() }
    }

    /// Serves, is away for this time, and serves until it is told to end. Returns for how long it was away.
    pub(super) fn serve(&self, first: &AtomicBool, away: Duration, end: &AtomicBool) -> Duration {
        self.until(first);
        let begin = Instant::now();
        std::thread::sleep(away);
        let listener = self.listen();
        let was = begin.elapsed();
        accept(&listener, end);
        was
    }

    pub(super) fn until(&self, end: &AtomicBool) {
        accept(&self.listen(), end);
    }

    fn listen(&self) -> TcpListener {
        TcpListener::bind(self.address).unwrap()
    }
}

fn accept(listener: &TcpListener, end: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    while !end.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok(connection) => drop::<(TcpStream, _)>(connection),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The playbook `x`: all services are measured until there is a file `door` in the fleet.
pub(super) fn waits_at_a_door(town: &Town) {
    let door = town.fleet().join("door");
    town.write("playbooks/x.yaml", &format!(
        "playbook: x\ninputs: {{ hosts: hosts }}\nmeter: [all]\nstages:\n  - stage: s\n    on: hosts\n    steps:\n      \
         - file: {{ path: /etc/motd, content: \"new\\n\" }}\n      \
         - wait_for: {{ command: [test, -e, {door:?}] }}\n        within: 10m\n        every: 50ms\n"
    ));
}

#[test]
fn services_are_measured_throughout_a_run() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("services_are_measured_throughout_a_run", &why);
    }
    let town = Town::new(&["a"]);
    let servers = [Server::new(), Server::new(), Server::new()];
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    let mut services = String::from("services:\n");
    for (server, (name, budget)) in servers.iter().zip([("short", "2s"), ("middle", "1500ms"), ("long", "1m")]) {
        services += &format!("  {name}: {{ probe: {{ tcp: \"{}\" }}, downtime_budget: {budget} }}\n", server.address);
    }
    town.write("members/rathaus.yaml", &(member + &services));
    waits_at_a_door(&town);
    let (first, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let times = [500, 2000, 10_000].map(Duration::from_millis);
    let (ran, were) = std::thread::scope(|scope| {
        let (first, end) = (&first, &end);
        let serve = |(server, away): (&'_ Server, Duration)| server.serve(first, away, end);
        let all: Vec<_> = servers.iter().zip(times).map(|pair| scope.spawn(move || serve(pair))).collect();
        let apply = scope.spawn(|| town.weiche(&["apply", "x", "hosts=a", "--yes"]));
        let motd = town.root("a").join("etc/motd");
        until("the run is under way", || std::fs::read_to_string(&motd).is_ok_and(|text| text == "new\n"));
        first.store(true, Ordering::Relaxed);
        let is_back = |server: &Server| TcpStream::connect(server.address).is_ok();
        until("the first is away", || !is_back(&servers[2]));
        until("all are back", || servers.iter().all(is_back));
        town.write("door", "open\n");
        let ran = apply.join().unwrap();
        end.store(true, Ordering::Relaxed);
        (ran, all.into_iter().map(|server| server.join().unwrap()).collect::<Vec<_>>())
    });
    let ran = ran.expect(0);
    assert!(ran.stdout.contains("measured throughout: rathaus/long (may be away for 1 min 0 s)"), "{}", ran.stdout);
    assert!(ran.stderr.contains("rathaus/long is AWAY: connect to 127.0.0.1:"), "{}", ran.stderr);
    let told = ran.stderr.lines().find(|line| line.contains("rathaus/middle: away once, ")).expect("what was measured");
    assert!(told.contains("BUDGET of 1.5 s EXCEEDED"), "{told}");
    let report: Value = serde_json::from_str(&town.weiche(&["report", "latest"]).expect(0).stdout).unwrap();
    for (name, was) in ["short", "middle", "long"].into_iter().zip(were) {
        let measure = &report["services"][format!("rathaus/{name}")]["measure"];
        let number = |key: &str| measure[key].as_u64().unwrap_or_else(|| panic!("{key} in {measure:#}"));
        let error = number("away_ms").abs_diff(u64::try_from(was.as_millis()).unwrap());
        eprintln!("{name}: {error} ms off {was:?}, looks at most {} ms apart", number("coarsest_ms"));
        // A look begins some time after it was due where the machine is busy; what it took to answer is known.
        let bound = number("coarsest_ms") + number("slowest_ms") + 100;
        assert!(error <= bound, "{name} was away for {was:?}: {measure:#}");
        assert_eq!(number("gaps"), 1, "{measure:#}");
        assert!(measure["told"][0]["error"].as_str().unwrap().contains("connect to 127.0.0.1"), "{measure:#}");
    }
    let status = town.weiche(&["status", "latest"]).expect(0).stdout;
    assert!(status.contains("rathaus/short: away once, ") && status.contains("budget of 2.0 s kept"), "{status}");
}
