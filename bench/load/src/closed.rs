//! A fixed number of callers, each of which waits for its answer before it calls again.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use fastrand::Rng;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    Fault,
    answers::Answers,
    call::Call,
    client::{Client, Protocol},
    metadata::Metadata,
    tally::{Summary, Tally, Window},
};

/// So long all call before throughput is measured, until whatever stands between them and the API has its connections, and as
/// many calls are under way as there will be at the end.
const RAMP: Duration = Duration::from_secs(2);

/// A caller whose call failed waits so long before it calls again, as those do that want an answer. Without it, callers
/// that are refused at once would do nothing but be refused.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How many of the calls of the mix are slow ones.
const SLOW_SHARE: f64 = 0.05;

/// Who calls what, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Where to call: HOST:PORT
    #[arg(long)]
    address: String,
    #[arg(long)]
    protocol: Protocol,
    #[arg(long)]
    scenario: Scenario,
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// HTTP/2 connections that the callers share; for REST each has its own
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// How long throughput is measured, beginning two seconds after the first call
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Duration,
    /// The deadline of each call
    #[arg(long, value_parser = humantime::parse_duration, default_value = "30s")]
    deadline: Duration,
    /// A file of `name: value` lines for gRPC, of which each call has the next one
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// All call the same list
    List,
    /// Each calls for a product at random
    Products,
    /// The same, and no two requests are alike
    Distinct,
    /// Each calls for a product at random, and one call of twenty is slow
    Mix,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// By the name of the method.
    methods: BTreeMap<&'static str, Summary>,
}

/// Lets all call from one moment on. Calls that run when the time is over are waited for.
pub(crate) async fn run(plan: &Plan, answers: &Arc<Answers>) -> Result<Report, Fault> {
    let Plan { protocol, callers, connections, deadline, .. } = *plan;
    let metadata = plan.metadata.as_deref().map(Metadata::read).transpose()?.unwrap_or_default();
    let clients =
        Client::connect(protocol, &plan.address, callers, connections, deadline, answers, &metadata).await?;
    let start = Instant::now() + RAMP;
    let measured = start..start + plan.duration;
    // The same calls in every run, whoever answers them.
    let callers = clients.into_iter().zip(0..).map(|(client, seed)| Caller {
        client,
        scenario: plan.scenario,
        measured: measured.clone(),
        random: Rng::with_seed(seed),
        tallies: BTreeMap::new(),
    });
    let callers: JoinSet<_> = callers.map(|caller| caller.call(Arc::clone(answers))).collect();
    Ok(Report { methods: summaries(callers.join_all().await, &measured) })
}

struct Caller {
    client: Client,
    scenario: Scenario,
    measured: Window,
    random: Rng,
    tallies: Tallies,
}

type Tallies = BTreeMap<&'static str, Tally>;

// === impl Caller ===

impl Caller {
    async fn call(mut self, answers: Arc<Answers>) -> Tallies {
        loop {
            let begun = Instant::now();
            if begun >= self.measured.end {
                return self.tallies;
            }
            let call = self.scenario.next(&mut self.random, answers.ids());
            let outcome = self.client.call(call).await;
            let failed = outcome.is_err();
            self.tallies.entry(call.name()).or_default().note(
                &self.measured,
                &(begun..Instant::now()),
                outcome,
            );
            if failed {
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

// === impl Scenario ===

impl Scenario {
    fn next(self, random: &mut Rng, ids: &[i64]) -> Call {
        match self {
            Self::List => Call::List,
            Self::Distinct => Call::distinct(random, ids),
            Self::Mix if random.f64() < SLOW_SHARE => Call::Slow { id: Call::any(random, ids) },
            Self::Products | Self::Mix => Call::Get { id: Call::any(random, ids), mark: 0 },
        }
    }
}

fn summaries(callers: Vec<Tallies>, measured: &Window) -> BTreeMap<&'static str, Summary> {
    let mut whole = Tallies::new();
    for (name, tally) in callers.into_iter().flatten() {
        whole.entry(name).or_default().add(tally);
    }
    whole.into_iter().map(|(name, tally)| (name, tally.summary(measured))).collect()
}
