//! `weiche show`: what the fleet says of its members, hosts and playbooks.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::input::fleet::{Fleet, Host, HostKind};

/// Show members, hosts and playbooks as the fleet's files describe them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A member, a host or a playbook; everything in short if left out
    name: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    let fleet = loaded.fleet();
    let Some(name) = &args.name else {
        work::print(&overview(fleet));
        return Ok(Exit::Done);
    };
    if let Some(member) = fleet.member(name) {
        work::print(&format!("{} ({})\n", member.name, member.member.value));
        for host in fleet.hosts().filter(|host| host.name.member() == name) {
            work::print(&line(fleet, host));
        }
        work::print(&format!("  {} printer(s)\n", member.printers.len()));
    } else if let Some(playbook) = fleet.playbooks().get(name) {
        work::print(&format!("playbook {name}\n  {}\n", playbook.description.as_deref().unwrap_or("(no description)")));
        for (input, kind) in &playbook.inputs {
            let optional = if kind.optional { " (optional)" } else { "" };
            work::print(&format!("  input {input}: {:?}{optional}\n", kind.r#type).to_lowercase());
        }
        for (stage, _) in fleet.stage_names(playbook).unwrap_or_default() {
            work::print(&format!("  stage {stage}\n"));
        }
    } else {
        let host = fleet.find(name).map_err(|others| {
            let names: Vec<String> = others.iter().map(ToString::to_string).collect();
            let failure = Failure::new(format!("there is no member, host or playbook `{name}`"));
            if names.is_empty() { failure } else { failure.hint(format!("did you mean one of: {}", names.join(", "))) }
        })?;
        work::print(&(serde_json::to_string_pretty(&fleet.host_value(host)).unwrap_or_default() + "\n"));
    }
    Ok(Exit::Done)
}

fn overview(fleet: &Fleet) -> String {
    let mut out = format!("Fleet {}\n", fleet.name());
    for member in fleet.members() {
        let count = |kind| {
            fleet.hosts().filter(|h| h.name.member() == member.member.value.to_string() && h.kind == kind).count()
        };
        out += &format!(
            "  {:<24} {} server(s), {} PC(s), {} printer(s)  {}\n",
            member.member.value.to_string(),
            count(HostKind::Server),
            count(HostKind::Pc),
            member.printers.len(),
            member.name,
        );
    }
    out += "Playbooks\n";
    for (name, playbook) in fleet.playbooks() {
        out += &format!("  {name:<24} {}\n", playbook.description.as_deref().unwrap_or(""));
    }
    out
}

fn line(fleet: &Fleet, host: &Host) -> String {
    format!(
        "  {:<28} {:<22} {}\n",
        host.name.to_string(),
        host.address.as_deref().unwrap_or("(no address)"),
        fleet.profile_of(host).unwrap_or("(no profile)"),
    )
}
