//! The bridge before a real Rails API, as its callers meet it.
//!
//! Every test starts the bridge's own binary and `examples/shop-api` (Rails 6.1 on Puma), and asks through
//! real clients: the typed one in Rust, a Python program, grpcurl. What they read is compared with the JSON
//! that Rails sends when it is asked directly, so nothing that is expected here has been made up.
//!
//! `.ci/run` installs all that is needed. By hand it is `examples/shop-api/start --prepare`, nginx, redis-server,
//! grpcurl (or its path in `GRPCURL`), h2spec (`H2SPEC`) and a Python with the packages of `examples/python` (`PYTHON`),
//! and then `cargo test --features e2e --test e2e`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of it is test, the helpers too, for which clippy's own exception does not count"
)]

#[path = "../it/support/api.rs"]
#[allow(dead_code, reason = "it is made for the integration tests, which use all of it")]
mod api;
#[path = "../it/chaos/health_log.rs"]
mod health_log;
#[path = "../it/support/pki.rs"]
#[allow(dead_code, reason = "it is made for the integration tests, which use all of it")]
mod pki;
#[path = "../it/chaos/storm.rs"]
#[allow(dead_code, reason = "it is made for the integration tests, which use all of it")]
mod storm;
mod support;

mod faults;
mod grpcurl;
mod h2spec;
mod health;
mod misconfigured;
mod python;
mod rack;
mod request_id;
mod rolling_restart;
mod shared_rates;
mod shared_script;
mod stopping;
mod typed;
