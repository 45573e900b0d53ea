//! Differences of states and texts that hosts made up: bounded, and nothing that a terminal would obey.

use proptest::prelude::*;
use serde_json::{Value, json};
use weiche::plan::diff::{MAX_LINES, Text, lines};
use weiche::plan::differences;
use weiche_agent::resource::kinds;

use super::corpus::{cases, corpus};
use super::heap;

/// A difference of so many bytes on both sides may cost so much.
fn of_diff(bytes: usize) -> usize {
    (256 << 10) + 200 * bytes
}

fn differ(old: &Value, new: &Value, text: Text<'_>) {
    let texts = match text {
        Text::Masked => 0,
        Text::Shown { old, new } => old.map_or(0, str::len) + new.map_or(0, str::len),
    };
    let bytes = old.to_string().len() + new.to_string().len() + texts;
    let shown = heap::within(of_diff(bytes), "a difference", || lines(old, new, text));
    let printed: usize = shown.iter().map(String::len).sum();
    assert!(shown.len() <= 2 * MAX_LINES + 2, "{} lines", shown.len());
    // A character that is not shown is replaced by one of three bytes; a line says its name and both sides.
    assert!(printed <= 4096 + 8 * bytes, "{printed} bytes of {bytes}");
    tame(&shown);
}

fn tame(shown: &[String]) {
    let wild = shown.iter().find(|line| line.chars().any(|c| c.is_control() && c != '\t'));
    assert!(wild.is_none(), "{wild:?}");
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[a-c\u{1b}\u{9b}\u{7f}\n\u{e4}.]{0,8}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.prop_map(Value::from),
        Just(json!("absent")),
    ];
    let name = prop_oneof![
        2 => prop::sample::select(vec!["type", "mode", "owner", "group", "target", "digest", "size", "mtime", "instance", "active"])
            .prop_map(str::to_owned),
        1 => text.prop_map(|name| name),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[test]
fn the_corpus_is_read() {
    for (name, bytes) in corpus("diff") {
        // The old text, a line of its own with `====`, the new one.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (old, new) = text.split_once("====\n").unwrap_or_else(|| panic!("{name} has no two sides"));
        let state = |text: &str| json!({ "digest": text.len(), "size": text.len() });
        differ(
            &state(old),
            &json!({ "digest": "other", "size": new.len() }),
            Text::Shown { old: Some(old), new: Some(new) },
        );
        if let (Ok(old), Ok(new)) = (serde_json::from_str(old), serde_json::from_str(new)) {
            differ(&old, &new, Text::Masked);
            kinds().iter().for_each(|kind| tame(&differences(kind.name(), &old, &new)));
        }
    }
}

#[test]
fn a_state_of_a_million_fields_is_cut() {
    let fields = |value: u32| Value::Object((0..100_000).map(|n| (n.to_string(), value.into())).collect());
    differ(&fields(1), &fields(2), Text::Masked);
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_states_differ(old in value(), new in value(), shown in any::<bool>(), a in "[ab\n\r\u{1b}]{0,40}", b in "[ab\n\r\u{1b}]{0,40}") {
        differ(&old, &new, if shown { Text::Shown { old: Some(&a), new: Some(&b) } } else { Text::Masked });
        kinds().iter().for_each(|kind| tame(&differences(kind.name(), &old, &new)));
    }

    #[test]
    fn any_texts_differ(a in prop::collection::vec(0..12_u8, 0..600), b in prop::collection::vec(0..12_u8, 0..600)) {
        let text = |lines: &[u8]| lines.iter().map(|n| format!("line {n}\n")).collect::<String>();
        let (a, b) = (text(&a), text(&b));
        let (old, new) = (json!({ "digest": "a", "size": a.len() }), json!({ "digest": "b", "size": b.len() }));
        differ(&old, &new, Text::Shown { old: Some(&a), new: Some(&b) });
    }
}
