//! Simulated rollouts: seeded fleets of made-up hosts around the real machine, in virtual time. `SEEDS=n` plays so many,
//! `SEED=n` plays one and tells its story.

mod book;
mod driver;
mod host;
mod rng;
mod scene;
mod seeds;
mod world;
