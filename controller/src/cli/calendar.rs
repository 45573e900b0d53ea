//! `weiche calendar`: which members need which windows for what, and where that collides.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeSet;
use std::io::{Write as _, stderr};
use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::{Context, output, read, work};
use crate::drive::clock::now_ms;
use crate::forecast::agenda::{Entry, conflicts, entries, of_member};
use crate::forecast::{self, Options};
use crate::input::load::Loaded;
use crate::plan::Plan;
use crate::show::agenda::{self, Agenda};
use crate::view::{State, View};

/// Where plans lie that are to be in the calendar, below the fleet's directory.
const PLANS: &str = "plans";

/// Show which members need which windows, with how many people, and what collides (exit code 5 if anything)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Saved plans [default: those in the fleet's `plans/`, and the runs that have not ended]
    plans: Vec<PathBuf>,
    /// Only what this member has to do with, and what collides with that
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Write an iCalendar file too
    #[arg(long, value_name = "FILE")]
    ics: Option<PathBuf>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    let fleet = loaded.fleet();
    if let Some(name) = args.member.as_ref().filter(|name| fleet.member(name).is_none()) {
        return Err(Failure::new(format!("there is no member `{name}`")));
    }
    let now = now_ms();
    let mut found: Vec<Entry> = Vec::new();
    let (plans, all_read) = plans(&args, context, &loaded, now).await?;
    for (plan, start_ms) in plans {
        let options = Options { start_ms, ..Options::default() };
        found.extend(entries(&plan, &forecast::of(&plan, &options)));
    }
    found.retain(|entry| entry.opening.end_ms > now);
    found.sort_by(|a, b| (a.opening, a.from_ms, &a.members).cmp(&(b.opening, b.from_ms, &b.members)));
    for entry in &mut found {
        entry.holidays = holidays(&loaded, entry);
        entry.persons = persons(&loaded, entry);
    }
    let mut conflicts = conflicts(&found, fleet.technicians());
    if let Some(member) = &args.member {
        (found, conflicts) = of_member(member, found, conflicts);
    }
    let collides = !conflicts.is_empty() || found.iter().any(|entry| !entry.fits);
    let agenda = Agenda { entries: found, conflicts };
    if let Some(path) = &args.ics {
        output::whole(path, &agenda::ics(&agenda, fleet.zone(), now))?;
    }
    work::print(&if context.json { agenda::json(&agenda) } else { agenda::text(&agenda, fleet.zone()) });
    Ok(match (collides, all_read) {
        (true, _) => Exit::DoesNotFit,
        (false, true) => Exit::Done,
        (false, false) => Exit::Error,
    })
}

/// The plans, when each begins or began, and whether all of the fleet's could be read: whichever cannot is named.
async fn plans(args: &Args, context: &Context, loaded: &Loaded, now: i64) -> Result<(Vec<(Plan, i64)>, bool), Failure> {
    if !args.plans.is_empty() {
        let begins = |plan: Plan| {
            let start_ms = plan.begins_ms(now);
            (plan, start_ms)
        };
        let named = args.plans.iter().map(|path| Ok(begins(read::plan(path)?))).collect::<Result<_, Failure>>()?;
        return Ok((once(named), true));
    }
    let (mut found, mut all_read) = (Vec::new(), true);
    let dir = loaded.dir().join(PLANS);
    if let Ok(listed) = std::fs::read_dir(&dir) {
        let mut paths: Vec<PathBuf> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
        paths.sort();
        for path in paths {
            match read::plan(&path) {
                Ok(plan) => {
                    let start_ms = plan.begins_ms(now);
                    found.push((plan, start_ms));
                }
                Err(failure) => {
                    all_read = false;
                    let _ = writeln!(stderr(), "weiche: {failure}");
                }
            }
        }
    }
    if work::store_path(context, loaded).exists() {
        let store = work::store(context, Some(loaded)).await?;
        let failed = |e| Failure::of("read the run log", &e);
        for run in store.runs().await.map_err(failed)? {
            let view = View::of(&run.id, &store.events(&run.id).await.map_err(failed)?);
            let Ok(plan) = crate::plan::read(&run.plan) else { continue };
            // A plan is used once: what its run did or does counts, not the file.
            found.retain(|(other, _): &(Plan, i64)| other.digest() != plan.digest());
            if let State::New | State::Forward(_) | State::Backward = view.state {
                let start_ms = if view.started_ms > 0 { view.started_ms } else { plan.begins_ms(now) };
                found.push((plan, start_ms));
            }
        }
    }
    Ok((once(found), all_read))
}

/// A copy of a plan is the same work.
fn once(mut plans: Vec<(Plan, i64)>) -> Vec<(Plan, i64)> {
    let mut seen = BTreeSet::new();
    plans.retain(|(plan, _)| seen.insert(plan.digest().to_string()));
    plans
}

/// Two members' people of one name are two: whom only a member knows is named with it.
fn persons(loaded: &Loaded, entry: &Entry) -> BTreeSet<String> {
    let own = |member: &str, name: &str| {
        loaded.fleet().member(member).is_some_and(|of| of.people.keys().any(|known| **known == *name))
    };
    let named = |name: &String| {
        let of = entry.members.iter().map(|member| match own(member, name) {
            true => format!("{member}/{name}"),
            false => name.clone(),
        });
        of.collect::<Vec<_>>()
    };
    entry.persons.iter().flat_map(named).collect()
}

/// The public holidays that an entry's window touches.
fn holidays(loaded: &Loaded, entry: &Entry) -> Vec<String> {
    let fleet = loaded.fleet();
    let Some(holidays) = fleet.holidays() else { return Vec::new() };
    let day = |ms: i64| fleet.zone().civil(ms).map(|at| at.date());
    let (Some(first), Some(last)) = (day(entry.opening.start_ms), day(entry.opening.end_ms - 1)) else {
        return Vec::new();
    };
    let days =
        std::iter::successors(Some(first), |date| date.tomorrow().ok()).take_while(|date| *date <= last).take(31);
    days.filter_map(|date| Some(format!("{date} {}", holidays.name_of(date)?))).collect()
}
