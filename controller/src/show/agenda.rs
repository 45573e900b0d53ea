//! The fleet's calendar as text, JSON and iCalendar (RFC 5545).

use std::collections::BTreeSet;
use std::fmt::Write;

use icalendar::{Calendar, Component, Event};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::calendar::Zone;
use crate::forecast::agenda::{Conflict, Entry, Why};

/// Major and minor version of the JSON.
pub const VERSION: (u32, u32) = (1, 0);

/// A calendar as `weiche calendar --json` prints it.
#[derive(Serialize, JsonSchema)]
pub struct Told<'a> {
    /// Version of this form.
    weiche_calendar: (u32, u32),
    #[serde(flatten)]
    agenda: &'a Agenda,
}

/// What a calendar shows.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Agenda {
    /// By time.
    pub entries: Vec<Entry>,
    /// What of it cannot be at once.
    pub conflicts: Vec<Conflict>,
}

/// As JSON.
pub fn json(agenda: &Agenda) -> String {
    serde_json::to_string_pretty(&Told { weiche_calendar: VERSION, agenda }).unwrap_or_default() + "\n"
}

/// As text.
pub fn text(agenda: &Agenda, zone: &Zone) -> String {
    let mut out = String::new();
    let mut last = None;
    for (n, entry) in agenda.entries.iter().enumerate() {
        let opening = entry.opening;
        if last != Some(opening) {
            let holidays =
                if entry.holidays.is_empty() { String::new() } else { format!("  ({})", entry.holidays.join(", ")) };
            let _ = writeln!(out, "{} to {}{holidays}", zone.tell(opening.start_ms), zone.tell(opening.end_ms));
            last = Some(opening);
        }
        let members = entry.members.iter().cloned().collect::<Vec<_>>().join(", ");
        let fits = if entry.fits { "" } else { "  DOES NOT FIT" };
        let _ = writeln!(out, "  {:>2}  {members}: {} ({}){fits}", n + 1, entry.playbook, entry.stages.join(", "));
        let times = [entry.from_ms, entry.to_ms].map(|at| zone.tell(at));
        let _ = writeln!(
            out,
            "      {} to {}, {}; {} host(s), {} at once to do it",
            times[0],
            times[1],
            back(entry, zone),
            entry.hosts.len(),
            people(entry.people, &entry.persons)
        );
    }
    for conflict in &agenda.conflicts {
        let numbers: Vec<String> = conflict.entries.iter().map(|n| (n + 1).to_string()).collect();
        let why = match &conflict.why {
            Why::Members(members) => {
                let members = members.iter().cloned().collect::<Vec<_>>().join(", ");
                format!("one weiche at a time works for {members}")
            }
            Why::Persons(persons) => {
                let persons = persons.iter().cloned().collect::<Vec<_>>().join(", ");
                format!("{persons} would have to be in two places")
            }
            Why::People { needed, there_are } => {
                format!("{needed} people are needed at once, there are {there_are}")
            }
        };
        let _ = writeln!(out, "CONFLICT between {}: {why}.", numbers.join(" and "));
    }
    if agenda.entries.is_empty() {
        out.push_str("No plan needs a window.\n");
    }
    out
}

/// Until when the way back goes, as far as there is one.
fn back(entry: &Entry, zone: &Zone) -> String {
    let back = match entry.no_return_ms {
        Some(from_ms) => format!("NO WAY BACK from {}", zone.tell(from_ms)),
        None => format!("back by {}", zone.tell(entry.back_by_ms)),
    };
    match entry.taken_to_ms > entry.back_by_ms {
        true => format!("{back}; soaks, and taken until {}", zone.tell(entry.taken_to_ms)),
        false => back,
    }
}

fn people(number: u32, persons: &BTreeSet<String>) -> String {
    let number = if number == 1 { "1 person".to_owned() } else { format!("{number} people") };
    match persons.is_empty() {
        true => number,
        false => format!("{number} ({})", persons.iter().cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// As iCalendar: an event for each piece of work, with its way back.
pub fn ics(agenda: &Agenda, zone: &Zone, created_ms: i64) -> String {
    let mut calendar = Calendar::new();
    for entry in &agenda.entries {
        let mut event = Event::new();
        let members = entry.members.iter().cloned().collect::<Vec<_>>().join(", ");
        let told = format!(
            "Stages: {}\nHosts: {}\nPeople at once: {}\nShould it have to go back: {}.",
            entry.stages.join(", "),
            entry.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            people(entry.people, &entry.persons),
            back(entry, zone),
        );
        let stage = entry.stages.first().map_or("", String::as_str);
        event.uid(&format!("{}-{stage}@weiche.invalid", entry.plan.short()));
        event.summary(&format!("{}: {members}", entry.playbook)).description(&told);
        // In UTC, so that no calendar has to know our time zones.
        event.add_property("DTSTAMP", utc(created_ms));
        event
            .add_property("DTSTART", utc(entry.from_ms))
            .add_property("DTEND", utc(entry.to_ms.max(entry.from_ms + 1000)));
        calendar.push(event.done());
    }
    calendar.to_string()
}

fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
}
