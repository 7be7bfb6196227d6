use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use grpc_rest_bridge::{
    config::{Freshness, HttpVersion},
    contract::Contract,
    shop::v1::GetProductRequest,
    upstream::Event,
};
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinSet,
};
use tonic::{Code, Request, Status};

use crate::support::{
    Api, Bridge, Kitchen, Mood, MoodyApi, RawApi, details, http2_api, json, read_head, reason,
};

const PRODUCT: &str = r#"{"product":{"title":"Tea"}}"#;
const SECOND: Duration = Duration::from_secs(1);

/// An answer that says what version of the resource it is, as Rails does.
fn tagged(body: &str, tag: &str, asked: &HeaderMap) -> Response {
    let same = asked.get("if-none-match").is_some_and(|asked| asked == tag);
    let mut response = if same { json(304, Body::empty()) } else { json(200, body.to_owned()) };
    let headers = response.headers_mut();
    headers.insert("etag", tag.parse().unwrap());
    headers.insert("cache-control", "max-age=0, private, must-revalidate".parse().unwrap());
    response
}

fn cache_status(headers: &tonic::metadata::MetadataMap) -> String {
    headers.get("cache-status").unwrap().to_str().unwrap().to_owned()
}

/// A product for every id, each answered when the gate lets it.
async fn gated(gate: &Arc<Semaphore>) -> Api {
    let gate = gate.clone();
    Api::answering(move |seen| {
        let gate = gate.clone();
        async move {
            if seen.uri != "/" {
                gate.acquire().await.unwrap().forget();
            }
            json(200, PRODUCT)
        }
    })
    .await
}

/// Waits until something is so; the test's own patience is ten seconds.
async fn until(is_so: impl Fn() -> bool) {
    let soon = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(10 * SECOND, soon).await.unwrap();
}

/// As many calls of GetProduct at once as there are ids.
async fn get_all(bridge: &Bridge, ids: impl IntoIterator<Item = i64>) -> JoinSet<Result<String, Status>> {
    let mut calls = JoinSet::new();
    for id in ids {
        let mut shop = bridge.shop().await;
        calls.spawn(async move {
            let response = shop.get_product(GetProductRequest { id }).await?;
            Ok(response.metadata().get("cache-status").unwrap().to_str().unwrap().to_owned())
        });
    }
    calls
}

#[tokio::test]
async fn equal_calls_at_the_same_time_are_one_request() {
    let gate = Arc::new(Semaphore::new(0));
    let api = gated(&gate).await;
    let bridge = Bridge::before(&api.url()).await;
    let calls = get_all(&bridge, [7; 10]).await;
    until(|| {
        bridge.stats.snapshot().of(Event::Attempt) == 1 && bridge.stats.snapshot().of(Event::Collapsed) == 9
    })
    .await;
    gate.add_permits(1);
    let mut answers: Vec<_> = calls.join_all().await.into_iter().map(Result::unwrap).collect();
    answers.sort();
    assert_eq!(api.call().uri, "/products/7");
    assert_eq!(answers[0], "grpc-rest-bridge; fwd=uri-miss");
    assert_eq!(answers[1..], vec!["grpc-rest-bridge; fwd=uri-miss; collapsed"; 9]);
}

