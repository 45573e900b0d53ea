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

/// Reads what [`write`] wrote.
///
/// # Errors
/// Nothing is taken from a file that is not whole.
pub fn read(text: &str) -> Result<Vec<Sample>, ReadHistoryError> {
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
        serde_json::from_str(line).map_err(|source| ReadHistoryError::Line { line: n + 1, source })
    };
    lines.filter(|(_, line)| !line.trim().is_empty()).map(sample).collect()
}
