//! With a real Redis it is in `tests/e2e/shared_rates.rs`.

use std::time::Duration;

use grpc_rest_bridge::{
    config::SharedRatesConfig,
    shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient},
};
use tokio::task::JoinSet;
use tonic::{Code, Request, Status, transport::Channel};

use crate::support::{Api, Bridge, Clock, FaultyRedis, Manners, Program};

const TIMEOUT: Duration = Duration::from_millis(100);
/// What timers are exact to.
const A_TICK: Duration = Duration::from_millis(1);

/// A bridge that counts at this Redis, an API behind it, and a key for both.
struct Counting {
    bridge: Bridge,
    channel: Channel,
    key: String,
    _api: Api,
    _keys: tempfile::NamedTempFile,
}

async fn new_key() -> (String, tempfile::NamedTempFile) {
    let made = Program::run(&["keys", "new", "acme"], &[]).await;
    let key = made.stderr.lines().find(|line| line.starts_with("brk_")).unwrap().to_owned();
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), made.stdout).unwrap();
    (key, keys)
}

async fn list(channel: Channel, key: &str) -> Result<(), Status> {
    let mut request = Request::new(ListProductsRequest {});
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    ProductServiceClient::new(channel).list_products(request).await.map(|_| ())
}

impl Counting {
    async fn at(redis: &FaultyRedis, rate: &str, timeout: Duration) -> Self {
        let api = Api::saying(r#"{"products":[]}"#).await;
        let (key, keys) = new_key().await;
        let shared = SharedRatesConfig {
            host: redis.address.ip().to_string(),
            port: redis.address.port(),
            tls: false,
            database: 0,
            user: None,
            password: None,
            timeout,
        };
        let (path, rate) = (keys.path().to_owned(), rate.parse().unwrap());
        let bridge = Bridge::to(&api.url()).door(|door| {
            (door.keys, door.rates, door.shared_rates) = (Some(path), vec![rate], Some(shared));
        });
        let bridge = bridge.start().await;
        let channel = bridge.channel().await;
        Self { bridge, channel, key, _api: api, _keys: keys }
    }

    /// When Redis is asked.
    async fn shared(self) -> Self {
        while self.counted().await[2] == 0 {}
        self
    }

    async fn list(&self) -> Result<(), Status> {
        list(self.channel.clone(), &self.key).await
    }

    /// How many calls were counted by Redis and by the bridge alone, and whether Redis is asked now.
    async fn counted(&self) -> [u64; 3] {
        let text = reqwest::get(format!("http://{}/metrics", self.bridge.admin)).await.unwrap();
        let text = text.text().await.unwrap();
        [
            r#"bridge_rates_counted_total{by="redis"}"#,
            r#"bridge_rates_counted_total{by="replica"}"#,
            "bridge_rates_shared",
        ]
        .map(|name| {
            let value =
                text.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')));
            value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
        })
    }
}

#[tokio::test]
async fn a_call_waits_for_a_silent_redis_once_and_for_no_longer_than_is_set() {
    let redis = FaultyRedis::start(Manners::Good).await;
    let counting = Counting::at(&redis, "2/h", TIMEOUT).await.shared().await;
    counting.list().await.unwrap();
    assert_eq!(counting.counted().await, [1, 0, 1]);

    let mut clock = Clock::stop();
    let read = redis.commands();
    redis.behave(Manners::Silent);
    let (channel, key) = (counting.channel.clone(), counting.key.clone());
    let waiting = tokio::spawn(async move { list(channel, &key).await });
    clock.now(redis.has_read(read + 1)).await;
    assert!(!waiting.is_finished());
    clock.pass(TIMEOUT + A_TICK).await;
    clock.now(waiting).await.unwrap().unwrap();
    // From now on nobody waits, and the rate is still a rate.
    clock.now(counting.list()).await.unwrap();
    let status = clock.now(counting.list()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "more calls than 2/h"));
    assert_eq!(counting.counted().await, [1, 3, 0]);
}

#[tokio::test]
async fn a_redis_that_hangs_up_fails_no_call_and_is_asked_again() {
    let redis = FaultyRedis::start(Manners::Good).await;
    let counting = Counting::at(&redis, "1000/h", Duration::from_secs(30)).await.shared().await;
    redis.behave(Manners::HangsUp);
    for _ in 0..10 {
        counting.list().await.unwrap();
    }
    assert_eq!(counting.counted().await, [0, 10, 0]);
    redis.behave(Manners::Good);
    while counting.counted().await[2] == 0 {
        counting.list().await.unwrap();
    }
    let before = counting.counted().await;
    counting.list().await.unwrap();
    assert_eq!(counting.counted().await, [before[0] + 1, before[1], 1]);
}

