//! Clocks that are set back in the middle of a run: nothing panics, nothing begins early, nothing waits for the clock to
//! come back to where it was.

use serde_json::json;

use super::*;
use crate::rollout::machine::RETRY_MS;

/// A run on a clock that can be set: hosts take real time, and so does waiting, whatever the clock shows.
struct Timed {
    rollout: Rollout,
    log: Vec<(i64, Happening)>,
    /// Real time; the clock shows it plus `set`.
    real: i64,
    set: i64,
    /// Real times of each happening.
    at: Vec<i64>,
}

impl Timed {
    fn new(rollout: Rollout) -> Timed {
        Timed { rollout, log: Vec::new(), real: 1_800_000_000_000, set: 0, at: Vec::new() }
    }

    fn clock(&self) -> i64 {
        self.real + self.set
    }

    fn happens(&mut self, happening: Happening) {
        self.rollout.on(self.clock(), &happening);
        self.log.push((self.clock(), happening));
        self.at.push(self.real);
    }

    /// As the driver does it: asks what is to be done, waits as long as the machine says, but looks again every half a
    /// second. The clock is set back by the next of `steps` whenever something happens and in the middle of every wait.
    fn play(&mut self, answers: &[Answer], back: &[i64]) -> Standing {
        let mut back = back.iter().cycle();
        let mut answers = answers.iter().cycle();
        self.happens(start());
        for _ in 0..200_000 {
            let actions = self.rollout.next(self.clock());
            if !actions.is_empty() {
                for action in actions {
                    self.real += 7;
                    self.set -= back.next().unwrap_or(&0);
                    let how = if matches!(action, Action::Record(_)) { Answer::Good } else { *answers.next().unwrap() };
                    answer(action, how).into_iter().for_each(|happening| self.happens(happening));
                }
                continue;
            }
            if let Some(works) = services_work(&self.rollout) {
                self.real += 7;
                self.happens(works);
                continue;
            }
            match self.rollout.standing(self.clock()) {
                Standing::Until(_) | Standing::Offline(_) => {
                    let due = self.rollout.due_ms(self.clock()).expect("what waits for a time has one");
                    self.real += (due - self.clock()).clamp(1, 500);
                    self.set -= back.next().unwrap_or(&0);
                }
                Standing::Working => panic!("it does nothing and does not say why: {:?}", self.log),
                standing => return standing,
            }
        }
        panic!("it waits for ever, now at {} of {:?}", self.clock(), self.log.iter().rev().take(5).collect::<Vec<_>>());
    }

    /// Real time between the last happening of a wave and the next wave.
    fn pauses(&self) -> Vec<i64> {
        let wave = |n: &usize| matches!(self.log[*n].1, Happening::WaveStarted { .. });
        (1..self.log.len()).filter(wave).map(|n| self.at[n] - self.at[n - 1]).collect()
    }
}

/// Two waves and a pause of two seconds.
fn two_waves() -> Rollout {
    new(&[2], &Rules { waves: vec![vec![host(0)]], pause_ms: 2000, ..Rules::default() })
}

#[test]
fn a_clock_set_back_an_hour_in_a_pause_begins_it_anew_at_most() {
    for at in 1..60 {
        let mut back = vec![0; at];
        back.push(3_600_000);
        back.extend([0; 1000]);
        let mut run = Timed::new(two_waves());
        assert_eq!(run.play(&[Answer::Good], &back), Standing::Ended(Outcome::Done), "set back at {at}");
        let pauses = run.pauses();
        assert_eq!(pauses.len(), 1);
        assert!((2000..=4007).contains(&pauses[0]), "set back at {at}: a pause of {} ms", pauses[0]);
    }
}

#[test]
fn a_host_that_is_switched_off_is_tried_again_in_time_though_the_clock_was_set_back() {
    let rules = Rules { offline_ms: Some(86_400_000), ..Rules::default() };
    let mut run = Timed::new(new(&[1], &rules));
    let mut back = vec![0; 4];
    back.push(3_600_000);
    back.extend([0; 10_000]);
    assert_eq!(run.play(&[Answer::Away, Answer::Good], &back), Standing::Ended(Outcome::Done));
    let away = run.log.iter().position(|(_, h)| matches!(h, Happening::HostOffline { .. })).expect("away");
    let waited = run.at[away + 1] - run.at[away];
    assert!((RETRY_MS..=2 * RETRY_MS + 1000).contains(&waited), "{waited} ms");
}

#[test]
fn a_stage_begins_when_the_clock_that_was_set_back_shows_its_window() {
    let window = json!({ "zone": "UTC", "pattern": { "from": "08:05", "to": "09:00" }, "reserve_ms": 0 });
    let windows = vec![serde_json::from_value(window).unwrap()];
    // The clock shows 08:00, then a minute passes, then it shows ten minutes less.
    let mut back = vec![0; 120];
    back.push(600_000);
    back.extend([0; 20_000]);
    let mut run = Timed::new(new(&[2], &Rules { windows, waves: vec![vec![host(0)]], ..Rules::default() }));
    let begin = run.real;
    assert_eq!(run.play(&[Answer::Good], &back), Standing::Ended(Outcome::Done));
    let started = run.log.iter().position(|(_, h)| matches!(h, Happening::StageStarted { .. })).expect("it started");
    let minutes = |ms: i64| ms / 60_000;
    assert_eq!((minutes(run.log[started].0 - begin), minutes(run.at[started] - begin)), (5, 15));
}

proptest! {
    #[test]
    fn clocks_that_are_set_back_again_and_again_change_no_outcome(
        sizes in sizes(), rules in rules(), answers in answers(),
        back in prop::collection::vec(prop_oneof![20 => Just(0_i64), 1 => 0..7_200_000_i64], 40..80),
    ) {
        let mut run = Timed::new(new(&sizes, &rules));
        let standing = run.play(&answers, &back);
        lawful(&run.log, &rules)?;
        match standing {
            Standing::Ended(outcome) => prop_assert_eq!(outcome, expected(&run.rollout)),
            standing => prop_assert!(matches!(standing, Standing::Held(_)), "{:?}", standing),
        }
        for pause in run.pauses() {
            prop_assert!(pause >= rules.pause_ms, "a pause of {} ms", pause);
        }
    }
}