#[tokio::test]
async fn a_shared_request_ends_with_its_last_caller_and_not_before() {
    let gone = Arc::new(Notify::new());
    let told = gone.clone();
    let api = RawApi::acting(move |mut stream| {
        let told = told.clone();
        async move {
            // The end of the connection is all that ever comes.
            let _ = stream.read(&mut [0]).await;
            told.notify_one();
        }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let mut callers = Vec::new();
    for _ in 0..3 {
        callers.push(get_all(&bridge, [7]).await);
    }
    until(|| bridge.stats.snapshot().of(Event::Collapsed) == 2).await;
    while let Some(mut caller) = callers.pop() {
        assert_eq!(bridge.stats.snapshot().in_flight, 1);
        caller.shutdown().await;
    }
    gone.notified().await;
}

#[tokio::test]
async fn who_asks_when_the_answer_has_begun_to_come_gets_a_newer_one() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (count, begins, finishes) = (connections.clone(), begun.clone(), finish.clone());
    let api = RawApi::hearing(move |mut stream, head| {
        let (begins, finishes, count) = (begins.clone(), finishes.clone(), count.clone());
        async move {
            if is_probe(&head) {
                return stream.write_all(&raw("200 OK", "connection: close\r\n", "")).await.unwrap();
            }
            let number = count.fetch_add(1, Ordering::SeqCst);
            let body = format!(r#"{{"product":{{"title":"{number}"}}}}"#);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            if number == 0 {
                begins.notify_one();
                finishes.notified().await;
            }
            stream.write_all(body.as_bytes()).await.unwrap();
        }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let (mut first, mut second) = (bridge.shop().await, bridge.shop().await);
    let first = tokio::spawn(async move { first.get_product(GetProductRequest { id: 7 }).await });
    begun.notified().await;
    // The head is on its way; it has come when nobody can join any more.
    let title = loop {
        let call = second.get_product(GetProductRequest { id: 7 });
        match tokio::time::timeout(Duration::from_millis(100), call).await {
            Ok(answer) => break answer.unwrap().into_inner().product.unwrap().title,
            Err(_) => continue,
        }
    };
    finish.notify_one();
    let old = first.await.unwrap().unwrap().into_inner().product.unwrap().title;
    assert_eq!((old.as_deref(), title.as_deref()), (Some("0"), Some("1")));
}

/// A request that hangs has somebody who waits for it as long as equal ones come; so they do not wait for the same one.
#[tokio::test]
async fn who_asks_the_same_as_a_request_that_hangs_is_not_held_back_by_it() {
    let api = MoodyApi::start().await;
    let bridge = Bridge::before(&api.url()).await;
    api.becomes(Mood::Hanging);
    let hanging = get_all(&bridge, [7]).await;
    until(|| api.requests() == 1).await;
    api.becomes(Mood::Well);
    let mut shop = bridge.shop().await;
    let answered = async {
        loop {
            let call = shop.get_product(GetProductRequest { id: 7 });
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(100), call).await {
                break answer;
            }
        }
    };
    tokio::time::timeout(5 * SECOND, answered).await.unwrap().unwrap();
    assert_eq!((api.requests(), hanging.len()), (2, 1));
}

#[tokio::test]
async fn an_answer_that_is_still_good_is_not_sent_again() {
    let version = Arc::new(AtomicUsize::new(1));
    let current = version.clone();
    let api = Api::answering(move |seen| {
        let version = current.load(Ordering::SeqCst);
        let (body, tag) = (format!(r#"{{"product":{{"title":"{version}"}}}}"#), format!("W/\"{version}\""));
        async move { tagged(&body, &tag, &seen.headers) }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await;
    let mut got = Vec::new();
    for next in [1, 1, 2, 2] {
        version.store(next, Ordering::SeqCst);
        let response = shop.get_product(GetProductRequest { id: 7 }).await.unwrap();
        let status = cache_status(response.metadata());
        got.push((response.into_inner().product.unwrap().title.unwrap(), status));
    }
    let expected = [
        ("1", "grpc-rest-bridge; fwd=uri-miss; stored"),
        ("1", "grpc-rest-bridge; fwd=stale; fwd-status=304; stored"),
        ("2", "grpc-rest-bridge; fwd=stale; stored"),
        ("2", "grpc-rest-bridge; fwd=stale; fwd-status=304; stored"),
    ];
    assert_eq!(got, expected.map(|(title, status)| (title.to_owned(), status.to_owned())));
    let asked: Vec<_> = api.calls().iter().map(|seen| seen.headers.get("if-none-match").cloned()).collect();
    assert_eq!(
        asked,
        [None, Some("W/\"1\""), Some("W/\"1\""), Some("W/\"2\"")]
            .map(|tag| tag.map(|tag| tag.parse().unwrap()))
    );
}

#[tokio::test]
async fn an_answer_is_served_unasked_for_as_long_as_the_api_says_where_that_is_configured() {
    let api = Api::answering(|_| async {
        let mut response = json(200, PRODUCT);
        response.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
        response
    })
    .await;
    let bridge = Bridge::to(&api.url()).upstream(|upstream| upstream.cache.freshness = Freshness::Api);
    let bridge = bridge.start().await;
    let statuses: Vec<_> = get_all(&bridge, [7]).await.join_all().await;
    assert_eq!(statuses[0].as_ref().unwrap(), "grpc-rest-bridge; fwd=uri-miss; stored");
    let statuses: Vec<_> = get_all(&bridge, [7]).await.join_all().await;
    assert_eq!(statuses[0].as_ref().unwrap(), "grpc-rest-bridge; hit");
    assert_eq!(api.calls().len(), 1);
}

#[tokio::test]
async fn no_more_requests_are_sent_at_once_than_the_limit() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (now.clone(), most.clone());
    let api = Api::answering(move |seen| {
        let (now, most) = (counted.clone(), highest.clone());
        async move {
            if seen.uri != "/" {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                now.fetch_sub(1, Ordering::SeqCst);
            }
            json(200, PRODUCT)
        }
    })
    .await;
    let bridge =
        Bridge::to(&api.url()).upstream(|upstream| upstream.limit.concurrency = Some(3)).start().await;
    let answers = get_all(&bridge, 1..=40).await.join_all().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((most.load(Ordering::SeqCst), api.calls().len()), (3, 40));
}

#[tokio::test]
async fn who_finds_the_queue_full_is_told_when_to_come_back() {
    let gate = Arc::new(Semaphore::new(0));
    let api = gated(&gate).await;
    let bridge = Bridge::to(&api.url()).upstream(|upstream| {
        upstream.limit.concurrency = Some(1);
        upstream.limit.queue = 1;
    });
    let bridge = bridge.start().await;
    let waiting = get_all(&bridge, 1..=2).await;
    until(|| bridge.stats.snapshot().waiting == 1).await;
    let refused = bridge.shop().await.get_product(GetProductRequest { id: 3 }).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message(), reason(&refused).as_str()),
        (Code::Unavailable, "the API is busy: this call would wait too long for its turn", "UPSTREAM_BUSY")
    );
    let delay = details(&refused).retry_info().unwrap().retry_delay.unwrap();
    assert!((Duration::from_millis(50)..SECOND).contains(&delay), "{delay:?}");
    let pushback = refused.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
    assert_eq!(pushback, delay.as_nanos().div_ceil(1_000_000).to_string());
    gate.add_permits(2);
    assert!(waiting.join_all().await.iter().all(Result::is_ok));
    assert_eq!(api.calls().len(), 2);
}

#[tokio::test]
async fn a_call_whose_time_runs_out_in_the_queue_is_never_sent() {
    let gate = Arc::new(Semaphore::new(0));
    let api = gated(&gate).await;
    let bridge =
        Bridge::to(&api.url()).upstream(|upstream| upstream.limit.concurrency = Some(1)).start().await;
    let first = get_all(&bridge, [1]).await;
    until(|| bridge.stats.snapshot().in_flight == 1).await;
    let mut request = Request::new(GetProductRequest { id: 2 });
    // Not by the client's own timer.
    request.metadata_mut().insert("grpc-timeout", "400m".parse().unwrap());
    let ended = bridge.shop().await.get_product(request).await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "UPSTREAM_BUSY"));
    gate.add_permits(1);
    assert!(first.join_all().await.iter().all(Result::is_ok));
    assert_eq!(api.call().uri, "/products/1");
}

/// A server that keeps its connections, and answers by the number of the connection and that of the request on it, both of
/// which it notes. An empty answer closes the connection. Probes are answered and do not count.
async fn keeping(
    answer: impl Fn(usize, usize) -> Vec<u8> + Send + Sync + 'static,
) -> (RawApi, Arc<Mutex<Vec<(usize, usize)>>>) {
    let seen: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
    let (notes, connections) = (seen.clone(), Arc::new(AtomicUsize::new(0)));
    let answer = Arc::new(answer);
    let api = RawApi::hearing(move |mut stream, head| {
        let (notes, answer, connections) = (notes.clone(), answer.clone(), connections.clone());
        async move {
            if is_probe(&head) {
                return stream.write_all(&raw("200 OK", "connection: close\r\n", "")).await.unwrap();
            }
            let connection = connections.fetch_add(1, Ordering::SeqCst);
            for request in 0.. {
                notes.lock().unwrap().push((connection, request));
                let bytes = answer(connection, request);
                if bytes.is_empty()
                    || stream.write_all(&bytes).await.is_err()
                    || read_head(&mut stream).await.is_none()
                {
                    break;
                }
            }
        }
    })
    .await;
    (api, seen)
}

fn is_probe(head: &str) -> bool {
    head.starts_with("GET / ")
}

fn raw(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_connection_that_is_closed_before_the_answer_costs_the_caller_nothing() {
    let (api, seen) =
        keeping(|connection, _| if connection == 0 { Vec::new() } else { raw("200 OK", "", PRODUCT) }).await;
    let bridge = Bridge::before(&api.url()).await;
    bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(0, 0), (1, 0)]);
    assert_eq!(bridge.stats.snapshot().of(Event::Retry), 1);
}

