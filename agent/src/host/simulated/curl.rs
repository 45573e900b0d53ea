//! curl(1), as far as `download` uses it: whatever is asked for, the answer is the same; hosts whose name begins with
//! `no-such-` do not answer.

use super::{DOWNLOADED, Host, Output, World, fails, says, state_name};
use crate::fault::Fault;

pub(super) fn curl(host: &mut dyn Host, _world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let output = arguments.windows(2).find(|pair| pair[0] == "--output").map(|pair| pair[1]);
    let (Some(output), Some(url)) = (output, arguments.last()) else { return Ok(fails(2, "curl: no URL specified")) };
    if url.contains("://no-such-") {
        return Ok(fails(6, "curl: (6) Could not resolve host"));
    }
    let Some(name) = state_name(host, output)? else {
        return Ok(fails(23, "curl: (23) client returned ERROR on write"));
    };
    host.state_write(&name, &mut &*DOWNLOADED)?;
    Ok(says(""))
}
