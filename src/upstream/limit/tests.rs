//! The limit before APIs that are modelled under paused time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    super::{
        Exchange, Terms,
        stats::{Event, Stats},
    },
    Limit,
};
use crate::{config::LimitConfig, deadline::Deadline, error::Error};

/// A Puma: so many threads, which share one processor for a part of each request, and a queue without end.
struct Puma {
    threads: Semaphore,
    processor: Arc<Semaphore>,
    /// What each endpoint does on the processor, and what it waits for elsewhere.
    work: Mutex<Vec<(Duration, Duration)>>,
}

impl Exchange for Puma {
    async fn exchange(&self, _: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        let _thread = self.threads.acquire().await.unwrap();
        let (computes, waits) = self.work.lock().unwrap()[terms.endpoint];
        // No two requests take equally long.
        let jitter = 0.5 + fastrand::f64();
        {
            let _processor = self.processor.acquire().await.unwrap();
            sleep(computes.mul_f64(jitter)).await;
        }
        sleep(waits.mul_f64(jitter)).await;
        Ok(Response::new(Bytes::new()))
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn puma(threads: usize, work: &[(Duration, Duration)]) -> Puma {
    Puma {
        threads: Semaphore::new(threads),
        processor: Arc::new(Semaphore::new(1)),
        work: Mutex::new(work.to_vec()),
    }
}

fn limit(puma: Puma) -> (Arc<Limit<Puma>>, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    (Arc::new(Limit::new(puma, &LimitConfig::default(), stats.clone())), stats)
}

/// Callers that call again as soon as they have an answer, or a short while after a refusal; how long each answer took,
/// in order.
async fn call_for(
    limit: &Arc<Limit<Puma>>,
    callers: usize,
    endpoint: usize,
    time: Duration,
) -> Vec<Duration> {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let limit = limit.clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < end {
                let began = Instant::now();
                match call(&limit, endpoint, Duration::from_secs(10)).await {
                    Ok(()) => waits.push(began.elapsed()),
                    Err(_) => sleep(ms(100)).await,
                }
            }
            waits
        });
    }
    let mut all: Vec<_> = tasks.join_all().await.concat();
    all.sort();
    all
}

async fn call(limit: &Limit<Puma>, endpoint: usize, time: Duration) -> Result<(), Error> {
    let terms = Terms::new(endpoint, Deadline::after(time));
    limit.exchange(Request::new(Bytes::new()), &terms).await.map(drop)
}

