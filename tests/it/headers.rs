use std::time::Duration;

use bytes::Bytes;
use grpc_rest_bridge::config::HeaderConfig;
use http::{HeaderMap, Response};
use tonic::{Code, Request, Status};

use crate::support::{Api, Bridge, Builder, Program, json, reason};

const GET_PRODUCT: &str = "shop.v1.ProductService/GetProduct";
/// `id: 7`.
const SEVEN: &[u8] = &[8, 7];

fn passing(api: &Api, set: impl FnOnce(&mut HeaderConfig)) -> Builder {
    Bridge::to(&api.url()).inbound(|inbound| set(&mut inbound.headers))
}

fn names(names: &[&str]) -> Vec<http::HeaderName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

async fn call(bridge: &Bridge, metadata: &[(&'static str, &str)]) -> Result<tonic::Response<Bytes>, Status> {
    let mut request = Request::new(Bytes::from_static(SEVEN));
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    bridge.call_with(GET_PRODUCT, request).await
}

fn sent(api: &Api, name: &str) -> Vec<String> {
    let calls = api.calls();
    let headers = &calls.last().unwrap().headers;
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn metadata_that_is_named_reaches_the_api_and_no_other() {
    let api = Api::saying("{}").await;
    let bridge =
        passing(&api, |headers| headers.to_api = names(&["x-tenant", "accept-language"])).start().await;
    let metadata = [("x-tenant", "a"), ("x-tenant", "b"), ("accept-language", "de"), ("x-other", "c")];
    call(&bridge, &metadata).await.unwrap();
    assert_eq!(sent(&api, "x-tenant"), ["a", "b"]);
    assert_eq!(sent(&api, "accept-language"), ["de"]);
    assert_eq!(sent(&api, "x-other"), [""; 0]);
}

#[tokio::test]
async fn callers_with_other_metadata_share_no_answer() {
    let (api, mut was_asked, answer) = Api::patient().await;
    let bridge = passing(&api, |headers| headers.to_api = names(&["authorization"])).start().await;
    let (one, other, ()) = tokio::join!(
        call(&bridge, &[("authorization", "Bearer one")]),
        call(&bridge, &[("authorization", "Bearer other")]),
        async {
            was_asked.recv().await.unwrap();
            was_asked.recv().await.unwrap();
            answer.send_replace(true);
        },
    );
    one.unwrap();
    other.unwrap();
    let mut sent: Vec<_> = api.calls().iter().map(|seen| seen.headers["authorization"].clone()).collect();
    sent.sort();
    assert_eq!(sent, ["Bearer one", "Bearer other"]);
}

#[tokio::test]
async fn metadata_that_no_header_may_be_is_refused_before_the_api_is_asked() {
    let api = Api::saying("{}").await;
    let bridge = passing(&api, |headers| headers.to_api = names(&["x-tenant"])).start().await;
    let status = bridge.raw_call(&[("x-tenant", "é")], &[0, 0, 0, 0, 2, 8, 7][..]).await;
    let told = (status.code(), status.message(), &*reason(&status));
    assert_eq!(told, (Code::InvalidArgument, "x-tenant is not printable ASCII", "REQUEST_REFUSED"));
    let status = call(&bridge, &[("x-tenant", &"x".repeat(4096))]).await.unwrap_err();
    let told = (status.code(), status.message(), &*reason(&status));
    let expected = "the metadata for the API has more than 4096 bytes";
    assert_eq!(told, (Code::ResourceExhausted, expected, "REQUEST_TOO_LARGE"));
    assert!(api.calls().is_empty());
}

async fn api_with(status: u16, headers: &'static [(&'static str, &'static str)]) -> Api {
    Api::answering(move |_| async move {
        let mut response: Response<_> = json(status, "{}");
        for (name, value) in headers {
            response.headers_mut().append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        response
    })
    .await
}

fn got(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn headers_of_the_api_that_are_named_reach_the_caller_whether_it_says_yes_or_no() {
    let headers = &[("x-total-count", "224"), ("link", "<a>"), ("link", "<b>"), ("server", "puma")];
    for status in [200, 404] {
        let api = api_with(status, headers).await;
        let bridge =
            passing(&api, |headers| headers.to_caller = names(&["link", "x-total-count"])).start().await;
        let metadata = match call(&bridge, &[]).await {
            Ok(answer) => answer.metadata().clone(),
            Err(status) => status.metadata().clone(),
        };
        let metadata = metadata.into_headers();
        assert_eq!(got(&metadata, "x-total-count"), ["224"], "{status}");
        assert_eq!(got(&metadata, "link"), ["<a>", "<b>"], "{status}");
        assert_eq!(got(&metadata, "server"), [""; 0], "{status}");
    }
}

#[tokio::test]
async fn headers_of_the_api_that_are_too_much_for_a_client_are_left_out() {
    static LONG: [u8; 1024] = [b'x'; 1024];
    let long = std::str::from_utf8(&LONG).unwrap();
    let headers = Box::leak(Box::new([("x-one", "1"), ("x-two", long), ("x-bad", "é")]));
    let api = api_with(200, headers).await;
    let bridge = passing(&api, |headers| headers.to_caller = names(&["x-one", "x-two"])).start().await;
    let metadata = call(&bridge, &[]).await.unwrap().metadata().clone().into_headers();
    assert_eq!((got(&metadata, "x-one"), got(&metadata, "x-two")), (vec!["1".to_owned()], Vec::new()));
    let bridge = passing(&api, |headers| headers.to_caller = names(&["x-bad"])).start().await;
    let metadata = call(&bridge, &[]).await.unwrap().metadata().clone().into_headers();
    assert_eq!(metadata.get("x-bad"), None);
}

#[tokio::test]
async fn the_api_is_told_where_a_call_came_from_as_far_as_that_is_known() {
    let api = Api::saying("{}").await;
    let forged =
        [("x-forwarded-for", "6.6.6.6, 203.0.113.7"), ("client-ip", "6.6.6.6"), ("x-real-ip", "6.6.6.6")];
    for (hops, expected) in [
        (None, vec![]),
        (Some(0), vec!["127.0.0.1"]),
        (Some(1), vec!["203.0.113.7, 127.0.0.1"]),
        (Some(2), vec!["6.6.6.6, 203.0.113.7, 127.0.0.1"]),
    ] {
        let bridge = passing(&api, |headers| headers.forwarded_for = hops).start().await;
        call(&bridge, &forged).await.unwrap();
        assert_eq!(sent(&api, "x-forwarded-for"), expected, "{hops:?}");
        for name in ["client-ip", "x-real-ip", "forwarded"] {
            assert_eq!(sent(&api, name), [""; 0]);
        }
    }
}

#[tokio::test]
async fn callers_behind_a_proxy_have_places_of_their_own() {
    let (api, mut was_asked) = Api::silent().await;
    let bridge = passing(&api, |headers| headers.forwarded_for = Some(1))
        .inbound(|inbound| inbound.max_in_flight_per_caller = 1)
        .start()
        .await;
    let of = |address: &'static str| [("x-forwarded-for", address), ("grpc-timeout", "30S")];
    let (one, other) = (of("6.6.6.6, 203.0.113.7"), "203.0.113.7, 203.0.113.8");
    let waits = call(&bridge, &one);
    tokio::pin!(waits);
    tokio::select! {
        _ = &mut waits => panic!("it is not answered"),
        _ = was_asked.recv() => {}
    }
    // Neither by another address of its own making, nor for something else.
    let status = call(&bridge, &one).await.unwrap_err();
    let told = (status.code(), &*reason(&status));
    assert_eq!(told, (Code::ResourceExhausted, "TOO_MANY_CONCURRENT_CALLS"));
    assert_eq!(status.message(), "as many calls of this caller run as may: 1 (--max-in-flight-per-caller)");
    let pause = crate::support::details(&status).retry_info().unwrap().retry_delay;
    assert_eq!(pause, Some(Duration::from_secs(1)));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    let mut request = Request::new(Bytes::from_static(&[8, 8]));
    request.metadata_mut().insert("x-forwarded-for", other.parse().unwrap());
    tokio::select! {
        other = bridge.call_with(GET_PRODUCT, request) => panic!("it is not answered: {other:?}"),
        _ = was_asked.recv() => {}
    }
}

#[tokio::test]
async fn the_api_is_told_which_name_a_caller_has_proved() {
    let api = Api::saying("{}").await;
    let made = Program::run(&["keys", "new", "acme"], &[]).await;
    let key = made.stderr.lines().find(|line| line.starts_with("brk_")).unwrap().to_owned();
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), made.stdout.replace("\"acme\"", "\"acme 50%\"")).unwrap();
    let path = keys.path().to_owned();
    let bridge = passing(&api, |headers| headers.caller = Some("x-caller".parse().unwrap()))
        .door(|door| door.keys = Some(path))
        .start()
        .await;
    let key: &str = &key;
    call(&bridge, &[("x-api-key", key), ("x-caller", "admin")]).await.unwrap();
    assert_eq!(sent(&api, "x-caller"), ["key:acme%2050%25"]);
}

#[tokio::test]
async fn headers_that_never_pass_are_told_with_the_reason() {
    let words = ["serve", "--upstream", "http://127.0.0.1:9", "--request-headers"];
    for (name, why) in [
        ("te", "it is of one connection"),
        ("Transfer-Encoding", "it is of one connection"),
        ("grpc-timeout", "it is of gRPC, or describes a message"),
        ("content-length", "it is of gRPC, or describes a message"),
        ("trace-bin", "it is of gRPC, or describes a message"),
        ("cookie", "it is a secret of the caller or of the API"),
        ("x-api-key", "it is a secret of the caller or of the API"),
        ("host", "the bridge says that itself"),
        (
            "x-forwarded-host",
            "it claims who called, which the bridge has to know better (--forwarded-for, --caller-header)",
        ),
    ] {
        let ended = Program::run(&[&words[..], &[name]].concat(), &[]).await;
        let name = name.to_lowercase();
        let told = format!("  --request-headers: {name} never passes: {why}\n      leave it out\n");
        assert_eq!((ended.stderr, ended.code), (format!("error: 1 fault to mend:\n{told}"), Some(2)));
    }
    let words = [
        "serve",
        "--upstream",
        "http://127.0.0.1:9",
        "--request-headers",
        "authorization,x y,x-a,x-a",
        "--forwarded-for",
        "17",
        "--caller-header",
        "x-a",
    ];
    let ended = Program::run(&words, &[("BRIDGE_UPSTREAM_BEARER", "secret")]).await;
    let told = "error: 5 faults to mend:\n  \
        --request-headers: \"x y\" is not valid\n      write names of headers, such as x-tenant\n  \
        --request-headers: x-a stands there twice\n      write it once\n  \
        --request-headers: sends authorization on, where the bridge has its own\n      leave it out: the API can be shown one credential\n  \
        --forwarded-for: \"17\" is not valid\n      write the number of proxies before the bridge, from 0 to 16, or none\n  \
        --caller-header: is what callers may send themselves\n      name a header that nobody else sends, such as x-caller\n";
    assert_eq!((ended.stderr.as_str(), ended.code), (told, Some(2)));
}
