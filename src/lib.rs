//! grpc-rest-bridge
pub mod contract;
pub mod error;
pub mod fault;
mod google;
pub mod shop;
pub mod transcode;
