//! The one place of a text that an edit changes, and how it is taken back where others have edited the text since.

use serde::{Deserialize, Serialize};

/// The one place of a text that changes: from the first line that differs to the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// The line before; `None` at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<String>,
    /// Lines as they are.
    pub old: Vec<String>,
    /// Lines as they will be.
    pub new: Vec<String>,
    /// The line behind; `None` at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

impl Hunk {
    /// The lines as [`super::Text::bytewise`] has them: others may have made the file UTF-8, or none, since.
    pub(super) fn bytewise(&self, latin1: bool) -> Hunk {
        let as_is = |line: &String| if latin1 { line.clone() } else { bytewise(line) };
        let all = |lines: &[String]| lines.iter().map(as_is).collect();
        let (above, below) = (self.above.as_ref().map(as_is), self.below.as_ref().map(as_is));
        Hunk { above, old: all(&self.old), new: all(&self.new), below }
    }

    pub(super) fn between(old: &[String], new: &[String]) -> Hunk {
        let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let rest = old.len().min(new.len()) - head;
        let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
        Hunk {
            above: head.checked_sub(1).map(|at| old[at].clone()),
            old: old[head..old.len() - tail].to_vec(),
            new: new[head..new.len() - tail].to_vec(),
            below: old.get(old.len() - tail).cloned(),
        }
    }

    /// Replaces the new lines by the old ones, where they stand between their neighbours or, if those have gone, where
    /// they stand once only. `false` if there is no such place.
    pub(super) fn take_back(&self, lines: &mut Vec<String>) -> bool {
        let n = self.new.len();
        let above = |at: usize| at.checked_sub(1).map(|at| &lines[at]) == self.above.as_ref();
        let below = |at: usize| lines.get(at + n) == self.below.as_ref();
        let fits: Vec<usize> =
            (0..=lines.len().saturating_sub(n)).filter(|at| lines[*at..].starts_with(&self.new)).collect();
        let only = |is: &dyn Fn(usize) -> bool| {
            let mut places = fits.iter().copied().filter(|at| is(*at));
            places.next().filter(|_| places.next().is_none())
        };
        let place = only(&|at| above(at) && below(at))
            .or_else(|| only(&|at| above(at) && self.above.is_some()))
            .or_else(|| only(&|at| below(at) && self.below.is_some()))
            .or_else(|| only(&|_| n > 0));
        let Some(at) = place else { return false };
        lines.splice(at..at + n, self.old.iter().cloned());
        true
    }
}

/// UTF-8 taken for Latin-1.
pub(super) fn bytewise(line: &str) -> String {
    line.bytes().map(char::from).collect()
}
