//! What YAML asks of a mirror, and what is wrong with it. Sizes and times of day are texts, read here.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::delete;
use crate::resources::account::name_problem;
use crate::resources::label;
use crate::resources::node::path_problem;
use crate::resources::period;

/// Shortest and longest time between two rounds of a timer, and longest last round.
const EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(24)];
const MAX_WITHIN: Duration = Duration::from_hours(1);

/// Most rounds, and most limits by time of day.
const MAX_ROUNDS: u32 = 100;
const MAX_LIMITS: usize = 24;

/// A directory of this host that follows one of another host's, by rsync(1) over SSH, until it is the users' own. Needs
/// the package `rsync` (3.2.3 or newer) on both hosts, and what a `transfer` with `via: direct` makes: on the other host
/// `/etc/weiche/mirror/NAME/rsyncd.conf` and a key that can do nothing but read that directory, on this one
/// `/etc/weiche/mirror/NAME/key` and `known_hosts`. A directory `lost+found` at its top is nobody's data.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "mirror")]
pub struct Spec {
    /// Name of the mirror, of its files and of its timer.
    pub name: String,
    /// The directory.
    pub path: String,
    /// What the directory is to be.
    pub mode: Mode,
    /// For `follow` and `ready`: the other host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Source>,
    /// For `follow`: whether the directory becomes a `copy` of the other host's (what stands there is put aside), or
    /// already is what the other host has (`own`), because that has taken it over a moment ago.
    #[serde(default)]
    pub data: Data,
    /// For a copy: how often it is brought up to date before the step is through.
    #[serde(default)]
    pub rounds: Rounds,
    /// For `follow` and `ready`: it is brought up to date again that often, e.g. `5m`; never without it. Where it changes
    /// one more round is made at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// For `follow` and `ready`: limits by time of day. The timer of `every` keeps the smallest of them; the last round none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bandwidth: Vec<Limit>,
    /// How much of the directory a round may delete, in percent of its entries: `50` without it. A thousand may always go,
    /// and anything with `100`. More means that something is missing on the other host, a volume perhaps, and is refused;
    /// so is a directory there that looks empty while this one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at_most: Option<u8>,
    /// Whether owners and groups are those of the same `name` (default) or of the same `number`.
    #[serde(default)]
    pub owners: Owners,
    /// How long the last round may take, with its proof that nothing is missing: a number with `s` or `m`. `60s`
    /// without it.
    #[serde(default = "default_within")]
    pub within: String,
    /// For `own`: on the way back the other host takes a last round from this one first, so that users are served there while
    /// it is proven here that nothing is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fed_back: bool,
    /// Whether what was put aside for the copy is removed for good. There is no way back then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget_aside: bool,
}

/// What a directory is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "mirror_mode")]
pub enum Mode {
    /// It follows another host's.
    Follow,
    /// It is the users' own, and can follow another host's at any moment: it was tried, and the timer runs, which does
    /// nothing until then.
    Ready,
    /// It is the users' own: after a last round, proven to have all that the other host has.
    Own,
    /// It follows no more, without a last round: nobody needs it as it is.
    Gone,
}

/// The host that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "mirror_source")]
pub struct Source {
    /// Its address or name.
    pub address: String,
    /// Port of its SSH server.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Who reads there: root, or owners, ACLs and attributes are not all that they are.
    #[serde(default = "default_user")]
    pub user: String,
}

/// Where the data of a follower come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "mirror_data")]
pub enum Data {
    /// From the other host.
    #[default]
    Copy,
    /// They are there.
    Own,
}

/// How owners are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Owners {
    /// By name; those without one on this host by number.
    #[default]
    Name,
    /// By number.
    Number,
}

/// When a copy is good enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "mirror_rounds")]
pub struct Rounds {
    /// A round that brings at most so much is the last: a number with `B`, `KiB`, `MiB` or `GiB`.
    pub until: String,
    /// So many rounds at most.
    pub at_most: u32,
}

impl Default for Rounds {
    fn default() -> Rounds {
        Rounds { until: "64 MiB".into(), at_most: 6 }
    }
}

/// A limit by time of day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "mirror_limit")]
pub struct Limit {
    /// From when, e.g. `06:00`, in this host's local time.
    pub from: String,
    /// Until when; before `from` means the next day.
    pub to: String,
    /// Per second, e.g. `4 MiB`.
    pub limit: String,
}

