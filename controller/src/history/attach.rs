//! Notes in a plan what its steps are expected to take.

use super::fold::{AROUND, BACK, BEGIN, BETWEEN, CONFIRM, FIRST, MANUAL, SERVICES, VERIFY, what};
use super::{History, Sought, Way};
use crate::forecast::{AROUND as ASSUMED, assumed};
use crate::input::target::HostName;
use crate::plan::procedure::Action;
use crate::plan::takes::{Around, Basis, Estimate, Size, Takes};
use crate::plan::{Plan, Stage, Step};

/// Kinds of steps of which one says nothing of another: as long as what they run, move or wait for.
const UNLIKE: [&str; 13] = [
    "archive",
    "check",
    "command",
    "download",
    MANUAL,
    "mirror",
    "postgres_database",
    "postgres_server",
    "postgres_upgrade",
    "reboot",
    "replica",
    "transfer",
    "tree",
];

/// Notes it in every step and stage of which something is known.
pub fn attach(plan: &mut Plan, history: &History) {
    let classes = std::mem::take(&mut plan.classes);
    let class = |host: &HostName| classes.get(host).map_or("", String::as_str);
    for stage in &mut plan.stages {
        stage.around = around(stage, history, &class);
        for (host, steps) in &mut stage.hosts {
            for step in steps {
                step.takes = takes(step, history, class(host), host.member());
            }
        }
    }
    plan.classes = classes;
}

fn takes(step: &Step, history: &History, class: &str, member: &str) -> Option<Takes> {
    let what = what(step);
    let sought = |way, size| Sought { what, title: &step.title, way, class, member, size };
    let unknown = assumed(step);
    let same = !step.outlook.changes && matches!(step.action, Action::Resource(_) | Action::Transfer(_));
    let size = step.outlook.size;
    // What was said to change and never did has taken what it took; what was said to find all as wanted tells nothing of what
    // changes something.
    let ways = if same { &[Way::Same, Way::Idle, Way::Forward][..] } else { &[Way::Forward, Way::Idle] };
    let usual = ways.iter().find_map(|way| Some((*way, history.of_title(&sought(*way, size))?)));
    // It left nothing to take back either.
    let idle = usual.filter(|(way, _)| *way == Way::Idle);
    let idle = idle.map(|(_, found)| Estimate { from: found.from, ..Estimate::NOTHING });
    // What its author says of it counts for more than what others like it took, of which some have nothing in common.
    let says = unknown.forward.from == Basis::Assumed;
    let alike = !UNLIKE.contains(&what);
    let way = if same { Way::Same } else { Way::Forward };
    let like = || history.estimate(&sought(way, size)).filter(|_| says && (same || alike));
    let forward = usual.map(|(_, found)| found).or_else(like);
    let taken_back = sought(Way::Back, Size::default());
    let back_like = || history.estimate(&taken_back).filter(|_| alike);
    let back = history.of_title(&taken_back).or(idle).or_else(back_like);
    let back = back.filter(|_| step.outlook.changes && !step.outlook.irreversible);
    if forward.is_none() && back.is_none() {
        return None;
    }
    let forward = forward.map(|found| limited(found, &step.action));
    Some(Takes { forward: forward.unwrap_or(unknown.forward), back: back.unwrap_or(unknown.back) })
}

/// What ends at a limit takes no longer than that.
fn limited(found: Estimate, action: &Action) -> Estimate {
    let limit = match action {
        Action::Check(check) => check.within,
        Action::Reboot(reboot) => reboot.within,
        Action::Resource(_) | Action::Transfer(_) | Action::Manual(_) => return found,
    };
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let bound_ms = found.bound_ms.min(limit);
    let usual_ms = found.usual_ms.min(bound_ms);
    Estimate { least_ms: found.least_ms.min(usual_ms), usual_ms, bound_ms, from: found.from }
}

/// The machinery around the stage; for hosts of several classes the slower counts.
fn around<'a>(stage: &Stage, history: &History, class: &impl Fn(&HostName) -> &'a str) -> Option<Around> {
    let mut places: Vec<(&str, &str)> = stage.hosts.keys().map(|host| (class(host), host.member())).collect();
    places.sort_unstable();
    places.dedup();
    let mut known = false;
    let mut of = |title: &str, way: Way, unknown: Estimate| {
        let size = Size::default();
        // Of a kind of host that never ran, nothing is known: it is none that takes no time.
        let of_place = |(class, member): &(&str, &str)| {
            let found = history.estimate(&Sought { what: AROUND, title, way, class, member, size });
            known |= found.is_some();
            found.unwrap_or(unknown)
        };
        places.iter().map(of_place).max_by_key(|found| found.bound_ms).unwrap_or(unknown)
    };
    let around = Around {
        begin: of(BEGIN, Way::Forward, ASSUMED.begin),
        first: of(FIRST, Way::Forward, ASSUMED.first),
        between: of(BETWEEN, Way::Forward, ASSUMED.between),
        confirm: of(CONFIRM, Way::Forward, ASSUMED.confirm),
        back: of(BACK, Way::Back, ASSUMED.back),
        verify: of(VERIFY, Way::Back, ASSUMED.verify),
        services: of(SERVICES, Way::Forward, ASSUMED.services),
    };
    known.then_some(around)
}
