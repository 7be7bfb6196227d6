//! A stream whose frames are counted as they come, so that a connection on which nobody speaks, or somebody floods, can be
//! ended.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::frames::{Flood, Frames};
use crate::config::ConnectionConfig;

/// A stream, counted.
pub(super) struct Heard<S> {
    inner: S,
    frames: Hearing,
}

/// What has come on it.
#[derive(Debug, Clone)]
pub(super) struct Hearing(Arc<Mutex<Frames>>);

impl<S> Heard<S> {
    pub(super) fn new(inner: S, config: &ConnectionConfig) -> (Self, Hearing) {
        let frames = Frames::new(config.max_overhead_frames, config.max_stream_resets);
        let frames = Hearing(Arc::new(Mutex::new(frames)));
        (Self { inner, frames: frames.clone() }, frames)
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.frames.lock().wrote(*bytes);
        }
    }
}

impl Hearing {
    /// Whether the other side has begun to speak.
    pub(super) fn has_begun(&self) -> bool {
        self.lock().has_begun()
    }

    /// When the last call began, or the connection if none has.
    pub(super) fn last_call(&self) -> Instant {
        self.lock().last_call()
    }

    /// What was too much, if something was.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.lock().flood()
    }

    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        Poll::Ready(self.frames.lock().read(&buffer.filled()[before..]).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
