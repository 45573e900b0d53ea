//! A length of time as specs hold it: a whole number with `ms`, `s`, `m` or `h`.

use std::time::Duration;

/// Reads one that is at most `most`; `None` if it is none, or longer.
pub(crate) fn read(text: &str, most: Duration) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let ms = match unit.trim() {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(ms)).filter(|time| *time <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_length_of_time() {
        let most = Duration::from_mins(1);
        for (text, ms) in [("500ms", 500), ("2s", 2_000), ("1 m", 60_000), ("0s", 0)] {
            assert_eq!(read(text, most), Some(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(read("2h", Duration::MAX), Some(Duration::from_hours(2)));
        for text in ["", "2", "-2s", "s", "2h", "2d", "61s", "99999999999999999999s", "18446744073709551615m"] {
            assert_eq!(read(text, most), None, "{text}");
        }
    }
}
