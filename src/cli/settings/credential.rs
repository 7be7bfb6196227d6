//! What the bridge proves itself by to the API.

use std::path::{Path, PathBuf};

use crate::{
    cli::reader::{Reader, any_path},
    config::CredentialConfig,
    upstream,
};

/// The settings that are secrets themselves. Each is a variable alone: whatever stands on a command line is read by all
/// processes of the machine.
pub(in crate::cli) const SECRETS: [&str; 2] = ["upstream_bearer", "upstream_basic"];

/// How to mend a token, and a name with its password.
const TOKEN: &str = "write the token alone";
const PAIR: &str = "write NAME:PASSWORD";

/// The settings of the bridge's own credential.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Upstream")]
pub(super) struct CredentialSettings {
    /// The file of the bearer token that the bridge proves itself by to the API, or the token itself in the variable
    /// BRIDGE_UPSTREAM_BEARER [default: nothing]
    #[arg(long, env = "BRIDGE_UPSTREAM_BEARER_FILE", value_parser = any_path(), value_name = "FILE")]
    upstream_bearer_file: Option<PathBuf>,
    /// The file of NAME:PASSWORD that it proves itself by, or these themselves in the variable BRIDGE_UPSTREAM_BASIC
    #[arg(long, env = "BRIDGE_UPSTREAM_BASIC_FILE", value_parser = any_path(), value_name = "FILE")]
    upstream_basic_file: Option<PathBuf>,
}

// === impl CredentialSettings ===

impl CredentialSettings {
    /// The one credential that there is, if there is one.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<CredentialConfig> {
        let (bearer, basic) = (self.upstream_bearer_file.as_deref(), self.upstream_basic_file.as_deref());
        let bearer = read.path("upstream_bearer_file", bearer, "name the file of a token");
        let basic = read.path("upstream_basic_file", basic, "name the file of NAME:PASSWORD");
        let token = read.secret("upstream_bearer", "is no token", TOKEN, upstream::bearer_header);
        let pair = read.secret("upstream_basic", "is no name with a password", PAIR, upstream::basic_header);
        let given = [
            ("upstream_bearer_file", bearer.map(Path::to_owned).map(CredentialConfig::Bearer)),
            ("upstream_basic_file", basic.map(Path::to_owned).map(CredentialConfig::Basic)),
            ("upstream_bearer", token.map(CredentialConfig::Header)),
            ("upstream_basic", pair.map(CredentialConfig::Header)),
        ];
        let mut given = given.into_iter().filter_map(|(id, credential)| Some((id, credential?)));
        let (first, credential) = given.next()?;
        for (other, _) in given {
            let what = format!("stands beside {}", read.called(first));
            read.fault(other, what, "give one of them: the API can be shown one credential");
        }
        Some(credential)
    }
}
