use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use grpc_rest_bridge::{
    config::{CredentialConfig, UpstreamConfig},
    deadline::Deadline,
    shop::v1::{GetProductRequest, ListProductsRequest},
    upstream::{Terms, Upstream},
};
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;
use tonic::{Code, Request};

use crate::support::{Api, Bridge, Kitchen, RawApi, Seen, json, reason};

fn text(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_api_gets_exactly_the_headers_that_it_needs() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let mut request = Request::new(GetProductRequest { id: 7 });
    for (name, value) in
        [("cookie", "a=b"), ("x-api-key", "secret"), ("accept", "*/*"), ("x-forwarded-host", "evil")]
    {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    bridge.shop().await.get_product(request).await.unwrap();
    let headers = api.call().headers;
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent", "x-request-id"]);
    assert_eq!(text(&headers, "accept"), ["application/json"]);
    assert_eq!(text(&headers, "host"), [api.address.to_string()]);
    assert_eq!(text(&headers, "user-agent"), [concat!("grpc-rest-bridge/", env!("CARGO_PKG_VERSION"))]);
}

#[tokio::test]
async fn host_and_forwarded_proto_are_sent_as_configured() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::to(&api.url()).upstream(|upstream| {
        upstream.host = Some("shop.internal".parse().unwrap());
        upstream.forwarded_proto = Some("https".parse().unwrap());
    });
    let bridge = bridge.start().await;
    bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap();
    let headers = api.call().headers;
    assert_eq!(text(&headers, "host"), ["shop.internal"]);
    assert_eq!(text(&headers, "x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn a_path_prefix_stands_before_every_path() {
    let api = Api::saying("{}").await;
    for prefix in ["/api/v2", "/api/v2/"] {
        let bridge = Bridge::before(&format!("{}{prefix}", api.url())).await;
        bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap();
        // Probes have the prefix, too.
        let calls = api.calls().into_iter().filter(|seen| seen.uri != "/api/v2" && seen.uri != "/api/v2/");
        assert_eq!(calls.last().unwrap().uri, "/api/v2/products/7");
    }
}

#[tokio::test]
async fn the_url_that_arrives_is_the_one_that_was_planned() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::to(&api.url()).contract(Kitchen::open().contract.clone()).start().await;
    for (path, uri) in [
        ("a b/c%2e%2e/%2E", "/files/a%20b/c%252e%252e/%252E/raw"),
        ("a\\b?c#d;e", "/files/a%5Cb%3Fc%23d%3Be/raw"),
        ("...'\"<>`{}|^", "/files/...%27%22%3C%3E%60%7B%7D%7C%5E/raw"),
        ("é\u{0}\n", "/files/%C3%A9%00%0A/raw"),
    ] {
        let mut message = vec![0x0a, u8::try_from(path.len()).unwrap()];
        message.extend_from_slice(path.as_bytes());
        bridge.call("kitchen.v1.KitchenService/GetFile", &message).await.unwrap();
        assert_eq!(api.calls().last().unwrap().uri, uri);
    }
}

/// Contracts and values are checked before; the client has no opinion of its own.
#[tokio::test]
async fn the_http_client_leaves_urls_as_they_are() {
    let api = Api::saying("{}").await;
    let upstream = Upstream::new(&UpstreamConfig::new(api.url().parse().unwrap())).unwrap();
    for path in ["/a/../b?", "/a/%2e%2E/b?a=b&&c", "/a/.//", "/a|b"] {
        let request = http::Request::get(path).body(bytes::Bytes::new()).unwrap();
        let terms = Terms::new(0, Deadline::after(Duration::from_secs(10)));
        upstream.send(request, &terms).await.unwrap();
        assert_eq!(api.calls().last().unwrap().uri, path);
    }
}

#[tokio::test]
async fn bodies_and_verbs_arrive_as_the_rule_says() {
    let api = Api::saying("").await;
    let bridge = Bridge::to(&api.url()).contract(Kitchen::open().contract.clone()).start().await;
    // {"id": 7, "note": "é"}
    let message = [0x08, 7, 0x12, 2, 0xc3, 0xa9];
    for (method, verb, uri, body) in [
        ("ServeDish", "POST", "/dishes/7:serve", "{\"note\":\"é\"}"),
        ("DeleteDish", "DELETE", "/dishes/7?note=%C3%A9", ""),
        ("PeekDish", "HEAD", "/dishes/7?note=%C3%A9", ""),
    ] {
        bridge.call(&format!("kitchen.v1.KitchenService/{method}"), &message).await.unwrap();
        let seen = api.calls().last().unwrap().clone();
        assert_eq!((seen.method.as_str(), seen.uri.as_str()), (verb, uri));
        assert_eq!(seen.body, body);
        let content_type = if body.is_empty() { vec![] } else { vec!["application/json".to_owned()] };
        assert_eq!(text(&seen.headers, "content-type"), content_type, "{method}");
    }
}

#[tokio::test]
async fn redirects_are_never_followed() {
    let api = Api::answering(|_| async {
        Response::builder().status(302).header("location", "/elsewhere").body(Body::empty()).unwrap()
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap_err();
    assert_eq!(api.call().uri, "/products");
}

#[tokio::test]
async fn compressed_answers_are_unpacked() {
    let api = Api::answering(|seen| async move {
        assert_eq!(text(&seen.headers, "accept-encoding"), ["gzip"]);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(br#"{"product":{"title":"Pie"}}"#).unwrap();
        let mut response = json(200, packer.finish().unwrap());
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let answer = bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(answer.into_inner().product.unwrap().title.as_deref(), Some("Pie"));
}

#[tokio::test]
async fn an_answer_that_is_not_what_its_encoding_says_is_internal() {
    let api = Api::answering(|_| async {
        let mut response = json(200, "this is no gzip");
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let status = bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "UPSTREAM_ANSWER_UNDECODABLE"));
}

/// A list of so many bytes.
fn list(size: usize) -> String {
    let wrapping = r#"{"products":[],"padding":""}"#.len();
    format!(r#"{{"products":[],"padding":"{}"}}"#, "x".repeat(size - wrapping))
}

fn with_length(size: usize) -> Response {
    json(200, list(size))
}

fn streamed(size: usize) -> Response {
    let chunks = list(size).into_bytes();
    let chunks: Vec<_> = chunks.chunks(1000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    json(200, Body::from_stream(tokio_stream::iter(chunks)))
}

fn packed(size: usize) -> Response {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(list(size).as_bytes()).unwrap();
    let mut response = json(200, packer.finish().unwrap());
    response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    response
}

/// The limit counts what is read: promised, streamed without a length, or unpacked.
#[tokio::test]
async fn an_answer_over_the_limit_is_refused_by_name() {
    const LIMIT: usize = 64 * 1024;
    let ways: [fn(usize) -> Response; 3] = [with_length, streamed, packed];
    for way in ways {
        for (size, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
            let api = Api::answering(move |_| async move { way(size) }).await;
            let bridge =
                Bridge::to(&api.url()).upstream(|upstream| upstream.max_response_bytes = LIMIT).start().await;
            let answer = bridge.shop().await.list_products(ListProductsRequest {}).await;
            assert_eq!(answer.is_ok(), fits, "{size}");
            let Err(status) = answer else { continue };
            let expected = "the API's answer is larger than the limit of 65536 bytes (--max-response-bytes)";
            assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, expected));
            assert_eq!(reason(&status), "UPSTREAM_ANSWER_TOO_LARGE");
        }
    }
}

#[tokio::test]
async fn sixty_five_mebibytes_are_over_the_default_limit_and_do_no_harm() {
    let api = Api::answering(|seen| async move {
        let chunks = (0..65).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20]));
        match seen.uri.as_str() {
            "/products" => json(200, Body::from_stream(tokio_stream::iter(chunks))),
            _ => json(200, "{}"),
        }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await;
    let status = shop.list_products(ListProductsRequest {}).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "UPSTREAM_ANSWER_TOO_LARGE")
    );
    shop.get_product(GetProductRequest { id: 7 }).await.unwrap();
}

#[tokio::test]
async fn a_large_list_arrives_whole() {
    let product = r#"{"title":"Pumpkin-spice Cake","price":"76.56","reviews":[{"id":1,"rate":4.5}]}"#;
    let list = format!(r#"{{"products":[{}]}}"#, vec![product; 100_000].join(","));
    let api = Api::saying(list).await;
    let bridge = Bridge::before(&api.url()).await;
    let answer = bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap();
    assert_eq!(answer.into_inner().products.len(), 100_000);
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let api = RawApi::acting(move |mut stream| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            let mut head = [0; 4096];
            // The first connection is the probe's, which does not matter here.
            while number > 0 && stream.write_all(answer).await.is_ok() {
                match stream.read(&mut head).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
        }
    })
    .await;
    let quiet =
        |probe: &mut grpc_rest_bridge::config::ProbeConfig| probe.interval = Duration::from_secs(3600);
    let bridge = Bridge::to(&api.url()).probe(quiet).start().await;
    while connections.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let mut shop = bridge.shop().await;
    for _ in 0..20 {
        shop.list_products(ListProductsRequest {}).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for url in [refusing.as_str(), "http://no-such-host.invalid", "https://127.0.0.1:1"] {
        let bridge = Bridge::before(url).await;
        let status = bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "UPSTREAM_UNREACHABLE"),
            "{url}"
        );
        assert_eq!(status.message(), "the API cannot be reached");
    }
}

#[tokio::test]
async fn an_api_that_hangs_is_given_up_within_the_limit_of_the_bridge() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    for sent in ["", head] {
        let api = RawApi::acting(move |mut stream| async move {
            stream.write_all(sent.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let short = Duration::from_millis(60);
        let bridge = Bridge::to(&api.url()).upstream(|upstream| upstream.timeout = short).start().await;
        let status = bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::DeadlineExceeded, "UPSTREAM_TIMEOUT"),
            "{sent}"
        );
        assert_eq!(status.message(), "the API did not answer within 60ms");
    }
}

/// One byte now and then is not progress enough: the limit is for the whole answer.
#[tokio::test]
async fn an_answer_that_trickles_is_given_up_too() {
    let api = Api::answering(|_| async {
        let drops = tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>(" ")));
        json(200, Body::from_stream(drops.throttle(Duration::from_millis(10))))
    })
    .await;
    let short = Duration::from_millis(80);
    let bridge = Bridge::to(&api.url()).upstream(|upstream| upstream.timeout = short).start().await;
    let status = bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "UPSTREAM_TIMEOUT"));
}

