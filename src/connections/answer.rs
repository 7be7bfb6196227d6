//! The way of an answer to its caller, which may take it slowly, or not at all.
//!
//! HTTP/2 sends no more than its caller has made room for, and what is not sent is memory, and holds the places of its call.
//! So an answer is handed over in pieces, each of which is known until it has been written; and a call none of whose pieces
//! has been written for some time is given up (RST_STREAM, CANCEL). All other calls of the connection go on: they may be
//! those of other callers of a gateway.
//!
//! The HTTP library gives up for us only what has not wholly been handed to it. So the end of an answer of several pieces
//! waits until they are written. That would cost short answers too much: one that is not taken is found in the [`Ledger`]
//! of its connection, which is cut then. A caller that makes room for less than a piece is no gRPC client.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::Response;
use hyper::{
    body::{Frame, SizeHint},
    rt::Executor,
};
use tokio::time::{Sleep, sleep};

use crate::{held::Held, log_limit::LogLimit};

/// As much as one frame holds (RFC 9113, section 4.2).
const PIECE_BYTES: usize = 16 * 1024;
/// So many spans of time a [`Ledger`] tells apart.
const SPANS: usize = 8;
/// A piece that is older than so many spans is stuck. By then the call of any other one has been given up.
const STUCK_AFTER: usize = 3;

tokio::task_local! {
    /// How the answer goes that is made in this task.
    static PACE: Arc<Pace>;
}

/// How an answer goes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The places of its call.
    held: Held,
    /// Whose it is.
    peer: OnceLock<SocketAddr>,
    /// Pieces that have been handed over and are not written.
    waiting: AtomicUsize,
    /// Pieces that have been written.
    written: AtomicUsize,
    /// Whether the last one was handed over.
    ended: AtomicBool,
    /// Who waits until all are written.
    waker: AtomicWaker,
}

/// The pieces of a connection that are not written, by the span of time in which they were handed over.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    now: AtomicUsize,
    waiting: [AtomicUsize; SPANS],
}

/// The body of an answer, in pieces.
struct Answer {
    body: Body,
    /// What has come of the body and was not handed over.
    rest: Bytes,
    /// Whether it takes more than one piece.
    is_long: bool,
    /// What comes behind the last piece.
    end: Option<End>,
    pace: Arc<Pace>,
    ledger: Arc<Ledger>,
}

/// Trailers, nothing, or an error.
struct End(Option<Result<Frame<Bytes>, axum::Error>>);

/// A piece of an answer, until it has been written.
struct Piece {
    bytes: Bytes,
    span: usize,
    pace: Arc<Pace>,
    ledger: Arc<Ledger>,
}

/// Runs calls, and gives up those whose answers are not taken.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    patience: Duration,
    told: Arc<LogLimit>,
}

pin_project_lite::pin_project! {
    /// A call that runs.
    struct Running<F> {
        #[pin]
        call: F,
        calls: Calls,
        pace: Arc<Pace>,
        #[pin]
        timer: Option<Sleep>,
        // How many pieces had been written when the timer was set.
        written: usize,
    }
}

// === impl Pace ===

impl Pace {
    /// That of the call which runs in this task, and has come from there.
    pub(super) fn of_this_call(peer: SocketAddr) -> Arc<Self> {
        // Where there is no such task (HTTP/1.1) nothing is given up.
        let pace = PACE.try_with(Arc::clone).unwrap_or_default();
        pace.peer.get_or_init(|| peer);
        pace
    }

