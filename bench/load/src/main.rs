//! The callers of `bench/upstream`, `bench/soak` and `bench/door`.
//!
//! [`closed`] lets a fixed number of callers call, each as soon as its last call has ended; [`overload`] lets calls come at
//! a fixed rate, whatever becomes of them; [`soak`] lets callers of every kind call for as long as they are told. A [`call`] goes through a [`client`], over [`rest`] or over [`grpc`], which may have
//! [`metadata`], its
//! answer is held against the [`answers`] that the API gives, and what came of it is noted in a [`tally`]. The result is
//! one JSON document on stdout.
//!
//! One thread is enough for it: what it takes of the processor is told by `bench/upstream/run`.

mod answers;
mod call;
mod client;
mod closed;
mod grpc;
mod metadata;
mod overload;
mod rest;
mod soak;
mod tally;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};

use crate::answers::Answers;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Calls the shop over and over, and tells how it went.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    expected: Expected,
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, clap::Args)]
struct Expected {
    /// What the API itself answers: a JSON object of path to body
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    /// The contract as a set of descriptors
    #[arg(long, value_name = "FILE")]
    descriptor_set: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Callers that wait for each answer before they call again
    Closed(closed::Plan),
    /// Calls that come at a fixed rate, and how long it takes until all is well again
    Overload(overload::Plan),
    /// Callers of every kind, in phases: a line on stdin names the next one, and the end of stdin ends the last
    Soak(soak::Plan),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("load: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<String, Fault> {
    let answers = Arc::new(Answers::read(&arguments.expected.answers, &arguments.expected.descriptor_set)?);
    Ok(match arguments.load {
        Load::Closed(plan) => serde_json::to_string(&closed::run(&plan, &answers).await?)?,
        Load::Overload(plan) => serde_json::to_string(&overload::run(&plan, &answers).await?)?,
        Load::Soak(plan) => serde_json::to_string(&soak::run(&plan, &answers).await?)?,
    })
}