/// A bridge that proves itself by what stands in this file.
async fn with_credential(api: &Api, credential: CredentialConfig) -> Bridge {
    Bridge::to(&api.url()).upstream(|upstream| upstream.credential = Some(credential)).start().await
}

async fn ask(bridge: &Bridge) -> Result<(), tonic::Status> {
    bridge.call("shop.v1.ProductService/ListProducts", b"").await.map(drop)
}

#[tokio::test]
async fn the_bridge_proves_itself_to_the_api_and_to_nobody_by_what_its_callers_have_shown() {
    let api = Api::saying("{}").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\n").unwrap();
    let bridge = with_credential(&api, CredentialConfig::Bearer(file.path().to_owned())).await;
    let mut request = Request::new(bytes::Bytes::new());
    request.metadata_mut().insert("authorization", "Bearer of-the-caller".parse().unwrap());
    bridge.call_with("shop.v1.ProductService/ListProducts", request).await.unwrap();
    let sent = |call: &Seen| call.headers["authorization"].to_str().unwrap().to_owned();
    assert_eq!(api.calls().iter().map(sent).collect::<Vec<_>>(), ["Bearer first"]);

    std::fs::write(file.path(), "second").unwrap();
    loop {
        ask(&bridge).await.unwrap();
        if sent(api.calls().last().unwrap()) == "Bearer second" {
            break;
        }
    }

    std::fs::write(file.path(), "bridge:secret").unwrap();
    let bridge = with_credential(&api, CredentialConfig::Basic(file.path().to_owned())).await;
    ask(&bridge).await.unwrap();
    assert_eq!(sent(api.calls().last().unwrap()), "Basic YnJpZGdlOnNlY3JldA==");
}

#[tokio::test]
async fn a_credential_that_the_api_refuses_is_no_fault_of_the_caller() {
    let api = Api::answering(async |_| json(401, r#"{"error":"token for warehouse expired"}"#)).await;
    let status = ask(&Bridge::before(&api.url()).await).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret").unwrap();
    let bridge = with_credential(&api, CredentialConfig::Bearer(file.path().to_owned())).await;
    let status = ask(&bridge).await.unwrap_err();
    let told = (status.code(), status.message(), reason(&status));
    let refused = "UPSTREAM_REFUSES_CREDENTIAL".to_owned();
    assert_eq!(told, (Code::Internal, "the API does not let the bridge in", refused));
}
