//! Texts, and what of an edit goes back.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn lines(text: &str) -> Vec<String> {
    text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn back(old: &str, new: &str, now: &str) -> Option<String> {
    let mut now = lines(now);
    Hunk::between(&lines(old), &lines(new)).take_back(&mut now).then(|| now.join(" "))
}

#[test]
fn any_bytes_come_back() {
    for bytes in [&b""[..], b"\n", b"a", b"a\n", b"a\r\nb", b"\n\n", b"gr\xfc\xdfe\n", b"\xff\x00\n\r"] {
        assert_eq!(Text::parse(bytes).bytes(Path::new("/x")).unwrap(), bytes);
    }
}

#[test]
fn a_last_line_without_an_ending_stays_without() {
    let edited = |edit: &dyn Fn(&mut Text)| {
        let mut text = Text::parse(b"a\r\nb");
        edit(&mut text);
        String::from_utf8(text.bytes(Path::new("/x")).unwrap()).unwrap()
    };
    assert_eq!(edited(&|text| text.insert(2, "c")), "a\r\nb\r\nc");
    assert_eq!(edited(&|text| text.insert(1, "c")), "a\r\nc\r\nb");
    assert_eq!(edited(&|text| text.replace(1, "c")), "a\r\nc");
    assert_eq!(edited(&|text| text.remove(1)), "a");
    assert_eq!(edited(&|text| text.retain(|line| line == "a")), "a");
    assert_eq!(edited(&|text| text.remove(0)), "b");
}

#[test]
fn only_our_lines_go_back() {
    assert_eq!(back("a c", "a b c", "x a b c y").as_deref(), Some("x a c y"));
    assert_eq!(back("a c", "a b c", "a b x c").as_deref(), Some("a x c"));
    assert_eq!(back("a b c", "a c", "a c x").as_deref(), Some("a b c x"));
    assert_eq!(back("a b c", "a B c", "a x B y c").as_deref(), Some("a x b y c"));
    assert_eq!(back("", "b", "x b").as_deref(), Some("x"));
}

#[test]
fn what_others_changed_is_not_guessed() {
    assert_eq!(back("a c", "a b c", "a B c"), None);
    assert_eq!(back("a b c", "a c", "x y"), None);
    assert_eq!(back("", "b", "b x b"), None);
}

/// Lines of few words, so that many are alike.
fn some_lines(alphabet: &'static str) -> impl Strategy<Value = Vec<String>> {
    let word = any::<Index>().prop_map(|at| alphabet[at.index(alphabet.len())..][..1].to_owned());
    prop::collection::vec(word, 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_is_taken_back_or_refused(old in some_lines("abc"), new in some_lines("abc")) {
        let mut now = new.clone();
        let hunk = Hunk::between(&old, &new);
        if hunk.take_back(&mut now) {
            prop_assert_eq!(now, old);
        } else {
            prop_assert_eq!(now, new, "refused, so nothing is changed");
        }
    }

    /// Where no two lines are alike, there is no other place than the right one, whatever others put anywhere.
    #[test]
    fn others_lines_stay_where_they_are(
        kept in prop::collection::vec(any::<u8>(), 0..12),
        others in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        // Of numbered lines some are only in the old text, some only in the new, most are in both.
        let side = |not: u8| {
            let lines = kept.iter().enumerate().filter(move |(_, side)| **side % 5 != not);
            lines.map(|(n, _)| n.to_string()).collect::<Vec<String>>()
        };
        let (old, new) = (side(0), side(1));
        let mut now = new.clone();
        for (n, at) in others.iter().enumerate() {
            now.insert(at.index(now.len() + 1), format!("theirs {n}"));
        }
        let before = now.clone();
        if Hunk::between(&old, &new).take_back(&mut now) {
            let theirs = |lines: &[String]| lines.iter().filter(|l| l.starts_with('t')).cloned().collect::<Vec<_>>();
            prop_assert_eq!(theirs(&now), theirs(&before));
            now.retain(|line| !line.starts_with('t'));
            prop_assert_eq!(now, old);
        } else {
            prop_assert_eq!(now, before, "refused, so nothing is changed");
        }
    }
}
