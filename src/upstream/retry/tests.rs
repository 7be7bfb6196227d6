//! The retries before an API that fails as it is told, under paused time.

use std::ops::Range;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::{
    task::JoinSet,
    time::{advance, timeout},
};

use super::*;
use crate::deadline::Deadline;

const DEADLINE: Duration = Duration::from_secs(10);

type Outcome = Result<Response<Bytes>, Error>;

/// An API that gives these answers and then good ones, at once.
#[derive(Debug, Default)]
struct Api {
    outcomes: Mutex<VecDeque<Outcome>>,
    /// When each attempt came.
    attempts: Mutex<Vec<Instant>>,
}

struct Bench {
    retry: Arc<Retry<Api>>,
    stats: Arc<Stats>,
}

impl Exchange for Api {
    async fn exchange(&self, _: Request<Bytes>, terms: &Terms) -> Outcome {
        terms.request_leaves(Duration::from_secs(3600));
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let outcome = self.outcomes.lock().unwrap().pop_front();
        outcome
            .inspect(|outcome| {
                if outcome.is_ok() {
                    terms.answer_begins()
                }
            })
            .unwrap_or_else(|| Ok(answer(200, &[])))
    }
}

impl Bench {
    fn new(config: &RetryConfig, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let api = Api { outcomes: Mutex::new(outcomes.into_iter().collect()), ..Api::default() };
        let stats = Arc::new(Stats::default());
        Self { retry: Arc::new(Retry::new(api, config, stats.clone())), stats }
    }

    async fn call(&self, terms: &Terms) -> Said {
        said(self.retry.exchange(Request::new(Bytes::new()), terms).await)
    }

    fn attempts(&self) -> Vec<Instant> {
        self.retry.inner.attempts.lock().unwrap().clone()
    }
}

/// The status of an answer, or why there is none.
type Said = Result<u16, String>;

