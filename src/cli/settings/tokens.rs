//! Whose tokens are believed, and what they have to say.

use super::issuers::{IssuerSettings, complain_without_issuer};
use crate::{
    cli::reader::Reader,
    config::TokenConfig,
    door::{ScopePolicy, TokenAlgorithm},
};

/// The settings of tokens.
#[derive(Debug, clap::Args)]
pub(super) struct TokenSettings {
    #[command(flatten)]
    issuers: IssuerSettings,
    /// What tokens may be signed by (RS256, ES256, EdDSA)
    #[arg(
        long,
        env = "BRIDGE_TOKEN_ALGORITHMS",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "RS256,ES256,EdDSA"
    )]
    token_algorithms: Vec<String>,
    /// How much the clock of an issuer may differ, for user info too
    #[arg(long, env = "BRIDGE_TOKEN_CLOCK_SKEW", value_name = "TIME", default_value = "30s")]
    token_clock_skew: String,
    /// The scope that a token or user info needs for some methods; all that fit count: shop.v1.ProductService/*=products.read
    #[arg(long, env = "BRIDGE_TOKEN_SCOPE", value_name = "METHODS=SCOPE", value_delimiter = ',')]
    token_scope: Vec<String>,
}

// === impl TokenSettings ===

impl TokenSettings {
    /// The typed settings, where user info may have scopes and times too.
    pub(super) fn resolve(&self, read: &mut Reader<'_>, has_userinfo: bool) -> Option<TokenConfig> {
        let issuers = self.issuers.resolve(read);
        if issuers.as_ref().is_some_and(Vec::is_empty) {
            complain_without_issuer(read, "token_algorithms");
            for id in ["token_clock_skew", "token_scope"].into_iter().filter(|_| !has_userinfo) {
                complain_without_issuer(read, id);
            }
        }
        let algorithms = self.algorithms(read);
        let clock_skew = read.time_or_zero("token_clock_skew", &self.token_clock_skew);
        let mend = "write METHODS=SCOPE, such as shop.v1.ProductService/*=products.read";
        let scopes = read.list("token_scope", &self.token_scope, mend);
        let scopes: Vec<ScopePolicy> = scopes
            .iter()
            .filter_map(|scope| read.value("token_scope", scope, mend, |text| text.parse().ok()))
            .collect();
        Some(TokenConfig { issuers: issuers?, algorithms, clock_skew: clock_skew?, scopes })
    }

    fn algorithms(&self, read: &mut Reader<'_>) -> Vec<TokenAlgorithm> {
        let mend = "write RS256, ES256 or EdDSA; others are not safe, or not needed";
        let mut algorithms = Vec::new();
        for name in &self.token_algorithms {
            algorithms.extend(read.value("token_algorithms", name, mend, |text| match text {
                "RS256" => Some(TokenAlgorithm::Rs256),
                "ES256" => Some(TokenAlgorithm::Es256),
                "EdDSA" => Some(TokenAlgorithm::EdDsa),
                _ => None,
            }));
        }
        algorithms
    }
}
