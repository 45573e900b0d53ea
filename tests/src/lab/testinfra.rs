//! An independent witness: suites of pytest-testinfra (<https://testinfra.readthedocs.io>) that look at hosts over SSH.
//!
//! They are Python and share no code with what they check. pytest runs where the controller does, inside the lab's
//! network, as the machine's own Python with Debian's packages: `tests/setup.sh` installs them.

use std::fs;
use std::path::Path;
use std::process::Output;

use super::{Lab, LabHost};
use crate::tool;

/// Debian's own: whatever else is called `python3` here does not have its packages.
const PYTHON: &str = "/usr/bin/python3";

impl Lab {
    /// Says why no suite can be run here.
    ///
    /// # Errors
    ///
    /// The missing module; `tests/setup.sh` installs it.
    pub fn testinfra_available() -> Result<(), String> {
        let import = tool::try_run(tool::command(PYTHON).args(["-I", "-c", "import pytest, testinfra"]));
        import.map(drop).map_err(|_| "python3-pytest or python3-testinfra is not installed".to_owned())
    }

    /// Runs a suite (a path from the top of the workspace, such as `tests/lab/test_base.py`) against hosts, as root over
    /// SSH. In the suite, `host` is each of them in turn. Status 0: every test passed; 1: some failed, stdout says which.
    ///
    /// # Panics
    /// If pytest cannot be started.
    pub fn testinfra(&self, hosts: &[&LabHost], suite: &str) -> Output {
        let config = self.ssh_config(hosts);
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let urls: Vec<String> = hosts.iter().map(|host| format!("ssh://root@{}", host.name)).collect();
        let mut pytest = self.command(PYTHON);
        // Nothing is written beside the suites, and no other plugin of this machine takes part.
        pytest.args(["-I", "-B", "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "-p", "testinfra.plugin"]);
        pytest.arg(format!("--hosts={}", urls.join(","))).arg(format!("--ssh-config={}", config.display()));
        pytest.arg("--rootdir=.").arg(suite).current_dir(top);
        pytest.env("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1").env("PATH", tool::PATH).env_remove("SSH_AUTH_SOCK");
        pytest.output().unwrap_or_else(|error| panic!("{pytest:?}: {error}"))
    }

    /// Writes an `ssh_config(5)` that knows hosts by name.
    fn ssh_config(&self, hosts: &[&LabHost]) -> std::path::PathBuf {
        let (identity, known_hosts) = (self.identity().display(), self.known_hosts());
        let mut text = format!(
            "Host *\n  BatchMode yes\n  IdentitiesOnly yes\n  StrictHostKeyChecking yes\n  IdentityFile \"{identity}\"\n  \
             UserKnownHostsFile \"{}\"\n",
            known_hosts.display()
        );
        for host in hosts {
            text += &format!("Host {}\n  HostName {}\n  HostKeyAlias {}\n", host.name, host.address, host.address);
        }
        let path = self.dir().join("ssh_config");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}
