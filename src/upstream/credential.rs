//! What the bridge proves itself by to the API, which has nothing to do with what its callers prove to it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::{
    config::CredentialConfig,
    fault::Fault,
    reload::{Reloaded, Text},
};

/// The `Authorization` of requests, as its file has it now.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    header: Arc<Reloaded<HeaderValue>>,
}

type Make = fn(&Text) -> Result<HeaderValue, Fault>;

impl Credential {
    pub(super) fn read(config: &CredentialConfig) -> Result<Self, Vec<Fault>> {
        let (file, make): (&PathBuf, Make) = match config {
            CredentialConfig::Bearer(file) => (file, bearer),
            CredentialConfig::Basic(file) => (file, basic),
        };
        let header = Reloaded::read("the credential for the API", vec![file.clone()], move |texts| {
            let header = texts.first().map(make).unwrap_or_else(|| Ok(HeaderValue::from_static("")));
            header.map_err(|fault| vec![fault])
        });
        Ok(Self { header: header? })
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::clone(&self.header.current())
    }

    /// Reads the file again when it changes, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        self.header.clone().follow(every).await;
    }
}

/// A token, as its issuer wrote it (RFC 6750).
fn bearer(text: &Text) -> Result<HeaderValue, Fault> {
    let mend = "write the token alone";
    let token = std::str::from_utf8(text.bytes.trim_ascii()).unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(text.fault("is no token", mend));
    }
    sensitive(&Zeroizing::new(format!("Bearer {token}"))).ok_or_else(|| text.fault("is no token", mend))
}

/// `NAME:PASSWORD` (RFC 7617).
fn basic(text: &Text) -> Result<HeaderValue, Fault> {
    let mend = "write NAME:PASSWORD";
    let pair = text.bytes.trim_ascii_end();
    if !pair.contains(&b':') || pair.iter().any(u8::is_ascii_control) {
        return Err(text.fault("is no name with a password", mend));
    }
    let pair = Zeroizing::new(BASE64_STANDARD.encode(pair));
    sensitive(&Zeroizing::new(format!("Basic {}", *pair))).ok_or_else(|| text.fault("is too long", mend))
}

/// One that logs do not show.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
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
    fn a_name_and_a_password_are_written_as_rfc_7617_has_them() {
        assert_eq!(basic(&text(b"Aladdin:open sesame\n")).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for bad in [&b""[..], b"name", b"a:b\nc"] {
            let told = basic(&text(bad)).unwrap_err().to_string();
            assert_eq!(told, "secret: is no name with a password\n    write NAME:PASSWORD");
        }
    }
}
