//! Replicas that count the calls of their callers in one Redis, and what they do without it.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use grpc_rest_bridge::shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::{
    api::Api,
    pki::Authority,
    support::{Bridge, BridgeBuilder, Redis, free_address, within_patience},
};

const SHARED: &str = "rates are shared: Redis counts for all replicas";
const NOT_SHARED: &str = "rates are not shared: Redis cannot be used, and this replica counts for itself";
/// The name of the caller in keys: `printf %s key:acme | sha256sum | cut -c1-32`.
const ACME: &str = "f43ea0ba45574b07ff43c905413fbf6e";

/// What replicas have in common.
struct Shop {
    api: Api,
    folder: TempDir,
    key: String,
    /// How many calls of crowds have been answered.
    answered: Arc<AtomicUsize>,
}

impl Shop {
    async fn open() -> Self {
        let api = Api::saying(r#"{"products":[]}"#).await;
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut new = Command::new(env!("CARGO_BIN_EXE_grpc-rest-bridge"));
        let made = new.args(["keys", "new", "acme"]).output().unwrap();
        std::fs::write(folder.path().join("keys.toml"), made.stdout).unwrap();
        let told = String::from_utf8(made.stderr).unwrap();
        let key = told.lines().find(|line| line.starts_with("brk_")).unwrap().to_owned();
        Self { api, folder, key, answered: Arc::default() }
    }

    /// A replica, yet to be started. It has more patience with Redis than a busy machine needs.
    fn replica(&self, redis: &str, rates: &str) -> BridgeBuilder {
        Bridge::before(self.api.url())
            .set("--api-keys", &self.path("keys.toml"))
            .set("--rates", rates)
            .set("--rates-redis", redis)
            .set("--rates-redis-timeout", "30s")
    }

    /// One that has connected.
    async fn sharing(&self, redis: &str, rates: &str) -> Bridge {
        let bridge = self.replica(redis, rates).start().await;
        logged(&bridge, SHARED, 1).await;
        bridge
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    async fn list(&self, bridge: &Bridge) -> Result<(), Status> {
        list(channel(bridge).await, self.key.clone()).await
    }

    /// How many calls, made all at once and to these in turn, are let through, and what the others are told.
    async fn crowd(&self, bridges: &[&Bridge], calls: usize) -> (usize, Vec<Status>) {
        let mut channels = Vec::new();
        for bridge in bridges {
            channels.push(channel(bridge).await);
        }
        let mut crowd = JoinSet::new();
        for call in 0..calls {
            let call = list(channels[call % channels.len()].clone(), self.key.clone());
            let answered = self.answered.clone();
            crowd.spawn(async move {
                let outcome = call.await;
                answered.fetch_add(1, Ordering::Relaxed);
                outcome
            });
        }
        let (passed, told): (Vec<_>, Vec<_>) = crowd.join_all().await.into_iter().partition(Result::is_ok);
        (passed.len(), told.into_iter().filter_map(Result::err).collect())
    }
}

async fn channel(bridge: &Bridge) -> Channel {
    Endpoint::from_shared(format!("http://{}", bridge.address())).unwrap().connect().await.unwrap()
}

async fn list(channel: Channel, key: String) -> Result<(), Status> {
    let mut request = Request::new(ListProductsRequest {});
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    ProductServiceClient::new(channel).list_products(request).await.map(|_| ())
}

/// Waits until the log has said this so many times, and gives the last line that does.
async fn logged(bridge: &Bridge, message: &str, times: usize) -> Value {
    let said = || -> Vec<Value> {
        let log = bridge.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    };
    // Not while lines are looked at: whoever reads them then waits for a writer who waits for the reader.
    let found = async {
        while said().len() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within_patience(&format!("{message:?} in the log, {times} times"), found, || bridge.log()).await;
    said().swap_remove(times - 1)
}

async fn admin(redis: &mut MultiplexedConnection, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).query_async::<()>(redis).await.unwrap();
}

#[tokio::test]
async fn two_replicas_let_through_no_more_than_one_would() {
    let (shop, redis) = (Shop::open().await, Redis::start().await);
    let one = shop.sharing(&redis.url(), "20/h").await;
    let other = shop.sharing(&redis.url(), "20/h").await;
    let (passed, told) = shop.crowd(&[&one, &other], 200).await;
    assert_eq!((passed, told.len()), (20, 180));
    for status in told {
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "more calls than 20/h"));
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "RATE_LIMIT_EXCEEDED");
        let violation = &details.quota_failure().unwrap().violations[0];
        assert_eq!((&*violation.subject, &*violation.description), ("key:acme", "more calls than 20/h"));
        let pause = details.retry_info().unwrap().retry_delay.unwrap();
        // One more comes back every three minutes.
        assert!((Duration::from_secs(120)..=Duration::from_secs(180)).contains(&pause), "{pause:?}");
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
        assert_eq!(pushback.parse::<u128>().unwrap(), pause.as_nanos().div_ceil(1_000_000));
    }
}

