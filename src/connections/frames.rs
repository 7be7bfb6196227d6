//! What a caller sends, frame by frame (RFC 9113, section 4), so that one who sends frames only to be a burden is known.
//!
//! A frame costs the bridge about the same whatever it is for, and answers of its own (PING, SETTINGS) cost it more than
//! they cost its caller. So what carries something (a call, data) earns frames that carry nothing, and what is more than
//! earned is taken from an allowance that comes back with time. What a caller calls and takes back (CVE-2023-44487) has an
//! allowance too, for the API may have begun with it.

use std::time::Duration;

use tokio::time::Instant;

use crate::door::Rate;

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// A call earns the frames that go with it: its end, the windows for its answer, the settings before it.
const EARNED_BY_CALL: u32 = 8;
/// So many bytes of data, either way, earn one frame. Windows are opened for far more at a time.
const BYTES_THAT_EARN: usize = 1024;
/// Nobody saves more than that.
const MOST_EARNED: u32 = 4096;

/// The frames of one connection, counted as they come.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    head: [u8; HEAD_BYTES],
    overhead: Allowance,
    resets: Allowance,
    /// Frames that were earned by what was carried.
    earned: u32,
    /// Bytes of data that have not earned one yet.
    carried: usize,
    has_begun: bool,
    /// When the last call began, or the connection.
    last_call: Instant,
    flood: Option<Flood>,
}

/// Where in the stream the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So many bytes before the first frame.
    Preface(usize),
    /// So many bytes into the head of a frame.
    Head(usize),
    /// So many bytes before the next head.
    Payload(usize),
}

/// What is too much on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flood {
    /// Frames that carry nothing.
    #[error("more frames that carry nothing than --max-overhead-frames allows")]
    Overhead,
    /// Calls that are taken back.
    #[error("more calls taken back than --max-stream-resets allows")]
    Resets,
}

/// So many at once, and as many again in a span of time.
#[derive(Debug)]
struct Allowance {
    most: u32,
    span: Duration,
    left: u32,
    since: Instant,
}

// === impl Frames ===

impl Frames {
    pub(super) fn new(overhead: Rate, resets: Rate) -> Self {
        let now = Instant::now();
        Self {
            place: Place::Preface(PREFACE_BYTES),
            head: [0; HEAD_BYTES],
            overhead: Allowance::new(overhead, now),
            resets: Allowance::new(resets, now),
            earned: 0,
            carried: 0,
            has_begun: false,
            last_call: now,
            flood: None,
        }
    }

    /// Notes what has come, and stays with the first thing that is too much.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let noted = self.note(bytes);
        self.flood = self.flood.or(noted.err());
        noted
    }

    /// What was too much, if something was.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood
    }

    fn note(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        let mut noted = Ok(());
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Preface(left) | Place::Payload(left) => {
                    let skipped = (*left).min(bytes.len());
                    *left -= skipped;
                    bytes = &bytes[skipped..];
                    if *left == 0 {
                        self.place = Place::Head(0);
                    }
                }
                Place::Head(got) => {
                    let taken = (HEAD_BYTES - *got).min(bytes.len());
                    self.head[*got..*got + taken].copy_from_slice(&bytes[..taken]);
                    *got += taken;
                    bytes = &bytes[taken..];
                    if *got == HEAD_BYTES {
                        noted = noted.and(self.frame());
                    }
                }
            }
        }
        noted
    }

    /// Notes that so many bytes were sent.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.carry(bytes);
    }

    /// Whether the caller has begun to speak HTTP/2: the head of its first frame is here.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// When the last call began, or the connection if none has.
    pub(super) fn last_call(&self) -> Instant {
        self.last_call
    }

    /// The head of a frame is complete.
    fn frame(&mut self) -> Result<(), Flood> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        self.has_begun = true;
        let [a, b, c, kind, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        self.place = if length == 0 { Place::Head(0) } else { Place::Payload(length) };
        match kind {
            HEADERS => {
                self.last_call = Instant::now();
                self.earned = (self.earned + EARNED_BY_CALL).min(MOST_EARNED);
                Ok(())
            }
            DATA if length >= BYTES_THAT_EARN => {
                self.carry(length);
                Ok(())
            }
            RST_STREAM => self.resets.take().then_some(()).ok_or(Flood::Resets),
            _ if self.earned > 0 => {
                self.earned -= 1;
                Ok(())
            }
            _ => self.overhead.take().then_some(()).ok_or(Flood::Overhead),
        }
    }

    fn carry(&mut self, bytes: usize) {
        self.carried += bytes;
        let earned = u32::try_from(self.carried / BYTES_THAT_EARN).unwrap_or(MOST_EARNED);
        self.carried %= BYTES_THAT_EARN;
        self.earned = self.earned.saturating_add(earned).min(MOST_EARNED);
    }
}

