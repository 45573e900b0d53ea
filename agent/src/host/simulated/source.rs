//! `apt-get update` for one source: it has an index for every address and suite, unless an address has `no-such` in it.

use std::path::Path;

use super::{Host, Output, fails, file_attributes};
use crate::fault::Fault;
use crate::host::read_text;

pub(super) fn update(host: &mut dyn Host, arguments: &[&str]) -> Result<Output, Fault> {
    let Some(list) = arguments.iter().find_map(|a| a.strip_prefix("Dir::Etc::sourcelist=")) else {
        return Ok(Output::default());
    };
    let text = read_text(host, Path::new(list))?.unwrap_or_default();
    let words = |key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        found.unwrap_or_default().split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    for uri in words("URIs") {
        if uri.contains("no-such") {
            return Ok(fails(100, format!("E: Failed to fetch {uri}")));
        }
        for suite in words("Suites") {
            let address = uri.split_once("://").map_or("", |(_, rest)| rest);
            let start = format!("{address}/dists/{suite}/").replace('/', "_");
            for (name, text) in [("InRelease", "signed\n"), ("main_binary-amd64_Packages", "Package: x\n")] {
                let path = format!("/var/lib/apt/lists/{start}{name}");
                host.write(Path::new(&path), &mut text.as_bytes(), &file_attributes())?;
            }
        }
    }
    Ok(Output::default())
}
