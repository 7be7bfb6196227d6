//! A typed, safe, fast gRPC front for a REST API: a contract goes in, a gRPC server comes out.
//!
//! A contract is a `.proto` whose methods carry `google.api.http`. Nothing here is about products: the
//! [`shop`] is the contract that is compiled in, and [`demo`] an API to try it on.
//!
//! # The life of a request
//!
//! 1. [`app`] holds the list of everything that a request meets; [`connections`] takes the connections that requests
//!    come by, with [`tls`] or without, and sees to their end.
//! 2. [`inbound`] refuses what is no gRPC, begins the [`call`] (its id, and at its end its log line), and sets
//!    the [`deadline`]; the [`door`] lets in who may call the method. [`health`] and reflection answer beside the contract, whose calls have a ceiling.
//! 3. [`bridge`] finds the method and leads the call over:
//!     - [`transcode`] reads the request message and says it as a REST request, by the plans that were
//!       compiled from the [`contract`] at start;
//!     - [`upstream`] sends it to the API and gives the answer, or tells why there is none;
//!     - [`transcode`] writes the JSON of the answer straight into the wire format of the response message.
//! 4. Whatever goes wrong is an [`error`], which knows whose fault it is and what its caller may read.
//!
//! Two shores and one bridge: `contract` and `transcode` never heard of a network, `upstream` never heard of
//! protobuf, and only `bridge` sees both. What passes between them is `http::Request<Bytes>` and
//! `http::Response<Bytes>`.
//!
//! Around it: [`codec`] hands messages to the gRPC library as bytes, `cli` reads the command line into the typed [`config`], a [`fault`] is what keeps the program
//! from starting, `log_limit` keeps strangers from filling them, [`places`] are taken and given back, and [`held`] keeps those of a call until its answer is handed over, [`forwarded`] tells where a call came from, [`reload`] reads files again that have changed, [`fetch`] asks servers other than the API, [`telemetry`] writes the logs, [`metrics`] gives what is counted its names and [`admin`] shows them to operators, [`drift`] holds a real API against its contract, and `google` holds the generated types of HTTP rules.
//!
//! # Use as a library
//!
//! ```no_run
//! use grpc_rest_bridge::{app::App, config::Config, contract::Contract};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("127.0.0.1:0".parse()?, "http://shop-api:3000".parse()?);
//! let app = App::bind(config, Contract::embedded()).await?;
//! println!("listening on {}", app.local_addr());
//! app.serve(async { drop(tokio::signal::ctrl_c().await) }).await;
//! # Ok(())
//! # }
//! ```

pub mod admin;
pub mod app;
pub mod bridge;
pub mod call;
mod cli;
pub mod codec;
pub mod config;
pub mod connections;
pub mod contract;
pub mod deadline;
pub mod demo;
pub mod door;
pub mod drift;
pub mod error;
pub mod fault;
pub mod fetch;
pub mod forwarded;
mod google;
pub mod health;
pub mod held;
pub mod inbound;
mod log_limit;
pub mod metrics;
pub mod places;
pub mod reload;
pub mod shop;
pub mod telemetry;
pub mod tls;
pub mod transcode;
pub mod upstream;

pub use cli::run;
