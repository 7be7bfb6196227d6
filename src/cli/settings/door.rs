//! Who may call what.

use std::path::{Path, PathBuf};

use super::{rates::RateSettings, tokens::TokenSettings};
use crate::{
    cli::reader::{Reader, any_path},
    config::{DoorConfig, Reflection},
    door::{Gateways, Policy},
};

/// How to mend a requirement.
const REQUIREMENT: &str =
    "write public, key, token, mtls, userinfo, key+token (both), or key|mtls (one of them)";

/// The settings of the door.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Who may call")]
pub(super) struct DoorSettings {
    /// The file of API keys, as `keys new` prints its entries [default: there are none]
    #[arg(long, env = "BRIDGE_API_KEYS", value_parser = any_path(), value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// What a caller has to prove (public, key, token, mtls, userinfo, key+token, key|mtls, …) [default: all that there is]
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
    /// Whose x-apigateway-api-userinfo is believed, as logs name callers (token:ISSUER#SUB); * is anybody's [default: nobody's]
    #[arg(long, env = "BRIDGE_USERINFO_FROM", value_name = "CALLER", value_delimiter = ',')]
    userinfo_from: Vec<String>,
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
        let userinfo_from = self.gateways(read);
        let tokens = self.tokens.resolve(read, !userinfo_from.is_empty());
        Some(DoorConfig {
            keys: keys.map(Path::to_owned),
            tokens: tokens?,
            userinfo_from,
            require,
            policies,
            rates,
            shared_rates: shared_rates?,
            reflection: reflection?,
        })
    }

    fn gateways(&self, read: &mut Reader<'_>) -> Vec<Gateways> {
        let mend = "write it as logs name callers, such as token:ISSUER#SUB, mtls:NAME or key:NAME; or *, if only the gateway \
                    can reach the port";
        let names = read.list("userinfo_from", &self.userinfo_from, mend);
        names.iter().filter_map(|name| read.value("userinfo_from", name, mend, Gateways::named)).collect()
    }
}
