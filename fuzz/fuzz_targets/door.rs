//! Whatever a stranger shows at the door: a file of keys that nobody meant is told, and nobody is let in but by the good key, by
//! a token that its issuer has signed and that says what it has to, or by user info that does, where anybody's is believed.
#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use grpc_rest_bridge::{
    config::{DoorConfig, IssuerConfig, TokenConfig},
    door::{ApiKey, Door, Gateways, JwksSource, Keys, Shown},
    reload::Text,
};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// When everything happens.
const NOW: u64 = 1_800_000_000;
const METHOD: &str = "/shop.v1.ProductService/GetProduct";
/// Two issuers with the same key, and whom their tokens are for.
const ISSUERS: [(&str, &str); 2] = [("https://issuer", "shop"), ("https://other", "warehouse")];

/// Doors, and what opens them.
struct House {
    by_key: Door,
    key: ApiKey,
    by_token: Door,
    signer: Ed25519KeyPair,
    by_userinfo: Door,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = ApiKey::generate().unwrap();
    let entry = format!("[[key]]\nname = 'acme'\nid = '{}'\nsha256 = '{}'\n", key.id(), key.digest());
    let keys = Some(write("keys.toml", entry));
    let signer = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = BASE64_URL_SAFE_NO_PAD.encode(signer.public_key());
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
    let place = JwksSource::File(write("jwks.json", jwks.to_string()));
    let issuer = |(name, audience): (&str, &str)| IssuerConfig {
        name: name.to_owned(),
        audiences: vec![audience.to_owned()],
        jwks: place.clone(),
    };
    let scopes = vec!["*=read".parse().unwrap()];
    let claims = TokenConfig { clock_skew: Duration::ZERO, scopes, ..TokenConfig::default() };
    let tokens = TokenConfig { issuers: ISSUERS.into_iter().map(issuer).collect(), ..claims.clone() };
    let anybody = vec![Gateways::named("*").unwrap()];
    let door = |config: &DoorConfig| Door::new(config, false, &[&METHOD[1..]]).unwrap();
    House {
        by_key: door(&DoorConfig { keys, ..DoorConfig::default() }),
        key,
        by_token: door(&DoorConfig { tokens, ..DoorConfig::default() }),
        signer,
        by_userinfo: door(&DoorConfig { tokens: claims, userinfo_from: anybody, ..DoorConfig::default() }),
    }
});

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    match kind % 6 {
        0 => read_keys(bytes),
        1 => {
            let is_in = is_admitted(&HOUSE.by_key, "x-api-key", bytes);
            assert_eq!(is_in, bytes == HOUSE.key.reveal().as_bytes());
        }
        2 => assert!(!is_admitted(&HOUSE.by_token, "authorization", &[b"Bearer ", bytes].concat())),
        3 => show_signed(bytes),
        4 => tell(bytes, &BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        _ => tell(&decoded(bytes), &String::from_utf8_lossy(bytes)),
    }
});

fn read_keys(bytes: &[u8]) {
    let text = Text { path: "keys.toml".into(), bytes: bytes.to_vec().into() };
    match Keys::parse(&[text]) {
        Ok(keys) => keys.entries().into_iter().for_each(|entry| drop(format!("{entry:?}"))),
        Err(faults) => {
            assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.to_string().is_empty()))
        }
    }
}

/// A token whose claims are anything, signed as it should be.
fn show_signed(claims: &[u8]) {
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(br#"{"alg":"EdDSA","kid":"k"}"#), part(claims));
    let signature = HOUSE.signer.sign(message.as_bytes());
    let value = format!("Bearer {message}.{}", part(signature.as_ref()));
    let Some(name) = admitted(&HOUSE.by_token, "authorization", value.as_bytes()) else { return };
    let Some(claims) = checked("token", &name, claims) else { return };
    let has = |audience: &str| {
        claims["aud"] == audience
            || claims["aud"].as_array().is_some_and(|all| all.contains(&json!(audience)))
    };
    assert!(ISSUERS.iter().any(|(name, audience)| claims["iss"] == *name && has(audience)), "{claims}");
}

/// User info as a gateway would send it, and what it says if it says anything.
fn tell(claims: &[u8], header: &str) {
    if let Some(name) = admitted(&HOUSE.by_userinfo, "x-apigateway-api-userinfo", header.as_bytes()) {
        checked("userinfo", &name, claims);
    }
}

/// What a header of base64 says, whatever its padding.
fn decoded(header: &[u8]) -> Vec<u8> {
    let end = header.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    BASE64_URL_SAFE_NO_PAD.decode(&header[..end]).unwrap_or_default()
}

/// The claims of somebody who was let in under this name, who has to have said all that is needed.
fn checked(proof: &str, name: &str, claims: &[u8]) -> Option<Value> {
    // Strings that nobody reads may be none.
    let claims: Value = serde_json::from_str(&String::from_utf8_lossy(claims)).ok()?;
    let words =
        |claim: &Value| claim.as_str().is_some_and(|text| text.split(' ').any(|found| found == "read"));
    let has = |list: &Value| list.as_array().is_some_and(|list| list.contains(&json!("read")));
    let text = |claim: &str| claims[claim].as_str().filter(|text| (1..=255).contains(&text.len()));
    let (issuer, subject) = (text("iss").unwrap(), text("sub").unwrap());
    assert_eq!(name, format!("{proof}:{issuer}#{subject}"));
    assert!(!issuer.contains('#'), "{claims}");
    assert!(claims["exp"].as_u64().is_some_and(|exp| exp > NOW), "{claims}");
    assert!(words(&claims["scope"]) || words(&claims["scp"]) || has(&claims["scp"]), "{claims}");
    Some(claims)
}

fn is_admitted(door: &Door, name: &'static str, value: &[u8]) -> bool {
    admitted(door, name, value).is_some()
}

/// The name of who is let in.
fn admitted(door: &Door, name: &'static str, value: &[u8]) -> Option<String> {
    // What is no legal header never gets this far.
    let value = HeaderValue::from_bytes(value).ok()?;
    let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value)]);
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(NOW);
    let shown = Shown { path: METHOD, headers: &headers, peer: None, now };
    // Keys that are in files are not waited for.
    let admitted = door.admit(&shown).now_or_never().expect("nothing is waited for");
    admitted.ok()?.map(|caller| caller.name.to_string())
}
