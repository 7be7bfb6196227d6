//! Calls that come at a fixed rate, whatever becomes of them: what callers in great number do to a slow API.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde::Serialize;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    Fault,
    answers::Answers,
    call::Call,
    client::{Client, Failure, Protocol},
    metadata::Metadata,
    tally::{Latencies, Summary, Tally, Window, percentile},
};

/// How often calls are sent that have become due.
const TICK: Duration = Duration::from_millis(1);

/// A low rate: one call each time.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// How many calls tell what latency is normal.
const NORMAL_PROBES: usize = 50;
/// How many times the normal latency is well enough, and how many calls in a row must be well: one alone can be lucky.
const WELL: u32 = 2;
const WELL_IN_A_ROW: usize = 3;
/// How many calls at the low rate are made until it is given up.
const LAST_PROBE: usize = 600;

/// How many calls come, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Where to call over gRPC: HOST:PORT
    #[arg(long)]
    address: String,
    /// Calls each second
    #[arg(long)]
    rate: f64,
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Duration,
    /// The deadline of each call
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    deadline: Duration,
    /// HTTP/2 connections that the calls are spread over
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    calls: Summary,
    /// Of the failures, those of calls that the server would not take.
    refused: Latencies,
    /// How late, at most, a call was sent.
    lag_ms: f64,
    /// How long a call takes at a low rate.
    normal_ms: f64,
    /// When, after the last call was due, calls at a low rate had again not taken more than [`WELL`] times as long.
    well_after_s: Option<f64>,
}

/// Finds out what is normal, overloads, and waits until it is normal again.
pub(crate) async fn run(plan: &Plan, answers: &Arc<Answers>) -> Result<Report, Fault> {
    let mut clients = connect(plan, answers).await?;
    let client = clients.pop().ok_or("no connection")?;
    let mut prober = Prober { client, random: Rng::with_seed(1), ids: answers.ids() };
    let normal = prober.normal().await?;
    let mut flood = Flood::new(clients, answers.ids());
    let flooded = flood.run(plan).await?;
    let well_after = prober.until_well(normal * WELL).await;
    flood.wait(&flooded).await?;
    Ok(Report {
        refused: flood.tally.refused(),
        calls: flood.tally.summary(&flooded),
        lag_ms: flood.lag.as_secs_f64() * 1e3,
        normal_ms: normal.as_secs_f64() * 1e3,
        well_after_s: well_after.map(|after| after.as_secs_f64()),
    })
}

/// A client for each connection, and one more.
async fn connect(plan: &Plan, answers: &Arc<Answers>) -> Result<Vec<Arc<Client>>, Fault> {
    let count = plan.connections + 1;
    let nothing = Metadata::default();
    let clients =
        Client::connect(Protocol::Grpc, &plan.address, count, count, plan.deadline, answers, &nothing);
    Ok(clients.await?.into_iter().map(Arc::new).collect())
}

/// The calls that are too many.
struct Flood<'a> {
    clients: Vec<Arc<Client>>,
    ids: &'a [i64],
    random: Rng,
    running: JoinSet<Ended>,
    tally: Tally,
    lag: Duration,
}

struct Ended {
    call: Window,
    outcome: Result<(), Failure>,
}

// === impl Flood ===

impl<'a> Flood<'a> {
    fn new(clients: Vec<Arc<Client>>, ids: &'a [i64]) -> Self {
        Self {
            clients,
            ids,
            random: Rng::with_seed(0),
            running: JoinSet::new(),
            tally: Tally::default(),
            lag: Duration::ZERO,
        }
    }

    /// Sends each call when it is due, or as soon after as it can.
    async fn run(&mut self, plan: &Plan) -> Result<Window, Fault> {
        let begun = Instant::now();
        let flooded = begun..begun + plan.duration;
        let mut dues = (0_u32..).map(|number| begun + Duration::from_secs_f64(f64::from(number) / plan.rate));
        let mut next = dues.next();
        let mut ticks = ticks(TICK);
        while let Some(due) = next.filter(|due| flooded.contains(due)) {
            if due <= Instant::now() {
                self.send(due);
                next = dues.next();
            } else {
                ticks.tick().await;
                self.note_ended(&flooded)?;
            }
        }
        Ok(flooded)
    }

    /// Latency counts from when the call was due: that it could not be sent is no excuse.
    fn send(&mut self, due: Instant) {
        self.lag = self.lag.max(due.elapsed());
        let call = Call::distinct(&mut self.random, self.ids);
        if let Some(client) = self.random.choice(&self.clients).cloned() {
            self.running.spawn(async move {
                let outcome = client.call(call).await;
                Ended { call: due..Instant::now(), outcome }
            });
        }
    }

    fn note_ended(&mut self, flooded: &Window) -> Result<(), JoinError> {
        while let Some(ended) = self.running.try_join_next() {
            let Ended { call, outcome } = ended?;
            self.tally.note(flooded, &call, outcome);
        }
        Ok(())
    }

    /// Waits for the calls that still run.
    async fn wait(&mut self, flooded: &Window) -> Result<(), JoinError> {
        while let Some(ended) = self.running.join_next().await {
            let Ended { call, outcome } = ended?;
            self.tally.note(flooded, &call, outcome);
        }
        Ok(())
    }
}

/// One more caller, who calls now and then.
struct Prober<'a> {
    client: Arc<Client>,
    random: Rng,
    ids: &'a [i64],
}

// === impl Prober ===

impl Prober<'_> {
    /// The median of some calls, none of which may fail.
    async fn normal(&mut self) -> Result<Duration, Fault> {
        let mut ticks = ticks(PROBE_PAUSE);
        let mut took = Vec::new();
        for _ in 0..NORMAL_PROBES {
            ticks.tick().await;
            let begun = Instant::now();
            let outcome = self.client.call(Call::distinct(&mut self.random, self.ids)).await;
            outcome.map_err(|failure| format!("a call failed before the overload: {failure}"))?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        percentile(&took, 50).ok_or_else(|| "no call was made".into())
    }

    /// When calls take no longer than this. No call waits for the one before it.
    async fn until_well(&mut self, limit: Duration) -> Option<Duration> {
        let origin = Instant::now();
        let mut ticks = ticks(PROBE_PAUSE);
        let mut running = JoinSet::new();
        // When each call ended that took no longer.
        let mut well = vec![None; LAST_PROBE];
        for number in 0..LAST_PROBE {
            ticks.tick().await;
            let (client, call) = (Arc::clone(&self.client), Call::distinct(&mut self.random, self.ids));
            running.spawn(async move {
                let begun = Instant::now();
                let outcome = client.call(call).await;
                (number, (outcome.is_ok() && begun.elapsed() <= limit).then(|| origin.elapsed()))
            });
            while let Some(Ok((number, ended))) = running.try_join_next() {
                well[number] = ended;
            }
            let mut rows = well.windows(WELL_IN_A_ROW);
            if let Some(row) = rows.find(|row| row.iter().all(Option::is_some)) {
                return row[0];
            }
        }
        None
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
