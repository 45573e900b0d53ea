//! `weiche paper`: the papers of a weekend, before it and after it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Context, expect, output, read, work};
use crate::history::ByHand;
use crate::input::load::Loaded;
use crate::input::paper::Language;
use crate::paper::people::People;
use crate::paper::when::When;
use crate::paper::words::Words;
use crate::paper::{Pen, gantt, hand_over, render, run_sheet};
use crate::plan::Plan;
use crate::store::{Confirmed, Event};
use crate::view::View;

/// Make a paper: run sheet and summary of a saved plan, hand-over report of a run, Gantt view of either
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which
    #[arg(value_enum)]
    paper: Paper,
    /// The run, or `latest`
    #[arg(required_unless_present = "plan")]
    run: Option<String>,
    /// A saved plan, instead of a run
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    plan: Option<PathBuf>,
    /// Its language [default: the member's, else the fleet's]
    #[arg(long, value_enum)]
    language: Option<Language>,
    /// Write it here, instead of printing it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The Gantt view as text of so many columns, instead of HTML
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(20..=1000))]
    text: Option<u16>,
    #[command(flatten)]
    start: expect::When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Paper {
    RunSheet,
    Summary,
    HandOver,
    Gantt,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    if args.text.is_some() && args.paper != Paper::Gantt {
        return Err(Failure::new("only the Gantt view is made as text"));
    }
    if args.text.is_some() && context.json {
        return Err(Failure::new("the Gantt view is made as text or as JSON").hint("leave `--text` or `--json` out"));
    }
    if args.plan.is_none() && args.start.given() {
        return Err(Failure::new("a run has begun when it did, with whom it did")
            .hint("`--start` and `--technicians` are for a saved plan: `--plan FILE`"));
    }
    let loaded = work::load_fleet(context)?;
    let (plan, events, confirmed) = read(&args, context, &loaded).await?;
    let view = events.first().map(|first| View::of(&first.run, &events));
    let paper = make(&args, context.json, &loaded, &plan, (&events, &confirmed), view.as_ref())?;
    match &args.output {
        Some(path) => output::whole(path, &paper)?,
        None => work::print(&paper),
    }
    Ok(Exit::Done)
}

async fn read(args: &Args, context: &Context, loaded: &Loaded) -> Result<(Plan, Vec<Event>, Vec<Confirmed>), Failure> {
    if let Some(path) = &args.plan {
        return Ok((read::plan(path)?, Vec::new(), Vec::new()));
    }
    let store = work::store(context, Some(loaded)).await?;
    let (run, plan) = work::find_run(store.as_ref(), args.run.as_deref().unwrap_or_default()).await?;
    let events = store.events(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    let confirmed = store.confirmed(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    Ok((plan, events, confirmed))
}

fn make(
    args: &Args,
    json: bool,
    loaded: &Loaded,
    plan: &Plan,
    (events, confirmed): (&[Event], &[Confirmed]),
    view: Option<&View>,
) -> Result<String, Failure> {
    let fleet = loaded.fleet();
    let mut options = args.start.options(plan, loaded, BTreeSet::new())?;
    if let Some(view) = view {
        options.start_ms = view.started_ms;
    }
    let forecast = crate::forecast::of(plan, &options);
    let own = plan.hosts().iter().find_map(|host| fleet.member(host.member())?.language);
    let language = args.language.or(own).unwrap_or(fleet.config().language);
    let (words, people) = (Words::of(language), People::of(fleet, plan));
    let (from_ms, to_ms) = (view.map_or(forecast.start_ms, |view| view.started_ms), forecast.end.latest_ms);
    let to_ms = view.map_or(to_ms, |view| view.last_ms.max(to_ms));
    let when = When::new(fleet.zone().clone(), language, from_ms.min(forecast.start_ms), to_ms);
    let pen = Pen { words, when: &when, people: &people };
    let sheet = || run_sheet::of(plan, &forecast, pen);
    match args.paper {
        Paper::RunSheet => write("run-sheet", &sheet(), json, loaded, words),
        Paper::Summary => write("summary", &sheet(), json, loaded, words),
        Paper::HandOver => {
            let view = view.ok_or_else(|| Failure::new("a hand-over report is of a run that has begun"))?;
            let by_hand = confirmed.iter().map(|c| ByHand { step: &c.step, by: &c.by, at_ms: c.at_ms });
            let by_hand: Vec<ByHand<'_>> = by_hand.collect();
            write("hand-over", &hand_over::of(plan, &forecast, (events, &by_hand), view, pen), json, loaded, words)
        }
        Paper::Gantt => {
            let chart = gantt::chart(&forecast, events, view);
            if let Some(columns) = args.text {
                return Ok(chart.text(&when, columns.into()));
            }
            if json {
                return Ok(serde_json::to_string_pretty(&chart).unwrap_or_default() + "\n");
            }
            let sheet = sheet();
            let (member, playbook, plan) = (sheet.member, sheet.playbook, sheet.plan);
            let picture = gantt::Page { member, playbook, plan, clocks_change: when.changes, svg: chart.svg(&when) };
            write("gantt", &picture, false, loaded, words)
        }
    }
}

fn write(
    paper: &str,
    data: &impl Serialize,
    json: bool,
    loaded: &Loaded,
    words: &'static Words,
) -> Result<String, Failure> {
    if json {
        return Ok(serde_json::to_string_pretty(data).unwrap_or_default() + "\n");
    }
    render::html(paper, data, words, loaded.fleet().papers())
        .map_err(|error| Failure::of("fill in the template", &error).hint("docs/papers.md says what a template gets"))
}