// === impl Allowance ===

impl Allowance {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { most: rate.calls(), span: rate.span(), left: rate.calls(), since: now }
    }

    /// Takes one. The clock is looked at only when there seems to be none left.
    fn take(&mut self) -> bool {
        if self.left == 0 {
            let now = Instant::now();
            let share = (now - self.since).as_secs_f64() / self.span.as_secs_f64();
            // As much as comes back in that time, and never more than there is.
            let back = (share.min(1.0) * f64::from(self.most)).floor();
            if back < 1.0 {
                return false;
            }
            (self.left, self.since) = (to_u32(back), now);
        }
        self.left -= 1;
        true
    }
}

/// A number that is whole, and not larger than any that a rate can have.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and u32::MAX")]
fn to_u32(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const RESET: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    const CALL: [u8; 9] = [0, 0, 0, 1, 4, 0, 0, 0, 1];

    fn begun() -> Frames {
        let mut frames = Frames::new("10/min".parse().unwrap(), "3/min".parse().unwrap());
        frames.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_are_too_many_until_time_has_passed() {
        let mut frames = begun();
        for _ in 0..10 {
            assert_eq!(frames.read(&PING), Ok(()));
        }
        assert_eq!(frames.read(&PING), Err(Flood::Overhead));
        tokio::time::advance(Duration::from_secs(12)).await;
        assert_eq!((frames.read(&PING), frames.read(&PING)), (Ok(()), Ok(())));
        assert_eq!(frames.read(&PING), Err(Flood::Overhead));
        tokio::time::advance(Duration::from_secs(3600)).await;
        let more = (0..20).take_while(|_| frames.read(&PING).is_ok()).count();
        assert_eq!(more, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_carried_earns_frames() {
        let mut frames = begun();
        frames.read(&CALL).unwrap();
        frames.wrote(3 * BYTES_THAT_EARN + 1);
        let expected = EARNED_BY_CALL + 3 + 10;
        let allowed = (0..100).take_while(|_| frames.read(&PING).is_ok()).count();
        assert_eq!(allowed, expected as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_taken_back_have_an_allowance_of_their_own() {
        let mut frames = begun();
        let allowed =
            (0..100).take_while(|_| frames.read(&CALL).and_then(|()| frames.read(&RESET)) == Ok(())).count();
        assert_eq!((allowed, frames.read(&RESET)), (3, Err(Flood::Resets)));
        frames.read(&PING).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_has_begun_with_the_head_of_the_first_frame() {
        let mut frames = Frames::new("10/min".parse().unwrap(), "3/min".parse().unwrap());
        let whole = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        for (index, byte) in whole.iter().enumerate() {
            assert!(!frames.has_begun(), "{index}");
            frames.read(&[*byte]).unwrap();
        }
        assert!(frames.has_begun());
    }

    proptest! {
        /// However the bytes are cut, the frames are the same.
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(1..40_usize, 1..60), pings in 0..30_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let _guard = runtime.enter();
            let mut whole = CALL.to_vec();
            for _ in 0..pings {
                whole.extend_from_slice(&PING);
            }
            let (mut at_once, mut in_parts) = (begun(), begun());
            let expected = at_once.read(&whole);
            let mut rest = &whole[..];
            let mut found = Ok(());
            for cut in cuts.iter().cycle() {
                let (part, more) = rest.split_at((*cut).min(rest.len()));
                found = found.and_then(|()| in_parts.read(part));
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
