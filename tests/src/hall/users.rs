//! Users, as a server meets them: they write rows over HTTP, fifty a second, with ordinary patience, each over a
//! connection of its own, and try nothing twice. And who watches that never two servers have one address.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::lab::{Lab, LabHost};
use crate::until;

/// What users know.
pub const SERVICE: &str = "192.0.2.100";

/// As long as an ordinary program waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between the beginnings of two requests: fifty a second.
const PERIOD: Duration = Duration::from_millis(20);

/// Says where the service is.
pub type Find<'a> = dyn Fn() -> Result<Ipv4Addr, String> + Sync + 'a;

/// How far users have come; they never write the same row twice.
#[derive(Default)]
pub struct Users<'a> {
    /// The last row that was begun.
    begun: AtomicU32,
    seen: Mutex<Seen>,
    /// How they find the service; without it, they know its address.
    find: Option<&'a Find<'a>>,
}

/// What users have met so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many rows were acknowledged.
    pub acknowledged: u32,
    /// How many were not.
    pub failed: u32,
    /// The longest time that one of either took.
    pub slowest: Duration,
    /// The server that has acknowledged the last.
    pub server: String,
}

impl<'a> Users<'a> {
    /// Who look for the service anew each time.
    pub fn who_find(find: &'a Find<'a>) -> Users<'a> {
        Users { find: Some(find), ..Users::default() }
    }

    /// What they have met so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server that has acknowledged a row.
    fn put(&self, row: u32) -> Result<String, String> {
        let begin = Instant::now();
        let address = self.find.map_or_else(|| Ok(SERVICE.parse().expect("an address")), |find| find());
        let answer = address.and_then(|address| put(row, address));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.slowest = seen.slowest.max(begin.elapsed());
        match &answer {
            Ok(server) => {
                seen.acknowledged += 1;
                seen.server.clone_from(server);
            }
            Err(_) => seen.failed += 1,
        }
        answer
    }

    /// Waits until they have been served for two seconds' worth of requests.
    pub fn are_served(&self) {
        let from = self.seen().acknowledged;
        until("users are served", || self.seen().acknowledged > from + 100);
    }
}

/// What became of the users' requests.
#[derive(Debug, Default)]
pub struct Written {
    /// The rows whose writing was acknowledged.
    pub acknowledged: BTreeSet<u32>,
    /// What was said of each other one.
    pub failed: Vec<String>,
    /// The longest time that one took.
    pub slowest: Duration,
    /// When each was acknowledged, and by which server.
    pub answers: Vec<(Instant, String)>,
}

impl Written {
    /// The servers that answered, in the order in which they did, each once until another one did.
    pub fn servers(&self) -> Vec<&str> {
        let mut servers: Vec<&str> = self.answers.iter().map(|(_, server)| server.as_str()).collect();
        servers.dedup();
        servers
    }

    /// The longest time in which nothing was acknowledged.
    pub fn gap(&self) -> Duration {
        self.answers.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or_default()
    }

    /// Nobody was refused or cut off. How long a freeze lasts depends on the machine: behind 3 s TCP asks again after 7 s
    /// only, so that a few may have given up; none may where `WEICHE_STRICT` is set.
    #[track_caller]
    pub fn few_lost_patience(&self, context: &str) {
        self.lost_patience(20, context);
    }

    /// The same, where at most one of so many may have given up.
    #[track_caller]
    pub fn lost_patience(&self, one_of: usize, context: &str) {
        let impatient = |said: &&String| said.contains("timed out") || said.contains("temporarily unavailable");
        let others: Vec<&String> =
            self.failed.iter().filter(|said| !impatient(&&said.to_lowercase())).take(3).collect();
        assert!(others.is_empty(), "requests failed, such as {others:?}\n{context}");
        let most = if std::env::var_os("WEICHE_STRICT").is_some() { 0 } else { self.acknowledged.len() / one_of };
        assert!(self.failed.len() <= most, "{} lost patience, more than {most}\n{context}", self.failed.len());
    }

