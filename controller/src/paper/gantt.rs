//! The weekend as a picture: for each host what was planned and what came, for each service when it was away; as SVG and
//! as lines of text. The axis counts instants, not clock times: the night in which clocks change is as long as it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use weiche_agent::protocol::StepOutcome;

use super::when::When;
use crate::calendar::Opening;
use crate::forecast::Forecast;
use crate::input::target::HostName;
use crate::rollout::Happening;
use crate::store::Event;
use crate::view::View;

/// What is drawn. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Chart {
    /// Left edge.
    pub from_ms: i64,
    /// Right edge.
    pub to_ms: i64,
    /// Stages with the time in which each is planned.
    pub stages: Vec<(String, i64, i64)>,
    /// Windows.
    pub windows: Vec<Opening>,
    /// From top to bottom.
    pub lines: Vec<Line>,
}

/// What the template `gantt` gets, besides `words`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Page {
    /// Names of members in full.
    pub member: String,
    /// The playbook.
    pub playbook: String,
    /// Short digest.
    pub plan: String,
    /// Clocks change.
    pub clocks_change: bool,
    /// The picture.
    pub svg: String,
}

/// A host or a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Line {
    /// Its name.
    pub label: String,
    /// From, usual end, latest end.
    pub planned: Vec<(i64, i64, i64)>,
    /// As it came.
    pub actual: Vec<(i64, i64)>,
    /// Being taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<(i64, i64)>,
    /// Away.
    pub gaps: Vec<(i64, i64)>,
}

/// Collects what is to be drawn; without events the plan alone.
pub fn chart(forecast: &Forecast, events: &[Event], view: Option<&View>) -> Chart {
    let mut lines: Vec<Line> = Vec::new();
    for stage in &forecast.stages {
        for (host, steps) in &stage.hosts {
            let (Some(first), Some(last)) = (steps.first(), steps.last()) else { continue };
            let bar = (first.start.usual_ms, last.end.usual_ms, last.end.latest_ms);
            line(&mut lines, &host.0).planned.push(bar);
        }
    }
    went(&mut lines, events);
    for (name, service) in view.into_iter().flat_map(|view| &view.services) {
        let from = service.vantages.iter().map(|(host, sight)| (format!("{name} ({})", host.name()), sight));
        for (label, sight) in std::iter::once((name.clone(), &service.here)).chain(from) {
            let gaps = sight.measure.told.iter();
            let gaps = gaps.map(|gap| (gap.start_ms, gap.start_ms.saturating_add_unsigned(gap.away_ms))).collect();
            lines.push(Line { label, gaps, ..Line::default() });
        }
    }
    let times = |line: &Line| {
        let planned = line.planned.iter().flat_map(|(a, _, b)| [*a, *b]);
        planned
            .chain(line.actual.iter().chain(&line.back).chain(&line.gaps).flat_map(|(a, b)| [*a, *b]))
            .collect::<Vec<_>>()
    };
    let all: Vec<i64> = lines.iter().flat_map(times).chain([forecast.start_ms, forecast.end.latest_ms]).collect();
    let mut windows: Vec<Opening> = Vec::new();
    for opening in forecast.stages.iter().filter_map(|stage| stage.opening) {
        if !windows.contains(&opening) {
            windows.push(opening);
        }
    }
    let from_ms = all.iter().copied().min().unwrap_or(0);
    let to_ms = all.iter().copied().chain(windows.iter().map(|window| window.end_ms)).max().unwrap_or(0);
    let stages = forecast.stages.iter().map(|stage| (stage.stage.clone(), stage.start.usual_ms, stage.end.usual_ms));
    Chart { from_ms, to_ms: to_ms.max(from_ms + 60_000), stages: stages.collect(), windows, lines }
}

