//! Holidays by a table, windows over both nights in which clocks are changed.

mod holidays;
mod windows;
