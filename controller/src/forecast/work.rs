//! Work that waits for few hands: whoever is free takes the next of a list.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Ends of pieces of work that are taken in order by so many hands from a time on; returns the last end.
///
/// Shorter pieces never make any end later: each piece is taken when a hand is free, and hands are free no later.
pub(super) fn ends(
    hands: usize,
    from_ms: i64,
    pieces: impl ExactSizeIterator<Item = i64>,
    mut end: impl FnMut(i64),
) -> i64 {
    let mut last = from_ms;
    if hands >= pieces.len() {
        for piece in pieces {
            last = last.max(from_ms + piece);
            end(from_ms + piece);
        }
        return last;
    }
    let mut free: BinaryHeap<Reverse<i64>> = BinaryHeap::with_capacity(hands.max(1) + 1);
    for piece in pieces {
        let begin = if free.len() < hands.max(1) { from_ms } else { free.pop().map_or(from_ms, |Reverse(at)| at) };
        free.push(Reverse(begin + piece));
        last = last.max(begin + piece);
        end(begin + piece);
    }
    last
}

/// The same where only the last end counts.
pub(super) fn last_end(hands: usize, from_ms: i64, pieces: impl ExactSizeIterator<Item = i64>) -> i64 {
    ends(hands, from_ms, pieces, |_| ())
}
