//! "Did you mean": the known name that an unknown one is probably a misspelling of.

use std::fmt::Write as _;

/// Names beyond this number are not listed in a hint.
const LISTED: usize = 12;

/// The nearest of the known names, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(distance, k)| *distance <= (name.chars().count().max(k.chars().count()) / 3).max(1))
        .min_by(|a, b| a.cmp(b))
        .map(|(_, k)| k)
}

/// A hint for an unknown name: the nearest known one, else the list of those there are.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    if let Some(nearest) = nearest(name, known.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let mut text = String::from("there is ");
    for (n, name) in known.iter().take(LISTED).enumerate() {
        let _ = write!(text, "{}`{name}`", if n == 0 { "" } else { ", " });
    }
    if known.len() > LISTED {
        let _ = write!(text, " and {} more", known.len() - LISTED);
    }
    (!known.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("fiel", ["file", "unit"]), Some("file"));
        assert_eq!(nearest("xyz", ["file", "unit"]), None);
        assert_eq!(hint("fiel", ["file", "unit"]).unwrap(), "did you mean `file`?");
        assert_eq!(hint("xyz", ["file", "unit"]).unwrap(), "there is `file`, `unit`");
    }
}
