//! Callers that ask for the same at the same time, before an API under paused time.

use std::{ops::Range, time::Duration};

use http::{HeaderValue, Response};
use proptest::prelude::*;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    super::{Exchange, Reply, cache::Cache, stats::Stats},
    *,
};
use crate::{config::CacheConfig, deadline::Deadline};

const DEADLINE: Duration = Duration::from_secs(10);

/// An API whose answers are the numbers of the requests. It stops at the deadline, as the layers before a real one do.
struct Api {
    /// How long it is until an answer begins, and until it has come.
    takes: (Duration, Duration),
    fails: bool,
    log: Log,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Flown>>>);

/// A request that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flown {
    line: String,
    sent: Instant,
    /// When the answer began and when it had come.
    answered: Option<Range<Instant>>,
    /// When it was given up.
    cancelled: Option<Instant>,
}

/// Notes that a request was given up, unless it is forgotten.
struct Flying(Log, usize);

struct Bench {
    cache: Arc<Cache<Api>>,
    log: Log,
}

/// The answer, or why there is none, and whether the request was another's.
type Said = (Result<String, String>, bool);

impl Exchange for Api {
    async fn exchange(&self, request: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        let number = self.log.begin(&request);
        let flying = Flying(self.log.clone(), number);
        let answers = async {
            sleep(self.takes.0).await;
            terms.answer_begins();
            let begun = Instant::now();
            sleep(self.takes.1).await;
            begun..Instant::now()
        };
        let answered =
            tokio::select! { answered = answers => answered, limit = over(terms) => return Err(limit) };
        self.log.0.lock().unwrap()[number].answered = Some(answered);
        std::mem::forget(flying);
        if self.fails {
            return Err(Error::Unreachable { detail: number.to_string() });
        }
        Ok(Response::new(number.to_string().into()))
    }
}

/// The end of the time that all who wait have.
async fn over(terms: &Terms) -> Error {
    while !terms.deadline.left().is_zero() {
        sleep_until(terms.deadline.at()).await;
    }
    Error::DeadlineExceeded { limit: Duration::ZERO }
}

impl Log {
    fn begin(&self, request: &Request<Bytes>) -> usize {
        let line = format!("{} {}", request.method(), request.uri());
        let mut log = self.0.lock().unwrap();
        log.push(Flown { line, sent: Instant::now(), answered: None, cancelled: None });
        log.len() - 1
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.0.lock().unwrap()[self.1].cancelled = Some(Instant::now());
    }
}

impl Bench {
    /// Before an API whose answers begin after 60 ms and have come after 100.
    fn new() -> Self {
        Self::before(false)
    }

    fn before(fails: bool) -> Self {
        let log = Log::default();
        let api = Api { takes: (ms(60), ms(40)), fails, log: log.clone() };
        // Nothing is stored, so that only what is shared is.
        let config = CacheConfig { size: 0, ..CacheConfig::default() };
        Self { cache: Arc::new(Cache::new(api, &config, Arc::new(Stats::default()))), log }
    }

    async fn call(&self, request: Request<Bytes>) -> Said {
        call(&self.cache, request, DEADLINE).await
    }

    /// Calls in a task of its own, which has begun when this returns.
    async fn spawn(&self, request: Request<Bytes>, time: Duration) -> JoinHandle<Said> {
        let cache = self.cache.clone();
        let task = tokio::spawn(async move { call(&cache, request, time).await });
        tokio::task::yield_now().await;
        task
    }

    fn flown(&self) -> Vec<Flown> {
        self.log.0.lock().unwrap().clone()
    }

    fn sent(&self) -> usize {
        self.flown().len()
    }
}

