//! Callers that ask for products without end, over real gRPC, and a record of what they were told.
//!
//! It knows nothing of what stands behind the bridge, so that the end-to-end tests ask with it too. Its client has no timer of
//! its own: a call that the bridge forgets is a call that hangs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use grpc_rest_bridge::shop::v1::{
    GetProductRequest, GetProductResponse, product_service_client::ProductServiceClient,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, Request, Response, Status, body::Body};
use tonic_types::StatusExt;

/// How many callers there are, each with one call at a time.
const CALLERS: usize = 16;
/// The part by which the deadline of each caller is longer than that of the one before it.
const MORE_TIME: f64 = 0.04;
/// How much later than its deadline a call may end on a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(2);
/// After this time a call hangs.
const HUNG: Duration = Duration::from_secs(10);
/// So many good answers in a row mean that all is well.
const IN_A_ROW: usize = 20;
/// The test's own patience.
const PATIENCE: Duration = Duration::from_secs(30);

const HEAD: &str = "| what happened | calls | what callers were told | longest wait, of its deadline | wrong answers | \
    good again after | requests | sent again | health |\n|---|---|---|---|---|---|---|---|---|";

/// Whether an answer is the product with this number.
pub(crate) type IsRight = Box<dyn Fn(i64, &GetProductResponse) -> bool + Send + Sync>;

/// What the callers do.
pub(crate) struct Callers {
    /// The products that are asked for: the first one by half of the callers all the time, the rest by the others in turn.
    pub(crate) ids: Vec<i64>,
    pub(crate) is_right: IsRight,
    /// How long each thinks between two calls, at most.
    pub(crate) pause: Duration,
    /// The deadline of the one that has least time.
    pub(crate) deadline: Duration,
}

/// A storm that blows.
pub(crate) struct Storm {
    record: Arc<Record>,
    callers: JoinSet<()>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) calls: usize,
    /// How often callers were told what: `OK`, or code and reason.
    pub(crate) told: BTreeMap<String, usize>,
    /// Every sentence that they were told.
    pub(crate) messages: BTreeSet<String>,
    /// The longest wait, and the deadline of that call.
    pub(crate) longest: (Duration, Duration),
    /// How many calls ended too long after their deadline.
    pub(crate) late: usize,
    pub(crate) wrong: usize,
}

/// What is known beside what callers were told, for the table.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// From the end of the fault to the first of many good answers.
    pub(crate) recovery: Option<Duration>,
    /// How many requests reached the API.
    pub(crate) requests: usize,
    pub(crate) sent_again: Option<u64>,
    pub(crate) health: String,
}

/// All calls, in the order in which they were made.
#[derive(Default)]
struct Record {
    calls: Mutex<Vec<Call>>,
    is_over: AtomicBool,
}

struct Call {
    began: Instant,
    deadline: Duration,
    end: Option<End>,
}

/// How a call ended.
struct End {
    took: Duration,
    told: String,
    message: String,
    is_wrong: bool,
}

// === impl Storm ===

impl Storm {
    pub(crate) fn begin(bridge: SocketAddr, callers: Callers) -> Self {
        let (record, callers) = (Arc::<Record>::default(), Arc::new(callers));
        let all = (0..CALLERS).map(|number| callers.clone().ask(bridge, number, record.clone()));
        Self { callers: JoinSet::from_iter(all), record }
    }

    /// Waits until those who ask from now on get good answers, and tells how long the first of them took to come.
    pub(crate) async fn is_well(&self) -> Duration {
        let now = Instant::now();
        self.record.shows("all is well", || Some(self.record.first_of_many_good(now)? - now)).await
    }

    /// Waits until callers have been told all of this.
    pub(crate) async fn tells(&self, all: &[&str]) {
        let has_told =
            |told: &BTreeMap<String, usize>| all.iter().all(|it| told.contains_key(*it)).then_some(());
        self.record.shows(&format!("{all:?}"), || has_told(&self.record.report().told)).await;
    }

    /// Ends it, after every call has ended.
    pub(crate) async fn end(self) -> Report {
        self.record.is_over.store(true, Ordering::SeqCst);
        self.callers.join_all().await;
        self.record.report()
    }
}

// === impl Callers ===

impl Callers {
    /// One caller.
    async fn ask(self: Arc<Self>, bridge: SocketAddr, number: usize, record: Arc<Record>) {
        let client: Client<HttpConnector, Body> =
            Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let mut shop = ProductServiceClient::with_origin(client, format!("http://{bridge}").parse().unwrap());
        let deadline = self.deadline.mul_f64(1.0 + MORE_TIME * number as f64);
        for round in 0.. {
            if record.is_over.load(Ordering::SeqCst) {
                return;
            }
            let id = self.id(number, round);
            let mut request = Request::new(GetProductRequest { id });
            request.set_timeout(deadline);
            let (call, began) = record.begin(deadline);
            let answer = timeout(HUNG, shop.get_product(request)).await;
            let answer = answer.unwrap_or_else(|_| Err(Status::unknown("it hangs")));
            record.end(call, End::of(&answer, began.elapsed(), |answer| (self.is_right)(id, answer)));
            sleep(self.pause.mul_f64(fastrand::f64())).await;
        }
    }