/// When hosts were at work, there and back.
fn went(lines: &mut Vec<Line>, events: &[Event]) {
    let mut begun: BTreeMap<(&HostName, &str), i64> = BTreeMap::new();
    // Since the first step was being taken back.
    let mut back: BTreeMap<&HostName, i64> = BTreeMap::new();
    let mut turned_ms = None;
    for Event { at_ms, what, .. } in events {
        match what {
            Happening::HostBegun { host, stage } => drop(begun.insert((host, stage), *at_ms)),
            Happening::HostDone { host, stage } | Happening::HostFailed { host, stage, .. } => {
                if let Some(from_ms) = begun.remove(&(host, stage)) {
                    line(lines, &host.0).actual.push((from_ms, *at_ms));
                }
            }
            Happening::RollbackStarted { .. } => turned_ms = Some(*at_ms),
            Happening::Step { host, event } => {
                if let StepOutcome::Undone | StepOutcome::UndoneDrifted { .. } = event.what {
                    let took_ms = event.took_us / 1000;
                    back.entry(host).or_insert(at_ms.saturating_sub_unsigned(took_ms));
                }
            }
            Happening::HostUndone { host, stage } | Happening::HostStuck { host, stage, .. } => {
                if let Some(from_ms) = begun.remove(&(host, stage)) {
                    line(lines, &host.0).actual.push((from_ms, turned_ms.unwrap_or(*at_ms)));
                }
                let from_ms = back.remove(host).or(turned_ms).unwrap_or(*at_ms);
                line(lines, &host.0).back.push((from_ms, *at_ms));
            }
            _ => {}
        }
    }
    let now_ms = events.last().map_or(i64::MIN, |event| event.at_ms);
    for ((host, _), from_ms) in begun {
        line(lines, &host.0).actual.push((from_ms, now_ms));
    }
    for (host, from_ms) in back {
        line(lines, &host.0).back.push((from_ms, now_ms));
    }
}

fn line<'a>(lines: &'a mut Vec<Line>, label: &str) -> &'a mut Line {
    let at = lines.iter().position(|line| line.label == label).unwrap_or_else(|| {
        lines.push(Line { label: label.to_owned(), ..Line::default() });
        lines.len() - 1
    });
    &mut lines[at]
}

const MINUTE: i64 = 60_000;

/// Distances of marks on the axis, in minutes.
const STEPS: [i64; 12] = [1, 2, 5, 15, 30, 60, 120, 180, 360, 720, 1440, 10_080];

impl Chart {
    /// Instants for the axis, `most` at most.
    fn ticks(&self, most: i64) -> Vec<i64> {
        let length = self.to_ms - self.from_ms;
        let step = STEPS.iter().map(|step| step * MINUTE).find(|step| length / step < most).unwrap_or(length.max(1));
        let first = self.from_ms.div_euclid(step) * step + step;
        (0..most).map(|n| first + n * step).take_while(|at| *at <= self.to_ms).collect()
    }

    /// As lines of text, none longer than `width` characters.
    pub fn text(&self, when: &When, width: usize) -> String {
        let width = width.max(1);
        let label = self.lines.iter().map(|line| line.label.chars().count()).max().unwrap_or(0).min(width / 4);
        let columns = width.saturating_sub(label + 1).max(1);
        let column = |at_ms: i64| {
            let along = (at_ms - self.from_ms).clamp(0, self.to_ms - self.from_ms);
            usize::try_from(i128::from(along) * (columns as i128 - 1) / i128::from(self.to_ms - self.from_ms))
                .unwrap_or(0)
        };
        let mut out = String::new();
        let mut put = |name: &str, cells: &[char]| {
            let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(label).collect();
            let row = format!("{name:<label$} {}", cells.iter().collect::<String>());
            let row: String = row.trim_end().chars().take(width).collect();
            out.push_str(&row);
            out.push('\n');
        };
        let (mut axis, mut free) = (vec![' '; columns], 0);
        for at in self.ticks(8) {
            let text: Vec<char> = format!("|{}", when.day_and_clock(at)).chars().collect();
            let from = column(at);
            if from >= free && from + text.len() <= columns {
                axis[from..from + text.len()].copy_from_slice(&text);
                free = from + text.len() + 1;
            }
        }
        put("", &axis);
        for line in &self.lines {
            let mut plan = vec![' '; columns];
            for (from, usual, latest) in &line.planned {
                plan[column(*from)..=column(*latest)].fill('·');
                plan[column(*from)..=column(*usual)].fill('─');
            }
            let mut actual = vec![' '; columns];
            line.actual.iter().for_each(|(from, to)| actual[column(*from)..=column(*to)].fill('█'));
            line.back.iter().for_each(|(from, to)| actual[column(*from)..=column(*to)].fill('<'));
            line.gaps.iter().for_each(|(from, to)| actual[column(*from)..=column(*to)].fill('x'));
            if !line.planned.is_empty() {
                put(&line.label, &plan);
            }
            if line.planned.is_empty() || !(line.actual.is_empty() && line.back.is_empty()) {
                put(if line.planned.is_empty() { &line.label } else { "" }, &actual);
            }
        }
        out
    }

