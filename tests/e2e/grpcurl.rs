//! grpcurl: a client that knows nothing but what the server tells it, or a descriptor file.

use grpc_rest_bridge::shop::v1::{GetProductResponse, ListProductsResponse};
use serde_json::{Value, json};

use crate::support::{Bridge, Shop, Tool, assert_same, from_json, grpcurl};

/// What grpcurl adds to the number of a gRPC code for its own exit code.
const NOT_FOUND: i32 = 64 + 5;

#[tokio::test]
async fn the_services_are_listed() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let services = ask(&bridge, &[], "list").succeeds().await;
    let services: Vec<_> = services.lines().collect();
    let expected = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "shop.v1.ProductService"];
    assert_eq!(services, expected);
}

#[tokio::test]
async fn the_contract_is_described_with_its_comments_and_its_http_rules() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let contract = ask(&bridge, &[], "describe").succeeds().await;
    for line in [
        "// Reads the products of the shop. Each call is one request to the shop's REST API.",
        "  rpc GetProduct ( .shop.v1.GetProductRequest ) returns ( .shop.v1.GetProductResponse ) {",
        "    option (.google.api.http) = { get: \"/products/{id}\" };",
        "  rpc ListProducts ( .shop.v1.ListProductsRequest ) returns ( .shop.v1.ListProductsResponse ) {",
        "    option (.google.api.http) = { get: \"/products\" };",
    ] {
        assert!(contract.lines().any(|found| found == line), "there is no {line:?} in\n{contract}");
    }
}

#[tokio::test]
async fn the_list_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    for prefix in ["", "/detailed"] {
        let bridge = Bridge::before(shop.at(prefix)).start().await;
        let list = ask(&bridge, &[], "shop.v1.ProductService/ListProducts").succeeds().await;
        let rails = shop.json(&format!("{prefix}/products")).await;
        assert_same(&rails, &from_json::<ListProductsResponse>(&list));
    }
}

#[tokio::test]
async fn a_product_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    for id in [3, 4, 13, 22, 32, 40] {
        let data = format!(r#"{{"id":{id}}}"#);
        let product = ask(&bridge, &["-d", &data], "shop.v1.ProductService/GetProduct").succeeds().await;
        let rails = shop.json(&format!("/products/{id}")).await;
        assert_same(&rails, &from_json::<GetProductResponse>(&product));
    }
}

#[tokio::test]
async fn a_missing_product_is_told_with_its_details() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let flags = ["-format-error", "-H", "x-request-id: order-66", "-d", r#"{"id":9}"#];
    let (code, _, error) = ask(&bridge, &flags, "shop.v1.ProductService/GetProduct").run().await;
    assert_eq!(code, NOT_FOUND);
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error, missing_product());
}

#[tokio::test]
async fn a_descriptor_file_is_as_good_as_reflection() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/detailed")).start().await;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("shop.binpb");
    Bridge::write_descriptor(&file);
    let protoset = ["-protoset", file.to_str().unwrap()];

    let list = ask(&bridge, &protoset, "shop.v1.ProductService/ListProducts").succeeds().await;
    assert_same(&shop.json("/detailed/products").await, &from_json::<ListProductsResponse>(&list));

    let flags =
        [&protoset[..], &["-format-error", "-H", "x-request-id: order-66", "-d", r#"{"id":9}"#]].concat();
    let (code, _, error) = ask(&bridge, &flags, "shop.v1.ProductService/GetProduct").run().await;
    assert_eq!((code, serde_json::from_str::<Value>(&error).unwrap()), (NOT_FOUND, missing_product()));
}

#[tokio::test]
async fn people_are_told_a_missing_product_in_words() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let (code, out, error) =
        ask(&bridge, &["-d", r#"{"id":9}"#], "shop.v1.ProductService/GetProduct").run().await;
    assert_eq!((code, out.as_str()), (NOT_FOUND, ""));
    assert!(error.starts_with("ERROR:\n  Code: NotFound\n  Message: Not Found (the API answered 404 to GET /products/9)\n  Details:\n"), "{error}");
    assert!(error.contains(r#""resourceName": "products/9""#), "{error}");
}

fn ask(bridge: &Bridge, flags: &[&str], what: &str) -> Tool {
    grpcurl().args(&["-plaintext"]).args(flags).args(&[bridge.address(), what])
}

fn missing_product() -> Value {
    json!({
        "code": 5,
        "message": "Not Found (the API answered 404 to GET /products/9)",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "NOT_FOUND",
                "domain": "grpc-rest-bridge",
                "metadata": { "method": "shop.v1.ProductService/GetProduct", "http_status": "404" },
            },
            { "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "order-66" },
            {
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "resourceType": "shop.v1.Product",
                "resourceName": "products/9",
                "description": "does not exist",
            },
        ],
    })
}
