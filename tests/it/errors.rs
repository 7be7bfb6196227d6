use std::time::Duration;

use axum::response::Response;
use grpc_rest_bridge::shop::v1::{GetProductRequest, ListProductsRequest};
use serde_json::{Value, json as value};
use tonic::{Code, Status};

use crate::support::{Api, Bridge, Kitchen, RawApi, details, json, reason};

/// HTTP statuses and error bodies of many APIs with the code and details that they mean.
const CASES: &str = include_str!("../cases/status.json");

/// What GetProduct of product 7 is told when the API answers like this.
async fn told(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Status {
    let api = Api::answering(move |_| {
        let answer = answer.clone();
        async move { answer() }
    })
    .await;
    let bridge = Bridge::before(&api.url()).await;
    bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap_err()
}

fn code_name(code: Code) -> String {
    let name = format!("{code:?}");
    let mut snake = String::new();
    for (index, c) in name.chars().enumerate() {
        if index > 0 && c.is_uppercase() {
            snake.push('_');
        }
        snake.extend(c.to_uppercase());
    }
    snake
}

#[tokio::test]
async fn every_http_status_has_its_code() {
    let cases: Value = serde_json::from_str(CASES).unwrap();
    for row in cases["rows"].as_array().unwrap() {
        let status = u16::try_from(row["http"].as_u64().unwrap()).unwrap();
        let api = Api::answering(move |_| async move {
            let body = format!("{{\"status\":{status},\"error\":\"Some Error\"}}");
            json(status, if status == 304 || status == 204 { String::new() } else { body })
        })
        .await;
        let bridge = Bridge::before(&api.url()).await;
        let answer = bridge.shop().await.get_product(GetProductRequest { id: 7 }).await;
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        assert_eq!(code_name(code), row["recommended"].as_str().unwrap(), "HTTP {status}");
    }
}

#[tokio::test]
async fn every_error_body_is_read_for_what_it_says() {
    let cases: Value = serde_json::from_str(CASES).unwrap();
    for case in cases["body_cases"].as_array().unwrap() {
        let (id, expect) = (&case["id"], case.get("recommended").unwrap_or(&case["expect"]));
        let body = case["body"].as_str().unwrap().to_owned();
        let body =
            if body == "<100000 bytes>" { format!("<html>{}</html>", "x".repeat(100_000)) } else { body };
        let content_type = case["content_type"].as_str().map(str::to_owned);
        let http = u16::try_from(case["http"].as_u64().unwrap()).unwrap();
        let sent = body.clone();
        let status = told(move || {
            let mut response = json(http, sent.clone());
            response.headers_mut().remove("content-type");
            let content_type =
                content_type.iter().map(|kind| ("content-type".parse().unwrap(), kind.parse().unwrap()));
            response
                .headers_mut()
                .extend(content_type.map(|(name, kind): (http::HeaderName, _)| (Some(name), kind)));
            response
        })
        .await;
        assert_eq!(code_name(status.code()), expect["code"].as_str().unwrap(), "{id}");
        let message = expect["message"].as_str().unwrap_or_default();
        assert!(
            !status.message().is_empty() && status.message().contains(message),
            "{id}: {}",
            status.message()
        );
        assert!(!status.message().contains('<'), "{id}: {}", status.message());
        assert!(body.len() < 3 || !status.message().contains(&body), "{id}: {}", status.message());
        for detail in expect["details"].as_array().into_iter().flatten() {
            assert_detail(&status, detail, id);
        }
    }
}

fn assert_detail(status: &Status, detail: &Value, id: &Value) {
    let sent = details(status);
    match detail["@type"].as_str().unwrap() {
        "type.googleapis.com/google.rpc.ErrorInfo" => {
            let info = sent.error_info().unwrap();
            assert_eq!(value!(info.reason), detail["reason"], "{id}");
            assert_eq!(value!(info.domain), detail["domain"], "{id}");
            assert_eq!(value!(info.metadata), detail["metadata"], "{id}");
        }
        "type.googleapis.com/google.rpc.BadRequest" => {
            let violations = &sent.bad_request().unwrap().field_violations;
            let violations =
                violations.iter().map(|v| value!({"field": v.field, "description": v.description}));
            assert_eq!(Value::Array(violations.collect()), detail["fieldViolations"], "{id}");
        }
        other => panic!("{id}: the test knows no {other}"),
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let status = told(|| json(404, r#"{"status":404,"error":"Not Found"}"#)).await;
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "Not Found (the API answered 404 to GET /products/7)");
    let details = details(&status);
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NOT_FOUND", "grpc-rest-bridge"));
    assert_eq!(
        value!(info.metadata),
        value!({"http_status": "404", "method": "shop.v1.ProductService/GetProduct"})
    );
    let resource = details.resource_info().unwrap();
    assert_eq!(
        (resource.resource_type.as_str(), resource.resource_name.as_str()),
        ("shop.v1.Product", "products/7")
    );
    assert!(!details.request_info().unwrap().request_id.is_empty());
}

#[tokio::test]
async fn a_pause_that_the_api_asks_for_is_passed_on() {
    for (http, retry_after, least, most) in [
        (429, "7".to_owned(), 7, 7),
        (503, "0".to_owned(), 0, 0),
        (503, httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(600)), 590, 600),
    ] {
        let status = told(move || {
            let mut response = json(http, "");
            response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            response
        })
        .await;
        let delay = details(&status).retry_info().unwrap().retry_delay.unwrap();
        assert!((least..=most).contains(&delay.as_secs()), "{http}: {delay:?}");
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
        // Whole milliseconds, and not one too few.
        assert_eq!(pushback, delay.as_nanos().div_ceil(1_000_000).to_string().as_str());
    }
    let status = told(|| json(429, "")).await;
    assert!(details(&status).retry_info().is_none());
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms"), None);
}

#[tokio::test]
async fn a_pause_in_the_api_s_own_details_is_told_to_clients_that_do_not_read_them() {
    for (delay, pushback) in [("1.0005s", "1001"), ("0s", "0"), ("3.2s", "3200"), ("999999999s", "86400000")]
    {
        let body = format!(
            r#"{{"error": {{"code": 503, "message": "Later", "status": "UNAVAILABLE", "details": [
                {{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "{delay}"}}]}}}}"#
        );
        let status = told(move || json(503, body.clone())).await;
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), pushback, "{delay}");
    }
}

