//! A Python program with stubs that are made from the contract: `examples/python/shop_client.py`.

use grpc_rest_bridge::shop::v1::{GetProductResponse, ListProductsResponse};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Bridge, Shop, Tool, assert_same, from_json, python};

const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python/shop_client.py");
/// What its users generate; `google/api` comes with a package.
const SHOP: &str = "shop/v1/product_service.proto";

#[tokio::test]
async fn the_list_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    let stubs = Stubs::of(&[SHOP]).await;
    for prefix in ["", "/detailed"] {
        let bridge = Bridge::before(shop.at(prefix)).start().await;
        let list = stubs.client(&bridge, &["list"]).succeeds().await;
        let rails = shop.json(&format!("{prefix}/products")).await;
        assert_same(&rails, &from_json::<ListProductsResponse>(&list));
    }
}

#[tokio::test]
async fn a_product_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    let stubs = Stubs::of(&[SHOP]).await;
    let bridge = Bridge::before(shop.at("")).start().await;
    for id in [3, 4, 13, 32] {
        let product =
            stubs.client(&bridge, &["--api-key", "secret", "get", &id.to_string()]).succeeds().await;
        let rails = shop.json(&format!("/products/{id}")).await;
        assert_same(&rails, &from_json::<GetProductResponse>(&product));
    }
}

#[tokio::test]
async fn stubs_of_googles_own_files_do_not_clash_with_those_of_the_package() {
    let shop = Shop::ordinary().await;
    let google = ["api/annotations", "api/http", "rpc/error_details", "rpc/status"];
    let google = google.map(|name| format!("google/{name}.proto"));
    let stubs = Stubs::of(&[&[SHOP], &google.each_ref().map(String::as_str)[..]].concat()).await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let product = stubs.client(&bridge, &["get", "3"]).succeeds().await;
    assert_same(&shop.json("/products/3").await, &from_json::<GetProductResponse>(&product));
    let (code, _, error) = stubs.client(&bridge, &["get", "9"]).run().await;
    assert_eq!(code, 1);
    assert!(error.starts_with("NOT_FOUND: Not Found (the API answered 404 to GET /products/9)\n"), "{error}");
    assert_eq!(error.lines().count(), 4, "a line for each detail: {error}");
}

#[tokio::test]
async fn an_error_is_told_with_its_details() {
    let shop = Shop::ordinary().await;
    let stubs = Stubs::of(&[SHOP]).await;
    let bridge = Bridge::before(shop.at("/faults/too_many")).start().await;
    let (code, out, error) = stubs.client(&bridge, &["get", "1"]).run().await;
    assert_eq!((code, out.as_str()), (1, ""));
    let (first, details) = error.split_once('\n').unwrap();
    assert_eq!(first, "RESOURCE_EXHAUSTED: Too Many Requests (the API answered 429 to GET /products/1)");
    let details: Vec<Value> = details.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = bridge.logged("the line of the call", |line| line["target"] == "access").await;
    assert_eq!(json!(details), throttled(&line["request_id"]));
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_takes_too_long() {
    let shop = Shop::ordinary().await;
    let stubs = Stubs::of(&[SHOP]).await;
    let bridge = Bridge::before(shop.at("/faults/slow/2")).start().await;
    let (code, _, error) = stubs.client(&bridge, &["--timeout", "0.3", "get", "1"]).run().await;
    assert_eq!(code, 1);
    assert!(error.starts_with("DEADLINE_EXCEEDED: "), "{error}");
}

fn throttled(request_id: &Value) -> Value {
    json!([
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "7s" },
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "TOO_MANY_REQUESTS",
            "domain": "grpc-rest-bridge",
            "metadata": { "method": "shop.v1.ProductService/GetProduct", "http_status": "429" },
        },
        { "@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": request_id },
    ])
}

/// Python modules made from the contract.
struct Stubs(TempDir);

// === impl Stubs ===

impl Stubs {
    /// Generates them as the client's own text says.
    async fn of(files: &[&str]) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let out = dir.path().to_str().unwrap();
        let (python_out, grpc_out) = (format!("--python_out={out}"), format!("--grpc_python_out={out}"));
        let protoc = ["-m", "grpc_tools.protoc", "-I", PROTO, &python_out, &grpc_out];
        python().args(&protoc).args(files).succeeds().await;
        Self(dir)
    }

    fn client(&self, bridge: &Bridge, args: &[&str]) -> Tool {
        let path = self.0.path();
        // Its bytecode would be written beside it.
        let python = python().env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
        python.args(&[CLIENT, "--target", bridge.address()]).args(args)
    }
}
