//! `descriptor`: the contract as a file for other tools.

use std::{fs, path::PathBuf};

use clap::ArgMatches;

use super::{Exit, reader::Faults, source::SourceSettings};

/// Write the contract as a FileDescriptorSet: what API Gateway and grpcurl -protoset take
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write
    #[arg(long, env = "BRIDGE_OUT", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    source: SourceSettings,
}

pub(super) fn run(args: &Args, matches: &ArgMatches) -> Result<Exit, Faults> {
    let contract = args.source.contract(matches)?;
    Ok(match fs::write(&args.out, contract.descriptor_set()) {
        Ok(()) => Exit::Clean,
        Err(error) => Exit::Failed(format!("cannot write {}: {error}", args.out.display())),
    })
}
