//! Answers requests from one stream on another, one at a time, until the stream ends.
//!
//! The agent owns the step it runs: when the line is cut, writing fails silently and the stage goes on to its end, so
//! the journal is whole when a controller comes back.

mod entry;
mod wake;

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::digest::Digest;
use crate::engine;
use crate::facts;
use crate::fault::{Fault, FaultCode};
use crate::guard;
use crate::host::{Command, Host};
use crate::journal::{self, Journal};
use crate::manifest;
use crate::protocol::{
    BUILD, Entry, Frame, Hello, HostPath, MAX_DATA, Reply, Request, RunId, read_frame, write_data, write_message,
};
use crate::resource::Cx;
use crate::resources::replica;

/// Entries in one message.
const ENTRIES_PER_MESSAGE: usize = 2000;

/// So many characters of what a program says are answered: far below the bound of a message.
const CHECKED: usize = 512 << 10;

/// Serves until `input` ends.
///
/// # Errors
/// Only for input that is no protocol; a cut line is a normal end.
pub fn serve(host: &mut dyn Host, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, output);
    // A controller that is gone is no reason to stop half-way.
    let _ = writeln!(out, "{}", Hello { build: BUILD.into() }).and_then(|()| out.flush());
    let mut broken: Option<Fault> = None;
    while let Some(frame) = read_frame::<Request>(input)? {
        let Frame::Message(request) = frame else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a data frame that belongs to no blob"));
        };
        if let Request::Blob { run, digest, size } = &request {
            // Answered with the stage that needs it; the bytes must be read in any case.
            if let Err(fault) = receive(host, input, run, digest, *size)? {
                broken = Some(fault);
            }
            continue;
        }
        if let Request::BlobStream { run } = &request {
            if let Err(fault) = receive_stream(host, input, run)? {
                broken = Some(fault);
            }
            continue;
        }
        let last = match broken.take() {
            Some(fault) => Reply::Fault(fault),
            None => {
                let held = entry::held_for_one(&request);
                let last = answer(request, host, &mut out).unwrap_or_else(Reply::Fault);
                if held {
                    host.unlock();
                }
                last
            }
        };
        let _ = end(&mut out, &last).and_then(|()| out.flush());
    }
    Ok(())
}

/// Writes the last reply to a request; one that is over the bound is replaced by a fault, for somebody waits for it.
fn end(out: &mut dyn Write, reply: &Reply) -> io::Result<()> {
    match write_message(out, reply) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let fault = Fault::new(FaultCode::Invalid, format!("the answer is too large: {error}"));
            write_message(out, &Reply::Fault(fault.hint("divide the work: fewer or smaller trees in one profile")))
        }
        other => other,
    }
}

