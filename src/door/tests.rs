//! Every requirement before every kind of caller.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::{proofs::X_API_KEY, userinfo::X_USERINFO, *};
use crate::{error::CallContext, reload::Text};

const GET: &str = "/shop.v1.ProductService/GetProduct";
const LIST: &str = "/shop.v1.ProductService/ListProducts";

/// A door with four keys: one that is good, one that has expired, one that was taken back, and one for lists alone.
struct House {
    door: Door,
    keys: [ApiKey; 4],
}

impl House {
    fn with(require: &str, policies: &[&str]) -> Self {
        Self::believing(&[], require, policies)
    }

    fn believing(gateways: &[&str], require: &str, policies: &[&str]) -> Self {
        let keys = [(); 4].map(|()| ApiKey::generate().unwrap());
        let more = ["", "expires = 1970-01-02\n", "revoked = true\n", "methods = ['*/List*']\n"];
        let entry = |(key, more): (&ApiKey, &str)| {
            format!("[[key]]\nname = 'acme'\nid = '{}'\nsha256 = '{}'\n{more}", key.id(), key.digest())
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), keys.iter().zip(more).map(entry).collect::<String>()).unwrap();
        let config = DoorConfig {
            keys: Some(file.path().to_owned()),
            require: Some(require.parse().unwrap()),
            policies: policies.iter().map(|policy| policy.parse().unwrap()).collect(),
            userinfo_from: gateways.iter().map(|gateways| Gateways::named(gateways).unwrap()).collect(),
            ..DoorConfig::default()
        };
        Self { door: Door::new(&config, true, &[&GET[1..], &LIST[1..]]).unwrap(), keys }
    }

    /// What becomes of a call with these keys and names: a caller, or code, reason and message.
    fn asked(
        &self,
        path: &str,
        keys: &[&str],
        names: &[&str],
    ) -> Result<Option<String>, (Code, String, String)> {
        self.asked_with(path, keys, names, &[])
    }

    /// The same of a caller of whom this is told.
    fn asked_with(
        &self,
        path: &str,
        keys: &[&str],
        names: &[&str],
        userinfo: &[&str],
    ) -> Result<Option<String>, (Code, String, String)> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(X_API_KEY, HeaderValue::from_bytes(key.as_bytes()).unwrap());
        }
        for value in userinfo {
            headers.append(X_USERINFO, HeaderValue::from_str(value).unwrap());
        }
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let peer = Peer { address: "192.0.2.1:1".parse().unwrap(), names };
        let now = UNIX_EPOCH + Duration::from_secs(365 * 24 * 3600);
        let shown = Shown { path, headers: &headers, peer: Some(&peer), now };
        let call = CallContext { domain: "", method: "", request_id: "", request: "", resource_type: "" };
        // No token is asked for, so that nothing is waited for.
        match self.door.admit(&shown).now_or_never().unwrap() {
            Ok(caller) => Ok(caller.map(|caller| caller.name.to_string())),
            Err(error) => Err((error.code(), error.reason().into_owned(), error.public_message(&call))),
        }
    }

    fn key(&self, index: usize) -> &str {
        self.keys[index].reveal()
    }
}

fn refused(code: Code, reason: &str, message: &str) -> Result<Option<String>, (Code, String, String)> {
    Err((code, reason.to_owned(), message.to_owned()))
}

fn missing(what: &str) -> Result<Option<String>, (Code, String, String)> {
    refused(Code::Unauthenticated, "CREDENTIALS_MISSING", &format!("this method requires {what}"))
}

fn admitted(name: &str) -> Result<Option<String>, (Code, String, String)> {
    Ok(Some(name.to_owned()))
}

const KEY: &str = "an API key (x-api-key)";
const CERTIFICATE: &str = "a client certificate";
const USERINFO: &str = "the user info of a gateway (x-apigateway-api-userinfo)";

#[test]
fn a_public_method_asks_nothing_and_believes_nothing() {
    let house = House::with("public", &[]);
    for keys in [&[][..], &["wrong"], &[house.key(0)]] {
        assert_eq!(house.asked(GET, keys, &["a"]), Ok(None));
    }
}

