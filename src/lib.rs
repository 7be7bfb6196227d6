//! grpc-rest-bridge
pub mod app;
pub mod bridge;
pub mod call;
mod cli;
pub mod config;
pub mod contract;
pub mod deadline;
pub mod demo;
pub mod error;
pub mod fault;
mod google;
pub mod health;
pub mod inbound;
pub mod shop;
pub mod telemetry;
pub mod transcode;
pub mod upstream;

pub use cli::run;