    /// As SVG; everything that comes from data is escaped.
    pub fn svg(&self, when: &When) -> String {
        const LEFT: f64 = 190.0;
        const WIDE: f64 = 1000.0;
        const HIGH: f64 = 26.0;
        let x = |at_ms: i64| {
            let along =
                precise(at_ms.clamp(self.from_ms, self.to_ms) - self.from_ms) / precise(self.to_ms - self.from_ms);
            LEFT + along * (WIDE - LEFT - 10.0)
        };
        let (marks, rows) = marks(&self.stages, x, WIDE);
        let top = ROW * precise(rows.max(2)) + 28.0;
        let bottom = top + HIGH * precise(self.lines.len() as i64);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDE} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <path d=\"M0 0V6\" stroke=\"#888\" stroke-width=\"1\"/></pattern></defs>\n",
            bottom + 24.0
        );
        let mut rect = |from: i64, to: i64, y: f64, high: f64, look: &str| {
            let wide = (x(to) - x(from)).max(1.5);
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\" {look}/>",
                x(from)
            );
        };
        let mut open_from = self.from_ms;
        let mut windows = self.windows.clone();
        windows.sort_by_key(|window| window.start_ms);
        for window in &windows {
            if window.start_ms > open_from {
                rect(open_from, window.start_ms, top, bottom - top, "fill=\"url(#hatch)\"");
            }
            rect(window.close_ms, window.end_ms, top, bottom - top, "fill=\"url(#hatch)\" stroke=\"#000\"");
            open_from = open_from.max(window.end_ms);
        }
        if !windows.is_empty() && open_from < self.to_ms {
            rect(open_from, self.to_ms, top, bottom - top, "fill=\"url(#hatch)\"");
        }
        for (n, line) in (0i64..).zip(&self.lines) {
            let y = top + HIGH * precise(n);
            for (from, usual, latest) in &line.planned {
                rect(*usual, *latest, y + 4.0, 9.0, "fill=\"#fff\" stroke=\"#000\" stroke-dasharray=\"2 2\"");
                rect(*from, *usual, y + 4.0, 9.0, "fill=\"#fff\" stroke=\"#000\" stroke-width=\"1.5\"");
            }
            line.actual.iter().for_each(|(from, to)| rect(*from, *to, y + 15.0, 7.0, "fill=\"#555\""));
            for (from, to) in &line.back {
                rect(*from, *to, y + 15.0, 7.0, "fill=\"#ccc\" stroke=\"#000\"");
            }
            line.gaps.iter().for_each(|(from, to)| rect(*from, *to, y + 4.0, 18.0, "fill=\"#000\""));
        }
        for Mark { name, from, to, row, before } in marks {
            let y = ROW * precise(row) + 12.0;
            let _ = writeln!(
                out,
                "<path d=\"M{from:.1} {:.1}V{bottom:.1}\" stroke=\"#000\" stroke-width=\"1.2\"/>",
                y - 8.0
            );
            let (at, anchor) = if before { (from - 3.0, " text-anchor=\"end\"") } else { (from + 3.0, "") };
            let name = escaped(name);
            let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{y}\"{anchor} font-weight=\"bold\">{name}</text>");
            let _ = writeln!(out, "<path d=\"M{from:.1} {:.1}H{to:.1}\" stroke=\"#000\" stroke-width=\"2\"/>", y + 3.0);
        }
        for (n, at) in self.ticks(9).into_iter().enumerate() {
            let y = if n % 2 == 0 { bottom + 11.0 } else { bottom + 21.0 };
            // At the right edge there is no room for half of it.
            let anchor = if x(at) > WIDE - 60.0 { "end" } else { "middle" };
            let _ = writeln!(
                out,
                "<path d=\"M{0:.1} {top}V{bottom:.1}\" stroke=\"#aaa\" stroke-dasharray=\"1 3\"/>",
                x(at)
            );
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"10\">{}</text>",
                x(at),
                escaped(&when.day_and_clock(at))
            );
        }
        for (n, line) in (0i64..).zip(&self.lines) {
            let y = top + HIGH * precise(n);
            let label: String = if line.label.chars().count() > 27 {
                line.label.chars().take(26).chain(['…']).collect()
            } else {
                line.label.clone()
            };
            let _ = writeln!(out, "<text x=\"2\" y=\"{:.1}\">{}</text>", y + 16.0, escaped(&label));
            let _ = writeln!(out, "<path d=\"M0 {y:.1}H{WIDE}\" stroke=\"#ccc\"/>");
        }
        out + "</svg>\n"
    }
}

