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
    let addresses: Vec<String> =
        text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect();
    world.addresses.insert((*card).to_owned(), addresses);
    world.addresses.retain(|_, addresses| !addresses.is_empty());
    world.save(host)?;
    Ok(Output::default())
}
