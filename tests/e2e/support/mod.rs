//! What the tests are made of: processes that are started and stopped, and comparisons.

mod bridge;
mod comparison;
mod contract;
mod nginx;
mod process;
mod raw;
mod redis;
mod refusal;
mod shop;
mod tool;

use std::time::Duration;

pub(crate) use self::{
    bridge::{Bridge, Builder as BridgeBuilder},
    comparison::{assert_same, differences},
    contract::{dynamic, from_json},
    nginx::Nginx,
    raw::call_with_timeout,
    redis::{Redis, free_address},
    refusal::Refusal,
    shop::Shop,
    tool::{Tool, grpcurl, h2spec, python},
};

/// How long anything may take before the test gives up on it; nothing here takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `event`, but not for ever; `last_words` tells what was seen until then.
pub(crate) async fn within_patience<T>(
    what: &str,
    event: impl Future<Output = T>,
    last_words: impl FnOnce() -> String,
) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(found) => found,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}\n{}", last_words()),
    }
}
