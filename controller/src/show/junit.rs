//! Checks, plans and runs as JUnit XML, which CI systems show as tests. Characters that XML cannot hold are left out.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use weiche_agent::protocol::StepOutcome;

use super::plan::{limits_told, shown};
use crate::input::diagnostic::{Diagnostic, Problems, Severity};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::rollout::Outcome;
use crate::view::{State, View};

/// What a command that did not come to its result has to say: about a place (a host or a file) each.
pub type Faults<'a> = &'a [(String, String)];

/// Longest text of one case, in characters.
const TEXT: usize = 20_000;

/// As it is before the work begins: whoever finds this knows that it did not end.
pub fn running(what: &str) -> String {
    let mut suite = TestSuite::new(what);
    suite.add_test_case(case(what, "ends", Err((NonSuccessKind::Error, "it did not end".into()))));
    report(what, vec![suite])
}

/// The outcome of `weiche check`: a case a file with problems, and one for all the others.
pub fn check(problems: &Problems) -> String {
    let mut suite = TestSuite::new("weiche check");
    let mut by_file: BTreeMap<&str, Vec<&Diagnostic>> = BTreeMap::new();
    problems.iter().for_each(|problem| by_file.entry(&problem.file).or_default().push(problem));
    for (file, problems) in &by_file {
        let line = |problem: &&Diagnostic| match &problem.hint {
            Some(hint) => format!("{problem}\n  hint: {hint}"),
            None => problem.to_string(),
        };
        let text: Vec<String> = problems.iter().map(line).collect();
        let bad = problems.iter().any(|problem| problem.severity == Severity::Error);
        let result = if bad { Err((NonSuccessKind::Failure, text.join("\n"))) } else { Ok(text.join("\n")) };
        suite.add_test_case(case("fleet", file, result));
    }
    if !problems.has_errors() {
        suite.add_test_case(case("fleet", "the whole fleet", Ok(String::new())));
    }
    report("weiche check", vec![suite])
}

/// A plan with its forecast as text: a suite a stage, a case a host; and whether it fits its windows.
pub fn plan(plan: &Plan, forecast: &str, fits: bool) -> String {
    let name = format!("weiche plan {}", plan.playbook);
    let suites = plan.stages.iter().map(|stage| {
        let mut suite = TestSuite::new(format!("stage {}", stage.name));
        for (host, steps) in &stage.hosts {
            let lines = steps.iter().filter(|step| shown(step)).flat_map(|step| {
                let head = format!("{} {}", step.action.id(), step.title);
                std::iter::once(head).chain(step.outlook.diff.iter().map(|line| format!("  {line}")))
            });
            let text = lines.collect::<Vec<_>>().join("\n");
            suite.add_test_case(case(&format!("{}.{}", plan.playbook, stage.name), &host.0, Ok(text)));
        }
        suite
    });
    let mut suites: Vec<TestSuite> = suites.collect();
    let mut whole = TestSuite::new(name.clone());
    let told = format!("{}\n{}", super::plan::sum(plan), limits_told(plan));
    whole.add_test_case(case(&plan.playbook, "can be planned", Ok(told)));
    let fits = if fits { Ok(forecast.to_owned()) } else { Err((NonSuccessKind::Failure, forecast.to_owned())) };
    whole.add_test_case(case(&plan.playbook, "fits its windows", fits));
    suites.insert(0, whole);
    report(&name, suites)
}

/// A command that came to no result: a failed case for each place, or one for the whole.
pub fn failed(what: &str, message: &str, faults: Faults<'_>) -> String {
    let mut suite = TestSuite::new(what);
    for (place, fault) in faults {
        suite.add_test_case(case(what, place, Err((NonSuccessKind::Failure, fault.clone()))));
    }
    if faults.is_empty() {
        suite.add_test_case(case(what, "can be done", Err((NonSuccessKind::Failure, message.to_owned()))));
    }
    report(what, vec![suite])
}

/// A run: a case for the whole, a suite a host, a case a step as it was last.
pub fn run(plan: &Plan, view: &View) -> String {
    let name = format!("run {} of {}", view.run, view.playbook);
    let mut whole = TestSuite::new(name.clone());
    let result = match &view.state {
        State::Ended(Outcome::Done) => Ok(String::new()),
        State::Ended(_) => Err((NonSuccessKind::Failure, super::status::state(view))),
        _ => Err((NonSuccessKind::Error, format!("it has not ended: {}", super::status::state(view)))),
    };
    whole.add_test_case(case(&view.playbook, "is done", result));
    let mut suites = vec![whole];
    let untold = view.untold(plan);
    for (name, host) in &view.hosts {
        let mut suite = TestSuite::new(name.0.clone());
        for (step, outcome, took_us) in &host.steps {
            let result = match outcome {
                StepOutcome::Undone | StepOutcome::UndoneDrifted { .. } if host.failed.contains_key(step) => {
                    let fault = host.failed.get(step).map(|failed| failed.fault.to_string()).unwrap_or_default();
                    Err((NonSuccessKind::Failure, format!("failed, then {}: {fault}", super::outcome(outcome))))
                }
                StepOutcome::Failed(fault) | StepOutcome::UndoFailed(fault) => {
                    Err((NonSuccessKind::Failure, format!("{}: {fault}", super::outcome(outcome))))
                }
                _ => Ok(super::outcome(outcome).to_owned()),
            };
            let mut case = case(&class(name), &step.0, result);
            let took_us = host.failed.get(step).map_or(*took_us, |failed| failed.took_us);
            case.set_time(Duration::from_micros(took_us));
            suite.add_test_case(case);
        }
        let part = untold.get(name).map_or("its part of the run", |step| step.0.as_str());
        for (word, fault) in [(part, &host.fault), ("is taken back", &host.stuck_fault)] {
            if let Some(fault) = fault {
                let result = Err((NonSuccessKind::Failure, fault.to_string()));
                suite.add_test_case(case(&class(name), word, result));
            }
        }
        suites.push(suite);
    }
    report(&name, suites)
}

/// Viewers make a tree of a class by its dots.
fn class(host: &HostName) -> String {
    host.0.replace('/', ".")
}

fn case(class: &str, name: &str, result: Result<String, (NonSuccessKind, String)>) -> TestCase {
    let (status, said) = match result {
        Ok(said) => (TestCaseStatus::success(), said),
        Err((kind, text)) => {
            let mut status = TestCaseStatus::non_success(kind);
            let text = bounded(&text);
            status.set_message(text.lines().next().unwrap_or_default()).set_description(text);
            (status, String::new())
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    if !said.trim().is_empty() {
        case.set_system_out(bounded(&said));
    }
    case
}

fn bounded(text: &str) -> String {
    super::markdown::bounded(text, TEXT)
}

fn report(name: &str, suites: Vec<TestSuite>) -> String {
    let mut report = Report::new(name);
    report.add_test_suites(suites);
    // It is written into memory, of texts that the library has made fit.
    report.to_string().unwrap_or_default()
}
