//! `postgres_role`: a role of a PostgreSQL server with its attributes and memberships (CREATE ROLE in the manual).
//!
//! Passwords are SCRAM verifiers. States have their digests only; the verifier that was there before is kept in the
//! run's directory, which only root reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::Content;
use super::node::Presence;
use super::postgres::{ask, change, cluster_problem, name, name_problem, text};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

/// Bound of a verifier, in bytes.
const MAX_VERIFIER: u64 = 1024;

/// A role.
#[derive(Debug)]
pub struct PostgresRole;

/// A role (user or group) of the host's PostgreSQL server. What the spec does not name stays as it is. The server must
/// run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "postgres_role")]
pub struct Spec {
    /// Name.
    pub name: String,
    /// Whether it can log in; a new role cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<bool>,
    /// Whether nothing is forbidden to it; a new role is no superuser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superuser: Option<bool>,
    /// Whether it can make databases; a new role cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub createdb: Option<bool>,
    /// Whether it can stream to standbys and make base backups; a new role cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<bool>,
    /// How many connections it can have at once; -1 (of a new role) is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i32>,
    /// Roles that it is a member of. Memberships that are not named stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_of: Vec<String>,
    /// Its password as a SCRAM verifier, `SCRAM-SHA-256$4096:...`, as `SELECT rolpassword FROM pg_authid` shows it on a
    /// server where the password was once set with `\password`. It never appears in a plan, diff, log or report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Content>,
    /// Which cluster of the host, e.g. `15/main` (Debian); the default one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// `present` (default) or `absent`. A role that owns something is not removed.
    #[serde(default)]
    pub state: Presence,
}

/// The role as the server has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Whether the server answered; if not, the rest is not known.
    pub answers: bool,
    /// `None` if there is none.
    pub role: Option<Role>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Attributes, as in `pg_authid`.
    pub login: bool,
    /// Likewise.
    pub superuser: bool,
    /// Likewise.
    pub createdb: bool,
    /// Likewise.
    pub createrole: bool,
    /// Likewise.
    pub replication: bool,
    /// Likewise.
    pub bypassrls: bool,
    /// Likewise.
    pub inherit: bool,
    /// Likewise.
    pub connection_limit: i32,
    /// Until when the password is good, as the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// Roles that it is a member of.
    pub member_of: BTreeSet<String>,
    /// Roles that are members of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<String>,
    /// Digest of the verifier, or of the spec's content if that is the verifier and a newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Digest>,
    /// Whether it has settings of its own (ALTER ROLE ... SET), which are not part of this state.
    #[serde(default)]
    pub settings: bool,
}

/// The server's answer: a [`Role`] with the verifier itself. Never written anywhere.
#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    role: Role,
    verifier: Option<String>,
}