#[tokio::test]
async fn a_redis_that_never_answers_keeps_no_bridge_from_serving() {
    let mut clock = Clock::stop();
    let redis = FaultyRedis::start(Manners::Silent).await;
    let starting = async {
        let counting = Counting::at(&redis, "2/h", TIMEOUT).await;
        counting.list().await.unwrap();
        counting
    };
    let passing = async {
        redis.has_read(1).await;
        clock.pass(Duration::from_secs(1) + A_TICK).await;
    };
    let (counting, ()) = tokio::join!(starting, passing);
    clock.now(counting.list()).await.unwrap();
    assert_eq!(clock.now(counting.list()).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(counting.counted().await, [0, 3, 0]);
}

#[tokio::test]
async fn no_more_calls_wait_for_a_slow_redis_than_there_is_room_for() {
    let redis = FaultyRedis::start(Manners::Good).await;
    let counting = Counting::at(&redis, "1000/h", Duration::from_secs(30)).await.shared().await;
    let read = redis.commands();
    redis.behave(Manners::Silent);
    // One connection has room for 200 calls.
    let mut calls = JoinSet::new();
    for channel in [counting.channel.clone(), counting.bridge.channel().await] {
        for _ in 0..150 {
            let (channel, key) = (channel.clone(), counting.key.clone());
            calls.spawn(async move { list(channel, &key).await });
        }
    }
    for _ in 0..44 {
        calls.join_next().await.unwrap().unwrap().unwrap();
    }
    redis.has_read(read + 256).await;
    assert_eq!((counting.counted().await, calls.len()), ([0, 44, 1], 256));
    redis.behave(Manners::Good);
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    assert_eq!(counting.counted().await, [256, 44, 1]);
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_told_once_and_not_with_each_call() {
    let api = Api::saying(r#"{"products":[]}"#).await;
    let (key, keys) = new_key().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (url, path, redis) = (api.url(), keys.path().display().to_string(), format!("redis://{nowhere}/3"));
    let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", &url, "--api-keys", &path];
    let more = ["--rates", "30/h", "--rates-redis", &redis, "--log-format", "json"];
    let mut program = Program::start(&[&words[..], &more[..]].concat(), &[]);
    let address = program.address().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    for _ in 0..30 {
        list(channel.clone(), &key).await.unwrap();
    }
    assert_eq!(list(channel, &key).await.unwrap_err().code(), Code::ResourceExhausted);
    program.signal("TERM").await;
    let (mut told, mut line) = (Vec::new(), program.log("").await);
    while !line["message"].as_str().unwrap().starts_with("stopped") {
        if line["message"].as_str().unwrap().contains("rates") {
            told.push(line);
        }
        line = program.log("").await;
    }
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (&line["severity"], &line["message"]),
        (
            &"ERROR".into(),
            &"rates are not shared: Redis cannot be used, and this replica counts for itself".into()
        )
    );
    assert_eq!(line["redis"], nowhere.to_string());
    assert_eq!(line["why"], "Connection refused (os error 111)");
}

#[tokio::test]
async fn a_redis_that_cannot_be_meant_is_refused_without_showing_a_password() {
    for (url, complaint) in [
        ("redis:6379", "\"redis:6379\" is no absolute URL"),
        ("http://redis", "\"http://redis\" is neither redis nor rediss"),
        ("redis://redis/zero", "\"redis://redis/zero\" names a database that is no number"),
        ("redis://redis/0?a=b", "\"redis://redis/0?a=b\" has a query or a fragment"),
        (
            "redis://me:secret@redis",
            "the URL has a password in it, which belongs into the file of --rates-redis-password-file",
        ),
        (
            "redis://:secret@redis",
            "the URL has a password in it, which belongs into the file of --rates-redis-password-file",
        ),
        ("redis://me@redis", "names a user and stands without --rates-redis-password-file"),
        ("", "\"\" is not valid"),
    ] {
        let variables = [("BRIDGE_RATES_REDIS", url), ("BRIDGE_UPSTREAM", "http://shop")];
        let ended = Program::run(&["serve"], &variables).await;
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains(&format!("BRIDGE_RATES_REDIS: {complaint}")), "{}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    let words = ["serve", "--upstream", "http://shop", "--rates-redis-password-file", "f"];
    let ended = Program::run(&words, &[("BRIDGE_RATES_REDIS_TIMEOUT", "1s")]).await;
    for place in ["--rates-redis-password-file", "BRIDGE_RATES_REDIS_TIMEOUT"] {
        assert!(ended.stderr.contains(&format!("{place}: stands without --rates-redis")), "{}", ended.stderr);
    }
}
