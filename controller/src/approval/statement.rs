//! What a person signs: a text of a few lines that names the run, the plan, the stage and how long it holds.

use std::fmt;

use serde::{Deserialize, Serialize};
use weiche_agent::digest::Digest;

use crate::input::signer::hides;

/// The first line: what it is, and the number of its form.
const HEAD: &str = "weiche approval 1";

/// Longest value in bytes: all that is named here is short.
const VALUE_MAX: usize = 300;

/// What is approved. [`fmt::Display`] is the text that is signed: its bytes are the same for the same values, and differ
/// for different ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Statement {
    run: String,
    plan: Digest,
    stage: String,
    window: Option<String>,
    expires: Option<String>,
}

/// Why something cannot be signed, or is no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementFault {
    /// A value would not be one line that reads as it is. The author of the fleet can fix it.
    #[error("the {0} must be one line of 1 to {VALUE_MAX} visible characters, without blanks around it")]
    Value(&'static str),
    /// The text was not written by this program, or was changed.
    #[error("this is no statement of the form that weiche writes")]
    Form,
}

impl Statement {
    /// A statement; `window` and `expires` are texts for people, such as `Fri 2026-11-27 18:00 CET`.
    ///
    /// # Errors
    /// If a value is not one plain line.
    pub fn new(
        run: impl Into<String>,
        plan: Digest,
        stage: impl Into<String>,
        window: Option<String>,
        expires: Option<String>,
    ) -> Result<Statement, StatementFault> {
        let (run, stage) = (run.into(), stage.into());
        let values = [("run", Some(&run)), ("stage", Some(&stage)), ("window", window.as_ref())];
        for (name, value) in values.into_iter().chain([("expiry", expires.as_ref())]) {
            if value.is_some_and(|value| !plain(value)) {
                return Err(StatementFault::Value(name));
            }
        }
        Ok(Statement { run, plan, stage, window, expires })
    }

    /// Reads what [`fmt::Display`] wrote, byte for byte.
    ///
    /// # Errors
    /// Whoever altered the text can fix it.
    pub fn parse(text: &str) -> Result<Statement, StatementFault> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(StatementFault::Form);
        }
        let mut lines = lines.peekable();
        let mut next = |key: &str| {
            let line = lines.next_if(|line| line.split_once(": ").is_some_and(|(found, _)| found == key))?;
            line.split_once(": ").map(|(_, value)| value.to_owned())
        };
        let read = (next("run"), next("plan"), next("stage"), next("window"), next("expires"));
        let (Some(run), Some(plan), Some(stage), window, expires) = read else { return Err(StatementFault::Form) };
        let plan = Digest::try_from(plan).map_err(|_| StatementFault::Form)?;
        let statement = Statement::new(run, plan, stage, window, expires)?;
        // Line ends, a line too many, capitals: whatever differs is not what was signed.
        if statement.to_string() == text { Ok(statement) } else { Err(StatementFault::Form) }
    }

    /// The run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The plan's digest.
    pub fn plan(&self) -> &Digest {
        &self.plan
    }

    /// The stage whose gate it opens.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// The window in which the stage shall run.
    pub fn window(&self) -> Option<&str> {
        self.window.as_deref()
    }

    /// Until when it holds.
    pub fn expires(&self) -> Option<&str> {
        self.expires.as_deref()
    }
}

fn plain(value: &str) -> bool {
    (1..=VALUE_MAX).contains(&value.len())
        && value.trim() == value
        && !value.chars().any(|c| c.is_control() || hides(c))
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\nrun: {}\nplan: {}\nstage: {}", self.run, self.plan, self.stage)?;
        for (key, value) in [("window", &self.window), ("expires", &self.expires)] {
            if let Some(value) = value {
                writeln!(f, "{key}: {value}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Statement {
    type Error = StatementFault;

    fn try_from(text: String) -> Result<Statement, StatementFault> {
        Statement::parse(&text)
    }
}

impl From<Statement> for String {
    fn from(statement: Statement) -> String {
        statement.to_string()
    }
}
