//! Which card has the address, and who else would lose his with it, from ip-address(8); and ip-address(8) to change it.

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Spec;
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output, read_text};
use crate::resource::Cx;
use crate::resources::address::{prefix, same_network};

/// Directories with files that give cards their addresses, and the one file without a directory.
const CONFIGURED: [&str; 2] = ["/etc/systemd/network", "/etc/network/interfaces.d"];
const INTERFACES: &str = "/etc/network/interfaces";

/// An address on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Name of the card.
    pub card: String,
    /// The address with its prefix, as it is there.
    pub address: String,
}

/// What was found.
pub(super) struct Seen {
    pub(super) live: Option<Live>,
    pub(super) card: Option<String>,
    pub(super) fixed: Option<String>,
}

/// A line of `ip -o address`.
struct Row {
    card: String,
    ip: IpAddr,
    length: u8,
    secondary: bool,
    dynamic: bool,
}

pub(super) fn look(spec: &Spec, cx: &mut Cx<'_>) -> Result<Seen, Fault> {
    let argv = ["ip", "-o", "address", "show", "scope", "global"].map(str::to_owned);
    let output = run(&Command::reading(argv.clone()), cx)?.expect_ok(&argv)?;
    let (rows, ip): (Vec<Row>, _) = (output.stdout.lines().filter_map(row).collect(), spec.ip());
    let own = rows.iter().find(|row| row.ip == ip);
    let length = prefix(&spec.address).map_or(0, |(_, length)| length);
    let beside = rows.iter().find(|row| row.ip != ip && same_network(row.ip, ip, length));
    let card = spec.interface.as_ref().or(own.or(beside).map(|row| &row.card)).cloned();
    let fixed = match own {
        Some(own) => fixed(own, &rows, cx)?,
        None => None,
    };
    let fixed = match fixed {
        None => configured(ip, cx)?.map(|path| format!("{path} names it, and would bring it back")),
        fixed => fixed,
    };
    let live = own.map(|row| Live { card: row.card.clone(), address: format!("{ip}/{}", row.length) });
    Ok(Seen { live, card, fixed })
}

pub(super) fn add(to: &Live, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut argv = ["ip", "address", "add", &to.address, "dev", &to.card].map(str::to_owned).to_vec();
    if to.address.contains(':') {
        // We have asked already; the kernel would ask once more, and let nobody use it for a second or two.
        argv.push("nodad".into());
    }
    let output = run(&Command::changing(argv.clone(), cx.timeout), cx)?;
    if output.stderr.contains("Cannot find device") {
        return Err(Fault::new(FaultCode::NotFound, format!("there is no network card {}", to.card)));
    }
    output.expect_ok(&argv).map(drop)
}

pub(super) fn remove(from: &Live, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let argv = ["ip", "address", "delete", &from.address, "dev", &from.card].map(str::to_owned);
    run(&Command::changing(argv.clone(), cx.timeout), cx)?.expect_ok(&argv).map(drop)
}

/// Why the host cannot do without this one of its addresses, if so.
fn fixed(own: &Row, rows: &[Row], cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    // Whoever has addresses of IPv4 is mostly reached by them; IPv6 beside it may be for the service alone.
    let other = |row: &&Row| row.ip != own.ip && (row.ip.is_ipv4() || own.ip.is_ipv6());
    if !rows.iter().any(|row| other(&row)) {
        let family = if own.ip.is_ipv4() { " of IPv4" } else { "" };
        return Ok(Some(format!("it is the only address{family} that this host has")));
    }
    if own.dynamic {
        return Ok(Some("it comes by DHCP or from a router, and would come again".into()));
    }
    let network = |row: &&Row| row.card == own.card && row.secondary && same_network(row.ip, own.ip, own.length);
    if let Some(other) = rows.iter().filter(other).find(network)
        && own.ip.is_ipv4()
        && !own.secondary
    {
        // As ip-sysctl of the kernel has it: either says so.
        for part in ["all", own.card.as_str()] {
            let path = format!("/proc/sys/net/ipv4/conf/{part}/promote_secondaries");
            if read_text(cx.host, Path::new(&path))?.is_some_and(|text| text.trim() == "1") {
                return Ok(None);
            }
        }
        let other = other.ip;
        return Ok(Some(format!("the kernel would take {other} with it (promote_secondaries of the card is off)")));
    }
    Ok(None)
}