/// The limits that are found while 64 callers call, and the part of the best possible throughput that they get.
async fn found(threads: usize, callers: usize, computes: Duration, waits: Duration) -> (Vec<usize>, f64) {
    fastrand::seed(1);
    let (limit, stats) = limit(puma(threads, &[(computes, waits)]));
    call_for(&limit, callers, 0, Duration::from_secs(20)).await;
    let (mut limits, mut answers) = (Vec::new(), 0);
    for _ in 0..10 {
        answers += call_for(&limit, callers, 0, Duration::from_secs(4)).await.len();
        limits.push(stats.snapshot().limit);
    }
    let slowest = computes.max((computes + waits) / u32::try_from(threads).unwrap());
    #[allow(clippy::cast_precision_loss)]
    let part = answers as f64 * slowest.as_secs_f64() / 40.0;
    (limits, part)
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_five_threads_that_wait_for_a_database_is_found() {
    let (limits, throughput) = found(5, 64, ms(0), ms(20)).await;
    assert!(limits.iter().all(|limit| (5..=9).contains(limit)), "{limits:?}");
    assert!(throughput > 0.95, "{throughput}");
}

/// Ruby runs one thread at a time: five of them are no faster than two, if they do nothing but compute.
#[tokio::test(start_paused = true)]
async fn the_limit_of_five_threads_that_compute_is_found() {
    let (limits, throughput) = found(5, 64, ms(8), ms(2)).await;
    assert!(limits.iter().all(|limit| (3..=6).contains(limit)), "{limits:?}");
    assert!(throughput > 0.93, "{throughput}");
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_large_cluster_is_found() {
    let (limits, throughput) = found(60, 300, ms(0), ms(20)).await;
    assert!(limits.iter().all(|limit| (60..=100).contains(limit)), "{limits:?}");
    assert!(throughput > 0.95, "{throughput}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_takes_half_of_the_places_at_most() {
    fastrand::seed(1);
    let work = [(ms(1), ms(10)), (ms(0), ms(500))];
    let (alone, _) = limit(puma(5, &work));
    call_for(&alone, 4, 0, Duration::from_secs(30)).await;
    let (both, stats) = limit(puma(5, &work));
    call_for(&both, 4, 0, Duration::from_secs(30)).await;
    let time = Duration::from_secs(60);
    let alone = call_for(&alone, 4, 0, time).await;
    let (fast, slow) = tokio::join!(call_for(&both, 4, 0, time), call_for(&both, 30, 1, time));
    let p99 = |waits: &[Duration]| waits[waits.len() * 99 / 100];
    assert!(p99(&fast) < p99(&alone) * 4, "{:?} beside {:?}", p99(&fast), p99(&alone));
    assert!(slow.len() > 100, "{}", slow.len());
    // Without a share, thirty callers that wait for half a second each would have all places nearly all the time.
    assert!(fast.len() * 3 > alone.len(), "{} of {}", fast.len(), alone.len());
    assert!(stats.snapshot().of(Event::Refused) > 0);
}

/// Slow calls hold all places for half a second when a moment of calm begins, if nobody sees to it that they do not; places
/// that they hold come free again, which is no reason to refuse what is fast.
#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_neither_gets_the_others_refused_nor_slows_them() {
    fastrand::seed(1);
    let (limit, _) = limit(puma(5, &[(ms(2), ms(3)), (ms(0), ms(500))]));
    let (fast, slow) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let took = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    // One call of twenty is slow.
    for _ in 0..64 {
        let (limit, fast, slow, took) = (limit.clone(), fast.clone(), slow.clone(), took.clone());
        callers.spawn(async move {
            let end = Instant::now() + Duration::from_secs(60);
            while Instant::now() < end {
                let endpoint = usize::from(fastrand::usize(..20) == 0);
                let began = Instant::now();
                if call(&limit, endpoint, Duration::from_secs(30)).await.is_err() {
                    [&fast, &slow][endpoint].fetch_add(1, Ordering::Relaxed);
                    sleep(ms(100)).await;
                } else if endpoint == 0 {
                    took.lock().unwrap().push(began.elapsed());
                }
            }
        });
    }
    callers.join_all().await;
    let mut took = took.lock().unwrap();
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    assert!(p99 < ms(300), "{p99:?}");
    let refused = (fast.load(Ordering::Relaxed), slow.load(Ordering::Relaxed));
    // What is slow waits for its share, which is too small for all of it.
    assert!(refused.0 == 0 && refused.1 > 0, "{refused:?}");
}

/// A check of versions that takes a millisecond makes everything else slow in comparison, which is no reason to keep half
/// of the places for it.
#[tokio::test(start_paused = true)]
async fn a_fast_endpoint_that_is_hardly_used_takes_no_places_from_the_others() {
    fastrand::seed(1);
    let (limit, _) = limit(puma(60, &[(ms(0), ms(1)), (ms(0), ms(50))]));
    let checks = limit.clone();
    let checks = tokio::spawn(async move {
        for _ in 0..60 {
            call(&checks, 0, Duration::from_secs(10)).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    });
    call_for(&limit, 300, 1, Duration::from_secs(30)).await;
    let answers = call_for(&limit, 300, 1, Duration::from_secs(20)).await.len();
    // Sixty threads give 1200 a second.
    assert!(answers > 20 * 1100, "{answers}");
    checks.await.unwrap();
}

/// A second from somewhere else is no load, and fewer requests do not make it less.
#[tokio::test(start_paused = true)]
async fn an_api_that_only_answers_later_is_not_asked_less() {
    fastrand::seed(1);
    let (limit, stats) = limit(puma(200, &[(ms(0), ms(20))]));
    call_for(&limit, 64, 0, Duration::from_secs(30)).await;
    let before = stats.snapshot().limit;
    limit.inner.work.lock().unwrap()[0] = (ms(0), ms(1000));
    let answers = call_for(&limit, 64, 0, Duration::from_secs(30)).await.len();
    assert!(answers > 1000, "{answers} with a limit of {before}, and of {} then", stats.snapshot().limit);
}

/// What is known of calm is worth nothing any more, and would let in far too many.
#[tokio::test(start_paused = true)]
async fn an_api_that_answers_sooner_again_is_not_asked_for_more_than_it_can_take() {
    fastrand::seed(1);
    let (limit, stats) = limit(puma(200, &[(ms(4), ms(1000))]));
    call_for(&limit, 64, 0, Duration::from_secs(61)).await;
    assert!(stats.snapshot().limit > 30, "{}", stats.snapshot().limit);
    limit.inner.work.lock().unwrap()[0] = (ms(4), ms(0));
    call_for(&limit, 64, 0, Duration::from_secs(8)).await;
    assert!(stats.snapshot().limit < 8, "{}", stats.snapshot().limit);
}

/// Fills the places and the queue of a limit that has learnt how long requests take: 10 ms each.
async fn filled(config: LimitConfig) -> (Arc<Limit<Puma>>, Arc<Stats>, JoinSet<Result<(), Error>>) {
    let stats = Arc::new(Stats::default());
    let limit = Arc::new(Limit::new(puma(100, &[(ms(0), ms(10))]), &config, stats.clone()));
    for _ in 0..100 {
        call(&limit, 0, Duration::from_secs(10)).await.unwrap();
    }
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let limit = limit.clone();
        calls.spawn(async move { call(&limit, 0, Duration::from_secs(10)).await });
    }
    // Until all of them have a place or a ticket.
    tokio::task::yield_now().await;
    (limit, stats, calls)
}

fn one_at_a_time() -> LimitConfig {
    LimitConfig { concurrency: Some(1), ..LimitConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_refused_at_once_and_told_when_to_come_back() {
    let (limit, stats, calls) = filled(one_at_a_time()).await;
    let began = Instant::now();
    // Nine wait already, which takes about 100 ms with this one.
    let refused = call(&limit, 0, ms(100)).await;
    let Err(Error::ApiBusy { retry_after }) = refused else { panic!("{refused:?}") };
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!((ms(50)..ms(300)).contains(&retry_after), "{retry_after:?}");
    call(&limit, 0, ms(400)).await.unwrap();
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(stats.snapshot().of(Event::Refused), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_takes_nobody() {
    let (limit, stats, calls) = filled(LimitConfig { queue: 9, ..one_at_a_time() }).await;
    assert_eq!(stats.snapshot().waiting, 9);
    assert!(matches!(call(&limit, 0, Duration::from_secs(60)).await, Err(Error::ApiBusy { .. })));
    assert!(calls.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn to_a_queue_that_stands_nobody_is_let_in_who_would_wait_longer_than_configured() {
    fastrand::seed(1);
    let (limit, _) = limit(puma(5, &[(ms(0), ms(100))]));
    // 200 callers would wait four seconds each, and have ten; at first they may.
    let burst = call_for(&limit, 200, 0, Duration::from_secs(4)).await;
    assert!(burst.last().unwrap() > &Duration::from_secs(3), "{burst:?}");
    // Later only those waited so long who came in the first five seconds.
    let standing = call_for(&limit, 200, 0, Duration::from_secs(60)).await;
    let most = standing[standing.len() * 8 / 10];
    assert!(most < ms(1500), "{most:?}");
    // And the API has always something to do.
    assert!(standing.len() > 60 * 50 * 95 / 100, "{}", standing.len());
}

#[tokio::test(start_paused = true)]
async fn who_was_let_in_keeps_its_turn_when_the_api_stalls() {
    fastrand::seed(1);
    let puma = puma(5, &[(ms(10), ms(0))]);
    let processor = puma.processor.clone();
    let (limit, stats) = limit(puma);
    let mut calls = JoinSet::new();
    for _ in 0..400 {
        let limit = limit.clone();
        calls.spawn(async move {
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end {
                let began = Instant::now();
                if call(&limit, 0, Duration::from_secs(10)).await.is_err() {
                    assert_eq!(began.elapsed(), Duration::ZERO, "refused after a wait");
                    sleep(ms(100)).await;
                }
            }
        });
    }
    // By now the queue stands, and is as long as it may be.
    sleep(Duration::from_secs(12)).await;
    assert!(stats.snapshot().waiting > 50, "{:?}", stats.snapshot());
    let stall = processor.acquire().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    drop(stall);
    calls.join_all().await;
    assert!(stats.snapshot().of(Event::Refused) > 0);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_comes_free_nobody_is_let_in_to_wait_for_it() {
    let puma = puma(5, &[(ms(10), ms(0))]);
    let processor = puma.processor.clone();
    let (limit, stats) = limit(puma);
    let _hangs = processor.acquire().await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let limit = limit.clone();
        calls.spawn(async move { call(&limit, 0, Duration::from_secs(60)).await });
    }
    sleep(ms(4900)).await;
    let (began, last) = (Instant::now(), limit.clone());
    let waits = tokio::spawn(async move { call(&last, 0, Duration::from_secs(10)).await });
    sleep(ms(200)).await;
    // It would wait for half of its time in vain, as the one before does.
    let refused = call(&limit, 0, Duration::from_secs(10)).await;
    assert!(matches!(refused, Err(Error::ApiBusy { .. })), "{refused:?}");
    assert_eq!(began.elapsed(), ms(200));
    assert_eq!(stats.snapshot().waiting, 8);
    assert!(matches!(waits.await.unwrap(), Err(Error::ApiBusy { .. })));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_the_queue() {
    let (_, stats, mut calls) = filled(one_at_a_time()).await;
    assert_eq!((stats.snapshot().in_flight, stats.snapshot().waiting), (1, 9));
    calls.shutdown().await;
    assert_eq!(stats.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_given_up_keeps_its_place_while_the_api_works_on_it() {
    let (_, stats, mut calls) = filled(one_at_a_time()).await;
    sleep(ms(4)).await;
    calls.shutdown().await;
    assert_eq!(stats.snapshot().in_flight, 1);
    // It takes about ten milliseconds.
    sleep(ms(12)).await;
    assert_eq!(stats.snapshot().in_flight, 0);
}

proptest! {
    /// Whatever callers do, no place is lost, none is given twice, and everyone hears of its call.
    #[test]
    fn places_are_neither_lost_nor_given_twice(
        places in 1..4_usize,
        callers in prop::collection::vec((0..3_usize, 1..400_u64, 0..300_u64, prop::bool::ANY), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let work = [(ms(0), ms(10)), (ms(0), ms(50)), (ms(0), ms(200))];
            let config = LimitConfig { concurrency: Some(places), ..LimitConfig::default() };
            let stats = Arc::new(Stats::default());
            let limit = Arc::new(Limit::new(puma(places, &work), &config, stats.clone()));
            let mut calls = JoinSet::new();
            for (endpoint, time, at, is_patient) in callers {
                let (limit, stats) = (limit.clone(), stats.clone());
                calls.spawn(async move {
                    sleep(ms(at)).await;
                    // Who is not patient goes away by itself.
                    let given_up = timeout(ms(time), call(&limit, endpoint, ms(time * if is_patient { 4 } else { 2 })));
                    let _ = given_up.await;
                    assert!(stats.snapshot().in_flight <= places);
                });
            }
            calls.join_all().await;
            sleep(Duration::from_secs(10)).await;
            let now = stats.snapshot();
            assert_eq!((now.in_flight, now.waiting), (0, 0));
            call(&limit, 0, ms(1000)).await.unwrap();
        });
    }
}
