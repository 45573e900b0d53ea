//! A TCP connection that acknowledges at once what a handshake receives.
//!
//! Until it starts a program, OpenSSH's sshd leaves Nagle's algorithm on (RFC 896): a second small packet waits until
//! the first is acknowledged. Linux delays an acknowledgement by 40 ms in case there is something to send with it; while
//! we wait for that very packet there is not. So a login would stand still for 40 ms, often twice, on any line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Received bytes after which the kernel decides: several handshakes. What follows may be a large content, whose
/// acknowledgements are better sent together.
const HANDSHAKE: usize = 32 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Prompt {
    stream: TcpStream,
    left: usize,
}

impl Prompt {
    pub(super) fn new(stream: TcpStream) -> Prompt {
        // Requests are small and waited for; a socket that refuses this still works.
        let _ = stream.set_nodelay(true);
        Prompt { stream, left: HANDSHAKE }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() && self.left > 0 {
            self.left = self.left.saturating_sub(buf.filled().len() - before);
            // Asked for again each time: the kernel takes it back as soon as something is sent.
            #[cfg(target_os = "linux")]
            let _ = self.stream.set_quickack(true);
        }
        polled
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
