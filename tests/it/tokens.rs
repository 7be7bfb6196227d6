use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use grpc_rest_bridge::shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use crate::support::{Api, Bridge, Issuer, Program, Signer, now, reason, unsigned, with};

/// A bridge that believes an issuer.
struct House {
    bridge: Bridge,
    issuer: Issuer,
    // It answers until the test ends.
    _api: Api,
}

impl House {
    async fn of(signers: &[&Signer]) -> Self {
        let api = Api::saying(r#"{"products":[]}"#).await;
        let issuer = Issuer::with(signers).await;
        let tokens = issuer.config();
        let bridge = Bridge::to(&api.url()).door(|door| door.tokens = tokens).start().await;
        Self { bridge, issuer, _api: api }
    }

    async fn list(&self, authorization: Option<&str>) -> Result<(), Status> {
        let mut request = Request::new(ListProductsRequest {});
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        ProductServiceClient::new(self.bridge.channel().await).list_products(request).await.map(drop)
    }

    /// Code, reason and message for a call with this token.
    async fn refusal(&self, token: &str) -> (Code, String, String) {
        let status = self.list(Some(&format!("Bearer {token}"))).await.unwrap_err();
        (status.code(), reason(&status), status.message().to_owned())
    }

    async fn serves(&self, token: &str) {
        self.list(Some(&format!("Bearer {token}"))).await.unwrap();
    }

    fn claims_with(&self, claim: &str, value: Value) -> Value {
        with(self.issuer.claims(), claim, value)
    }
}

fn told(code: Code, reason: &str, message: &str) -> (Code, String, String) {
    (code, reason.to_owned(), message.to_owned())
}

fn invalid() -> (Code, String, String) {
    told(Code::Unauthenticated, "ACCESS_TOKEN_INVALID", "the bearer token is not valid")
}

#[tokio::test]
async fn a_good_token_of_each_algorithm_lets_its_caller_in() {
    let signers = [Signer::rs256("r"), Signer::es256("e"), Signer::ed25519("d")];
    let house = House::of(&signers.each_ref()).await;
    for signer in &signers {
        let token = signer.token(&house.issuer.claims());
        house.serves(&token).await;
        house.list(Some(&format!("bearer  {token}"))).await.unwrap();
    }
    let many = house.claims_with("aud", json!(["other", "shop"]));
    house.serves(&signers[1].token(&many)).await;
}

#[tokio::test]
async fn a_call_without_a_token_is_told_what_is_missing() {
    let house = House::of(&[&Signer::es256("e")]).await;
    let status = house.list(None).await.unwrap_err();
    let found = (status.code(), reason(&status), status.message().to_owned());
    let missing = "this method requires a bearer token (authorization)";
    assert_eq!(found, told(Code::Unauthenticated, "CREDENTIALS_MISSING", missing));
}

#[tokio::test]
async fn a_token_that_is_not_for_here_is_told_like_any_bad_one() {
    let signer = Signer::es256("e");
    let house = House::of(&[&signer]).await;
    let cases = [
        ("iss", json!("http://elsewhere")),
        ("aud", json!("warehouse")),
        ("aud", json!(["warehouse"])),
        ("sub", Value::Null),
        ("exp", Value::Null),
        ("exp", json!("never")),
        ("aud", Value::Null),
        ("iss", Value::Null),
        ("iss", json!([house.issuer.url])),
    ];
    for (claim, value) in cases {
        let token = signer.token(&house.claims_with(claim, value.clone()));
        assert_eq!(house.refusal(&token).await, invalid(), "{claim} {value}");
    }
}

#[tokio::test]
async fn times_are_asked_anew_each_time_and_clocks_may_differ_a_little() {
    let signer = Signer::es256("e");
    let house = House::of(&[&signer]).await;
    let expired = told(Code::Unauthenticated, "ACCESS_TOKEN_EXPIRED", "the bearer token has expired");
    house.serves(&signer.token(&house.claims_with("exp", json!(now() - 10)))).await;
    assert_eq!(house.refusal(&signer.token(&house.claims_with("exp", json!(now() - 40)))).await, expired);
    house.serves(&signer.token(&house.claims_with("nbf", json!(now() + 10)))).await;
    let early =
        told(Code::Unauthenticated, "ACCESS_TOKEN_NOT_YET_VALID", "the bearer token is not valid yet");
    assert_eq!(house.refusal(&signer.token(&house.claims_with("nbf", json!(now() + 100)))).await, early);
    let soon = signer.token(&house.claims_with("exp", json!(now() - 29)));
    while house.list(Some(&format!("Bearer {soon}"))).await.is_ok() {}
    assert_eq!(house.refusal(&soon).await, expired);
}

#[tokio::test]
async fn a_method_needs_the_scope_that_is_set_for_it() {
    let signer = Signer::es256("e");
    let house = House::of(&[&signer]).await;
    let lacks = "the bearer token lacks the scope products.read";
    let lacks = told(Code::PermissionDenied, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", lacks);
    for scope in [json!(""), json!("products.reader"), json!("products.read.all"), Value::Null] {
        assert_eq!(house.refusal(&signer.token(&house.claims_with("scope", scope))).await, lacks);
    }
    let mut claims = house.claims_with("scp", json!(["products.read"]));
    claims["scope"] = Value::Null;
    house.serves(&signer.token(&claims)).await;
    claims["scp"] = json!("a products.read");
    house.serves(&signer.token(&claims)).await;
}

#[tokio::test]
async fn no_algorithm_but_that_of_the_key_is_believed() {
    let (rsa, ec) = (Signer::rs256("r"), Signer::es256("e"));
    let house = House::of(&[&rsa, &ec]).await;
    let claims = house.issuer.claims();
    // None at all.
    let none = unsigned(&json!({"alg": "none"}), &claims);
    assert_eq!(house.refusal(&format!("{none}.")).await, invalid());
    // A public key taken for a shared secret.
    let message = unsigned(&json!({"alg": "HS256", "kid": "r"}), &claims);
    let secret = BASE64_URL_SAFE_NO_PAD.decode(rsa.jwk()["n"].as_str().unwrap()).unwrap();
    let forged =
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret), message.as_bytes());
    let forged = format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(forged.as_ref()));
    assert_eq!(house.refusal(&forged).await, invalid());
    // The key of another algorithm, and the id of another key.
    for header in [
        json!({"alg": "RS256", "kid": "e"}),
        json!({"alg": "EdDSA", "kid": "e"}),
        json!({"alg": "ES256", "kid": "r"}),
        json!({"alg": "ES384", "kid": "e"}),
        json!({"alg": "es256", "kid": "e"}),
        json!({"kid": "e"}),
    ] {
        assert_eq!(house.refusal(&ec.token_with(&header, &claims)).await, invalid(), "{header}");
    }
    // A key that comes with its token.
    let own = Signer::es256("own");
    let header = json!({"alg": "ES256", "jwk": own.jwk(), "kid": "own"});
    assert_eq!(house.refusal(&own.token_with(&header, &claims)).await, invalid());
}