#[tokio::test]
async fn what_a_shorter_rate_refuses_does_not_count_for_a_longer_one() {
    let (shop, redis) = (Shop::open().await, Redis::start().await);
    let bridge = shop.sharing(&redis.url(), "25/day,10/h").await;
    let mut admin = redis.client().await;
    let hour = format!("grpc-rest-bridge:rate:{{{ACME}}}:10/h");
    for expected in [(10, "10/h"), (10, "10/h"), (5, "25/day")] {
        let (passed, told) = shop.crowd(&[&bridge], 60).await;
        let message = format!("more calls than {}", expected.1);
        assert_eq!(passed, expected.0);
        assert!(told.iter().all(|status| status.message() == message), "{told:?}");
        // It lives until it has nothing to say any more.
        let expires: i64 = admin.pttl(&hour).await.unwrap();
        let full = 360_000 * i64::try_from(passed).unwrap();
        assert!((full - 60_000..=full).contains(&expires), "{expires}");
        // An hour later, for this rate.
        let gone: u32 = admin.del(&hour).await.unwrap();
        assert_eq!(gone, 1);
    }
}

#[tokio::test]
async fn another_rate_is_another_count() {
    let (shop, redis) = (Shop::open().await, Redis::start().await);
    let before = shop.sharing(&redis.url(), "5/h").await;
    let after = shop.sharing(&redis.url(), "7/h").await;
    assert_eq!(shop.crowd(&[&before], 20).await.0, 5);
    assert_eq!(shop.crowd(&[&after], 20).await.0, 7);
}

