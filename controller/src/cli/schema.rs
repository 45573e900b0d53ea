//! `weiche schema`: JSON Schemas of the YAML files, for editors.

use super::exit::{Exit, Failure};
use crate::input::schema::{Document, schema};

/// Print the JSON Schema of a kind of file, for editors
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// fleet (weiche.yaml), member, playbook or profile; or facts, what `weiche facts --json` prints of a host
    document: String,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let found = Document::ALL.iter().find(|(name, _)| *name == args.document);
    let names: Vec<&str> = Document::ALL.iter().map(|(name, _)| *name).collect();
    let bad = || Failure::new(format!("there is no file kind `{}`", args.document)).hint(names.join(", "));
    let (_, document) = found.ok_or_else(bad)?;
    super::work::print(&(serde_json::to_string_pretty(&schema(*document)).unwrap_or_default() + "\n"));
    Ok(Exit::Done)
}
