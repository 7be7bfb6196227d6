//! An API of products over a raw socket, whose mood changes while it is being asked.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};

use super::{RawApi, read_head};

/// How long an answer takes while all is well: a quick action of Rails.
const WORK: Duration = Duration::from_millis(4);
/// The pause after each byte of an API that trickles.
const DRIP: Duration = Duration::from_secs(1);

/// What the API does with each request, those of the health probe included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers.
    Well,
    /// It takes the request and never answers; what hangs goes on hanging when the mood has changed.
    Hanging,
    /// A whole head, and then one byte of the body a second.
    Trickling,
    /// Half of the body, and then a reset of the connection.
    Resetting,
    /// Half of the body that is promised, and then it goes on with the next request on the connection.
    Halving,
    /// 500, in the way of Rails.
    Failing,
    /// 503 with a pause of a second.
    Maintained,
}

/// The API.
pub(crate) struct MoodyApi {
    address: SocketAddr,
    served: Arc<Served>,
    /// What serves while it lives.
    up: Option<RawApi>,
    /// What keeps its port while it is dead, so that nobody else gets it; it refuses connections.
    down: Option<TcpSocket>,
}

struct Served {
    mood: watch::Sender<Mood>,
    requests: AtomicUsize,
}

// === impl MoodyApi ===

impl MoodyApi {
    /// One that is well.
    pub(crate) async fn start() -> Self {
        let served = Arc::new(Served { mood: watch::Sender::new(Mood::Well), requests: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, up: Some(served.clone().on(listener)), down: None, served }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have come, without those of the health probe.
    pub(crate) fn requests(&self) -> usize {
        self.served.requests.load(Ordering::SeqCst)
    }

    /// What it does from the next request on.
    pub(crate) fn becomes(&self, mood: Mood) {
        self.served.mood.send_replace(mood);
    }

    /// Breaks every connection; new ones are refused.
    pub(crate) async fn dies(&mut self) {
        self.up.take().expect("it lives").dies().await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.down = Some(socket);
    }

    /// Takes connections again, at the same port.
    pub(crate) fn rises(&mut self) {
        let listener = self.down.take().expect("it is dead").listen(1024).unwrap();
        self.up = Some(self.served.clone().on(listener));
    }
}

// === impl Served ===

impl Served {
    fn on(self: Arc<Self>, listener: TcpListener) -> RawApi {
        RawApi::listening(listener, move |stream, head| self.clone().serve(stream, head))
    }

    /// One connection, request by request.
    async fn serve(self: Arc<Self>, stream: TcpStream, first: String) {
        let (mut stream, mut head) = (BufReader::new(stream), Some(first));
        while let Some(asked) = head.take() {
            if !asked.starts_with("GET / ") {
                self.requests.fetch_add(1, Ordering::SeqCst);
            }
            if self.answer(stream.get_mut(), &asked).await.is_err() {
                return;
            }
            head = read_head(&mut stream).await;
        }
    }

    /// Answers in the mood of the moment, or ends the connection.
    async fn answer(&self, stream: &mut TcpStream, asked: &str) -> std::io::Result<()> {
        let (mood, body) = (*self.mood.borrow(), product(asked));
        let half = &body[..body.len() / 2];
        let well = head("200 OK", "content-type: application/json\r\n", body.len());
        match mood {
            Mood::Well => {
                sleep(WORK).await;
                stream.write_all(format!("{well}{body}").as_bytes()).await
            }
            Mood::Hanging => std::future::pending().await,
            Mood::Trickling => {
                stream.write_all(well.as_bytes()).await?;
                for byte in body.bytes() {
                    stream.write_all(&[byte]).await?;
                    sleep(DRIP).await;
                }
                Ok(())
            }
            Mood::Resetting => {
                stream.write_all(format!("{well}{half}").as_bytes()).await?;
                // What has been sent is to arrive before the reset, which would overtake it.
                sleep(WORK).await;
                stream.set_zero_linger()?;
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
            Mood::Halving => stream.write_all(format!("{well}{half}").as_bytes()).await,
            Mood::Failing => stream.write_all(refusal("500 Internal Server Error", "").as_bytes()).await,
            Mood::Maintained => {
                stream.write_all(refusal("503 Service Unavailable", "retry-after: 1\r\n").as_bytes()).await
            }
        }
    }
}

/// The product that is asked for. Each is unlike all others, so that an answer to another question shows.
fn product(asked: &str) -> String {
    let id = asked.split(' ').nth(1).and_then(|path| path.strip_prefix("/products/")).unwrap_or("0");
    let reviews: Vec<_> =
        (1..=8).map(|n| format!(r#"{{"id":{id}{n},"name":"Review {n} of {id}"}}"#)).collect();
    format!(r#"{{"product":{{"title":"Product {id}","price":"{id}.50","reviews":[{}]}}}}"#, reviews.join(","))
}

fn head(status: &str, headers: &str, length: usize) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n")
}

/// An error with the headers that Rails always sends.
fn refusal(status: &str, headers: &str) -> String {
    head(status, &format!("x-request-id: a\r\nx-runtime: 0.001\r\n{headers}"), 0)
}
