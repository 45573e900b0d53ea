//! From samples to an estimate.

use super::{LEAST, Sample, Sought, Way, runs};
use crate::forecast::moves_ms;
use crate::plan::takes::{Basis, Estimate, Size};

/// Bounds are rounded up to this, in milliseconds: what a disk does between two moments is no difference.
const ROUND_MS: u64 = 100;

/// How much there is to do, by bytes and by items.
pub(super) const MEASURES: [fn(Size) -> u64; 2] = [|size| size.bytes, |size| size.items];

/// The shortest, the middle and the longest of the samples. What moves or installs much is reckoned as latency and rate: the
/// lowest line that no sample lies above, at the size that is asked for.
pub(super) fn estimate(samples: &[&Sample], sought: &Sought<'_>) -> Estimate {
    let [bytes, items] = MEASURES;
    let measure = if sought.size.bytes > 0 { bytes } else { items };
    let asked = measure(sought.size);
    let sized: Vec<&Sample> = samples.iter().copied().filter(|sample| measure(sample.size) > 0).collect();
    let differ = asked > 0 && samples.iter().any(|sample| measure(sample.size) != asked);
    let lines = differ && runs(&sized) >= LEAST;
    let samples = if lines { &sized[..] } else { samples };
    // Where sizes cannot be compared, what was moved says nothing of what is to be moved.
    let floor_ms = if differ && !lines && sought.way == Way::Forward { moves_ms(sought.size) } else { 0 };
    let (mut took, bound_us) = if lines {
        rated(&sized.iter().map(|sample| point(sample, measure)).collect::<Vec<_>>(), lossy(asked))
    } else {
        let took: Vec<f64> = samples.iter().map(|sample| lossy(sample.took_us)).collect();
        let most = took.iter().copied().fold(0.0, f64::max);
        (took, most)
    };
    took.sort_by(f64::total_cmp);
    let ms = |us: f64| whole(us / 1000.0);
    let bound_ms = ms(bound_us).div_ceil(ROUND_MS).saturating_mul(ROUND_MS);
    let usual_ms = took.get(took.len() / 2).map_or(0, |us| ms(*us)).min(bound_ms);
    let least_ms = took.first().map_or(0, |us| ms(*us)).min(usual_ms);
    if floor_ms > bound_ms {
        return Estimate { least_ms, usual_ms: usual_ms.max(floor_ms / 3), bound_ms: floor_ms, from: Basis::Assumed };
    }
    Estimate { least_ms, usual_ms, bound_ms, from: Basis::Runs(u32::try_from(runs(samples)).unwrap_or(u32::MAX)) }
}

/// What each of these would have taken at this size, and what it takes at most.
fn rated(points: &[(f64, f64)], x: f64) -> (Vec<f64>, f64) {
    let (latency, rate) = envelope(points);
    let most = points.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    let line = |x: f64| latency + rate * x;
    // Beyond what was ever seen no line is trusted: there each unit takes what it took of the largest, at least.
    let at = |x: f64| if x > most { line(x).max(line(most) * x / most) } else { line(x) };
    // How far each was below the line says what the line is worth.
    let ratio = |&(px, us): &(f64, f64)| if at(px) > 0.0 { us / at(px) * at(x) } else { us };
    (points.iter().map(ratio).collect(), at(x))
}

/// Size and time.
pub(super) fn point(sample: &Sample, measure: fn(Size) -> u64) -> (f64, f64) {
    (lossy(measure(sample.size)), lossy(sample.took_us))
}

/// Latency and time for each unit: of all lines with neither below zero that no point lies above, the one that is lowest in
/// the middle of the points. It goes along their upper hull.
fn envelope(points: &[(f64, f64)]) -> (f64, f64) {
    let count = f64::from(u32::try_from(points.len()).unwrap_or(u32::MAX)).max(1.0);
    let middle = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let most = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let steepest = points.iter().filter(|(x, _)| *x > 0.0).map(|(x, y)| y / x).fold(0.0, f64::max);
    // Flat, through the origin, and along each edge of the hull.
    let mut lines = vec![(most, 0.0), (0.0, steepest)];
    for edge in hull(points.iter().map(|point| (*point, ())).collect()).windows(2) {
        if let [((x1, y1), ()), ((x2, y2), ())] = edge {
            let rate = (y2 - y1) / (x2 - x1);
            lines.push((y1 - rate * x1, rate));
        }
    }
    let above = |(latency, rate): &(f64, f64)| {
        *latency >= 0.0 && *rate >= 0.0 && points.iter().all(|(x, y)| latency + rate * x >= y - 1.0)
    };
    let low = |(latency, rate): &(f64, f64)| latency + rate * middle;
    lines.into_iter().filter(above).min_by(|a, b| low(a).total_cmp(&low(b))).unwrap_or((most, steepest))
}

/// The upper hull of points, from left to right (the monotone chain of A. M. Andrew, 1979).
pub(super) fn hull<T>(mut points: Vec<((f64, f64), T)>) -> Vec<((f64, f64), T)> {
    points.sort_by(|((x1, y1), _), ((x2, y2), _)| x1.total_cmp(x2).then(y2.total_cmp(y1)));
    let mut hull: Vec<((f64, f64), T)> = Vec::new();
    for (next, of) in points {
        // Of those at one place the first is the highest.
        if hull.last().is_some_and(|(last, _)| last.0 >= next.0) {
            continue;
        }
        while let [.., (a, _), (b, _)] = &hull[..] {
            if (b.1 - a.1) * (next.0 - a.0) > (next.1 - a.1) * (b.0 - a.0) {
                break;
            }
            hull.pop();
        }
        hull.push((next, of));
    }
    hull
}

/// Microseconds and bytes are far below what a double counts exactly.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn lossy(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(n: f64) -> u64 {
    n.max(0.0).ceil() as u64
}