/// Height of a row of names above the picture.
const ROW: f64 = 14.0;

/// A stage above the picture.
struct Mark<'a> {
    name: &'a str,
    from: f64,
    to: f64,
    row: i64,
    /// There is no room for its name behind its beginning.
    before: bool,
}

/// Each in the first row in which it overprints no other; and the number of rows.
fn marks(stages: &[(String, i64, i64)], x: impl Fn(i64) -> f64, wide: f64) -> (Vec<Mark<'_>>, i64) {
    // Up to where a row is taken.
    let mut taken: Vec<f64> = Vec::new();
    let mut found = Vec::new();
    let mut sorted: Vec<&(String, i64, i64)> = stages.iter().collect();
    sorted.sort_by_key(|(_, from, _)| *from);
    for (name, from, to) in sorted {
        let (from, to) = (x(*from), x(*to));
        // Of bold letters few are wider than this.
        let long = precise(name.chars().count() as i64) * 8.0 + 6.0;
        let before = from + long > wide;
        let (left, right) = if before { (from - long, to) } else { (from, to.max(from + long)) };
        let row = taken.iter().position(|end| *end <= left).unwrap_or(taken.len());
        if row == taken.len() {
            taken.push(right);
        } else {
            taken[row] = right;
        }
        found.push(Mark { name, from, to, row: row as i64, before });
    }
    let rows = taken.len() as i64;
    (found, rows)
}

/// Of lengths in a picture: below 2^53 nothing is lost.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn precise(n: i64) -> f64 {
    n as f64
}

fn escaped(text: &str) -> String {
    handlebars::html_escape(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a millisecond to a unit of the picture.
    fn place(at_ms: i64) -> f64 {
        190.0 + precise(at_ms)
    }

    #[test]
    fn names_of_stages_overprint_no_other() {
        // A short night in a long window, and one that begins at the right edge.
        let stages: Vec<(String, i64, i64)> =
            [("prepare", 0, 2), ("presync", 2, 5), ("cutover", 5, 9), ("soak", 400, 500)]
                .into_iter()
                .chain([("retire-the-old-server", 790, 800)])
                .map(|(name, from, to)| (name.to_owned(), from, to))
                .collect();
        let (marks, rows) = marks(&stages, place, 1000.0);
        assert_eq!(rows, 3, "the last two have room in the first row");
        let extent = |mark: &Mark<'_>| {
            let long = precise(mark.name.len() as i64) * 8.0;
            if mark.before { (mark.from - long, mark.to) } else { (mark.from, mark.to.max(mark.from + long)) }
        };
        for (n, one) in marks.iter().enumerate() {
            let (left, right) = extent(one);
            assert!(left >= 0.0 && right <= 1000.0, "{} leaves the picture", one.name);
            for other in marks[n + 1..].iter().filter(|other| other.row == one.row) {
                assert!(extent(other).0 >= right, "{} and {}", one.name, other.name);
            }
        }
    }

    #[test]
    fn a_short_run_has_marks_on_its_axis() {
        let chart = |to_ms| Chart { from_ms: 1, to_ms, stages: Vec::new(), windows: Vec::new(), lines: Vec::new() };
        for minutes in [2, 3, 7, 20, 600, 20_000] {
            let ticks = chart(minutes * MINUTE).ticks(8);
            assert!((1..=8).contains(&ticks.len()), "{minutes} min: {ticks:?}");
        }
    }
}
