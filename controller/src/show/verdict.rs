//! What came of comparing a host with its manifest, and what of it has drifted.

use std::fmt::Write;

use weiche_agent::protocol::{Difference, Drift};

use crate::input::target::HostName;
use crate::plan;
use crate::rollout::Verdict;

/// `HOST: identical ...`, or the differences, at most `most` of them.
pub fn text(host: &HostName, verdict: &Verdict, most: usize) -> String {
    let manifest = &verdict.manifest;
    let what = format!("{} path(s), {} bytes, sha256 {}", manifest.entries, manifest.bytes, manifest.digest.short());
    if verdict.identical() {
        return format!("   {host}: identical to before ({what})");
    }
    let mut text = format!("   {host}: DIFFERS from before in {} place(s) ({what})", verdict.differences);
    for difference in verdict.told.iter().take(most) {
        text.push('\n');
        text.push_str(&line(difference));
    }
    let rest = verdict.differences.saturating_sub(verdict.told.len().min(most) as u64);
    if rest > 0 {
        // Writing to a string does not fail.
        let _ = write!(text, "\n     ... and {rest} more");
    }
    text
}

fn line(difference: &Difference) -> String {
    let Difference { subject, was, is } = difference;
    match (was, is) {
        (None, Some(is)) => format!("     + {subject}: {is}"),
        (Some(was), None) => format!("     - {subject}: {was}"),
        (Some(was), Some(is)) => {
            format!("     ~ {subject}: {was}\n       {:width$}  {is}", "", width = subject.chars().count())
        }
        (None, None) => format!("     ? {subject}"),
    }
}

/// What has drifted on a host, a resource a paragraph.
pub fn drift(host: &HostName, drifts: &[Drift]) -> String {
    let mut text = String::new();
    for drift in drifts {
        let _ = writeln!(
            text,
            "{host}: {} {} is not as run {} left it (step {})",
            drift.kind, drift.title, drift.run, drift.step
        );
        let lines = match &drift.now {
            Ok(now) => plan::differences(&drift.kind, &drift.left, now),
            Err(fault) => vec![format!("? {fault}")],
        };
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}
