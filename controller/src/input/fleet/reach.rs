//! How a host is reached: the fleet's `ssh` and `agent` with what the host does differently, jump hosts included.

use std::path::{Path, PathBuf};

use weiche_agent::protocol::Expect;

use super::{CHAIN_MAX, Fleet, Host};
use crate::input::suggest;
use crate::input::target::{HostName, Identity, Target, Wake, Watch};

/// Most hosts that are asked to wake another one.
const WAKERS: usize = 3;

/// Why a host cannot be reached: the author of the fleet can fix it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// There is no such host.
    #[error("there is no host `{name}` in the fleet{}", .hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Unknown {
        /// As asked for.
        name: HostName,
        /// What may have been meant.
        hint: Option<String>,
    },
    /// It has no address.
    #[error("`{0}` has no `address` yet, so it cannot be reached")]
    NoAddress(HostName),
    /// It has no pinned key.
    #[error("`{0}` has no `host_key`, so its identity could not be checked")]
    NoHostKey(HostName),
    /// The hosts to go through lead back to themselves.
    #[error("the jump hosts of `{0}` lead in a circle")]
    Circle(HostName),
}

impl Fleet {
    /// How to reach a host and start the agent there, jump hosts resolved.
    ///
    /// # Errors
    /// See [`TargetFault`].
    pub fn target(&self, name: &HostName) -> Result<Target, TargetFault> {
        self.reach(name, &mut Vec::new())
    }

    fn reach(&self, name: &HostName, through: &mut Vec<HostName>) -> Result<Target, TargetFault> {
        if through.contains(name) || through.len() >= CHAIN_MAX {
            return Err(TargetFault::Circle(through.first().unwrap_or(name).clone()));
        }
        let unknown = || TargetFault::Unknown {
            name: name.clone(),
            hint: suggest::hint(&name.0, self.hosts.keys().map(|name| name.0.as_str())),
        };
        let host = self.hosts.get(name).ok_or_else(unknown)?;
        through.push(name.clone());
        let jump = self.jump(host).map(|jump| self.reach(&jump, through)).transpose()?.map(Box::new);
        let (all, own) = (&self.config.ssh, host.ssh.as_deref());
        let identity = own.and_then(|o| o.identity.as_deref()).unwrap_or(&all.identity);
        let connect_timeout = own.and_then(|o| o.connect_timeout).unwrap_or(all.connect_timeout).0;
        let silence_timeout = own.and_then(|o| o.silence_timeout).unwrap_or(all.silence_timeout).0;
        Ok(Target {
            name: name.clone(),
            address: host.address.clone().ok_or_else(|| TargetFault::NoAddress(name.clone()))?,
            port: host.port.unwrap_or(all.port),
            expect: Expect { serial: host.serial.clone(), machine_id: host.machine_id.clone(), ..Expect::default() },
            user: own.and_then(|o| o.user.as_ref()).unwrap_or(&all.user).clone(),
            identity: if identity == "agent" { Identity::Agent } else { Identity::File(self.locate(identity)) },
            host_key: host.host_key.clone().ok_or_else(|| TargetFault::NoHostKey(name.clone()))?,
            r#become: own.and_then(|o| o.r#become).unwrap_or(all.r#become),
            wake: self.wake(host),
            jump,
            agent: host.agent.as_deref().unwrap_or(&self.config.agent).clone(),
            key_exchange: own.and_then(|o| o.key_exchange.as_ref()).unwrap_or(&all.key_exchange).clone(),
            connect_timeout,
            silence_timeout,
        })
    }

    /// What is compared before and after a run on a host, besides what the run manages; `None` if there is no such host.
    pub fn watch(&self, name: &HostName) -> Option<Watch> {
        let host = self.hosts.get(name)?;
        let member = self.members.get(name.member())?;
        let agent = host.agent.as_deref().unwrap_or(&self.config.agent);
        let paths = member.watch.iter().map(|path| path.value.clone()).collect();
        // The agent's own journals change with every run.
        let own = Some(agent.directory.clone()).filter(|path| path.starts_with('/'));
        let except = member.unwatched.iter().map(|path| path.value.clone()).chain(own).collect();
        Some(Watch { paths, except })
    }

    /// How a host is woken: by others on its site, servers first.
    fn wake(&self, host: &Host) -> Option<Wake> {
        let (mac, site) = (host.mac.clone()?, host.site.as_ref()?);
        let near = |other: &&Host| {
            let there = other.name.member() == host.name.member() && other.site.as_ref() == Some(site);
            there && other.name != host.name && other.reachable()
        };
        let mut through: Vec<&Host> = self.hosts.values().filter(near).collect();
        through.sort_by_key(|other| (other.kind, &other.name));
        let through: Vec<HostName> = through.into_iter().take(WAKERS).map(|other| other.name.clone()).collect();
        (!through.is_empty()).then_some(Wake { mac, through })
    }

    /// The host to go through, if any. The fleet's own jump host is reached directly.
    pub fn jump(&self, host: &Host) -> Option<HostName> {
        let full = |text: &str| HostName(text.to_owned());
        match host.ssh.as_ref().and_then(|own| own.jump.as_ref()) {
            Some(own) => own
                .as_ref()
                .map(|name| if name.contains('/') { full(name) } else { HostName::new(host.name.member(), name) }),
            None => self.config.ssh.jump.as_ref().map(|name| full(name)).filter(|name| *name != host.name),
        }
    }

    /// A path as written: absolute, below the home directory (`~/`), or relative to the fleet's directory.
    pub fn locate(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.base.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ if Path::new(path).is_absolute() => PathBuf::from(path),
            _ => self.base.directory.join(path),
        }
    }
}
