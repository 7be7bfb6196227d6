//! What is asked of a caller before work starts: tower layers that answer themselves or pass on.
//!
//! They all have the same shape (`XLayer` makes `X` around an `inner`), speak the body type of axum, which
//! tonic's router is built on, and never fail: what goes wrong is an answer. Their order, with the reasons,
//! stands in `app.rs`.

mod access_log;
mod admit;
mod catch_panic;
mod content_type;
mod deadline;
mod in_flight;
mod share;

use std::{convert::Infallible, future::Future, pin::Pin};

use axum::body::Body;
use http::Response;

pub use self::{
    access_log::{AccessLog, AccessLogLayer},
    admit::{Admit, AdmitLayer},
    catch_panic::{CatchPanic, CatchPanicLayer},
    content_type::{ContentType, ContentTypeLayer},
    deadline::{Deadline, DeadlineLayer},
    in_flight::{InFlight, InFlightLayer},
    share::{Share, ShareLayer},
};

/// What every layer's service answers with.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
