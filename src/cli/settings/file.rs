//! The file that the other settings may stand in.

use std::path::PathBuf;

use crate::cli::{
    input::Input,
    reader::{Faults, Reader, any_path},
};

/// The setting that names the file of settings.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FileSettings {
    /// A TOML file of settings by the names of flags, such as upstream-timeout = "10s"; flags and variables win over it
    #[arg(long, env = "BRIDGE_CONFIG", value_parser = any_path(), value_name = "FILE")]
    config: Option<PathBuf>,
}

// === impl FileSettings ===

impl FileSettings {
    /// Tells what is wrong with the file, beside the values that are read by their settings.
    pub(in crate::cli) fn check(&self, input: &Input<'_>) -> Result<(), Faults> {
        let mut read = Reader::new(input);
        read.path("config", self.config.as_deref(), "name the TOML file of settings");
        read.faults.faults.extend_from_slice(input.file.faults());
        if read.faults.is_empty() { Ok(()) } else { Err(read.faults) }
    }
}