impl Lens for PostgresRole {
    const NAME: &'static str = "postgres_role";
    const UNDO: Exactness = Exactness::BestEffort(
        "the number of a role that was removed, and who granted its memberships, with which options",
    );
    const BARRIER: bool = true;
    const SENT: &'static [&'static str] = &["password"];
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = name_problem("role", &spec.name).into_iter().collect();
        problems
            .extend(spec.member_of.iter().filter(|n| !n.starts_with("pg_")).filter_map(|n| name_problem("role", n)));
        problems.extend(cluster_problem(spec.cluster.as_ref()));
        problems.extend(spec.password.as_ref().and_then(|password| password.problem("password")));
        let verifier = spec.password.as_ref().and_then(|password| password.content.as_deref());
        problems.extend(verifier.and_then(verifier_problem));
        if spec.member_of.contains(&spec.name) {
            problems.push("a role cannot be a member of itself".into());
        }
        if spec.connection_limit.is_some_and(|limit| limit < -1) {
            problems.push("`connection_limit` is a number of connections, or -1 for no limit".into());
        }
        let attributes = spec.login.is_some() || spec.superuser.is_some() || spec.createdb.is_some();
        let attributes = attributes || spec.replication.is_some();
        let more = attributes || spec.connection_limit.is_some() || spec.password.is_some();
        if spec.state == Presence::Absent && (more || !spec.member_of.is_empty()) {
            problems.push("an absent role has nothing but its name and cluster".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let cluster = spec.cluster.as_ref().map_or_else(String::new, |cluster| format!("{cluster}: "));
        vec![Claim::Name("postgres_role", format!("{cluster}{}", spec.name))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        match look(spec, cx)? {
            Ok(answer) => Ok(State { answers: true, role: answer.map(|a| a.role) }),
            Err(_) => Ok(State { answers: false, role: None }),
        }
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if spec.state == Presence::Absent {
            return Ok(State { role: None, ..state.clone() });
        }
        let mut role = state.role.clone().unwrap_or_else(new);
        role.login = spec.login.unwrap_or(role.login);
        role.superuser = spec.superuser.unwrap_or(role.superuser);
        role.createdb = spec.createdb.unwrap_or(role.createdb);
        role.replication = spec.replication.unwrap_or(role.replication);
        role.connection_limit = spec.connection_limit.unwrap_or(role.connection_limit);
        role.member_of.extend(spec.member_of.iter().cloned());
        if let Some(password) = &spec.password {
            role.password = Some(password.blob()?.digest.clone());
        }
        Ok(State { answers: true, role: Some(role) })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let cluster = spec.cluster.as_ref();
        match (&now.role, &to.role) {
            (now, to) if now == to => Ok(()),
            (_, None) => {
                change("remove the role", &format!("DROP ROLE {};", name(&spec.name)), "postgres", cluster, cx)
            }
            (now, Some(to)) => {
                let password = match &to.password {
                    same if same.as_ref() == now.as_ref().and_then(|n| n.password.as_ref()) => None,
                    None => Some(None),
                    Some(digest) => Some(Some(verifier(spec, digest, cx)?)),
                };
                let sql = statements(&spec.name, now.as_ref(), to, password.as_ref().map(Option::as_deref));
                change("make the role so", &sql, "postgres", cluster, cx)
            }
        }
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let answer = look(spec, cx)??;
        if let Some(password) = spec.password.as_ref().filter(|_| wanted.role.is_some())
            && wanted.role.as_ref().map(|r| &r.password) != now.role.as_ref().map(|r| &r.password)
            && wanted.role.as_ref().and_then(|r| r.password.as_ref()) == password.blob.as_ref().map(|b| &b.digest)
            && let Some(problem) = verifier_problem(&password.text("password", MAX_VERIFIER, cx)?)
        {
            return Err(Fault::new(FaultCode::Invalid, problem));
        }
        if wanted.role.is_none() && now.role.as_ref().is_some_and(|role| role.settings) {
            let message = format!("the role `{}` has settings of its own, which undo could not bring back", spec.name);
            let hint = "remove them first: ALTER ROLE ... RESET ALL";
            return Err(Fault::new(FaultCode::Irreversible, message).hint(hint));
        }
        if let Some(Answer { role: Role { password: Some(digest), .. }, verifier: Some(verifier) }) = answer {
            cx.keep_bytes(&kept(&digest), verifier.as_bytes())?;
        }
        Ok(())
    }

    fn sensitive(spec: &Spec) -> bool {
        // The states have digests only; this keeps an inline verifier out of saved plans, too.
        spec.password.is_some()
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "council", "login": true, "connection_limit": 20, "member_of": ["readers"],
                    "password": { "content": "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy\n" } }),
            json!({ "name": "standby", "login": true, "replication": true }),
            json!({ "name": "retired", "state": "absent", "cluster": "15/main" }),
        ]
    }
}

/// What CREATE ROLE makes if nothing is said.
fn new() -> Role {
    Role {
        login: false,
        superuser: false,
        createdb: false,
        createrole: false,
        replication: false,
        bypassrls: false,
        inherit: true,
        connection_limit: -1,
        valid_until: None,
        member_of: BTreeSet::new(),
        members: BTreeSet::new(),
        password: None,
        settings: false,
    }
}

/// Asks the server.
fn look(spec: &Spec, cx: &mut Cx<'_>) -> Result<Result<Option<Answer>, Fault>, Fault> {
    let sql = format!(
        "SELECT json_build_object('login', rolcanlogin, 'superuser', rolsuper, 'createdb', rolcreatedb, \
         'createrole', rolcreaterole, 'replication', rolreplication, 'bypassrls', rolbypassrls, 'inherit', rolinherit, \
         'connection_limit', rolconnlimit, 'valid_until', rolvaliduntil::text, 'verifier', rolpassword, \
         'member_of', (SELECT coalesce(json_agg(g.rolname), '[]') FROM pg_catalog.pg_auth_members m \
         JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid), \
         'members', (SELECT coalesce(json_agg(g.rolname), '[]') FROM pg_catalog.pg_auth_members m \
         JOIN pg_catalog.pg_roles g ON g.oid = m.member WHERE m.roleid = r.oid), \
         'settings', EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid)) \
         FROM pg_catalog.pg_authid r WHERE rolname = {};",
        text(&spec.name)
    );
    let answer: Result<Option<Answer>, Fault> = ask(&sql, "postgres", spec.cluster.as_ref(), cx)?;
    let ours = spec.password.as_ref().and_then(|password| password.blob.as_ref());
    Ok(answer.map(|answer| {
        answer.map(|mut answer| {
            answer.role.password = answer.verifier.as_ref().map(|verifier| {
                // A file ends with a newline that the server does not have.
                let with_newline = Digest::of(format!("{verifier}\n").as_bytes());
                if ours.is_some_and(|blob| blob.digest == with_newline) {
                    with_newline
                } else {
                    Digest::of(verifier.as_bytes())
                }
            });
            answer
        })
    }))
}

