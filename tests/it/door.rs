use grpc_rest_bridge::shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::support::{Api, Bridge, Builder, Program, details, reason};

/// A key and its entry, as the program makes them.
async fn new_key(words: &[&str]) -> (String, String) {
    let made = Program::run(&[&["keys", "new"], words].concat(), &[]).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let key = made.stderr.lines().find(|line| line.starts_with("brk_")).unwrap().to_owned();
    assert!(!made.stdout.contains(&key) && !made.stdout.contains(secret_of(&key)));
    (key, made.stdout)
}

/// What of a key has to be kept secret, in which there may be a `_` too.
fn secret_of(key: &str) -> &str {
    key.splitn(3, '_').nth(2).unwrap()
}

fn guarded(api: &Api, keys: &tempfile::NamedTempFile) -> Builder {
    let path = keys.path().to_owned();
    Bridge::to(&api.url()).door(|door| door.keys = Some(path))
}

fn file_of(entries: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), entries).unwrap();
    file
}

async fn list(channel: Channel, key: Option<&str>) -> Result<usize, Status> {
    let mut request = Request::new(ListProductsRequest {});
    if let Some(key) = key {
        request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    }
    ProductServiceClient::new(channel)
        .list_products(request)
        .await
        .map(|answer| answer.into_inner().products.len())
}

async fn services(channel: Channel) -> Result<usize, Status> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let asked =
        ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(request)).await?;
    Ok(asked.into_inner().filter_map(Result::ok).fold(0, |count, _| count + 1).await)
}

#[tokio::test]
async fn a_call_without_a_key_is_refused_before_the_api_hears_of_it() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let (key, entry) = new_key(&["acme"]).await;
    let keys = file_of(&entry);
    let bridge = guarded(&api, &keys).start().await;
    let channel = bridge.channel().await;
    assert_eq!(list(channel.clone(), Some(&key)).await.unwrap(), 0);
    let asked = api.calls().len();

    let none = list(channel.clone(), None).await.unwrap_err();
    let told = (none.code(), none.message(), reason(&none));
    let missing = "this method requires an API key (x-api-key)";
    assert_eq!(told, (Code::Unauthenticated, missing, "CREDENTIALS_MISSING".to_owned()));
    let wrong = list(channel.clone(), Some("wrong")).await.unwrap_err();
    let told = (wrong.code(), wrong.message(), reason(&wrong));
    assert_eq!(told, (Code::Unauthenticated, "the API key is not valid", "API_KEY_INVALID".to_owned()));
    let unknown = bridge.call("shop.v1.ProductService/Nothing", b"").await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::Unauthenticated, missing));
    assert_eq!(api.calls().len(), asked);
}

#[tokio::test]
async fn the_key_of_a_caller_is_not_sent_to_the_api() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let (key, entry) = new_key(&["acme"]).await;
    let keys = file_of(&entry);
    let bridge = guarded(&api, &keys).start().await;
    list(bridge.channel().await, Some(&key)).await.unwrap();
    for request in api.calls() {
        assert!(request.headers.get("x-api-key").is_none());
    }
}

#[tokio::test]
async fn a_key_comes_and_goes_while_the_bridge_runs() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let (old, entry_of_old) = new_key(&["acme"]).await;
    let (new, entry_of_new) = new_key(&["acme"]).await;
    let keys = file_of(&entry_of_old);
    let bridge = guarded(&api, &keys).start().await;
    let channel = bridge.channel().await;
    assert!(list(channel.clone(), Some(&new)).await.is_err());

    std::fs::write(keys.path(), format!("{entry_of_old}{entry_of_new}")).unwrap();
    while list(channel.clone(), Some(&new)).await.is_err() {
        assert_eq!(list(channel.clone(), Some(&old)).await.unwrap(), 0);
    }
    std::fs::write(keys.path(), entry_of_new).unwrap();
    let gone = loop {
        assert_eq!(list(channel.clone(), Some(&new)).await.unwrap(), 0);
        if let Err(gone) = list(channel.clone(), Some(&old)).await {
            break gone;
        }
    };
    assert_eq!((gone.code(), reason(&gone)), (Code::Unauthenticated, "API_KEY_INVALID".to_owned()));
}