fn default_within() -> String {
    "60s".into()
}

fn default_port() -> u16 {
    22
}

fn default_user() -> String {
    "root".into()
}

impl Spec {
    /// Longest last round.
    pub(super) fn within(&self) -> Duration {
        period::read(&self.within, MAX_WITHIN).unwrap_or(MAX_WITHIN)
    }

    /// All that is wrong with it.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = label::problem("mirror", &self.name).into_iter().collect();
        problems.extend(path_problem(&self.path));
        if ["/", "/etc", "/usr", "/var", "/boot", "/run", "/proc", "/sys", "/dev"].contains(&self.path.as_str()) {
            problems.push(format!("{} is the system's, not the users'", self.path));
        }
        let (follows, ready) = (self.mode == Mode::Follow, self.mode == Mode::Ready);
        match &self.of {
            None if follows || ready => {
                problems.push("`follow` and `ready` need `of`: the host that is followed".into())
            }
            Some(_) if !follows && !ready => problems.push("`of` is for `follow` and `ready`".into()),
            of => problems.extend(of.iter().flat_map(Source::problems)),
        }
        if !follows && self.data == Data::Own {
            problems.push("`data` is for `follow`".into());
        }
        if !follows && !ready && (self.every.is_some() || !self.bandwidth.is_empty()) {
            problems.push("`every` and `bandwidth` are for `follow` and `ready`".into());
        }
        if ready && self.every.is_none() {
            problems.push("`ready` needs `every`: without a timer there is nothing to make ready".into());
        }
        if self.fed_back && self.mode != Mode::Own {
            problems.push("`fed_back` is for `own`".into());
        }
        if self.delete_at_most.is_some_and(|percent| percent > delete::ANY || self.mode == Mode::Gone) {
            problems.push("`delete_at_most` is a percentage from 0 to 100, of what is copied".into());
        }
        if (follows || ready) && self.forget_aside {
            problems.push("who follows keeps what was put aside: `forget_aside` once it is `own` or `gone`".into());
        }
        if bytes(&self.rounds.until).is_none() || !(1..=MAX_ROUNDS).contains(&self.rounds.at_most) {
            problems.push(format!("`rounds` needs `until: 64 MiB` or the like, and `at_most` from 1 to {MAX_ROUNDS}"));
        }
        let every = |text: &String| period::read(text, EVERY[1]).is_none_or(|time| time < EVERY[0]);
        problems.extend(
            self.every
                .iter()
                .filter(|text| every(text))
                .map(|text| format!("`every` is a time such as `30s` or `5m`, from 1s to 24h; not `{text}`")),
        );
        if period::read(&self.within, MAX_WITHIN).is_none_or(|time| time.is_zero()) {
            problems.push(format!("`within` is a time such as `60s`, at most 60m; not `{}`", self.within));
        }
        if self.bandwidth.len() > MAX_LIMITS {
            problems.push(format!("`bandwidth` has at most {MAX_LIMITS} limits"));
        }
        let bad = |limit: &&Limit| {
            minute(&limit.from).is_none() || minute(&limit.to).is_none() || bytes(&limit.limit).is_none_or(|b| b < 1024)
        };
        problems.extend(self.bandwidth.iter().find(bad).map(|limit| {
            let Limit { from, to, limit } = limit;
            format!(
                "a limit is like {{ from: \"06:00\", to: \"20:00\", limit: 4 MiB }}, not `{from}`, `{to}`, `{limit}`"
            )
        }));
        problems
    }
}

impl Source {
    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = name_problem("user", &self.user).into_iter().collect();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b".:-_".contains(&b);
        if self.address.is_empty() || self.address.starts_with('-') || !self.address.bytes().all(ok) || self.port == 0 {
            problems.push(format!("`{}:{}` is no address and port", self.address, self.port));
        }
        problems
    }
}

/// A size in bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = ["B", "KiB", "MiB", "GiB"].iter().position(|known| *known == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(1 << (10 * shift))
}

