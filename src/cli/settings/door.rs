//! Who may call what.

use std::path::{Path, PathBuf};

use super::{rates::RateSettings, tokens::TokenSettings};
use crate::{
    cli::reader::{Reader, any_path},
    config::{DoorConfig, Reflection},
    door::Policy,
};

/// How to mend a requirement.
const REQUIREMENT: &str = "write public, key, token, mtls, key+token (both), or key|mtls (one of them)";

/// The settings of the door.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Who may call")]
pub(super) struct DoorSettings {
    /// The file of API keys, as `keys new` prints its entries [default: there are none]
    #[arg(long, env = "BRIDGE_API_KEYS", value_parser = any_path(), value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// What a caller has to prove (public, key, token, mtls, key+token, key|mtls, …) [default: all that there is]
    #[arg(long, env = "BRIDGE_REQUIRE", value_name = "PROOF")]
    require: Option<String>,
    /// What it has to for some methods; the first that fits counts: shop.v1.ProductService/List*=public
    #[arg(long, env = "BRIDGE_POLICY", value_name = "METHODS=PROOF", value_delimiter = ',')]
    policy: Vec<String>,
    #[command(flatten)]
    rates: RateSettings,
    /// Who may ask which methods there are (public, protected: as --require says, off)
    #[arg(long, env = "BRIDGE_REFLECTION", value_name = "WHO", default_value = "protected")]
    reflection: String,
    #[command(flatten)]
    tokens: TokenSettings,
}

// === impl DoorSettings ===

impl DoorSettings {
    /// The typed settings.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<DoorConfig> {
        let keys = read.path("api_keys", self.api_keys.as_deref(), "name the file of API keys");
        let require =
            read.optional("require", self.require.as_deref(), REQUIREMENT, |text| text.parse().ok());
        let mend = "write METHODS=PROOF, such as shop.v1.ProductService/*=key";
        let policies = read.list("policy", &self.policy, mend);
        let policies: Vec<Policy> = policies
            .iter()
            .filter_map(|policy| read.value("policy", policy, mend, |text| text.parse().ok()))
            .collect();
        let rates = self.rates.rates(read);
        let shared_rates = self.rates.shared(read);
        let reflection =
            read.value("reflection", &self.reflection, "write public, protected or off", |text| match text {
                "public" => Some(Reflection::Public),
                "protected" => Some(Reflection::Protected),
                "off" => Some(Reflection::Off),
                _ => None,
            });
        let tokens = self.tokens.resolve(read);
        Some(DoorConfig {
            keys: keys.map(Path::to_owned),
            tokens: tokens?,
            require,
            policies,
            rates,
            shared_rates: shared_rates?,
            reflection: reflection?,
        })
    }
}
