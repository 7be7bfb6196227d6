//! The breakers before an API that does as it is told, under paused time.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{advance, sleep, timeout},
};

use super::*;
use crate::deadline::Deadline;

const DEADLINE: Duration = Duration::from_secs(10);
/// The pause of [`config`].
const PAUSE: Duration = Duration::from_secs(1);

/// What the API does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer(u16),
    Refuse,
    Break,
    CutOff,
    TimeOut,
    TooLarge,
    Garble,
    Busy,
    Hang,
}

/// An API of two endpoints.
struct Api {
    does: Mutex<[(Duration, Does); 2]>,
    calls: AtomicUsize,
}

struct Bench {
    breakers: Arc<Breakers<Api>>,
    stats: Arc<Stats>,
}

/// The status of an answer, or why there is none, and when to come back.
type Said = Result<u16, (String, Option<Duration>)>;

impl Exchange for Api {
    async fn exchange(&self, _: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        terms.request_leaves(Duration::from_secs(3600));
        let (takes, does) = self.does.lock().unwrap()[terms.endpoint];
        sleep(takes).await;
        outcome(does).await
    }
}

impl Bench {
    fn new(config: &BreakerConfig) -> Self {
        let stats = Arc::new(Stats::default());
        let api =
            Api { does: Mutex::new([(Duration::ZERO, Does::Answer(200)); 2]), calls: AtomicUsize::new(0) };
        Self { breakers: Arc::new(Breakers::new(api, config, stats.clone())), stats }
    }

    /// From now on this endpoint does so, after this time.
    fn tell(&self, endpoint: usize, takes: Duration, does: Does) {
        self.breakers.inner.does.lock().unwrap()[endpoint] = (takes, does);
    }

    async fn call(&self, endpoint: usize) -> Said {
        call(&self.breakers, endpoint, DEADLINE).await
    }

    /// So many calls, one after the other, while the endpoint does so; whether all of them were sent.
    async fn calls(&self, count: usize, endpoint: usize, does: Does) -> bool {
        self.tell(endpoint, Duration::ZERO, does);
        let before = self.sent();
        for _ in 0..count {
            let _ = self.call(endpoint).await;
        }
        self.sent() == before + count
    }

    fn spawn(&self, endpoint: usize) -> JoinHandle<Said> {
        let breakers = self.breakers.clone();
        tokio::spawn(async move { call(&breakers, endpoint, DEADLINE).await })
    }

    fn sent(&self) -> usize {
        self.breakers.inner.calls.load(Ordering::Relaxed)
    }

    fn host_shut(&self) -> bool {
        *self.breakers.host().shut().borrow()
    }
}

/// Calls as callers do, who go away when their time is over.
async fn call(breakers: &Breakers<Api>, endpoint: usize, time: Duration) -> Said {
    let terms = Terms::new(endpoint, Deadline::after(time));
    let outcome = timeout(time, breakers.exchange(Request::new(Bytes::new()), &terms)).await;
    let outcome = outcome.unwrap_or(Err(Error::DeadlineExceeded { limit: time }));
    let why = |error: Error| (error.reason().into_owned(), error.retry_after());
    outcome.map(|answer| answer.status().as_u16()).map_err(why)
}

async fn outcome(does: Does) -> Result<Response<Bytes>, Error> {
    let detail = String::new();
    Err(match does {
        Does::Answer(status) => return Ok(Response::builder().status(status).body(Bytes::new()).unwrap()),
        Does::Refuse => Error::Unreachable { detail },
        Does::Break => Error::ConnectionLost { detail },
        Does::CutOff => Error::AnswerCutOff { detail },
        Does::TimeOut => Error::UpstreamTimeout { limit: Duration::ZERO },
        Does::TooLarge => Error::AnswerTooLarge { limit: 0 },
        Does::Garble => Error::AnswerUndecodable { detail },
        Does::Busy => Error::ApiBusy { retry_after: Duration::ZERO },
        Does::Hang => std::future::pending().await,
    })
}

fn config() -> BreakerConfig {
    BreakerConfig { failures: 5, failure_rate: 0.5, pause: PAUSE }
}

