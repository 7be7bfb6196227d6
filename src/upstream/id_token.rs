//! An ID token of Google's metadata server, which proves as which service account the bridge runs. APIs on Cloud Run, and those
//! behind IAP, ask for one.
//!
//! It is asked for beside the calls, well before the one that is there expires, so that no call waits for it. When it
//! cannot be had, the old one goes on for as long as it is good.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use super::credential::bearer_header;
use crate::{config::GoogleIdTokenConfig, error::Error, fault::Fault, fetch::Fetcher};

/// How long before its end a token is replaced. Until five minutes before it the metadata server gives the same one again.
const EARLY: Duration = Duration::from_secs(4 * 60);
/// The shortest pause between two requests, and the first one after a failure; it doubles with each.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a failure: for so long at most calls fail although the metadata server is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a token is used at most, whatever it says. Google's are good for an hour.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// The largest token. Google's have some 1 KB.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// What a metadata server wants to see, since no browser sends it, and what it shows, since nobody else does.
const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
const GOOGLE: HeaderValue = HeaderValue::from_static("Google");

/// The token, and how to get the next one.
pub(super) struct IdToken {
    url: Uri,
    fetcher: Fetcher,
    state: ArcSwap<State>,
    /// Whether it has been asked for, with or without success.
    asked: watch::Sender<bool>,
    /// The API does not believe the one that is there.
    refused: Notify,
}

/// What has come of asking.
#[derive(Debug, Default)]
struct State {
    token: Option<Arc<Token>>,
    /// Why the last request was in vain.
    failure: Option<String>,
}

/// A token that was given.
#[derive(Debug)]
struct Token {
    header: HeaderValue,
    expires: Instant,
    refused: AtomicBool,
}

/// What of a token counts here. Its signature is for the API to check.
#[derive(Deserialize)]
struct Claims {
    exp: u64,
}

// === impl IdToken ===

impl IdToken {
    /// One that is not asked for before [`Self::follow`] runs.
    ///
    /// # Errors
    /// The audience is too long for a URL.
    pub(super) fn new(config: &GoogleIdTokenConfig) -> Result<Self, Vec<Fault>> {
        let url = url(config).map_err(|what| vec![no_audience(what)])?;
        let fetcher = Fetcher::new(&url).map_err(|what| vec![no_audience(what)])?;
        let (state, asked) = (ArcSwap::default(), watch::Sender::new(false));
        Ok(Self { url, fetcher, state, asked, refused: Notify::new() })
    }

    /// The header of the token that is good now.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn header(&self) -> Result<HeaderValue, Error> {
        let state = self.state.load();
        match &state.token {
            Some(token) if !token.left().is_zero() => Ok(token.header.clone()),
            _ => {
                let why = state.failure.as_deref().unwrap_or("it is just being asked for");
                Err(Error::CredentialUnavailable { detail: format!("there is no ID token: {why}") })
            }
        }
    }

    /// The API has answered 401 to this. Its signer may have changed its keys, or this clock may be wrong, so another one is
    /// asked for, once for each token.
    pub(super) fn was_refused(&self, header: &HeaderValue) {
        let state = self.state.load();
        if let Some(token) = &state.token
            && token.header == header
            && !token.refused.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the API answered 401 to the bridge's ID token: another one is asked for");
            self.refused.notify_one();
        }
    }

    /// How long the token is still good.
    pub(super) fn left(&self) -> Duration {
        self.state.load().token.as_ref().map(|token| token.left()).unwrap_or_default()
    }

    /// Waits until it was asked for the first time.
    pub(super) async fn ready(&self) {
        // It cannot fail: the sender is here.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// Asks again and again, once at a time, for ever.
    pub(super) async fn follow(&self) {
        let mut failures = 0;
        loop {
            let pause = match self.ask().await {
                Ok(token) => {
                    failures = 0;
                    self.keep(token)
                }
                Err(failure) => {
                    failures += 1;
                    self.tell(&failure);
                    let token = self.state.load().token.clone();
                    self.state.store(Arc::new(State { token, failure: Some(failure) }));
                    pause_after(failures)
                }
            };
            self.asked.send_replace(true);
            let refused = async {
                self.refused.notified().await;
                sleep(SHORTEST_PAUSE).await;
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = refused => {}
            }
        }
    }

    /// Takes a token, and says after which pause to ask for the next one.
    fn keep(&self, token: Token) -> Duration {
        let left = token.left();
        let before = self.state.load();
        // The metadata server may have kept it.
        let known = before.token.as_ref().filter(|before| before.header == token.header).cloned();
        if known.is_none() {
            tracing::info!(good_for = ?Duration::from_secs(left.as_secs()), "the bridge has a new ID token");
        }
        let token = Some(known.unwrap_or_else(|| Arc::new(token)));
        self.state.store(Arc::new(State { token, failure: None }));
        pause_until_next(left)
    }

    /// The pauses keep this from being many lines.
    fn tell(&self, failure: &str) {
        match self.left() {
            Duration::ZERO => tracing::error!(failure, "no ID token can be had: calls to the API fail"),
            left => {
                tracing::warn!(failure, good_for = ?left, "no new ID token can be had: the old one goes on")
            }
        }
    }

    async fn ask(&self) -> Result<Token, String> {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.url.clone();
        request.headers_mut().insert(FLAVOR, GOOGLE);
        let answer = self.fetcher.send(request, MAX_TOKEN_BYTES).await?;
        if answer.headers().get(FLAVOR) != Some(&GOOGLE) {
            return Err(format!("{} was answered by no metadata server (it lacks {FLAVOR})", self.url));
        }
        if answer.status() != StatusCode::OK {
            return Err(format!("{} was answered {}", self.url, answer.status()));
        }
        Token::read(answer.body()).map_err(|what| format!("{} was answered with what {what}", self.url))
    }
}

impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdToken").field("url", &self.url).finish_non_exhaustive()
    }
}

// === impl Token ===

impl Token {
    /// No complaint has anything of it.
    fn read(text: &[u8]) -> Result<Self, String> {
        let text = text.trim_ascii();
        let expires = expires(text).ok_or("is no JWT with a time at which it expires")?;
        let header = bearer_header(text).ok_or("is no JWT")?;
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        if left.is_zero() {
            return Err("has expired".to_owned());
        }
        let expires = Instant::now() + left.min(LONGEST_LIFE);
        Ok(Self { header, expires, refused: AtomicBool::new(false) })
    }

    fn left(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }
}

/// The `exp` of a JWT (RFC 7519).
fn expires(token: &[u8]) -> Option<SystemTime> {
    let mut parts = token.split(|byte| *byte == b'.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))
}

/// Early enough, and not before half of what is left is over: so a token that the metadata server gives again, since it has no
/// newer one yet, does not make the bridge ask all the time.
fn pause_until_next(left: Duration) -> Duration {
    left.saturating_sub(EARLY).max(left / 2).max(SHORTEST_PAUSE)
}

fn pause_after(failures: u32) -> Duration {
    (SHORTEST_PAUSE * 2_u32.saturating_pow(failures - 1)).min(LONGEST_PAUSE)
}

fn url(config: &GoogleIdTokenConfig) -> Result<Uri, String> {
    let audience = utf8_percent_encode(&config.audience, NON_ALPHANUMERIC);
    let url = format!(
        "http://{}/computeMetadata/v1/instance/service-accounts/default/identity?audience={audience}&format=full",
        config.metadata_host
    );
    url.parse().map_err(|error| format!("the audience cannot be asked for: {error}"))
}

fn no_audience(what: String) -> Fault {
    Fault::new("--upstream-google-id-token", what, "write what the API expects as the aud of a token")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(claims), part("signature"))
    }

    #[test]
    fn a_token_is_replaced_before_it_expires_and_not_asked_for_all_the_time() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        for (left, pause) in [
            (minutes(60), minutes(56)),
            (minutes(10), minutes(6)),
            (minutes(6), minutes(3)),
            (minutes(2), minutes(1)),
            (SHORTEST_PAUSE, SHORTEST_PAUSE),
        ] {
            assert_eq!(pause_until_next(left), pause, "{left:?}");
        }
    }

    #[test]
    fn pauses_grow_after_failures_to_an_end() {
        let pauses = [1, 2, 3, 4, 5, 1000].map(|failures| pause_after(failures).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn what_expires_in_the_far_future_is_used_for_a_day() {
        for exp in ["9999999999", "9000000000000000000"] {
            let token = Token::read(token(&format!(r#"{{"exp":{exp}}}"#)).as_bytes()).unwrap();
            assert!(token.left() <= LONGEST_LIFE, "{exp}");
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_what_it_is() {
        let no_jwt = "is no JWT with a time at which it expires";
        let good = token(r#"{"exp":9999999999}"#);
        for (text, told) in [
            (String::new(), no_jwt),
            ("s3cr3t".to_owned(), no_jwt),
            ("a.s3cr3t.b".to_owned(), no_jwt),
            (token("{}"), no_jwt),
            (token(r#"{"exp":"s3cr3t"}"#), no_jwt),
            (token(r#"{"exp":18446744073709551615}"#), no_jwt),
            (format!("{good}.s3cr3t"), no_jwt),
            (format!("{good}\u{e9}"), "is no JWT"),
            (format!("{good} s3cr3t"), "is no JWT"),
            (token(r#"{"exp":1}"#), "has expired"),
        ] {
            assert_eq!(Token::read(text.as_bytes()).unwrap_err(), told, "{text}");
        }
    }

    #[test]
    fn the_audience_is_written_so_that_it_is_nothing_but_that() {
        let config = GoogleIdTokenConfig {
            audience: "https://a/b?c&format=standard#d".to_owned(),
            metadata_host: "metadata.google.internal".parse().unwrap(),
        };
        let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
        let query = "audience=https%3A%2F%2Fa%2Fb%3Fc%26format%3Dstandard%23d&format=full";
        assert_eq!(
            url(&config).unwrap().to_string(),
            format!("http://metadata.google.internal{path}?{query}")
        );
    }
}