    fn id(&self, caller: usize, round: usize) -> i64 {
        let others = self.ids.len() - 1;
        if caller.is_multiple_of(2) {
            self.ids[0]
        } else {
            self.ids[1 + (caller * others / CALLERS + round) % others]
        }
    }
}

// === impl Record ===

impl Record {
    fn begin(&self, deadline: Duration) -> (usize, Instant) {
        let (mut calls, began) = (self.lock(), Instant::now());
        calls.push(Call { began, deadline, end: None });
        (calls.len() - 1, began)
    }

    fn end(&self, call: usize, end: End) {
        self.lock()[call].end = Some(end);
    }

    /// Waits until there is something to be found.
    async fn shows<T>(&self, what: &str, find: impl Fn() -> Option<T>) -> T {
        let found = async {
            loop {
                match find() {
                    Some(found) => return found,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("not {what}: {:#?}", self.report()))
    }

    /// When the first answer came of many in a row, by when they were asked for, that are good. A call that still waits
    /// ends the row.
    fn first_of_many_good(&self, since: Instant) -> Option<Instant> {
        let calls = self.lock();
        let calls: Vec<_> = calls.iter().filter(|call| call.began >= since).collect();
        let row = calls.windows(IN_A_ROW).find(|row| row.iter().all(|call| call.is_good()))?;
        row.iter().filter_map(|call| Some(call.began + call.end.as_ref()?.took)).min()
    }

    fn report(&self) -> Report {
        let calls = self.lock();
        let ended: Vec<_> =
            calls.iter().filter_map(|call| Some((call.deadline, call.end.as_ref()?))).collect();
        let mut told = BTreeMap::new();
        for (_, end) in &ended {
            *told.entry(end.told.clone()).or_default() += 1;
        }
        let longest = ended.iter().map(|(deadline, end)| (end.took, *deadline));
        Report {
            calls: calls.len(),
            told,
            messages: ended.iter().map(|(_, end)| end.message.clone()).collect(),
            longest: longest.max().unwrap_or_default(),
            late: ended.iter().filter(|(deadline, end)| end.took > *deadline + SLACK).count(),
            wrong: ended.iter().filter(|(_, end)| end.is_wrong).count(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap()
    }
}

// === impl Call ===

impl Call {
    fn is_good(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.told == "OK" && !end.is_wrong)
    }
}

// === impl End ===

impl End {
    fn of(
        answer: &Result<Response<GetProductResponse>, Status>,
        took: Duration,
        is_right: impl Fn(&GetProductResponse) -> bool,
    ) -> Self {
        match answer {
            Ok(answer) => {
                let is_wrong = !is_right(answer.get_ref());
                Self { took, told: "OK".to_owned(), message: String::new(), is_wrong }
            }
            Err(status) => {
                let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
                let told = format!("{} `{reason}`", name(status.code()));
                Self { took, told, message: status.message().to_owned(), is_wrong: false }
            }
        }
    }
}

// === impl Report ===

impl Report {
    /// What holds whatever happens: callers were told nothing but this, no answer is wrong, no call is forgotten, and no more
    /// was sent again than may be.
    pub(crate) fn is_sound(&self, may_be_told: &[&str], sent_again: u64) {
        let strange: Vec<_> = self.told.keys().filter(|told| !may_be_told.contains(&told.as_str())).collect();
        assert_eq!(strange, [""; 0], "{self:#?}");
        assert_eq!((self.wrong, self.late), (0, 0), "wrong and late: {self:#?}");
        assert!(sent_again <= self.calls as u64 / 5 + 10, "{sent_again} sent again: {self:#?}");
    }

    /// Prints it as a row of a table, and the head of the table before the first one.
    pub(crate) fn print(&self, what: &str, aside: &Aside) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| println!("\n{HEAD}"));
        let told: Vec<_> = self.told.iter().map(|(told, count)| format!("{count} {told}")).collect();
        let (longest, deadline) = self.longest;
        let recovery = aside.recovery.map_or("–".to_owned(), |time| format!("{} ms", time.as_millis()));
        let sent_again = aside.sent_again.map_or("–".to_owned(), |count| count.to_string());
        println!(
            "\n| {what} | {} | {} | {} ms of {deadline:?} | {} | {recovery} | {} | {sent_again} | {} |",
            self.calls,
            told.join(", "),
            longest.as_millis(),
            self.wrong,
            aside.requests,
            aside.health
        );
    }
}

/// The name of a code as the documents of gRPC have it.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        let is_next_word = letter.is_uppercase() && !name.is_empty();
        name.push_str(if is_next_word { "_" } else { "" });
        name.push(letter.to_ascii_uppercase());
    }
    name
}
