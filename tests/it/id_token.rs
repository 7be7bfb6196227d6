use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use axum::response::Response;
use grpc_rest_bridge::config::{CredentialConfig, GoogleIdTokenConfig};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{Api, Bridge, Clock, Ended, Gives, MetadataServer, Program, json, reason};

const AUDIENCE: &str = "https://shop-abc-ew.a.run.app/?a=b&c";
/// How long a token is good in these tests. Half of it is the time to ask for the next one.
const LIFE: Duration = Duration::from_secs(100);
const SECOND: Duration = Duration::from_secs(1);
/// What timers are exact to.
const A_TICK: Duration = Duration::from_millis(1);
/// What the HTTP client waits for an answer.
const FETCH: Duration = Duration::from_secs(5);

/// A bridge that gets its tokens from there.
async fn bridge(api: &Api, metadata_host: &str) -> Bridge {
    let credential = CredentialConfig::GoogleIdToken(GoogleIdTokenConfig {
        audience: AUDIENCE.to_owned(),
        metadata_host: metadata_host.parse().unwrap(),
    });
    Bridge::to(&api.url()).upstream(|upstream| upstream.credential = Some(credential)).start().await
}

async fn ask(bridge: &Bridge) -> Result<(), Status> {
    bridge.call("shop.v1.ProductService/ListProducts", b"").await.map(drop)
}

/// What the last call has shown to the API.
fn shown(api: &Api) -> String {
    api.calls().last().unwrap().headers["authorization"].to_str().unwrap().to_owned()
}

/// Asks until the API is shown this.
async fn ask_until_shown(bridge: &Bridge, api: &Api, token: &str) {
    loop {
        ask(bridge).await.unwrap();
        if shown(api) == format!("Bearer {token}") {
            return;
        }
    }
}

/// Asks until that fails for want of a token.
async fn ask_until_unavailable(bridge: &Bridge) {
    let status = loop {
        match ask(bridge).await {
            Ok(()) => {}
            Err(status) => break status,
        }
    };
    is_for_want_of_a_token(&status);
}

/// Checks what is told to a call that fails for want of a token.
fn is_for_want_of_a_token(status: &Status) {
    let told = (status.code(), reason(status), status.message());
    let message = "the bridge has nothing to prove itself by to the API at the moment";
    assert_eq!(told, (Code::Unavailable, "UPSTREAM_CREDENTIAL_UNAVAILABLE".to_owned(), message));
    assert!(!format!("{status:?}").contains("127.0.0.1"), "{status:?}");
}

async fn is_serving(bridge: &Bridge) -> bool {
    let mut health = HealthClient::new(bridge.channel().await);
    let status = health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status;
    status == tonic_health::pb::health_check_response::ServingStatus::Serving as i32
}

