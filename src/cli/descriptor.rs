//! `descriptor`: the contract as a file for other tools.

use std::{fs, path::PathBuf};

use super::Exit;
use crate::contract::Contract;

/// Write the contract as a FileDescriptorSet: what API Gateway and grpcurl -protoset take
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write
    #[arg(long, env = "BRIDGE_OUT", value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Exit {
    match fs::write(&args.out, Contract::embedded().descriptor_set()) {
        Ok(()) => Exit::Clean,
        Err(error) => Exit::Failed(format!("cannot write {}: {error}", args.out.display())),
    }
}
