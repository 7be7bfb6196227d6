//! The connections of callers: each is served in a task of its own, until its caller, its age or the stop ends it.
//!
//! A gRPC client keeps one connection for all its calls and for as long as it can, so one that has connected
//! never learns of new replicas. That is why a connection gets old here: it is told to go away (GOAWAY), what
//! runs on it may finish, and its caller resolves the name again (gRFC A9).
//!
//! Strangers reach this. So there is a number of connections, in all and from one address, and whoever makes one has to begin to
//! speak.

mod heard;
mod places;

use std::{
    convert::Infallible,
    error::Error,
    future::pending,
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulConnection},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tower::{ServiceExt, util::BoxCloneSyncService};

use self::{
    heard::{Heard, Hearing},
    places::{NoPlace, Places},
};
use crate::{
    config::ConnectionConfig,
    log_limit::LogLimit,
    tls::{Peer, Tls},
};

/// The pause after a failed accept, which is mostly a lack of file descriptors that has to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that a request meets.
pub type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// All connections that are open.
#[derive(Debug)]
pub struct Connections {
    server: Arc<Server>,
    config: ConnectionConfig,
    places: Places,
    refusals: LogLimit,
    tls: Option<Tls>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Serves what comes on a connection.
#[derive(Debug)]
struct Server {
    stack: Stack,
    builder: Builder<TokioExecutor>,
    handshake_timeout: Duration,
}

/// What ends a connection that its caller does not end.
struct End {
    /// When it is old, if ever.
    age: Option<Duration>,
    /// How long its calls may go on when it is.
    grace: Duration,
    stop: watch::Receiver<bool>,
}

// === impl Connections ===

impl Connections {
    /// None yet; their requests go to `stack`, and have no more than `max_metadata_bytes` of metadata.
    pub fn new(stack: Stack, config: ConnectionConfig, tls: Option<Tls>, max_metadata_bytes: u32) -> Self {
        let builder = builder(&config, max_metadata_bytes);
        let server = Arc::new(Server { stack, builder, handshake_timeout: config.handshake_timeout });
        let places = Places::new(config.max_connections, config.max_connections_per_address);
        let (refusals, stop) = (LogLimit::per_second(1), watch::Sender::new(false));
        Self { server, config, places, refusals, tls, stop, tasks: JoinSet::new() }
    }

    /// Takes connections until it is dropped.
    pub async fn accept(&mut self, listener: &TcpListener) {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => self.serve(stream, address),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// Tells all to go away, and gives how many had to be cut because their calls still ran at `give_up`.
    pub async fn drain(mut self, give_up: Instant) -> usize {
        self.stop.send_replace(true);
        let ended = timeout_at(give_up, async { while self.tasks.join_next().await.is_some() {} });
        if ended.await.is_ok() {
            return 0;
        }
        while self.tasks.try_join_next().is_some() {}
        let running = self.tasks.len();
        self.tasks.shutdown().await;
        running
    }

    /// The connection is closed by being dropped: what is more than can be served gets no more than that.
    fn refuse(&self, address: SocketAddr, why: NoPlace) {
        if let Some(left_out) = self.refusals.admit() {
            let setting = match why {
                NoPlace::Full => "--max-connections",
                NoPlace::TooManyFromThere => "--max-connections-per-address",
            };
            tracing::warn!(peer = %address, left_out, "closed a connection: there are as many as there may be ({setting})");
        }
    }

    fn serve(&mut self, stream: TcpStream, address: SocketAddr) {
        let place = match self.places.take(address.ip()) {
            Ok(place) => place,
            Err(why) => return self.refuse(address, why),
        };
        if let Err(error) = set_options(&stream, &self.config) {
            tracing::debug!(%error, "cannot set the options of a connection");
        }
        let mut end = End {
            age: self.config.max_age.map(|age| jittered(age, random())),
            grace: self.config.max_age_grace,
            stop: self.stop.subscribe(),
        };
        let (server, tls) = (self.server.clone(), self.tls.clone());
        self.tasks.spawn(async move {
            let _place = place;
            match tls {
                None => server.serve(stream, Peer { address, names: Arc::default() }, end).await,
                Some(tls) => {
                    // Nobody has asked for anything yet, so that a stop need not wait for them.
                    let shaken = tokio::select! {
                        shaken = tls.accept(stream) => shaken,
                        _ = end.stop.wait_for(|stop| *stop) => None,
                    };
                    if let Some((stream, names)) = shaken {
                        server.serve(stream, Peer { address, names }, end).await;
                    }
                }
            }
        });
    }
}

// === impl Server ===

impl Server {
    /// Serves a connection until it ends.
    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        end: End,
    ) {
        let stack = self.stack.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request.map(Body::new)
        });
        let (service, (stream, hearing)) = (TowerToHyperService::new(stack), Heard::new(stream));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::select! {
            () = serve(connection, end) => {}
            () = silence(&hearing, self.handshake_timeout) => tracing::debug!("closed a connection: nobody speaks on it"),
        }
    }
}