/// A time of day, in minutes since midnight.
pub(super) fn minute(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |text: &str, below: u32| text.parse::<u32>().ok().filter(|n| text.len() == 2 && *n < below);
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

/// The limit at a minute of the day, in bytes a second, and how many minutes it stays the same.
pub(super) fn limit_at(limits: &[Limit], now: u32) -> (Option<u64>, u32) {
    const DAY: u32 = 24 * 60;
    let since = |from: u32, at: u32| (at + DAY - from) % DAY;
    let (mut least, mut change) = (None, DAY);
    for limit in limits {
        let (Some(from), Some(to), Some(bytes)) = (minute(&limit.from), minute(&limit.to), bytes(&limit.limit)) else {
            continue;
        };
        // From a time to the same time is all day.
        let length = match since(from, to) {
            0 => DAY,
            length => length,
        };
        if since(from, now) < length {
            least = Some(least.map_or(bytes, |least: u64| least.min(bytes)));
        }
        for edge in [from, to] {
            change = change.min(match since(now, edge) {
                0 => DAY,
                minutes => minutes,
            });
        }
    }
    (least, change)
}

/// The smallest of all limits, in bytes a second.
pub(super) fn least(limits: &[Limit]) -> Option<u64> {
    limits.iter().filter_map(|limit| bytes(&limit.limit)).min()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn sizes_and_times_of_day_are_read() {
        for (text, size) in
            [("64 MiB", Some(64 << 20)), ("1KiB", Some(1024)), ("5 B", Some(5)), ("5", None), ("x", None)]
        {
            assert_eq!(bytes(text), size, "{text}");
        }
        for (text, at) in [("06:00", Some(360)), ("23:59\n", Some(1439)), ("24:00", None), ("6:00", None), ("", None)] {
            assert_eq!(minute(text), at, "{text}");
        }
    }

    #[test]
    fn the_limit_depends_on_the_time_of_day() {
        let limit = |from: &str, to: &str, limit: &str| Limit { from: from.into(), to: to.into(), limit: limit.into() };
        let limits =
            [limit("06:00", "20:00", "4 MiB"), limit("11:00", "12:00", "1 MiB"), limit("22:00", "02:00", "2 MiB")];
        #[rustfmt::skip]
        let cases = [
            ("05:00", None, 60), ("06:00", Some(4), 300), ("11:30", Some(1), 30), ("12:00", Some(4), 480),
            ("20:00", None, 120), ("23:00", Some(2), 180), ("01:59", Some(2), 1), ("02:00", None, 240),
        ];
        for (now, mebibytes, minutes) in cases {
            assert_eq!(limit_at(&limits, minute(now).unwrap()), (mebibytes.map(|m: u64| m << 20), minutes), "{now}");
        }
        assert_eq!(limit_at(&[limit("06:00", "06:00", "1 KiB")], 0), (Some(1024), 360));
        assert_eq!(limit_at(&[], 0), (None, 1440));
        assert_eq!(least(&limits), Some(1 << 20));
    }

    #[test]
    fn impossible_specs_are_refused() {
        let of = json!({ "address": "192.0.2.10" });
        let good = json!({ "name": "x", "path": "/srv/x", "mode": "follow", "of": of, "every": "30s" });
        let spec = |value: &Value| serde_json::from_value::<Spec>(value.clone());
        assert_eq!(spec(&good).unwrap().problems(), Vec::<String>::new());
        for (key, value) in [
            ("name", json!("a b")),
            ("name", json!("-x")),
            ("path", json!("srv")),
            ("path", json!("/etc")),
            ("mode", json!("own")),
            ("of", json!({ "address": "a b" })),
            ("of", json!({ "address": "-oProxyCommand=x" })),
            ("of", json!({ "address": "a", "user": "-x" })),
            ("of", json!({ "address": "a", "port": 0 })),
            ("of", Value::Null),
            ("rounds", json!({ "until": "much" })),
            ("rounds", json!({ "at_most": 0 })),
            ("every", json!("0s")),
            ("every", json!("2d")),
            ("within", json!("0s")),
            ("forget_aside", json!(true)),
            ("delete_at_most", json!(101)),
            ("bandwidth", json!([{ "from": "6", "to": "20:00", "limit": "4 MiB" }])),
            ("bandwidth", json!([{ "from": "06:00", "to": "20:00", "limit": "1 B" }])),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(!spec(&bad).unwrap().problems().is_empty(), "{bad}");
        }
    }
}
