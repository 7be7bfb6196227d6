//! Callers of every kind at once, for as long as they are told: patient ones, some that give up, and some that hang up.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin, stdin},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Fault,
    answers::Answers,
    call::Call,
    client::{Failure, WRONG, broken},
    grpc::Connection,
    tally::Latencies,
};

/// Deadlines lie between these, so that some are too short for what is called.
const DEADLINES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// A call that lasts so much longer than its deadline is stuck: the server should have ended it.
const STUCK: Duration = Duration::from_secs(1);
/// How much longer than its deadline a patient caller waits to see how long it takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who gives up or hangs up does so within this time.
const IMPATIENCE: Duration = Duration::from_millis(300);
/// How long callers wait between two calls, so that a real API of five threads has room to breathe while all is well.
const PAUSES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(400)];

const GIVEN_UP: Failure = Failure::Borrowed("given up");
const HUNG_UP: Failure = Failure::Borrowed("hung up");
const LOST: Failure = Failure::Borrowed("no answer");

/// Who calls.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Where to call over gRPC: HOST:PORT
    #[arg(long)]
    address: String,
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// HTTP/2 connections that the callers share
    #[arg(long, default_value_t = 8)]
    connections: usize,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// How long calls took, by the phase that they ended in and by what they ended with.
    phases: BTreeMap<String, BTreeMap<Failure, Latencies>>,
    /// How many lasted longer than their deadline and [`STUCK`].
    stuck: usize,
    /// The call that lasted longest beyond its deadline, or came nearest to it.
    latest: Option<Late>,
    /// How often the connections were opened anew that are shared.
    renewals: u32,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Late {
    took_ms: f64,
    deadline_ms: f64,
}

/// Lets all call from the first line of stdin on. Calls that run at its end are waited for.
pub(crate) async fn run(plan: &Plan, answers: &Arc<Answers>) -> Result<Report, Fault> {
    let mut connections = Vec::new();
    for _ in 0..plan.connections.max(1) {
        connections.push(Arc::new(Connection::open(&plan.address).await?));
    }
    let mut lines = BufReader::new(stdin()).lines();
    let first = lines.next_line().await?.ok_or("no phase was named")?;
    let (phases, phase) = watch::channel(first);
    let callers = connections.iter().cycle().take(plan.callers).zip(0..).map(|(connection, seed)| Caller {
        address: plan.address.clone(),
        connection: Arc::clone(connection),
        answers: Arc::clone(answers),
        phase: phase.clone(),
        // The same callers in every run.
        random: Rng::with_seed(seed),
        seen: Seen::default(),
    });
    let callers: JoinSet<_> = callers.map(Caller::call).collect();
    follow(lines, phases).await?;
    let mut seen = Seen::default();
    callers.join_all().await.into_iter().for_each(|caller| seen.add(caller));
    let mut renewals = 0;
    for connection in connections {
        renewals += connection.renewals().await;
    }
    Ok(seen.report(renewals))
}

/// Passes on which phase it is, until there is none.
async fn follow(mut lines: Lines<BufReader<Stdin>>, phases: watch::Sender<String>) -> Result<(), Fault> {
    while let Some(next) = lines.next_line().await? {
        phases.send_replace(next);
    }
    Ok(())
}

struct Caller {
    address: String,
    connection: Arc<Connection>,
    answers: Arc<Answers>,
    phase: watch::Receiver<String>,
    random: Rng,
    seen: Seen,
}

/// How somebody waits for an answer.
enum Manner {
    Patient,
    /// Takes the call back.
    GivesUp(Duration),
    /// Calls by a connection of its own, and cuts it.
    HangsUp(Duration),
}

// === impl Caller ===

impl Caller {
    async fn call(mut self) -> Seen {
        // An error is the end of stdin.
        while self.phase.has_changed().is_ok() {
            let call = self.next();
            let manner = Manner::any(&mut self.random);
            let deadline = between(&mut self.random, DEADLINES);
            let begun = Instant::now();
            let outcome = self.waited(call, deadline, &manner).await;
            let phase = self.phase.borrow().clone();
            self.seen.note(phase, outcome, begun.elapsed(), deadline);
            sleep(between(&mut self.random, PAUSES)).await;
        }
        self.seen
    }

