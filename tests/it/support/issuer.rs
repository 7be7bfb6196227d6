//! A small OpenID issuer: its keys, its server, and tokens of every kind, good and bad.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, routing::get};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use grpc_rest_bridge::{
    config::{IssuerConfig, TokenConfig},
    door::JwksSource,
};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A key that signs tokens.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) id: String,
    key: Arc<Key>,
}

enum Key {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// An issuer on a free port.
pub(crate) struct Issuer {
    pub(crate) url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Signer {
    pub(crate) fn es256(id: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::of(id, Key::Es256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()))
    }

    pub(crate) fn ed25519(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::of(id, Key::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()))
    }

    /// A key for tests alone, for it takes long to make one.
    pub(crate) fn rs256(id: &str) -> Self {
        let pkcs8 = include_bytes!("../../cases/keys/rsa.pk8");
        Self::of(id, Key::Rs256(RsaKeyPair::from_pkcs8(pkcs8).unwrap()))
    }

    fn of(id: &str, key: Key) -> Self {
        Self { id: id.to_owned(), key: Arc::new(key) }
    }

    fn algorithm(&self) -> &'static str {
        match &*self.key {
            Key::Rs256(_) => "RS256",
            Key::Es256(_) => "ES256",
            Key::EdDsa(_) => "EdDSA",
        }
    }

    /// The public half, as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &*self.key {
            Key::Rs256(key) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": text(&n), "e": text(&e)})
            }
            Key::Es256(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Key::EdDsa(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref())}),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "at+jwt"}), claims)
    }

    /// A token with a header of one's own.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let random = SystemRandom::new();
        let signature = match &*self.key {
            Key::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Key::Es256(key) => key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Key::EdDsa(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Issuer {
    /// One with these keys.
    pub(crate) async fn with(signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let configuration = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let (shown, count) = (keys.clone(), asked.clone());
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(configuration.clone())))
            .route(
                "/keys",
                get(async move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    Json(json!({"keys": *shown.lock().unwrap()}))
                }),
            );
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let issuer = Self { url, keys, asked, task };
        issuer.publish(signers);
        issuer
    }

    /// Shows these keys from now on.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        *self.keys.lock().unwrap() = signers.iter().map(|signer| signer.jwk()).collect();
    }

    /// Shows any keys.
    pub(crate) fn publish_raw(&self, keys: Vec<Value>) {
        *self.keys.lock().unwrap() = keys;
    }

    /// How often it was asked for its keys.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The claims of a token that is good at the shop.
    pub(crate) fn claims(&self) -> Value {
        let now = now();
        json!({"iss": self.url, "aud": "shop", "sub": "alice", "exp": now + 600, "scope": "products.read other"})
    }

    /// The settings that believe it.
    pub(crate) fn config(&self) -> TokenConfig {
        Self::config_of(&[self])
    }

    /// The settings that believe all of these.
    pub(crate) fn config_of(issuers: &[&Self]) -> TokenConfig {
        let issuer = |issuer: &&Self| IssuerConfig {
            name: issuer.url.clone(),
            audiences: vec!["shop".to_owned()],
            jwks: JwksSource::Discovery,
        };
        TokenConfig {
            issuers: issuers.iter().map(issuer).collect(),
            scopes: vec!["*/ListProducts=products.read".parse().unwrap()],
            ..TokenConfig::default()
        }
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The time, as tokens have it.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// These claims without some of them, or with others.
pub(crate) fn with(mut claims: Value, claim: &str, value: Value) -> Value {
    claims[claim] = value;
    claims
}

/// The two parts that are signed.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}
