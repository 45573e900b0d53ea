//! How a stage is carried out, as a playbook says it: the keys of a stage beside its name, its hosts and its steps.

pub mod rule;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Diagnostic, Problems};
use super::scalar::Period;
use super::selector::Selector;
use super::source::Source;
use super::yaml::{Located, Node, Value, decode, expected};
use rule::{Amount, OnStop, Over, Overrun, Role};

/// The keys. All left out: one wave of all hosts, everything taken back at the first failure.
#[derive(Clone, Debug, Default)]
pub struct RolloutSpec {
    /// Hosts taken together, wave by wave.
    pub waves: Vec<WaveSpec>,
    /// The rest.
    pub keys: Keys,
}

/// Keys of a stage that are plain data.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// In which order hosts are begun: by `name` (default), or by `site`, one after the other.
    pub order: Order,
    /// Most hosts that work at once.
    pub at_once: Option<Located<usize>>,
    /// Between two waves.
    pub pause: Option<Period>,
    /// When the stage stops: any of these. Left out: at the first failure.
    pub stop: Vec<StopSpec>,
    /// What happens then: `hold`, `set_aside`, or `{ rollback: host | wave | stage | run }` (default: `run`).
    pub on_stop: OnStop,
    /// Hosts that are switched off are no failures: they are waited for.
    pub offline: Option<OfflineSpec>,
    /// Not through after this time: the stage takes itself back on its hosts, by their own clocks.
    pub within: Option<Period>,
    /// Its hosts take it back unless they can be confirmed over a new connection within this time.
    pub guard: Option<Period>,
    /// How long it soaks before the next stage begins.
    pub hold: Option<Period>,
    /// Names of services of each of its members: they are probed after every wave, until the next one begins.
    pub probes: Vec<Located<String>>,
    /// What has to be so before it begins.
    pub gate: Option<GateSpec>,
    /// The name of the window of each of its members in which it may run.
    pub window: Option<Located<String>>,
    /// How long it takes at most: nothing begins that cannot end before the window's reserve.
    pub takes: Option<Period>,
    /// What happens when it is still at work when its window closes: `hold` (default), or `rollback`: it is taken back.
    pub overrun: Overrun,
}

/// What has to be so before a stage begins.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateSpec {
    /// So many persons approve it.
    #[serde(default)]
    pub approve: u32,
    /// Whose approval does not count: `planner`.
    #[serde(default)]
    pub not_by: Option<NotBy>,
    /// As what they approve: `member`, or `technician`.
    #[serde(default)]
    pub role: Option<Role>,
    /// How long an approval holds; left out: for ever.
    #[serde(default)]
    pub expires: Option<Period>,
    /// What is ticked off, e.g. an office that was trained.
    #[serde(default)]
    pub checklist: Vec<String>,
}

/// Whose approval does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotBy {
    /// That of whoever planned the run.
    Planner,
}

impl RolloutSpec {
    /// Takes its keys out of a stage; what is left of the stage is read by others.
    pub fn take(source: &Source, stage: &mut Node, problems: &mut Problems) -> RolloutSpec {
        let waves = match stage.take("waves").map(|(_, node)| node) {
            Some(Node { value: Value::List(items), .. }) => {
                items.iter().filter_map(|item| WaveSpec::parse(source, item, problems)).collect()
            }
            Some(node) if node.value != Value::Null => {
                problems.add(expected(source, &node, "a list of waves, such as [1, 10%, rest]"));
                Vec::new()
            }
            _ => Vec::new(),
        };
        let names = [
            "order", "at_once", "pause", "stop", "on_stop", "offline", "within", "guard", "hold", "gate", "window",
            "takes", "overrun", "probes",
        ];
        let taken = names.iter().filter_map(|name| stage.take(name)).collect();
        let keys: Keys =
            decode(source, &Node { value: Value::Map(taken), span: stage.span }, problems).unwrap_or_default();
        if let Some(none) = keys.at_once.as_ref().filter(|n| n.value == 0) {
            problems.add(
                Diagnostic::new(source, none.span, "with 0 hosts at once nothing ever begins").hint("write 1 or more"),
            );
        }
        RolloutSpec { waves, keys }
    }
}

/// The order in which hosts are begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// By site, then by name.
    Site,
}

/// When a stage stops.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopSpec {
    /// So many hosts have failed: a number, or a share (`5%`).
    pub failed: Amount,
    /// Of which hosts: `wave`, `stage` (default), `run`, `member` or `site`.
    #[serde(default = "stage")]
    pub over: Over,
}

fn stage() -> Over {
    Over::Stage
}

/// What is done with hosts that are switched off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfflineSpec {
    /// How long they are waited for, e.g. `14d`.
    pub wait_until: Period,
}

/// The hosts of a wave.
#[derive(Clone, Debug)]
pub enum WaveSpec {
    /// The next ones.
    Next(Amount),
    /// Those: a named canary, a site, a label.
    Those(Selector),
    /// All that are left.
    Rest,
}

impl WaveSpec {
    fn parse(source: &Source, node: &Node, problems: &mut Problems) -> Option<WaveSpec> {
        let amount = match &node.value {
            Value::Text(text) if text == "rest" => return Some(WaveSpec::Rest),
            Value::Map(_) => return decode(source, node, problems).map(WaveSpec::Those),
            Value::Int(n) => usize::try_from(*n).ok().filter(|n| *n > 0).map(Amount::Hosts),
            Value::Text(text) => Amount::parse(text),
            _ => None,
        };
        if amount.is_none() {
            let what =
                "a wave: a number of hosts, a share such as `10%`, a selector such as { site: rathaus }, or `rest`";
            problems.add(expected(source, node, what));
        }
        amount.map(WaveSpec::Next)
    }
}
