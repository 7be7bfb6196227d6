use std::{io::Write, time::Duration};

use bytes::Bytes;
use grpc_rest_bridge::shop::v1::{GetProductRequest, ListProductsRequest};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio_stream::StreamExt;
use tonic::{Code, Request, codec::CompressionEncoding, metadata::MetadataValue};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{Api, Bridge, Kitchen, Mood, MoodyApi, RawApi, details, json, reason};

/// The frame of a message without a field.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Waits until the health of `service` is `wanted`.
async fn health_becomes(bridge: &Bridge, service: &str, wanted: ServingStatus) {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut watch = HealthClient::new(bridge.channel().await).watch(request).await.unwrap().into_inner();
    while watch.next().await.unwrap().unwrap().status() != wanted {}
}

#[tokio::test]
async fn health_follows_the_api() {
    let (up, is_up) = tokio::sync::watch::channel(false);
    let api = Api::answering(move |_| {
        let status = if *is_up.borrow() { 404 } else { 500 };
        async move { json(status, "") }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    for service in ["", "shop.v1.ProductService", "grpc.health.v1.Health"] {
        health_becomes(&bridge, service, ServingStatus::NotServing).await;
        up.send_replace(true);
        health_becomes(&bridge, service, ServingStatus::Serving).await;
        up.send_replace(false);
    }
    health_becomes(&bridge, "liveness", ServingStatus::Serving).await;
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    let status = HealthClient::new(bridge.channel().await).check(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn the_probe_asks_for_the_path_that_is_configured() {
    let api =
        Api::answering(|seen| async move { json(if seen.uri == "/api/up" { 200 } else { 503 }, "") }).await;
    let url = format!("{}/api/", api.url());
    let bridge = Bridge::to(&url).probe(|probe| probe.path = "/up".to_owned()).start().await;
    health_becomes(&bridge, "", ServingStatus::Serving).await;
}

#[tokio::test]
async fn an_api_that_is_down_is_asked_after_more_often() {
    let api = MoodyApi::start().await;
    api.becomes(Mood::Failing);
    let hour = Duration::from_secs(3600);
    let bridge = Bridge::to(&api.url()).probe(|probe| probe.interval = hour).start().await;
    health_becomes(&bridge, "", ServingStatus::NotServing).await;
    api.becomes(Mood::Well);
    let found = health_becomes(&bridge, "", ServingStatus::Serving);
    tokio::time::timeout(Duration::from_secs(10), found).await.unwrap();
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_not_serving() {
    let bridge = Bridge::before("http://127.0.0.1:1").await;
    health_becomes(&bridge, "", ServingStatus::NotServing).await;
}

#[tokio::test]
async fn reflection_lists_the_contract_in_both_versions() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let expected = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "shop.v1.ProductService"];

    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { message_request: Some(list), ..Default::default() };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(bridge.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, expected);

    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { message_request: Some(list), ..Default::default() };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(bridge.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().unwrap().message_response.is_some());
}

#[tokio::test]
async fn a_method_that_is_not_served_is_unimplemented() {
    let bridge = Bridge::to("http://127.0.0.1:1").contract(Kitchen::open().contract.clone()).start().await;
    for (method, why, message) in [
        (
            "shop.v1.ProductService/GetProduct",
            "METHOD_UNKNOWN",
            "there is no method shop.v1.ProductService/GetProduct",
        ),
        (
            "kitchen.v1.KitchenService/Whisper",
            "METHOD_NOT_MAPPED",
            "kitchen.v1.KitchenService/Whisper has no google.api.http rule, so there is no REST request for it",
        ),
        (
            "kitchen.v1.KitchenService/WatchDish",
            "STREAMING_NOT_SUPPORTED",
            "kitchen.v1.KitchenService/WatchDish streams, which a REST API cannot",
        ),
    ] {
        let status = bridge.call(method, &[]).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, why));
        assert_eq!(status.message(), message);
    }
}

#[tokio::test]
async fn a_request_that_the_path_cannot_carry_is_an_invalid_argument() {
    let bridge = Bridge::to("http://127.0.0.1:1").contract(Kitchen::open().contract.clone()).start().await;
    let status = bridge.call("kitchen.v1.KitchenService/GetFile", &[0x0a, 2, b'.', b'.']).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "REQUEST_NOT_MAPPABLE"));
    assert_eq!(status.message(), "path must not have \".\" or \"..\" as a path segment");
    let violations = details(&status).bad_request().unwrap().field_violations.clone();
    assert_eq!(violations[0].field, "path");
    let status = bridge.call("kitchen.v1.KitchenService/GetFile", &[0x0a, 9]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "REQUEST_MALFORMED"));
}

