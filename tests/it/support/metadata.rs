//! A small metadata server of Google's: it gives ID tokens, and does what a real one cannot be made to do.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{body::Body, response::Response};
use tokio::sync::watch;

use super::{Api, Seen, unsigned};

/// What it does when it is asked.
#[derive(Debug, Clone)]
pub(crate) enum Gives {
    /// This body with this status.
    This(u16, String),
    /// The same as one that is no metadata server.
    ThisAsAnother(String),
    /// A redirect to there.
    Redirect(String),
    /// Nothing.
    Nothing,
}

/// A server on a free port.
pub(crate) struct MetadataServer {
    api: Api,
    gives: Arc<Mutex<Gives>>,
    asked: watch::Receiver<usize>,
}

impl MetadataServer {
    pub(crate) async fn giving(gives: Gives) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), gives).await
    }

    /// The same on a port that is known beforehand.
    pub(crate) async fn at(address: SocketAddr, gives: Gives) -> Self {
        let gives = Arc::new(Mutex::new(gives));
        let (count, asked) = watch::channel(0);
        let (now, count) = (gives.clone(), Arc::new(count));
        let api = Api::at(address, move |_| {
            count.send_modify(|count| *count += 1);
            let gives = now.lock().unwrap().clone();
            async move { gives.answer().await }
        })
        .await;
        Self { api, gives, asked }
    }

    /// From now on.
    pub(crate) fn give(&self, gives: Gives) {
        *self.gives.lock().unwrap() = gives;
    }

    /// `HOST:PORT`.
    pub(crate) fn host(&self) -> String {
        self.api.address.to_string()
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until it was asked so often in all.
    pub(crate) async fn was_asked(&self, times: usize) {
        self.asked.clone().wait_for(|asked| *asked >= times).await.unwrap();
    }

    /// Everything that it was asked.
    pub(crate) fn questions(&self) -> Vec<Seen> {
        self.api.calls()
    }
}

impl Gives {
    /// A token of this name that is good for so long. No one checks its signature.
    pub(crate) fn token(name: &str, life: Duration) -> (Self, String) {
        let expires = (SystemTime::now() + life).duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = serde_json::json!({"aud": "the API", "exp": expires, "name": name});
        let token = format!("{}.c2lnbmF0dXJl", unsigned(&serde_json::json!({"alg": "RS256"}), &claims));
        (Self::This(200, token.clone()), token)
    }

    async fn answer(self) -> Response {
        let builder = Response::builder().header("content-type", "text/html");
        let as_google = |status: u16| Response::builder().status(status).header("metadata-flavor", "Google");
        match self {
            Self::This(status, body) => as_google(status).body(Body::from(body)).unwrap(),
            Self::ThisAsAnother(body) => builder.body(Body::from(body)).unwrap(),
            Self::Redirect(location) => {
                as_google(302).header("location", location).body(Body::empty()).unwrap()
            }
            Self::Nothing => std::future::pending().await,
        }
    }
}
