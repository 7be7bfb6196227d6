//! The typed client reads what Rails says, in every field of every product.

use grpc_rest_bridge::shop::v1::{
    GetProductRequest, GetProductResponse, ListProductsRequest, Product, Review,
};
use prost_types::Timestamp;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;

use crate::support::{Bridge, Shop, assert_same, differences, dynamic, within_patience};

#[tokio::test]
async fn every_product_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    for id in shop.product_ids().await {
        let answer = bridge.get(id).await.unwrap();
        assert_same(&shop.json(&format!("/products/{id}")).await, &dynamic(&answer));
    }
}

#[tokio::test]
async fn the_list_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let answer = bridge.list().await.unwrap();
    assert_eq!(answer.products.len(), shop.product_ids().await.len());
    assert_same(&shop.json("/products").await, &dynamic(&answer));
}

#[tokio::test]
async fn every_product_of_an_api_below_a_prefix_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/detailed")).start().await;
    for id in shop.product_ids().await {
        let answer = bridge.get(id).await.unwrap();
        assert_eq!(answer.product.as_ref().unwrap().id, Some(id));
        assert_same(&shop.json(&format!("/detailed/products/{id}")).await, &dynamic(&answer));
    }
}

#[tokio::test]
async fn the_list_of_an_api_below_a_prefix_is_what_rails_says() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/detailed/")).start().await;
    let answer = bridge.list().await.unwrap();
    assert_same(&shop.json("/detailed/products").await, &dynamic(&answer));
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/detailed")).start().await;
    let mut calls = JoinSet::new();
    for id in shop.product_ids().await {
        let mut client = bridge.client();
        calls.spawn(async move { (id, client.get_product(GetProductRequest { id }).await) });
    }
    for (id, answer) in within_patience("all answers", calls.join_all(), || bridge.last_lines()).await {
        assert_eq!(answer.unwrap().into_inner().product.unwrap().id, Some(id));
    }
}

#[tokio::test]
async fn answers_that_rails_compresses_are_the_same() {
    let shop = Shop::with(&[("SHOP_GZIP", "1")]).await;
    assert!(shop.compresses("/products").await, "Rails does not compress, so this would prove nothing");
    let plain = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    assert_same(&plain.json("/products").await, &dynamic(&bridge.list().await.unwrap()));
    for id in plain.product_ids().await {
        let answer = bridge.get(id).await.unwrap();
        assert_same(&plain.json(&format!("/products/{id}")).await, &dynamic(&answer));
    }
}

#[tokio::test]
async fn answers_that_the_bridge_compresses_are_the_same() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let mut client = bridge.client().accept_compressed(CompressionEncoding::Gzip);
    let answer = client.list_products(ListProductsRequest {}).await.unwrap();
    assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), "gzip");
    assert_same(&shop.json("/products").await, &dynamic(answer.get_ref()));
    // Too small to be worth it, which its client must see too.
    let answer = client.get_product(GetProductRequest { id: 3 }).await.unwrap();
    assert_same(&shop.json("/products/3").await, &dynamic(answer.get_ref()));
}

#[tokio::test]
async fn a_product_is_a_struct_with_nothing_lost() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/detailed")).start().await;
    let review = Review {
        id: Some(4),
        name: Some("Msgr. Arron Morissette".to_owned()),
        message: Some("Nisi est ut consequatur.".to_owned()),
        rate: Some(2.0),
    };
    let product = Product {
        id: Some(1),
        title: Some("Veranda Symphony".to_owned()),
        price: Some("83.84".to_owned()),
        reviews: vec![review],
        created_at: Some(Timestamp { seconds: 1_615_738_166, nanos: 535_000_000 }),
        updated_at: Some(Timestamp { seconds: 1_615_820_966, nanos: 535_000_000 }),
    };
    assert_eq!(bridge.get(1).await.unwrap(), GetProductResponse { product: Some(product) });
}

#[tokio::test]
async fn nothing_is_rounded_replaced_or_made_up() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).start().await;
    let get = async |id| bridge.get(id).await.unwrap().product.unwrap();
    let text = |text: &str| Some(text.to_owned());

    assert_eq!(get(4).await, Product::default(), "nulls are fields that are not set");
    assert_eq!(get(5).await.title, text(""), "an empty text is a text");
    assert_eq!(get(8).await.price, text("123456789012345678901234567890.0"));
    assert_eq!(get(11).await.price, text("0.000000000000000000000000000001"));
    let rates: Vec<_> = get(13).await.reviews.iter().map(|review| review.rate.unwrap()).collect();
    assert_eq!(rates, [3.333_333_333_333_333_5, 1e-5, 1e20, -0.5]);
    assert_eq!(get(21).await.title, text("Emoji ☕️ 👩‍🍳 🏳️‍🌈"));
    assert_eq!(get(32).await.title, text("Control \u{1} \u{1f} \u{7f} characters"));
    assert_eq!(get(40).await.reviews[0].message.as_ref().unwrap().len(), 20 * 1024);
}

#[test]
fn the_comparison_notices_whatever_is_lost_changed_or_made_up() {
    let rails = r#"{"product":{"title":"Tea","price":null,"reviews":[{"rate":2.0},{}],"size":1}}"#;
    let rails: &RawValue = serde_json::from_str(rails).unwrap();
    let review = |rate| Review { rate, ..Review::default() };
    let product = Product {
        id: Some(0),
        title: Some(String::new()),
        reviews: vec![review(None), review(Some(2.0)), Review::default()],
        ..Product::default()
    };
    let message = dynamic(&GetProductResponse { product: Some(product) });
    let found = differences(rails, &message);
    let found: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let places = ["size", "id", "title", "reviews", "reviews[0].rate", "reviews[1].rate"];
    assert_eq!(found, places.map(|place| format!("$.product.{place}")));
}
