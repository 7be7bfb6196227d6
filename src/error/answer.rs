//! An answer that is no success: its code, its reason, its message.
//!
//! Evidence counts in this order: what speaks of the bridge's own setup, a gRPC code in the body, then the
//! HTTP status.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use tonic::Code;

use super::{CallContext, Evidence, Side, code_for_http};

/// How much of a body the log keeps.
const MAX_LOGGED_CHARS: usize = 1024;
/// The longest pause a `Retry-After` may ask for; more is surely a mistake.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An answer whose status is not 2xx.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    misconfiguration: Option<Misconfiguration>,
    pub(super) retry_after: Option<Duration>,
    pub(super) evidence: Evidence,
    log_detail: String,
}

/// An answer that speaks of how the bridge is set up, not of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misconfiguration {
    /// A redirect to the same place under `https`: what `config.force_ssl` does.
    ForceSsl,
    /// Any other redirect.
    Redirect,
    /// A 403 from before the application: what `config.hosts` does.
    HostRefused,
}

// === impl Answer ===

impl Answer {
    /// Reads an answer whose status is not 2xx. `now` is what a `Retry-After` date is compared with.
    pub fn read(response: &Response<Bytes>, now: SystemTime) -> Self {
        let (status, headers) = (response.status(), response.headers());
        let mut evidence = Evidence::read(status, response.body());
        // Of a server's failure only a deliberate error envelope is for others to read; and the mere name
        // of the status, which is all that Rails says by itself, is better said with the request.
        let phrase =
            evidence.message.as_deref().is_some_and(|message| status.canonical_reason() == Some(message));
        if phrase || (status.is_server_error() && evidence.code.is_none()) {
            evidence.message = None;
        }
        let body = String::from_utf8_lossy(response.body());
        let excerpt: String = body.chars().take(MAX_LOGGED_CHARS).collect();
        let location =
            headers.get(header::LOCATION).map(|to| format!(", location {to:?}")).unwrap_or_default();
        Self {
            status,
            misconfiguration: Misconfiguration::of(status, headers),
            retry_after: retry_after(headers, now),
            evidence,
            log_detail: format!("HTTP {}{location}, body {excerpt:?}", status.as_u16()),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The field errors, to be given the names that they have in the request message.
    pub fn violations_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.evidence.violations.iter_mut().map(|(field, _)| field)
    }

    pub(super) fn code(&self) -> Code {
        match (self.misconfiguration, self.evidence.code) {
            (Some(Misconfiguration::HostRefused), _) => Code::Internal,
            (_, Some(code)) => code,
            (_, None) => code_for_http(self.status),
        }
    }

    pub(super) fn side(&self) -> Side {
        match self.status.as_u16() {
            _ if self.misconfiguration.is_some() => Side::Bridge,
            406 | 415 | 431 => Side::Bridge,
            400..=499 => Side::Caller,
            _ => Side::Upstream,
        }
    }

    pub(super) fn reason(&self) -> Cow<'_, str> {
        match self.misconfiguration {
            Some(Misconfiguration::ForceSsl) => Cow::Borrowed("UPSTREAM_WANTS_HTTPS"),
            Some(Misconfiguration::Redirect) => Cow::Borrowed("UPSTREAM_REDIRECTS"),
            Some(Misconfiguration::HostRefused) => Cow::Borrowed("UPSTREAM_REFUSES_HOST"),
            None => match &self.evidence.reason {
                Some(reason) => Cow::Borrowed(reason),
                None => Cow::Owned(http_reason(self.status)),
            },
        }
    }

    pub(super) fn message(&self, call: &CallContext<'_>) -> String {
        let status = self.status.as_u16();
        match self.misconfiguration {
            Some(Misconfiguration::ForceSsl) => format!(
                "the bridge is misconfigured: the API answered {status}, a redirect to https \
                 (set --upstream-forwarded-proto https or an https upstream)"
            ),
            Some(Misconfiguration::Redirect) => format!(
                "the bridge is misconfigured: the API answered {status}, a redirect, which is never followed \
                 (the upstream URL or the path of the contract is not the final one)"
            ),
            Some(Misconfiguration::HostRefused) => format!(
                "the bridge is misconfigured: the API answered {status} before its application was asked, most \
                 likely because it does not know the host name (set --upstream-host)"
            ),
            None => self.evidence.message.clone().unwrap_or_else(|| {
                let phrase = self.status.canonical_reason().unwrap_or("an error without a name");
                format!("{phrase} (the API answered {status} to {})", call.request)
            }),
        }
    }

    pub(super) fn log_detail(&self) -> String {
        self.log_detail.clone()
    }
}

// === impl Misconfiguration ===

impl Misconfiguration {
    fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match status.as_u16() {
            301 | 302 | 303 | 307 | 308 => {
                let https = text(header::LOCATION).starts_with("https://");
                Some(if https { Self::ForceSsl } else { Self::Redirect })
            }
            // Rails checks the host before it notes the request id, so an application's 403 has one.
            403 if !headers.contains_key("x-request-id") && !text(header::CONTENT_TYPE).contains("json") => {
                Some(Self::HostRefused)
            }
            _ => None,
        }
    }
}

/// `NOT_FOUND` for 404, `HTTP_599` for a status without a name.
fn http_reason(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some("I'm a teapot") | None => format!("HTTP_{}", status.as_u16()),
        Some(phrase) => phrase.to_ascii_uppercase().replace([' ', '-'], "_"),
    }
}

/// Seconds or an HTTP date (RFC 9110, section 10.2.3); a date in the past is no wait at all.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_in_seconds_or_as_a_date() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 05:30:00 GMT").unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Mon, 23 Nov 2026 05:31:00 GMT", Some(60)),
            ("Mon, 23 Nov 2026 05:29:00 GMT", Some(0)),
            ("999999999", Some(24 * 3600)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