async fn metric(bridge: &Bridge) -> Option<u64> {
    let text = reqwest::get(format!("http://{}/metrics", bridge.admin)).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("bridge_upstream_id_token_seconds "));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn the_metadata_server_is_asked_as_google_says_and_the_token_is_shown_to_the_api() {
    let api = Api::saying("{}").await;
    let (gives, token) = Gives::token("first", LIFE);
    let metadata = MetadataServer::giving(gives).await;
    let bridge = bridge(&api, &metadata.host()).await;
    ask(&bridge).await.unwrap();
    assert_eq!(shown(&api), format!("Bearer {token}"));
    let [question] = metadata.questions().try_into().unwrap();
    assert_eq!(question.headers["metadata-flavor"], "Google");
    assert_eq!(
        question.uri,
        "/computeMetadata/v1/instance/service-accounts/default/identity\
         ?audience=https%3A%2F%2Fshop%2Dabc%2Dew%2Ea%2Erun%2Eapp%2F%3Fa%3Db%26c&format=full"
    );
    assert!(metric(&bridge).await.is_some_and(|left| (LIFE.as_secs() - 30..LIFE.as_secs()).contains(&left)));
    // The probes of the health are requests to the API, too.
    while !is_serving(&bridge).await {}
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires_and_no_call_waits_for_that() {
    let api = Api::saying("{}").await;
    let (gives, first) = Gives::token("first", LIFE);
    let metadata = MetadataServer::giving(gives).await;
    let bridge = bridge(&api, &metadata.host()).await;
    ask(&bridge).await.unwrap();

    let mut clock = Clock::stop();
    metadata.give(Gives::Nothing);
    clock.pass(LIFE / 2 - 2 * SECOND + A_TICK).await;
    clock.now(ask(&bridge)).await.unwrap();
    assert_eq!(metadata.asked(), 1);
    clock.pass(2 * SECOND + A_TICK).await;
    clock.now(metadata.was_asked(2)).await;
    // It does not answer, and nobody but the bridge waits for that; nor is it asked twice.
    clock.now(ask(&bridge)).await.unwrap();
    assert_eq!((shown(&api), metadata.asked()), (format!("Bearer {first}"), 2));

    let (gives, second) = Gives::token("second", 2 * LIFE);
    metadata.give(gives);
    clock.pass(FETCH + A_TICK).await;
    // It is given up, and asked again a second later.
    clock.now(ask(&bridge)).await.unwrap();
    clock.pass(SECOND + A_TICK).await;
    clock.now(metadata.was_asked(3)).await;
    clock.now(ask_until_shown(&bridge, &api, &second)).await;
}

#[tokio::test]
async fn the_token_goes_on_while_it_is_good_and_then_calls_fail_before_the_api_is_asked() {
    let api = Api::saying("{}").await;
    let (gives, first) = Gives::token("first", LIFE);
    let metadata = MetadataServer::giving(gives).await;
    let bridge = bridge(&api, &metadata.host()).await;
    ask(&bridge).await.unwrap();

    let mut clock = Clock::stop();
    metadata.give(Gives::This(503, String::new()));
    let mut passed = LIFE / 2;
    clock.pass(passed + A_TICK).await;
    // After failures it is asked again after 1, 2, 4, 8, and then every 10 seconds.
    for (asked, pause) in [(2, 1), (3, 2), (4, 4), (5, 8), (6, 10), (7, 10)] {
        clock.now(metadata.was_asked(asked)).await;
        clock.now(ask(&bridge)).await.unwrap();
        assert_eq!((shown(&api), metadata.asked()), (format!("Bearer {first}"), asked));
        clock.pass(pause * SECOND + A_TICK).await;
        passed += pause * SECOND;
    }
    clock.pass(LIFE - passed + A_TICK).await;
    let calls = api.calls().len();
    clock.now(ask_until_unavailable(&bridge)).await;
    assert_eq!((api.calls().len(), clock.now(metric(&bridge)).await), (calls, Some(0)));

    let (gives, second) = Gives::token("second", 3 * LIFE);
    metadata.give(gives);
    let asked = metadata.asked();
    clock.pass(10 * SECOND + A_TICK).await;
    clock.now(metadata.was_asked(asked + 1)).await;
    clock.now(async { while ask(&bridge).await.is_err() {} }).await;
    assert_eq!(shown(&api), format!("Bearer {second}"));
}

#[tokio::test]
async fn a_bridge_comes_up_before_its_metadata_server_and_its_health_tells() {
    let api = Api::saying("{}").await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let bridge = bridge(&api, &address.to_string()).await;
    ask_until_unavailable(&bridge).await;
    assert_eq!((api.calls().len(), is_serving(&bridge).await), (0, false));

    let mut clock = Clock::stop();
    let (gives, token) = Gives::token("first", LIFE);
    let _metadata = MetadataServer::at(address, gives).await;
    clock.pass(10 * SECOND + A_TICK).await;
    clock.now(async { while ask(&bridge).await.is_err() {} }).await;
    assert_eq!(shown(&api), format!("Bearer {token}"));
    // The next probe is a second away at most.
    clock.pass(SECOND + A_TICK).await;
    clock.now(async { while !is_serving(&bridge).await {} }).await;
}

/// For one second, so that no first call fails where it answers at once.
#[tokio::test]
async fn a_silent_metadata_server_does_not_hold_up_the_start() {
    let api = Api::saying("{}").await;
    let metadata = MetadataServer::giving(Gives::Nothing).await;
    let bridge = bridge(&api, &metadata.host()).await;
    let mut clock = Clock::stop();
    clock.now(metadata.was_asked(1)).await;
    let call = async { ask_until_unavailable(&bridge).await };
    tokio::pin!(call);
    tokio::select! {
        () = &mut call => panic!("the first call has not waited for the token"),
        () = clock.now(bounded_yields()) => {}
    }
    clock.pass(SECOND + A_TICK).await;
    clock.now(call).await;
}

/// Gives everything else its turn, some times.
async fn bounded_yields() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_no_token_of_a_metadata_server_is_never_shown_to_the_api() {
    let (_, good) = Gives::token("good", LIFE);
    let (_, expired) = Gives::token("expired", Duration::ZERO);
    let elsewhere = MetadataServer::giving(Gives::token("elsewhere", LIFE).0).await;
    for gives in [
        Gives::This(200, "s3cr3t".to_owned()),
        Gives::This(200, expired),
        Gives::This(404, good.clone()),
        Gives::This(200, "a".repeat(100_000)),
        Gives::ThisAsAnother(good.clone()),
        Gives::Redirect(format!("http://{}/", elsewhere.host())),
    ] {
        let api = Api::saying("{}").await;
        let metadata = MetadataServer::giving(gives.clone()).await;
        let bridge = bridge(&api, &metadata.host()).await;
        metadata.was_asked(1).await;
        is_for_want_of_a_token(&ask(&bridge).await.unwrap_err());
        assert_eq!((api.calls().len(), elsewhere.asked()), (0, 0), "{gives:?}");
    }
}

#[tokio::test]
async fn a_token_that_the_api_refuses_is_replaced_once() {
    let believed: Arc<Mutex<String>> = Arc::default();
    let expected = believed.clone();
    let api = Api::answering(move |seen| {
        let is_good = seen.headers["authorization"] == expected.lock().unwrap().as_str();
        async move { if is_good { json(200, "{}") } else { json(401, "{}") } }
    })
    .await;
    let (gives, _) = Gives::token("first", LIFE);
    let metadata = MetadataServer::giving(gives).await;
    let bridge = bridge(&api, &metadata.host()).await;
    let mut clock = Clock::stop();
    for _ in 0..3 {
        let status = clock.now(ask(&bridge)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::Internal, "UPSTREAM_REFUSES_CREDENTIAL".to_owned())
        );
    }
    assert_eq!(metadata.asked(), 1);
    // The same one is given again, which is no reason to ask a third time.
    clock.pass(SECOND + A_TICK).await;
    clock.now(metadata.was_asked(2)).await;
    clock.now(ask(&bridge)).await.unwrap_err();
    clock.pass(SECOND + A_TICK).await;
    clock.now(ask(&bridge)).await.unwrap_err();
    assert_eq!(metadata.asked(), 2);

    let (gives, second) = Gives::token("second", 2 * LIFE);
    *believed.lock().unwrap() = format!("Bearer {second}");
    metadata.give(gives);
    clock.pass(LIFE / 2 + A_TICK).await;
    clock.now(async { while ask(&bridge).await.is_err() {} }).await;
    assert_eq!(metadata.asked(), 3);
}