/// Rails names the fields of the body; the caller knows them below the field that is the body.
#[tokio::test]
async fn invalid_fields_have_the_names_of_the_request() {
    let api = Api::answering(|_| async {
        json(422, r#"{"errors":{"title":["can't be blank"],"base":["Shop is closed"],"odd":["is odd"]}}"#)
    })
    .await;
    let bridge = Bridge::to(&api.url()).contract(Kitchen::open().contract.clone()).start().await;
    let status = bridge.call("kitchen.v1.KitchenService/CreateDish", &[0x0a, 1, b'm']).await.unwrap_err();
    let violations = details(&status).bad_request().unwrap().field_violations.clone();
    let violations: Vec<_> = violations.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
    assert_eq!(violations, [("", "Shop is closed"), ("odd", "is odd"), ("dish.title", "can't be blank")]);
}

#[tokio::test]
async fn message_and_details_stay_small_whatever_the_api_writes() {
    let long = "é".repeat(400);
    let errors: serde_json::Map<_, _> = (0..50).map(|n| (format!("field_{n}"), value!([long]))).collect();
    let body = value!({"message": long, "errors": errors}).to_string();
    let status = told(move || json(422, body.clone())).await;
    let message: usize = status
        .message()
        .bytes()
        .map(|byte| if byte.is_ascii_graphic() || byte == b' ' { 1 } else { 3 })
        .sum();
    let size = message + status.details().len().div_ceil(3) * 4;
    assert!(size <= 6 * 1024, "{size}");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(!details(&status).bad_request().unwrap().field_violations.is_empty());
}

/// Names that a caller makes up, and details that an API sends, are of any length.
#[tokio::test]
async fn whatever_is_long_the_reason_and_the_request_id_are_told() {
    let kitchen = Kitchen::open().contract.clone();
    let api = Api::answering(|_| async {
        let metadata: serde_json::Map<_, _> = (0..60).map(|n| (format!("key_{n}"), value!("x".repeat(200)))).collect();
        let info = value!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "LONG", "metadata": metadata});
        json(404, value!({"error": {"status": "NOT_FOUND", "message": "No.", "details": [info]}}).to_string())
    })
    .await;
    let bridge = Bridge::to(&api.url()).contract(kitchen).start().await;
    let mut long_path = vec![0x0a, 0xe0, 0xd4, 0x03];
    long_path.resize(4 + 60_000, b'a');
    for (method, message, why) in [
        ("kitchen.v1.KitchenService/GetFile", long_path, "NOT_FOUND"),
        (&format!("{}/A", "a.B".repeat(5_000)), vec![], "METHOD_UNKNOWN"),
    ] {
        let status = bridge.call(method, &message).await.unwrap_err();
        assert_eq!(reason(&status), why);
        assert!(!details(&status).request_info().unwrap().request_id.is_empty());
        assert!(status.message().len() + status.details().len() < 4096, "{}", status.details().len());
    }
}

