//! What one of several resources of a kind is called on its host: a part of the names of files, units and tables.

/// Longest label, in bytes.
const MAX: usize = 32;

/// Says what is wrong with the label of a `what`.
pub(crate) fn problem(what: &str, label: &str) -> Option<String> {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = !label.is_empty() && label.len() <= MAX && label.bytes().all(ok) && !label.starts_with('-');
    (!good).then(|| format!("`{label}` is no name of a {what}: small letters, digits and `-`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_be_a_part_of_a_file_name_and_no_option() {
        for (label, good) in
            [("swap", true), ("srv-files-2", true), ("", false), ("-x", false), ("Ä", false), ("a/b", false)]
        {
            assert_eq!(problem("hold", label).is_none(), good, "{label}");
        }
        assert!(problem("hold", &"a".repeat(33)).is_some());
    }
}