fn refused(seconds_left: f64) -> Said {
    Err(("UPSTREAM_FAILING".to_owned(), Some(Duration::from_secs_f64(seconds_left))))
}

/// A breaker that has shut the first endpoint just now.
async fn shut() -> Bench {
    let bench = Bench::new(&config());
    assert!(bench.calls(5, 0, Does::Answer(500)).await);
    bench
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_shut_it_and_nothing_is_sent_until_its_pause_is_over() {
    let bench = Bench::new(&config());
    assert!(bench.calls(5, 0, Does::Answer(500)).await);
    assert_eq!(bench.call(0).await, refused(1.0));
    advance(Duration::from_millis(999)).await;
    assert_eq!(bench.call(0).await, refused(0.001));
    assert_eq!((bench.sent(), bench.stats.snapshot().of(Event::Shut)), (5, 2));
    advance(Duration::from_millis(1)).await;
    assert_eq!(bench.call(0).await, Ok(500));
    assert_eq!((bench.sent(), bench.stats.snapshot().of(Event::Tripped)), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_ends_the_row() {
    let bench = Bench::new(&config());
    for _ in 0..3 {
        assert!(bench.calls(4, 0, Does::Answer(500)).await);
        assert!(bench.calls(1, 0, Does::Answer(404)).await);
        advance(Duration::from_secs(10)).await;
    }
    assert_eq!(bench.stats.snapshot().of(Event::Tripped), 0);
}

#[tokio::test(start_paused = true)]
async fn half_of_twenty_calls_that_fail_shut_it_and_half_of_fewer_do_not() {
    let bench = Bench::new(&config());
    for _ in 0..9 {
        bench.calls(1, 0, Does::Answer(200)).await;
        bench.calls(1, 0, Does::Answer(500)).await;
    }
    // Eighteen calls.
    bench.calls(1, 0, Does::Answer(200)).await;
    assert_eq!(bench.stats.snapshot().of(Event::Tripped), 0);
    bench.calls(1, 0, Does::Answer(500)).await;
    assert_eq!(bench.call(0).await, refused(1.0));
}

#[tokio::test(start_paused = true)]
async fn what_failed_ten_seconds_ago_no_longer_counts() {
    let bench = Bench::new(&config());
    for _ in 0..4 {
        bench.calls(4, 0, Does::Answer(500)).await;
        bench.calls(1, 0, Does::Answer(200)).await;
    }
    // Twenty calls would be enough, but the last one was good.
    advance(Duration::from_secs(10)).await;
    assert!(bench.calls(4, 0, Does::Answer(500)).await);
    assert_eq!(bench.call(0).await, Ok(500));
    assert_eq!(bench.stats.snapshot().of(Event::Tripped), 1);
}

#[tokio::test(start_paused = true)]
async fn one_call_at_a_time_probes() {
    let bench = shut().await;
    advance(PAUSE).await;
    bench.tell(0, Duration::from_millis(100), Does::Answer(200));
    let probe = bench.spawn(0);
    sleep(Duration::from_millis(99)).await;
    assert_eq!(bench.call(0).await, refused(0.901));
    assert_eq!(bench.sent(), 6);
    assert_eq!(probe.await.unwrap(), Ok(200));
    assert!(bench.calls(20, 0, Does::Answer(200)).await);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_lets_another_through_after_a_pause() {
    let bench = shut().await;
    advance(PAUSE).await;
    bench.tell(0, Duration::ZERO, Does::Hang);
    let hangs = bench.spawn(0);
    sleep(Duration::from_millis(1)).await;
    advance(PAUSE).await;
    assert!(bench.calls(20, 0, Does::Answer(200)).await);
    assert!(!hangs.is_finished());
}

#[tokio::test(start_paused = true)]
async fn what_was_before_is_forgotten_when_it_heals() {
    let bench = shut().await;
    advance(PAUSE).await;
    assert!(bench.calls(1, 0, Does::Answer(200)).await);
    assert!(bench.calls(4, 0, Does::Answer(500)).await);
    assert!(bench.calls(1, 0, Does::Answer(200)).await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_doubles_the_pause_once() {
    let bench = shut().await;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (_, pause) = bench.call(0).await.unwrap_err();
        pauses.push(pause.unwrap().as_secs());
        advance(pause.unwrap()).await;
        assert!(bench.calls(1, 0, Does::Answer(500)).await);
    }
    assert_eq!(pauses, [1, 2, 2, 2, 2, 2]);
    advance(PAUSE * 2).await;
    assert!(bench.calls(1, 0, Does::Answer(200)).await);
    // It has healed, so that it begins anew.
    bench.calls(5, 0, Does::Answer(500)).await;
    assert_eq!(bench.call(0).await, refused(1.0));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_does_not_shut_the_others_nor_the_host() {
    let bench = shut().await;
    assert_eq!(bench.call(0).await, refused(1.0));
    assert!(bench.calls(50, 1, Does::Answer(200)).await);
    // Not even if all of them fail: who answers can be reached.
    assert!(bench.calls(5, 1, Does::Answer(500)).await);
    assert_eq!(bench.call(1).await, refused(1.0));
    assert!(!bench.host_shut());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_reached_is_shut_for_all_endpoints_and_told_at_once() {
    let bench = Bench::new(&config());
    let mut told = bench.breakers.host().shut();
    assert!(bench.calls(5, 0, Does::Refuse).await);
    assert!(told.has_changed().unwrap() && *told.borrow_and_update());
    assert_eq!(bench.call(1).await, refused(1.0));
    advance(PAUSE).await;
    // A probe that fails is no news.
    assert_eq!(bench.call(0).await.unwrap_err().0, "UPSTREAM_UNREACHABLE");
    assert!(!told.has_changed().unwrap());
    assert_eq!(bench.call(1).await, refused(2.0));
    advance(PAUSE * 2).await;
    // Whoever answers, with whatever, heals the host.
    bench.tell(1, Duration::ZERO, Does::Answer(500));
    assert_eq!(bench.call(1).await, Ok(500));
    assert!(told.has_changed().unwrap() && !*told.borrow_and_update());
    assert!(bench.calls(5, 0, Does::Answer(200)).await);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_has_answered_past_the_breaker_is_asked_again_at_once() {
    let bench = Bench::new(&config());
    bench.calls(5, 0, Does::Refuse).await;
    bench.breakers.host().lives();
    assert!(!bench.host_shut());
    assert!(bench.calls(5, 0, Does::Answer(200)).await);
}

/// The probe of a host that was healed past the breaker is an old story when the host is shut again.
#[tokio::test(start_paused = true)]
async fn a_probe_of_before_says_nothing_of_the_next_outage() {
    let bench = Bench::new(&config());
    bench.calls(5, 0, Does::Refuse).await;
    advance(PAUSE).await;
    bench.tell(0, Duration::from_millis(1500), Does::Answer(200));
    let old = bench.spawn(0);
    sleep(Duration::from_millis(1)).await;
    bench.breakers.host().lives();
    bench.calls(5, 1, Does::Refuse).await;
    advance(PAUSE).await;
    bench.tell(1, Duration::from_millis(900), Does::Answer(200));
    let new = bench.spawn(1);
    assert_eq!(old.await.unwrap(), Ok(200));
    assert!(bench.host_shut());
    assert_eq!(bench.call(0).await, refused(0.501));
    assert_eq!(new.await.unwrap(), Ok(200));
    assert!(!bench.host_shut());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_makes_room_for_another() {
    let bench = shut().await;
    advance(PAUSE).await;
    bench.tell(0, Duration::from_millis(100), Does::Answer(200));
    let probe = bench.spawn(0);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.call(0).await, refused(0.999));
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    assert_eq!(bench.call(0).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_was_not_sent_makes_room_for_another() {
    let bench = shut().await;
    advance(PAUSE).await;
    assert!(bench.calls(3, 0, Does::Busy).await);
    assert!(bench.calls(2, 0, Does::Answer(200)).await);
}

/// The host lets a call probe that a shut endpoint then refuses.
#[tokio::test(start_paused = true)]
async fn a_shut_endpoint_does_not_keep_the_host_from_being_probed() {
    let bench = shut().await;
    advance(PAUSE).await;
    bench.calls(1, 0, Does::Answer(500)).await;
    bench.calls(5, 1, Does::Refuse).await;
    advance(PAUSE).await;
    // The host is due, the endpoint is not.
    assert_eq!(bench.call(0).await, refused(1.0));
    assert!(bench.host_shut());
    assert!(bench.calls(1, 1, Does::Answer(200)).await);
    assert!(!bench.host_shut());
}

#[tokio::test(start_paused = true)]
async fn calls_that_began_before_it_shut_change_nothing() {
    let bench = Bench::new(&config());
    bench.tell(0, Duration::from_millis(500), Does::Answer(200));
    let good: Vec<_> = (0..10).map(|_| bench.spawn(0)).collect();
    sleep(Duration::from_millis(1)).await;
    bench.tell(0, Duration::from_secs(2), Does::Answer(500));
    let bad: Vec<_> = (0..10).map(|_| bench.spawn(0)).collect();
    sleep(Duration::from_millis(1)).await;
    bench.calls(5, 0, Does::Answer(500)).await;
    for call in good {
        assert_eq!(call.await.unwrap(), Ok(200));
    }
    // They do not open it,
    assert_eq!(bench.call(0).await, refused(0.502));
    advance(PAUSE).await;
    assert!(bench.calls(1, 0, Does::Answer(200)).await);
    for call in bad {
        assert_eq!(call.await.unwrap(), Ok(500));
    }
    // nor do they shut it after it has healed.
    assert!(bench.calls(1, 0, Does::Answer(200)).await);
    assert_eq!(bench.stats.snapshot().of(Event::Tripped), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_number_of_failures_it_never_shuts() {
    let bench = Bench::new(&BreakerConfig { failures: 0, ..config() });
    assert!(bench.calls(100, 0, Does::Answer(500)).await);
    assert!(bench.calls(100, 0, Does::Refuse).await);
    assert!(!bench.host_shut());
}

#[tokio::test(start_paused = true)]
async fn each_outcome_counts_where_it_belongs() {
    for (does, shuts_endpoint, shuts_host) in [
        (Does::Answer(200), false, false),
        (Does::Answer(304), false, false),
        (Does::Answer(401), false, false),
        (Does::Answer(404), false, false),
        (Does::Answer(422), false, false),
        (Does::Answer(429), false, false),
        (Does::Answer(500), true, false),
        (Does::Answer(503), true, false),
        (Does::CutOff, true, false),
        (Does::Break, true, false),
        (Does::TimeOut, true, false),
        (Does::Refuse, true, true),
        (Does::TooLarge, false, false),
        (Does::Garble, false, false),
        (Does::Busy, false, false),
    ] {
        let bench = Bench::new(&config());
        bench.calls(30, 0, does).await;
        let is_shut = bench.call(0).await == refused(1.0);
        assert_eq!((is_shut, bench.host_shut()), (shuts_endpoint, shuts_host), "{does:?}");
    }
}

/// Callers give up sooner than the bridge does, so that it would never hear of an API that hangs.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_until_its_callers_have_no_time_left_is_shut() {
    let bench = Bench::new(&config());
    assert!(bench.calls(5, 0, Does::Hang).await);
    assert_eq!(bench.call(0).await, refused(1.0));
    assert!(!bench.host_shut());
}

#[tokio::test(start_paused = true)]
async fn callers_that_have_little_time_or_go_away_say_nothing_of_it() {
    let bench = Bench::new(&config());
    bench.tell(0, Duration::ZERO, Does::Hang);
    for _ in 0..50 {
        call(&bench.breakers, 0, Duration::from_millis(900)).await.unwrap_err();
        assert!(timeout(Duration::from_secs(5), bench.call(0)).await.is_err());
    }
    assert!(bench.calls(1, 0, Does::Answer(200)).await);
}