#[tokio::test]
async fn what_changes_something_is_sent_once() {
    let (api, seen) = keeping(|_, _| Vec::new()).await;
    let bridge = Bridge::to(&api.url()).contract(Kitchen::open().contract.clone()).start().await;
    let ended = bridge.call("kitchen.v1.KitchenService/ServeDish", b"\x0a\x017").await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "UPSTREAM_CONNECTION_LOST"));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

/// A contract whose methods are POSTs of the same, and say more or less of what that does.
fn posts() -> Contract {
    let method = |name: &str, level: &str| {
        format!(
            r#"rpc {name}(Dish) returns (Dish) {{
                 option idempotency_level = {level};
                 option (google.api.http) = {{ post: "/dishes" body: "*" }};
               }}"#
        )
    };
    let methods = [
        method("Make", "IDEMPOTENCY_UNKNOWN"),
        method("Put", "IDEMPOTENT"),
        method("Search", "NO_SIDE_EFFECTS"),
    ];
    let text = format!(
        r#"message Dish {{}}
           service Dishes {{
             rpc Get(Dish) returns (Dish) {{ option (google.api.http) = {{ get: "/dishes" }}; }}
             {}
           }}"#,
        methods.join("\n")
    );
    Kitchen::load(&text).unwrap()
}

#[tokio::test]
async fn a_method_that_says_that_it_can_be_repeated_is_sent_again() {
    for (method, requests) in [("Make", 1), ("Put", 2), ("Search", 2)] {
        let (api, seen) = keeping(|_, _| Vec::new()).await;
        let bridge = Bridge::to(&api.url()).contract(posts()).start().await;
        let ended = bridge.call(&format!("t.v1.Dishes/{method}"), b"").await.unwrap_err();
        assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "UPSTREAM_CONNECTION_LOST"));
        assert_eq!(seen.lock().unwrap().len(), requests, "{method}");
    }
}

