//! Whose tokens are believed, and what they have to say.

use std::path::PathBuf;

use crate::{
    cli::reader::Reader,
    config::TokenConfig,
    door::{JwksSource, ScopePolicy, TokenAlgorithm},
};

/// The settings of tokens.
#[derive(Debug, clap::Args)]
pub(super) struct TokenSettings {
    /// The issuer of bearer tokens, as their iss has it [default: none]
    #[arg(long, env = "BRIDGE_TOKEN_ISSUER", value_name = "URL")]
    token_issuer: Option<String>,
    /// Whom tokens have to be for, as their aud has it; one of these is enough
    #[arg(long, env = "BRIDGE_TOKEN_AUDIENCE", value_name = "NAME", value_delimiter = ',')]
    token_audience: Vec<String>,
    /// The keys of the issuer: the https URL or the file of a JWK set [default: where its OpenID configuration says]
    #[arg(long, env = "BRIDGE_TOKEN_JWKS", value_name = "URL|FILE")]
    token_jwks: Option<String>,
    /// What tokens may be signed by (RS256, ES256, EdDSA)
    #[arg(
        long,
        env = "BRIDGE_TOKEN_ALGORITHMS",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "RS256,ES256,EdDSA"
    )]
    token_algorithms: Vec<String>,
    /// How much the clock of the issuer may differ
    #[arg(long, env = "BRIDGE_TOKEN_CLOCK_SKEW", value_name = "TIME", default_value = "30s")]
    token_clock_skew: String,
    /// The scope that a token needs for some methods; all that fit count: shop.v1.ProductService/*=products.read
    #[arg(long, env = "BRIDGE_TOKEN_SCOPE", value_name = "METHODS=SCOPE", value_delimiter = ',')]
    token_scope: Vec<String>,
}

// === impl TokenSettings ===

impl TokenSettings {
    /// The typed settings; nothing inside is no tokens.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<Option<TokenConfig>> {
        let name = "write it as the iss of a token has it, such as https://accounts.example.com";
        let issuer = read.optional("token_issuer", self.token_issuer.as_deref(), name, not_empty);
        let Some(issuer) = issuer else {
            self.complain_without_issuer(read);
            return Some(None);
        };
        let audiences =
            read.list("token_audience", &self.token_audience, "write it as the aud of a token has it");
        if audiences.is_empty() {
            let what = "stands without --token-audience".to_owned();
            read.fault(
                "token_issuer",
                what,
                "name whom tokens have to be for, or tokens for others were good here",
            );
        }
        let jwks = self.jwks(read, &issuer);
        let algorithms = self.algorithms(read);
        let clock_skew = read.time_or_zero("token_clock_skew", &self.token_clock_skew);
        let mend = "write METHODS=SCOPE, such as shop.v1.ProductService/*=products.read";
        let scopes = read.list("token_scope", &self.token_scope, mend).to_vec();
        let scopes: Vec<ScopePolicy> = scopes
            .iter()
            .filter_map(|scope| read.value("token_scope", scope, mend, |text| text.parse().ok()))
            .collect();
        Some(Some(TokenConfig {
            jwks: jwks?,
            issuer,
            audiences: audiences.to_vec(),
            algorithms,
            clock_skew: clock_skew?,
            scopes,
        }))
    }

    fn jwks(&self, read: &mut Reader<'_>, issuer: &str) -> Option<JwksSource> {
        let Some(text) = &self.token_jwks else { return Some(JwksSource::Discovery(issuer.to_owned())) };
        let mend = "name an https URL, or a file";
        if text.contains("://") {
            let url: http::Uri = read.value("token_jwks", text, mend, |text| text.parse().ok())?;
            if let Err(what) = JwksSource::is_safe(&url) {
                read.fault("token_jwks", what, mend);
            }
            Some(JwksSource::Url(url))
        } else {
            read.value("token_jwks", text, mend, not_empty).map(PathBuf::from).map(JwksSource::File)
        }
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

    fn complain_without_issuer(&self, read: &mut Reader<'_>) {
        for id in ["token_audience", "token_jwks", "token_algorithms", "token_clock_skew", "token_scope"] {
            if read.is_set(id) {
                read.fault(id, "stands without --token-issuer".to_owned(), "name the issuer of the tokens");
            }
        }
    }
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
