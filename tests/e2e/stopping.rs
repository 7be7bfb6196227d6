//! SIGTERM: what runs is finished, and then the process ends.

use grpc_rest_bridge::shop::v1::GetProductRequest;
use serde_json::Value;

use crate::support::{Bridge, Shop, within_patience};

#[tokio::test]
async fn a_call_that_runs_when_the_bridge_is_stopped_is_finished() {
    let shop = Shop::with(&[("SHOP_LOG", "info")]).await;
    let bridge = Bridge::before(shop.at("/faults/slow/2")).start().await;
    let mut client = bridge.client();
    let call = tokio::spawn(async move { client.get_product(GetProductRequest { id: 1 }).await });
    shop.asked_for("/faults/slow/2/products/1").await;

    bridge.terminate();
    bridge.logged("that it stops", is_stopping).await;
    assert!(!call.is_finished(), "the call was over before the bridge began to stop");

    let answer = within_patience("the call", call, || bridge.last_lines()).await.unwrap().unwrap();
    assert_eq!(answer.into_inner().product.unwrap().price.as_deref(), Some("83.84"));
    assert_eq!(bridge.exit().await.code(), Some(0));
    bridge.logged("how it stopped", |line| line["message"] == "stopped: every call has finished").await;
}

#[tokio::test]
async fn a_stopped_bridge_takes_new_calls_until_balancers_have_noticed() {
    let shop = Shop::ordinary().await;
    let bridge = Bridge::before(shop.at("")).set("--drain-delay", "1s").start().await;
    bridge.get(1).await.unwrap();
    bridge.terminate();
    bridge.logged("that it stops", is_stopping).await;
    bridge.get(1).await.unwrap();
    assert_eq!(bridge.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_bridge_that_listens_can_be_stopped_at_once() {
    // The time between is short, so one that were too late with it could be lucky a few times.
    for _ in 0..20 {
        let bridge = Bridge::before("http://127.0.0.1:9").start().await;
        bridge.terminate();
        let status = bridge.exit().await;
        assert!(status.success(), "it ended with {status}\n{}", bridge.last_lines());
    }
}

fn is_stopping(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|text| text.starts_with("stopping:"))
}