#[test]
fn a_key_lets_in_who_has_a_good_one() {
    let house = House::with("key", &[]);
    let wrong = refused(Code::Unauthenticated, "API_KEY_INVALID", "the API key is not valid");
    let unknown = ApiKey::generate().unwrap();
    let of_other = format!("brk_{}_{}", house.keys[0].id(), house.key(1).rsplit('_').next().unwrap());
    let longer = format!("{}x", house.key(0));
    assert_eq!(house.asked(GET, &[house.key(0)], &[]), admitted("key:acme"));
    assert_eq!(house.asked(GET, &[], &["spiffe://shop"]), missing(KEY));
    for key in
        ["", "x", unknown.reveal(), &of_other, &longer, &house.key(0)[..50], "brk_é", &house.keys[0].digest()]
    {
        assert_eq!(house.asked(GET, &[key], &[]), wrong, "{key}");
    }
    assert_eq!(house.asked(GET, &[house.key(0), house.key(0)], &[]), wrong);
    let ended = refused(Code::Unauthenticated, "API_KEY_EXPIRED", "the API key has expired");
    assert_eq!(house.asked(GET, &[house.key(1)], &[]), ended);
    let taken = refused(Code::Unauthenticated, "API_KEY_REVOKED", "the API key was taken back");
    assert_eq!(house.asked(GET, &[house.key(2)], &[]), taken);
}

#[test]
fn a_key_for_some_methods_is_for_those_alone() {
    let house = House::with("key", &[]);
    assert_eq!(house.asked(LIST, &[house.key(3)], &[]), admitted("key:acme"));
    let blocked =
        refused(Code::PermissionDenied, "API_KEY_METHOD_BLOCKED", "the API key is not for this method");
    assert_eq!(house.asked(GET, &[house.key(3)], &[]), blocked);
}

#[test]
fn a_certificate_lets_in_who_has_shown_one() {
    let house = House::with("mtls", &[]);
    assert_eq!(house.asked(GET, &[], &["spiffe://shop", "shop"]), admitted("mtls:spiffe://shop"));
    assert_eq!(house.asked(GET, &[house.key(0)], &[]), missing(CERTIFICATE));
}

#[test]
fn both_are_needed_where_both_are_required() {
    let house = House::with("key+mtls", &[]);
    let both = missing(&format!("{KEY} and {CERTIFICATE}"));
    assert_eq!(house.asked(GET, &[house.key(0)], &["shop"]), admitted("key:acme"));
    assert_eq!(house.asked(GET, &[house.key(0)], &[]), both);
    assert_eq!(house.asked(GET, &[], &["shop"]), both);
}

#[test]
fn one_is_enough_where_one_of_them_is_required_and_what_is_bad_is_told() {
    let house = House::with("key|mtls", &[]);
    assert_eq!(house.asked(GET, &[house.key(0)], &[]), admitted("key:acme"));
    assert_eq!(house.asked(GET, &["wrong"], &["shop"]), admitted("mtls:shop"));
    assert_eq!(house.asked(GET, &[], &[]), missing(&format!("{KEY}, or {CERTIFICATE}")));
    let wrong = refused(Code::Unauthenticated, "API_KEY_INVALID", "the API key is not valid");
    assert_eq!(house.asked(GET, &["wrong"], &[]), wrong);
}

#[test]
fn user_info_is_believed_of_a_gateway_by_whatever_that_has_proved() {
    let alice = &*BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":"https://idp","sub":"alice","exp":9999999999}"#);
    let named = admitted("userinfo:https://idp#alice");
    let cases = [
        ("mtls:spiffe://gateway", "mtls+userinfo"),
        ("mtls:spiffe://*", "userinfo+mtls"),
        ("mtls:spiffe://gateway", "key+mtls+userinfo"),
        ("key:acme", "key+mtls+userinfo"),
        ("*", "mtls+userinfo"),
        ("*", "userinfo"),
    ];
    for (gateways, require) in cases {
        let house = House::believing(&["key:nobody", gateways], require, &[]);
        let (key, names) = ([house.key(0)], ["spiffe://gateway", "gateway"]);
        let needs = |what: &str| require.contains(what) as usize;
        let (keys, names) = (&key[..needs("key")], &names[..2 * needs("mtls")]);
        assert_eq!(house.asked_with(GET, keys, names, &[alice]), named, "{gateways} {require}");
        let whole: Requirement = require.parse().unwrap();
        let missing = missing(&whole.in_words());
        assert_eq!(house.asked_with(GET, keys, names, &[]), missing, "{gateways} {require}");
        if !names.is_empty() {
            assert_eq!(house.asked_with(GET, keys, &[], &[alice]), missing, "{gateways} {require}");
        }
    }
}

