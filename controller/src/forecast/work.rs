//! Work that waits for few hands: whoever is free takes the next of a list.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When the last of pieces of work ends that are taken in order by so many hands from a time on.
///
/// Shorter pieces never make any end later: each piece is taken when a hand is free, and hands are free no later.
pub(super) fn last_end(hands: usize, from_ms: i64, pieces: impl ExactSizeIterator<Item = i64>) -> i64 {
    if hands >= pieces.len() {
        return pieces.max().map_or(from_ms, |longest| from_ms + longest);
    }
    let mut free: BinaryHeap<Reverse<i64>> = BinaryHeap::with_capacity(hands.max(1) + 1);
    let mut last = from_ms;
    for piece in pieces {
        let begin = if free.len() < hands.max(1) { from_ms } else { free.pop().map_or(from_ms, |Reverse(at)| at) };
        free.push(Reverse(begin + piece));
        last = last.max(begin + piece);
    }
    last
}

/// For each of such pieces the one that takes its hand.
pub(super) fn successors(hands: usize, pieces: impl ExactSizeIterator<Item = i64>) -> Vec<Option<usize>> {
    let mut next = vec![None; pieces.len()];
    let mut free: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
    for (number, piece) in pieces.enumerate() {
        let had = if free.len() < hands.max(1) { None } else { free.pop() };
        let begin = had.map_or(0, |Reverse((end, before))| {
            next[before] = Some(number);
            end
        });
        free.push(Reverse((begin + piece, number)));
    }
    next
}

/// The same where people do it: so many at once, and of those who are numbered each one thing after the other. Each end is
/// told.
///
/// Whoever waits for a person has a hand, and keeps it: so here too shorter pieces make no end later.
pub(super) fn by_people(
    technicians: usize,
    from_ms: i64,
    pieces: &[(Option<usize>, i64)],
    mut end: impl FnMut(i64),
) -> i64 {
    let persons = pieces.iter().filter_map(|(person, _)| *person).max().map_or(0, |most| most + 1);
    let mut free_persons = vec![from_ms; persons];
    let mut free: BinaryHeap<Reverse<i64>> = BinaryHeap::new();
    let mut last = from_ms;
    for (person, piece) in pieces {
        let hand = if free.len() < technicians.max(1) { from_ms } else { free.pop().map_or(from_ms, |Reverse(at)| at) };
        let begin = person.map_or(hand, |person| hand.max(free_persons[person]));
        let done = begin + piece;
        free.push(Reverse(done));
        if let Some(person) = person {
            free_persons[*person] = done;
        }
        last = last.max(done);
        end(done);
    }
    last
}
