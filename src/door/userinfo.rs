//! User info: the claims of a caller's token as API Gateway passes them on, once it has looked at the token. They are not
//! signed: anybody can write them, which is why a gateway has to prove that it is one.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::HeaderMap;
use wildmatch::WildMatch;

use super::{
    claims::{Claims, Says, Terms},
    requirement::{Proof, ScopePolicy},
    token::MAX_TOKEN_BYTES,
};
use crate::error::Error;

/// The header that they come in.
pub(super) const X_USERINFO: &str = "x-apigateway-api-userinfo";

/// The payload of a token has no padding, and gateways add it or leave it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How refusals of them are told.
pub(super) const TERMS: Terms = Terms {
    what: "the user info",
    invalid: "USERINFO_INVALID",
    expired: "USERINFO_EXPIRED",
    not_yet_valid: "USERINFO_NOT_YET_VALID",
    scope_insufficient: "USERINFO_SCOPE_INSUFFICIENT",
};

/// Gateways that are believed, by the names that they have proved; `*` is anybody, even one who has proved none.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateways(WildMatch);

// === impl Gateways ===

impl Gateways {
    /// Those whose names look like this; nothing if no caller has such a name.
    pub fn named(pattern: &str) -> Option<Self> {
        let gateways = Self(WildMatch::new(pattern));
        let proofs = Proof::ALL.into_iter().filter(|proof| *proof != Proof::Userinfo);
        proofs.into_iter().any(|proof| gateways.may_prove(proof)).then_some(gateways)
    }

    /// Whether this is one of them; nobody has proved nothing.
    pub(super) fn has(&self, name: Option<&str>) -> bool {
        self.0.matches(name.unwrap_or_default())
    }

    /// Whether one of them may have a name of this kind.
    pub(super) fn may_prove(&self, proof: Proof) -> bool {
        let (pattern, prefix) = (self.0.pattern(), format!("{proof}:"));
        let literal = pattern.split(['*', '?']).next().unwrap_or_default();
        // What is no pattern has to go on behind the prefix, for no name is empty.
        if literal.len() == pattern.len() && pattern.len() <= prefix.len() {
            return false;
        }
        literal.starts_with(&prefix) || prefix.starts_with(literal)
    }
}

/// What a gateway says of its caller; nothing if it says nothing.
///
/// # Errors
/// Why it is no user info, for the log.
pub(super) fn read(headers: &HeaderMap, scopes: &[ScopePolicy]) -> Result<Option<Says>, Error> {
    let mut given = headers.get_all(X_USERINFO).iter();
    let Some(first) = given.next() else { return Ok(None) };
    // Which of several is the gateway's, and which its caller's, is nobody's to guess.
    if given.next().is_some() {
        return Err(invalid("more than one was sent"));
    }
    if first.len() > MAX_TOKEN_BYTES {
        return Err(invalid("it is too long"));
    }
    let json =
        BASE64.decode(first.as_bytes()).map_err(|error| invalid(&format!("it is no base64url: {error}")))?;
    let claims: Claims = serde_json::from_slice(&json)
        .map_err(|error| invalid(&format!("it has no claims of a token: {error}")))?;
    claims.keep(Proof::Userinfo, scopes).map(Some).map_err(|why| invalid(&format!("it {why}")))
}

fn invalid(why: &str) -> Error {
    TERMS.invalid(format!("of the user info: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_named_as_callers_are() {
        let google = Gateways::named("token:https://accounts.google.com#1234").unwrap();
        assert!(google.has(Some("token:https://accounts.google.com#1234")));
        for other in [
            None,
            Some(""),
            Some("token:https://accounts.google.com#12345"),
            Some("token:https://accounts.google.com#234"),
            Some("key:token:https://accounts.google.com#1234"),
            Some("userinfo:https://accounts.google.com#1234"),
        ] {
            assert!(!google.has(other), "{other:?}");
        }
        let mesh = Gateways::named("mtls:spiffe://shop/*").unwrap();
        assert!(mesh.has(Some("mtls:spiffe://shop/gateway")) && !mesh.has(Some("mtls:spiffe://shopping")));
        assert!(Gateways::named("*").unwrap().has(None) && Gateways::named("*").unwrap().has(Some("key:a")));
        assert!(!Gateways::named("key:*").unwrap().has(None));
    }

    #[test]
    fn what_no_caller_is_called_names_no_gateway() {
        for pattern in
            ["", "gateway", "Token:a", "userinfo:a#b", "userinfo:*", "key", "key:", "tok", "https://a#*"]
        {
            assert_eq!(Gateways::named(pattern), None, "{pattern}");
        }
        for pattern in ["*", "?*", "key:a", "k*", "mtls:*", "tok?n:https://a#b", "*#1234"] {
            assert!(Gateways::named(pattern).is_some(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_may_be_of_the_kinds_that_it_can_begin_like() {
        let may = |pattern: &str| {
            let gateways = Gateways::named(pattern).unwrap();
            [Proof::Key, Proof::Token, Proof::Mtls].map(|proof| gateways.may_prove(proof))
        };
        assert_eq!(may("key:a"), [true, false, false]);
        assert_eq!(may("token:*"), [false, true, false]);
        assert_eq!(may("m*"), [false, false, true]);
        assert_eq!(may("*"), [true; 3]);
    }
}
