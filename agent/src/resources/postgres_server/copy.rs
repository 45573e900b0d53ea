//! The data directory of a standby: a base backup beside the data that were there, swapped with them by two renames,
//! and back. At every moment one of the three directories holds the data that were there, whole.

use super::cluster::{Cluster, Stop, run, word};
use super::feed::{self, Feed};
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;

/// Puts the cluster's own data aside and a copy of the other server's in their place.
///
/// # Errors
/// Those of pg_basebackup(1): the operator sees what it said.
pub(super) fn take(cluster: &mut Cluster, of: &Feed, cx: &mut Cx<'_>) -> Result<(), Fault> {
    give_back(cluster, cx)?;
    back_up(cluster, of, cx)?;
    cluster.stop(Stop::Fast, cx)?;
    let (data, part, aside) = (cluster.data.clone(), cluster.part(), cluster.aside());
    run(&["mv", "-T", "--", word(&data)?, word(&aside)?], cx)?;
    run(&["mv", "-T", "--", word(&part)?, word(&data)?], cx)?;
    cx.host.sync()?;
    cluster.look(cx)
}

/// Replaces a copy that is of no use any more by a new one. If it ends half-way there is none, and this is done again.
///
/// # Errors
/// Those of [`take`].
pub(super) fn renew(cluster: &mut Cluster, of: &Feed, cx: &mut Cx<'_>) -> Result<(), Fault> {
    remove(&cluster.part(), cx)?;
    back_up(cluster, of, cx)?;
    cluster.stop(Stop::Fast, cx)?;
    let (data, part) = (cluster.data.clone(), cluster.part());
    remove(&data, cx)?;
    run(&["mv", "-T", "--", word(&part)?, word(&data)?], cx)?;
    cx.host.sync()?;
    cluster.look(cx)
}

/// Makes a copy beside the data.
fn back_up(cluster: &Cluster, of: &Feed, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let part = cluster.part();
    of.make_slot(cx)?;
    let mut argv = vec!["runuser", "-u", "postgres", "--"];
    let (program, port, directory) = (cluster.program("pg_basebackup"), of.port.to_string(), word(&part)?.to_owned());
    let target = passfile(of);
    argv.extend([program.as_str(), "-w", "-D", &directory, "-X", "stream", "-S", &of.slot, "-c", "fast"]);
    argv.extend(["-h", &of.address, "-p", &port, "-U", &of.user]);
    if let Some(target) = &target {
        argv.extend(["-d", target]);
    }
    run(&argv, cx)?;
    if !cx.host.read_dir(&part.join("pg_tblspc"))?.is_empty() {
        let message = "the other server has tablespaces, whose directories would not be taken back";
        return Err(Fault::new(FaultCode::Unsupported, message).hint("make this standby by hand, or move their tables"));
    }
    feed::set_lines(&part, &of.lines(), cx)?;
    feed::signal(&part, cx)?;
    // What the swap makes visible has to be there after a power failure.
    cx.host.sync()
}

/// Puts the data back that were put aside, if any were, and removes the copy. The server is stopped if there are any.
///
/// # Errors
/// Those of the programs.
pub(in crate::resources) fn give_back(cluster: &mut Cluster, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let (data, part) = (cluster.data.clone(), cluster.part());
    if cluster.copied {
        cluster.stop(Stop::Fast, cx)?;
        remove(&part, cx)?;
        if cx.host.lstat(&data)?.is_some() {
            run(&["mv", "-T", "--", word(&data)?, word(&part)?], cx)?;
        }
        run(&["mv", "-T", "--", word(&cluster.aside())?, word(&data)?], cx)?;
        cx.host.sync()?;
    }
    remove(&part, cx)?;
    cluster.look(cx)
}

/// Gives up what was put aside.
///
/// # Errors
/// Those of rm(1).
pub(in crate::resources) fn forget(cluster: &mut Cluster, cx: &mut Cx<'_>) -> Result<(), Fault> {
    remove(&cluster.aside(), cx)?;
    cluster.look(cx)
}

fn remove(directory: &std::path::Path, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if cx.host.lstat(directory)?.is_none() {
        return Ok(());
    }
    run(&["rm", "-rf", "--", word(directory)?], cx)
}

fn passfile(of: &Feed) -> Option<String> {
    of.passfile.as_ref().map(|path| format!("passfile={path}"))
}
