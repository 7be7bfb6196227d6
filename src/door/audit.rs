//! A line for every caller who was not let in.

use std::net::{IpAddr, SocketAddr};

use crate::log_limit::LogLimit;

/// The target of the lines, to be kept apart from others.
const TARGET: &str = "audit";
/// So many lines are written a second; what is more is counted.
const MOST: u32 = 100;

/// Writes the lines.
#[derive(Debug)]
pub struct Audit {
    limit: LogLimit,
}

/// Who was not let in, and why.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// Who is connected.
    pub peer: Option<SocketAddr>,
    /// Where it came from, if proxies are trusted to tell that.
    pub client: Option<IpAddr>,
    /// What it wanted.
    pub method: &'a str,
    /// The id of its call.
    pub request_id: &'a str,
    /// Why not, for programs.
    pub reason: &'a str,
    /// Who it seems to be.
    pub who: &'a str,
}

impl Audit {
    /// Writes a line, if there were not too many of late.
    pub fn refused(&self, refused: &Refused<'_>) {
        let Some(left_out) = self.limit.admit() else { return };
        if left_out > 0 {
            tracing::warn!(target: TARGET, left_out, "callers were not let in of whom there is no line");
        }
        let Refused { peer, client, method, request_id, reason, who } = refused;
        let (peer, client) = (peer.map(|peer| peer.to_string()), client.map(|client| client.to_string()));
        tracing::warn!(target: TARGET, peer, client, method, request_id, reason, who, "not let in: {reason}");
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { limit: LogLimit::per_second(MOST) }
    }
}