/// The verifier of a digest: the spec's, or one that was kept.
fn verifier(spec: &Spec, digest: &Digest, cx: &mut Cx<'_>) -> Result<String, Fault> {
    if let Some(password) = spec.password.as_ref().filter(|p| p.blob.as_ref().is_some_and(|b| b.digest == *digest)) {
        return Ok(password.text("password", MAX_VERIFIER, cx)?.trim_end_matches('\n').to_owned());
    }
    let mut text = String::new();
    let mut reader = cx.kept_bytes(&kept(digest))?.take(MAX_VERIFIER);
    reader.read_to_string(&mut text).map_err(|e| Fault::io("read a kept verifier", &e))?;
    Ok(text)
}

fn kept(digest: &Digest) -> String {
    format!("verifier-{digest}")
}

/// RFC 5803, as PostgreSQL writes it. The text itself is in no message.
fn verifier_problem(text: &str) -> Option<String> {
    let base64 =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let good = || {
        let rest = text.trim_end_matches('\n').strip_prefix("SCRAM-SHA-256$")?;
        let (iterations, rest) = rest.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        let parts = [salt, stored, server].into_iter().all(base64);
        (iterations.parse::<u32>().is_ok() && parts).then_some(())
    };
    good().is_none().then(|| {
        "`password` is no SCRAM verifier: set the password once with `\\password` in psql, and take `SCRAM-SHA-256$...` \
         from `SELECT rolpassword FROM pg_authid`"
            .into()
    })
}

/// One transaction that leads to a role. `password`: `None` leaves it, `Some(None)` removes it.
fn statements(role: &str, now: Option<&Role>, to: &Role, password: Option<Option<&str>>) -> String {
    let role = name(role);
    let flag = |on: bool, word: &str| format!("{}{word}", if on { "" } else { "NO" });
    let verb = if now.is_some() { "ALTER" } else { "CREATE" };
    let mut sql = format!(
        "BEGIN;\n{verb} ROLE {role} WITH {} {} {} {} {} {} {} CONNECTION LIMIT {}",
        flag(to.login, "LOGIN"),
        flag(to.superuser, "SUPERUSER"),
        flag(to.createdb, "CREATEDB"),
        flag(to.createrole, "CREATEROLE"),
        flag(to.replication, "REPLICATION"),
        flag(to.bypassrls, "BYPASSRLS"),
        flag(to.inherit, "INHERIT"),
        to.connection_limit
    );
    if let Some(password) = password {
        let _ = write!(sql, " PASSWORD {}", password.map_or_else(|| "NULL".into(), text));
    }
    if now.and_then(|n| n.valid_until.as_ref()) != to.valid_until.as_ref() {
        let _ = write!(sql, " VALID UNTIL {}", text(to.valid_until.as_deref().unwrap_or("infinity")));
    }
    sql.push_str(";\n");
    let none = BTreeSet::new();
    let (groups, members) = now.map_or((&none, &none), |now| (&now.member_of, &now.members));
    for group in to.member_of.difference(groups) {
        let _ = writeln!(sql, "GRANT {} TO {role};", name(group));
    }
    for group in groups.difference(&to.member_of) {
        let _ = writeln!(sql, "REVOKE {} FROM {role};", name(group));
    }
    for member in to.members.difference(members) {
        let _ = writeln!(sql, "GRANT {role} TO {};", name(member));
    }
    sql.push_str("COMMIT;");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_say_what_changes() {
        let to = Role { login: true, member_of: ["a\"b".to_owned()].into(), ..new() };
        assert_eq!(
            statements("x", None, &to, Some(Some("SCRAM-SHA-256$1:a$b:c'"))),
            "BEGIN;\nCREATE ROLE \"x\" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT \
             CONNECTION LIMIT -1 PASSWORD 'SCRAM-SHA-256$1:a$b:c''';\nGRANT \"a\"\"b\" TO \"x\";\nCOMMIT;"
        );
        let back = statements("x", Some(&to), &new(), Some(None));
        assert!(back.contains("ALTER ROLE") && back.contains("REVOKE \"a\"\"b\" FROM \"x\";"), "{back}");
        assert!(back.contains("NOLOGIN") && back.contains("PASSWORD NULL"), "{back}");
    }

    #[test]
    fn only_verifiers_are_passwords() {
        assert_eq!(verifier_problem("SCRAM-SHA-256$4096:c2FsdA==$c3Q=:c2U=\n"), None);
        for bad in ["", "geheim", "md5abc", "SCRAM-SHA-256$x:a$b:c", "SCRAM-SHA-256$1:a$b:c'; DROP ROLE x"] {
            let problem = verifier_problem(bad).unwrap();
            assert!(!problem.contains("geheim"), "{problem}");
        }
    }
}
