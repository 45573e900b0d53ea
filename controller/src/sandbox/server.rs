//! The SSH server of a sandbox host: one key, exec and tunnels only, programs run as whoever runs this process.
//!
//! A cut line closes a program's pipes and nothing more, as a real sshd does: the agent must end its stage.
//!
//! Made for programs that, like the agent, answer after they have read. One that echoes megabytes while more comes in
//! can lock up: russh delivers input before it looks at anything else, and this server does not buffer without bound.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, MethodKind, MethodSet, Sig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes read from a program at once.
const PART: usize = 64 << 10;

/// Standard error's number (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// Accepts connections until it is dropped.
pub(super) async fn serve(listener: TcpListener, host_key: PrivateKey, user: Arc<PublicKey>, home: PathBuf) {
    let config = Arc::new(Config {
        keys: vec![host_key],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // Nobody guesses Ed25519 keys on the loopback.
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    });
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let handler = Visitor { user: Arc::clone(&user), home: home.clone(), channels: HashMap::new() };
        let config = Arc::clone(&config);
        connections.spawn(async move {
            if let Ok(session) = server::run_stream(config, stream, handler).await {
                let _hang_up = HangUp(session.handle());
                let _ = session.await;
            }
        });
    }
}

/// Ends the connection when its task is dropped; russh's own task would go on.
struct HangUp(server::Handle);

impl Drop for HangUp {
    fn drop(&mut self) {
        let handle = self.0.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let reason = russh::Disconnect::ByApplication;
                let _ = handle.disconnect(reason, "the sandbox stops".into(), String::new()).await;
            });
        }
    }
}

/// One connection.
struct Visitor {
    user: Arc<PublicKey>,
    home: PathBuf,
    /// Opened, with nothing running in them yet.
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Visitor {
    fn verdict(&self, key: &PublicKey) -> Auth {
        if key.key_data() == self.user.key_data() { Auth::Accept } else { Auth::reject() }
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        Ok(self.verdict(offer.public_key))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.verdict(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let port = u16::try_from(port).unwrap_or(0);
        let Ok(mut stream) = TcpStream::connect((host, port)).await else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        let _ = stream.set_nodelay(true);
        reply.accept().await;
        tokio::spawn(async move {
            let mut channel = channel.into_stream();
            let _ = tokio::io::copy_bidirectional(&mut channel, &mut stream).await;
        });
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        match start(command, &self.home) {
            Ok(child) => {
                session.channel_success(id)?;
                tokio::spawn(attend(child, channel, session.handle()));
                Ok(())
            }
            Err(_) => session.channel_failure(id),
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut server::Session) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn start(command: &[u8], home: &Path) -> io::Result<Child> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut shell = std::process::Command::new("/bin/sh");
    shell.arg("-c").arg(OsStr::from_bytes(command)).current_dir(home);
    shell.env_clear().env("HOME", home).env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    shell.env("USER", "weiche").env("SHELL", "/bin/sh").env("LANG", "C.UTF-8");
    // A group of its own: a Ctrl-C that ends the demo must not reach an agent in the middle of a stage.
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    Command::from(shell).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Carries bytes between a program and its channel until both are through.
async fn attend(mut child: Child, channel: Channel<Msg>, session: server::Handle) {
    let id = channel.id();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (reader, writer) = channel.split();
    let (gone, hung_up) = watch::channel(false);
    let feeder = tokio::spawn(async move {
        feed(reader, stdin).await;
        let _ = gone.send(true);
    });
    let (out, err) = (writer.make_writer(), writer.make_writer_ext(Some(STDERR)));
    tokio::join!(copy(stdout, out, hung_up.clone()), copy(stderr, err, hung_up));
    if let Ok(status) = child.wait().await {
        let _ = session.eof(id).await;
        if let Some(code) = status.code() {
            let _ = session.exit_status_request(id, u32::try_from(code).unwrap_or(255)).await;
        } else {
            let signal = status.signal().map_or(Sig::KILL, signal_name);
            let none = String::new;
            let _ = session.exit_signal_request(id, signal, status.core_dumped(), none(), none()).await;
        }
    }
    let _ = session.close(id).await;
    feeder.abort();
}

/// Feeds a program; returns when the client closes the channel or is gone.
async fn feed(mut reader: ChannelReadHalf, mut stdin: Option<ChildStdin>) {
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                // Writing waits while the program does not read: that is what closes the client's window.
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data).await.is_err()
                {
                    stdin = None;
                }
            }
            ChannelMsg::Eof => stdin = None,
            ChannelMsg::Close => break,
            _ => {}
        }
    }
}

/// Copies until the end, or until the client is gone: then the pipe is closed.
async fn copy<R: AsyncRead + Unpin>(source: Option<R>, sink: impl AsyncWrite, mut hung_up: watch::Receiver<bool>) {
    let Some(mut source) = source else { return };
    let mut sink = pin!(sink);
    let mut part = vec![0; PART];
    loop {
        let carried = async {
            let n = source.read(&mut part).await?;
            sink.write_all(&part[..n]).await.map(|()| n)
        };
        tokio::select! {
            n = carried => if n.unwrap_or(0) == 0 { return },
            _ = hung_up.wait_for(|gone| *gone) => return,
        }
    }
}

/// The signals that SSH has a name for (RFC 4254, section 6.10); numbers as on Linux.
fn signal_name(number: i32) -> Sig {
    match number {
        1 => Sig::HUP,
        2 => Sig::INT,
        3 => Sig::QUIT,
        4 => Sig::ILL,
        6 => Sig::ABRT,
        8 => Sig::FPE,
        11 => Sig::SEGV,
        13 => Sig::PIPE,
        14 => Sig::ALRM,
        15 => Sig::TERM,
        _ => Sig::KILL,
    }
}
