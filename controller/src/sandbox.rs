//! Hosts that are only directories: real SSH and real agents on the loopback, for demos, rehearsals and tests.

mod server;
pub mod service;
pub mod town;

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Running sandbox hosts; they stop, and their connections are cut, when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    /// In the order asked for.
    pub hosts: Vec<SandboxHost>,
    /// The private key that all of them accept, for any user name.
    pub identity: PathBuf,
    /// Aborts its tasks when dropped.
    _tasks: JoinSet<()>,
}

/// A host that is a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxHost {
    /// As asked for.
    pub name: String,
    /// Always `127.0.0.1`.
    pub address: String,
    /// A free port, another one each time.
    pub port: u16,
    /// Its host key in OpenSSH's one-line form; it stays while the directory stays.
    pub host_key: String,
    /// The home directory of its only user, and the working directory of what is started there.
    pub home: PathBuf,
}

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A name that would lead out of the directory.
    #[error("`{0}` cannot be the name of a sandbox host")]
    Name(String),
    /// A file or directory.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key.
    #[error("cannot make or read the key {path}")]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: russh::keys::ssh_key::Error,
    },
    /// A socket.
    #[error("cannot listen on 127.0.0.1")]
    Listen(#[source] io::Error),
}

impl Sandbox {
    /// Starts a host per name: its home is `dir/NAME/home`, keys lie beside it and are made if they are missing.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start<N: AsRef<str>>(names: &[N], dir: &Path) -> Result<Sandbox, StartError> {
        let identity = dir.join("identity");
        make_directory(dir)?;
        let user = Arc::new(key(&identity)?.public_key().clone());
        let mut sandbox = Sandbox { hosts: Vec::new(), identity, _tasks: JoinSet::new() };
        for name in names {
            let host = sandbox.start_host(name.as_ref(), dir, &user).await?;
            sandbox.hosts.push(host);
        }
        Ok(sandbox)
    }

    async fn start_host(&mut self, name: &str, dir: &Path, user: &Arc<PublicKey>) -> Result<SandboxHost, StartError> {
        if name.is_empty() || !Path::new(name).components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(StartError::Name(name.to_owned()));
        }
        let dir = dir.join(name);
        let home = std::path::absolute(dir.join("home"))
            .map_err(|source| StartError::File { path: dir.join("home"), source })?;
        make_directory(&home)?;
        let host_key = key(&dir.join("host_key"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(StartError::Listen)?;
        let port = listener.local_addr().map_err(StartError::Listen)?.port();
        let mut public = host_key.public_key().clone();
        public.set_comment(name);
        let path = dir.join("host_key");
        let host_key_line = public.to_openssh().map_err(|source| StartError::Key { path, source })?;
        self._tasks.spawn(server::serve(listener, host_key, Arc::clone(user), home.clone()));
        let address = Ipv4Addr::LOCALHOST.to_string();
        Ok(SandboxHost { name: name.to_owned(), address, port, host_key: host_key_line, home })
    }
}

fn make_directory(path: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::File { path: path.to_owned(), source })
}

/// Reads a private key, or makes one.
fn key(path: &Path) -> Result<PrivateKey, StartError> {
    let broken = |source| StartError::Key { path: path.to_owned(), source };
    if path.exists() {
        return PrivateKey::read_openssh_file(path).map_err(broken);
    }
    let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(broken)?;
    let text = key.to_openssh(LineEnding::LF).map_err(broken)?;
    write_secret(path, text.as_bytes()).map_err(|source| StartError::File { path: path.to_owned(), source })?;
    Ok(key)
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}
