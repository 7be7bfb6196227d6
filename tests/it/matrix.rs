//! Every policy before every kind of caller, over real TLS, with real keys and the tokens of a real issuer; and all of it renewed
//! while callers call.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use grpc_rest_bridge::{
    config::ClientAuth,
    shop::v1::{GetProductRequest, product_service_client::ProductServiceClient},
};
use ring::hmac;
use serde_json::json;
use tonic::{
    Code, Request, Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::support::{Api, Authority, Bridge, Files, Issuer, Program, Signer, reason, unsigned};

/// What is said of a proof: nothing was shown, it is good, or it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Good,
    Bad(Code, &'static str, &'static str),
}

use Shown::{Bad, Good, Nothing};

/// What may be shown, with what is said of it.
type Kinds = Vec<(&'static str, Option<String>, Shown)>;

const POLICIES: [&str; 11] = [
    "public",
    "key",
    "token",
    "mtls",
    "key+token",
    "key+mtls",
    "token+mtls",
    "key+token+mtls",
    "key|token",
    "mtls|key+token",
    "token|mtls|key",
];

const KEY_INVALID: Shown = Bad(Code::Unauthenticated, "API_KEY_INVALID", "the API key is not valid");
const TOKEN_INVALID: Shown =
    Bad(Code::Unauthenticated, "ACCESS_TOKEN_INVALID", "the bearer token is not valid");

/// A key and its entry.
async fn new_key(more: &str) -> (String, String) {
    let made = Program::run(&["keys", "new", "acme"], &[]).await;
    let key = made.stderr.lines().find(|line| line.starts_with("brk_")).unwrap().to_owned();
    (key, made.stdout + more)
}

/// Keys of every kind, and the file of those that there are.
async fn keys() -> (Kinds, String) {
    let (good, entry) = new_key("").await;
    let (expired, of_expired) = new_key("").await;
    let (revoked, of_revoked) = new_key("revoked = true\n").await;
    let (blocked, of_blocked) = new_key("methods = ['*/ListProducts']\n").await;
    let (unknown, _) = new_key("").await;
    let of_expired = of_expired.replace("[[key]]", "[[key]]\nexpires = 1970-01-02");
    let file = [entry, of_expired, of_revoked, of_blocked].concat();
    let ended = Bad(Code::Unauthenticated, "API_KEY_EXPIRED", "the API key has expired");
    let taken = Bad(Code::Unauthenticated, "API_KEY_REVOKED", "the API key was taken back");
    let other = Bad(Code::PermissionDenied, "API_KEY_METHOD_BLOCKED", "the API key is not for this method");
    let kinds = vec![
        ("no key", None, Nothing),
        ("a key", Some(good), Good),
        ("a wrong key", Some(unknown), KEY_INVALID),
        ("no key at all", Some("secret".to_owned()), KEY_INVALID),
        ("an expired key", Some(expired), ended),
        ("a revoked key", Some(revoked), taken),
        ("a key for others", Some(blocked), other),
    ];
    (kinds, file)
}

/// Tokens of every kind.
fn tokens(issuer: &Issuer, signer: &Signer) -> Kinds {
    let with = |claim: &str, value| {
        let mut claims = issuer.claims();
        claims[claim] = value;
        signer.token(&claims)
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let stranger = Signer::es256(&signer.id);
    let none = format!("{}.", unsigned(&json!({"alg": "none"}), &issuer.claims()));
    // The public key, which everybody has, as a shared secret.
    let message = unsigned(&json!({"alg": "HS256", "kid": signer.id}), &issuer.claims());
    let public = BASE64_URL_SAFE_NO_PAD.decode(signer.jwk()["x"].as_str().unwrap()).unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), message.as_bytes());
    let confused = format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag));
    let other_algorithm = signer.token_with(&json!({"alg": "RS256", "kid": signer.id}), &issuer.claims());
    let expired = Bad(Code::Unauthenticated, "ACCESS_TOKEN_EXPIRED", "the bearer token has expired");
    let early = Bad(Code::Unauthenticated, "ACCESS_TOKEN_NOT_YET_VALID", "the bearer token is not valid yet");
    vec![
        ("no token", None, Nothing),
        ("a token", Some(signer.token(&issuer.claims())), Good),
        ("a token for others", Some(with("aud", json!("warehouse"))), TOKEN_INVALID),
        ("a token of others", Some(with("iss", json!("https://elsewhere"))), TOKEN_INVALID),
        ("a token by a stranger's key", Some(stranger.token(&issuer.claims())), TOKEN_INVALID),
        ("an unsigned token", Some(none), TOKEN_INVALID),
        ("a token by the public key", Some(confused), TOKEN_INVALID),
        ("a token of another algorithm", Some(other_algorithm), TOKEN_INVALID),
        ("an expired token", Some(with("exp", json!(now - 3600))), expired),
        ("a token of tomorrow", Some(with("nbf", json!(now + 3600))), early),
    ]
}

