//! The line to a host in the users' network, through which services are looked at as their users see them.
//!
//! It is one SSH connection of its own. Nothing is started on the host and nothing is changed there; a run neither waits for
//! it nor fails because of it. That the line is cut, or slow, is not the services' absence: a look that fails counts only
//! once the line has answered a question that was asked afterwards, and only if it was not silent meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use weiche_agent::protocol::{Fault, FaultCode};

use super::pool::Pool;
use super::shared::chain;
use super::ssh::{ConnectError, Tunnel};
use crate::input::target::HostName;

/// Between two questions whether the line is there.
const PULSE: Duration = Duration::from_millis(100);

/// A line that does not answer for so long is silent: what fails on it then, or is late, cannot be told. Half of what a
/// service may take to answer.
const QUIET: Duration = Duration::from_millis(500);

/// Between two tries to connect: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// The same where the host has answered, but not as it should: another key, no login. It may lock out who asks too often.
const REFUSED: Duration = Duration::from_secs(60);

/// What is known of a line.
#[derive(Clone)]
pub(super) enum Sight {
    /// It was not tried yet.
    Before,
    /// It is up.
    Up(Arc<Line>),
    /// It is not.
    Down(Fault),
}

/// A line that is up.
pub(super) struct Line {
    pub(super) tunnel: Tunnel,
    pulse: watch::Sender<Pulse>,
}

/// How a line does.
#[derive(Clone, Copy, Debug, Default)]
struct Pulse {
    /// When the last question was asked that was answered.
    asked: Option<Instant>,
    /// A question waits for its answer for too long.
    silent: bool,
    /// Until when a question last waited for too long.
    silent_until: Option<Instant>,
    /// The line is cut.
    cut: bool,
}

impl Pulse {
    /// Whether what failed on the line between these times failed by no fault of the line; `None` while that is open.
    fn vouches(&self, begin: Instant, end: Instant) -> Option<bool> {
        if self.cut || self.silent || self.silent_until.is_some_and(|until| until >= begin) {
            return Some(false);
        }
        self.asked.is_some_and(|asked| asked >= end).then_some(true)
    }
}

impl Line {
    fn new(tunnel: Tunnel) -> Line {
        Line { tunnel, pulse: watch::Sender::default() }
    }

    /// Whether it does not answer right now.
    pub(super) fn is_silent(&self) -> bool {
        let pulse = self.pulse.borrow();
        pulse.silent || pulse.cut
    }

    /// Why nothing can be told by it.
    pub(super) fn fault(&self, host: &HostName) -> Fault {
        if self.pulse.borrow().cut { self.cut(host) } else { silent(host) }
    }

    /// That it is cut.
    pub(super) fn cut(&self, host: &HostName) -> Fault {
        let text = format!("the line to {host} is cut ({})", self.tunnel.cause());
        Fault::new(FaultCode::Io, text).hint("it is tried again; was the host restarted, or switched off?")
    }

    /// Waits until it does not answer.
    pub(super) async fn silent(&self) {
        let mut pulse = self.pulse.subscribe();
        // The sender is this line's own.
        let _ = pulse.wait_for(|pulse| pulse.silent || pulse.cut).await;
    }

    /// Whether what failed between these times failed by no fault of the line: waits for its next answer.
    pub(super) async fn vouches(&self, begin: Instant, end: Instant) -> bool {
        let mut pulse = self.pulse.subscribe();
        pulse
            .wait_for(|pulse| pulse.vouches(begin, end).is_some())
            .await
            .is_ok_and(|p| p.vouches(begin, end) == Some(true))
    }

    /// Asks until it is cut.
    async fn keep(&self) {
        let mut tick = interval(PULSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let asked = Instant::now();
            let mut answer = pin!(self.tunnel.ask());
            let there = match timeout(QUIET, &mut answer).await {
                Ok(there) => there,
                Err(_) => {
                    self.pulse.send_modify(|pulse| pulse.silent = true);
                    // For as long as the connection itself is not given up (`silence_timeout`).
                    answer.await
                }
            };
            self.pulse.send_modify(|pulse| {
                if std::mem::take(&mut pulse.silent) {
                    pulse.silent_until = Some(Instant::now());
                }
                if there {
                    pulse.asked = Some(asked);
                }
                pulse.cut = !there;
            });
            if !there {
                return;
            }
        }
    }
}