    /// Nobody gave up, either.
    #[track_caller]
    pub fn all_well(&self, context: &str) {
        let first: Vec<&String> = self.failed.iter().take(3).collect();
        assert!(first.is_empty(), "{} requests failed, such as {first:?}\n{context}", self.failed.len());
    }
}

/// Writes row after row until it is told to stop, each over a connection of its own, whatever becomes of the others.
fn write(lab: &Lab, stop: &AtomicBool, users: &Users<'_>) -> Written {
    let first = users.begun.load(Ordering::Relaxed);
    lab.inside(|| {
        let (sender, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            let begin = Instant::now();
            for row in first.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                users.begun.store(row, Ordering::Relaxed);
                let sender = sender.clone();
                scope.spawn(move || {
                    let start = Instant::now();
                    let answer =
                        users.put(row).map_err(|error| format!("row {row} after {:?}: {error}", start.elapsed()));
                    let _ = sender.send((row, start, Instant::now(), answer));
                });
                std::thread::sleep((begin + PERIOD * (row - first + 1)).saturating_duration_since(Instant::now()));
            }
        });
        drop(sender);
        let mut written = Written::default();
        for (row, start, end, answer) in answers {
            written.slowest = written.slowest.max(end - start);
            match answer {
                Ok(server) => {
                    written.acknowledged.insert(row);
                    written.answers.push((end, server));
                }
                Err(error) => written.failed.push(error),
            }
        }
        written.answers.sort();
        written
    })
}

/// The server that has acknowledged it.
///
/// # Errors
/// What a user would be told.
pub fn put(row: u32, address: Ipv4Addr) -> Result<String, String> {
    let end = Instant::now() + PATIENCE;
    let address = SocketAddr::from((address, 80));
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(said)?;
    let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).map_err(said)?;
    let body = format!("{row}\n");
    let head = format!(
        "PUT /{row} HTTP/1.1\r\nHost: rows.example\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(said)?;
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    let server = answer.lines().find_map(|line| line.strip_prefix("X-Server: "));
    match (line.split(' ').nth(1), server) {
        (Some("201" | "204"), Some(server)) => Ok(server.to_owned()),
        _ => Err(format!("answered `{line}`")),
    }
}

/// Sends the users home, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Users write while this happens, for a while before and behind it; never the same row.
pub fn meanwhile(lab: &Lab, users: &Users<'_>, act: impl FnOnce()) -> Written {
    let stop = AtomicBool::new(false);
    users.begun.fetch_add(1, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(lab, &stop, users));
        let stop = Stop(&stop);
        let more = |rows: u32| {
            let from = users.begun.load(Ordering::Relaxed);
            until("users have written", || users.begun.load(Ordering::Relaxed) >= from + rows);
        };
        more(50);
        act();
        more(100);
        drop(stop);
        writer.join().expect("the users")
    })
}

/// Whether a host has the users' address.
fn has_it(host: &LabHost) -> bool {
    let Some(leader) = host.leader() else { return false };
    let pid = leader.to_string();
    let output = Command::new("nsenter").args(["-t", &pid, "-n", "ip", "-o", "addr", "show", "to", SERVICE]).output();
    output.is_ok_and(|output| !output.stdout.is_empty())
}

/// Watches while this happens that never both hosts have the users' address.
pub fn one_server<T>(one: &LabHost, other: &LabHost, act: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                // It moves between two looks: only one between two of the same is at the same time as they.
                let both = has_it(one) && has_it(other) && has_it(one);
                assert!(!both, "two servers have {SERVICE}");
                looks += 1;
                // So that it takes no time from what it watches.
                std::thread::sleep(PERIOD);
            }
            looks
        });
        let stop = Stop(&stop);
        let done = act();
        drop(stop);
        assert!(watch.join().expect("nobody else has it") > 0);
        done
    })
}
