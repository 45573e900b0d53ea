//! Of what many hosts took in one run as much as tells the same: the shortest, the longest, what lies between, and what is
//! slowest for its size.

use std::collections::{BTreeMap, BTreeSet};

use super::{LAST, Sample, Way, bound};

/// Of like samples of a run few are enough.
pub fn few(samples: impl IntoIterator<Item = Sample>) -> Vec<Sample> {
    let mut groups: BTreeMap<([String; 4], Way, i64), Vec<Sample>> = BTreeMap::new();
    for sample in samples {
        let Sample { what, title, class, member, .. } = &sample;
        let key = ([what, title, class, member].map(String::clone), sample.way, sample.run());
        groups.entry(key).or_default().push(sample);
    }
    let kept = |group: Vec<Sample>| {
        let numbered: Vec<(usize, &Sample)> = group.iter().enumerate().collect();
        let kept: BTreeSet<usize> = of_run(&numbered).into_iter().collect();
        group.into_iter().enumerate().filter(move |(n, _)| kept.contains(n)).map(|(_, sample)| sample)
    };
    groups.into_values().flat_map(kept).collect()
}

/// Numbers of those that are kept, of like samples of one run.
pub(super) fn of_run(like: &[(usize, &Sample)]) -> Vec<usize> {
    if like.len() <= LAST {
        return like.iter().map(|(n, _)| *n).collect();
    }
    let mut sorted = like.to_vec();
    sorted.sort_by_key(|(n, sample)| (sample.took_us, *n));
    // Evenly by rank, with both ends: the middle stays where it is.
    let evenly = (0..LAST).filter_map(|n| sorted.get(n * (sorted.len() - 1) / (LAST - 1)));
    let mut kept: BTreeSet<usize> = evenly.map(|(n, _)| *n).collect();
    // What no line of latency and rate may lie below.
    for measure in bound::MEASURES {
        let points: Vec<_> = like.iter().map(|(n, sample)| (bound::point(sample, measure), *n)).collect();
        kept.extend(bound::hull(points).into_iter().map(|(_, n)| n));
    }
    kept.into_iter().collect()
}