#[tokio::test]
async fn the_token_is_shown_to_nobody_whom_the_api_redirects_to() {
    let elsewhere = Api::saying("{}").await;
    let location = format!("{}/products", elsewhere.url());
    let api =
        Api::answering(move |_| {
            let location = location.clone();
            async move {
                Response::builder().status(307).header("location", location).body(Body::empty()).unwrap()
            }
        })
        .await;
    let (gives, token) = Gives::token("first", LIFE);
    let metadata = MetadataServer::giving(gives).await;
    let bridge = bridge(&api, &metadata.host()).await;
    let status = ask(&bridge).await.unwrap_err();
    assert_eq!(reason(&status), "UPSTREAM_REDIRECTS");
    assert_eq!((shown(&api), elsewhere.calls().len()), (format!("Bearer {token}"), 0));
}

/// The program, with `GCE_METADATA_HOST` as Google's own libraries have it.
#[tokio::test]
async fn the_program_shows_its_token_to_the_api_and_to_no_log() {
    let api = Api::saying("{}").await;
    let (gives, token) = Gives::token("first", LIFE);
    let metadata = MetadataServer::giving(gives).await;
    let (url, host) = (api.url(), metadata.host());
    let variables = [("BRIDGE_UPSTREAM_GOOGLE_ID_TOKEN", AUDIENCE), ("GCE_METADATA_HOST", &host)];
    let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", &url, "--log-level", "trace"];
    let mut program = Program::start(&words, &variables);
    let mut lines = vec![program.command_line()];
    let address = loop {
        lines.push(program.line().await);
        if let Some((_, address)) = lines.last().unwrap().split_once("listening on ") {
            break address.split('"').next().unwrap().to_owned();
        }
    };
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut shop = grpc_rest_bridge::shop::v1::product_service_client::ProductServiceClient::new(
        channel.connect().await.unwrap(),
    );
    shop.list_products(grpc_rest_bridge::shop::v1::ListProductsRequest {}).await.unwrap();
    assert_eq!(shown(&api), format!("Bearer {token}"));
    drop(shop);
    program.signal("TERM").await;
    while !lines.last().unwrap().contains("stopped: every call has finished") {
        lines.push(program.line().await);
    }
    assert!(lines.iter().any(|line| line.contains("the bridge has a new ID token")));
    let claims = token.split('.').nth(1).unwrap();
    assert_eq!(lines.iter().find(|line| line.contains(claims) || line.contains(&token)), None);
}

