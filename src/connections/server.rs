//! One connection, served until its caller, its age, the stop, or what its caller does ends it.

use std::{convert::Infallible, error::Error, future::pending, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulConnection},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tower::ServiceExt;

use super::{
    Stack,
    answer::{Calls, Ledger, Pace, in_pieces},
    heard::{Heard, Hearing},
};
use crate::{config::ConnectionConfig, log_limit::LogLimit, tls::Peer};

/// Serves what comes on connections.
#[derive(Debug)]
pub(super) struct Server {
    stack: Stack,
    builder: Builder<Calls>,
    config: ConnectionConfig,
    floods: LogLimit,
}

/// What ends a connection that its caller does not end.
pub(super) struct End {
    /// When it is old, if ever.
    pub(super) age: Option<Duration>,
    pub(super) stop: watch::Receiver<bool>,
}

type ConnectionError = Box<dyn Error + Send + Sync>;

// === impl Server ===

impl Server {
    pub(super) fn new(stack: Stack, config: ConnectionConfig, max_metadata_bytes: u32) -> Self {
        let builder = builder(&config, max_metadata_bytes);
        Self { stack, builder, config, floods: LogLimit::per_second(1) }
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        end: End,
    ) {
        let (ledger, (stream, hearing)) = (Arc::<Ledger>::default(), Heard::new(stream, &self.config));
        let service = service_fn(|request| answer(self.stack.clone(), request, peer.clone(), ledger.clone()));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::select! {
            ended = self.run(connection, end, idle(&hearing, &ledger, self.config.max_idle)) => self.note(ended, &hearing, &peer),
            () = silence(&hearing, self.config.handshake_timeout) => tracing::debug!("closed a connection: nobody speaks on it"),
            () = stuck(&ledger, self.config.send_timeout) => self.tell("its caller does not take answers (--send-timeout)", &peer),
        }
    }

    /// Runs it until it has ended, or has been told to and had its time.
    async fn run<C>(
        &self,
        connection: C,
        mut end: End,
        idle: impl Future<Output = ()>,
    ) -> Result<(), ConnectionError>
    where
        C: GracefulConnection<Error = ConnectionError>,
    {
        let mut connection = pin!(connection);
        let grace = tokio::select! {
            ended = connection.as_mut() => return ended,
            () = after(end.age) => Some(self.config.max_age_grace),
            () = idle => Some(self.config.max_age_grace),
            // How long calls may go on then is for the whole process to say.
            _ = end.stop.wait_for(|stop| *stop) => None,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = after(grace) => {
                tracing::info!("cut a connection: it is old, and calls on it outlived the grace");
                Ok(())
            }
        }
    }

    fn note(&self, ended: Result<(), ConnectionError>, hearing: &Hearing, peer: &Peer) {
        let Err(error) = ended else { return };
        if let Some(flood) = hearing.flood() {
            self.tell(&flood.to_string(), peer);
        } else if is_attack(&*error) {
            self.tell("its frames are those of an attack (ENHANCE_YOUR_CALM)", peer);
        } else {
            // Callers break off as they like; it is their business.
            tracing::debug!(error, "a connection ended with an error");
        }
    }

    fn tell(&self, why: &str, peer: &Peer) {
        if let Some(left_out) = self.floods.admit() {
            tracing::warn!(peer = %peer.address, left_out, "cut a connection: {why}");
        }
    }
}

/// Answers one call.
async fn answer(
    stack: Stack,
    request: Request<Incoming>,
    peer: Peer,
    ledger: Arc<Ledger>,
) -> Result<Response<Body>, Infallible> {
    let pace = Pace::of_this_call(peer.address);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(pace.held().clone());
    request.extensions_mut().insert(peer);
    Ok(in_pieces(stack.oneshot(request).await?, pace, ledger))
}

/// HTTP/2 for gRPC; HTTP/1.1 is spoken only to say so in words.
fn builder(config: &ConnectionConfig, max_metadata_bytes: u32) -> Builder<Calls> {
    let mut builder = Builder::new(Calls::new(config.send_timeout));
    builder
        .http1()
        .timer(TokioTimer::new())
        // The request is then refused.
        .header_read_timeout(config.handshake_timeout)
        .keep_alive(false)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .max_concurrent_streams(config.max_concurrent_streams)
        // A caller that gives up all of its calls at once, as callers of a slow API do, is no attack.
        .max_pending_accept_reset_streams(config.max_concurrent_streams as usize)
        .max_header_list_size(max_metadata_bytes);
    builder
}

/// Whether the HTTP library has seen one of the attacks that it knows.
fn is_attack(error: &(dyn Error + 'static)) -> bool {
    let calm = |error: &h2::Error| error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    error.downcast_ref().is_some_and(calm) || error.source().is_some_and(is_attack)
}

/// Ends when the other side has not begun to speak in time, and else never.
async fn silence(hearing: &Hearing, limit: Duration) {
    sleep(limit).await;
    if hearing.has_begun() {
        pending().await
    }
}

/// Ends when no call has come for so long, and none runs.
async fn idle(hearing: &Hearing, ledger: &Arc<Ledger>, limit: Option<Duration>) {
    let Some(limit) = limit else { return pending().await };
    loop {
        let (now, end) = (Instant::now(), hearing.last_call() + limit);
        if end > now {
            sleep_until(end).await;
        } else if Arc::strong_count(ledger) > 1 {
            // Each call has the ledger until its answer is written, and a stream has it until its end.
            sleep_until(now + limit).await;
        } else {
            return;
        }
    }
}

/// Ends when a piece of an answer has not been written for far too long.
async fn stuck(ledger: &Ledger, patience: Duration) {
    loop {
        sleep(patience).await;
        if ledger.next_span() {
            return;
        }
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}
