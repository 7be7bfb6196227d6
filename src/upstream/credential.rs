//! What the bridge proves itself by to the API, which has nothing to do with what its callers prove to it.

use std::{future::pending, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

use super::id_token::IdToken;
use crate::{
    config::CredentialConfig,
    error::Error,
    fault::Fault,
    reload::{Reloaded, Text},
};

/// The `Authorization` of requests.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// As its file has it now.
    File(Arc<Reloaded<HeaderValue>>),
    /// The same as long as the process runs.
    Fixed(HeaderValue),
    /// As it was asked for the last time.
    IdToken(Arc<IdToken>),
}

type Make = fn(&Text) -> Result<HeaderValue, Fault>;

impl Credential {
    pub(super) fn read(config: &CredentialConfig) -> Result<Self, Vec<Fault>> {
        let (file, make): (&PathBuf, Make) = match config {
            CredentialConfig::Bearer(file) => (file, bearer),
            CredentialConfig::Basic(file) => (file, basic),
            CredentialConfig::Header(header) => return Ok(Self::Fixed(sensitive(header.clone()))),
            CredentialConfig::GoogleIdToken(config) => {
                return IdToken::new(config).map(|token| Self::IdToken(Arc::new(token)));
            }
        };
        let header = Reloaded::read("the credential for the API", vec![file.clone()], move |texts| {
            let header = texts.first().map(make).unwrap_or_else(|| Ok(HeaderValue::from_static("")));
            header.map_err(|fault| vec![fault])
        });
        header.map(Self::File)
    }

    /// What is shown to the API now.
    ///
    /// # Errors
    /// There is nothing that is good now.
    pub(super) fn header(&self) -> Result<HeaderValue, Error> {
        match self {
            Self::File(header) => Ok(HeaderValue::clone(&header.current())),
            Self::Fixed(header) => Ok(header.clone()),
            Self::IdToken(token) => token.header(),
        }
    }

    /// The API has answered 401 to this.
    pub(super) fn was_refused(&self, header: &HeaderValue) {
        if let Self::IdToken(token) = self {
            token.was_refused(header);
        }
    }

    /// How long it is still good, where that is known.
    pub(super) fn left(&self) -> Option<Duration> {
        match self {
            Self::File(_) | Self::Fixed(_) => None,
            Self::IdToken(token) => Some(token.left()),
        }
    }

    /// Waits until it is known whether there is one.
    pub(super) async fn ready(&self) {
        if let Self::IdToken(token) = self {
            token.ready().await;
        }
    }

    /// Keeps it fresh, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        match self {
            Self::File(header) => header.clone().follow(every).await,
            Self::Fixed(_) => pending().await,
            Self::IdToken(token) => token.follow().await,
        }
    }
}

/// The header of a token, as its issuer wrote it (RFC 6750); nothing if it is none.
pub(crate) fn bearer_header(token: &[u8]) -> Option<HeaderValue> {
    let token = std::str::from_utf8(token.trim_ascii()).ok()?;
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then(|| header(&Zeroizing::new(format!("Bearer {token}")))).flatten()
}

/// The header of `NAME:PASSWORD` (RFC 7617); nothing if it is none.
pub(crate) fn basic_header(pair: &[u8]) -> Option<HeaderValue> {
    let pair = pair.trim_ascii_end();
    if !pair.contains(&b':') || pair.iter().any(u8::is_ascii_control) {
        return None;
    }
    let pair = Zeroizing::new(BASE64_STANDARD.encode(pair));
    header(&Zeroizing::new(format!("Basic {}", *pair)))
}

fn bearer(text: &Text) -> Result<HeaderValue, Fault> {
    bearer_header(&text.bytes).ok_or_else(|| text.fault("is no token", "write the token alone"))
}

fn basic(text: &Text) -> Result<HeaderValue, Fault> {
    let fault = || text.fault("is no name with a password", "write NAME:PASSWORD");
    basic_header(&text.bytes).ok_or_else(fault)
}

fn header(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().map(sensitive)
}

/// One that logs do not show.
fn sensitive(mut header: HeaderValue) -> HeaderValue {
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Text {
        Text { path: "secret".into(), bytes: bytes.to_vec().into() }
    }

    #[test]
    fn a_token_is_taken_as_it_is_and_shown_to_nobody() {
        let header = bearer(&text(b"abc.def\n")).unwrap();
        assert_eq!(
            (header.as_bytes(), format!("{header:?}")),
            (&b"Bearer abc.def"[..], "Sensitive".to_owned())
        );
        for bad in [&b""[..], b"\n", b"a b", b"a\nb", b"\xff"] {
            assert_eq!(
                bearer(&text(bad)).unwrap_err().to_string(),
                "secret: is no token\n    write the token alone"
            );
        }
    }

    #[test]
    fn a_header_that_was_made_elsewhere_is_shown_to_nobody() {
        let config = CredentialConfig::Header(HeaderValue::from_static("Bearer abc"));
        let credential = Credential::read(&config).unwrap();
        assert_eq!(
            (credential.header().unwrap().as_bytes(), format!("{credential:?}")),
            (&b"Bearer abc"[..], "Fixed(Sensitive)".to_owned())
        );
    }

    #[test]
    fn a_name_and_a_password_are_written_as_rfc_7617_has_them() {
        assert_eq!(basic(&text(b"Aladdin:open sesame\n")).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for bad in [&b""[..], b"name", b"a:b\nc"] {
            let told = basic(&text(bad)).unwrap_err().to_string();
            assert_eq!(told, "secret: is no name with a password\n    write NAME:PASSWORD");
        }
    }
}
