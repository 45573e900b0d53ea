//! What would have to change so that a plan fits: each lever alone, and the smallest pull of it that is enough, found by
//! reckoning the weekend again.

use super::lengths::{Lengths, Pace};
use super::model::{Model, Stage};
use super::weekend::Weekend;
use super::{Advice, Options, Waves};
use crate::plan::Plan;

/// Times that people are told to begin at are whole minutes.
const MINUTE: i64 = 60_000;

/// No more hosts than one in so many are proposed to be left out.
const FEW: usize = 5;

/// All that help, the smallest change first.
pub(super) fn find(model: &Model, plan: &Plan, options: &Options, weekend: &Weekend) -> Vec<Advice> {
    let earliest_ms = plan.created_ms.max(options.now_ms);
    let search = Search { model, start_ms: options.start_ms };
    let mut advice = Vec::new();
    advice.extend(search.start(earliest_ms, weekend));
    advice.extend(search.technicians());
    advice.extend(search.at_once());
    advice.extend(search.without());
    advice.extend(search.longer(weekend));
    advice
}

struct Search<'a> {
    model: &'a Model,
    start_ms: i64,
}

impl Search<'_> {
    fn fits(&self, model: &Model, start_ms: i64) -> bool {
        let lengths = Lengths::new(model, &mut Pace::Bound);
        Weekend::of(model, &lengths, start_ms).fits(model, &lengths)
    }

    fn with(&self, change: impl FnOnce(&mut Model)) -> bool {
        let mut model = self.model.clone();
        change(&mut model);
        self.fits(&model, self.start_ms)
    }

    /// Begin earlier, so that the window is not used up by what may come before it; or later, at its next opening.
    fn start(&self, earliest_ms: i64, weekend: &Weekend) -> Vec<Advice> {
        let lengths = Lengths::new(self.model, &mut Pace::Bound);
        let margins: Vec<_> = weekend.margins(self.model, &lengths).collect();
        let Some(first) = margins.iter().find(|margin| !margin.fits()) else { return Vec::new() };
        let (stage, played) = (&self.model.stages[first.stage], &weekend.stages[first.stage]);
        let Some(opening) = stage.opening(played.start_ms) else { return Vec::new() };
        let mut found = Vec::new();
        let earliest = self.start_ms - (played.start_ms - opening.start_ms);
        if earliest >= earliest_ms && earliest < self.start_ms && self.fits(self.model, earliest) {
            let latest = last_that_holds(earliest, self.start_ms, MINUTE, |start| self.fits(self.model, start));
            found.push(Advice::StartBy(latest));
        }
        let next = stage.rules.windows.iter().filter_map(|window| window.openings(opening.end_ms).next()).max();
        if let Some(next) = next {
            // What comes before the window is done ahead of it.
            let later = next.start_ms - (played.start_ms - self.start_ms);
            if later > self.start_ms && self.fits(self.model, later) {
                found.push(Advice::StartFrom(later));
            }
        }
        found
    }

    fn technicians(&self) -> Option<Advice> {
        let now = self.model.technicians;
        let most = self.model.stages.iter().map(|stage| stage.hosts.len()).max()?;
        let enough = |count: usize| self.with(|model| model.technicians = count);
        let count = first_that_holds(now.checked_add(1)?, most, enough)?;
        Some(Advice::Technicians(u32::try_from(count).ok()?))
    }

    /// More hosts at once: in the waves that there are, else in fewer; whoever goes ahead goes ahead as long as that fits.
    fn at_once(&self) -> Vec<Advice> {
        let stages = self.model.stages.iter().enumerate().filter(|(_, stage)| stage.turns.is_empty());
        let one = |(at, stage): (usize, &Stage)| {
            let most = stage.hosts.len().min(self.model.connections);
            let now = stage.waves.iter().map(|wave| wave.len().min(stage.at_once)).max()?;
            [Waves::AsPlanned, Waves::FirstAndRest, Waves::One].into_iter().find_map(|waves| {
                let together = |hosts: usize| {
                    self.with(|model| {
                        let stage = &mut model.stages[at];
                        stage.waves = fewer(&stage.waves, waves);
                        stage.at_once = hosts;
                    })
                };
                let hosts = first_that_holds(now, most, together)?;
                Some(Advice::AtOnce { stage: stage.name.clone(), hosts: u32::try_from(hosts).ok()?, waves })
            })
        };
        stages.filter_map(one).collect()
    }

    /// Leaves out the hosts that take longest, as few as it takes.
    fn without(&self) -> Option<Advice> {
        let lengths = Lengths::new(self.model, &mut Pace::Bound);
        let weekend = Weekend::of(self.model, &lengths, self.start_ms);
        let at = weekend.margins(self.model, &lengths).find(|margin| !margin.fits())?.stage;
        let (stage, of) = (&self.model.stages[at], &lengths.stages[at]);
        if !stage.turns.is_empty() || stage.hosts.len() < 2 {
            return None;
        }
        let mut slowest: Vec<usize> = (0..stage.hosts.len()).collect();
        slowest.sort_by_key(|host| std::cmp::Reverse(of.steps[*host].iter().sum::<i64>() + of.back[*host]));
        let names = |count: usize| slowest[..count].iter().map(|host| stage.hosts[*host].clone()).collect::<Vec<_>>();
        let fits = |count: usize| {
            let gone = names(count);
            self.with(|model| model.leave_out(&gone))
        };
        let count = first_that_holds(1, (stage.hosts.len() / FEW).max(1), fits)?;
        Some(Advice::Without(names(count)))
    }

    /// The window of one stage, and of those that have the same, is open for longer.
    fn longer(&self, weekend: &Weekend) -> Option<Advice> {
        let lengths = Lengths::new(self.model, &mut Pace::Bound);
        let lack = |margin: super::weekend::Margin| (margin.end_ms + margin.back_ms - margin.close_ms, margin.stage);
        let margins = weekend.margins(self.model, &lengths).filter(|margin| !margin.fits());
        let (at, most) = match weekend.never {
            Some(at) => (at, LONGEST_MS),
            // A longer window may let an earlier stage begin in an earlier one: so what lacks is not always what is needed.
            None => margins.map(lack).max().map(|(by_ms, at)| (at, by_ms.saturating_mul(4)))?,
        };
        let windows = &self.model.stages[at].rules.windows;
        let enough = |by_ms: usize| {
            let by_ms = i64::try_from(by_ms).unwrap_or(0);
            self.with(|model| {
                let same = model.stages.iter_mut().filter(|stage| stage.rules.windows == *windows);
                same.for_each(|stage| stage.longer_ms = by_ms);
            })
        };
        let by_ms = first_that_holds(1, usize::try_from(most).ok()?, enough)?;
        let stage = self.model.stages[at].name.clone();
        Some(Advice::LongerWindow { stage, by_ms: u64::try_from(by_ms).ok()? })
    }
}

/// A window is not proposed to be open for longer than this in addition.
const LONGEST_MS: i64 = 7 * 24 * 60 * MINUTE;

/// Waves of the same hosts in the same order.
fn fewer(waves: &[Vec<usize>], how: Waves) -> Vec<Vec<usize>> {
    match (how, waves) {
        (Waves::FirstAndRest, [first, rest @ ..]) if !rest.is_empty() => vec![first.clone(), rest.concat()],
        (Waves::AsPlanned | Waves::FirstAndRest, _) => waves.to_vec(),
        (Waves::One, _) => vec![waves.concat()],
    }
}

/// The smallest number that holds, if larger ones hold whenever a smaller one does.
fn first_that_holds(from: usize, to: usize, holds: impl Fn(usize) -> bool) -> Option<usize> {
    if from > to || !holds(to) {
        return None;
    }
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(high)
}

/// The latest time that holds, in steps from the earliest, which does.
fn last_that_holds(earliest: i64, latest: i64, step: i64, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut low, mut high) = (0, (latest - earliest) / step);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if holds(earliest + middle * step) { low = middle } else { high = middle - 1 }
    }
    earliest + low * step
}
