//! The shell that reaches hosts: connects over SSH, pushes the agent that the controller carries, and speaks with it.
//!
//! One connection and one exec per host; a stage with its contents is one round trip. Whatever uses an agent does so
//! through [`session::Session`], which neither knows nor cares what kind of [`link::Link`] is below it.

pub mod agent_binary;
pub mod link;
pub mod push;
pub mod session;
pub mod ssh;