/// The first file of those who configure the network that has the address in it, however it is written.
fn configured(ip: IpAddr, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let mut files = vec![INTERFACES.to_owned()];
    for directory in CONFIGURED {
        if cx.host.lstat(Path::new(directory))?.is_some_and(|m| m.file_type == crate::host::FileType::Directory) {
            let names = cx.names(Path::new(directory))?;
            files.extend(names.iter().map(|name| format!("{directory}/{}", name.to_string_lossy())));
        }
    }
    for path in files {
        let meta = cx.host.lstat(Path::new(&path))?;
        if meta.is_some_and(|meta| meta.file_type == crate::host::FileType::File)
            && names(&read_text(cx.host, Path::new(&path))?.unwrap_or_default(), ip)
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether a text gives a card the address: `Address=192.0.2.1/24` or `address 192.0.2.1`, and not as a comment.
fn names(text: &str, ip: IpAddr) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let mut words = lines.flat_map(|line| {
        let of_address = line.to_ascii_lowercase().contains("addr");
        line.split(|c: char| c.is_whitespace() || "=/,".contains(c)).filter(move |_| of_address)
    });
    words.any(|word| word.parse() == Ok(ip))
}

fn row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let address = words.iter().skip_while(|word| !["inet", "inet6"].contains(word)).nth(1)?;
    // Of the two ends of a tunnel, the address is ours and the prefix the other's.
    let (ip, length) = match prefix(address) {
        Some(found) => found,
        None => (address.parse().ok()?, if address.contains(':') { 128 } else { 32 }),
    };
    let card = (*words.get(1)?).to_owned();
    Some(Row { card, ip, length, secondary: has("secondary"), dynamic: has("dynamic") })
}

fn run(command: &Command, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    cx.host.run(command).map_err(|fault| match fault.code {
        FaultCode::NotFound => Fault::new(FaultCode::Unsupported, "there is no `ip` on this host")
            .hint("declare the package `iproute2` before it"),
        _ => fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_ip_writes_them() {
        for (line, card, address, secondary, dynamic) in [
            (
                "2: eth0    inet 192.0.2.7/24 brd 192.0.2.255 scope global secondary eth0\\       valid_lft forever",
                "eth0",
                "192.0.2.7/24",
                true,
                false,
            ),
            ("3: br0    inet6 2001:db8::7/64 scope global dynamic mngtmpaddr \\", "br0", "2001:db8::7/64", false, true),
            ("4: tun0    inet 192.0.2.8 peer 192.0.2.9/32 scope global tun0\\", "tun0", "192.0.2.8/32", false, false),
        ] {
            let row = row(line).unwrap();
            assert_eq!((row.card.as_str(), format!("{}/{}", row.ip, row.length).as_str()), (card, address));
            assert_eq!((row.secondary, row.dynamic), (secondary, dynamic));
        }
        assert!(row("").is_none() && row("2: eth0").is_none());
    }

    #[test]
    fn an_address_is_found_in_a_file_however_it_is_written() {
        let v4 = "192.0.2.100".parse().unwrap();
        for (text, found) in [
            ("[Network]\nAddress=192.0.2.100/24\n", true),
            ("iface eth0 inet static\n\taddress 192.0.2.100\n", true),
            ("\tup ip addr add 192.0.2.100/32 dev $IFACE\n", true),
            ("# Address=192.0.2.100/24\n", false),
            ("Gateway=192.0.2.100\n", false),
            ("Address=192.0.2.10/24\n", false),
        ] {
            assert_eq!(names(text, v4), found, "{text}");
        }
        assert!(names("Address = 2001:DB8:0::100/64", "2001:db8::100".parse().unwrap()));
    }
}
