//! Which metadata of a caller reaches the API, and which headers of the API reach a caller.
//!
//! Both are lists of names, empty by default: what is not named does not pass, for an API believes what a header says of
//! whoever could have sent it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use tonic::Code;

use crate::{
    call::Call,
    config::HeaderConfig,
    error::Error,
    forwarded::{self, X_FORWARDED_FOR},
    tls::Peer,
};

/// What metadata for the API may take. Servers commonly refuse a head of more than 8 KiB.
const MAX_ONWARD_BYTES: usize = 4 * 1024;
/// What headers for callers may take. Clients refuse more than 8 KiB, of which the details of an error take their part.
const MAX_BACK_BYTES: usize = 1024;

/// What passes.
#[derive(Debug, Clone)]
pub(super) struct Headers {
    config: Arc<HeaderConfig>,
}

// === impl Headers ===

impl Headers {
    pub(super) fn new(config: &HeaderConfig) -> Self {
        Self { config: Arc::new(config.clone()) }
    }

    /// What the API hears of the caller.
    pub(super) fn onward(
        &self,
        metadata: &HeaderMap,
        peer: Option<&Peer>,
        call: &Call,
    ) -> Result<HeaderMap, Error> {
        let (mut onward, mut bytes) = (HeaderMap::new(), 0);
        for name in &self.config.to_api {
            for value in metadata.get_all(name) {
                if !is_visible(value) {
                    return Err(refused(Code::InvalidArgument, format!("{name} is not printable ASCII")));
                }
                bytes += name.as_str().len() + value.len();
                if bytes > MAX_ONWARD_BYTES {
                    let what = format!("the metadata for the API has more than {MAX_ONWARD_BYTES} bytes");
                    return Err(refused(Code::ResourceExhausted, what));
                }
                onward.append(name, value.clone());
            }
        }
        if let (Some(hops), Some(peer)) = (self.config.forwarded_for, peer) {
            let way = forwarded::way(metadata, peer.address.ip(), hops);
            onward.insert(X_FORWARDED_FOR, forwarded::told(&way));
        }
        if let (Some(name), Some(caller)) = (&self.config.caller, call.caller()) {
            onward.insert(name, named(&caller));
        }
        Ok(onward)
    }

    /// What the caller hears of the API's head.
    pub(super) fn back(&self, answer: &HeaderMap) -> HeaderMap {
        let (mut back, mut bytes) = (HeaderMap::new(), 0);
        for name in &self.config.to_caller {
            for value in answer.get_all(name) {
                bytes += name.as_str().len() + value.len();
                if bytes > MAX_BACK_BYTES || !is_visible(value) {
                    tracing::debug!(%name, "a header of the API is too long, or not printable ASCII, so its caller does not get it");
                    return back;
                }
                back.append(name, value.clone());
            }
        }
        back
    }
}

/// Whether it is what gRPC allows in metadata (`PROTOCOL-HTTP2.md`, ASCII-Value).
fn is_visible(value: &HeaderValue) -> bool {
    value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// The name of a caller in a header. What is not visible ASCII, such as a subject may have, is percent-encoded, and `%` too, so
/// that no two names are written alike.
fn named(caller: &str) -> HeaderValue {
    let mut text = String::with_capacity(caller.len());
    for byte in caller.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::try_from(text).expect("it is visible ASCII")
}

fn refused(code: Code, what: String) -> Error {
    Error::Protocol { code, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_two_callers_have_one_name(one in ".{0,20}", other in ".{0,20}") {
            prop_assert_eq!(named(&one) == named(&other), one == other);
        }
    }
}
