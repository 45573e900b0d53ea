//! The shell that reaches hosts: connections, sessions with agents, observation, and the loop that drives a run.

pub mod agent_binary;
pub mod clock;
mod guard;
mod host;
pub mod link;
mod lost;
mod meter;
pub mod observe;
pub mod pool;
pub mod post;
mod probe;
pub mod push;
mod reboot;
mod reckon;
pub mod run;
pub mod session;
mod shared;
pub mod ssh;
mod transfer;
mod turns;
mod vantage;
mod wake;
mod watch;
pub mod witness;

pub use shared::chain;
