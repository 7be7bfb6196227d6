//! The cache before an origin whose resources have versions, under paused time.

use std::sync::Mutex;

use http::HeaderValue;
use proptest::prelude::*;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{advance, sleep},
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);
/// How long a request takes to get to the origin, and its answer to begin and to come back.
const WAY: [Duration; 3] = [ms(30), ms(20), ms(50)];
const SIZE: usize = 1024 * 1024;

/// An API with as many resources as it is asked for, which all have the same version.
struct Origin(Mutex<State>);

#[derive(Debug)]
struct State {
    version: usize,
    /// When each version came to be, and whether by a write through the cache.
    history: Vec<Instant>,
    validator: Validator,
    /// What else the head of an answer has.
    headers: Vec<(&'static str, String)>,
    does: Does,
    status: u16,
    body_bytes: usize,
    /// What it was asked: method, path, and what was conditional.
    asked: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validator {
    Etag,
    Weak,
    LastModified,
    None,
    /// It answers 304 with the ETag of something else.
    Confused,
}

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer,
    Fail(u16),
    Refuse,
    Break,
    CutOff,
    TimeOut,
    Garble,
    Busy,
    Shut,
    Hang,
}

type Bench = Arc<Cache<Origin>>;

/// The status, the body and how it was come by; or why there is none.
type Said = Result<(u16, String, String), String>;

impl Exchange for Origin {
    async fn exchange(&self, request: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        terms.request_leaves(Duration::from_secs(3600));
        sleep(WAY[0]).await;
        let (does, answer) = self.0.lock().unwrap().answer(&request);
        sleep(WAY[1]).await;
        fails(does).await?;
        terms.answer_begins();
        sleep(WAY[2]).await;
        if does == Does::CutOff {
            return Err(Error::AnswerCutOff { detail: String::new() });
        }
        Ok(answer)
    }
}

async fn fails(does: Does) -> Result<(), Error> {
    let (detail, limit, retry_after) = (String::new(), Duration::ZERO, Duration::ZERO);
    Err(match does {
        Does::Answer | Does::Fail(_) | Does::CutOff => return Ok(()),
        Does::Refuse => Error::Unreachable { detail },
        Does::Break => Error::ConnectionLost { detail },
        Does::TimeOut => Error::UpstreamTimeout { limit },
        Does::Garble => Error::AnswerUndecodable { detail },
        Does::Busy => Error::ApiBusy { retry_after },
        Does::Shut => Error::BreakerShut { retry_after },
        Does::Hang => std::future::pending().await,
    })
}

impl State {
    fn answer(&mut self, request: &Request<Bytes>) -> (Does, Response<Bytes>) {
        let conditions: String = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE]
            .iter()
            .filter_map(|name| Some(format!(" {}", request.headers().get(name)?.to_str().unwrap())))
            .collect();
        self.asked.push(format!("{} {}{conditions}", request.method(), request.uri()));
        let mut answer = Response::new(Bytes::new());
        match self.does {
            Does::Fail(status) => *answer.status_mut() = StatusCode::from_u16(status).unwrap(),
            Does::Answer if !request.method().is_safe() => self.change(),
            Does::Answer | Does::CutOff => self.answer_get(&conditions, &mut answer),
            _ => {}
        }
        (self.does, answer)
    }

    fn answer_get(&self, conditions: &str, answer: &mut Response<Bytes>) {
        let (name, value) = match self.validator {
            Validator::Etag => ("etag", format!("\"{}\"", self.version)),
            Validator::Weak => ("etag", format!("W/\"{}\"", self.version)),
            Validator::LastModified => ("last-modified", date(self.version)),
            Validator::Confused => ("etag", format!("\"{}\"", conditions.len())),
            Validator::None => ("x-none", String::new()),
        };
        let is_confused = self.validator == Validator::Confused && !conditions.is_empty();
        if is_confused || !conditions.is_empty() && conditions.trim_start() == value {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *answer.status_mut() = StatusCode::from_u16(self.status).unwrap();
            let padding = "0".repeat(self.body_bytes - 1);
            *answer.body_mut() = format!("{padding}{}", self.version).into();
        }
        let others = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in others.chain([(name, value.as_str())]) {
            answer.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
    }

    /// There is a new version.
    fn change(&mut self) {
        self.version += 1;
        self.history.push(Instant::now());
    }
}

/// The day on which a version was made.
fn date(version: usize) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400) * u32::try_from(version).unwrap();
    httpdate::fmt_http_date(time)
}

fn bench(config: &CacheConfig) -> Bench {
    let state = State {
        version: 0,
        history: vec![Instant::now()],
        validator: Validator::Etag,
        headers: Vec::new(),
        does: Does::Answer,
        status: 200,
        body_bytes: 1,
        asked: Vec::new(),
    };
    Arc::new(Cache::new(Origin(Mutex::new(state)), config, Arc::new(Stats::default())))
}

