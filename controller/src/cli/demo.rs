//! x
use super::Context;
use super::exit::{Exit, Failure};
/// Swap a server and take it back, on embedded sandbox hosts
#[derive(Debug, clap::Args)]
pub(super) struct Args {}
pub(super) async fn run(_args: Args, _context: &Context) -> Result<Exit, Failure> { Ok(Exit::Done) }
