//! The behaviour of the bridge over real sockets: a real gRPC client before it, a real HTTP server behind.
//!
//! One binary, one topic a module.

// Tests say what they expect by failing; clippy's exception for tests does not reach helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

/// What a JSON answer becomes, field by field, and what is said when it does not fit.
mod answers;
/// Contracts beyond the shop's, over sockets.
mod any_contract;
/// What strangers do to hurt, and how honest callers fare meanwhile.
mod attacks;
/// The connections of callers: their age, whether somebody is there, and how many calls are taken.
mod callers;
/// Everything that an API can do wrong, under load, and what its callers are told meanwhile.
mod chaos;
/// What a gRPC client expects of any server: health, reflection, limits, compression, deadlines.
mod citizen;
/// The commands that look at a contract, as a process.
mod commands;
/// Which contracts are refused, and how that is told.
mod contract;
/// The transcoder beside the reference implementation, on messages that nobody thought of.
mod differential;
/// Who may call what: API keys, and what each method requires.
mod door;
/// What a caller is told when the API says no, or nothing, or nonsense.
mod errors;
/// Inputs that fuzzing has found.
mod found;
/// Which headers pass, and in which direction.
mod headers;
/// HTTP rules by the cases that public projects test theirs with.
mod http_rule;
/// The bridge's own ID token, which it gets from Google's metadata server.
mod id_token;
/// Bearer tokens of several issuers, and what is theirs alone.
mod issuers;
/// The structure of the source: who may use whom.
mod layout;
/// Which REST request a message becomes.
mod mapping;
/// Every policy before every kind of caller, and all of it renewed under load.
mod matrix;
/// The program: its command line, its logs, how it starts and stops.
mod process;
/// What protects the API, and what its callers notice of that.
mod protection;
/// A public API of many methods, every one of them called.
mod pubsub;
/// Where settings come from: flags, variables, a file, and secrets, which have neither flag nor line.
mod settings;
/// Rates that replicas share, and every way in which the Redis for that can fail.
mod shared_rates;
/// The shop through its typed stubs.
mod shop;
/// Who comes and does no good: silent, slow, or too many.
mod strangers;
/// TLS towards callers, with and without certificates of theirs.
mod tls;
/// Bearer tokens of an issuer, good and bad.
mod tokens;
/// How the API is talked to, and every way in which that can fail.
mod upstream;
/// What a gateway tells of its callers, and who is believed that is none.
mod userinfo;
