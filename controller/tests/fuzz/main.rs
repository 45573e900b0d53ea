//! Bytes that nobody meant: the YAML that people write, archives from anywhere, and what hosts say of their states. No
//! panic, and memory within a bound that is measured.

mod archive;
#[path = "../../../agent/tests/fuzz/corpus.rs"]
mod corpus;
mod diff;
#[path = "../../../agent/tests/fuzz/heap.rs"]
mod heap;
mod yaml;
