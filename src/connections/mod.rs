//! The connections of callers: each is served in a task of its own, until its caller, its age or the stop ends it.
//!
//! A gRPC client keeps one connection for all its calls and for as long as it can, so one that has connected
//! never learns of new replicas. That is why a connection gets old here: it is told to go away (GOAWAY), what
//! runs on it may finish, and its caller resolves the name again (gRFC A9).
//!
//! Strangers reach this. So there is a number of connections, in all and from one address, and whoever makes one has to begin to
//! speak.

mod answer;
mod frames;
mod heard;
mod server;

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tower::util::BoxCloneSyncService;

use self::server::{End, Server};
use crate::{
    config::ConnectionConfig,
    log_limit::LogLimit,
    places::{NoPlace, Places, network},
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
    places: Places<IpAddr>,
    refusals: LogLimit,
    tls: Option<Tls>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

// === impl Connections ===

impl Connections {
    /// None yet; their requests go to `stack`, and have no more than `max_metadata_bytes` of metadata.
    pub fn new(stack: Stack, config: ConnectionConfig, tls: Option<Tls>, max_metadata_bytes: u32) -> Self {
        let server = Arc::new(Server::new(stack, config.clone(), max_metadata_bytes));
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
                NoPlace::TooManyOfOne => "--max-connections-per-address",
            };
            tracing::warn!(peer = %address, left_out, "closed a connection: there are as many as there may be ({setting})");
        }
    }

    fn serve(&mut self, stream: TcpStream, address: SocketAddr) {
        let place = match self.places.take(network(address.ip())) {
            Ok(place) => place,
            Err(why) => return self.refuse(address, why),
        };
        if let Err(error) = set_options(&stream, &self.config) {
            tracing::debug!(%error, "cannot set the options of a connection");
        }
        let mut end =
            End { age: self.config.max_age.map(|age| jittered(age, random())), stop: self.stop.subscribe() };
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
