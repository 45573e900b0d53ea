//! Runs, services, the outbox and drift as Prometheus metrics, in the text format that node_exporter's textfile collector
//! reads. Base units; names and labels as <https://prometheus.io/docs/practices/naming/> asks for.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::input::target::HostName;
use crate::rollout::Outcome;
use crate::store::Mailbox;
use crate::view::{Sight, State, View};

type Labels = Vec<(&'static str, String)>;

/// All samples of one name.
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, f64)>,
}

/// Metrics of all runs (the newest first), and of what waits for webhooks.
pub fn runs(views: &[View], outbox: &[Mailbox]) -> String {
    let families = [
        info(),
        by_outcome(views),
        last(views, "weiche_run_last_start_timestamp_seconds", "Start of the member's last run.", |view| {
            Some(seconds(view.started_ms))
        }),
        last(
            views,
            "weiche_run_last_end_timestamp_seconds",
            "End of the member's last run, if it has ended.",
            |view| matches!(view.state, State::Ended(_)).then(|| seconds(view.last_ms)),
        ),
        last(views, "weiche_run_last_duration_seconds", "Length of the member's last run, if it has ended.", |view| {
            matches!(view.state, State::Ended(_)).then(|| seconds(view.last_ms - view.started_ms))
        }),
        hosts(views, "weiche_hosts_stuck", "Hosts that could not be taken back: a person is needed.", |host| {
            Some(host.stuck_fault.is_some())
        }),
        hosts(views, "weiche_hosts_different", "Hosts that differ from what they were before the last run.", |host| {
            host.verdict.as_ref().map(|verdict| !verdict.identical())
        }),
        services(views, "weiche_service_downtime_seconds", "Time the service was away in its last run.", |sight| {
            Some(sight.measure.away_ms)
        }),
        services(views, "weiche_service_downtime_budget_seconds", "Time the service may be away in a run.", |sight| {
            sight.measure.budget_ms
        }),
        Family {
            name: "weiche_outbox_waiting",
            help: "Notices that a webhook has not received yet.",
            samples: outbox.iter().map(|m| (vec![("webhook", m.webhook.clone())], whole(m.waiting))).collect(),
        },
    ];
    text(&families)
}

/// Metrics of a look for drift: how many resources of each host are not as the last run left them.
pub fn drift(found: &BTreeMap<HostName, usize>, unreachable: &[HostName], now_ms: i64) -> String {
    let label = |host: &HostName| vec![("host", host.0.clone())];
    let families = [
        Family {
            name: "weiche_drift_resources",
            help: "Resources of the host that are not as the last run left them.",
            samples: found.iter().map(|(host, n)| (label(host), whole(*n as u64))).collect(),
        },
        Family {
            name: "weiche_drift_reachable",
            help: "Whether the host could be asked for drift.",
            samples: (found.keys().map(|host| (label(host), 1.0)))
                .chain(unreachable.iter().map(|host| (label(host), 0.0)))
                .collect(),
        },
        Family {
            name: "weiche_drift_look_timestamp_seconds",
            help: "When drift was looked for.",
            samples: vec![(Vec::new(), seconds(now_ms))],
        },
    ];
    text(&families)
}

fn info() -> Family {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    Family { name: "weiche_build_info", help: "The weiche that wrote these metrics.", samples: vec![(version, 1.0)] }
}

fn by_outcome(views: &[View]) -> Family {
    let mut count: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for view in views {
        *count.entry((view.playbook.clone(), outcome(view))).or_default() += 1;
    }
    let sample = |((playbook, outcome), n): ((String, &str), u64)| {
        (vec![("outcome", outcome.to_owned()), ("playbook", playbook)], whole(n))
    };
    // A gauge: a run that was done can be taken back later.
    let help = "Runs by playbook and by how they ended, or that they have not.";
    Family { name: "weiche_runs", help, samples: count.into_iter().map(sample).collect() }
}

fn outcome(view: &View) -> &'static str {
    match view.state {
        State::New | State::Forward(_) | State::Backward => "unfinished",
        State::Ended(Outcome::Done) => "done",
        State::Ended(Outcome::Partial) => "partial",
        State::Ended(Outcome::RolledBack) => "rolled_back",
        State::Ended(Outcome::Differs) => "differs",
        State::Ended(Outcome::Stuck) => "stuck",
        State::Ended(Outcome::Left) => "left",
    }
}

/// A value of the last run of each member.
fn last(views: &[View], name: &'static str, help: &'static str, value: impl Fn(&View) -> Option<f64>) -> Family {
    let mut newest: BTreeMap<&str, &View> = BTreeMap::new();
    for view in views {
        for host in view.hosts.keys() {
            newest.entry(host.member()).or_insert(view);
        }
    }
    let sample = |(member, view): (&str, &View)| Some((vec![("member", member.to_owned())], value(view)?));
    Family { name, help, samples: newest.into_iter().filter_map(sample).collect() }
}

/// The hosts of each member that are so, by the last run that says.
fn hosts(
    views: &[View],
    name: &'static str,
    help: &'static str,
    is: impl Fn(&crate::view::Host) -> Option<bool>,
) -> Family {
    let mut newest: BTreeMap<&HostName, bool> = BTreeMap::new();
    for (host, seen) in views.iter().flat_map(|view| &view.hosts) {
        if let Some(is) = is(seen) {
            newest.entry(host).or_insert(is);
        }
    }
    let mut count: BTreeMap<&str, u64> = BTreeMap::new();
    newest.into_iter().for_each(|(host, is)| *count.entry(host.member()).or_default() += u64::from(is));
    let sample = |(member, n): (&str, u64)| (vec![("member", member.to_owned())], whole(n));
    Family { name, help, samples: count.into_iter().map(sample).collect() }
}

/// A value of each service, by the last run that has measured it. `vantage` is empty if it was seen from the controller.
fn services(
    views: &[View],
    name: &'static str,
    help: &'static str,
    value_ms: impl Fn(&Sight) -> Option<u64>,
) -> Family {
    let mut newest: BTreeMap<(&str, &str), &Sight> = BTreeMap::new();
    for (service, seen) in views.iter().flat_map(|view| &view.services) {
        let vantages = seen.vantages.iter().map(|(host, sight)| (host.0.as_str(), sight));
        for (vantage, sight) in std::iter::once(("", &seen.here)).chain(vantages) {
            if sight.measure.probes > 0 {
                newest.entry((service, vantage)).or_insert(sight);
            }
        }
    }
    let labels = |(service, vantage): (&str, &str)| vec![("service", service.into()), ("vantage", vantage.into())];
    let sample = |(key, sight): ((&str, &str), &Sight)| Some((labels(key), whole(value_ms(sight)?) / 1000.0));
    Family { name, help, samples: newest.into_iter().filter_map(sample).collect() }
}

#[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn whole(n: u64) -> f64 {
    n as f64
}

/// All are gauges. A name without samples is left out.
fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for Family { name, help, samples } in families.iter().filter(|family| !family.samples.is_empty()) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", label(text))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    }
    out
}

/// A label's value, escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
