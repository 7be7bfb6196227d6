//! What callers are told when Rails refuses, falls over, is too slow, or says nothing.

use std::time::{Duration, Instant};

use serde_json::json;
use tonic::Code;

use crate::support::{Bridge, Refusal, Shop, call_with_timeout};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_missing_product_is_not_found_and_named() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    Refusal::of(Code::NotFound, "NOT_FOUND")
        .message("Not Found (the API answered 404 to GET /products/9)")
        .metadata("http_status", "404")
        .resource("shop.v1.Product", "products/9")
        .is(&bridge.get(9).await.unwrap_err());
}

#[tokio::test]
async fn a_crash_of_rails_is_internal_and_nothing_of_it_is_told() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/faults/error")).start().await;
    Refusal::of(Code::Internal, "INTERNAL_SERVER_ERROR")
        .message("Internal Server Error (the API answered 500 to GET /products/1)")
        .metadata("http_status", "500")
        .is(&bridge.get(1).await.unwrap_err());
}

#[tokio::test]
async fn a_throttled_caller_is_told_when_to_come_back() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/faults/too_many")).start().await;
    Refusal::of(Code::ResourceExhausted, "TOO_MANY_REQUESTS")
        .message("Too Many Requests (the API answered 429 to GET /products/1)")
        .metadata("http_status", "429")
        .retry_within(7 * SECOND, 7 * SECOND)
        .is(&bridge.get(1).await.unwrap_err());
}

#[tokio::test]
async fn maintenance_is_unavailable_until_the_date_that_rails_names() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/faults/maintenance")).start().await;
    // Rails names 60 seconds from now, rounded down to a whole one.
    Refusal::of(Code::Unavailable, "SERVICE_UNAVAILABLE")
        .message("Service Unavailable (the API answered 503 to GET /products/1)")
        .metadata("http_status", "503")
        .retry_within(Duration::ZERO, 60 * SECOND)
        .is(&bridge.get(1).await.unwrap_err());
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_the_next_one_is_served() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/faults/slow/2")).start().await;
    let asked = Instant::now();
    let status = call_with_timeout(&bridge, 1, "300m").await;
    assert!(asked.elapsed() < 2 * SECOND, "{:?}", asked.elapsed());
    Refusal::of(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .message("the call did not finish within 300ms")
        .metadata("limit_ms", "300")
        .is(&status);
    let answer = bridge.get(1).await.unwrap();
    assert_eq!(answer.product.unwrap().title.as_deref(), Some("Veranda Symphony"));
}

#[tokio::test]
async fn rails_may_take_no_longer_than_the_bridge_allows() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/faults/slow/2")).set("--upstream-timeout", "200ms").start().await;
    Refusal::of(Code::DeadlineExceeded, "UPSTREAM_TIMEOUT")
        .message("the API did not answer within 200ms")
        .metadata("limit_ms", "200")
        .is(&bridge.get(1).await.unwrap_err());
}

#[tokio::test]
async fn what_rails_said_of_a_crash_is_in_the_log() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/faults/error")).start().await;
    bridge.get(1).await.unwrap_err();
    let line = bridge.logged("the line of the call", |line| line["target"] == "access").await;
    let told = ["severity", "code", "upstream_status", "detail"].map(|key| line[key].clone());
    let body = r#"HTTP 500, body "{\"status\":500,\"error\":\"Internal Server Error\"}""#;
    assert_eq!(told, [json!("WARNING"), json!("INTERNAL"), json!(500), json!(body)]);
}