/// HTTP/2 for gRPC; HTTP/1.1 is spoken only to say so in words.
fn builder(config: &ConnectionConfig, max_metadata_bytes: u32) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
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

#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
fn set_options(stream: &TcpStream, config: &ConnectionConfig) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A PING waits behind what the caller does not take, and so does the end: there the system has to see that
    // nobody is there, in the same time (gRFC A18). Only Linux can.
    #[cfg(target_os = "linux")]
    if config.keepalive_interval.is_some() {
        socket2::SockRef::from(stream).set_tcp_user_timeout(Some(config.keepalive_timeout))?;
    }
    Ok(())
}

/// `age`, give or take a tenth by what `random` is: callers that have come together, after a start for
/// instance, are not to come back together.
fn jittered(age: Duration, random: u32) -> Duration {
    let share = f64::from(random) / f64::from(u32::MAX);
    (age - age / 10).saturating_add((age / 5).mul_f64(share))
}

/// As random as the keys of hash maps, which is enough to be unlike others.
fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// Serves a connection until it ends.
async fn serve<C>(connection: C, mut end: End)
where
    C: GracefulConnection<Error = Box<dyn Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let grace = tokio::select! {
        ended = connection.as_mut() => return note(ended),
        () = after(end.age) => Some(end.grace),
        // How long calls may go on then is for the whole process to say.
        _ = end.stop.wait_for(|stop| *stop) => None,
    };
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection.as_mut() => note(ended),
        () = after(grace) => tracing::info!("cut a connection: it is old, and calls on it outlived the grace"),
    }
}

/// Ends when the other side has not begun to speak in time, and else never.
async fn silence(hearing: &Hearing, limit: Duration) {
    sleep(limit).await;
    if hearing.has_begun() {
        pending().await
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}

fn note(ended: Result<(), Box<dyn Error + Send + Sync>>) {
    if let Err(error) = ended {
        // Callers break off as they like; it is their business.
        tracing::debug!(error, "a connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_age_is_jittered_by_no_more_than_a_tenth(millis in 1_u64..1 << 40, random: u32) {
            let age = Duration::from_millis(millis);
            let jittered = jittered(age, random);
            // A nanosecond for rounding.
            prop_assert!(jittered.abs_diff(age) <= age / 10 + Duration::from_nanos(1), "{jittered:?}");
        }
    }

    #[test]
    fn ages_lie_all_over_the_tenth_around() {
        let ages: Vec<_> = (0..1000).map(|_| jittered(Duration::from_secs(300), random())).collect();
        for tenth in 0..10 {
            let from = Duration::from_secs(270 + 6 * tenth);
            let found =
                ages.iter().filter(|age| (from..from + Duration::from_secs(6)).contains(*age)).count();
            // A hundred of a thousand are expected; forty are six standard deviations away.
            assert!((40..160).contains(&found), "{found} from {from:?}");
        }
    }

    #[test]
    fn the_longest_of_ages_can_be_jittered() {
        assert_eq!(jittered(Duration::MAX, u32::MAX), Duration::MAX);
    }
}
