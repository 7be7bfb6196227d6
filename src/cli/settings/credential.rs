//! What the bridge proves itself by to the API.

use std::path::{Path, PathBuf};

use http::uri::Authority;

use crate::{
    cli::reader::{Reader, any_path},
    config::{CredentialConfig, GoogleIdTokenConfig},
    upstream,
};

/// The settings that are secrets themselves. Each is a variable alone: whatever stands on a command line is read by all
/// processes of the machine.
pub(in crate::cli) const SECRETS: [&str; 2] = ["upstream_bearer", "upstream_basic"];

/// How to mend a token, and a name with its password.
const TOKEN: &str = "write the token alone";
const PAIR: &str = "write NAME:PASSWORD";

/// Where Google's metadata server is.
const METADATA_HOST: &str = "metadata.google.internal";
/// The variable by which Google's own libraries, too, are told that it is elsewhere.
const METADATA_HOST_VARIABLE: &str = "GCE_METADATA_HOST";

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
    /// Whom the ID tokens are for that it proves itself by, which it gets from Google's metadata server:
    /// for an API on Cloud Run, the URL of the service
    #[arg(long, env = "BRIDGE_UPSTREAM_GOOGLE_ID_TOKEN", value_name = "AUDIENCE")]
    upstream_google_id_token: Option<String>,
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
        let id_token = self.id_token(read);
        let given = [
            ("upstream_bearer_file", bearer.map(Path::to_owned).map(CredentialConfig::Bearer)),
            ("upstream_basic_file", basic.map(Path::to_owned).map(CredentialConfig::Basic)),
            ("upstream_bearer", token.map(CredentialConfig::Header)),
            ("upstream_basic", pair.map(CredentialConfig::Header)),
            ("upstream_google_id_token", id_token.map(CredentialConfig::GoogleIdToken)),
        ];
        let mut given = given.into_iter().filter_map(|(id, credential)| Some((id, credential?)));
        let (first, credential) = given.next()?;
        for (other, _) in given {
            let what = format!("stands beside {}", read.called(first));
            read.fault(other, what, "give one of them: the API can be shown one credential");
        }
        Some(credential)
    }

    fn id_token(&self, read: &mut Reader<'_>) -> Option<GoogleIdTokenConfig> {
        let mend = "write what the API expects as the aud of a token, such as https://shop-abc-ew.a.run.app";
        let audience = self.upstream_google_id_token.as_deref();
        let audience = read.optional("upstream_google_id_token", audience, mend, audience_of)?;
        let mend = "write HOST or HOST:PORT";
        let metadata_host = read.foreign(METADATA_HOST_VARIABLE, mend, host);
        let metadata_host = metadata_host.unwrap_or_else(|| Authority::from_static(METADATA_HOST));
        Some(GoogleIdTokenConfig { audience, metadata_host })
    }
}

/// One word of what can be seen.
fn audience_of(text: &str) -> Option<String> {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_word.then(|| text.to_owned())
}

fn host(text: &str) -> Option<Authority> {
    text.parse().ok().filter(|host: &Authority| !host.as_str().contains('@') && !host.host().is_empty())
}