#[tokio::test]
async fn a_token_that_was_tampered_with_is_no_token() {
    let signer = Signer::es256("e");
    let house = House::of(&[&signer]).await;
    let good = signer.token(&house.issuer.claims());
    let other = signer.token(&house.claims_with("sub", json!("mallory")));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (good_parts, other_parts) = (parts(&good), parts(&other));
    let mixed = [&good_parts[0], &other_parts[1], &good_parts[2]].map(String::as_str).join(".");
    let cut = &good[..good.len() - 4];
    let longer = format!("{good}.{}", good_parts[2]);
    let huge = format!("{good}{}", "a".repeat(20_000));
    for token in [&mixed, cut, &longer, &huge, "", "a", "a.b.c", "..", &good[1..]] {
        assert_eq!(house.refusal(token).await, invalid(), "{token}");
    }
    for value in ["Basic YTpi", "Bearer", &good, &format!("Bearer {good} {good}")] {
        let status = house.list(Some(value)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::Unauthenticated, "ACCESS_TOKEN_INVALID".to_owned())
        );
    }
    house.serves(&good).await;
}

#[tokio::test]
async fn a_new_key_is_asked_for_when_a_token_names_it_but_not_for_each_token_that_names_any() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let house = House::of(&[&old]).await;
    house.serves(&old.token(&house.issuer.claims())).await;
    let (began, asked) = (std::time::Instant::now(), house.issuer.asked());
    for stranger in 0..50 {
        let stranger = Signer::es256(&format!("stranger {stranger}")).token(&house.issuer.claims());
        assert_eq!(house.refusal(&stranger).await, invalid());
    }
    house.issuer.publish(&[&old, &new]);
    let token = format!("Bearer {}", new.token(&house.issuer.claims()));
    while house.list(Some(&token)).await.is_err() {
        house.serves(&old.token(&house.issuer.claims())).await;
    }
    let (asked, seconds) = (house.issuer.asked() - asked, began.elapsed().as_secs_f64());
    assert!(asked as f64 <= seconds + 1.0, "{asked} times in {seconds} s");
    // The old one ends when its issuer shows it no more, and is asked for no sooner than that.
    house.serves(&old.token(&house.issuer.claims())).await;
}