/// Carries out one request; sends all replies but the last, which it returns.
fn answer(request: Request, host: &mut dyn Host, out: &mut dyn Write) -> Result<Reply, Fault> {
    match request {
        Request::Facts => facts::gather(host).map(|facts| Reply::Facts(Box::new(facts))),
        Request::Observe { steps } => Ok(Reply::Observed(engine::observe(&steps, host))),
        Request::Blob { .. } | Request::BlobStream { .. } | Request::BlobEnd { .. } => {
            Err(Fault::new(FaultCode::Invalid, "an end without its blob"))
        }
        Request::Stage { run, steps, expect, crash_after_records, confirm_ms } => {
            if let Err(fault) = entry::let_in(&expect, host) {
                if matches!(fault.code, FaultCode::WrongHost | FaultCode::Superseded) {
                    // Sent ahead, for another machine or by nobody any more.
                    host.state_remove(&format!("runs/{run}/in"))?;
                }
                return Err(fault);
            }
            let mut journal = open(&run, crash_after_records, host)?;
            guard::before(&steps, &mut journal, host, &mut |event| send_now(out, &Reply::Event(event)))?;
            if journal.steps.is_empty() {
                journal::prune(&run, host)?;
            }
            let ok = engine::apply(&steps, &mut journal, host, &mut |event| send_now(out, &Reply::Event(event)))?;
            if let (true, Some(confirm_ms), Some(last)) =
                (ok, confirm_ms, steps.last().and_then(|step| step.id.stage()))
            {
                guard::through(last, confirm_ms, &mut journal, host)?;
            }
            if ok {
                // The contents are in place; what undo needs lies in `kept/`.
                host.state_remove(&format!("{}/in", journal.run_dir()))?;
            }
            Ok(Reply::StageEnd { ok })
        }
        Request::Undo { run, stage, only, over_drift, expect, crash_after_records } => {
            entry::let_in(&expect, host)?;
            let mut journal = open(&run, crash_after_records, host)?;
            let report = &mut |event| send_now(out, &Reply::Event(event));
            let part = stage.as_deref();
            let stuck = match only.as_slice() {
                [] => engine::undo(part, over_drift, &mut journal, host, report)?,
                only => engine::undo_only(part, only, over_drift, &mut journal, host, report)?,
            };
            if stuck.is_empty() && engine::left(part, &journal) {
                // The rest goes back later, and is guarded until then.
                return Ok(Reply::UndoEnd { stuck });
            }
            if stuck.is_empty() {
                host.state_remove(&format!("{}/in", journal.run_dir()))?;
            }
            guard::after_undo(part, &stuck, &mut journal, host)?;
            Ok(Reply::UndoEnd { stuck })
        }
        Request::Arm { run, stage, nonce, within_ms, expect } => {
            entry::let_in(&expect, host)?;
            let mut journal = open(&run, None, host)?;
            let report = &mut |event| send_now(out, &Reply::Event(event));
            guard::arm(&stage, nonce, within_ms, &mut journal, host, report).map(Reply::Guard)
        }
        Request::Confirm { run, stage, nonce, expect } => {
            entry::let_in(&expect, host)?;
            let mut journal = open(&run, None, host)?;
            let report = &mut |event| send_now(out, &Reply::Event(event));
            guard::confirm(&stage, &nonce, &mut journal, host, report).map(Reply::Guard)
        }
        Request::Cancel { run, stage, nonce, expect } => {
            entry::let_in(&expect, host)?;
            let mut journal = open(&run, None, host)?;
            let report = &mut |event| send_now(out, &Reply::Event(event));
            guard::cancel(&stage, &nonce, &mut journal, host, report).map(|stuck| Reply::UndoEnd { stuck })
        }
        Request::Guarded { run, stage } => {
            let journal = Journal::open(&run, host)?;
            Ok(Reply::Guard(guard::status(&stage, &journal, host)))
        }
        Request::Wake { mac } => wake::wake(&mac, host).map(|packets| Reply::Woken { packets }),
        Request::Journal { run } => Ok(Reply::Journal(Journal::open(&run, host)?.statuses())),
        Request::Witness { run, scope, expect } => {
            entry::let_in(&expect, host)?;
            let journal = open(&run, None, host)?;
            let late = !journal.steps.is_empty() && host.state_open(&manifest::name(&run))?.is_none();
            let taken = if late { None } else { Some(manifest::take(&run, &scope, host)?) };
            Ok(Reply::Witnessed(taken))
        }
        Request::Verify { run } => {
            let verified = manifest::verify(&run, host, &mut |difference| send(out, &Reply::Difference(difference)))?;
            let (manifest, differences) = verified.map_or((None, 0), |(manifest, count)| (Some(manifest), count));
            Ok(Reply::Verified { manifest, differences })
        }
        Request::Export { run } => {
            let mut part = Vec::new();
            manifest::export(&run, host, &mut |entry| {
                part.push(entry);
                if part.len() == ENTRIES_PER_MESSAGE {
                    send(out, &Reply::Entries(std::mem::take(&mut part)));
                }
            })?;
            send(out, &Reply::Entries(part));
            Ok(Reply::End)
        }
        Request::Drift => engine::drift::of_host(host).map(Reply::Drift),
        Request::Scan { path } => {
            let mut cx = Cx::looking(host, Duration::ZERO);
            let entries: Vec<Entry> = replica::scan(Path::new(&path), &mut cx)?.into_values().collect();
            for part in entries.chunks(ENTRIES_PER_MESSAGE) {
                send(out, &Reply::Entries(part.to_vec()));
            }
            Ok(Reply::End)
        }
        Request::Fetch { paths } => {
            paths.iter().try_for_each(|path| fetch(path, host, out))?;
            Ok(Reply::End)
        }
        Request::Read { path } => Ok(Reply::Read(facts::text(host, &path))),
        Request::Reboot { boot_id, expect } => {
            entry::let_in(&expect, host)?;
            reboot(&boot_id, host).map(|()| Reply::End)
        }
        Request::Check { argv, timeout_ms } => {
            let command = Command { timeout: Duration::from_millis(timeout_ms), ..Command::reading(argv) };
            let output = host.run(&command)?;
            let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
            let tail: String = said.trim().chars().rev().take(400).collect::<Vec<_>>().into_iter().rev().collect();
            let detail = format!("status {} {tail}", output.status).trim().to_owned();
            Ok(Reply::Checked { ok: output.ok(), detail, output: output.stdout.chars().take(CHECKED).collect() })
        }
    }
}

/// Restarts the host if it still runs this boot; never while another agent changes it.
fn reboot(boot_id: &str, host: &mut dyn Host) -> Result<(), Fault> {
    if host.rehearsal() && !host.simulated() {
        return Err(Fault::new(FaultCode::Unsupported, "a host with a root directory cannot be restarted"));
    }
    if facts::boot_id(host) != boot_id {
        return Err(Fault::new(FaultCode::Stale, "the host has been restarted meanwhile"));
    }
    host.sync()?;
    let command = Command::changing(["systemctl", "reboot"], Duration::from_secs(60));
    host.run(&command)?.expect_ok(&command.argv).map(drop)
}

/// The journal of a run, once the lock is held.
fn open(run: &RunId, crash_after_records: Option<u64>, host: &mut dyn Host) -> Result<Journal, Fault> {
    if crash_after_records.is_some() && !host.rehearsal() {
        return Err(Fault::new(FaultCode::Invalid, "crashes are rehearsed only on hosts with a root directory"));
    }
    let mut journal = Journal::open(run, host)?;
    journal.crash_after_records = crash_after_records;
    Ok(journal)
}