#[tokio::test]
async fn what_says_that_it_has_no_side_effects_does_not_make_stored_answers_old() {
    for (method, requests) in [("Make", 3), ("Put", 3), ("Search", 2)] {
        let api = Api::answering(async |_| {
            let mut response = json(200, "{}");
            response.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
            response
        })
        .await;
        let bridge = Bridge::to(&api.url()).contract(posts());
        let bridge = bridge.upstream(|upstream| upstream.cache.freshness = Freshness::Api).start().await;
        for method in ["Get", method, "Get"] {
            bridge.call(&format!("t.v1.Dishes/{method}"), b"").await.unwrap();
        }
        assert_eq!(api.calls().len(), requests, "{method}");
    }
}

#[tokio::test]
async fn who_has_tried_before_is_not_helped_by_more_attempts() {
    let (api, seen) = keeping(|_, _| raw("503 Service Unavailable", "", "")).await;
    let bridge = Bridge::before(&api.url()).await;
    let mut request = Request::new(GetProductRequest { id: 7 });
    request.metadata_mut().insert("grpc-previous-rpc-attempts", "1".parse().unwrap());
    let ended = bridge.shop().await.get_product(request).await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

/// What a Puma that is being stopped says on a connection it had kept, with no header of Rails.
#[tokio::test]
async fn the_bare_500_of_a_stopping_puma_is_asked_again_elsewhere() {
    let (api, seen) = keeping(|connection, request| match (connection, request) {
        (0, 1) => {
            raw("500 Internal Server Error", "connection: close\r\n", "An unhandled lowlevel error occurred.")
        }
        _ => raw("200 OK", "", PRODUCT),
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await;
    for id in [1, 2] {
        shop.get_product(GetProductRequest { id }).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [(0, 0), (0, 1), (1, 0)]);
}

#[tokio::test]
async fn a_500_of_the_application_is_not_asked_again() {
    let (api, seen) =
        keeping(|_, _| raw("500 Internal Server Error", "x-request-id: a\r\nx-runtime: 0.1\r\n", "")).await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await;
    for id in [1, 2] {
        assert_eq!(shop.get_product(GetProductRequest { id }).await.unwrap_err().code(), Code::Internal);
    }
    assert_eq!(*seen.lock().unwrap(), [(0, 0), (0, 1)]);
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_left_alone_and_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bridge = Bridge::to(&format!("http://{address}")).upstream(|upstream| {
        upstream.breaker.failures = 3;
        upstream.breaker.pause = 60 * SECOND;
        upstream.retry.attempts = 1;
    });
    let bridge = bridge.start().await;
    let mut shop = bridge.shop().await;
    for id in 1..=3 {
        let ended = shop.get_product(GetProductRequest { id }).await.unwrap_err();
        assert_eq!(reason(&ended), "UPSTREAM_UNREACHABLE");
    }
    let ended = shop.get_product(GetProductRequest { id: 4 }).await.unwrap_err();
    assert_eq!(
        (ended.code(), ended.message(), reason(&ended).as_str()),
        (Code::Unavailable, "the API fails, and is not asked for a moment", "UPSTREAM_FAILING")
    );
    let delay = details(&ended).retry_info().unwrap().retry_delay.unwrap();
    assert!((50 * SECOND..=60 * SECOND).contains(&delay), "{delay:?}");
    // A probe finds it long before.
    let _api = Api::at(address, |_| async { json(200, PRODUCT) }).await;
    let found = async {
        while shop.get_product(GetProductRequest { id: 5 }).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(10 * SECOND, found).await.unwrap();
    assert_eq!(bridge.stats.snapshot().of(Event::Tripped), 1);
}

async fn metrics(bridge: &Bridge) -> String {
    let told = reqwest::get(format!("http://{}/metrics", bridge.admin)).await.unwrap();
    assert_eq!(told.status(), 200);
    told.text().await.unwrap()
}

#[tokio::test]
async fn operators_read_what_protects_the_api() {
    let gate = Arc::new(Semaphore::new(0));
    let api = gated(&gate).await;
    let bridge = Bridge::to(&api.url()).upstream(|upstream| {
        upstream.limit.concurrency = Some(1);
        upstream.limit.queue = 1;
    });
    let bridge = bridge.start().await;
    let calls = get_all(&bridge, [1, 2, 2]).await;
    until(|| bridge.stats.snapshot().of(Event::Collapsed) == 1 && bridge.stats.snapshot().waiting == 1).await;
    bridge.shop().await.get_product(GetProductRequest { id: 3 }).await.unwrap_err();
    let told = metrics(&bridge).await;
    for line in [
        "# TYPE bridge_upstream_concurrency_limit gauge",
        "bridge_upstream_concurrency_limit 1",
        "bridge_upstream_in_flight 1",
        "bridge_upstream_waiting 1",
        "bridge_upstream_requests_total{kind=\"all\"} 1",
        "bridge_upstream_refused_total{reason=\"queue\"} 1",
        "bridge_upstream_collapsed_total{by=\"caller\"} 1",
        "bridge_upstream_breaker{method=\"\",state=\"admitting\"} 1",
        "bridge_upstream_breaker{method=\"shop.v1.ProductService/GetProduct\",state=\"shut\"} 0",
        "# EOF",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }
    gate.add_permits(2);
    assert!(calls.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn operators_see_how_many_tasks_are_alive() {
    let alive = async |bridge: &Bridge| {
        let told = metrics(bridge).await;
        assert!(told.contains("\n# TYPE bridge_runtime_alive_tasks gauge\n"), "{told}");
        let value = told.lines().find_map(|line| line.strip_prefix("bridge_runtime_alive_tasks "));
        value.unwrap().parse::<usize>().unwrap()
    };
    let api = Api::answering(|_| async { json(200, PRODUCT) }).await;
    let bridge = Bridge::before(&api.url()).await;
    // More than the bridge and this test have by far.
    let mut crowd: JoinSet<()> = (0..1000).map(|_| pending()).collect();
    assert!((1001..2000).contains(&alive(&bridge).await));
    crowd.shutdown().await;
    assert!((1..1000).contains(&alive(&bridge).await));
}

#[tokio::test]
async fn operators_see_a_shut_breaker() {
    let api = Api::answering(|seen| async move { json(if seen.uri == "/" { 200 } else { 500 }, "{}") }).await;
    let bridge = Bridge::to(&api.url()).upstream(|upstream| upstream.breaker.failures = 2).start().await;
    let mut shop = bridge.shop().await;
    for id in 1..=2 {
        assert_eq!(shop.get_product(GetProductRequest { id }).await.unwrap_err().code(), Code::Internal);
    }
    let ended = shop.get_product(GetProductRequest { id: 3 }).await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "UPSTREAM_FAILING"));
    let told = metrics(&bridge).await;
    assert!(
        told.contains(
            "bridge_upstream_breaker{method=\"shop.v1.ProductService/GetProduct\",state=\"shut\"} 1"
        ),
        "{told}"
    );
    assert!(told.contains("bridge_upstream_breaker{method=\"\",state=\"admitting\"} 1"), "{told}");
    assert_eq!(api.calls().len(), 2);
}

/// One call of GetProduct that may take so long; the caller itself has no timer.
async fn get_within(bridge: &Bridge, time: Duration) -> Status {
    let timeout = format!("{}m", time.as_millis());
    bridge.raw_call(&[("grpc-timeout", &timeout)], vec![0, 0, 0, 0, 2, 8, 7]).await
}

#[tokio::test]
async fn an_api_that_hangs_is_left_alone_although_its_callers_are_the_ones_who_give_up() {
    let api = MoodyApi::start().await;
    api.becomes(Mood::Hanging);
    let bridge = Bridge::to(&api.url()).upstream(|upstream| upstream.breaker.failures = 2).start().await;
    let mut told = Vec::new();
    // Who has no patience says nothing about the API.
    for time in [50, 50, 50, 1200, 1200, 1200] {
        told.push(reason(&get_within(&bridge, Duration::from_millis(time)).await));
    }
    assert_eq!(told, [["DEADLINE_EXCEEDED"; 5].as_slice(), &["UPSTREAM_FAILING"]].concat());
    assert_eq!(bridge.stats.snapshot().of(Event::Tripped), 1);
}

#[tokio::test]
async fn a_call_that_tries_a_shut_breaker_and_hangs_does_not_keep_the_next_one_from_trying() {
    let api = MoodyApi::start().await;
    let bridge = Bridge::to(&api.url()).upstream(|upstream| {
        upstream.breaker.failures = 1;
        upstream.breaker.pause = Duration::from_millis(20);
    });
    let bridge = bridge.start().await;
    api.becomes(Mood::Failing);
    get_all(&bridge, [1]).await.join_all().await;
    api.becomes(Mood::Hanging);
    let mut shop = bridge.shop().await;
    // Refused until it is the one that tries.
    let hanging =
        tokio::spawn(async move { while shop.get_product(GetProductRequest { id: 2 }).await.is_err() {} });
    until(|| api.requests() == 2).await;
    api.becomes(Mood::Well);
    let found = async { while get_all(&bridge, [3]).await.join_all().await[0].is_err() {} };
    tokio::time::timeout(5 * SECOND, found).await.unwrap();
    assert!(!hanging.is_finished());
}

/// Two callers share a request; one of them has time for the pause that the API asks for, and one has not.
#[tokio::test]
async fn who_has_no_time_for_the_pause_that_the_api_asks_for_is_told_of_it() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = gate.clone();
    let api = Api::answering(move |seen| {
        let gate = closed.clone();
        async move {
            if seen.uri != "/" {
                gate.acquire().await.unwrap().forget();
            }
            let mut response = json(503, "");
            response.headers_mut().insert("retry-after", "4".parse().unwrap());
            response
        }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let opens = async {
        until(|| bridge.stats.snapshot().of(Event::Collapsed) == 1).await;
        gate.add_permits(2);
    };
    let (patient, hasty, ()) =
        tokio::join!(get_within(&bridge, 10 * SECOND), get_within(&bridge, 2 * SECOND), opens);
    assert_eq!([reason(&patient), reason(&hasty)], ["SERVICE_UNAVAILABLE"; 2]);
    assert_eq!(api.calls().len(), 1);
}

/// The numbers of the connections on which four calls arrive, one after the other.
async fn connections(age: Duration) -> Vec<usize> {
    let (api, seen) = keeping(|_, _| raw("200 OK", "", PRODUCT)).await;
    let bridge = Bridge::to(&api.url()).upstream(|upstream| upstream.max_connection_age = age);
    let bridge = bridge.start().await;
    let mut shop = bridge.shop().await;
    for id in 0..4 {
        shop.get_product(GetProductRequest { id }).await.unwrap();
    }
    let seen = seen.lock().unwrap();
    seen.iter().map(|(connection, _)| *connection).collect()
}

#[tokio::test]
async fn a_connection_is_used_until_it_is_too_old() {
    assert_eq!(connections(60 * SECOND).await, [0, 0, 0, 0]);
    assert_eq!(connections(Duration::from_nanos(1)).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn the_health_probe_takes_a_new_connection_each_time_and_none_of_the_calls() {
    // Of each connection, whether each request on it was a probe.
    let heard: Arc<Mutex<Vec<Vec<bool>>>> = Arc::default();
    let notes = heard.clone();
    let api = RawApi::hearing(move |mut stream, head| {
        let (notes, mut head) = (notes.clone(), Some(head));
        let connection = notes.lock().unwrap().len();
        notes.lock().unwrap().push(Vec::new());
        async move {
            while let Some(asked) = head {
                notes.lock().unwrap()[connection].push(is_probe(&asked));
                stream.write_all(&raw("200 OK", "", PRODUCT)).await.unwrap();
                head = read_head(&mut stream).await;
            }
        }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await;
    for _ in 0..3 {
        shop.get_product(GetProductRequest { id: 7 }).await.unwrap();
        let connections = heard.lock().unwrap().len();
        until(|| heard.lock().unwrap().len() > connections + 2).await;
    }
    drop(bridge);
    let (probes, calls): (Vec<_>, Vec<_>) =
        heard.lock().unwrap().iter().cloned().partition(|requests| requests[0]);
    assert_eq!(calls, [[false; 3]]);
    assert!(probes.len() > 6 && probes.iter().all(|requests| requests.len() == 1), "{probes:?}");
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge_where_that_is_configured() {
    let api = http2_api(PRODUCT).await;
    let bridge =
        Bridge::to(&format!("http://{api}")).upstream(|upstream| upstream.http_version = HttpVersion::Http2);
    let bridge = bridge.start().await;
    let product =
        bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap().into_inner().product;
    assert_eq!(product.unwrap().title.as_deref(), Some("Tea"));
}