#[tokio::test]
async fn health_is_told_to_everybody_and_reflection_to_whom_it_is_for() {
    let api = Api::saying("{}").await;
    let (_, entry) = new_key(&["acme"]).await;
    let keys = file_of(&entry);
    let bridge = guarded(&api, &keys).start().await;
    let channel = bridge.channel().await;
    let request = HealthCheckRequest { service: "liveness".to_owned() };
    HealthClient::new(channel.clone()).check(request).await.unwrap();
    let refused = services(channel).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, "CREDENTIALS_MISSING".to_owned()));

    let open =
        guarded(&api, &keys).door(|door| door.reflection = grpc_rest_bridge::config::Reflection::Public);
    let open = open.start().await;
    assert_eq!(services(open.channel().await).await.unwrap(), 1);
    let off = Bridge::to(&api.url()).door(|door| door.reflection = grpc_rest_bridge::config::Reflection::Off);
    let off = off.start().await;
    assert_eq!(services(off.channel().await).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_list_of_keys_shows_no_secret() {
    let (key, acme) = new_key(&["acme", "--methods", "shop.v1.ProductService/List*"]).await;
    let bert = new_key(&["bert", "--expires-in", "1h"]).await.1;
    let until = bert.lines().find_map(|line| line.strip_prefix("expires = ")).unwrap();
    let carl = new_key(&["carl"]).await.1.replace("[[key]]", "[[key]]\nexpires = 1970-01-02");
    let dora = new_key(&["dora"]).await.1.replace("[[key]]", "[[key]]\nrevoked = true");
    let keys = file_of(&[&acme, &bert, &carl, &dora].map(String::as_str).concat());
    let path = keys.path().display().to_string();
    let listed = Program::run(&["keys", "list", "--api-keys", &path], &[]).await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let rows: Vec<Vec<&str>> = listed.stdout.lines().map(|row| row.split_whitespace().collect()).collect();
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(rows[0], ["NAME", "ID", "STATE", "METHODS"]);
    assert_eq!(rows[1], ["acme", id, "without", "end", "shop.v1.ProductService/List*"]);
    assert_eq!(rows[2][2..], ["until", until, "all"]);
    assert_eq!(rows[3][2..], ["expired", "1970-01-02T00:00:00Z", "all"]);
    assert_eq!((rows[4][0], &rows[4][2..]), ("dora", &["revoked", "all"][..]));
    assert_eq!(rows.len(), 5);
    assert!(!listed.stdout.contains(secret_of(&key)));
}

#[tokio::test]
async fn a_refusal_has_its_line_in_the_audit_log() {
    let (key, entry) = new_key(&["acme"]).await;
    let keys = file_of(&entry.replace("[[key]]", "[[key]]\nrevoked = true"));
    let path = keys.path().display().to_string();
    let words = ["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--api-keys", &path];
    let mut program = Program::start(&words, &[("BRIDGE_LOG_FORMAT", "json")]);
    let address = program.address().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let status = list(channel, Some(&key)).await.unwrap_err();
    assert_eq!(
        (status.message(), reason(&status)),
        ("the API key was taken back", "API_KEY_REVOKED".to_owned())
    );
    let line = program.log("not let in").await;
    let who = format!("key {} of acme", key.split('_').nth(1).unwrap());
    assert_eq!(line["reason"], "API_KEY_REVOKED");
    assert_eq!(line["who"], who);
    assert_eq!(line["method"], "shop.v1.ProductService/ListProducts");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(!line.to_string().contains(&key));
}

#[tokio::test]
async fn a_caller_may_call_as_often_as_its_key_says_whichever_of_its_keys_it_takes() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let (first, entry_of_first) = new_key(&["acme", "--rates", "3/h"]).await;
    let (second, entry_of_second) = new_key(&["acme", "--rates", "3/h"]).await;
    let (other, entry_of_other) = new_key(&["bert"]).await;
    let keys = file_of(&[entry_of_first, entry_of_second, entry_of_other].concat());
    let bridge = guarded(&api, &keys).door(|door| door.rates = vec!["5/day".parse().unwrap()]).start().await;
    let channel = bridge.channel().await;
    for key in [&first, &second, &first] {
        list(channel.clone(), Some(key)).await.unwrap();
    }
    let asked = api.calls().len();
    let status = list(channel.clone(), Some(&second)).await.unwrap_err();
    let told = (status.code(), status.message(), reason(&status));
    assert_eq!(told, (Code::ResourceExhausted, "more calls than 3/h", "RATE_LIMIT_EXCEEDED".to_owned()));
    let details = details(&status);
    let violation = &details.quota_failure().unwrap().violations[0];
    assert_eq!((&*violation.subject, &*violation.description), ("key:acme", "more calls than 3/h"));
    let pause = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(
        pause > std::time::Duration::from_secs(1100) && pause <= std::time::Duration::from_secs(1200),
        "{pause:?}"
    );
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
    assert_eq!(pushback.parse::<u128>().unwrap(), pause.as_nanos().div_ceil(1_000_000));
    assert_eq!(api.calls().len(), asked);

    for _ in 0..5 {
        list(channel.clone(), Some(&other)).await.unwrap();
    }
    assert_eq!(list(channel, Some(&other)).await.unwrap_err().message(), "more calls than 5/day");
}
