//! The harness: an API that answers as it is told, a bridge before it, and clients.

mod api;
mod bridge;
mod kitchen;
mod program;

pub(crate) use self::{
    api::{Api, RawApi, Seen, http2_api, json, read_head, tls_api},
    bridge::{Bridge, details, reason},
    kitchen::Kitchen,
    program::{Ended, Program},
};
