//! What goes with a request through the layers, and what comes back with its answer.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;

use super::Memo;
use crate::deadline::Deadline;

/// Who gives the API less time than this cannot complain of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the layers need to know of a request besides the request.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Which endpoint of the API it is for, counted from 0. What is learned of one (how slow it is, whether it fails)
    /// does not count for the others.
    pub endpoint: usize,
    /// When its caller gives up.
    pub deadline: Deadline,
    /// Whether it changes nothing (RFC 9110, section 9.2.1), although its method could.
    pub safe: bool,
    /// Whether sending it twice does no more than sending it once.
    pub repeatable: bool,
    /// How often its caller has tried before, as it says in `grpc-previous-rpc-attempts`.
    pub previous_attempts: u32,
    /// How long a good answer is served without asking again, whatever the API says of that.
    pub ttl: Option<Duration>,
    progress: Arc<Mutex<Progress>>,
}

/// How far a request has come.
#[derive(Debug, Default)]
struct Progress {
    /// When it was sent.
    sent: Option<Instant>,
    /// When its answer will be overdue.
    due: Option<Instant>,
    /// When it will be sent again.
    resumes: Option<Instant>,
    /// Whether its answer has begun to come.
    begun: bool,
}

/// An answer of the API, which may be shared with other callers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The answer.
    pub response: Arc<Response<Bytes>>,
    /// Where what is made of the answer can be kept beside it.
    pub memo: Arc<Memo>,
    /// How it was come by.
    pub served: Served,
}

/// How an answer was come by, in the terms of RFC 9211.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Not by way of the cache.
    Bypassed,
    /// From the cache, without a request.
    Hit {
        /// It is older than it should be.
        stale: bool,
    },
    /// By a request.
    Forwarded {
        /// The cache had an answer, and asked whether it is still good.
        revalidated: bool,
        /// The API said that it is (304).
        unmodified: bool,
        /// The answer was kept.
        stored: bool,
        /// Another caller's request was already on its way.
        collapsed: bool,
    },
}

// === impl Terms ===

impl Terms {
    /// The terms of a request that is sent once.
    pub fn new(endpoint: usize, deadline: Deadline) -> Self {
        Self {
            endpoint,
            deadline,
            safe: false,
            repeatable: false,
            previous_attempts: 0,
            ttl: None,
            progress: Arc::default(),
        }
    }

    /// The same for a request that may outlast its first caller.
    pub(super) fn detached(&self) -> Self {
        Self { deadline: self.deadline.detached(), progress: Arc::default(), ..self.clone() }
    }

    /// Notes that the request is sent now, and should be answered within this time.
    pub(super) fn request_leaves(&self, answered_within: Duration) {
        let (mut progress, now) = (self.progress(), Instant::now());
        (progress.sent, progress.due, progress.resumes) = (Some(now), Some(now + answered_within), None);
    }

    /// Notes that the answer has begun to come.
    pub(super) fn answer_begins(&self) {
        self.progress().begun = true;
    }

    /// Notes that this answer is not the one, and that the request will be sent again after a pause.
    pub(super) fn starts_over(&self, pause: Duration) {
        *self.progress() = Progress { resumes: Some(Instant::now() + pause), ..Progress::default() };
    }

    /// Whether the request will be sent again before then, or need not be.
    pub(super) fn resumes_before(&self, deadline: &Deadline) -> bool {
        self.progress().resumes.is_none_or(|resumes| resumes < deadline.at())
    }

    /// When the request was sent the last time.
    pub(super) fn sent(&self) -> Option<Instant> {
        self.progress().sent
    }

    /// Whether the answer has begun to come, so that it cannot know of what happens from now on.
    pub(super) fn has_begun(&self) -> bool {
        self.progress().begun
    }

    /// Whether the API has had more than enough time, and has not begun to answer.
    pub(super) fn is_overdue(&self) -> bool {
        self.progress().due.is_some_and(|due| due <= Instant::now())
    }

    /// Whether the API has had nearly all of the time, and enough of it.
    pub(super) fn waited_in_vain(&self) -> bool {
        let waited = self.sent().map(|sent| sent.elapsed()).unwrap_or_default();
        waited >= PATIENCE && self.deadline.left() <= waited / 10
    }

    /// Whether there is more time left than this.
    pub(super) fn has_time_for(&self, time: Duration) -> bool {
        self.deadline.left() > time
    }

    /// Whether everyone who waits for the answer has more time left than this.
    pub(super) fn all_have_time_for(&self, time: Duration) -> bool {
        self.deadline.left_for_all() > time
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Served ===

/// The parameters of a `Cache-Status` header.
impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bypassed => f.write_str("fwd=bypass"),
            Self::Hit { stale: false } => f.write_str("hit"),
            Self::Hit { stale: true } => f.write_str("hit; detail=stale"),
            Self::Forwarded { revalidated, unmodified, stored, collapsed } => {
                f.write_str(if *revalidated { "fwd=stale" } else { "fwd=uri-miss" })?;
                for (is, parameter) in
                    [(*unmodified, "; fwd-status=304"), (*stored, "; stored"), (*collapsed, "; collapsed")]
                {
                    f.write_str(if is { parameter } else { "" })?;
                }
                Ok(())
            }
        }
    }
}
