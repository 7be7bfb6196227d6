//! One id for one call, in the logs of all parties.

use grpc_rest_bridge::shop::v1::GetProductRequest;
use tonic::Request;

use crate::support::{Bridge, Shop};

#[tokio::test]
async fn the_id_that_a_caller_sends_reaches_rails_and_comes_back() {
    let shop = Shop::with(&[("SHOP_LOG", "info")]).await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let mut request = Request::new(GetProductRequest { id: 1 });
    request.metadata_mut().insert("x-request-id", "order-66".parse().unwrap());
    let answer = bridge.client().get_product(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "order-66");
    assert_eq!(shop.asked_for("/products/1").await, "order-66");
    bridge.logged("the line of the call", |line| line["request_id"] == "order-66").await;
}

#[tokio::test]
async fn a_call_without_an_id_gets_one_that_rails_knows_too() {
    let shop = Shop::with(&[("SHOP_LOG", "info")]).await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let refused = bridge.get(9).await.unwrap_err();
    let id = refused.metadata().get("x-request-id").unwrap().to_str().unwrap();
    assert_eq!(shop.asked_for("/products/9").await, id);
    bridge.logged("the line of the call", |line| line["request_id"] == id).await;
}
