//! `weiche schema`: JSON Schemas of the YAML files, for editors, and of what `--json` prints, for programs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use weiche_agent::protocol::Drift;

use super::exit::{Exit, Failure};
use super::outbox;
use crate::history::Sample;
use crate::input::diagnostic::Problems;
use crate::input::schema::{Document, schema};
use crate::input::target::HostName;
use crate::notice::{self, Notice};
use crate::paper::gantt::Chart;
use crate::paper::hand_over::HandOver;
use crate::paper::run_sheet::RunSheet;
use crate::plan;
use crate::rollout::Verdict;
use crate::show::{agenda, forecast, report};
use crate::store::{EVENT_VERSION, Event};
use crate::view::{Host, View};

/// Print the JSON Schema of a kind of file, for editors, or of what `--json` prints
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// fleet (weiche.yaml), member, playbook or profile; or of JSON: calendar (`weiche calendar`), drift (`weiche drift`), duration (a
    /// line of `weiche history`), event (a line of `weiche log`), facts (of a host, by `weiche facts`), forecast (`weiche whatif`),
    /// gantt, hand-over and run-sheet (`weiche paper`; summary is as run-sheet), notice (what webhooks get), outbox (a line of
    /// `weiche outbox`), plan (a saved plan), problems (`weiche check`), report (`weiche report`), status (a line of `weiche
    /// status`), stuck (`weiche stuck`), verify (`weiche verify`)
    document: String,
}

/// Name, version, and what makes the schema.
type Output = (&'static str, (u32, u32), fn() -> Value);

/// What programs read, by name, with its version.
const OUTPUTS: [Output; 16] = [
    ("calendar", agenda::VERSION, output::<agenda::Told<'static>>),
    ("drift", (1, 0), output::<BTreeMap<HostName, Vec<Drift>>>),
    ("duration", (1, 0), output::<Sample>),
    ("event", (EVENT_VERSION, 0), output::<Event>),
    ("forecast", forecast::VERSION, output::<forecast::Told<'static>>),
    ("gantt", (1, 0), output::<Chart>),
    ("hand-over", (1, 0), output::<HandOver>),
    ("notice", notice::VERSION, output::<Notice>),
    ("outbox", (1, 0), output::<outbox::Line<'static>>),
    ("plan", plan::FILE_VERSION, output::<plan::PlanFile>),
    ("problems", (1, 0), output::<Problems>),
    ("report", report::VERSION, output::<report::Report<'static>>),
    ("run-sheet", (1, 0), output::<RunSheet>),
    ("status", (1, 0), output::<View>),
    ("stuck", (1, 0), output::<BTreeMap<HostName, Host>>),
    ("verify", (1, 0), output::<BTreeMap<HostName, Verdict>>),
];

/// The schema of a type as it is written.
fn output<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut names: Vec<&str> = Document::ALL.iter().map(|(name, _)| *name).chain(OUTPUTS.map(|of| of.0)).collect();
    names.sort_unstable();
    let document = Document::ALL.iter().find(|(name, _)| *name == args.document);
    let output = OUTPUTS.iter().find(|(name, ..)| *name == args.document);
    let found = match (document, output) {
        (Some((_, document)), _) => schema(*document),
        (None, Some((name, (major, minor), make))) => {
            let mut schema = make();
            schema["$id"] = format!("urn:weiche:{name}:{major}.{minor}").into();
            schema
        }
        (None, None) => {
            let failure = Failure::new(format!("there is no schema of `{}`", args.document));
            return Err(failure.hint(names.join(", ")));
        }
    };
    super::work::print(&(serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"));
    Ok(Exit::Done)
}