#[test]
fn user_info_is_not_believed_of_who_has_proved_another_name_or_one_that_is_not_asked_for() {
    let alice = &*BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":"https://idp","sub":"alice","exp":9999999999}"#);
    let house = House::believing(&["mtls:spiffe://gateway", "key:acme"], "mtls+userinfo", &[]);
    let words = missing(&format!("{CERTIFICATE} and {USERINFO}"));
    for names in [&["spiffe://shop", "spiffe://gateway"][..], &["spiffe://gateway/x"], &["gateway"], &[]] {
        assert_eq!(house.asked_with(GET, &[house.key(0)], names, &[alice]), words, "{names:?}");
    }
}

#[test]
fn a_caller_without_the_gateway_has_its_own_way_in_and_gains_nothing_by_user_info() {
    let alice = &*BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":"https://idp","sub":"alice","exp":9999999999}"#);
    let house = House::believing(&["mtls:gateway"], "mtls+userinfo|key", &[]);
    let gateway = &["gateway"][..];
    let wrong = refused(Code::Unauthenticated, "USERINFO_INVALID", "the user info is not valid");
    let words = missing(&format!("{CERTIFICATE} and {USERINFO}, or {KEY}"));
    assert_eq!(house.asked_with(GET, &[], gateway, &[alice]), admitted("userinfo:https://idp#alice"));
    assert_eq!(house.asked_with(GET, &[], gateway, &["%"]), wrong);
    assert_eq!(house.asked_with(GET, &[house.key(0)], gateway, &["%"]), admitted("key:acme"));
    assert_eq!(house.asked_with(GET, &[house.key(0)], &["shop"], &[alice]), admitted("key:acme"));
    assert_eq!(house.asked_with(GET, &[], &["shop"], &[alice]), words);
    assert_eq!(house.asked_with(GET, &[], &["shop"], &["%"]), words);
}

#[test]
fn the_first_policy_that_fits_counts_and_no_path_is_without_one() {
    let house = House::with("key", &["*/List*=public", "shop.v1.*=mtls"]);
    assert_eq!(house.asked(LIST, &[], &[]), Ok(None));
    assert_eq!(house.asked(GET, &[house.key(0)], &[]), missing(CERTIFICATE));
    for path in
        ["/shop.v1.ProductService/ListNothing", "/", "//", "*", "/shop.v1.ProductService/ListProducts/"]
    {
        assert_eq!(house.asked(path, &[], &[]), missing(KEY), "{path}");
    }
}

#[test]
fn what_cannot_be_proved_and_what_names_no_method_is_a_fault() {
    let config = DoorConfig {
        require: Some("key+mtls".parse().unwrap()),
        policies: vec!["a.B/*=mtls".parse().unwrap()],
        ..DoorConfig::default()
    };
    let faults = Door::new(&config, false, &["shop.v1.ProductService/GetProduct"]).unwrap_err();
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "--policy a.B/*=mtls: requires a certificate, and callers are asked for none\n    name the CA that issues theirs \
             as --tls-client-ca",
            "--policy a.B/*=mtls: names no method that is served\n    write SERVICE/METHOD, with * for anything; \
             there are shop.v1.ProductService/GetProduct",
            "--require: requires a key, and there are none\n    name the file of them as --api-keys",
        ]
    );
}

#[test]
fn where_nothing_is_said_all_that_can_be_proved_is_required() {
    let methods = ["a.B/C"];
    assert!(Door::new(&DoorConfig::default(), false, &methods).unwrap().is_open());
    let with_ca = Door::new(&DoorConfig::default(), true, &methods).unwrap();
    assert_eq!(with_ca.others.to_string(), "mtls");
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = DoorConfig { keys: Some(file.path().to_owned()), ..DoorConfig::default() };
    assert_eq!(Door::new(&config, true, &methods).unwrap().others.to_string(), "key+mtls");
    let behind =
        DoorConfig { userinfo_from: vec![Gateways::named("mtls:a").unwrap()], ..DoorConfig::default() };
    assert_eq!(Door::new(&behind, true, &methods).unwrap().others.to_string(), "mtls+userinfo");
}

#[test]
fn a_key_is_found_among_others_whatever_their_number() {
    let entries: String = (0..1000)
        .map(|_| ApiKey::generate().unwrap())
        .map(|key| format!("[[key]]\nname = 'x'\nid = '{}'\nsha256 = '{}'\n", key.id(), key.digest()))
        .collect();
    let own = ApiKey::generate().unwrap();
    let own_entry = format!("[[key]]\nname = 'own'\nid = '{}'\nsha256 = '{}'\n", own.id(), own.digest());
    let text = Text { path: "keys.toml".into(), bytes: Zeroizing::new((entries + &own_entry).into_bytes()) };
    let keys = Keys::parse(&[text]).unwrap();
    assert_eq!(keys.find(own.reveal()).map(|entry| &*entry.name), Some("own"));
}