#[tokio::test]
async fn an_issuer_that_shows_no_key_for_a_moment_takes_none_away() {
    let signer = Signer::es256("e");
    let house = House::of(&[&signer]).await;
    let token = signer.token(&house.issuer.claims());
    house.serves(&token).await;
    house.issuer.publish(&[]);
    let asked = house.issuer.asked();
    while house.issuer.asked() < asked + 2 {
        // Its key is not known, which is why keys are asked for.
        assert_eq!(house.refusal(&Signer::es256("stranger").token(&house.issuer.claims())).await, invalid());
    }
    house.serves(&token).await;
    house.serves(&signer.token(&house.claims_with("sub", json!("bob")))).await;
}

#[tokio::test]
async fn keys_of_other_kinds_do_not_spoil_the_good_ones() {
    let signer = Signer::es256("e");
    let house = House::of(&[]).await;
    let mut encrypts = Signer::es256("x").jwk();
    encrypts["use"] = json!("enc");
    let secret = json!({"kty": "oct", "k": "AAAA", "kid": "s"});
    let strange = json!({"kty": "strange", "kid": "z"});
    house.issuer.publish_raw(vec![strange, secret, encrypts, json!(7), signer.jwk()]);
    let fresh =
        Bridge::to("http://127.0.0.1:9").door(|door| door.tokens = house.issuer.config()).start().await;
    let house = House { bridge: fresh, ..house };
    let token = format!("Bearer {}", signer.token(&house.issuer.claims()));
    // It is let in, and finds no API.
    assert_eq!(reason(&house.list(Some(&token)).await.unwrap_err()), "UPSTREAM_UNREACHABLE");
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_not_the_fault_of_the_caller() {
    let signer = Signer::es256("e");
    let mut house = House::of(&[&signer]).await;
    let mut tokens = house.issuer.config();
    tokens.issuers[0].jwks =
        grpc_rest_bridge::door::JwksSource::Url("http://127.0.0.1:9/keys".parse().unwrap());
    house.bridge = Bridge::to("http://127.0.0.1:9").door(|door| door.tokens = tokens).start().await;
    let message = "the keys that tell good tokens from others cannot be had";
    let unreachable = told(Code::Unavailable, "TOKEN_ISSUER_UNREACHABLE", message);
    assert_eq!(house.refusal(&signer.token(&house.issuer.claims())).await, unreachable);
}

#[tokio::test]
async fn keys_can_come_from_a_file_which_is_read_again() {
    let (old, new) = (Signer::es256("old"), Signer::ed25519("new"));
    let mut house = House::of(&[]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let write =
        |signer: &Signer| std::fs::write(file.path(), json!({"keys": [signer.jwk()]}).to_string()).unwrap();
    write(&old);
    let mut tokens = house.issuer.config();
    tokens.issuers[0].jwks = grpc_rest_bridge::door::JwksSource::File(file.path().to_owned());
    house.bridge = Bridge::to(&house._api.url()).door(|door| door.tokens = tokens).start().await;
    house.serves(&old.token(&house.issuer.claims())).await;
    write(&new);
    let token = format!("Bearer {}", new.token(&house.issuer.claims()));
    while house.list(Some(&token)).await.is_err() {}
    // A token that was good by a key that is gone is looked at again.
    assert_eq!(house.refusal(&old.token(&house.issuer.claims())).await, invalid());
}

#[tokio::test]
async fn settings_of_tokens_that_make_no_sense_are_told() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["--token-issuer", "https://a"],
            "--token-issuer: https://a stands without --token-audience\n      name whom its tokens have to be for, or tokens \
             for others were good here",
        ),
        (
            &["--token-audience", "shop"],
            "--token-audience: stands without --token-issuer\n      name the issuer of the tokens",
        ),
        (
            &["--token-issuer", "https://a", "--token-audience", "b", "--token-algorithms", "HS256"],
            "--token-algorithms: \"HS256\" is not valid\n      write RS256, ES256 or EdDSA; others are not safe, or not needed",
        ),
        (
            &[
                "--token-issuer",
                "https://a",
                "--token-audience",
                "b",
                "--token-jwks",
                "http://a.example/keys",
            ],
            "--token-jwks: http://a.example/keys is no https URL\n      name an https URL, or a file",
        ),
    ];
    for (flags, told) in cases {
        let words =
            [&["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"][..], flags].concat();
        let ended = Program::run(&words, &[]).await;
        assert_eq!((ended.code, ended.stderr), (Some(2), format!("error: 1 fault to mend:\n  {told}\n")));
    }
}
