//! Settings of Rails that lock a proxy out: the caller is told what to mend, and the mended bridge gets in.

use tonic::Code;

use crate::support::{Bridge, Refusal, Shop};

#[tokio::test]
async fn an_api_that_wants_https_gets_the_header_that_says_so() {
    let shop = Shop::with(&[("SHOP_FORCE_SSL", "1")]).await;
    let bridge = Bridge::before(shop.at("")).start().await;
    Refusal::of(Code::Unknown, "UPSTREAM_WANTS_HTTPS")
        .message(
            "the bridge is misconfigured: the API answered 301, a redirect to https \
             (set --upstream-forwarded-proto https or an https upstream)",
        )
        .metadata("http_status", "301")
        .is(&bridge.get(1).await.unwrap_err());

    let mended = Bridge::before(shop.at("")).set("--upstream-forwarded-proto", "https").start().await;
    assert_eq!(mended.get(1).await.unwrap().product.unwrap().price.as_deref(), Some("83.84"));
}

#[tokio::test]
async fn an_api_that_knows_itself_by_another_name_gets_that_name() {
    let shop = Shop::with(&[("SHOP_HOSTS", "shop.internal")]).await;
    let bridge = Bridge::before(shop.at("")).start().await;
    Refusal::of(Code::Internal, "UPSTREAM_REFUSES_HOST")
        .message(
            "the bridge is misconfigured: the API answered 403 before its application was asked, most likely \
             because it does not know the host name (set --upstream-host)",
        )
        .metadata("http_status", "403")
        .is(&bridge.get(1).await.unwrap_err());

    let mended = Bridge::before(shop.at("")).set("--upstream-host", "shop.internal").start().await;
    assert_eq!(mended.get(1).await.unwrap().product.unwrap().price.as_deref(), Some("83.84"));
}
