use grpc_rest_bridge::{config::TokenConfig, door::JwksSource};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::{Code, transport::Endpoint};

use crate::support::{self, Api, Bridge, Issuer, Program, Signer, with};

type Told = (Code, String, String);

/// A bridge that believes two issuers, each of which has a key with the same id.
struct House {
    bridge: Bridge,
    one: Issuer,
    other: Issuer,
    key: Signer,
    other_key: Signer,
    // It answers until the test ends.
    _api: Api,
}

impl House {
    async fn new() -> Self {
        Self::with(|_| {}, &[]).await
    }

    async fn with(set: impl FnOnce(&mut TokenConfig), rates: &[&str]) -> Self {
        let api = Api::saying(r#"{"products":[]}"#).await;
        let (key, other_key) = (Signer::es256("k"), Signer::es256("k"));
        let (one, other) = (Issuer::with(&[&key]).await, Issuer::with(&[&other_key]).await);
        let mut tokens = Issuer::config_of(&[&one, &other]);
        set(&mut tokens);
        let rates = rates.iter().map(|rate| rate.parse().unwrap()).collect();
        let bridge = Bridge::to(&api.url()).door(|door| (door.tokens, door.rates) = (tokens, rates));
        Self { bridge: bridge.start().await, one, other, key, other_key, _api: api }
    }

    async fn list(&self, signer: &Signer, claims: &Value) -> Result<(), Told> {
        list(&self.bridge, &signer.token(claims)).await
    }
}

async fn list(bridge: &Bridge, token: &str) -> Result<(), Told> {
    bridge.list(&[("authorization", &format!("Bearer {token}"))]).await
}

fn told(code: Code, reason: &str, message: &str) -> Result<(), Told> {
    Err((code, reason.to_owned(), message.to_owned()))
}

fn invalid() -> Result<(), Told> {
    told(Code::Unauthenticated, "ACCESS_TOKEN_INVALID", "the bearer token is not valid")
}

#[tokio::test]
async fn a_token_of_each_issuer_lets_its_caller_in_as_often_as_it_comes() {
    let house = House::new().await;
    for _ in 0..2 {
        assert_eq!(house.list(&house.key, &house.one.claims()).await, Ok(()));
        assert_eq!(house.list(&house.other_key, &house.other.claims()).await, Ok(()));
    }
    let stranger = with(house.one.claims(), "iss", json!("http://elsewhere"));
    assert_eq!(house.list(&house.key, &stranger).await, invalid());
}

#[tokio::test]
async fn the_key_of_one_issuer_signs_nothing_of_the_other_though_both_call_it_the_same() {
    let house = House::new().await;
    let (good, good_at_other) = (house.one.claims(), house.other.claims());
    // Whether or not their keys are known, and good tokens remembered.
    for _ in 0..2 {
        assert_eq!(house.list(&house.other_key, &good).await, invalid());
        assert_eq!(house.list(&house.key, &good_at_other).await, invalid());
        let both = with(good.clone(), "iss", json!([house.one.url, house.other.url]));
        assert_eq!(house.list(&house.key, &both).await, invalid());
        assert_eq!(house.list(&house.key, &good).await, Ok(()));
        assert_eq!(house.list(&house.other_key, &good_at_other).await, Ok(()));
    }
}

#[tokio::test]
async fn a_token_ends_with_the_key_of_its_issuer_even_where_another_shows_the_same() {
    let house = House::new().await;
    house.other.publish(&[&house.key]);
    let token = house.key.token(&house.one.claims());
    assert_eq!(list(&house.bridge, &token).await, Ok(()));
    house.one.publish(&[&Signer::es256("new")]);
    while list(&house.bridge, &token).await.is_ok() {
        // Its key is not known, which is why keys are asked for.
        let stranger = Signer::es256("stranger");
        assert_eq!(house.list(&stranger, &house.one.claims()).await, invalid());
    }
    assert_eq!(list(&house.bridge, &token).await, invalid());
}

#[tokio::test]
async fn one_subject_at_two_issuers_is_two_callers() {
    let house = House::with(|_| {}, &["1/h"]).await;
    for (issuer, signer) in [(&house.one, &house.key), (&house.other, &house.other_key)] {
        assert_eq!(house.list(signer, &issuer.claims()).await, Ok(()));
    }
    let over = told(Code::ResourceExhausted, "RATE_LIMIT_EXCEEDED", "more calls than 1/h");
    for (issuer, signer) in [(&house.one, &house.key), (&house.other, &house.other_key)] {
        assert_eq!(house.list(signer, &issuer.claims()).await, over);
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_or_never_answers_keeps_nobody_else_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}/keys", silent.local_addr().unwrap());
    let message = "the keys that tell good tokens from others cannot be had";
    let unreachable = told(Code::Unavailable, "TOKEN_ISSUER_UNREACHABLE", message);
    for (place, answers) in [("http://127.0.0.1:9/keys", true), (place.as_str(), false)] {
        let away = JwksSource::Url(place.parse().unwrap());
        let house = House::with(|tokens| tokens.issuers[1].jwks = away, &[]).await;
        if answers {
            assert_eq!(house.list(&house.other_key, &house.other.claims()).await, unreachable);
        }
        let claims = house.other.claims();
        let waits = house.list(&house.other_key, &claims);
        let is_served = async { house.list(&house.key, &house.one.claims()).await };
        tokio::select! {
            biased;
            served = is_served => assert_eq!(served, Ok(())),
            refused = waits, if !answers => panic!("the silent issuer has answered: {refused:?}"),
        }
    }
}

#[tokio::test]
async fn tokens_that_name_any_key_of_one_issuer_have_the_other_asked_nothing() {
    let house = House::new().await;
    assert_eq!(house.list(&house.other_key, &house.other.claims()).await, Ok(()));
    let asked = house.other.asked();
    for stranger in 0..20 {
        let stranger = Signer::es256(&format!("stranger {stranger}"));
        assert_eq!(house.list(&stranger, &house.one.claims()).await, invalid());
    }
    assert_eq!(house.other.asked(), asked);
}

#[tokio::test]
async fn an_audience_that_is_bound_to_one_issuer_is_none_for_the_tokens_of_another() {
    let project = |tokens: &mut TokenConfig| tokens.issuers[1].audiences = vec!["project".to_owned()];
    let house = House::with(project, &[]).await;
    let of = |issuer: &Issuer, audience: &str| with(issuer.claims(), "aud", json!(audience));
    assert_eq!(house.list(&house.key, &of(&house.one, "shop")).await, Ok(()));
    assert_eq!(house.list(&house.key, &of(&house.one, "project")).await, invalid());
    assert_eq!(house.list(&house.other_key, &of(&house.other, "project")).await, Ok(()));
    assert_eq!(house.list(&house.other_key, &of(&house.other, "shop")).await, invalid());
}

#[tokio::test]
async fn what_is_bound_to_an_issuer_by_a_setting_is_its_own_and_callers_have_its_name() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let (key, other_key) = (Signer::es256("k"), Signer::es256("k"));
    let (one, other) = (Issuer::with(&[&key]).await, Issuer::with(&[]).await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"keys": [other_key.jwk()]}).to_string()).unwrap();
    let issuers = format!("{},{}", one.url, other.url);
    let audiences = format!("both,{}=own,{}=project", one.url, other.url);
    let places = format!("{}={},{}={}/keys", other.url, file.path().display(), one.url, one.url);
    let words = ["serve", "--upstream", &api.url(), "--listen", "127.0.0.1:0", "--token-jwks", &places];
    let variables = [
        ("BRIDGE_LOG_FORMAT", "json"),
        ("BRIDGE_TOKEN_ISSUER", &issuers),
        ("BRIDGE_TOKEN_AUDIENCE", &audiences),
    ];
    let mut program = Program::start(&words, &variables);
    let endpoint = Endpoint::from_shared(format!("http://{}", program.address().await)).unwrap();
    for (issuer, signer, good, bad) in
        [(&one, &key, "own", "project"), (&other, &other_key, "project", "own")]
    {
        for (audience, code) in [("both", "OK"), (good, "OK"), (bad, "UNAUTHENTICATED")] {
            let token = signer.token(&with(issuer.claims(), "aud", json!(audience)));
            drop(support::list(&endpoint, &[("authorization", &format!("Bearer {token}"))]).await);
            let line = program.log(&format!("ListProducts {code}")).await;
            let caller =
                if code == "OK" { json!(format!("token:{}#alice", issuer.url)) } else { Value::Null };
            assert_eq!(line["caller"], caller, "{audience}: {line}");
        }
    }
}

