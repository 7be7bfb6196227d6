use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};
use grpc_rest_bridge::{config::DoorConfig, door::Gateways};
use serde_json::{Value, json};
use tonic::{Code, transport::Endpoint};

use crate::support::{Api, Bridge, Issuer, Program, Signer, list, now, with};

const AUTHORIZATION: &str = "authorization";
const USERINFO: &str = "x-apigateway-api-userinfo";

type Told = (Code, String, String);

/// A bridge behind a gateway, which proves itself by a token of its own as API Gateway does by one of Google's.
struct House {
    bridge: Bridge,
    issuer: Issuer,
    signer: Signer,
    // It answers until the test ends.
    _api: Api,
}

impl House {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(set: impl FnOnce(&mut DoorConfig)) -> Self {
        let api = Api::saying(r#"{"products":[]}"#).await;
        Self::before(api, set, 500).await
    }

    async fn before(api: Api, set: impl FnOnce(&mut DoorConfig), share: usize) -> Self {
        let signer = Signer::es256("k");
        let issuer = Issuer::with(&[&signer]).await;
        let bridge = Bridge::to(&api.url()).inbound(|inbound| inbound.max_in_flight_per_caller = share);
        let bridge = bridge.door(|door| {
            door.tokens = issuer.config();
            door.userinfo_from = vec![Gateways::named(&format!("token:{}#gateway", issuer.url)).unwrap()];
            door.require = Some("token+userinfo".parse().unwrap());
            set(door);
        });
        Self { bridge: bridge.start().await, issuer, signer, _api: api }
    }

    /// The credential of somebody with a good token, which has no scope, as Google's have none.
    fn token_of(&self, subject: &str) -> String {
        let claims = with(self.issuer.claims(), "scope", Value::Null);
        format!("Bearer {}", self.signer.token(&with(claims, "sub", json!(subject))))
    }

