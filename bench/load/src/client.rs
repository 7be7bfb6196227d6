//! One way to the shop: straight to the API, or by gRPC through what stands before it.

use std::{borrow::Cow, error::Error, sync::Arc, time::Duration};

use clap::ValueEnum;
use tokio::time::timeout;

use crate::{Fault, answers::Answers, call::Call, grpc, metadata::Metadata, rest};

/// Why a call failed, as it is counted: a gRPC code and the reason that comes with it, an HTTP status, or what broke.
pub(crate) type Failure = Cow<'static, str>;

/// An answer that is not what the API says.
pub(crate) const WRONG: Failure = Cow::Borrowed("wrong answer");
/// What expired calls are counted as, whoever noticed first.
pub(crate) const EXPIRED: Failure = Cow::Borrowed("DEADLINE_EXCEEDED");

/// What a call is counted as that ended without an answer, for whatever the connection met with.
pub(crate) fn broken(error: impl Into<Fault>) -> Failure {
    let error = error.into();
    let mut cause: &dyn Error = &*error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    format!("broken off: {cause}").into()
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Rest,
    Grpc,
}

/// One caller's client.
#[derive(Debug)]
pub(crate) struct Client {
    way: Way,
    answers: Arc<Answers>,
    deadline: Duration,
}

#[derive(Debug)]
enum Way {
    Rest(rest::Connection),
    /// Shared with other callers.
    Grpc(Arc<grpc::Connection>),
}

// === impl Client ===

impl Client {
    /// Gives each caller its client: with a connection of its own for REST, and with one of `connections` for gRPC.
    pub(crate) async fn connect(
        protocol: Protocol,
        address: &str,
        callers: usize,
        connections: usize,
        deadline: Duration,
        answers: &Arc<Answers>,
        metadata: &Metadata,
    ) -> Result<Vec<Self>, Fault> {
        let ways = match protocol {
            Protocol::Rest => rest_ways(address, callers).await?,
            Protocol::Grpc => grpc_ways(address, callers, connections, metadata).await?,
        };
        let client = |way| Self { way, answers: Arc::clone(answers), deadline };
        Ok(ways.into_iter().map(client).collect())
    }

    /// Calls once, and says what went wrong if the answer is not the right one in time.
    pub(crate) async fn call(&self, call: Call) -> Result<(), Failure> {
        timeout(self.deadline, self.call_whole(call)).await.unwrap_or(Err(EXPIRED))
    }

    async fn call_whole(&self, call: Call) -> Result<(), Failure> {
        let right = match &self.way {
            Way::Rest(connection) => {
                let body = connection.call(call).await?;
                self.answers.is_right_json(call, &body)
            }
            Way::Grpc(connection) => {
                let message = connection.call(call, self.deadline).await?;
                self.answers.is_right_message(call, &message)
            }
        };
        if right { Ok(()) } else { Err(WRONG) }
    }
}

async fn rest_ways(address: &str, callers: usize) -> Result<Vec<Way>, Fault> {
    let mut ways = Vec::new();
    for _ in 0..callers {
        ways.push(Way::Rest(rest::Connection::open(address).await?));
    }
    Ok(ways)
}

async fn grpc_ways(
    address: &str,
    callers: usize,
    connections: usize,
    metadata: &Metadata,
) -> Result<Vec<Way>, Fault> {
    let mut shared = Vec::new();
    for _ in 0..connections.min(callers) {
        shared.push(Arc::new(grpc::Connection::open(address).await?.with(metadata)));
    }
    Ok(shared.iter().cycle().take(callers).map(|connection| Way::Grpc(Arc::clone(connection))).collect())
}
