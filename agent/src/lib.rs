//! The vocabulary of the wire (`protocol`, `fault`, `resource`) and the agent itself.
//!
//! Arrows between the modules point one way: `fault`, `digest` <- `protocol` <- `serve`;
//! `host` <- `resource` <- `resources` <- `engine` <- `serve` <- `main`; `host` <- `journal` <- `engine` <- `guard` <- `serve`.
//! The controller uses the pure part (`protocol`, `resource`); the agent binary is all of it. Synchronous, no async
//! runtime, small: it is pushed to every host.

pub mod digest;
pub mod engine;
pub mod facts;
pub mod fault;
pub mod guard;
pub mod host;
pub mod journal;
pub mod manifest;
pub mod protocol;
pub mod resource;
pub mod resources;
pub mod serve;
