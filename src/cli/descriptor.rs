//! `descriptor`: the contract as a file for other tools.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Exit,
    input::Input,
    reader::{self, Faults, Reader, any_path},
    settings::{FileSettings, SourceSettings},
};

/// Write the contract as a FileDescriptorSet: what API Gateway and grpcurl -protoset take
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write
    #[arg(long, env = "BRIDGE_OUT", value_parser = any_path(), value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    file: FileSettings,
    #[command(flatten)]
    source: SourceSettings,
}

pub(super) fn run(args: &Args, input: &Input<'_>) -> Result<Exit, Faults> {
    let settings = reader::both(args.file.check(input), args.out(input));
    let (((), out), contract) = reader::both(settings, args.source.contract(input))?;
    Ok(match fs::write(out, contract.descriptor_set()) {
        Ok(()) => Exit::Clean,
        Err(error) => Exit::Failed(format!("cannot write {}: {error}", out.display())),
    })
}

// === impl Args ===

impl Args {
    /// The file to write.
    fn out(&self, input: &Input<'_>) -> Result<&Path, Faults> {
        let mut read = Reader::new(input);
        read.path("out", Some(&self.out), "name the file to write").ok_or(read.faults)
    }
}