    /// What becomes of a call whose gateway says this.
    async fn told(&self, userinfo: &str) -> Result<(), Told> {
        self.bridge.list(&[(AUTHORIZATION, &self.token_of("gateway")), (USERINFO, userinfo)]).await
    }
}

/// The claims of a caller of the gateway.
fn alice() -> Value {
    json!({"iss": "https://idp", "sub": "alice", "aud": "app", "exp": now() + 600, "scope": "products.read"})
}

fn header(claims: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
}

fn told(code: Code, reason: &str, message: &str) -> Result<(), Told> {
    Err((code, reason.to_owned(), message.to_owned()))
}

fn missing() -> Result<(), Told> {
    let message = "this method requires a bearer token (authorization) and the user info of a gateway \
                   (x-apigateway-api-userinfo)";
    told(Code::Unauthenticated, "CREDENTIALS_MISSING", message)
}

fn invalid() -> Result<(), Told> {
    told(Code::Unauthenticated, "USERINFO_INVALID", "the user info is not valid")
}

fn over() -> Result<(), Told> {
    told(Code::ResourceExhausted, "RATE_LIMIT_EXCEEDED", "more calls than 1/h")
}

#[tokio::test]
async fn a_caller_of_the_gateway_is_let_in_with_padding_or_without() {
    let house = House::new().await;
    // Of these lengths one needs no padding, and two need some.
    for subject in ["a", "al", "ali"] {
        let claims = with(alice(), "sub", json!(subject)).to_string();
        assert_eq!(house.told(&BASE64_URL_SAFE.encode(&claims)).await, Ok(()), "{claims}");
        assert_eq!(house.told(&BASE64_URL_SAFE_NO_PAD.encode(&claims)).await, Ok(()), "{claims}");
    }
}

#[tokio::test]
async fn nobody_but_the_gateway_is_believed() {
    let house = House::new().await;
    let forged = header(&alice());
    assert_eq!(house.bridge.list(&[(USERINFO, &forged)]).await, missing());
    for stranger in ["mallory", "gatewa", "gateway2", "*"] {
        let token = house.token_of(stranger);
        assert_eq!(house.bridge.list(&[(AUTHORIZATION, &token), (USERINFO, &forged)]).await, missing());
        // It is not looked at either.
        assert_eq!(house.bridge.list(&[(AUTHORIZATION, &token), (USERINFO, "%")]).await, missing());
    }
    let false_gateway = with(house.issuer.claims(), "sub", json!("gateway"));
    let token = format!("Bearer {}", Signer::es256("k").token(&false_gateway));
    let no_token = told(Code::Unauthenticated, "ACCESS_TOKEN_INVALID", "the bearer token is not valid");
    assert_eq!(house.bridge.list(&[(AUTHORIZATION, &token), (USERINFO, &forged)]).await, no_token);
}

#[tokio::test]
async fn a_gateway_that_says_nothing_of_its_caller_is_told_what_is_missing() {
    let house = House::new().await;
    assert_eq!(house.bridge.list(&[(AUTHORIZATION, &house.token_of("gateway"))]).await, missing());
}

#[tokio::test]
async fn user_info_that_is_none_lets_nobody_in() {
    let house = House::new().await;
    let long = "a".repeat(256);
    let wrong = [
        ("iss", Value::Null),
        ("iss", json!("")),
        ("iss", json!("https://idp#b")),
        ("iss", json!(long)),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!(long)),
        ("exp", Value::Null),
        ("exp", json!("never")),
        ("exp", json!(-1)),
    ];
    for (claim, value) in wrong {
        assert_eq!(
            house.told(&header(&with(alice(), claim, value.clone()))).await,
            invalid(),
            "{claim} {value}"
        );
    }
    let twice = alice().to_string().replacen('{', r#"{"sub":"bob","#, 1);
    let more = format!("{}{{}}", alice());
    for text in [twice.as_str(), &more, "", "{", "[]", "null", "\"alice\"", "alice"] {
        assert_eq!(house.told(&BASE64_URL_SAFE_NO_PAD.encode(text)).await, invalid(), "{text}");
    }
    let good = header(&alice());
    // `>>>` and `???` are where the two alphabets differ.
    let other_alphabet = BASE64_STANDARD.encode(with(alice(), "name", json!(">>>>???>>>>???")).to_string());
    let huge = header(&with(alice(), "name", json!("a".repeat(16 * 1024))));
    for value in [&format!("{good}!"), &format!("{good},{good}"), &good[1..], &other_alphabet, &huge, "", "%"]
    {
        assert_eq!(house.told(value).await, invalid(), "{value}");
    }
    let token = house.token_of("gateway");
    let two = [(AUTHORIZATION, token.as_str()), (USERINFO, &good), (USERINFO, &good)];
    assert_eq!(house.bridge.list(&two).await, invalid());
    assert_eq!(house.told(&good).await, Ok(()));
}

#[tokio::test]
async fn user_info_is_good_for_as_long_as_the_token_was_and_clocks_may_differ_a_little() {
    let house = House::new().await;
    let expired = told(Code::Unauthenticated, "USERINFO_EXPIRED", "the user info has expired");
    let early = told(Code::Unauthenticated, "USERINFO_NOT_YET_VALID", "the user info is not valid yet");
    for (claim, time, expected) in [
        ("exp", now() - 10, Ok(())),
        ("exp", now() - 40, expired),
        ("nbf", now() + 10, Ok(())),
        ("nbf", now() + 100, early),
    ] {
        assert_eq!(house.told(&header(&with(alice(), claim, json!(time)))).await, expected, "{claim}");
    }
}

#[tokio::test]
async fn scopes_are_those_of_the_caller_and_not_of_its_gateway() {
    let house = House::new().await;
    let message = "the user info lacks the scope products.read";
    let insufficient = told(Code::PermissionDenied, "USERINFO_SCOPE_INSUFFICIENT", message);
    assert_eq!(house.told(&header(&with(alice(), "scope", json!("products.write")))).await, insufficient);
    let gateway = with(house.issuer.claims(), "sub", json!("gateway"));
    assert_eq!(gateway["scope"], "products.read other");
    let token = format!("Bearer {}", house.signer.token(&gateway));
    let without = header(&with(alice(), "scope", Value::Null));
    assert_eq!(house.bridge.list(&[(AUTHORIZATION, &token), (USERINFO, &without)]).await, insufficient);
    assert_eq!(house.told(&header(&alice())).await, Ok(()));
}

#[tokio::test]
async fn each_caller_of_the_gateway_has_its_own_rate() {
    let house = House::with(|door| door.rates = vec!["1/h".parse().unwrap()]).await;
    let at_other_issuer = with(alice(), "iss", json!("https://other"));
    for claims in [alice(), with(alice(), "sub", json!("bob")), at_other_issuer] {
        assert_eq!(house.told(&header(&claims)).await, Ok(()), "{claims}");
        assert_eq!(house.told(&header(&claims)).await, over(), "{claims}");
    }
}

#[tokio::test]
async fn the_key_of_the_gateway_sets_no_rate_for_its_callers() {
    let made = Program::run(&["keys", "new", "gateway", "--rates", "1/h"], &[]).await;
    let key = made.stderr.lines().find(|line| line.starts_with("brk_")).unwrap().to_owned();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.stdout).unwrap();
    let house = House::with(|door| {
        door.keys = Some(file.path().to_owned());
        door.require = Some("key+userinfo".parse().unwrap());
        door.userinfo_from = vec![Gateways::named("key:gateway").unwrap()];
    })
    .await;
    let alice = header(&alice());
    for _ in 0..3 {
        assert_eq!(house.bridge.list(&[("x-api-key", &key), (USERINFO, &alice)]).await, Ok(()));
    }
}