    /// Of a hundred calls one is slow, one asks for the list, and forty are for a product by a request like no other.
    fn next(&mut self) -> Call {
        let (random, ids) = (&mut self.random, self.answers.ids());
        match random.u32(..100) {
            0 => Call::Slow { id: Call::any(random, ids) },
            1 => Call::List,
            2..42 => Call::distinct(random, ids),
            _ => Call::Get { id: Call::any(random, ids), mark: 0 },
        }
    }

    async fn waited(&self, call: Call, deadline: Duration, manner: &Manner) -> Result<(), Failure> {
        let asked = self.ask(&self.connection, call, deadline);
        match *manner {
            Manner::Patient => timeout(deadline + PATIENCE, asked).await.unwrap_or(Err(LOST)),
            Manner::GivesUp(after) => timeout(after, asked).await.unwrap_or(Err(GIVEN_UP)),
            Manner::HangsUp(after) => {
                let alone = self.ask_alone(call, deadline);
                timeout(after, alone).await.unwrap_or(Err(HUNG_UP))
            }
        }
    }

    async fn ask_alone(&self, call: Call, deadline: Duration) -> Result<(), Failure> {
        let connection = Connection::open(&self.address).await.map_err(broken)?;
        self.ask(&connection, call, deadline).await
    }

    async fn ask(&self, connection: &Connection, call: Call, deadline: Duration) -> Result<(), Failure> {
        let message = connection.call(call, deadline).await?;
        if self.answers.is_right_message(call, &message) { Ok(()) } else { Err(WRONG) }
    }
}

// === impl Manner ===

impl Manner {
    /// Of fifty callers four give up and one hangs up.
    fn any(random: &mut Rng) -> Self {
        let after = between(random, [Duration::ZERO, IMPATIENCE]);
        match random.u32(..50) {
            0 => Self::HangsUp(after),
            1..5 => Self::GivesUp(after),
            _ => Self::Patient,
        }
    }
}

fn between(random: &mut Rng, [least, most]: [Duration; 2]) -> Duration {
    least + (most - least).mul_f64(random.f64())
}

/// What became of calls.
#[derive(Default)]
struct Seen {
    phases: BTreeMap<String, BTreeMap<Failure, Vec<Duration>>>,
    stuck: usize,
    latest: Option<Late>,
}

// === impl Seen ===

impl Seen {
    fn note(&mut self, phase: String, outcome: Result<(), Failure>, took: Duration, deadline: Duration) {
        let outcome = outcome.err().unwrap_or("OK".into());
        self.phases.entry(phase).or_default().entry(outcome).or_default().push(took);
        self.stuck += usize::from(took > deadline + STUCK);
        self.compare(Late::new(took, deadline));
    }

    /// Takes over what another has seen.
    fn add(&mut self, other: Self) {
        for (phase, outcomes) in other.phases {
            let own = self.phases.entry(phase).or_default();
            for (outcome, took) in outcomes {
                own.entry(outcome).or_default().extend(took);
            }
        }
        self.stuck += other.stuck;
        other.latest.into_iter().for_each(|latest| self.compare(latest));
    }

    fn compare(&mut self, late: Late) {
        if self.latest.is_none_or(|latest| latest.beyond_ms() < late.beyond_ms()) {
            self.latest = Some(late);
        }
    }

    fn report(self, renewals: u32) -> Report {
        let outcomes = |outcomes: BTreeMap<Failure, Vec<Duration>>| {
            outcomes.into_iter().map(|(outcome, mut took)| (outcome, Latencies::of(&mut took))).collect()
        };
        let phases = self.phases.into_iter().map(|(phase, seen)| (phase, outcomes(seen))).collect();
        Report { phases, stuck: self.stuck, latest: self.latest, renewals }
    }
}

// === impl Late ===

impl Late {
    fn new(took: Duration, deadline: Duration) -> Self {
        Self { took_ms: took.as_secs_f64() * 1e3, deadline_ms: deadline.as_secs_f64() * 1e3 }
    }

    fn beyond_ms(self) -> f64 {
        self.took_ms - self.deadline_ms
    }
}
