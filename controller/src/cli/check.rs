//! `weiche check`: reads the whole fleet and says everything that is wrong with it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::output::{self, Files};
use super::{Context, work};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::load::{LoadFailure, Loaded};
use crate::input::source::Span;
use crate::paper::render::{self, TemplateError};
use crate::show;

/// Check the fleet's files: all problems at once
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The fleet's directory, instead of -C
    directory: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
    /// Write GitLab's code-quality report (JSON)
    #[arg(long, value_name = "FILE")]
    code_quality: Option<PathBuf>,
}

impl Args {
    /// Writes the files that were asked for.
    fn write(&self, name: &str, problems: &Problems, below: &str) -> Result<(), Failure> {
        self.files.write(|| show::junit::check(problems), || show::markdown::check(name, problems))?;
        self.code_quality.iter().try_for_each(|path| output::whole(path, &show::quality::json(problems, below)))
    }
}

/// Reads the fleet, and tries its own templates.
fn load(directory: &Path) -> Result<Loaded, Box<LoadFailure>> {
    let loaded = crate::input::load::load(directory)?;
    let mut problems = Problems::new();
    for TemplateError { template, line, message } in render::check(loaded.fleet().papers()) {
        let Some(source) = loaded.sources.get(&format!("papers/{template}")) else { continue };
        let start = source.line_start(line.and_then(|line| u32::try_from(line).ok()).unwrap_or(1));
        let span = Span::new(start as usize, 0);
        problems.add(Diagnostic::new(source, span, message).hint("docs/papers.md says what a template gets"));
    }
    match problems.is_empty() {
        true => Ok(loaded),
        false => Err(Box::new(LoadFailure { problems: problems.sorted(), sources: loaded.sources })),
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let directory = args.directory.clone().unwrap_or_else(|| context.fleet.clone());
    let context = Context { fleet: directory, ..context.clone() };
    // Pipelines run at the top of the repository, and name files from there.
    let below = match &context.fleet {
        fleet if fleet.is_absolute() || fleet == Path::new(".") => String::new(),
        fleet => format!("{}/", fleet.strip_prefix("./").unwrap_or(fleet).display()).replace("//", "/"),
    };
    args.files.begin("weiche check")?;
    args.code_quality.iter().try_for_each(|path| output::whole(path, &show::quality::running(&below)))?;
    let result = load(&context.fleet);
    match &result {
        Ok(loaded) => args.write(loaded.fleet().name(), &loaded.warnings, &below)?,
        Err(failure) => args.write("", &failure.problems, &below)?,
    }
    let loaded = match result {
        Ok(loaded) => loaded,
        Err(failure) if context.json => {
            work::print(&(serde_json::to_string_pretty(&failure.problems).unwrap_or_default() + "\n"));
            return Err(Failure::new(format!("{} problem(s)", failure.problems.len())));
        }
        Err(failure) => {
            let text = failure.render(std::io::stderr().is_terminal());
            return Err(Failure::new(format!("the fleet in {} has problems\n{text}", context.fleet.display())));
        }
    };
    let fleet = loaded.fleet();
    if context.json {
        work::print(&(serde_json::to_string_pretty(&loaded.warnings).unwrap_or_default() + "\n"));
        return Ok(Exit::Done);
    }
    if !loaded.warnings.is_empty() {
        work::print(&loaded.render(&loaded.warnings, std::io::stdout().is_terminal()));
    }
    let printers: usize = fleet.members().map(|member| member.printers.len()).sum();
    work::print(&format!(
        "Fleet {}: {} member(s), {} host(s), {} printer(s), {} profile(s), {} playbook(s). No problems.\n",
        fleet.name(),
        fleet.members().count(),
        fleet.hosts().count(),
        printers,
        fleet.profiles().len(),
        fleet.playbooks().len(),
    ));
    Ok(Exit::Done)
}
