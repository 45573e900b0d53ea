//! Exactness of the real file layer, on real file systems: everything about a file comes back, and what cannot be
//! changed is refused with the host as it was. Needs root.

#![expect(clippy::disallowed_methods, reason = "shell")]

mod bench;
mod refused;
mod restored;