fn said(outcome: Outcome) -> Said {
    outcome.map(|answer| answer.status().as_u16()).map_err(|error| error.reason().into_owned())
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Response<Bytes> {
    let answer = Response::builder().status(status).extension(OnReusedConnection(true));
    headers
        .iter()
        .fold(answer, |answer, (name, value)| answer.header(*name, *value))
        .body(Bytes::new())
        .unwrap()
}

fn lost() -> Outcome {
    Err(Error::ConnectionLost { detail: String::new() })
}

fn attempts(attempts: u32) -> RetryConfig {
    RetryConfig { attempts, ..RetryConfig::default() }
}

fn repeatable(time: Duration) -> Terms {
    let mut terms = Terms::new(0, Deadline::after(time));
    terms.repeatable = true;
    terms
}

/// How the call of which the first attempt has this outcome ends, and how many attempts there were.
async fn after(outcome: Outcome) -> (Said, usize) {
    let bench = Bench::new(&RetryConfig::default(), [outcome]);
    (bench.call(&repeatable(DEADLINE)).await, bench.attempts().len())
}

#[tokio::test(start_paused = true)]
async fn what_was_not_processed_or_need_not_have_been_is_sent_again() {
    let detail = String::new;
    for outcome in [
        Ok(answer(502, &[])),
        Ok(answer(503, &[])),
        Ok(answer(504, &[])),
        Err(Error::Unreachable { detail: detail() }),
        Err(Error::ConnectionLost { detail: detail() }),
        Err(Error::AnswerCutOff { detail: detail() }),
    ] {
        let text = format!("{outcome:?}");
        assert_eq!(after(outcome).await, (Ok(200), 2), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_processed_or_would_not_go_better_is_not_sent_again() {
    for status in [200, 204, 301, 304, 400, 401, 403, 404, 408, 409, 422, 425, 429, 501, 505] {
        assert_eq!(after(Ok(answer(status, &[]))).await, (Ok(status), 1));
    }
    let (limit, retry_after) = (Duration::from_secs(30), Duration::from_millis(1));
    for (error, reason) in [
        (Error::UpstreamTimeout { limit }, "UPSTREAM_TIMEOUT"),
        (Error::DeadlineExceeded { limit }, "DEADLINE_EXCEEDED"),
        (Error::AnswerTooLarge { limit: 1 }, "UPSTREAM_ANSWER_TOO_LARGE"),
        (Error::AnswerUndecodable { detail: String::new() }, "UPSTREAM_ANSWER_UNDECODABLE"),
        (Error::ApiBusy { retry_after }, "UPSTREAM_BUSY"),
        (Error::BreakerShut { retry_after }, "UPSTREAM_FAILING"),
    ] {
        assert_eq!(after(Err(error)).await, (Err(reason.to_owned()), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bare_500_on_a_connection_that_was_used_before_is_a_puma_that_stops() {
    let on_new_connection = || {
        let mut bare = answer(500, &[]);
        bare.extensions_mut().insert(OnReusedConnection(false));
        bare
    };
    for (outcome, tries) in [
        (answer(500, &[]), 2),
        (answer(500, &[("connection", "close"), ("content-length", "0")]), 2),
        (on_new_connection(), 1),
        (answer(500, &[("x-request-id", "a")]), 1),
        (answer(500, &[("x-runtime", "0.1")]), 1),
        (answer(500, &[("content-type", "application/json")]), 1),
    ] {
        let text = format!("{outcome:?}");
        assert_eq!(after(Ok(outcome)).await.1, tries, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_repeated_is() {
    let bench = Bench::new(&RetryConfig::default(), [lost()]);
    let once = Terms::new(0, Deadline::after(DEADLINE));
    assert_eq!(bench.call(&once).await, Err("UPSTREAM_CONNECTION_LOST".to_owned()));
    assert_eq!((bench.attempts().len(), bench.stats.snapshot().of(Event::Retry)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_attempts_than_configured_and_the_last_outcome_is_told() {
    for count in [1, 2, 3, 5] {
        let outcomes = (0..9).map(|index| Ok(answer(502 + index % 2, &[])));
        let bench = Bench::new(&attempts(count), outcomes);
        let last = 502 + (u16::try_from(count).unwrap() - 1) % 2;
        assert_eq!(bench.call(&repeatable(DEADLINE)).await, Ok(last));
        assert_eq!(bench.attempts().len(), count as usize);
        assert_eq!(bench.stats.snapshot().of(Event::Retry), u64::from(count) - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_the_caller_count() {
    for (previous, sent) in [(0, 3), (1, 2), (2, 1), (3, 1), (u32::MAX, 1)] {
        let bench = Bench::new(&attempts(3), (0..9).map(|_| lost()));
        let mut terms = repeatable(DEADLINE);
        terms.previous_attempts = previous;
        assert!(bench.call(&terms).await.is_err());
        assert_eq!(bench.attempts().len(), sent, "after {previous}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_waits_as_long_as_the_api_asks() {
    let bench = Bench::new(&RetryConfig::default(), [Ok(answer(503, &[("retry-after", "3")]))]);
    assert_eq!(bench.call(&repeatable(DEADLINE)).await, Ok(200));
    let attempts = bench.attempts();
    assert_eq!(attempts[1] - attempts[0], Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_time_for_the_pause_is_told_at_once() {
    let bench = Bench::new(&RetryConfig::default(), [Ok(answer(503, &[("retry-after", "10")]))]);
    let began = Instant::now();
    assert_eq!(bench.call(&repeatable(DEADLINE)).await, Ok(503));
    assert_eq!((began.elapsed(), bench.attempts().len()), (Duration::ZERO, 1));
    // And it takes nothing from the budget.
    let counts = bench.stats.snapshot();
    assert_eq!((counts.of(Event::Retry), counts.of(Event::RetryOverBudget)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_pauses_are_full_jitter_that_doubles() {
    fastrand::seed(1);
    let config = RetryConfig { attempts: 4, budget: 1.0 };
    let mut pauses = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..200 {
        let bench = Bench::new(&config, (0..9).map(|_| lost()));
        assert!(bench.call(&repeatable(DEADLINE)).await.is_err());
        for (pauses, attempts) in pauses.iter_mut().zip(bench.attempts().windows(2)) {
            pauses.push((attempts[1] - attempts[0]).as_millis());
        }
    }
    for (pauses, longest) in pauses.iter_mut().zip([50, 100, 200]) {
        pauses.sort_unstable();
        assert!(pauses[0] <= longest / 10, "{pauses:?}");
        // The clock of tokio goes by milliseconds.
        assert!((longest * 4 / 10..=longest * 6 / 10).contains(&pauses[100]), "{pauses:?}");
        assert!((longest * 9 / 10..=longest + 1).contains(&pauses[199]), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_in_the_pause_sends_nothing_more() {
    let bench = Bench::new(&RetryConfig::default(), [Ok(answer(503, &[("retry-after", "3")]))]);
    assert!(timeout(Duration::from_secs(2), bench.call(&repeatable(DEADLINE))).await.is_err());
    advance(DEADLINE).await;
    assert_eq!(bench.attempts().len(), 1);
}

/// Otherwise everyone who comes in the pause would send a request of its own.
#[tokio::test(start_paused = true)]
async fn who_comes_in_the_pause_can_have_the_answer_to_the_next_attempt() {
    let bench = Bench::new(&RetryConfig::default(), [Ok(answer(503, &[("retry-after", "3")]))]);
    let terms = repeatable(DEADLINE);
    let mut call = std::pin::pin!(bench.call(&terms));
    assert!(timeout(Duration::from_secs(2), &mut call).await.is_err());
    assert_eq!((terms.has_begun(), terms.sent()), (false, None));
    assert_eq!(call.await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_bridge_has_ten_retries_in_ten_seconds() {
    let budget = Budget::new(0.2);
    let withdraws = || (0..100).filter(|_| budget.withdraw()).count();
    assert_eq!(withdraws(), 10);
    advance(Duration::from_millis(9_999)).await;
    assert_eq!(withdraws(), 0);
    advance(Duration::from_millis(1)).await;
    assert_eq!(withdraws(), 10);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(withdraws(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_the_part_of_the_calls_that_is_configured() {
    for (part, retries) in [(0.0, 10), (0.05, 15), (0.2, 30), (0.3, 40), (0.7, 80), (1.0, 110)] {
        let budget = Budget::new(part);
        (0..100).for_each(|_| budget.deposit());
        assert_eq!((0..1000).filter(|_| budget.withdraw()).count(), retries, "{part}");
    }
}

/// Calls that come together, after a time.
#[derive(Debug, Clone, Copy)]
struct Burst {
    after: u64,
    calls: usize,
    fail: bool,
}

fn bursts() -> impl Strategy<Value = Vec<Burst>> {
    let after = prop_oneof![0..300_u64, Just(1001_u64), 0..4000_u64];
    let burst = (after, 1..40_usize, prop::bool::weighted(0.7));
    prop::collection::vec(burst.prop_map(|(after, calls, fail)| Burst { after, calls, fail }), 1..60)
}

/// When calls came, when they were repeated, and when a repetition was refused.
#[derive(Debug, Default)]
struct Record {
    calls: Vec<Duration>,
    retries: Vec<Duration>,
    refusals: Vec<Duration>,
}

/// How many of these times, which are in order, are from here to there.
fn count(times: &[Duration], within: Range<Duration>) -> usize {
    times.partition_point(|time| *time < within.end) - times.partition_point(|time| *time < within.start)
}

/// An API of which the calls with an endpoint of 1 fail.
struct Failing;

impl Exchange for Failing {
    async fn exchange(&self, _: Request<Bytes>, terms: &Terms) -> Outcome {
        if terms.endpoint == 1 { lost() } else { Ok(answer(200, &[])) }
    }
}

async fn record(bursts: &[Burst]) -> Record {
    let (mut record, began) = (Record::default(), Instant::now());
    let stats = Arc::new(Stats::default());
    let retry = Arc::new(Retry::new(Failing, &RetryConfig::default(), stats.clone()));
    let mut calls = JoinSet::new();
    for burst in bursts {
        sleep(Duration::from_millis(burst.after)).await;
        for _ in 0..burst.calls {
            let (retry, mut terms) = (retry.clone(), repeatable(DEADLINE));
            terms.endpoint = usize::from(burst.fail);
            let before = stats.snapshot();
            let mut call =
                Box::pin(async move { retry.exchange(Request::new(Bytes::new()), &terms).await.map(drop) });
            // It asks the budget before its first pause.
            let ended = (&mut call).now_or_never();
            record.calls.push(began.elapsed());
            let now = stats.snapshot();
            let more = |event| now.of(event) > before.of(event);
            record.retries.extend(more(Event::Retry).then(|| began.elapsed()));
            record.refusals.extend(more(Event::RetryOverBudget).then(|| began.elapsed()));
            if ended.is_none() {
                calls.spawn(call);
            }
        }
    }
    calls.join_all().await;
    record
}

proptest! {
    /// Whatever fails, and whenever: there are a fifth of the calls and ten besides in ten seconds, and no fewer.
    #[test]
    fn the_budget_is_kept_and_can_be_used(bursts in bursts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let record = runtime.block_on(record(&bursts));
        let since = |now: Duration, seconds| now.saturating_sub(Duration::from_secs(seconds));
        let until = |now: Duration| now + Duration::from_nanos(1);
        for now in &record.retries {
            let retries = count(&record.retries, since(*now, 9)..until(*now));
            let calls = count(&record.calls, since(*now, 10)..until(*now));
            prop_assert!(retries * 5 <= calls + 50, "{} of {} until {:?}", retries, calls, now);
        }
        for now in &record.refusals {
            let retries = count(&record.retries, since(*now, 10)..until(*now));
            let calls = count(&record.calls, since(*now, 9)..*now);
            prop_assert!((retries + 1) * 5 > calls + 50, "{} of {} until {:?}", retries, calls, now);
        }
    }

    #[test]
    fn no_attempt_comes_after_the_deadline(time in 0..400_u64, pause in prop::option::of(0..2_u64)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let outcome = || match pause {
                None => lost(),
                Some(pause) => Ok(answer(503, &[("retry-after", &pause.to_string())])),
            };
            let bench = Bench::new(&RetryConfig { attempts: 6, budget: 1.0 }, (0..9).map(|_| outcome()));
            let (began, time) = (Instant::now(), Duration::from_millis(time));
            let _ = bench.call(&repeatable(time)).await;
            let attempts = bench.attempts();
            assert!(attempts[1..].iter().all(|attempt| *attempt - began < time + Duration::from_millis(1)));
        });
    }
}
