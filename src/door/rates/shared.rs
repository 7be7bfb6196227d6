//! Counts that all replicas share, for as long as Redis answers.
//!
//! A call waits for Redis for a short time and not longer. The first failure is the end of the connection: from then on all
//! calls are counted by this replica alone and at once, and nobody waits until a new connection has counted a call. It is
//! made beside the calls, so that none of them has to try.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    Over, Rate,
    link::{Link, Redis},
};
use crate::{config::SharedRatesConfig, fault::Fault, log_limit::LogLimit};

/// How many calls may wait for Redis at a time; the others are counted here. At a millisecond each these are 256,000 calls a
/// second, which is more than one Redis counts.
const MAX_UNDER_WAY: usize = 256;
/// How long it may take to connect, TLS and the first call that is counted included. No caller waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long Redis is left alone after it has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the log is told that it is still away.
const REPEAT: Duration = Duration::from_secs(60);

/// The counts that are shared.
#[derive(Debug)]
pub(in crate::door) struct Shared {
    redis: Redis,
    /// The connection, unless Redis is away.
    link: ArcSwapOption<Link>,
    under_way: Semaphore,
    timeout: Duration,
    /// Whether Redis was asked, with or without success.
    asked: watch::Sender<bool>,
    counted: Counted,
    crowd: LogLimit,
}

/// How many calls were counted where.
#[derive(Debug, Default)]
struct Counted {
    by_redis: AtomicU64,
    here: AtomicU64,
}

/// How calls were counted, where replicas share the counts of rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedCounts {
    /// Whether Redis is asked now.
    pub shared: bool,
    /// How many calls Redis has counted, those included that it found too many.
    pub by_redis: u64,
    /// How many were counted by this replica alone, because Redis was away or had too much to do.
    pub here: u64,
}

/// A time without Redis.
struct Outage {
    since: Instant,
    told: Option<Instant>,
    /// What was counted here before.
    before: u64,
}

// === impl Shared ===

impl Shared {
    pub(in crate::door) fn new(config: &SharedRatesConfig) -> Result<Self, Vec<Fault>> {
        Ok(Self {
            redis: Redis::new(config, MAX_UNDER_WAY)?,
            link: ArcSwapOption::empty(),
            under_way: Semaphore::new(MAX_UNDER_WAY),
            timeout: config.timeout,
            asked: watch::Sender::new(false),
            counted: Counted::default(),
            crowd: LogLimit::per_second(1),
        })
    }

    /// Counts a call of a caller, or nothing where it has to be counted here.
    pub(super) async fn count(&self, caller: &str, rates: &[Rate]) -> Option<Result<(), Over>> {
        let counted = self.ask(caller, rates).await;
        let counter = if counted.is_some() { &self.counted.by_redis } else { &self.counted.here };
        counter.fetch_add(1, Ordering::Relaxed);
        counted
    }

    async fn ask(&self, caller: &str, rates: &[Rate]) -> Option<Result<(), Over>> {
        let link = self.link.load_full()?;
        let Ok(_place) = self.under_way.try_acquire() else {
            self.tell_of_crowd();
            return None;
        };
        self.in_time(&link, link.count(caller, rates)).await
    }

    /// What Redis answers, if it does in time; or else that is the end of this connection.
    async fn in_time<T>(
        &self,
        link: &Arc<Link>,
        answer: impl Future<Output = Result<T, String>>,
    ) -> Option<T> {
        let late = |_| Err(format!("no answer within {:?}", self.timeout));
        let answer = timeout(self.timeout, answer).await.unwrap_or_else(late);
        let gave_up = |why| {
            link.give_up(why);
            // At once, so that the next call waits for nothing; unless there is a new one already.
            self.link.compare_and_swap(link, None);
        };
        answer.map_err(gave_up).ok()
    }

    fn tell_of_crowd(&self) {
        if let Some(left_out) = self.crowd.admit() {
            tracing::warn!(
                redis = %self.redis,
                left_out,
                "rates: a call is counted by this replica alone, for {MAX_UNDER_WAY} others wait for Redis"
            );
        }
    }

    /// Keeps the connection, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        tokio::join!(self.redis.follow(every), self.keep_connected());
    }

    async fn keep_connected(&self) {
        let mut outage = self.outage();
        loop {
            let late = |_| Err(format!("no connection within {CONNECT_TIMEOUT:?}"));
            match timeout(CONNECT_TIMEOUT, self.redis.connect()).await.unwrap_or_else(late) {
                Ok(link) => {
                    self.end(&outage);
                    outage = self.keep(link).await;
                }
                Err(why) => {
                    self.tell(&mut outage, &why);
                    self.asked.send_replace(true);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets calls be counted by this connection, until it is over.
    async fn keep(&self, link: Arc<Link>) -> Outage {
        // Those that fail at its end belong to what comes then.
        let last = self.outage();
        self.link.store(Some(link.clone()));
        self.asked.send_replace(true);
        let why = self.over(&link).await;
        let mut outage = Outage { since: Instant::now(), ..last };
        self.link.store(None);
        match why {
            Some(why) => self.tell(&mut outage, why),
            // Redis may close what was idle, or stop in good order: that is worth a word if it cannot be reached anew.
            None if last.since.elapsed() > PAUSE => return outage,
            None => self.tell(&mut outage, "it closes connections at once"),
        }
        sleep(PAUSE).await;
        outage
    }

    /// Waits until this connection is over. Meanwhile it is tried: calls whose callers have no time to wait give nothing up.
    async fn over<'a>(&self, link: &'a Arc<Link>) -> Option<&'a str> {
        loop {
            tokio::select! {
                why = link.over() => return why,
                () = sleep(PAUSE) => self.in_time(link, link.probe()).await,
            };
        }
    }

    /// Waits until Redis was asked for the first time.
    pub(super) async fn ready(&self) {
        // It cannot fail: the sender is here.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    pub(super) fn counts(&self) -> SharedCounts {
        SharedCounts {
            shared: self.link.load().is_some(),
            by_redis: self.counted.by_redis.load(Ordering::Relaxed),
            here: self.counted.here.load(Ordering::Relaxed),
        }
    }

    fn outage(&self) -> Outage {
        Outage { since: Instant::now(), told: None, before: self.counted.here.load(Ordering::Relaxed) }
    }

    /// Tells of it when it begins, and now and then while it lasts.
    fn tell(&self, outage: &mut Outage, why: &str) {
        let now = Instant::now();
        if outage.told.is_some_and(|told| now - told < REPEAT) {
            return;
        }
        outage.told = Some(now);
        tracing::error!(
            redis = %self.redis,
            why,
            counted_here = self.counted.here.load(Ordering::Relaxed) - outage.before,
            lasts_s = outage.since.elapsed().as_secs(),
            "rates are not shared: Redis cannot be used, and this replica counts for itself"
        );
    }

    fn end(&self, outage: &Outage) {
        tracing::info!(
            redis = %self.redis,
            counted_here = self.counted.here.load(Ordering::Relaxed) - outage.before,
            lasts_s = outage.since.elapsed().as_secs(),
            "rates are shared: Redis counts for all replicas"
        );
    }
}