#[tokio::test]
async fn each_caller_of_the_gateway_has_its_own_share_of_the_places() {
    let (api, mut asked, answer) = Api::patient().await;
    let house = House::before(api, |_| {}, 1).await;
    let (alice, bob) = (header(&alice()), header(&with(alice(), "sub", json!("bob"))));
    let second = async {
        asked.recv().await.unwrap();
        let refused = house.told(&alice).await.unwrap_err();
        assert_eq!((refused.0, &*refused.1), (Code::ResourceExhausted, "TOO_MANY_CONCURRENT_CALLS"));
        let bob = house.told(&bob);
        answer.send(true).unwrap();
        assert_eq!(bob.await, Ok(()));
    };
    let (first, ()) = tokio::join!(house.told(&alice), second);
    assert_eq!(first, Ok(()));
}

#[tokio::test]
async fn where_anybody_is_believed_nothing_else_has_to_be_proved() {
    let house = House::with(|door| {
        door.require = Some("userinfo".parse().unwrap());
        door.userinfo_from = vec![Gateways::named("*").unwrap()];
        door.rates = vec!["1/h".parse().unwrap()];
    })
    .await;
    let message = "this method requires the user info of a gateway (x-apigateway-api-userinfo)";
    let missing = told(Code::Unauthenticated, "CREDENTIALS_MISSING", message);
    assert_eq!(house.bridge.list(&[]).await, missing);
    assert_eq!(house.bridge.list(&[(USERINFO, "%")]).await, invalid());
    let alice = header(&alice());
    assert_eq!(house.bridge.list(&[(USERINFO, &alice)]).await, Ok(()));
    assert_eq!(house.bridge.list(&[(USERINFO, &alice)]).await, over());
}

#[tokio::test]
async fn the_log_tells_at_the_start_that_anybody_is_believed() {
    let words =
        ["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--userinfo-from", "*"];
    let mut program = Program::start(&words, &[("BRIDGE_LOG_FORMAT", "json")]);
    program.log("any user info is believed: whoever reaches this port may call as anybody").await;
}

