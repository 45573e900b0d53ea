//! dig(1) and nsupdate(1) with one name server, the authority for everything, for exactly the messages that `dns_record`
//! writes. It knows the key of the kind's examples only.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Host, Output, World, fails, says};
use crate::fault::Fault;

/// The secret of the examples.
const SECRET: &str = "bm90IGEgc2VjcmV0IGF0IGFsbA==";

/// The records of one name and type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    ttl: u32,
    values: BTreeSet<String>,
}

pub(super) fn dig(_host: &mut dyn Host, world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let given = |begin: &str| arguments.iter().find_map(|word| word.strip_prefix(begin)).unwrap_or_default();
    let (name, kind) = (given("-q"), given("-t"));
    let mut text = String::from(";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n;; flags: qr aa; QUERY: 1\n");
    if let Some(record) = world.records.get(&format!("{name} {kind}")) {
        let row = |value: &String| format!("{name}\t{}\tIN\t{kind}\t{value}\n", record.ttl);
        text.extend(record.values.iter().map(row));
    }
    Ok(says(text))
}

pub(super) fn nsupdate(host: &mut dyn Host, stdin: &[u8]) -> Result<Output, Fault> {
    let (mut world, text) = (World::load(host)?, String::from_utf8_lossy(stdin));
    let key = |name: &str, kind: &str| format!("{name} {kind}");
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        match words.as_slice() {
            ["key", _, secret] if *secret != SECRET => {
                return Ok(fails(
                    2,
                    "; TSIG error with server: tsig indicates error\nupdate failed: NOTAUTH(BADSIG)\n",
                ));
            }
            ["prereq", "yxrrset", name, "IN", kind, value] => {
                seen.insert((key(name, kind), (*value).to_owned()));
            }
            ["prereq", "nxrrset", name, "IN", kind] if world.records.contains_key(&key(name, kind)) => {
                return Ok(fails(2, "update failed: YXRRSET\n"));
            }
            ["update", "delete", name, "IN", kind] => {
                let gone = world.records.remove(&key(name, kind)).unwrap_or_default();
                let had = gone.values.into_iter().map(|value| (key(name, kind), value));
                if had.collect::<BTreeSet<_>>() != seen {
                    return Ok(fails(2, "update failed: NXRRSET\n"));
                }
            }
            ["update", "add", name, ttl, "IN", rest] => {
                let (kind, value) = rest.split_once(' ').unwrap_or_default();
                let record = world.records.entry(key(name, kind)).or_default();
                record.ttl = ttl.parse().unwrap_or_default();
                record.values.insert(value.to_owned());
            }
            _ => {}
        }
    }
    world.save(host)?;
    Ok(Output::default())
}