/// What docs/security.md says becomes of a caller: the first set of proofs that is good lets it in; else what was shown and is
/// no good says more than what was not shown.
fn expected(
    policy: &str,
    key: Shown,
    token: Shown,
    certificate: Shown,
) -> Result<(), (Code, String, String)> {
    let mut why = Nothing;
    for set in policy.split('|') {
        let shown = |proof: &str| match proof {
            "key" => key,
            "token" => token,
            "mtls" => certificate,
            _ => Good,
        };
        match set.split('+').map(shown).find(|shown| *shown != Good) {
            None => return Ok(()),
            Some(bad) if why == Nothing => why = bad,
            Some(_) => {}
        }
    }
    let Bad(code, reason, message) = why else {
        let words = policy.replace('|', ", or ").replace('+', " and ");
        let words =
            words.replace("key", "an API key (x-api-key)").replace("token", "a bearer token (authorization)");
        let message = format!("this method requires {}", words.replace("mtls", "a client certificate"));
        return Err((Code::Unauthenticated, "CREDENTIALS_MISSING".to_owned(), message));
    };
    Err((code, reason.to_owned(), message.to_owned()))
}

async fn get(channel: &Channel, key: Option<&str>, token: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(GetProductRequest { id: 7 });
    if let Some(key) = key {
        request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    }
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    ProductServiceClient::new(channel.clone()).get_product(request).await.map(drop)
}

async fn connect(bridge: &Bridge, tls: ClientTlsConfig) -> Channel {
    endpoint(bridge, tls).connect().await.unwrap()
}

fn endpoint(bridge: &Bridge, tls: ClientTlsConfig) -> Endpoint {
    let address = format!("https://localhost:{}", bridge.address.port());
    Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap()
}

#[tokio::test]
async fn each_policy_lets_in_whom_it_says_and_tells_the_others_why_not() {
    let api = Api::saying("{}").await;
    let signer = Signer::ed25519("k");
    let issuer = Issuer::with(&[&signer]).await;
    let (servers, callers) = (Authority::new("servers"), Authority::new("callers"));
    let files = Files::of(&servers.for_server());
    let (keys, file) = keys().await;
    let (path, tokens) = (files.write("keys.toml", &file), tokens(&issuer, &signer));
    let certified = callers.for_caller("spiffe://shop/checkout");
    let mut asked = 0;
    for policy in POLICIES {
        let mut tls = files.mutual(&callers);
        tls.client_auth = ClientAuth::Requested;
        let door = |door: &mut grpc_rest_bridge::config::DoorConfig| {
            door.keys = Some(path.clone());
            door.tokens = issuer.config();
            door.require = Some(policy.parse().unwrap());
        };
        let bridge = Bridge::to(&api.url()).tls(tls).door(door).start().await;
        for (certificate, said) in [(None, Nothing), (Some(&certified), Good)] {
            let channel = connect(&bridge, servers.trusted(certificate)).await;
            for (key_is, key, of_key) in &keys {
                for (token_is, token, of_token) in &tokens {
                    let found = get(&channel, key.as_deref(), token.as_deref()).await;
                    let found = found.map_err(|told| (told.code(), reason(&told), told.message().to_owned()));
                    let with = if said == Good { "a certificate" } else { "no certificate" };
                    let expected = expected(policy, *of_key, *of_token, said);
                    assert_eq!(found, expected, "{policy}: {key_is}, {token_is}, {with}");
                    asked += 1;
                }
            }
        }
        // Who shows a certificate of another CA is not even connected.
        let forged = Authority::new("callers").for_caller("spiffe://shop/checkout");
        let stranger = endpoint(&bridge, servers.trusted(Some(&forged))).connect().await;
        assert!(match stranger {
            Err(_) => true,
            // The end of a handshake of TLS 1.3 is seen when something is asked.
            Ok(channel) => get(&channel, keys[1].1.as_deref(), tokens[1].1.as_deref()).await.is_err(),
        });
    }
    assert_eq!(asked, POLICIES.len() * 2 * keys.len() * tokens.len());
}