/// Holds the line to a host, for as long as somebody looks.
pub(super) async fn hold(host: &HostName, pool: &Pool, sight: &watch::Sender<Sight>) {
    let mut pause = PAUSE.0;
    loop {
        let Some(tried) = pool.tunnel(host).await else {
            sight.send_replace(Sight::Down(unknown(host)));
            return;
        };
        let begin = Instant::now();
        match tried {
            Ok(tunnel) => {
                let line = Arc::new(Line::new(tunnel));
                sight.send_replace(Sight::Up(Arc::clone(&line)));
                line.keep().await;
                sight.send_replace(Sight::Down(line.cut(host)));
                // One that is cut again and again is tried ever less often.
                if begin.elapsed() > PAUSE.1 {
                    pause = PAUSE.0;
                }
            }
            Err(error) => {
                if !error.is_away() {
                    pause = REFUSED;
                }
                sight.send_replace(Sight::Down(unreached(host, &error)));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Nothing can be looked at: the fleet was changed since the run was planned.
fn unknown(host: &HostName) -> Fault {
    let fault = Fault::new(FaultCode::NotFound, format!("the fleet does not say any more how {host} is reached"));
    fault.hint("bring its files back as they were when the run was planned")
}

fn unreached(host: &HostName, error: &ConnectError) -> Fault {
    let fault = Fault::new(FaultCode::Io, chain(error)).within(format!("{host} is not reached"));
    match error.hint() {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// Whether something answers cannot be told while the line to the host does not.
fn silent(host: &HostName) -> Fault {
    let fault = Fault::new(FaultCode::Timeout, format!("the line to {host} is silent for more than {QUIET:?}"));
    fault.hint("is the line overloaded, or does that host wait for a name server? Its sshd does nothing else meanwhile")
}

/// Things went on before it was reached.
pub(super) fn late(host: &HostName) -> Fault {
    Fault::new(FaultCode::Timeout, format!("{host} was not reached yet"))
}

/// When a service is looked at again whose looks a host refuses: ever less often, for each leaves a line in its log.
#[derive(Debug, Default)]
pub(super) struct Patience {
    refused: Option<(Fault, Instant, Duration)>,
}

impl Patience {
    /// Why it is not looked at now.
    pub(super) fn holds(&self, now: Instant) -> Option<&Fault> {
        self.refused.as_ref().filter(|(_, until, _)| now < *until).map(|(fault, ..)| fault)
    }

    /// A look was refused. Those that were under way beside it change nothing.
    pub(super) fn refused(&mut self, fault: Fault, now: Instant) {
        if self.holds(now).is_none() {
            let pause = self.refused.take().map_or(PAUSE.0, |(_, _, pause)| (pause * 2).min(PAUSE.1));
            self.refused = Some((fault, now + pause, pause));
        }
    }

    /// One was not.
    pub(super) fn let_through(&mut self) {
        self.refused = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zero: Instant, ms: u64) -> Instant {
        zero + Duration::from_millis(ms)
    }

    #[test]
    fn a_line_vouches_only_for_what_it_answers_behind() {
        let zero = Instant::now();
        let (begin, end) = (at(zero, 1000), at(zero, 1200));
        let pulse = |asked: u64| Pulse { asked: Some(at(zero, asked)), ..Pulse::default() };
        assert_eq!(Pulse::default().vouches(begin, end), None, "no answer yet");
        assert_eq!(pulse(1150).vouches(begin, end), None, "asked before the look failed");
        assert_eq!(pulse(1200).vouches(begin, end), Some(true));
        for (what, pulse) in [
            ("cut", Pulse { cut: true, ..pulse(1300) }),
            ("silent", Pulse { silent: true, ..pulse(1300) }),
            ("was silent", Pulse { silent_until: Some(at(zero, 1100)), ..pulse(1300) }),
            ("was silent as it began", Pulse { silent_until: Some(begin), ..pulse(1300) }),
        ] {
            assert_eq!(pulse.vouches(begin, end), Some(false), "{what}");
        }
        let before = Pulse { silent_until: Some(at(zero, 999)), ..pulse(1300) };
        assert_eq!(before.vouches(begin, end), Some(true), "it was silent before");
    }

    #[test]
    fn who_is_refused_asks_ever_less_often() {
        let zero = Instant::now();
        let refused = || Fault::new(FaultCode::Denied, "no");
        let mut patience = Patience::default();
        assert_eq!(patience.holds(zero), None);
        let mut now = zero;
        for pause in [1, 2, 4, 8, 15, 15] {
            patience.refused(refused(), now);
            // Those that were under way.
            patience.refused(refused(), now);
            assert!(patience.holds(now + Duration::from_secs(pause) - PULSE).is_some());
            now += Duration::from_secs(pause);
            assert_eq!(patience.holds(now), None);
        }
        patience.let_through();
        patience.refused(refused(), now);
        assert_eq!(patience.holds(now + PAUSE.0), None);
    }
}
