//! A history as a file: a line that says what it is, then a sample a line. What another provider gets has no names in it.

use serde::{Deserialize, Serialize};

use super::Sample;

/// Major and minor version of the format.
const VERSION: (u32, u32) = (1, 0);

/// More lines than this are no history.
const MOST: usize = 1_000_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    weiche_history: (u32, u32),
}

/// Why a file is no history; whoever has made it can fix it.
#[derive(Debug, thiserror::Error)]
pub enum ReadHistoryError {
    /// Not one of ours.
    #[error("it does not begin with {{\"weiche_history\": [1, 0]}}")]
    Header,
    /// Of a newer weiche.
    #[error("it has format {0}.{1}, this weiche reads {major}", major = VERSION.0)]
    Version(u32, u32),
    /// A line is no sample.
    #[error("line {line} is no sample")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A line tells what cannot be.
    #[error("line {line} tells what cannot be: {what}")]
    Cannot {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Far too long.
    #[error("it has more than {MOST} lines")]
    TooLong,
}

/// Writes samples; without `names` no member, and no title: those may hold paths and names.
pub fn write<'a>(samples: impl Iterator<Item = &'a Sample>, names: bool) -> String {
    let line = |value: serde_json::Result<String>| value.unwrap_or_default() + "\n";
    let mut text = line(serde_json::to_string(&Header { weiche_history: VERSION }));
    // Of what is done by hand nothing is left without names.
    for sample in samples.filter(|sample| names || sample.what != super::fold::MANUAL) {
        let mut sample = sample.clone();
        if !names {
            sample.member.clear();
            if sample.what != super::fold::AROUND {
                sample.title.clear();
            }
        }
        text += &line(serde_json::to_string(&sample));
    }
    text
}

/// Nothing takes longer, in microseconds: 30 days.
const LONGEST_US: u64 = 30 * 86_400 * 1_000_000;

/// By so much another's clock may go before ours, in milliseconds.
const AHEAD_MS: i64 = 86_400_000;

/// Reads what [`write`] wrote, at this time.
///
/// # Errors
/// Nothing is taken from a file that is not whole, or that tells what cannot be.
pub fn read(text: &str, now_ms: i64) -> Result<Vec<Sample>, ReadHistoryError> {
    let mut lines = text.lines().enumerate();
    let header: Option<Header> = lines.next().and_then(|(_, line)| serde_json::from_str(line).ok());
    let (major, minor) = header.ok_or(ReadHistoryError::Header)?.weiche_history;
    if major != VERSION.0 {
        return Err(ReadHistoryError::Version(major, minor));
    }
    if text.lines().nth(MOST).is_some() {
        return Err(ReadHistoryError::TooLong);
    }
    let sample = |(n, line): (usize, &str)| {
        let line_number = n + 1;
        let sample: Sample =
            serde_json::from_str(line).map_err(|source| ReadHistoryError::Line { line: line_number, source })?;
        match cannot(&sample, now_ms) {
            Some(what) => Err(ReadHistoryError::Cannot { line: line_number, what }),
            None => Ok(sample),
        }
    };
    lines.filter(|(_, line)| !line.trim().is_empty()).map(sample).collect()
}

fn cannot(sample: &Sample, now_ms: i64) -> Option<&'static str> {
    let whole = |number: u64| i64::try_from(number).is_ok();
    match () {
        () if sample.took_us > LONGEST_US => Some("it took more than 30 days"),
        // It would count as the newest for ever.
        () if sample.at_ms.max(sample.run_ms) > now_ms.saturating_add(AHEAD_MS) => Some("it was in the future"),
        () if !whole(sample.size.bytes) || !whole(sample.size.items) => Some("there is nothing of that size"),
        () => None,
    }
}
