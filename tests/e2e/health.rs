//! The health that the bridge tells follows Rails.

use tokio_stream::StreamExt;
use tonic::{Code, Streaming};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse},
};

use crate::support::{Bridge, Refusal, Shop, within_patience};

#[tokio::test]
async fn a_dead_rails_is_not_serving_and_one_that_is_back_is() {
    let mut shop = Shop::with(&[]).await;
    let bridge = Bridge::before(shop.at("")).set("--probe-interval", "200ms").start().await;
    let mut health = watch(&bridge).await;
    wait_for(ServingStatus::Serving, &mut health, &bridge).await;
    bridge.get(1).await.unwrap();

    shop.kill();
    wait_for(ServingStatus::NotServing, &mut health, &bridge).await;
    Refusal::of(Code::Unavailable, "UPSTREAM_UNREACHABLE")
        .message("the API cannot be reached")
        .is(&bridge.get(1).await.unwrap_err());

    shop.start_again().await;
    wait_for(ServingStatus::Serving, &mut health, &bridge).await;
    bridge.get(1).await.unwrap();
}

#[tokio::test]
async fn an_api_that_answers_with_a_server_error_is_not_serving() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("/faults/error")).start().await;
    bridge.logged("the probe", |line| line["reason"] == "the probe was answered with HTTP 500").await;
    let request = HealthCheckRequest { service: "shop.v1.ProductService".to_owned() };
    let answer = bridge.health().check(request).await.unwrap();
    assert_eq!(answer.get_ref().status, ServingStatus::NotServing as i32);
}

async fn watch(bridge: &Bridge) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: "shop.v1.ProductService".to_owned() };
    bridge.health().watch(request).await.unwrap().into_inner()
}

async fn wait_for(status: ServingStatus, health: &mut Streaming<HealthCheckResponse>, bridge: &Bridge) {
    let told = async {
        while let Some(told) = health.next().await {
            if told.unwrap().status == status as i32 {
                return;
            }
        }
        panic!("the bridge ended the watch\n{}", bridge.last_lines());
    };
    within_patience(&format!("{status} from the bridge"), told, || bridge.last_lines()).await;
}
