use grpc_rest_bridge::{
    config::{InboundConfig, UpstreamConfig},
    shop::v1::{
        GetProductRequest, GetProductResponse, ListProductsRequest, ListProductsResponse, Product, Review,
        product_service_client::ProductServiceClient,
        product_service_server::{ProductService, ProductServiceServer},
    },
    upstream::Upstream,
};
use prost_types::Timestamp;
use tonic::{Request, Response, Status, service::Routes};

use crate::support::{Api, Bridge, Kitchen, json};

const LIST: &str = r#"{"products":[{"title":"Veranda Symphony","price":"83.84","reviews":[{"id":4,
    "name":"Msgr. Arron Morissette","message":"Nisi est ut consequatur.","rate":2.0}]},
    {"title":"Café Volcano \u2615","price":"12345678901234567890.123456789","reviews":[]},
    {"title":null,"price":null,"reviews":[{"id":9007199254740993,"name":null,"message":"","rate":4.5},{"rate":2}],
     "stock":{"warehouse":["a",1]}}],"meta":{"total":3}}"#;

#[tokio::test]
async fn the_list_has_every_field_that_the_api_sent() {
    let api = Api::saying(LIST).await;
    let bridge = Bridge::before(&api.url()).await;
    let answer = bridge.shop().await.list_products(ListProductsRequest {}).await.unwrap();
    let review = Review {
        id: Some(4),
        name: Some("Msgr. Arron Morissette".into()),
        message: Some("Nisi est ut consequatur.".into()),
        rate: Some(2.0),
    };
    let odd =
        Review { id: Some(9_007_199_254_740_993), name: None, message: Some(String::new()), rate: Some(4.5) };
    let product = |title: &str, price: &str, reviews| Product {
        title: Some(title.into()),
        price: Some(price.into()),
        reviews,
        ..Product::default()
    };
    let expected = [
        product("Veranda Symphony", "83.84", vec![review]),
        product("Café Volcano ☕", "12345678901234567890.123456789", vec![]),
        Product { reviews: vec![odd, Review { rate: Some(2.0), ..Review::default() }], ..Product::default() },
    ];
    assert_eq!(answer.into_inner().products, expected);
    assert_eq!((api.call().method.as_str(), api.call().uri.as_str()), ("GET", "/products"));
}

#[tokio::test]
async fn a_product_is_asked_for_by_its_id_and_times_are_kept() {
    let api = Api::saying(
        r#"{"product":{"id":7,"title":"Pie","created_at":"2021-03-14T16:09:26.535Z","updated_at":"2022-08-05 22:38:22 UTC"}}"#,
    )
    .await;
    let bridge = Bridge::before(&api.url()).await;
    let answer = bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap().into_inner();
    let expected = Product {
        id: Some(7),
        title: Some("Pie".into()),
        created_at: Some(Timestamp { seconds: 1_615_738_166, nanos: 535_000_000 }),
        updated_at: Some(Timestamp { seconds: 1_659_739_102, nanos: 0 }),
        ..Product::default()
    };
    assert_eq!(answer.product, Some(expected));
    assert_eq!(api.call().uri, "/products/7");
}

#[tokio::test]
async fn zero_and_negative_ids_are_ids_too() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let mut shop = bridge.shop().await;
    for id in [0, -1, i64::MIN, i64::MAX] {
        shop.get_product(GetProductRequest { id }).await.unwrap();
    }
    let uris: Vec<_> = api.calls().into_iter().map(|call| call.uri).collect();
    assert_eq!(
        uris,
        ["/products/0", "/products/-1", "/products/-9223372036854775808", "/products/9223372036854775807"]
    );
}

#[tokio::test]
async fn an_answer_without_content_is_the_empty_message() {
    for status in [200, 204] {
        let api = Api::answering(move |_| async move { json(status, "") }).await;
        let bridge = Bridge::before(&api.url()).await;
        let answer = bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap();
        assert_eq!(answer.into_inner().product, None);
    }
}

/// A shop that needs no API.
struct ByHand;

#[tonic::async_trait]
impl ProductService for ByHand {
    async fn list_products(
        &self,
        _: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        Err(Status::unimplemented("only single products"))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<GetProductResponse>, Status> {
        let product = Product { id: Some(request.into_inner().id), ..Product::default() };
        Ok(Response::new(GetProductResponse { product: Some(product) }))
    }
}

#[tokio::test]
async fn a_service_written_by_hand_stands_beside_the_bridged_ones() {
    let api = Api::saying("{}").await;
    let config = UpstreamConfig::new(api.url().parse().unwrap());
    let upstream = Upstream::new(&config).unwrap();
    let contract = Kitchen::open().contract.clone();
    let bridge =
        grpc_rest_bridge::bridge::Bridge::new(contract, upstream, InboundConfig::default(), &config).unwrap();
    let router = Routes::new(ProductServiceServer::new(ByHand)).into_axum_router().fallback_service(bridge);

    let answer =
        ProductServiceClient::new(router.clone()).get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(answer.into_inner().product.unwrap().id, Some(7));
    let mut grpc = tonic::client::Grpc::new(router);
    grpc.ready().await.unwrap();
    let path = "/kitchen.v1.KitchenService/DeleteDish".parse().unwrap();
    let codec = grpc_rest_bridge::codec::BytesCodec;
    grpc.unary(Request::new(bytes::Bytes::new()), path, codec).await.unwrap();
    assert_eq!(api.call().uri, "/dishes/0");
}
