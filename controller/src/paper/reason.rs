//! Why a run turned back or stopped, as the machine says it, and in German.

use crate::input::paper::Language;
use crate::rollout::Settled;

/// What the machine says has fixed forms, with names in them; anything else stays as it is. Not escaped.
pub fn of(text: &str, language: Language) -> String {
    if language == Language::En {
        return text.to_owned();
    }
    german(text).unwrap_or_else(|| text.to_owned())
}

/// How a person has dealt with a host that was stuck.
pub fn settled(how: Settled, language: Language) -> String {
    let german = match how {
        Settled::Retry => "noch einmal versucht",
        Settled::ByHand => "von Hand zurückgenommen",
        Settled::Forward => "gelassen, wie es ist",
    };
    if language == Language::En { how.to_string() } else { german.to_owned() }
}

fn german(text: &str) -> Option<String> {
    let between = |before: &str, after: &str| text.strip_prefix(before)?.strip_suffix(after);
    if text == "asked for by the operator" {
        return Some("von Hand verlangt".into());
    }
    if let Some(who) = text.strip_prefix("aborted by ") {
        return Some(format!("abgebrochen von {who}"));
    }
    if let Some(who) = text.strip_prefix("paused by ") {
        return Some(format!("angehalten von {who}"));
    }
    if let Some(stage) = between("no window of stage ", " opens for long enough") {
        return Some(format!("kein Fenster von Abschnitt {stage} ist lange genug offen"));
    }
    if let Some(stage) = between("stage ", " was still at work at the end of its window") {
        return Some(format!("Abschnitt {stage} war am Ende seines Fensters noch bei der Arbeit"));
    }
    for how in [Settled::Retry, Settled::ByHand, Settled::Forward] {
        if let Some(who) = text.strip_prefix(&format!("{how} by ")) {
            return Some(format!("{} von {who}", settled(how, Language::De)));
        }
    }
    let (host, rest) = text.split_once(" failed in stage ")?;
    let (stage, why) = rest.split_once(": ").map_or((rest, String::new()), |(stage, why)| (stage, format!(": {why}")));
    Some(format!("{host} ist in Abschnitt {stage} gescheitert{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_says_is_told_in_german() {
        for (english, german) in [
            ("m/fs failed in stage two", "m/fs ist in Abschnitt two gescheitert"),
            ("m/fs failed in stage two: 2 of 5 hosts", "m/fs ist in Abschnitt two gescheitert: 2 of 5 hosts"),
            ("aborted by frida", "abgebrochen von frida"),
            ("asked for by the operator", "von Hand verlangt"),
            ("taken back by hand by frida: ticket 7", "von Hand zurückgenommen von frida: ticket 7"),
            (
                "stage two was still at work at the end of its window",
                "Abschnitt two war am Ende seines Fensters noch bei der Arbeit",
            ),
            ("something else", "something else"),
        ] {
            assert_eq!(of(english, Language::De), german);
            assert_eq!(of(english, Language::En), english);
        }
    }
}
