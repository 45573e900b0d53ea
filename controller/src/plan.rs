//! The plan is a value: a pure function of fleet, playbook, inputs and observed states.

pub mod procedure;
