//! What a forecast promises, held against the machine: on random plans, with random durations and troubles.

mod advice;
mod agenda;
mod live;
mod plain;
mod promise;
pub(crate) mod scene;
mod speed;
