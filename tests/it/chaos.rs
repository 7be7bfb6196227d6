//! What is done to the API here is done to it while sixteen callers ask. Each test prints a row of the table in
//! `docs/upstream.md`:
//!
//! `cargo test --test it chaos -- --nocapture --test-threads 1 | grep '^|'`

mod health_log;
mod storm;

use std::time::Duration;

use grpc_rest_bridge::{
    config::ProbeConfig,
    shop::v1::{GetProductRequest, Product},
    upstream::Event,
};
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;

use self::{
    health_log::HealthLog,
    storm::{Aside, Callers, Storm},
};
use crate::support::{Bridge, Mood, MoodyApi, reason};

const SECOND: Duration = Duration::from_secs(1);
/// How long a fault lasts at least.
const LONG: Duration = Duration::from_millis(1500);

const OK: &str = "OK";
const UNREACHABLE: &str = "UNAVAILABLE `UPSTREAM_UNREACHABLE`";
const LOST: &str = "UNAVAILABLE `UPSTREAM_CONNECTION_LOST`";
const CUT_OFF: &str = "UNAVAILABLE `UPSTREAM_ANSWER_CUT_OFF`";
const FAILING: &str = "UNAVAILABLE `UPSTREAM_FAILING`";
const BUSY: &str = "UNAVAILABLE `UPSTREAM_BUSY`";
const LATE: &str = "DEADLINE_EXCEEDED `DEADLINE_EXCEEDED`";
const ERROR_500: &str = "INTERNAL `INTERNAL_SERVER_ERROR`";
const ERROR_503: &str = "UNAVAILABLE `SERVICE_UNAVAILABLE`";

/// The API, the bridge before it, and the callers.
struct Scene {
    api: MoodyApi,
    bridge: Bridge,
    storm: Storm,
    health: HealthLog,
}

const FELL_AND_ROSE: [&str; 3] = ["SERVING", "NOT_SERVING", "SERVING"];

// === impl Scene ===

impl Scene {
    /// Callers before an API that is well; its health is asked for more often than is usual.
    async fn begin() -> Self {
        Self::probed(ProbeConfig {
            interval: Duration::from_millis(100),
            timeout: SECOND,
            ..ProbeConfig::default()
        })
        .await
    }

    async fn probed(config: ProbeConfig) -> Self {
        let api = MoodyApi::start().await;
        let bridge = Bridge::to(&api.url()).probe(|probe| *probe = config).start().await;
        let health = HealthLog::of(HealthClient::new(bridge.channel().await)).await;
        let storm = Storm::begin(bridge.address, callers());
        storm.is_well().await;
        Self { api, bridge, storm, health }
    }

    /// The API is in this mood for a while, and until its callers have been told all of this and the health says so.
    async fn suffers(&self, mood: Mood, told: &[&str], health: &str) {
        self.api.becomes(mood);
        self.goes_on(LONG, told, health).await;
        self.api.becomes(Mood::Well);
    }

    async fn goes_on(&self, time: Duration, told: &[&str], health: &str) {
        tokio::time::sleep(time).await;
        self.storm.tells(told).await;
        self.health.becomes(health).await;
    }

    /// Callers and health find out that all is well again. Meanwhile callers were told nothing but this, and the health said
    /// just that.
    async fn recovers(self, what: &str, told: &[&str], health: &[&str]) {
        let recovery = Some(self.storm.is_well().await);
        self.health.becomes("SERVING").await;
        let report = self.storm.end().await;
        let (requests, sent_again) = (self.api.requests(), self.bridge.stats.snapshot().of(Event::Retry));
        let said = self.health.said();
        report.print(
            what,
            &Aside { recovery, requests, sent_again: Some(sent_again), health: said.join(" → ") },
        );
        report.is_sound(told, sent_again);
        assert_eq!(said, health);
    }
}

/// Callers who know what each product of the API has to look like.
fn callers() -> Callers {
    Callers {
        ids: (1..=200).collect(),
        is_right: Box::new(|id, answer| answer.product.as_ref().is_some_and(|product| is_right(id, product))),
        pause: Duration::from_millis(80),
        deadline: SECOND,
    }
}

