//! The program as a process of its own, whose memory and processor time can be read, and honest callers of it.

use std::{
    fmt, fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use grpc_rest_bridge::shop::v1::{GetProductRequest, product_service_client::ProductServiceClient};
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

use crate::support::{Api, Program};

/// The program under attack.
pub(super) struct Victim {
    pub(super) address: SocketAddr,
    pub(super) program: Program,
}

/// What it has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) memory_bytes: u64,
    pub(super) processor: Duration,
}

/// Callers that do no harm, one call after the other, until they are told to stop.
pub(super) struct Honest {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Duration>>>,
}

/// How they fared.
pub(super) struct Fared {
    took: Vec<Duration>,
}

// === impl Victim ===

impl Victim {
    /// The program before this API, with these settings beside the usual ones.
    pub(super) async fn before(api: &Api, settings: &[&str]) -> Self {
        let url = api.url();
        let words = ["serve", "--upstream", &url, "--listen", "127.0.0.1:0", "--cache-size", "none"];
        // Nobody reads its log while it is attacked, so that there must not be more than a pipe holds.
        let variables = [("BRIDGE_LOG_FORMAT", "json"), ("BRIDGE_LOG_LEVEL", "info,access=warn")];
        let mut program = Program::start(&[&words, settings].concat(), &variables);
        let address = program.address().await.parse().unwrap();
        Self { address, program }
    }

    pub(super) fn used(&self) -> Used {
        let process = format!("/proc/{}", self.program.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let stat = fs::read_to_string(format!("{process}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // User and system time, in hundredths of a second.
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Used { memory_bytes: kilobytes * 1024, processor: Duration::from_millis(ticks * 10) }
    }

    /// Says what an attack has got, for those who run the tests by hand, and holds its memory against a bound.
    pub(super) fn tell(&self, attack: &str, got: &str, before: Used, bound_bytes: u64, honest: &Fared) {
        let now = self.used();
        let grown = now.memory_bytes.saturating_sub(before.memory_bytes);
        println!(
            "| {attack} | {got} | {:.1} MiB | {:?} | {honest} |",
            grown as f64 / f64::from(1 << 20),
            now.processor - before.processor,
        );
        assert!(grown <= bound_bytes, "{attack}: {grown} bytes more than before");
    }
}

// === impl Honest ===

impl Honest {
    /// A few of them, each on a connection of its own.
    pub(super) async fn beside(victim: &Victim) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for caller in 0..4 {
            let endpoint = Endpoint::from_shared(format!("http://{}", victim.address)).unwrap();
            let mut shop = ProductServiceClient::new(endpoint.connect().await.unwrap());
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move {
                let mut took = Vec::new();
                // One call at least, however soon the attack is over.
                while took.len() < 10 || !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let id = caller * 1_000_000 + i64::try_from(took.len()).unwrap();
                    shop.get_product(GetProductRequest { id }).await.expect("an honest caller is served");
                    took.push(started.elapsed());
                }
                took
            }));
        }
        Self { stop, tasks }
    }

    /// Lets them end; none of their calls may have failed.
    pub(super) async fn fared(self) -> Fared {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for task in self.tasks {
            took.extend(task.await.unwrap());
        }
        took.sort();
        Fared { took }
    }
}

// === impl Fared ===

impl fmt::Display for Fared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent: usize| self.took[(self.took.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        write!(f, "{} calls, 0 failed, p50 {:.1} ms, p99 {:.1} ms", self.took.len(), at(50), at(99))
    }
}
