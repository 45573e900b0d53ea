//! `weiche kind`: the reference of resource kinds.

use super::exit::{Exit, Failure};
use crate::input::resource::kind_names;
use crate::input::suggest;
use crate::show::reference;

/// Explain a resource kind: its keys, examples and what its undo restores
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The kind; lists all if left out
    kind: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Some(name) = &args.kind else {
        let list: String = kind_names().map(|name| format!("{name}\n")).collect();
        super::work::print(&list);
        return Ok(Exit::Done);
    };
    let page = reference::page(name).ok_or_else(|| {
        let failure = Failure::new(format!("there is no resource kind `{name}`"));
        suggest::hint(name, kind_names()).into_iter().fold(failure, |failure, hint| failure.hint(hint))
    })?;
    super::work::print(&page);
    Ok(Exit::Done)
}