fn is_right(id: i64, product: &Product) -> bool {
    let reviews = (1..=8).map(|n| format!("Review {n} of {id}"));
    product.title == Some(format!("Product {id}"))
        && product.price == Some(format!("{id}.50"))
        && product.reviews.iter().map(|review| review.name.clone().unwrap()).eq(reviews)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_is_killed_under_its_calls_and_restarted() {
    let mut scene = Scene::begin().await;
    // So that there are some.
    scene.api.becomes(Mood::Hanging);
    while scene.bridge.stats.snapshot().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    scene.api.dies().await;
    scene.api.becomes(Mood::Well);
    scene.goes_on(Duration::ZERO, &[FAILING], "NOT_SERVING").await;
    scene.api.rises();
    let told = [OK, LOST, UNREACHABLE, FAILING];
    scene.recovers("killed under its calls, and restarted", &told, &FELL_AND_ROSE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_hangs() {
    let scene = Scene::begin().await;
    scene.suffers(Mood::Hanging, &[LATE, FAILING], "NOT_SERVING").await;
    let told = [OK, LATE, BUSY, FAILING];
    scene.recovers("takes requests and never answers", &told, &FELL_AND_ROSE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_sends_one_byte_a_second() {
    let scene = Scene::begin().await;
    scene.suffers(Mood::Trickling, &[LATE, FAILING], "SERVING").await;
    let told = [OK, LATE, BUSY, FAILING];
    scene.recovers("one byte a second", &told, &["SERVING"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_resets_its_connections_in_the_middle_of_the_answer() {
    let scene = Scene::begin().await;
    scene.suffers(Mood::Resetting, &[CUT_OFF, FAILING], "SERVING").await;
    let told = [OK, CUT_OFF, FAILING];
    scene.recovers("a reset in the middle of the answer", &told, &["SERVING"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_sends_half_of_the_answer_and_keeps_the_connection() {
    let scene = Scene::begin().await;
    scene.suffers(Mood::Halving, &[LATE, FAILING], "SERVING").await;
    let told = [OK, LATE, BUSY, FAILING];
    scene.recovers("half of the answer, and the connection stays", &told, &["SERVING"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_answers_500_to_everything() {
    let scene = Scene::begin().await;
    scene.suffers(Mood::Failing, &[ERROR_500, FAILING], "NOT_SERVING").await;
    scene.recovers("500 to everything", &[OK, ERROR_500, FAILING], &FELL_AND_ROSE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_asks_for_a_pause() {
    let scene = Scene::begin().await;
    scene.suffers(Mood::Maintained, &[ERROR_503, FAILING], "NOT_SERVING").await;
    scene.recovers("503 with `Retry-After: 1`", &[OK, ERROR_503, FAILING], &FELL_AND_ROSE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_refuses_connections() {
    let mut scene = Scene::begin().await;
    scene.api.dies().await;
    scene.goes_on(LONG, &[UNREACHABLE, FAILING], "NOT_SERVING").await;
    scene.api.rises();
    let told = [OK, LOST, UNREACHABLE, FAILING];
    scene.recovers("refuses connections", &told, &FELL_AND_ROSE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_refuses_connections_for_ten_seconds() {
    let mut scene = Scene::probed(ProbeConfig::default()).await;
    scene.api.dies().await;
    scene.goes_on(10 * SECOND, &[UNREACHABLE, FAILING], "NOT_SERVING").await;
    scene.api.rises();
    let told = [OK, LOST, UNREACHABLE, FAILING];
    scene.recovers("the same for ten seconds, and usual probes", &told, &FELL_AND_ROSE).await;
}

/// No label of a name may be so long, so that no resolver knows it, and none has to be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_whose_name_nobody_knows() {
    let bridge = Bridge::before(&format!("http://{}:3000", "a".repeat(64))).await;
    // Of a crowd all may be told of the breaker, which shuts while they ask for the first time.
    let first = bridge.shop().await.get_product(GetProductRequest { id: 7 }).await.unwrap_err();
    let told = (first.code(), first.message(), reason(&first));
    assert_eq!(told, (Code::Unavailable, "the API cannot be reached", "UPSTREAM_UNREACHABLE".to_owned()));
    let storm = Storm::begin(bridge.address, callers());
    tokio::time::sleep(LONG).await;
    storm.tells(&[FAILING]).await;
    let report = storm.end().await;
    let sent_again = bridge.stats.snapshot().of(Event::Retry);
    report.print(
        "a name that nobody knows",
        &Aside { sent_again: Some(sent_again), health: "NOT_SERVING".to_owned(), ..Aside::default() },
    );
    report.is_sound(&[UNREACHABLE, FAILING], sent_again);
    let sentences = ["the API cannot be reached", "the API fails, and is not asked for a moment"];
    assert!(report.messages.iter().all(|message| sentences.contains(&message.as_str())), "{report:#?}");
    // Nobody has waited for it until the end of his time.
    assert!(report.longest.0 < report.longest.1, "{report:#?}");
}
