//! The controller: reads a fleet, computes a plan, drives agents over SSH, keeps the run log.
//!
//! Arrows between the modules point one way: `calendar`, `content` <- `input` <- `approval` <- `plan` <- `rollout` <-
//! `forecast`, `history` (all pure: no clock, file, socket or randomness) <- `drive`, `store`, `show`, `paper`, `sandbox` <-
//! `cli` <- `main`.

pub mod approval;
pub mod calendar;
pub mod cli;
pub mod content;
pub mod drive;
pub mod forecast;
pub mod history;
pub mod input;
pub mod notice;
pub mod paper;
pub mod plan;
pub mod rollout;
pub mod sandbox;
pub mod show;
pub mod store;
pub mod view;