/// Sends a plain HTTP request and gives status, headers and body.
async fn http(
    bridge: &Bridge,
    version: &str,
    method: &str,
    content_type: &str,
) -> (StatusCode, HeaderMap, Bytes) {
    if version == "HTTP/2" {
        let (head, body) =
            bridge.raw(method, &[("content-type", content_type)], Bytes::from_static(b"{}")).await;
        return (head.status, head.headers, body);
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let url = format!("http://{}/products", bridge.address);
    let response = client.request(method, url).header("content-type", content_type).send().await.unwrap();
    (response.status(), response.headers().clone(), response.bytes().await.unwrap())
}

#[tokio::test]
async fn what_is_no_grpc_is_told_so_in_http() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let hint = "this server speaks gRPC: use content-type application/grpc, e.g. with grpcurl -plaintext\n";
    for (version, method, content_type, status, text) in [
        ("HTTP/1.1", "GET", "application/json", 415, hint),
        ("HTTP/2", "POST", "application/json", 415, hint),
        ("HTTP/2", "POST", "application/grpc-web+proto", 415, hint),
        ("HTTP/1.1", "POST", "application/grpc", 505, "gRPC needs HTTP/2\n"),
        ("HTTP/2", "GET", "application/grpc", 405, "a gRPC call is a POST\n"),
    ] {
        let (found, headers, body) = http(&bridge, version, method, content_type).await;
        assert_eq!(
            (found.as_u16(), std::str::from_utf8(&body).unwrap()),
            (status, text),
            "{version} {content_type}"
        );
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(headers.get("allow"), (status == 405).then_some(&HeaderValue::from_static("POST")));
    }
    assert!(api.calls().is_empty());
}

#[tokio::test]
async fn requests_and_answers_may_be_compressed() {
    let title = "long ".repeat(1000);
    let api = Api::saying(format!(r#"{{"product":{{"title":"{title}"}}}}"#)).await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await.send_compressed(CompressionEncoding::Gzip);
    let plain = shop.get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(plain.metadata().get("grpc-encoding"), None);
    let mut shop = shop.accept_compressed(CompressionEncoding::Gzip);
    let packed = shop.get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(packed.metadata().get("grpc-encoding").unwrap(), "gzip");
    assert_eq!(packed.into_inner().product.unwrap().title, Some(title));
    assert_eq!(api.calls()[0].uri, "/products/7");
}

#[tokio::test]
async fn compression_can_be_switched_off() {
    let api = Api::saying(format!(r#"{{"product":{{"title":"{}"}}}}"#, "long ".repeat(1000))).await;
    let bridge = Bridge::to(&api.url()).inbound(|inbound| inbound.compress = false).start().await;
    let mut shop = bridge.shop().await.accept_compressed(CompressionEncoding::Gzip);
    let answer = shop.get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(answer.metadata().get("grpc-encoding"), None);
}

#[tokio::test]
async fn a_caller_s_deadline_ends_its_call() {
    let api = Api::answering(|_| std::future::pending()).await;
    let bridge = Bridge::before(&api.url()).await;
    let status = bridge.raw_call(&[("grpc-timeout", "50m")], EMPTY_MESSAGE).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert_eq!(status.message(), "the call did not finish within 50ms");
}

#[tokio::test]
async fn a_caller_without_a_deadline_gets_the_default_one() {
    let api = Api::answering(|_| std::future::pending()).await;
    let short = Duration::from_millis(50);
    let bridge = Bridge::to(&api.url()).inbound(|inbound| inbound.default_deadline = short).start().await;
    let status = bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::DeadlineExceeded, "the call did not finish within 50ms")
    );
}

#[tokio::test]
async fn a_malformed_deadline_is_refused() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let status = bridge.raw_call(&[("grpc-timeout", "soon")], EMPTY_MESSAGE).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "REQUEST_REFUSED"));
    assert!(api.calls().is_empty());
}

