//! The shell that reaches hosts.