/// What callers show while all of it is renewed.
#[derive(Clone)]
struct Credentials {
    key: String,
    token: String,
}

/// Callers that call without a pause, over old connections and new ones.
struct Load {
    credentials: Arc<Mutex<Credentials>>,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn on(bridge: &Bridge, tls: &ClientTlsConfig, credentials: Credentials) -> Self {
        let mut load = Self {
            credentials: Arc::new(Mutex::new(credentials)),
            stop: Arc::default(),
            calls: Arc::default(),
            tasks: Vec::new(),
        };
        for _ in 0..4 {
            let endpoint = endpoint(bridge, tls.clone());
            let (credentials, stop, calls) =
                (load.credentials.clone(), load.stop.clone(), load.calls.clone());
            load.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let channel = endpoint.connect().await.expect("callers can connect at any time");
                    for _ in 0..20 {
                        let Credentials { key, token } = credentials.lock().unwrap().clone();
                        get(&channel, Some(&key), Some(&token)).await.expect("no call fails");
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }));
        }
        load
    }

    /// Until every caller has called with what is there now.
    async fn goes_on(&self) {
        let until = self.calls.load(Ordering::Relaxed) + 200;
        while self.calls.load(Ordering::Relaxed) < until && !self.tasks.iter().any(|task| task.is_finished())
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn ends(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.calls.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn certificates_keys_and_jwks_are_renewed_under_load_and_no_call_fails() {
    let api = Api::saying("{}").await;
    let mut signer = Signer::es256("k0");
    let issuer = Issuer::with(&[&signer]).await;
    let authority = Authority::new("servers");
    let files = Files::of(&authority.for_server());
    let (key, mut entry) = new_key("").await;
    let path = files.write("keys.toml", &entry);
    let door = |door: &mut grpc_rest_bridge::config::DoorConfig| {
        door.keys = Some(path.clone());
        door.tokens = issuer.config();
        door.require = Some("key+token".parse().unwrap());
    };
    let bridge = Bridge::to(&api.url()).tls(files.config()).door(door).start().await;
    let tls = authority.trusted(None);
    let probe = connect(&bridge, tls.clone()).await;
    let mut now = Credentials { key, token: signer.token(&issuer.claims()) };
    let load = Load::on(&bridge, &tls, now.clone());
    for round in 1..=5 {
        files.renew(&authority.for_server());
        // The next key is there before it is used, and the last one until it is not used any more.
        let (key, next) = new_key("").await;
        files.write("keys.toml", &format!("{entry}{next}"));
        let renewed = Signer::es256(&format!("k{round}"));
        issuer.publish(&[&signer, &renewed]);
        let token = renewed.token(&issuer.claims());
        while get(&probe, Some(&key), Some(&token)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let old = std::mem::replace(&mut now, Credentials { key, token });
        *load.credentials.lock().unwrap() = now.clone();
        load.goes_on().await;
        files.write("keys.toml", &next);
        issuer.publish(&[&renewed]);
        (entry, signer) = (next, renewed);
        while get(&probe, Some(&old.key), Some(&now.token)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        load.goes_on().await;
    }
    let calls = load.ends().await;
    println!("{calls} calls while certificates, keys and JWKS were renewed five times, 0 failed");
    assert!(calls > 1000, "{calls}");
}