#[tokio::test]
async fn settings_of_issuers_that_make_no_sense_are_told() {
    let cases: [(&[&str], &str); 10] = [
        (
            &["--token-issuer", "https://a,https://a", "--token-audience", "b"],
            "--token-issuer: https://a stands there twice\n      name each issuer once",
        ),
        (
            &["--token-issuer", "https://a#b", "--token-audience", "b"],
            "--token-issuer: \"https://a#b\" is not valid\n      write it as the iss of a token has it, such as \
             https://accounts.example.com",
        ),
        (
            &["--token-issuer", "https://a,https://b", "--token-audience", "https://a=shop"],
            "--token-issuer: https://b stands without --token-audience\n      name whom its tokens have to be for, or tokens \
             for others were good here",
        ),
        (
            &["--token-issuer", "https://a", "--token-audience", "shop,https://b=shop"],
            "--token-audience: \"https://b=shop\" is bound to https://b, which is no --token-issuer\n      write the issuer as \
             --token-issuer has it",
        ),
        (
            &["--token-issuer", "https://a", "--token-audience", "shop,https://a="],
            "--token-audience: \"https://a=\" is not valid\n      write it as the aud of a token has it, or ISSUER=AUDIENCE",
        ),
        (
            &["--token-issuer", "https://a,https://b", "--token-audience", "c", "--token-jwks", "keys.json"],
            "--token-jwks: \"keys.json\" does not say whose keys it has\n      write ISSUER=URL or ISSUER=FILE",
        ),
        (
            &["--token-issuer", "https://a", "--token-audience", "c", "--token-jwks", "https://b=keys.json"],
            "--token-jwks: \"https://b=keys.json\" is bound to https://b, which is no --token-issuer\n      write the issuer as \
             --token-issuer has it",
        ),
        (
            &["--token-issuer", "https://a", "--token-audience", "c", "--token-jwks", "https://a=k,l"],
            "--token-jwks: the keys of https://a are in two places\n      name one",
        ),
        (
            &[
                "--token-issuer",
                "https://a",
                "--token-audience",
                "c",
                "--token-jwks",
                "https://a=http://b.example/",
            ],
            "--token-jwks: http://b.example/ is no https URL\n      name an https URL, or a file",
        ),
        (
            &["--token-issuer", "https://a,accounts.google.com", "--token-audience", "c"],
            "--token-issuer accounts.google.com: accounts.google.com/.well-known/openid-configuration is no URL: invalid format\n      \
             name the https URL of the issuer, or its keys as --token-jwks",
        ),
    ];
    for (flags, told) in cases {
        assert_eq!(Program::fault_of(flags).await, told);
    }
}
