//! The real Rails API, `examples/shop-api`.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Weak},
};

use reqwest::{Client, RequestBuilder, header};
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::process::Process;

const START: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop-api/start");

/// Rails with its usual settings, for as long as any test uses it.
static ORDINARY: Mutex<Weak<Shop>> = Mutex::const_new(Weak::new());

pub(crate) struct Shop {
    settings: Vec<(&'static str, &'static str)>,
    process: Process,
    /// `http://127.0.0.1:PORT`.
    url: String,
    /// Its database; gone with it.
    dir: TempDir,
}

// === impl Shop ===

impl Shop {
    /// Rails as it comes. Tests that run at the same time share it, and so only read.
    pub(crate) async fn ordinary() -> Arc<Self> {
        let mut shared = ORDINARY.lock().await;
        if let Some(shop) = shared.upgrade() {
            return shop;
        }
        let shop = Arc::new(Self::with(&[]).await);
        *shared = Arc::downgrade(&shop);
        shop
    }

    /// Rails with settings of its own (`SHOP_…`, see its README).
    pub(crate) async fn with(settings: &[(&'static str, &'static str)]) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (process, url) = start(settings, dir.path(), "0").await;
        Self { settings: settings.to_vec(), process, url, dir }
    }

    /// Kills Rails; nothing listens on its port any more.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Stops Rails as an orchestrator does, and waits until it has ended.
    pub(crate) async fn stop(&self) {
        self.process.terminate();
        self.process.exit().await;
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Starts it again, at the same port.
    pub(crate) async fn start_again(&mut self) {
        let (_, port) = self.url.rsplit_once(':').unwrap();
        (self.process, self.url) = start(&self.settings, self.dir.path(), port).await;
    }

    /// The URL of what is at `path`.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// What Rails itself answers at `path`, every digit as it was sent.
    pub(crate) async fn json(&self, path: &str) -> Box<RawValue> {
        let answer = self.get(path).send().await.unwrap().error_for_status().unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// Whether Rails compresses what is at `path` for those who accept it.
    pub(crate) async fn compresses(&self, path: &str) -> bool {
        let answer = self.get(path).header(header::ACCEPT_ENCODING, "gzip").send().await.unwrap();
        answer.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip")
    }

    /// The number of every product there is.
    pub(crate) async fn product_ids(&self) -> Vec<i64> {
        let list: serde_json::Value =
            serde_json::from_str(self.json("/detailed/products").await.get()).unwrap();
        let products = list["products"].as_array().unwrap();
        let ids: Vec<_> = products.iter().map(|product| product["id"].as_i64().unwrap()).collect();
        assert!(ids.len() > 200, "the list is shorter than the seeds: {ids:?}");
        ids
    }

    /// Waits until Rails has begun to answer `path` (`SHOP_LOG=info`); gives the request id that it knows.
    pub(crate) async fn asked_for(&self, path: &str) -> String {
        let started = format!("] Started GET \"{path}\"");
        let find = |line: &str| {
            let (before, _) = line.split_once(&started)?;
            Some(before.trim_start_matches('[').to_owned())
        };
        self.process.line(&format!("the request for {path}"), find).await
    }

    fn get(&self, path: &str) -> RequestBuilder {
        let client = Client::builder().no_proxy().gzip(false).build().unwrap();
        client.get(self.at(path)).header(header::ACCEPT, "application/json")
    }
}

async fn start(settings: &[(&str, &str)], dir: &Path, port: &str) -> (Process, String) {
    let mut command = Command::new(START);
    for name in ["SHOP_BIND", "SHOP_LOG", "SHOP_FORCE_SSL", "SHOP_HOSTS", "SHOP_GZIP"] {
        command.env_remove(name);
    }
    command.env("SHOP_DIR", dir).env("PORT", port).envs(settings.iter().copied());
    let process =
        Process::start("shop (if it still installs: run examples/shop-api/start --prepare)", &mut command);
    let url =
        process.line("the address", |line| line.strip_prefix("* Listening on ").map(str::to_owned)).await;
    (process, url)
}