async fn call(cache: &Cache<Api>, request: Request<Bytes>, time: Duration) -> Said {
    let reply = cache.reply(request, &Terms::new(0, Deadline::after(time))).await;
    let collapsed = reply.as_ref().is_ok_and(|reply| reply.served.to_string().contains("collapsed"));
    let text = |reply: Reply| String::from_utf8(reply.response.body().to_vec()).unwrap();
    (reply.map(text).map_err(|error| error.reason().into_owned()), collapsed)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn get(path: &str) -> Request<Bytes> {
    with(path, &[])
}

fn with(path: &str, headers: &[(&'static str, &str)]) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = path.parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn verb(verb: &str) -> Request<Bytes> {
    Request::builder().method(verb).uri("/a").body(Bytes::new()).unwrap()
}

fn own(text: &str) -> Said {
    (Ok(text.to_owned()), false)
}

fn shared(text: &str) -> Said {
    (Ok(text.to_owned()), true)
}

/// How many requests are sent for two callers who ask for these at once.
async fn sent_for(one: Request<Bytes>, other: Request<Bytes>) -> usize {
    let bench = Bench::new();
    let _ = tokio::join!(bench.call(one), bench.call(other));
    bench.sent()
}

#[tokio::test(start_paused = true)]
async fn equal_gets_share_one_request() {
    let bench = Bench::new();
    let first = bench.spawn(get("/a?b"), DEADLINE).await;
    let others = (0..63).map(|_| bench.call(get("/a?b")));
    assert_eq!(futures_util::future::join_all(others).await, vec![shared("0"); 63]);
    assert_eq!((first.await.unwrap(), bench.sent()), (own("0"), 1));
}

#[tokio::test(start_paused = true)]
async fn who_shares_an_answer_shares_what_is_made_of_it() {
    let bench = Bench::new();
    let terms = Terms::new(0, Deadline::after(DEADLINE));
    let (one, other) =
        tokio::join!(bench.cache.reply(get("/a"), &terms), bench.cache.reply(get("/a"), &terms));
    assert!(Arc::ptr_eq(&one.unwrap().memo, &other.unwrap().memo));
}

#[tokio::test(start_paused = true)]
async fn what_differs_is_asked_for_by_itself() {
    let cookies = |values: &[&str]| {
        let cookies: Vec<_> = values.iter().map(|value| ("cookie", *value)).collect();
        with("/a", &cookies)
    };
    for (one, other) in [
        (get("/a"), get("/b")),
        (get("/a"), get("/a?")),
        (get("/a?b=1"), get("/a?b=2")),
        (get("/a"), get("/a/")),
        (get("/a"), with("/a", &[("authorization", "Bearer a")])),
        (with("/a", &[("authorization", "Bearer a")]), with("/a", &[("authorization", "Bearer b")])),
        (with("/a", &[("authorization", "Bearer a")]), with("/a", &[("authorization", "bearer a")])),
        (with("/a", &[("x-tenant", "a")]), with("/a", &[("x-tenants", "a")])),
        (with("/a", &[("accept-language", "de")]), with("/a", &[("accept-language", "en")])),
        // The order of several values counts, and how many there are.
        (cookies(&["a", "b"]), cookies(&["b", "a"])),
        (cookies(&["a"]), cookies(&["a", "a"])),
        (cookies(&["a", "b"]), cookies(&["a, b"])),
        (with("/a", &[("x-a", "b"), ("x-b", "")]), with("/a", &[("x-a", ""), ("x-b", "b")])),
    ] {
        let text = format!("{one:?} and {other:?}");
        assert_eq!(sent_for(one, other).await, 2, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_the_order_of_headers_nor_what_names_one_call_makes_a_difference() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (one, other) in [
        (with("/a", &[("x-a", "1"), ("x-b", "2")]), with("/a", &[("x-b", "2"), ("x-a", "1")])),
        (with("/a", &[("x-request-id", "1")]), with("/a", &[("x-request-id", "2")])),
        (with("/a", &[("traceparent", trace), ("tracestate", "a=b")]), get("/a")),
    ] {
        let text = format!("{one:?} and {other:?}");
        assert_eq!(sent_for(one, other).await, 1, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_gets_are_shared() {
    for method in ["HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(sent_for(verb(method), verb(method)).await, 2, "{method}");
    }
    assert_eq!(sent_for(get("/a"), verb("HEAD")).await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_request_goes_on_while_anyone_waits_for_it() {
    let bench = Bench::new();
    let callers = [bench.spawn(get("/a"), DEADLINE).await, bench.spawn(get("/a"), DEADLINE).await];
    let last = bench.spawn(get("/a"), DEADLINE).await;
    for caller in callers {
        sleep(ms(10)).await;
        caller.abort();
    }
    assert_eq!((last.await.unwrap(), bench.sent()), (shared("0"), 1));
}

#[tokio::test(start_paused = true)]
async fn the_request_is_given_up_when_the_last_one_leaves() {
    let (bench, began) = (Bench::new(), Instant::now());
    let callers = [bench.spawn(get("/a"), DEADLINE).await, bench.spawn(get("/a"), DEADLINE).await];
    for caller in callers {
        sleep(ms(10)).await;
        assert_eq!(bench.flown()[0].cancelled, None);
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    // Who comes now begins anew.
    assert_eq!(bench.call(get("/a")).await, own("1"));
    assert_eq!(bench.flown()[0].cancelled, Some(began + ms(20)));
}

#[tokio::test(start_paused = true)]
async fn the_longest_deadline_counts() {
    for (first, second, answered) in [(50, 200, 100), (200, 50, 100), (50, 80, 80)] {
        let (bench, began) = (Bench::new(), Instant::now());
        let first = bench.spawn(get("/a"), ms(first)).await;
        let second = bench.spawn(get("/a"), ms(second)).await;
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        let late = (Err("DEADLINE_EXCEEDED".to_owned()), false);
        let expected = if answered == 100 { (own("0"), shared("0")) } else { (late.clone(), late) };
        assert_eq!(((first, second), began.elapsed()), (expected, ms(answered)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_the_answer_has_begun_starts_a_request_that_others_can_share() {
    let bench = Bench::new();
    let first = bench.spawn(get("/a"), DEADLINE).await;
    sleep(ms(59)).await;
    let second = bench.spawn(get("/a"), DEADLINE).await;
    sleep(ms(1)).await;
    let third = bench.spawn(get("/a"), DEADLINE).await;
    // The first one lands, and must not take the third with it.
    sleep(ms(50)).await;
    let fourth = bench.spawn(get("/a"), DEADLINE).await;
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (own("0"), shared("0")));
    assert_eq!((third.await.unwrap(), fourth.await.unwrap()), (own("1"), shared("1")));
    assert_eq!(bench.sent(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_not_kept() {
    let bench = Bench::before(true);
    let failure = || (Err("UPSTREAM_UNREACHABLE".to_owned()), false);
    let both = tokio::join!(bench.call(get("/a")), bench.call(get("/a")));
    assert_eq!((both, bench.sent()), ((failure(), failure()), 1));
    assert_eq!((bench.call(get("/a")).await, bench.sent()), (failure(), 2));
}

#[tokio::test(start_paused = true)]
async fn after_a_write_nobody_joins_what_was_on_its_way() {
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let bench = Bench::new();
        let write = bench.spawn(verb(method), DEADLINE).await;
        sleep(ms(90)).await;
        let before = bench.spawn(get("/a"), DEADLINE).await;
        assert_eq!(write.await.unwrap(), own("0"));
        let after = bench.spawn(get("/a"), DEADLINE).await;
        assert_eq!((before.await.unwrap(), after.await.unwrap()), (own("1"), own("2")), "{method}");
    }
}

/// The API may have done it nevertheless.
#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_is_a_write() {
    let bench = Bench::new();
    let write = bench.spawn(verb("PUT"), DEADLINE).await;
    let before = bench.spawn(get("/a"), DEADLINE).await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    let after = bench.call(get("/a")).await;
    assert_eq!((before.await.unwrap(), after), (own("1"), own("2")));
}

#[tokio::test(start_paused = true)]
async fn what_is_safe_grounds_nothing() {
    let bench = Bench::new();
    let head = bench.spawn(verb("HEAD"), DEADLINE).await;
    sleep(ms(90)).await;
    let first = bench.spawn(get("/a"), DEADLINE).await;
    assert_eq!(head.await.unwrap(), own("0"));
    assert_eq!((bench.call(get("/a")).await, first.await.unwrap()), (shared("1"), own("1")));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_in_the_list() {
    let flights = Arc::new(Flights::new(Arc::default()));
    let terms = Terms::new(0, Deadline::after(DEADLINE));
    let keys: Vec<_> = (0..3).map(|index| Key::of(&get(&format!("/{index}")))).collect();
    // One that ends,
    let (ended, _) = flights.join(&keys[0], &terms, |_| async { Err(Error::UnknownMethod) }).await;
    assert!(ended.is_err() && flights.lock().is_empty());
    // one that is given up,
    let forever = flights.join(&keys[1], &terms, |_| std::future::pending());
    assert!(timeout(ms(1), forever).await.is_err() && flights.lock().is_empty());
    // and one that was never waited for.
    let mut unpolled = Box::pin(flights.join(&keys[2], &terms, |_| std::future::pending()));
    assert!((&mut unpolled).now_or_never().is_none());
    assert_eq!(flights.lock().len(), 1);
    drop(unpolled);
    assert!(flights.lock().is_empty());
}

#[derive(Debug, Clone)]
struct Caller {
    at: u64,
    path: &'static str,
    /// How long it waits; then it goes away by itself, or its deadline is over.
    patience: u64,
    has_deadline: bool,
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let path = prop::sample::select(vec!["/a", "/b"]);
    let caller = (0..400_u64, path, 1..300_u64, any::<bool>());
    let caller =
        caller.prop_map(|(at, path, patience, has_deadline)| Caller { at, path, patience, has_deadline });
    prop::collection::vec(caller, 1..40)
}

/// Calls as the caller does; what it is said, and when it came and went.
async fn ask(cache: Arc<Cache<Api>>, caller: Caller) -> (Caller, Option<Said>, Range<Instant>) {
    sleep(ms(caller.at)).await;
    let (came, patience) = (Instant::now(), ms(caller.patience));
    let time = if caller.has_deadline { patience } else { DEADLINE };
    let said = timeout(patience, call(&cache, get(caller.path), time)).await.ok();
    (caller, said, came..Instant::now())
}

proptest! {
    /// Whoever comes and goes: everyone gets an answer to its own question that had not begun when it came, nobody waits
    /// in vain, and a request lasts as long as there is somebody who waits for it.
    #[test]
    fn sharing_is_seen_by_nobody(callers in callers()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let mut tasks = JoinSet::new();
            for caller in callers {
                tasks.spawn(ask(bench.cache.clone(), caller));
            }
            let asked = tasks.join_all().await;
            let flown = bench.flown();
            for (caller, said, stayed) in &asked {
                // The answer to a request that it had sent itself would have come by then.
                let waited = stayed.end - stayed.start;
                let Some((Ok(number), _)) = said else {
                    assert!(waited <= ms(102), "{caller:?} has waited in vain");
                    continue;
                };
                let flown = &flown[number.parse::<usize>().unwrap()];
                let answered = flown.answered.clone().unwrap();
                assert_eq!(flown.line, format!("GET {}", caller.path));
                assert!(stayed.start <= answered.start && answered.end <= stayed.end, "{caller:?}: {flown:?}");
            }
            for flown in &flown {
                let Some(cancelled) = flown.cancelled else { continue };
                let until = cancelled.min(flown.sent + ms(60));
                let mut stays = asked
                    .iter()
                    .filter(|(caller, _, stayed)| flown.line.ends_with(caller.path) && flown.sent <= stayed.start)
                    .map(|(_, _, stayed)| stayed);
                assert!(stays.clone().any(|stayed| stayed.end == cancelled), "{flown:?}");
                assert!(
                    stays.all(|stayed| !(flown.sent < stayed.start && stayed.start < until) || stayed.end <= cancelled),
                    "{flown:?}"
                );
            }
            assert!(flown.iter().all(|flown| flown.answered.is_some() != flown.cancelled.is_some()));
        });
    }
}
