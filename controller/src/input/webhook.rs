//! `webhooks:` of `weiche.yaml`: who else is told of what happens in runs, and with which secret it is signed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::diagnostic::{Diagnostic, Problems};
use super::scalar::{Name, Period};
use super::source::Source;
use super::yaml::Located;

/// A receiver of notices.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its name, by which the outbox keeps what waits for it. Who renames it leaves what waits behind.
    pub name: Located<Name>,
    /// Where notices are sent by POST: `https://`, without user and password; `http://` to this machine only. Redirects
    /// are not followed.
    pub url: Located<String>,
    /// What notices are signed with; never in this file.
    pub secret: SecretPlace,
    /// Which notices it gets.
    #[serde(default = "Topic::all")]
    pub on: BTreeSet<Topic>,
    /// How long one try may take, 30 seconds at most.
    #[serde(default = "Webhook::default_timeout")]
    pub timeout: Located<Period>,
}

impl Webhook {
    /// Longest time for one try: the claim on a webhook outlasts it.
    pub const LONGEST: Duration = Duration::from_secs(30);

    /// Receivers should note a notice and answer, not work on it.
    fn default_timeout() -> Located<Period> {
        Located { value: Period(Duration::from_secs(10)), span: super::source::Span::default() }
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// The first line of this file: absolute, or relative to the fleet's directory.
    File(String),
    /// The value of this environment variable of `weiche`.
    Env(String),
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A run began, was paused, goes on, turns back or has ended.
    Run,
    /// A stage began; a host's part of it is through or failed.
    Stage,
    /// A stage waits for people, or one of them has approved or ticked off something.
    Gate,
    /// A guard was confirmed, or has taken its host back.
    Guard,
    /// A host could not be taken back, or a person has dealt with it.
    Stuck,
}

impl Topic {
    fn all() -> BTreeSet<Topic> {
        BTreeSet::from([Topic::Run, Topic::Stage, Topic::Gate, Topic::Guard, Topic::Stuck])
    }
}

/// Checks what the types do not.
pub(super) fn check(source: &Source, config: &Config, problems: &mut Problems) {
    let mut names = BTreeSet::new();
    for webhook in &config.webhooks {
        if !names.insert(&**webhook.name) {
            let message = format!("there are two webhooks `{}`", &**webhook.name);
            problems.add(Diagnostic::new(source, webhook.name.span, message).hint("give one of them another name"));
        }
        if let Some(problem) = url_problem(&webhook.url) {
            let hint = "write e.g. `https://chat.example/hooks/weiche`";
            problems.add(Diagnostic::new(source, webhook.url.span, problem).hint(hint));
        }
        if webhook.timeout.0 > Webhook::LONGEST || webhook.timeout.0.is_zero() {
            let message = "a webhook's timeout is between 1 ms and 30 s";
            problems.add(Diagnostic::new(source, webhook.timeout.span, message));
        }
    }
}

/// What is wrong with a webhook's address.
fn url_problem(text: &str) -> Option<String> {
    let Ok(url) = Url::parse(text) else { return Some(format!("`{text}` is no URL")) };
    // Not quoted: it may hold a password.
    if !url.username().is_empty() || url.password().is_some() {
        return Some("user and password do not belong into a webhook's URL".into());
    }
    let host = url.host_str().unwrap_or_default();
    let here = || {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    match url.scheme() {
        "https" => None,
        "http" if here() => None,
        "http" => Some(format!("`{text}` is not encrypted and not on this machine")),
        _ => Some(format!("`{text}` is no URL with `https://`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_or_here() {
        for good in ["https://chat.example/hook", "http://127.0.0.1:8080/", "http://[::1]:1/x", "http://localhost/x"] {
            assert_eq!(url_problem(good), None, "{good}");
        }
        for bad in ["http://chat.example/", "http://127.0.0.1.example/", "ftp://127.0.0.1/", "https://", "x"] {
            assert!(url_problem(bad).is_some(), "{bad}");
        }
        let told = url_problem("https://anna:geheim@chat.example/").unwrap();
        assert!(!told.contains("geheim"), "{told}");
    }
}
