//! ip(8), networkctl(1), ifup(8) and ifdown(8): a network card has the addresses that our file named when it was last
//! configured.

use std::path::Path;

use super::{Host, Output, World, fails, says};
use crate::fault::Fault;
use crate::host::read_text;

pub(super) fn run(host: &mut dyn Host, argv: &[&str]) -> Result<Output, Fault> {
    let mut world = World::load(host)?;
    let (card, path, key) = match argv {
        ["ip", "-o", "addr", "show", "dev", card, ..] => {
            let family = |address: &str| if address.contains(':') { "inet6" } else { "inet" };
            let line = |address: &String| format!("2: {card}    {} {address} scope global {card}\n", family(address));
            return Ok(says(world.addresses.get(*card).into_iter().flatten().map(line).collect::<String>()));
        }
        ["ip", "-o", "address", "show", "scope", "global"] => {
            return Ok(says(world.addresses.iter().flat_map(|(card, all)| rows(card, all)).collect::<String>()));
        }
        ["ip", "address", change @ ("add" | "delete"), address, "dev", card, ..] => {
            let have = world.addresses.entry((*card).to_owned()).or_default();
            match (*change, have.iter().position(|have| have == address)) {
                ("add", None) => have.push((*address).to_owned()),
                ("delete", Some(at)) => drop(have.remove(at)),
                ("add", _) => return Ok(fails(2, "RTNETLINK answers: File exists")),
                _ => return Ok(fails(2, "RTNETLINK answers: Cannot assign requested address")),
            }
            have.sort();
            world.addresses.retain(|_, addresses| !addresses.is_empty());
            world.save(host)?;
            return Ok(Output::default());
        }
        ["networkctl", "reload"] => return Ok(Output::default()),
        ["networkctl", "reconfigure", card] => {
            (card, format!("/etc/systemd/network/30-weiche-{card}.network"), "Address=")
        }
        ["ifdown", "--force", card] => {
            if world.addresses.remove(*card).is_some() {
                world.save(host)?;
            }
            return Ok(Output::default());
        }
        ["ifup", "--force", card] => (card, format!("/etc/network/interfaces.d/weiche-{card}"), "address "),
        _ => return Ok(fails(1, "bad usage")),
    };
    let text = read_text(host, Path::new(&path))?.unwrap_or_default();
    let mut addresses: Vec<String> =
        text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect();
    addresses.sort();
    world.addresses.insert((*card).to_owned(), addresses);
    world.addresses.retain(|_, addresses| !addresses.is_empty());
    world.save(host)?;
    Ok(Output::default())
}

/// As ip-address(8) shows them: of several of one network (here: that are alike up to the last dot) all but the first
/// are secondary.
fn rows(card: &str, all: &[String]) -> Vec<String> {
    let network = |address: &String| address.rsplit_once('.').map(|(network, _)| network.to_owned());
    let row = |(at, address): (usize, &String)| {
        let beside = |other: &String| network(other).is_some_and(|of| network(address) == Some(of));
        let family = if address.contains(':') { "inet6" } else { "inet" };
        let secondary = if all[..at].iter().any(beside) { "secondary " } else { "" };
        format!("2: {card}    {family} {address} scope global {secondary}{card}\n")
    };
    all.iter().enumerate().map(row).collect()
}
