//! The harness: an API that answers as it is told, a bridge before it, and clients.

mod api;
mod bridge;
mod clock;
mod faulty_redis;
mod issuer;
mod kitchen;
mod metadata;
mod moody;
mod pki;
mod program;
mod tap;

pub(crate) use self::{
    api::{Api, RawApi, Seen, http2_api, json, read_head, tls_api},
    bridge::{Bridge, Builder, details, list, raw_call, reason},
    clock::Clock,
    faulty_redis::{FaultyRedis, Manners},
    issuer::{Issuer, Signer, now, unsigned, with},
    kitchen::Kitchen,
    metadata::{Gives, MetadataServer},
    moody::{Mood, MoodyApi},
    pki::{Authority, Files},
    program::{Ended, Program},
    tap::{Caller, Frame, Tap},
};
