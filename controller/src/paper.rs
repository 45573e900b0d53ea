//! The papers of a weekend: run sheet, summary, hand-over report, and the weekend as a picture.
//!
//! Pure: a plan, its forecast, the events of its run and the fleet's people in; data for a template, or text, out. People
//! and their phone numbers come from the fleet and stand on papers only, never in a plan, a log or a report. What steps
//! tell on their way (who has files open) is on no paper.

mod example;
pub mod fault;
pub mod gantt;
pub mod hand_over;
pub mod people;
pub mod probe;
pub mod reason;
pub mod render;
pub mod run_sheet;
pub mod sentence;
pub mod when;
pub mod words;

use crate::plan::Plan;
use people::People;
use when::When;
use words::Words;

/// What a paper is written with.
#[derive(Clone, Copy, Debug)]
pub struct Pen<'a> {
    /// Its words.
    pub words: &'static Words,
    /// Its times.
    pub when: &'a When,
    /// Who has to do with the run.
    pub people: &'a People,
}

/// The members of a plan by their names in full, in the order of their hosts.
fn members(plan: &Plan, people: &People) -> String {
    let mut names: Vec<&str> = Vec::new();
    for host in plan.hosts() {
        let name = people.titles.get(host.member()).map_or("", String::as_str);
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
