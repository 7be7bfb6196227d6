use http_body_util::{BodyExt, StreamBody};
use tokio_stream::iter;

use super::*;

fn response(pieces: &[usize]) -> Response<Body> {
    let frames: Vec<Result<_, axum::Error>> =
        pieces.iter().map(|length| Ok(Frame::data(Bytes::from(vec![7; *length])))).collect();
    let trailers = Ok(Frame::trailers(http::HeaderMap::new()));
    Response::new(Body::new(StreamBody::new(iter(frames.into_iter().chain([trailers])))))
}

struct Handed {
    body: Body,
    pace: Arc<Pace>,
    ledger: Arc<Ledger>,
    place: std::sync::Weak<()>,
}

fn handed(response: Response<Body>) -> Handed {
    let (pace, ledger, place) = (Arc::<Pace>::default(), Arc::<Ledger>::default(), Arc::new(()));
    let weak = Arc::downgrade(&place);
    pace.held().keep(place);
    let body = in_pieces(response, pace.clone(), ledger.clone()).into_body();
    Handed { body, pace, ledger, place: weak }
}

impl Handed {
    async fn frame(&mut self) -> Option<Frame<Bytes>> {
        self.body.frame().await.map(Result::unwrap)
    }

    async fn data(&mut self) -> Bytes {
        self.frame().await.unwrap().into_data().unwrap()
    }

    fn is_held(&self) -> bool {
        self.place.strong_count() > 0
    }
}

#[tokio::test]
async fn the_places_of_a_call_are_free_when_its_end_is_seen_and_its_answer_written() {
    let mut answer = handed(response(&[6]));
    let data = answer.data().await;
    assert!(answer.frame().await.unwrap().is_trailers());
    assert!(answer.is_held());
    drop(data);
    assert!(!answer.is_held());

    let mut written_first = handed(response(&[6]));
    drop(written_first.data().await);
    assert!(written_first.is_held());
    written_first.frame().await.unwrap();
    assert!(!written_first.is_held());
}

#[tokio::test]
async fn an_answer_without_a_body_holds_nothing() {
    assert!(!handed(Response::new(Body::empty())).is_held());
}

#[tokio::test]
async fn a_long_answer_is_handed_over_in_pieces_and_ends_when_they_are_written() {
    let mut answer = handed(response(&[2 * PIECE_BYTES + 1, 5]));
    let mut pieces = Vec::new();
    for expected in [PIECE_BYTES, PIECE_BYTES, 1, 5] {
        let piece = answer.data().await;
        assert_eq!(piece, vec![7; expected]);
        pieces.push(piece);
    }
    let mut end = end_of(answer);
    assert!(end.poll().is_pending());
    pieces.truncate(1);
    assert!(end.poll().is_pending());
    pieces.clear();
    assert!(end.is_woken());
    assert!(end.poll().is_ready());
}

/// The end of an answer, and whether it has called.
struct PolledEnd {
    answer: Handed,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn end_of(answer: Handed) -> PolledEnd {
    PolledEnd { answer, woken: Arc::default() }
}

impl PolledEnd {
    fn poll(&mut self) -> Poll<()> {
        let waker = self.woken.clone().into();
        let polled = Pin::new(&mut self.answer.body).poll_frame(&mut Context::from_waker(&waker));
        polled.map(|frame| assert!(frame.unwrap().unwrap().is_trailers()))
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_piece_that_is_never_written_is_stuck_after_some_spans_of_time() {
    let mut answer = handed(response(&[6, 6]));
    assert!(!answer.ledger.next_span());
    let (_kept, written) = (answer.data().await, answer.data().await);
    drop(written);
    let spans = (0..20).take_while(|_| !answer.ledger.next_span()).count();
    assert_eq!(spans, STUCK_AFTER);
    assert!(!answer.pace.is_written());
}

#[tokio::test]
async fn what_is_written_in_time_is_not_stuck_however_much_it_is() {
    let mut answer = handed(response(&[1; 100]));
    for _ in 0..50 {
        let _two = (answer.data().await, answer.data().await);
        assert!(!answer.ledger.next_span());
    }
}
