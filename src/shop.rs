//! The typed messages, client and server of `shop.v1`, generated from `proto/shop/v1`.
//!
//! Tests, the demo and the examples talk through them; the bridge itself does not know them. A
//! [`v1::product_service_server::ProductServiceServer`] written by hand can be mounted beside the bridged
//! services.
//!
//! ```no_run
//! use grpc_rest_bridge::shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = tonic::transport::Endpoint::from_static("http://localhost:50051").connect().await?;
//! let products = ProductServiceClient::new(channel).list_products(ListProductsRequest {}).await?;
//! # let _ = products;
//! # Ok(())
//! # }
//! ```

/// `shop.v1`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::too_many_lines)]
pub mod v1 {
    tonic::include_proto!("shop.v1");
}
