//! `weiche init`: a small fleet to start from.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::work;

/// Make a small fleet to start from
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory; made if missing
    #[arg(default_value = ".")]
    directory: PathBuf,
}

/// Path and content of each file that is made.
const FILES: [(&str, &str); 5] = [
    (
        "weiche.yaml",
        "\
fleet: my-fleet
timezone: Europe/Berlin
# How hosts are reached. `identity` is a private key, or the word `agent` for a running ssh-agent.
ssh: { user: weiche, identity: agent, become: sudo }
",
    ),
    (
        "members/example.yaml",
        "\
member: example
name: Example administration (made up)
sites:
  rathaus: { address: \"Example street 1\" }
servers:
  # host_key: one line of `ssh-keyscan -t ed25519 ADDRESS`, without the address. Compare it at the host's own screen:
  #           ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
  # - name: fs-1
  #   address: 192.0.2.11
  #   host_key: \"ssh-ed25519 AAAA...\"
  #   site: rathaus
  #   profile: motd
  []
",
    ),
    (
        "profiles/motd.yaml",
        "\
profile: motd
description: A greeting, to try things with
parameters:
  greeting: { type: string, default: \"Managed by Weiche.\" }
resources:
  - file: { path: /etc/motd, content: \"{{greeting}}\\n\", mode: \"0644\" }
",
    ),
    ("files/.keep", ""),
    (".gitignore", ".weiche/\n"),
];

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let taken: Vec<String> = FILES
        .iter()
        .map(|(name, _)| args.directory.join(name))
        .filter(|path| path.exists() && !path.ends_with(".gitignore"))
        .map(|path| path.display().to_string())
        .collect();
    if !taken.is_empty() {
        return Err(Failure::new(format!("there is something already, nothing was written: {}", taken.join(", ")))
            .hint("name an empty or new directory"));
    }
    for (name, content) in FILES {
        let path = args.directory.join(name);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            if path.exists() { Ok(()) } else { fs::write(&path, content) }
        };
        write().map_err(|e| Failure::of(&format!("write {}", path.display()), &e))?;
    }
    let at = args.directory.display();
    work::print(&format!(
        "Made a fleet in {at}. Next:\n  1. enter your hosts in {at}/members/example.yaml\n  2. weiche -C {at} check\n  \
         3. weiche -C {at} plan converge hosts=all\n"
    ));
    Ok(Exit::Done)
}
