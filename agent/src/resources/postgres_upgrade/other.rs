//! The other server, asked with the rights of the role for replication.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::here::Here;
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;
use crate::resources::postgres::session;

/// The server whose rows one follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "postgres_other")]
pub struct Other {
    /// Its address or host name.
    pub address: String,
    /// Its port.
    #[serde(default = "port")]
    pub port: u16,
    /// A password file (0600, owned by `postgres`) of this host, as libpq reads it, with a line for the database and
    /// `postgres`; without it `~postgres/.pgpass`. Make it with `file` and `sensitive: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passfile: Option<String>,
}

fn port() -> u16 {
    5432
}

impl Other {
    /// What is wrong with it. No part of it needs to be quoted.
    pub(super) fn problems(&self) -> Vec<String> {
        let ok = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        let mut problems = Vec::new();
        if !ok(&self.address, b".:-%") {
            problems.push(format!("`{}` is no address", self.address));
        }
        if self.passfile.as_ref().is_some_and(|path| !path.starts_with('/') || !ok(path, b"/._-")) {
            problems.push("`passfile` is an absolute path without blanks".into());
        }
        problems
    }

    /// How the role connects to a database there.
    pub(super) fn conninfo(&self, user: &str, database: &str) -> String {
        let passfile = self.passfile.as_ref().map_or_else(String::new, |path| format!(" passfile={path}"));
        format!("host={} port={} user={user}{passfile} dbname={database}", self.address, self.port)
    }

    /// Reads [`Other::conninfo`].
    pub(super) fn read(conninfo: &str) -> Other {
        let field = |key: &str| conninfo.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        Other {
            address: field("host").unwrap_or_default().to_owned(),
            port: field("port").and_then(|text| text.parse().ok()).unwrap_or_else(port),
            passfile: field("passfile").map(str::to_owned),
        }
    }

    /// One answer in JSON.
    ///
    /// # Errors
    /// `NotFound` if it does not answer: the operator looks at `pg_hba.conf`, `listen_addresses`, the role and the way
    /// there. `CommandFailed` if it refuses.
    pub(super) fn ask<T: DeserializeOwned>(&self, sql: &str, here: &Here, cx: &mut Cx<'_>) -> Result<T, Fault> {
        let row = self.say(sql, here, false, cx)?;
        let unread = |_| Fault::new(FaultCode::Invalid, "the other server's answer is not what this build expects");
        serde_json::from_str(row.trim()).map_err(unread)
    }

    /// Carries out statements there.
    ///
    /// # Errors
    /// Those of [`Other::ask`].
    pub(super) fn change(&self, sql: &str, here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.say(sql, here, true, cx).map(|_| ())
    }

    fn say(&self, sql: &str, here: &Here, effect: bool, cx: &mut Cx<'_>) -> Result<String, Fault> {
        let conninfo = format!("{} connect_timeout=3", self.conninfo(&here.user, &here.database));
        let output = session(&conninfo, format!("SET standard_conforming_strings = on;\n{sql}\n"), effect, cx)?;
        let said = || output.stderr.lines().next().unwrap_or("no answer").to_owned();
        match output.status {
            0 => Ok(output.stdout),
            2 => Err(Fault::new(FaultCode::NotFound, said())
                .within(format!("the server {}:{} does not let this one in", self.address, self.port))
                .hint(format!(
                    "it has to run, to listen on that address, and to let the role `{}` in: a line `host {}` in its \
                     pg_hba.conf",
                    here.user, here.database
                ))),
            _ => Err(Fault::new(FaultCode::CommandFailed, said()).within(format!("{} refuses", self.address))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_read_as_it_was_written() {
        for passfile in [None, Some("/var/lib/postgresql/.pgpass".to_owned())] {
            let other = Other { address: "2001:db8::7".into(), port: 5433, passfile };
            assert_eq!(other.problems(), Vec::<String>::new());
            assert_eq!(Other::read(&other.conninfo("standby", "minutes")), other);
        }
        let other = Other { address: "192.0.2.1 x".into(), port: 1, passfile: Some("a b".into()) };
        assert_eq!(other.problems().len(), 2);
    }
}
