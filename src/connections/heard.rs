//! A stream that knows how much has come on it, so that one on which nobody begins to speak can be ended.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The preface of HTTP/2 and the head of the SETTINGS behind it (RFC 9113, section 3.4): with them a caller has begun.
const BEGINNING: usize = 24 + 9;

/// A stream, counted.
pub(super) struct Heard<S> {
    inner: S,
    bytes: Arc<AtomicUsize>,
}

/// How much has come on it.
#[derive(Debug, Clone)]
pub(super) struct Hearing(Arc<AtomicUsize>);

impl<S> Heard<S> {
    pub(super) fn new(inner: S) -> (Self, Hearing) {
        let bytes = Arc::new(AtomicUsize::new(0));
        (Self { inner, bytes: bytes.clone() }, Hearing(bytes))
    }
}

impl Hearing {
    /// Whether the other side has begun to speak.
    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= BEGINNING
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
        self.bytes.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
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