/// The API sees its connection closed as soon as nobody waits any more.
#[tokio::test]
async fn a_call_whose_caller_goes_away_is_cancelled_at_the_api() {
    let (closed, mut is_closed) = tokio::sync::mpsc::unbounded_channel();
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let api = RawApi::acting(move |mut stream| {
        let (arrived, closed) = (arrived.clone(), closed.clone());
        async move {
            arrived.send(()).unwrap();
            let mut rest = Vec::new();
            // Ends when the other side closes.
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
            closed.send(()).unwrap();
        }
    })
    .await;
    let bridge =
        Bridge::to(&api.url()).probe(|probe| probe.interval = Duration::from_secs(3600)).start().await;
    has_arrived.recv().await.unwrap(); // the first probe
    let mut shop = bridge.shop().await;
    let call = tokio::spawn(async move { shop.list_products(ListProductsRequest {}).await });
    has_arrived.recv().await.unwrap();
    call.abort();
    is_closed.recv().await.unwrap();
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_before_the_api_is_asked() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let method = "shop.v1.ProductService/GetProduct";
    // An unknown field of as many bytes, with its tag and length.
    let message = |size: usize| {
        let mut message = vec![0xfa, 0x3f];
        prost::encoding::encode_varint((size - 6) as u64, &mut message);
        message.resize(size, 0);
        message
    };
    bridge.call(method, &message(4 << 20)).await.unwrap();
    let status = bridge.call(method, &message((4 << 20) + 1)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
    assert!(status.message().contains("the limit is: 4194304 bytes"), "{}", status.message());
    assert!(status.metadata().contains_key("x-request-id"));
    assert_eq!(api.calls().len(), 1);
}

#[tokio::test]
async fn a_call_that_breaks_the_protocol_is_told_why() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    for (headers, frame, code, what) in [
        (&[][..], &[][..], Code::Internal, "Missing request message."),
        (
            &[("grpc-encoding", "snappy")],
            EMPTY_MESSAGE,
            Code::Unimplemented,
            "Content is compressed with `snappy` which isn't supported",
        ),
        (
            &[],
            &[2, 0, 0, 0, 0],
            Code::Internal,
            "protocol error: received message with invalid compression flag: 2 (valid flags are 0 and 1), while sending request",
        ),
    ] {
        let status = bridge.raw_call(headers, frame).await;
        assert_eq!((status.code(), status.message()), (code, what));
        assert_eq!(reason(&status), "REQUEST_REFUSED");
    }
    assert!(api.calls().is_empty());
}

/// A small message that unpacks to a large one must not get past the limit.
#[tokio::test]
async fn a_compressed_request_is_measured_unpacked() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![0; 64 << 20]).unwrap();
    let packed = packer.finish().unwrap();
    let mut frame = vec![1];
    frame.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_be_bytes());
    frame.extend(packed);
    let status = bridge.raw_call(&[("grpc-encoding", "gzip")], frame).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
    assert!(api.calls().is_empty());
}

#[tokio::test]
async fn metadata_up_to_64_kib_is_taken() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let mut request = Request::new(GetProductRequest { id: 7 });
    for name in ["authorization", "x-forwarded-authorization", "x-apigateway-api-userinfo"] {
        request.metadata_mut().insert(name, MetadataValue::try_from("a".repeat(20_000)).unwrap());
    }
    bridge.shop().await.get_product(request).await.unwrap();
    let seen = api.call();
    assert_eq!(seen.headers.get("authorization"), None);
    assert_eq!(seen.headers.get("x-apigateway-api-userinfo"), None);
}

#[tokio::test]
async fn a_request_id_goes_all_the_way_and_comes_back() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await;
    for (sent, kept) in [("my-id_7@x", true), ("not one; drop\tit", false), (&"a".repeat(256), false)] {
        let mut request = Request::new(GetProductRequest { id: 7 });
        request.metadata_mut().insert("x-request-id", sent.parse().unwrap());
        let answer = shop.get_product(request).await.unwrap();
        let returned = answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
        let seen = api.calls().last().unwrap().headers["x-request-id"].clone();
        assert_eq!(seen, returned);
        assert_eq!(returned == sent, kept, "{sent}");
    }
}

#[tokio::test]
async fn an_error_has_the_request_id_too() {
    let bridge = Bridge::before("http://127.0.0.1:1").await;
    let mut request = Request::new(GetProductRequest { id: 7 });
    request.metadata_mut().insert("x-request-id", "my-id".parse().unwrap());
    let status = bridge.shop().await.get_product(request).await.unwrap_err();
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "my-id");
    assert_eq!(details(&status).request_info().unwrap().request_id, "my-id");
}
