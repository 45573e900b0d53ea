//! From samples to an estimate.

use super::{Sample, runs};
use crate::plan::takes::{Estimate, Size};

/// Bounds are rounded up to this, in milliseconds: what a disk does between two moments is no difference.
const ROUND_MS: u64 = 100;

/// The shortest, the middle and the longest of the samples. What moves or installs much is reckoned as latency and rate: the
/// lowest line that no sample lies above, at the size that is asked for.
pub(super) fn estimate(samples: &[&Sample], size: Size) -> Estimate {
    let (mut took, bound_us) = match points(samples, size) {
        Some((points, x)) => {
            let (latency, rate) = envelope(&points);
            let most = points.iter().map(|(x, _)| *x).fold(0.0, f64::max);
            let line = |x: f64| latency + rate * x;
            // Beyond what was ever seen no line is trusted: there each unit takes what it took of the largest, at least.
            let at = |x: f64| if x > most { line(x).max(line(most) * x / most) } else { line(x) };
            // How far each was below the line says what the line is worth.
            let ratio = |&(px, us): &(f64, f64)| if at(px) > 0.0 { us / at(px) * at(x) } else { us };
            (points.iter().map(ratio).collect::<Vec<f64>>(), at(x))
        }
        None => {
            let took: Vec<f64> = samples.iter().map(|sample| lossy(sample.took_us)).collect();
            let most = took.iter().copied().fold(0.0, f64::max);
            (took, most)
        }
    };
    took.sort_by(f64::total_cmp);
    let ms = |us: f64| whole(us / 1000.0);
    let bound_ms = ms(bound_us).div_ceil(ROUND_MS).saturating_mul(ROUND_MS);
    let usual_ms = took.get(took.len() / 2).map_or(0, |us| ms(*us)).min(bound_ms);
    let least_ms = took.first().map_or(0, |us| ms(*us)).min(usual_ms);
    Estimate { least_ms, usual_ms, bound_ms, from: runs(samples) }
}

/// Sizes and times, and the size that is asked for; `None` if the sizes say nothing.
fn points(samples: &[&Sample], size: Size) -> Option<(Vec<(f64, f64)>, f64)> {
    let measure = if size.bytes > 0 { |size: Size| size.bytes } else { |size: Size| size.items };
    let sized = samples.iter().all(|sample| measure(sample.size) > 0);
    let differ = samples.iter().any(|sample| measure(sample.size) != measure(size));
    let points = || samples.iter().map(|sample| (lossy(measure(sample.size)), lossy(sample.took_us))).collect();
    (measure(size) > 0 && sized && differ).then(|| (points(), lossy(measure(size))))
}

/// Latency and time for each unit: of all lines with neither below zero that no point lies above, the one that is lowest in
/// the middle of the points. It goes along their upper hull.
fn envelope(points: &[(f64, f64)]) -> (f64, f64) {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let count = f64::from(u32::try_from(sorted.len()).unwrap_or(u32::MAX)).max(1.0);
    let middle = sorted.iter().map(|(x, _)| x).sum::<f64>() / count;
    let most = sorted.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let steepest = sorted.iter().filter(|(x, _)| *x > 0.0).map(|(x, y)| y / x).fold(0.0, f64::max);
    // Flat, through the origin, and along each edge of the hull.
    let mut lines = vec![(most, 0.0), (0.0, steepest)];
    for (n, (x1, y1)) in sorted.iter().enumerate() {
        for (x2, y2) in &sorted[n + 1..] {
            if x2 > x1 {
                let rate = (y2 - y1) / (x2 - x1);
                lines.push((y1 - rate * x1, rate));
            }
        }
    }
    let above = |(latency, rate): &(f64, f64)| {
        *latency >= 0.0 && *rate >= 0.0 && sorted.iter().all(|(x, y)| latency + rate * x >= y - 1.0)
    };
    let low = |(latency, rate): &(f64, f64)| latency + rate * middle;
    lines.into_iter().filter(above).min_by(|a, b| low(a).total_cmp(&low(b))).unwrap_or((most, steepest))
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
