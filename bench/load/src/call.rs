//! What can be called, and how it is said over REST and over gRPC.

use bytes::Bytes;
use fastrand::Rng;
use prost::Message;

/// How long the API sleeps in a slow call, in seconds, as its path has it.
const SLOWNESS: &str = "0.5";

/// One call of the contract `bench.v1.Shop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    /// With a mark, no other call has the same request; 0 is none.
    Get {
        id: i64,
        mark: u32,
    },
    Slow {
        id: i64,
    },
}

// === impl Call ===

impl Call {
    /// A product at random, which may be asked for by others at the same time.
    pub(crate) fn any(random: &mut Rng, ids: &[i64]) -> i64 {
        random.choice(ids).copied().unwrap_or_default()
    }

    /// A call for a product at random, by a request like no other.
    pub(crate) fn distinct(random: &mut Rng, ids: &[i64]) -> Self {
        Self::Get { id: Self::any(random, ids), mark: random.u32(1..) }
    }

    /// The name of the method.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::List => "List",
            Self::Get { .. } => "Get",
            Self::Slow { .. } => "Slow",
        }
    }

    /// The full name of the message that answers it.
    pub(crate) fn answer_type(self) -> &'static str {
        match self {
            Self::List => "bench.v1.ListResponse",
            Self::Get { .. } | Self::Slow { .. } => "bench.v1.GetResponse",
        }
    }

    /// The path of the request to the API.
    pub(crate) fn rest_path(self) -> String {
        match self {
            Self::List | Self::Get { mark: 0, .. } => self.resource(),
            Self::Get { mark, .. } => format!("{}?mark={mark}", self.resource()),
            Self::Slow { .. } => format!("/faults/slow/{SLOWNESS}{}", self.resource()),
        }
    }

    /// The path of what is asked for: a slow call has the same answer as a fast one.
    pub(crate) fn resource(self) -> String {
        match self {
            Self::List => "/products".to_owned(),
            Self::Get { id, .. } | Self::Slow { id } => format!("/products/{id}"),
        }
    }

    /// The request message.
    pub(crate) fn message(self) -> Bytes {
        let bytes = match self {
            Self::List => Vec::new(),
            Self::Get { id, mark: 0 } => GetRequest { id, mark: String::new() }.encode_to_vec(),
            Self::Get { id, mark } => GetRequest { id, mark: mark.to_string() }.encode_to_vec(),
            Self::Slow { id } => SlowRequest { seconds: SLOWNESS.to_owned(), id }.encode_to_vec(),
        };
        bytes.into()
    }
}

#[derive(Message)]
struct GetRequest {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(string, tag = "2")]
    mark: String,
}

#[derive(Message)]
struct SlowRequest {
    #[prost(string, tag = "1")]
    seconds: String,
    #[prost(int64, tag = "2")]
    id: i64,
}