/// Before an origin that sends these headers.
fn bench_with(config: &CacheConfig, headers: &[(&'static str, &str)]) -> Bench {
    let bench = bench(config);
    set(&bench, |origin| {
        origin.headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    });
    bench
}

fn set<T>(bench: &Bench, change: impl FnOnce(&mut State) -> T) -> T {
    change(&mut bench.inner.inner.0.lock().unwrap())
}

/// What the origin was asked since the last time.
fn asked(bench: &Bench) -> Vec<String> {
    set(bench, |origin| std::mem::take(&mut origin.asked))
}

fn terms() -> Terms {
    Terms::new(0, Deadline::after(DEADLINE))
}

fn with_ttl(seconds: u64) -> Terms {
    let mut terms = terms();
    terms.ttl = Some(Duration::from_secs(seconds));
    terms
}

fn request(method: &str, path: &str) -> Request<Bytes> {
    Request::builder().method(method).uri(path).body(Bytes::new()).unwrap()
}

async fn call(bench: &Bench, request: Request<Bytes>, terms: &Terms) -> Said {
    let reply = bench.reply(request, terms).await.map_err(|error| error.reason().into_owned())?;
    let body = String::from_utf8(reply.response.body().to_vec()).unwrap();
    Ok((reply.response.status().as_u16(), body, reply.served.to_string()))
}

async fn get(bench: &Bench, terms: &Terms) -> Said {
    call(bench, request("GET", "/a"), terms).await
}

async fn put(bench: &Bench) {
    call(bench, request("PUT", "/a"), &terms()).await.unwrap();
}

/// A GET in a task of its own, which has begun when this returns.
async fn spawn(bench: &Bench, terms: Terms) -> JoinHandle<Said> {
    let bench = bench.clone();
    let task = tokio::spawn(async move { get(&bench, &terms).await });
    tokio::task::yield_now().await;
    task
}

fn said(body: &str, served: &str) -> Said {
    Ok((200, body.to_owned(), served.to_owned()))
}

fn stored(body: &str) -> Said {
    said(body, "fwd=uri-miss; stored")
}

fn confirmed(body: &str) -> Said {
    said(body, "fwd=stale; fwd-status=304; stored")
}

fn hit(body: &str) -> Said {
    said(body, "hit")
}

fn stale(body: &str) -> Said {
    said(body, "hit; detail=stale")
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn revalidates() -> CacheConfig {
    CacheConfig { size: SIZE, ..CacheConfig::default() }
}

fn by_api() -> CacheConfig {
    CacheConfig { freshness: Freshness::Api, ..revalidates() }
}

fn stale_if_error(seconds: u64) -> CacheConfig {
    CacheConfig { stale_if_error: Duration::from_secs(seconds), ..revalidates() }
}

fn stale_while_revalidate(seconds: u64) -> CacheConfig {
    CacheConfig { stale_while_revalidate: Duration::from_secs(seconds), ..revalidates() }
}

// === Revalidation ===

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_and_confirmed_each_time() {
    for (validator, condition) in [
        (Validator::Etag, "\"0\"".to_owned()),
        (Validator::Weak, "W/\"0\"".to_owned()),
        (Validator::LastModified, date(0)),
    ] {
        let bench = bench(&revalidates());
        set(&bench, |origin| origin.validator = validator);
        assert_eq!(get(&bench, &terms()).await, stored("0"));
        assert_eq!(get(&bench, &terms()).await, confirmed("0"));
        assert_eq!(get(&bench, &terms()).await, confirmed("0"));
        let revalidation = format!("GET /a {condition}");
        assert_eq!(asked(&bench), ["GET /a", &revalidation, &revalidation], "{validator:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_answer_replaces_the_one_that_is_kept() {
    let bench = bench(&revalidates());
    get(&bench, &terms()).await.unwrap();
    set(&bench, State::change);
    assert_eq!(get(&bench, &terms()).await, said("1", "fwd=stale; stored"));
    assert_eq!(get(&bench, &terms()).await, confirmed("1"));
    assert_eq!(asked(&bench), ["GET /a", "GET /a \"0\"", "GET /a \"1\""]);
}

#[tokio::test(start_paused = true)]
async fn what_is_made_of_an_answer_is_made_once_for_as_long_as_it_is_confirmed() {
    let (bench, made) = (bench(&revalidates()), AtomicU64::new(0));
    let make = async || {
        let reply = bench.reply(request("GET", "/a"), &terms()).await.unwrap();
        let body = reply.response.body().clone();
        let make = || async {
            made.fetch_add(1, Ordering::Relaxed);
            Ok::<_, ()>(body)
        };
        reply.memo.get_or_try_make(make).await.unwrap().cloned()
    };
    for _ in 0..3 {
        assert_eq!(make().await, Some(Bytes::from("0")));
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
    set(&bench, State::change);
    assert_eq!((make().await, made.load(Ordering::Relaxed)), (Some(Bytes::from("1")), 2));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_made_is_tried_again_and_what_is_of_another_type_is_not_given() {
    let memo = Memo::default();
    assert_eq!(memo.get_or_try_make(|| async { Err::<u8, _>("no") }).await, Err("no"));
    assert_eq!(memo.get_or_try_make(|| async { Ok::<_, ()>(1_u8) }).await, Ok(Some(&1)));
    assert_eq!(memo.get_or_try_make(|| async { Err::<u8, _>("no") }).await, Ok(Some(&1)));
    assert_eq!(memo.get_or_try_make(|| async { Ok::<_, ()>(2_u16) }).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn who_asks_at_the_same_time_shares_one_revalidation() {
    let bench = bench(&revalidates());
    get(&bench, &terms()).await.unwrap();
    let first = spawn(&bench, terms()).await;
    assert_eq!(get(&bench, &terms()).await, said("0", "fwd=stale; fwd-status=304; stored; collapsed"));
    assert_eq!((first.await.unwrap(), asked(&bench).len()), (confirmed("0"), 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_it_is_not_for_all_is_shared_with_nobody() {
    let bench = bench_with(&revalidates(), &[("vary", "X-Forwarded-For")]);
    let first = spawn(&bench, terms()).await;
    assert_eq!(get(&bench, &terms()).await, said("0", "fwd=uri-miss"));
    assert_eq!((first.await.unwrap(), asked(&bench).len()), (said("0", "fwd=uri-miss"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_304_that_confirms_something_else_is_not_believed() {
    let bench = bench(&revalidates());
    get(&bench, &terms()).await.unwrap();
    set(&bench, |origin| (origin.version, origin.validator) = (1, Validator::Confused));
    assert_eq!(get(&bench, &terms()).await, said("1", "fwd=stale; stored"));
    assert_eq!(asked(&bench), ["GET /a", "GET /a \"0\"", "GET /a"]);
}

/// RFC 9111, section 3.2; but the message was made of the old body, so that this must go on being described as it was.
#[tokio::test(start_paused = true)]
async fn a_304_brings_a_new_head_for_the_old_body() {
    let head = |reply: &Reply| {
        let names = ["cache-control", "content-type", "content-length", "link", "x-new", "x-old"];
        let of = |name| {
            let values = reply.response.headers().get_all(name).iter().map(|value| value.to_str().unwrap());
            values.collect::<Vec<_>>().join(" | ")
        };
        names.map(of)
    };
    let old =
        [("cache-control", "no-cache"), ("content-type", "application/json"), ("x-old", "1"), ("link", "a")];
    let bench = bench_with(&revalidates(), &[&old[..], &[("link", "b"), ("content-length", "1")]].concat());
    let reply = bench.reply(request("GET", "/a"), &terms()).await.unwrap();
    assert_eq!(head(&reply), ["no-cache", "application/json", "1", "a | b", "", "1"]);
    let new = [
        ("cache-control", "max-age=9"),
        ("content-type", "text/html"),
        ("content-length", "0"),
        ("x-new", "2"),
    ];
    set(&bench, |origin| origin.headers = new.map(|(name, value)| (name, value.to_owned())).into());
    for _ in 0..2 {
        let reply = bench.reply(request("GET", "/a"), &terms()).await.unwrap();
        assert_eq!(head(&reply), ["max-age=9", "application/json", "1", "a | b", "2", "1"]);
        assert_eq!((reply.response.status(), &reply.response.body()[..]), (StatusCode::OK, &b"0"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_can_forbid_to_keep_what_it_confirms() {
    for headers in [vec![], vec![("cache-control", "private")]] {
        let bench = bench_with(&revalidates(), &headers);
        get(&bench, &terms()).await.unwrap();
        set(&bench, |origin| origin.headers = vec![("cache-control", "no-store".to_owned())]);
        assert_eq!(get(&bench, &terms()).await, said("0", "fwd=stale; fwd-status=304"));
        assert_eq!(get(&bench, &terms()).await, said("0", "fwd=uri-miss"));
    }
}

// === What is stored, and for how long ===

#[tokio::test(start_paused = true)]
async fn the_api_decides_what_is_kept() {
    for (header, is_kept) in [
        (("cache-control", "no-cache"), true),
        (("cache-control", "private"), true),
        (("cache-control", "max-age=0, private, must-revalidate"), true),
        (("pragma", "no-cache"), true),
        (("vary", "accept, authorization"), true),
        (("cache-control", "no-store"), false),
        (("cache-control", "No-Store"), false),
        (("cache-control", "private, max-age=60, no-store"), false),
        (("vary", "*"), false),
        (("vary", "accept, *"), false),
        // This is not what requests are told apart by.
        (("vary", "X-Request-Id"), false),
    ] {
        let bench = bench_with(&revalidates(), &[header]);
        let second = if is_kept { confirmed("0") } else { said("0", "fwd=uri-miss") };
        get(&bench, &terms()).await.unwrap();
        assert_eq!(get(&bench, &terms()).await, second, "{header:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_confirmed_is_kept_only_if_it_may_be_stale() {
    for (config, is_kept) in [
        (revalidates(), false),
        (by_api(), false),
        (stale_if_error(60), true),
        (stale_while_revalidate(60), true),
    ] {
        let bench = bench(&config);
        set(&bench, |origin| origin.validator = Validator::None);
        let expected = if is_kept { stored("0") } else { said("0", "fwd=uri-miss") };
        assert_eq!(get(&bench, &terms()).await, expected, "{config:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_room_nothing_is_kept() {
    let bench = bench_with(&CacheConfig { size: 0, ..by_api() }, &[("cache-control", "max-age=60")]);
    for _ in 0..2 {
        assert_eq!(get(&bench, &with_ttl(60)).await, said("0", "fwd=uri-miss"));
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_even_what_is_fresh_is_confirmed() {
    let bench = bench_with(&revalidates(), &[("cache-control", "max-age=60")]);
    get(&bench, &terms()).await.unwrap();
    assert_eq!(get(&bench, &terms()).await, confirmed("0"));
}

/// The time counts from when the request was sent, for the answer may be as old as that (RFC 9111, section 4.2.3).
#[tokio::test(start_paused = true)]
async fn an_answer_is_served_for_as_long_as_the_api_says() {
    let bench = bench_with(&by_api(), &[("cache-control", "max-age=60"), ("age", "10")]);
    get(&bench, &terms()).await.unwrap();
    set(&bench, State::change);
    advance(Duration::from_millis(49_890)).await;
    assert_eq!(get(&bench, &terms()).await, hit("0"));
    advance(ms(10)).await;
    assert_eq!(get(&bench, &terms()).await, said("1", "fwd=stale; stored"));
}

#[tokio::test(start_paused = true)]
async fn a_304_makes_an_answer_fresh_again() {
    let bench = bench_with(&by_api(), &[("cache-control", "max-age=60")]);
    get(&bench, &terms()).await.unwrap();
    advance(Duration::from_secs(60)).await;
    assert_eq!(get(&bench, &terms()).await, confirmed("0"));
    assert_eq!(get(&bench, &terms()).await, hit("0"));
}

#[tokio::test(start_paused = true)]
async fn each_way_to_say_how_long_is_understood() {
    for (headers, is_fresh) in [
        (vec![("cache-control", "max-age=60")], true),
        (vec![("cache-control", "private, max-age=60")], true),
        (vec![("cache-control", "Max-Age=60")], true),
        (vec![("cache-control", "max-age=18446744073709551615")], true),
        (vec![("date", "Mon, 23 Nov 2026 05:30:00 GMT"), ("expires", "Mon, 23 Nov 2026 05:31:00 GMT")], true),
        (vec![], false),
        (vec![("cache-control", "max-age=0")], false),
        (vec![("cache-control", "max-age=a")], false),
        (vec![("cache-control", "max-age=60, no-cache")], false),
        (vec![("cache-control", "s-maxage=60")], false),
        (vec![("cache-control", "max-age=60"), ("age", "60")], false),
        (vec![("cache-control", "max-age=60"), ("vary", "*")], false),
        (vec![("cache-control", "max-age=60"), ("vary", "accept, *")], false),
        (vec![("expires", "0")], false),
        (vec![("last-modified", "Mon, 23 Nov 2020 05:30:00 GMT")], false),
    ] {
        let bench = bench_with(&by_api(), &headers);
        get(&bench, &terms()).await.unwrap();
        assert_eq!(get(&bench, &terms()).await == hit("0"), is_fresh, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_time_counts_more_than_what_the_api_says_but_for_no_store() {
    for (config, header, is_fresh) in [
        (revalidates(), "max-age=0, private, must-revalidate", true),
        (revalidates(), "no-cache", true),
        (by_api(), "max-age=1", true),
        (revalidates(), "no-store", false),
    ] {
        let bench = bench_with(&config, &[("cache-control", header)]);
        set(&bench, |origin| origin.validator = Validator::None);
        get(&bench, &with_ttl(60)).await.unwrap();
        advance(Duration::from_millis(59_899)).await;
        assert_eq!(get(&bench, &with_ttl(60)).await == hit("0"), is_fresh, "{header}");
        advance(ms(1)).await;
        assert_ne!(get(&bench, &with_ttl(60)).await, hit("0"), "{header}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_time_can_be_none() {
    let bench = bench_with(&by_api(), &[("cache-control", "max-age=60")]);
    get(&bench, &with_ttl(0)).await.unwrap();
    assert_eq!(get(&bench, &with_ttl(0)).await, confirmed("0"));
}

/// Two methods can ask for the same URL.
#[tokio::test(start_paused = true)]
async fn the_time_that_is_configured_for_one_method_is_not_that_of_another() {
    let bench = bench(&revalidates());
    get(&bench, &with_ttl(60)).await.unwrap();
    assert_eq!(get(&bench, &with_ttl(60)).await, hit("0"));
    assert_eq!(get(&bench, &terms()).await, confirmed("0"));
    assert_eq!(get(&bench, &with_ttl(60)).await, hit("0"));
}

#[tokio::test(start_paused = true)]
async fn errors_are_kept_only_if_the_api_says_how_long() {
    for (status, header, second) in [
        (404, "max-age=60", "hit"),
        (404, "no-cache", "fwd=uri-miss"),
        (403, "max-age=60", "fwd=uri-miss"),
        (500, "max-age=60", "fwd=uri-miss"),
        (501, "max-age=60", "fwd=uri-miss"),
        (503, "max-age=60", "fwd=uri-miss"),
    ] {
        let bench = bench_with(&by_api(), &[("cache-control", header)]);
        set(&bench, |origin| origin.status = status);
        get(&bench, &terms()).await.unwrap();
        let second = Ok((status, "0".to_owned(), second.to_owned()));
        assert_eq!(get(&bench, &terms()).await, second, "{status} {header}");
    }
    let bench = bench(&revalidates());
    set(&bench, |origin| origin.status = 404);
    for _ in 0..2 {
        assert_eq!(get(&bench, &with_ttl(60)).await, Ok((404, "0".to_owned(), "fwd=uri-miss".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_not_be_kept_takes_away_the_one_that_was() {
    let bench = bench(&revalidates());
    get(&bench, &terms()).await.unwrap();
    set(&bench, |origin| origin.status = 404);
    set(&bench, State::change);
    get(&bench, &terms()).await.unwrap();
    set(&bench, |origin| origin.status = 200);
    assert_eq!(get(&bench, &terms()).await, stored("1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_one_credential_is_kept_for_no_other() {
    let bench = bench_with(&by_api(), &[("cache-control", "public, max-age=60")]);
    let get_as = async |name: &str| {
        let mut request = request("GET", "/a");
        request.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_str(name).unwrap());
        call(&bench, request, &terms()).await
    };
    assert_eq!(get_as("Bearer a").await, stored("0"));
    assert_eq!(get_as("Bearer b").await, stored("0"));
    assert_eq!(get(&bench, &terms()).await, stored("0"));
    assert_eq!((get_as("Bearer a").await, get_as("Bearer b").await), (hit("0"), hit("0")));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_get_goes_past_it() {
    for method in ["HEAD", "POST", "PUT", "DELETE"] {
        let bench = bench_with(&by_api(), &[("cache-control", "max-age=60")]);
        for _ in 0..2 {
            let served = call(&bench, request(method, "/a"), &with_ttl(60)).await.unwrap().2;
            assert_eq!(served, "fwd=bypass");
        }
        assert_eq!(asked(&bench), [format!("{method} /a"), format!("{method} /a")]);
    }
}

// === Stale answers ===

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_served_while_it_is_asked_for_anew() {
    let bench = bench(&stale_while_revalidate(10));
    get(&bench, &terms()).await.unwrap();
    set(&bench, State::change);
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(get(&bench, &terms()).await, stale("0"));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(ms(99)).await;
    assert_eq!(get(&bench, &terms()).await, stale("0"));
    sleep(ms(99)).await;
    // They have sent one request, although the last came when its answer had begun.
    assert_eq!(asked(&bench), ["GET /a", "GET /a \"0\""]);
    assert_eq!(get(&bench, &terms()).await, stale("1"));
    // What is too old is not served any more.
    sleep(Duration::from_secs(11)).await;
    set(&bench, State::change);
    assert_eq!(get(&bench, &terms()).await, said("2", "fwd=stale; stored"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_tried_again_and_takes_nothing_away() {
    for does in [Does::Refuse, Does::Fail(500), Does::Fail(503), Does::CutOff, Does::Busy] {
        let bench = bench(&stale_while_revalidate(10));
        get(&bench, &terms()).await.unwrap();
        set(&bench, |origin| origin.does = does);
        for _ in 0..3 {
            assert_eq!(get(&bench, &terms()).await, stale("0"), "{does:?}");
            sleep(ms(101)).await;
        }
        assert_eq!(asked(&bench).len(), 4, "{does:?}");
    }
}

/// Nobody waits for a refresh; it must not last for ever either.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_is_given_up() {
    let bench = bench(&stale_while_revalidate(100));
    get(&bench, &terms()).await.unwrap();
    set(&bench, |origin| origin.does = Does::Hang);
    get(&bench, &terms()).await.unwrap();
    sleep(BACKGROUND_TIME + ms(1)).await;
    set(&bench, |origin| origin.does = Does::Answer);
    assert_eq!(get(&bench, &terms()).await, stale("0"));
    sleep(ms(101)).await;
    assert_eq!(asked(&bench).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_served_for_as_long_as_the_api_fails() {
    for does in [
        Does::Fail(500),
        Does::Fail(502),
        Does::Fail(503),
        Does::Fail(504),
        Does::Refuse,
        Does::Break,
        Does::CutOff,
        Does::TimeOut,
        Does::Garble,
        Does::Busy,
        Does::Shut,
        Does::Hang,
    ] {
        let bench = bench(&stale_if_error(60));
        get(&bench, &terms()).await.unwrap();
        set(&bench, |origin| origin.does = does);
        for _ in 0..3 {
            let began = Instant::now();
            assert_eq!(get(&bench, &terms()).await, stale("0"), "{does:?}");
            assert!(began.elapsed() < DEADLINE, "{does:?}");
        }
        assert_eq!(bench.inner.stats.snapshot().of(Event::CacheStale), 3);
        advance(Duration::from_secs(60)).await;
        if does != Does::Hang {
            let failed = get(&bench, &terms()).await;
            assert!(!matches!(failed, Ok((200, ..))), "{does:?}: {failed:?}");
        }
        // When it answers again it is asked again.
        set(&bench, |origin| (origin.does, origin.version) = (Does::Answer, 1));
        assert_eq!(get(&bench, &terms()).await, said("1", "fwd=stale; stored"), "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_hangs_is_given_up_before_the_deadline() {
    let bench = bench(&stale_if_error(60));
    get(&bench, &terms()).await.unwrap();
    set(&bench, |origin| origin.does = Does::Hang);
    let began = Instant::now();
    assert_eq!(get(&bench, &terms()).await, stale("0"));
    assert!((ms(9500)..ms(9502)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_no_failure() {
    for status in [301, 401, 404, 422, 429] {
        let bench = bench(&stale_if_error(60));
        get(&bench, &terms()).await.unwrap();
        set(&bench, |origin| origin.does = Does::Fail(status));
        assert_eq!(get(&bench, &terms()).await.unwrap().0, status);
    }
}

#[tokio::test(start_paused = true)]
async fn without_being_configured_no_failure_is_hidden() {
    let bench = bench(&revalidates());
    get(&bench, &terms()).await.unwrap();
    set(&bench, |origin| origin.does = Does::Fail(500));
    assert_eq!(get(&bench, &terms()).await.unwrap().0, 500);
    set(&bench, |origin| origin.does = Does::Refuse);
    assert_eq!(get(&bench, &terms()).await, Err("UPSTREAM_UNREACHABLE".to_owned()));
    // What is kept is still good for being confirmed.
    set(&bench, |origin| origin.does = Does::Answer);
    assert_eq!(get(&bench, &terms()).await, confirmed("0"));
}

// === Writes ===

#[tokio::test(start_paused = true)]
async fn after_a_write_everything_is_confirmed_before_it_is_served() {
    for config in [by_api(), stale_while_revalidate(60), stale_if_error(60)] {
        let bench = bench_with(&config, &[("cache-control", "max-age=60")]);
        let other = async || call(&bench, request("GET", "/b"), &terms()).await;
        get(&bench, &terms()).await.unwrap();
        other().await.unwrap();
        put(&bench).await;
        assert_eq!(get(&bench, &terms()).await, said("1", "fwd=stale; stored"), "{config:?}");
        assert_eq!(other().await, said("1", "fwd=stale; stored"), "{config:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_write_nothing_stale_hides_a_failure() {
    let bench = bench(&stale_if_error(60));
    get(&bench, &terms()).await.unwrap();
    put(&bench).await;
    set(&bench, |origin| origin.does = Does::Refuse);
    assert_eq!(get(&bench, &terms()).await, Err("UPSTREAM_UNREACHABLE".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_during_a_write_is_not_served_after_it() {
    let bench = bench(&revalidates());
    let before = spawn(&bench, with_ttl(60)).await;
    // The origin has made this answer, and then changes.
    sleep(ms(40)).await;
    put(&bench).await;
    assert_eq!(before.await.unwrap(), stored("0"));
    assert_eq!(get(&bench, &with_ttl(60)).await, said("1", "fwd=stale; stored"));
    assert_eq!(get(&bench, &with_ttl(60)).await, hit("1"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_a_write() {
    for does in [Does::Fail(422), Does::Fail(500), Does::Break, Does::TimeOut] {
        let bench = bench(&revalidates());
        get(&bench, &with_ttl(60)).await.unwrap();
        set(&bench, |origin| origin.does = does);
        let _ = call(&bench, request("PUT", "/a"), &terms()).await;
        set(&bench, |origin| origin.does = Does::Answer);
        assert_eq!(get(&bench, &with_ttl(60)).await, confirmed("0"), "{does:?}");
    }
}

/// One that began before the answer had come can begin to answer first: the later one is the newer one.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_asked_for_earlier_does_not_replace_a_newer_one() {
    let bench = bench(&revalidates());
    let inner = &bench.inner;
    let key = Key::of(&request("GET", "/a"));
    let terms = with_ttl(60);
    let mut early = Box::pin(inner.fetch(key.clone(), request("GET", "/a"), None, &terms));
    assert!(timeout(ms(90), &mut early).await.is_err());
    set(&bench, State::change);
    let terms = with_ttl(60);
    let mut late = Box::pin(inner.fetch(key, request("GET", "/a"), None, &terms));
    late.as_mut().await.unwrap();
    early.await.unwrap();
    assert_eq!(get(&bench, &with_ttl(60)).await, hit("1"));
}

// === Size ===

#[tokio::test(start_paused = true)]
async fn it_takes_no_more_memory_than_configured() {
    let bench = bench(&revalidates());
    set(&bench, |origin| origin.body_bytes = 2000);
    let store = bench.inner.store.as_ref().unwrap();
    for index in 0..1000 {
        let path = format!("/{index}");
        assert_eq!(call(&bench, request("GET", &path), &terms()).await.unwrap().2, "fwd=uri-miss; stored");
        // Twice the body at least.
        assert!(store.weight() <= SIZE as u64 && store.len() <= SIZE / 4000, "{index}");
    }
    assert!(store.len() > SIZE / 8000, "{}", store.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_a_part_of_it_takes_away_what_it_replaces() {
    let bench = bench(&stale_if_error(60));
    get(&bench, &terms()).await.unwrap();
    set(&bench, |origin| origin.body_bytes = SIZE);
    set(&bench, State::change);
    let (_, _, served) = get(&bench, &terms()).await.unwrap();
    assert_eq!(served, "fwd=stale");
    assert_eq!(bench.inner.store.as_ref().unwrap().len(), 0);
}

// === Property ===

#[derive(Debug, Clone, Copy)]
enum Happens {
    Get {
        patience: u64,
        has_ttl: bool,
    },
    Put,
    /// Somebody else changes what is there.
    Change,
    Turn(Does),
}

/// What an answer may be, and what the caller had done when it came.
#[derive(Debug)]
struct Asked {
    came: Instant,
    went: Instant,
    /// The version that the last write had made which had ended by then.
    written: usize,
    has_ttl: bool,
    said: Option<Said>,
    /// What was made of the answer, perhaps for somebody else.
    memo: Option<Bytes>,
}

fn happens() -> impl Strategy<Value = Happens> {
    let does = [Does::Answer, Does::Answer, Does::Fail(500), Does::Refuse, Does::CutOff, Does::Hang];
    let get = (1..2000_u64, any::<bool>()).prop_map(|(patience, has_ttl)| Happens::Get { patience, has_ttl });
    prop_oneof![
        10 => get,
        2 => Just(Happens::Put),
        2 => Just(Happens::Change),
        1 => prop::sample::select(does.to_vec()).prop_map(Happens::Turn),
    ]
}

fn configs() -> impl Strategy<Value = CacheConfig> {
    let seconds = || prop::sample::select(vec![0, 0, 1, 3]).prop_map(Duration::from_secs);
    let freshness = prop::sample::select(vec![Freshness::Revalidate, Freshness::Api]);
    (seconds(), seconds(), freshness).prop_map(|(stale_while_revalidate, stale_if_error, freshness)| {
        CacheConfig { stale_while_revalidate, stale_if_error, freshness, ..revalidates() }
    })
}

/// What the API allows, in seconds, and the method.
const MAX_AGE: u64 = 1;
const TTL: Duration = ms(300);

async fn ask(bench: Bench, patience: u64, has_ttl: bool, written: usize) -> Asked {
    let came = Instant::now();
    let mut terms = Terms::new(0, Deadline::after(ms(patience)));
    terms.ttl = has_ttl.then_some(TTL);
    let reply = timeout(ms(patience), bench.reply(request("GET", "/a"), &terms)).await.ok();
    let went = Instant::now();
    let mut memo = None;
    if let Some(Ok(reply)) = &reply {
        let make = || async { Ok::<_, ()>(reply.response.body().clone()) };
        memo = reply.memo.get_or_try_make(make).await.unwrap().cloned();
    }
    let said = reply.map(|reply| {
        let reply = reply.map_err(|error| error.reason().into_owned())?;
        let body = String::from_utf8(reply.response.body().to_vec()).unwrap();
        Ok((reply.response.status().as_u16(), body, reply.served.to_string()))
    });
    Asked { came, went, written, has_ttl, said, memo }
}

/// What everyone is answered to whom these things happen, each after some milliseconds.
async fn run(bench: &Bench, events: Vec<(u64, Happens)>) -> Vec<Asked> {
    let (mut gets, mut puts) = (JoinSet::new(), JoinSet::new());
    let written = Arc::new(AtomicU64::new(0));
    for (after, event) in events {
        sleep(ms(after)).await;
        match event {
            Happens::Get { patience, has_ttl } => {
                let written = usize::try_from(written.load(Ordering::Relaxed)).unwrap();
                gets.spawn(ask(bench.clone(), patience, has_ttl, written));
            }
            Happens::Put => {
                let (bench, written) = (bench.clone(), written.clone());
                puts.spawn(async move {
                    let put = timeout(DEADLINE, call(&bench, request("PUT", "/a"), &terms())).await;
                    if put == Ok(Ok((200, String::new(), "fwd=bypass".to_owned()))) {
                        // At least this one; others may have come after it.
                        let version = set(&bench, |origin| origin.written_by(Instant::now()));
                        written.fetch_max(version as u64, Ordering::Relaxed);
                    }
                });
            }
            Happens::Change => set(bench, State::change),
            Happens::Turn(does) => set(bench, |origin| origin.does = does),
        }
    }
    set(bench, |origin| origin.does = Does::Answer);
    puts.join_all().await;
    gets.join_all().await
}

impl State {
    /// The version that a write has made whose answer has come now.
    fn written_by(&self, now: Instant) -> usize {
        self.history.iter().filter(|at| **at + WAY[1] + WAY[2] <= now).count() - 1
    }
}

impl Asked {
    /// How much too old an answer may be that came so.
    fn allowed(&self, config: &CacheConfig, served: &str) -> Duration {
        let fresh = match (self.has_ttl, config.freshness) {
            (true, _) => TTL,
            (false, Freshness::Api) => Duration::from_secs(MAX_AGE),
            (false, Freshness::Revalidate) => Duration::ZERO,
        };
        match served {
            "hit" => fresh,
            "hit; detail=stale" => fresh + config.stale_while_revalidate.max(config.stale_if_error),
            // Sent for somebody else, perhaps, but not answered before this one came.
            _ => WAY[1],
        }
    }

    fn check(&self, config: &CacheConfig, history: &[Instant]) {
        let Some(Ok((200, body, served))) = &self.said else { return };
        let version: usize = body.parse().unwrap();
        assert_eq!(self.memo.as_deref(), Some(body.as_bytes()), "{self:?}");
        assert!(version >= self.written, "{self:?} is older than a write");
        // It was there until the next one came.
        if let Some(until) = history.get(version + 1) {
            assert!(
                *until + self.allowed(config, served) >= self.came,
                "{self:?} is too old: {:?}",
                self.came - *until
            );
        }
        assert!(history[version] <= self.went);
        let is_stale = served.contains("detail=stale");
        assert!(!is_stale || !(config.stale_while_revalidate + config.stale_if_error).is_zero(), "{self:?}");
    }
}

proptest! {
    /// Whatever is written, changed and broken, and whoever comes and goes: no answer is older than is allowed, none is
    /// older than a write that had ended, and the message is that of the answer.
    #[test]
    fn no_answer_is_older_than_is_allowed(
        config in configs(),
        events in prop::collection::vec((prop_oneof![0..100_u64, 0..600_u64], happens()), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = bench_with(&config, &[("cache-control", &format!("max-age={MAX_AGE}"))]);
            let asked = run(&bench, events).await;
            let history = set(&bench, |origin| origin.history.clone());
            for asked in &asked {
                asked.check(&config, &history);
            }
            // And nothing is on its way any more but what nobody waits for.
            sleep(BACKGROUND_TIME).await;
            assert_eq!(get(&bench, &terms()).await.unwrap().1, (history.len() - 1).to_string());
        });
    }
}
