//! Names and numbers of users and groups, from `/etc/passwd` and `/etc/group` (passwd(5), group(5)). Directory services
//! are not asked: the agent is static, and what it manages has to work before the network does.

use std::path::Path;

use crate::fault::{Fault, FaultCode};
use crate::host::{self, Host};

/// Which of the two databases.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Database {
    /// `/etc/passwd`
    User,
    /// `/etc/group`
    Group,
}

impl Database {
    fn path(self) -> &'static Path {
        Path::new(match self {
            Database::User => "/etc/passwd",
            Database::Group => "/etc/group",
        })
    }

    /// The name of an id, or the number itself where it has none.
    pub(crate) fn name(self, id: u32, host: &mut dyn Host) -> Result<String, Fault> {
        if id == 0 {
            return Ok(String::from("root"));
        }
        let text = host::read_text(host, self.path())?.unwrap_or_default();
        let found = entries(&text).find(|(_, entry_id)| *entry_id == id);
        Ok(found.map_or_else(|| id.to_string(), |(name, _)| name.to_owned()))
    }

    /// The id of a name, or of a number written out.
    pub(crate) fn id(self, name: &str, host: &mut dyn Host) -> Result<u32, Fault> {
        if name == "root" {
            return Ok(0);
        }
        let text = host::read_text(host, self.path())?.unwrap_or_default();
        let found = entries(&text).find(|(entry, _)| *entry == name).map(|(_, id)| id);
        found.or_else(|| name.parse().ok()).ok_or_else(|| {
            let class = match self {
                Database::User => "user",
                Database::Group => "group",
            };
            Fault::new(FaultCode::NotFound, format!("there is no {class} `{name}` in {}", self.path().display()))
                .hint(format!("declare a `{class}` resource for it before this one"))
        })
    }
}

fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}