#[tokio::test]
async fn a_misconfigured_bridge_is_reported_as_that() {
    let redirect = |to: &'static str| {
        move || Response::builder().status(301).header("location", to).body("".into()).unwrap()
    };
    let refused =
        || Response::builder().status(403).header("content-type", "text/html").body("".into()).unwrap();
    for (status, code, why) in [
        (told(redirect("https://shop.internal/products/7")).await, Code::Unknown, "UPSTREAM_WANTS_HTTPS"),
        (told(redirect("/login")).await, Code::Unknown, "UPSTREAM_REDIRECTS"),
        (told(refused).await, Code::Internal, "UPSTREAM_REFUSES_HOST"),
    ] {
        assert_eq!((status.code(), reason(&status).as_str()), (code, why));
        assert!(status.message().starts_with("the bridge is misconfigured: "), "{}", status.message());
        assert!(!status.message().contains("shop.internal"), "{}", status.message());
    }
    // An application that says no is another thing.
    let status = told(|| json(403, r#"{"error":"Only for members"}"#)).await;
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "Only for members"));
}

#[tokio::test]
async fn nothing_internal_reaches_the_caller() {
    const DEVELOPMENT: &str = r##"{"status":500,"error":"Internal Server Error","exception":"#<PG::ConnectionBad: secret>",
        "message":"could not connect to 10.0.0.5:5432 secret","traces":{"Application Trace":[{"trace":"app/secret.rb:3"}]}}"##;
    for body in [DEVELOPMENT, "<html><h1>secret</h1></html>", "secret\n  app/models/secret.rb:3"] {
        let status = told(move || json(500, body)).await;
        assert_eq!(status.message(), "Internal Server Error (the API answered 500 to GET /products/7)");
        let bytes = String::from_utf8_lossy(status.details()).into_owned();
        assert!(!bytes.contains("secret") && !bytes.contains("127.0.0.1"), "{bytes}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_internal_with_its_place() {
    for (body, what) in [
        (
            r#"{"product":{"title":4}}"#,
            "product.title: expected a string, found a number (line 1, column 21)",
        ),
        (
            r#"{"product":{"reviews":[{},{"rate":"four"}]}}"#,
            "product.reviews[1].rate: expected a number, found a string (line 1, column 41)",
        ),
        (r#"{"product":{"#, "product: expected a key in quotes, but the text ends (line 1, column 13)"),
        ("[]", "expected an object, found an array (line 1, column 1)"),
        ("\n<!DOCTYPE html><p>hello</p>", "it is HTML, not JSON"),
        ("\u{0}", "expected a value, found \"\\0\" (line 1, column 1)"),
    ] {
        let status = told(move || json(200, body)).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "UPSTREAM_ANSWER_MISMATCH"));
        assert_eq!(status.message(), format!("the API's answer does not fit the contract: {what}"));
    }
}

/// Bytes that no real server sends, or only a dying one.
#[tokio::test]
async fn a_broken_connection_is_unavailable_and_the_bridge_serves_on() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for (bytes, why) in [
        (String::new(), "UPSTREAM_CONNECTION_LOST"),
        ("HTTP/1.1 200 OK\r\ncontent".to_owned(), "UPSTREAM_CONNECTION_LOST"),
        ("nonsense\r\n\r\n".to_owned(), "UPSTREAM_CONNECTION_LOST"),
        (format!("{head}content-length: 100\r\n\r\n{{\"product\":"), "UPSTREAM_ANSWER_CUT_OFF"),
        (
            format!("{head}transfer-encoding: chunked\r\n\r\nb\r\n{{\"product\":\r\n"),
            "UPSTREAM_ANSWER_CUT_OFF",
        ),
        (format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n"), "UPSTREAM_ANSWER_CUT_OFF"),
    ] {
        let api = RawApi::sending(bytes.clone()).await;
        let bridge = Bridge::before(&api.url()).await;
        let mut shop = bridge.shop().await;
        for _ in 0..2 {
            let status = shop.list_products(ListProductsRequest {}).await.unwrap_err();
            assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, why), "{bytes:?}");
        }
    }
}