/// Reads a blob's data frames; the outer error is a broken stream, the inner one a refused blob.
fn receive(
    host: &mut dyn Host,
    input: &mut dyn Read,
    run: &RunId,
    digest: &Digest,
    size: u64,
) -> io::Result<Result<(), Fault>> {
    let name = format!("runs/{run}/in/{digest}");
    let mut frames = DataFrames { input, left: size, chunk: Vec::new(), at: 0 };
    let mut hashing = crate::digest::Hashing::new(&mut frames);
    let written = host.state_write(&name, &mut hashing);
    let (seen, _) = hashing.finish();
    // If the disk was full the rest must still be read, else the next frame is not where it should be.
    io::copy(&mut frames, &mut io::sink())?;
    if let Err(fault) = written {
        return Ok(Err(fault.within("store a content sent for this run")));
    }
    if seen != *digest {
        let removed = host.state_remove(&name);
        let fault = Fault::new(FaultCode::Corrupt, format!("content {} arrived as {}", digest.short(), seen.short()));
        return Ok(removed.and(Err(fault)));
    }
    Ok(Ok(()))
}

/// Reads data frames up to `BlobEnd`; errors as for [`receive`].
fn receive_stream(host: &mut dyn Host, input: &mut dyn Read, run: &RunId) -> io::Result<Result<(), Fault>> {
    let name = format!("runs/{run}/in/receiving");
    let mut frames = StreamFrames { input, end: None, chunk: Vec::new(), at: 0 };
    let mut hashing = crate::digest::Hashing::new(&mut frames);
    let written = host.state_write(&name, &mut hashing);
    let (seen, _) = hashing.finish();
    io::copy(&mut frames, &mut io::sink())?;
    if let Err(fault) = written {
        return Ok(Err(fault.within("store a content sent for this run")));
    }
    if frames.end.as_ref() != Some(&seen) {
        let removed = host.state_remove(&name);
        return Ok(removed.and(Err(Fault::new(FaultCode::Corrupt, "a transferred content arrived damaged"))));
    }
    Ok(host.state_rename(&name, &format!("runs/{run}/in/{seen}")))
}

/// The bytes of data frames up to `BlobEnd`.
struct StreamFrames<'a> {
    input: &'a mut dyn Read,
    end: Option<Digest>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for StreamFrames<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() && self.end.is_none() {
            match read_frame::<Request>(self.input)? {
                Some(Frame::Data(chunk)) => (self.chunk, self.at) = (chunk, 0),
                Some(Frame::Message(Request::BlobEnd { digest })) => self.end = Some(digest),
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a blob without an end")),
            }
        }
        let n = buf.len().min(self.chunk.len() - self.at);
        buf[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

struct DataFrames<'a> {
    input: &'a mut dyn Read,
    left: u64,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for DataFrames<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            if self.left == 0 {
                return Ok(0);
            }
            let Some(Frame::Data(chunk)) = read_frame::<Request>(self.input)? else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a blob ended before its size"));
            };
            self.left = self
                .left
                .checked_sub(chunk.len() as u64)
                .filter(|_| !chunk.is_empty())
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a blob is longer than its size"))?;
            (self.chunk, self.at) = (chunk, 0);
        }
        let n = buf.len().min(self.chunk.len() - self.at);
        buf[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn fetch(path: &HostPath, host: &mut dyn Host, out: &mut dyn Write) -> Result<(), Fault> {
    let path = replica::path_of(path);
    let mut reader = crate::digest::Hashing::new(host.open(&path)?);
    let mut chunk = vec![0; MAX_DATA];
    loop {
        let n = reader.read(&mut chunk).map_err(|e| Fault::path("read", &path, &e))?;
        if n == 0 {
            break;
        }
        // Backpressure: this blocks while the controller's window is full.
        write_data(out, &chunk[..n]).map_err(|e| Fault::path("send", &path, &e))?;
    }
    let (digest, size) = reader.finish();
    send(out, &Reply::Fetched { digest, size });
    Ok(())
}

/// Queues a reply; a cut line is ignored.
fn send(out: &mut dyn Write, reply: &Reply) {
    let _ = write_message(out, reply);
}

fn send_now(out: &mut dyn Write, reply: &Reply) {
    let _ = write_message(out, reply).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MAX_MESSAGE;

    #[test]
    fn an_answer_over_the_bound_becomes_a_fault() {
        let mut wire = Vec::new();
        end(&mut wire, &Reply::Fault(Fault::new(FaultCode::Io, "x".repeat(MAX_MESSAGE)))).unwrap();
        let Some(Frame::Message(Reply::Fault(fault))) = read_frame(&mut &wire[..]).unwrap() else { panic!("no fault") };
        assert_eq!(fault.code, FaultCode::Invalid);
        assert!(fault.message.contains("exceeds the bound of 16777216"), "{}", fault.message);
    }
}
