//! What goes wrong, as data: a [`Fault`] crosses the wire and is stored, so it holds no source types.
//!
//! A step that fails as expected is a *result* that carries a fault; a Rust `Err(Fault)` inside the agent is how that
//! result travels up to the engine. Messages are lower-case fragments that read well after "failed to …:".

use std::fmt;
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The closed list of causes that a program may branch on; everything else is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// A path, user, package or unit that is needed does not exist.
    NotFound,
    /// Something of another type stands in the way.
    Conflict,
    /// The operating system refused: permissions, immutable files.
    Denied,
    /// No space or quota left.
    NoSpace,
    /// The file system is mounted read-only.
    ReadOnly,
    /// A deadline passed; what was started has been ended.
    Timeout,
    /// A program ended with an exit status that means failure.
    CommandFailed,
    /// After `put` the host still is not what was wanted.
    NotConverged,
    /// The host is not the machine that the inventory says.
    WrongHost,
    /// The host is no longer what the plan was computed from.
    Stale,
    /// The stage's guard has taken it back, or is about to.
    TakenBack,
    /// Another controller has taken over.
    Superseded,
    /// Others have changed what a step had made: taking it back would take theirs with it.
    Drifted,
    /// Another host failed that this one takes turns with.
    Stopped,
    /// There is no way back for this step.
    Irreversible,
    /// This host cannot do that (missing program, old kernel).
    Unsupported,
    /// The request breaks a rule of its format; the author of the playbook can fix it.
    Invalid,
    /// Another agent works on this host.
    Busy,
    /// The journal or a stored content is damaged.
    Corrupt,
    /// An injected fault of a rehearsal.
    Injected,
    /// The (fake) host lost power.
    Crashed,
    /// Any other error of the operating system.
    Io,
    /// A code that this build does not know.
    #[serde(other)]
    Unknown,
}

/// One failure: code, message, the causes below it (outermost first) and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The cause as a program sees it.
    pub code: FaultCode,
    /// A lower-case fragment for people.
    pub message: String,
    /// Deeper causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What an operator can do, if we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without deeper causes.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// Classifies an error of the operating system; `what` says what was tried, e.g. `write /etc/motd`.
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Fault {
        use io::ErrorKind as K;
        let code = match error.kind() {
            K::NotFound => FaultCode::NotFound,
            K::PermissionDenied => FaultCode::Denied,
            K::StorageFull | K::QuotaExceeded => FaultCode::NoSpace,
            K::ReadOnlyFilesystem => FaultCode::ReadOnly,
            K::AlreadyExists | K::NotADirectory | K::IsADirectory | K::DirectoryNotEmpty => FaultCode::Conflict,
            K::TimedOut => FaultCode::Timeout,
            _ => FaultCode::Io,
        };
        let fault = Fault::new(code, format!("{what}: {error}"));
        if code == FaultCode::NoSpace { fault.hint("make room on the file system that holds it") } else { fault }
    }

    /// The same for an operation on a path.
    pub fn path(verb: &str, path: &Path, error: &io::Error) -> Fault {
        Fault::io(format_args!("{verb} {}", shown(path)), error)
    }

    /// Adds what an operator can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// Wraps: `message` becomes the outer text, the old message its first cause.
    #[must_use]
    pub fn within(mut self, message: impl Into<String>) -> Fault {
        let inner = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, inner);
        self
    }
}

/// A path as people can read it in one line: control characters and bytes that are no UTF-8 are escaped.
pub fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => format!("{path:?}"),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_read_as_unknown() {
        let fault: Fault = serde_json::from_str(r#"{"code":"from_the_future","message":"x"}"#).unwrap();
        assert_eq!(fault.code, FaultCode::Unknown);
    }

    #[test]
    fn causes_are_shown_outermost_first() {
        let fault = Fault::new(FaultCode::Io, "disk on fire").within("write the journal");
        assert_eq!(fault.to_string(), "write the journal: disk on fire");
    }
}