#[tokio::test]
async fn calls_go_on_while_redis_is_away_and_are_counted_together_again() {
    let (shop, redis) = (Shop::open().await, Redis::start().await);
    let one = shop.sharing(&redis.url(), "1000/h").await;
    let other = shop.sharing(&redis.url(), "1000/h").await;
    let under_way = async {
        // Whatever moment it dies at.
        let (passed, told) = shop.crowd(&[&one, &other], 400).await;
        assert_eq!(passed, 400, "{told:?}");
    };
    let dying = async {
        while shop.answered.load(Ordering::Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
        redis.kill();
    };
    tokio::join!(under_way, dying);
    for bridge in [&one, &other] {
        let line = logged(bridge, NOT_SHARED, 1).await;
        assert_eq!((&line["severity"], &line["redis"]), (&"ERROR".into(), &redis.address().into()));
        shop.list(bridge).await.unwrap();
    }
    let again = Redis::at(redis.address(), &[]).await;
    for bridge in [&one, &other] {
        let line = logged(bridge, SHARED, 2).await;
        assert_eq!(line["severity"], "INFO");
        assert!(line["counted_here"].as_u64().unwrap() >= 1, "{line}");
    }
    let key = format!("grpc-rest-bridge:rate:{{{ACME}}}:1000/h");
    let mut admin = again.client().await;
    assert!(!admin.exists::<_, bool>(&key).await.unwrap());
    assert_eq!(shop.crowd(&[&one, &other], 1200).await.0, 1000);
}

#[tokio::test]
async fn a_script_that_redis_has_forgotten_is_sent_again() {
    let (shop, redis) = (Shop::open().await, Redis::start().await);
    let bridge = shop.sharing(&redis.url(), "3/h").await;
    shop.list(&bridge).await.unwrap();
    admin(&mut redis.client().await, &["SCRIPT", "FLUSH"]).await;
    assert_eq!(shop.crowd(&[&bridge], 20).await.0, 2);
}

#[tokio::test]
async fn a_redis_that_cannot_write_is_as_good_as_none() {
    for (spoil, mend, why) in [
        (&["CONFIG", "SET", "maxmemory", "1"][..], &["CONFIG", "SET", "maxmemory", "0"][..], "OOM"),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"], "name the primary, not a replica"),
        (
            &["ACL", "SETUSER", "default", "-set"],
            &["ACL", "SETUSER", "default", "+set"],
            "can't run this command",
        ),
    ] {
        let (shop, redis) = (Shop::open().await, Redis::start().await);
        let bridge = shop.sharing(&redis.url(), "5/h").await;
        let mut client = redis.client().await;
        admin(&mut client, spoil).await;
        assert_eq!(shop.crowd(&[&bridge], 20).await.0, 5);
        let line = logged(&bridge, NOT_SHARED, 1).await;
        assert!(line["why"].as_str().unwrap().contains(why), "{line}");
        admin(&mut client, mend).await;
        logged(&bridge, SHARED, 2).await;
        assert_eq!(shop.crowd(&[&bridge], 20).await.0, 5);
    }
}

#[tokio::test]
async fn a_password_is_taken_from_its_file_and_told_to_nobody() {
    let (shop, redis) = (Shop::open().await, Redis::start().await);
    let mut client = redis.client().await;
    // What docs/security.md says that it needs, and no more.
    let user =
        "bridge on resetkeys ~grpc-rest-bridge:rate:* -@all +evalsha +script|load +time +get +set +select";
    let user: Vec<_> = user.split(' ').chain([">open sesame"]).collect();
    admin(&mut client, &[&["ACL", "SETUSER"][..], &user].concat()).await;
    admin(&mut client, &["CONFIG", "SET", "requirepass", "other"]).await;
    let none = shop.replica(&redis.url(), "5/h").start().await;
    let why = logged(&none, NOT_SHARED, 1).await["why"].as_str().unwrap().to_owned();
    assert!(why.contains("NOAUTH") && why.ends_with("as --rates-redis-password-file)"), "{why}");

    let file = shop.path("password");
    std::fs::write(&file, "open barley\n").unwrap();
    let url = format!("redis://bridge@{}/2", redis.address());
    let bridge = shop.replica(&url, "5/h").set("--rates-redis-password-file", &file);
    let bridge = bridge.set("--reload-interval", "10ms").start().await;
    let why = logged(&bridge, NOT_SHARED, 1).await["why"].as_str().unwrap().to_owned();
    assert!(why.contains("WRONGPASS") && why.contains("--rates-redis-password-file"), "{why}");
    shop.list(&bridge).await.unwrap();
    std::fs::write(&file, "open sesame\n").unwrap();
    logged(&bridge, SHARED, 1).await;
    assert_eq!(shop.crowd(&[&bridge], 20).await.0, 5);
    assert!(!bridge.log().contains("barley") && !bridge.log().contains("sesame"), "{}", bridge.log());
}

#[tokio::test]
async fn a_redis_with_tls_is_trusted_by_the_certificates_of_the_machine_and_no_others() {
    let (shop, authority) = (Shop::open().await, Authority::new("ours"));
    let server = authority.for_server();
    let files = [("ca.pem", authority.pem()), ("cert.pem", server.certificate), ("key.pem", server.key)];
    let [ca, cert, key] = files.map(|(name, text)| {
        std::fs::write(shop.path(name), text).unwrap();
        shop.path(name)
    });
    let address = free_address();
    let port = address.rsplit(':').next().unwrap();
    let tls = ["--port", "0", "--tls-port", port, "--tls-auth-clients", "no"];
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let redis = Redis::at(&address, &[&tls[..], &files[..]].concat()).await;
    let url = format!("rediss://localhost:{port}");
    let trusting = shop.replica(&url, "5/h").variable("SSL_CERT_FILE", &ca).start().await;
    logged(&trusting, SHARED, 1).await;
    assert_eq!(shop.crowd(&[&trusting], 20).await.0, 5);
    let doubting = shop.replica(&url, "5/h").start().await;
    let line = logged(&doubting, NOT_SHARED, 1).await;
    assert!(line["why"].as_str().unwrap().contains("certificate"), "{line}");
    drop(redis);
}