#[tokio::test]
async fn the_log_names_the_caller_and_the_gateway_that_tells_of_it() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let signer = Signer::es256("k");
    let issuer = Issuer::with(&[&signer]).await;
    let gateway = format!("token:{}#gateway", issuer.url);
    let words = ["serve", "--upstream", &api.url(), "--listen", "127.0.0.1:0", "--rates", "1/h"];
    let variables = [
        ("BRIDGE_LOG_FORMAT", "json"),
        ("BRIDGE_TOKEN_ISSUER", issuer.url.as_str()),
        ("BRIDGE_TOKEN_AUDIENCE", "shop"),
        ("BRIDGE_USERINFO_FROM", &gateway),
    ];
    let mut program = Program::start(&words, &variables);
    let endpoint = Endpoint::from_shared(format!("http://{}", program.address().await)).unwrap();
    let token =
        |subject: &str| format!("Bearer {}", signer.token(&with(issuer.claims(), "sub", json!(subject))));
    let show = async |subject: &str, userinfo: &str| {
        drop(list(&endpoint, &[(AUTHORIZATION, &token(subject)), (USERINFO, userinfo)]).await);
    };
    show("gateway", &header(&alice())).await;
    let line = program.log("ListProducts OK").await;
    assert_eq!((&line["caller"], &line["gateway"]), (&json!("userinfo:https://idp#alice"), &json!(gateway)));

    let expired = header(&with(alice(), "exp", json!(1)));
    for (subject, userinfo, who) in [
        ("gateway", header(&alice()), format!("userinfo:https://idp#alice, through {gateway}")),
        ("gateway", expired, format!("userinfo:https://idp#alice, through {gateway}")),
        ("gateway", "e30".to_owned(), format!("missing field `iss` at line 1 column 2, through {gateway}")),
        ("mallory", header(&alice()), format!("user info is not believed of token:{}#mallory", issuer.url)),
    ] {
        show(subject, &userinfo).await;
        let line = program.log("not let in").await;
        assert!(line["who"].as_str().unwrap().contains(&who), "{who}: {line}");
    }
}

#[tokio::test]
async fn settings_of_gateways_that_make_no_sense_are_told() {
    let names = "write it as logs name callers, such as token:ISSUER#SUB, mtls:NAME or key:NAME; or *, if only the gateway can \
                 reach the port";
    let cases: [(&[&str], String); 6] = [
        (
            &["--require", "userinfo"],
            "--require: requires user info, and nobody is believed to tell it\n      name the gateway as --userinfo-from"
                .to_owned(),
        ),
        (
            &["--userinfo-from", "*", "--require", "public"],
            "--userinfo-from: is there, and no method requires user info\n      write it into --require or --policy, such as \
             token+userinfo"
                .to_owned(),
        ),
        (
            &["--userinfo-from", "key:gateway", "--require", "userinfo"],
            "--require: requires user info, and beside it nothing that one of --userinfo-from can prove\n      write what the \
             gateway proves too, such as token+userinfo; or --userinfo-from '*', if it alone can reach the port"
                .to_owned(),
        ),
        (
            &["--userinfo-from", "gateway"],
            format!("--userinfo-from: \"gateway\" is not valid\n      {names}"),
        ),
        (
            &["--userinfo-from", "userinfo:https://idp#alice"],
            format!("--userinfo-from: \"userinfo:https://idp#alice\" is not valid\n      {names}"),
        ),
        (
            &["--userinfo-from", "*", "--token-algorithms", "RS256"],
            "--token-algorithms: stands without --token-issuer\n      name the issuer of the tokens".to_owned(),
        ),
    ];
    for (flags, told) in cases {
        assert_eq!(Program::fault_of(flags).await, told);
    }
    // Alone it may have times and scopes, too.
    let words =
        ["config", "show", "--upstream", "http://a", "--userinfo-from", "*", "--token-clock-skew", "1s"];
    let shown = Program::run(&[&words[..], &["--token-scope", "*=a"]].concat(), &[]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
}
