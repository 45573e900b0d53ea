//! Which files users have open on a host's shares: what smbstatus(1) of Samba 4.17 or newer says.

use std::collections::BTreeMap;

use serde::Deserialize;
use weiche_agent::fault::{Fault, FaultCode};

use super::ATTEMPT;
use crate::drive::session::Session;
use crate::drive::shared::as_fault;

/// Where Samba's packages put it. A host without it shares nothing.
const PROGRAM: &str = "/usr/bin/smbstatus";

/// So many are told.
const TOLD: usize = 20;

/// So many are looked at whether they are directories: words of one program.
const LOOKED_AT: usize = 200;

/// What is read of `smbstatus --json`.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    sessions: BTreeMap<String, User>,
    #[serde(default)]
    open_files: BTreeMap<String, File>,
}

#[derive(Deserialize)]
struct User {
    server_id: Server,
    username: String,
    remote_machine: String,
}

#[derive(Deserialize)]
struct Server {
    pid: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    opens: BTreeMap<String, Opened>,
}

#[derive(Deserialize)]
struct Opened {
    server_id: Server,
    access_mask: Access,
    #[serde(default)]
    opened_at: String,
}

/// What it was opened for; who only asks for its size has it open, too.
#[derive(Deserialize)]
struct Access {
    #[serde(rename = "READ_DATA", default)]
    reads: bool,
    #[serde(rename = "WRITE_DATA", default)]
    writes: bool,
    #[serde(rename = "APPEND_DATA", default)]
    appends: bool,
}

/// A file that somebody has open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    path: String,
    user: String,
    machine: String,
    since: String,
    writes: bool,
}

/// Looks; what is to be told, if anything is open.
///
/// # Errors
/// `NotConverged` with the list if more than `most` are open: those who are named close them. Without that bound there is none but
/// those of the session: what cannot be read is told.
pub(super) async fn look(most: Option<u32>, session: &mut Session) -> Result<Option<String>, Fault> {
    let (there, ..) = check(session, &["test", "-x", PROGRAM]).await?;
    if !there {
        return Ok(None);
    }
    let (ok, detail, output) = check(session, &[PROGRAM, "--json"]).await?;
    let mut open = match parse(&output).filter(|_| ok) {
        Some(open) => open,
        None => {
            let unread = Fault::new(FaultCode::CommandFailed, detail).within("the open files cannot be read");
            return if most.is_some() { Err(unread) } else { Ok(Some(unread.to_string())) };
        }
    };
    let mut find = vec!["find"];
    find.extend(open.iter().take(LOOKED_AT).map(|file| file.path.as_str()));
    if find.len() > 1 {
        find.extend(["-maxdepth", "0", "-type", "d", "-print0"]);
        let (_, _, directories) = check(session, &find).await?;
        let directories: Vec<String> = directories.split('\0').map(str::to_owned).collect();
        open.retain(|file| !directories.contains(&file.path));
    }
    judge(&open, most)
}

async fn check(session: &mut Session, argv: &[&str]) -> Result<(bool, String, String), Fault> {
    let argv = argv.iter().map(|&word| word.to_owned()).collect();
    session.check(argv, ATTEMPT).await.map_err(|error| as_fault(error.into()))
}

/// The files that are open for their contents, by path; `None` if the text is no such answer.
fn parse(text: &str) -> Option<Vec<Open>> {
    let status: Status = serde_json::from_str(text).ok()?;
    let users: BTreeMap<&str, &User> =
        status.sessions.values().map(|user| (user.server_id.pid.as_str(), user)).collect();
    let mut open = Vec::new();
    for (path, file) in &status.open_files {
        for opened in file.opens.values() {
            let Access { reads, writes, appends } = opened.access_mask;
            let user = users.get(opened.server_id.pid.as_str());
            if path.starts_with('/') && (reads || writes || appends) {
                open.push(Open {
                    path: path.clone(),
                    user: user.map_or("?", |user| &user.username).to_owned(),
                    machine: user.map_or("?", |user| &user.remote_machine).to_owned(),
                    since: opened.opened_at.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect(),
                    writes: writes || appends,
                });
            }
        }
    }
    Some(open)
}

fn judge(open: &[Open], most: Option<u32>) -> Result<Option<String>, Fault> {
    if open.is_empty() {
        return Ok(None);
    }
    let mut text = match open.len() {
        1 => "1 file is open on a share".to_owned(),
        count => format!("{count} files are open on shares"),
    };
    for Open { path, user, machine, since, writes } in open.iter().take(TOLD) {
        let writes = if *writes { ", for writing" } else { "" };
        text += &format!("\n     {path}: {user} at {machine} since {since}{writes}");
    }
    if open.len() > TOLD {
        text += &format!("\n     and {} more", open.len() - TOLD);
    }
    match most {
        Some(most) if open.len() > most as usize => Err(Fault::new(FaultCode::NotConverged, text)
            .within(format!("at most {most} may be open"))
            .hint("let them be closed; who has one open now loses its lock when the server changes")),
        _ => Ok(Some(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Samba 4.17.12, what is not read left out.
    const SAID: &str = r#"{"timestamp": "2026-11-22T23:02:17.401392+0000", "version": "4.17.12-Debian", "sessions": {"833430386":
        {"session_id": "833430386", "server_id": {"pid": "872", "task_id": "0"}, "uid": 1002, "username": "anna",
        "remote_machine": "192.0.2.13", "hostname": "ipv4:192.0.2.13:39548"}}, "tcons": {}, "open_files": {"/srv/files/a b.odt":
        {"service_path": "/srv/files", "filename": "a b.odt", "opens": {"872/5": {"server_id": {"pid": "872"}, "uid": 1002,
        "access_mask": {"hex": "0x00000003", "READ_DATA": true, "WRITE_DATA": true, "APPEND_DATA": false, "text": "RW"},
        "opened_at": "2026-11-22T23:02:15.592394+00:00"}}}, "/srv/files/size": {"opens": {"872/6": {"server_id": {"pid": "872"},
        "access_mask": {"hex": "0x00000080", "READ_DATA": false, "WRITE_DATA": false, "APPEND_DATA": false, "text": ""}}}}}}"#;

    #[test]
    fn what_samba_says_is_read() {
        let file = Open {
            path: "/srv/files/a b.odt".into(),
            user: "anna".into(),
            machine: "192.0.2.13".into(),
            since: "2026-11-22 23:02".into(),
            writes: true,
        };
        assert_eq!(parse(SAID), Some(vec![file]));
        assert_eq!(parse(r#"{"timestamp": "", "version": "4.17"}"#), Some(Vec::new()));
        assert_eq!(parse("{\"open_files\": {"), None);
    }

    #[test]
    fn it_is_told_or_refused() {
        let open = parse(SAID).unwrap();
        let line = "/srv/files/a b.odt: anna at 192.0.2.13 since 2026-11-22 23:02, for writing";
        assert_eq!(judge(&open, None).unwrap().unwrap(), format!("1 file is open on a share\n     {line}"));
        assert!(judge(&open, Some(1)).unwrap().is_some());
        assert!(judge(&open, Some(0)).unwrap_err().to_string().contains(line));
        assert_eq!(judge(&[], Some(0)).unwrap(), None);
        let many = judge(&vec![open[0].clone(); 23], None).unwrap().unwrap();
        assert!(many.starts_with("23 files are open") && many.ends_with("\n     and 3 more"), "{many}");
    }
}
