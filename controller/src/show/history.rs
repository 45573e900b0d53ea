//! What steps took, as a table.

use std::fmt::Write;

use crate::history::{History, LEAST};
use crate::plan::takes::Basis;

/// A line for each group of like samples.
pub fn text(history: &History) -> String {
    let mut out = String::new();
    let mut last = None;
    for (sample, estimate) in history.groups() {
        let head = (sample.what.clone(), sample.way);
        if last.as_ref() != Some(&head) {
            let _ = writeln!(out, "{} ({})", head.0, head.1.as_str());
            last = Some(head);
        }
        let runs = if let Basis::Runs(runs) = estimate.from { runs } else { 0 };
        let few = if usize::try_from(runs).is_ok_and(|runs| runs < LEAST) { ", too few to go by" } else { "" };
        let title = if sample.title.is_empty() { "(any)" } else { &sample.title };
        let place = if sample.member.is_empty() {
            sample.class.clone()
        } else {
            format!("{} of {}", sample.class, sample.member)
        };
        let [usual, bound] = [estimate.usual_ms, estimate.bound_ms].map(super::forecast::span);
        let _ = writeln!(out, "  {title}\n      {place}: usually {usual}, at most {bound} ({runs} run(s){few})");
    }
    if out.is_empty() {
        out.push_str(
            "Nothing is remembered yet: every run adds what its steps took; see also `weiche history import`.\n",
        );
    }
    out
}