    /// Where layers keep the places of the call.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Nothing more is handed over. What is held is free before the caller sees the end, so that its next call finds a place.
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) == 0 {
            self.held.free();
        }
    }

    fn is_written(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_written() {
            self.waker.register(cx.waker());
            // It may have been written meanwhile.
            if !self.is_written() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

// === impl Ledger ===

impl Ledger {
    /// A piece is handed over, in the span that is given.
    fn begin(&self) -> usize {
        let span = self.now.load(Ordering::Relaxed) % SPANS;
        self.waiting[span].fetch_add(1, Ordering::Relaxed);
        span
    }

    /// A piece of that span has been written.
    fn end(&self, span: usize) {
        self.waiting[span].fetch_sub(1, Ordering::Relaxed);
    }

    /// A span of time is over. Says whether a piece is stuck.
    pub(super) fn next_span(&self) -> bool {
        let over = self.now.fetch_add(1, Ordering::Relaxed);
        over >= STUCK_AFTER && self.waiting[(over - STUCK_AFTER) % SPANS].load(Ordering::Relaxed) > 0
    }
}

// === impl Answer ===

/// The same answer, handed over in pieces.
pub(super) fn in_pieces(response: Response<Body>, pace: Arc<Pace>, ledger: Arc<Ledger>) -> Response<Body> {
    // An error has no body to wait for.
    if response.body().is_end_stream() {
        pace.end();
        return response;
    }
    response
        .map(|body| Body::new(Answer { body, rest: Bytes::new(), is_long: false, end: None, pace, ledger }))
}

impl Answer {
    fn piece(&mut self) -> Bytes {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.pace.waiting.fetch_add(1, Ordering::SeqCst);
        let (pace, ledger) = (self.pace.clone(), self.ledger.clone());
        Bytes::from_owner(Piece { bytes, span: ledger.begin(), pace, ledger })
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.rest.is_empty() {
            match self.end.take() {
                Some(end) => {
                    if self.is_long && self.pace.poll_written(cx).is_pending() {
                        self.end = Some(end);
                        return Poll::Pending;
                    }
                    self.pace.end();
                    return Poll::Ready(end.0);
                }
                None => match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) if frame.is_data() => {
                        self.rest = frame.into_data().unwrap_or_default();
                        self.is_long |= self.rest.len() > PIECE_BYTES;
                    }
                    end => self.end = Some(End(end)),
                },
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Piece ===

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.ledger.end(self.span);
        self.pace.written.fetch_add(1, Ordering::Relaxed);
        if self.pace.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            if self.pace.ended.load(Ordering::SeqCst) {
                self.pace.held.free();
            }
            self.pace.waker.wake();
        }
    }
}

// === impl Calls ===

impl Calls {
    /// A call may wait so long until its caller takes a piece of its answer.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, told: Arc::new(LogLimit::per_second(1)) }
    }

    fn tell(&self, pace: &Pace) {
        if let Some(left_out) = self.told.admit() {
            let peer = pace.peer.get().map(SocketAddr::to_string);
            tracing::warn!(
                peer,
                left_out,
                "gave up a call: its caller does not take the answer (--send-timeout)"
            );
        }
    }
}

impl<F> Executor<F> for Calls
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        let (calls, pace) = (self.clone(), Arc::default());
        tokio::spawn(Running { call, calls, pace, timer: None, written: 0 });
    }
}

// === impl Running ===

impl<F: Future> Future for Running<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let call = this.call;
        if PACE.sync_scope(this.pace.clone(), || call.poll(cx)).is_ready() {
            return Poll::Ready(());
        }
        // Most calls end without ever waiting for their callers, and so without a timer.
        if this.pace.is_written() {
            this.timer.set(None);
            return Poll::Pending;
        }
        loop {
            let written = this.pace.written.load(Ordering::Relaxed);
            if this.timer.is_none() {
                this.timer.set(Some(sleep(this.calls.patience)));
                *this.written = written;
            }
            let Some(timer) = this.timer.as_mut().as_pin_mut() else { return Poll::Pending };
            ready!(timer.poll(cx));
            if *this.written == written {
                this.calls.tell(this.pace);
                // What it holds of the connection is dropped, which gives up its stream.
                return Poll::Ready(());
            }
            this.timer.set(None);
        }
    }
}

#[cfg(test)]
mod tests;