#[tokio::test]
async fn a_check_shows_a_token_too_or_tells_why_there_is_none() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let (gives, token) = Gives::token("first", LIFE);
    let metadata = MetadataServer::giving(gives).await;
    let (url, host) = (api.url(), metadata.host());
    let words = ["check", "--upstream", &url, "--upstream-google-id-token", AUDIENCE];
    let check = async || -> Ended { Program::run(&words, &[("GCE_METADATA_HOST", &host)]).await };
    let ended = check().await;
    assert_eq!((ended.code, shown(&api)), (Some(0), format!("Bearer {token}")), "{ended:?}");
    metadata.give(Gives::This(404, String::new()));
    let ended = check().await;
    assert!(ended.stdout.contains("there is no ID token: http://"), "{ended:?}");
    assert!(ended.stdout.contains("was answered 404 Not Found"), "{ended:?}");
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[tokio::test]
async fn settings_of_the_token_that_cannot_be_are_told() {
    let serve = async |audience: &str, variables: &[(&str, &str)]| {
        let words = ["serve", "--upstream", "http://a", "--upstream-google-id-token", audience];
        Program::run(&words, variables).await
    };
    let mend = "write what the API expects as the aud of a token, such as https://shop-abc-ew.a.run.app";
    for audience in ["", "a b", "a\u{e9}"] {
        let ended = serve(audience, &[]).await;
        let told = format!("--upstream-google-id-token: {audience:?} is not valid\n      {mend}");
        assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {told}\n"));
        assert_eq!(ended.code, Some(2));
    }
    for host in ["http://a", "a b", "a@b", ":80"] {
        let ended = serve("https://a", &[("GCE_METADATA_HOST", host)]).await;
        let told = format!("GCE_METADATA_HOST: {host:?} is not valid\n      write HOST or HOST:PORT");
        assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {told}\n"));
        assert_eq!(ended.code, Some(78));
    }
    let ended = serve("https://a", &[("BRIDGE_UPSTREAM_BEARER", "s3cr3t")]).await;
    assert!(
        ended.stderr.contains("--upstream-google-id-token: stands beside BRIDGE_UPSTREAM_BEARER"),
        "{ended:?}"
    );
    // An empty variable is one that is not set, and it is nobody's fault where no token is asked for.
    for (audience, host) in [(Some(AUDIENCE), ""), (None, "http://a")] {
        let mut words = vec!["config", "show", "--upstream", "http://a"];
        words.extend(audience.into_iter().flat_map(|audience| ["--upstream-google-id-token", audience]));
        let ended = Program::run(&words, &[("GCE_METADATA_HOST", host)]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}
