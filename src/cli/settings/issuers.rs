//! The issuers of tokens, and what is theirs alone: `ISSUER=VALUE` binds a value to one of them.

use std::path::PathBuf;

use crate::{
    cli::reader::Reader,
    config::IssuerConfig,
    door::{JwksSource, is_issuer},
};

/// How to mend an issuer.
const ISSUER: &str = "write it as the iss of a token has it, such as https://accounts.example.com";
/// How to mend an audience.
const AUDIENCE: &str = "write it as the aud of a token has it, or ISSUER=AUDIENCE";
/// How to mend a place of keys.
const JWKS: &str = "name an https URL, or a file";

/// The settings of issuers.
#[derive(Debug, clap::Args)]
pub(super) struct IssuerSettings {
    /// The issuers of bearer tokens, as their iss has it [default: none]
    #[arg(long, env = "BRIDGE_TOKEN_ISSUER", value_name = "URL", value_delimiter = ',')]
    token_issuer: Vec<String>,
    /// Whom tokens have to be for, as their aud has it; one of these is enough. ISSUER=NAME is for the tokens of one issuer
    #[arg(long, env = "BRIDGE_TOKEN_AUDIENCE", value_name = "[ISSUER=]NAME", value_delimiter = ',')]
    token_audience: Vec<String>,
    /// The keys of an issuer: the https URL or the file of a JWK set [default: where its OpenID configuration says]
    #[arg(long, env = "BRIDGE_TOKEN_JWKS", value_name = "[ISSUER=]URL|FILE", value_delimiter = ',')]
    token_jwks: Vec<String>,
}

/// To whom a value belongs.
#[derive(Debug, PartialEq, Eq)]
enum Binding<'a> {
    /// To all issuers.
    All,
    /// To this one, which is the number so-and-so.
    One(usize, &'a str),
    /// To one that is not there.
    Unknown(&'a str),
}

// === impl IssuerSettings ===

impl IssuerSettings {
    /// The typed settings; nothing where issuers are named and none of them is one.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<Vec<IssuerConfig>> {
        let faults = read.faults.faults.len();
        let mut issuers = self.issuers(read);
        if issuers.is_empty() {
            let nobody_is_named = read.faults.faults.len() == faults;
            for id in ["token_audience", "token_jwks"].into_iter().filter(|_| nobody_is_named) {
                complain_without_issuer(read, id);
            }
            return nobody_is_named.then_some(issuers);
        }
        self.add_audiences(read, &mut issuers);
        for issuer in issuers.iter().filter(|issuer| issuer.audiences.is_empty()) {
            let what = format!("{} stands without --token-audience", issuer.name);
            let mend = "name whom its tokens have to be for, or tokens for others were good here";
            read.fault_of("token_issuer", Some(&issuer.name), what, mend);
        }
        self.add_places(read, &mut issuers);
        Some(issuers)
    }

    fn issuers(&self, read: &mut Reader<'_>) -> Vec<IssuerConfig> {
        let mut issuers: Vec<IssuerConfig> = Vec::new();
        for name in read.list("token_issuer", &self.token_issuer, ISSUER) {
            let known =
                read.value("token_issuer", name, ISSUER, |name| is_issuer(name).then(|| name.to_owned()));
            let Some(name) = known else { continue };
            if issuers.iter().any(|issuer| issuer.name == name) {
                let what = format!("{name} stands there twice");
                read.fault_of("token_issuer", Some(&name), what, "name each issuer once");
                continue;
            }
            issuers.push(IssuerConfig { name, audiences: Vec::new(), jwks: JwksSource::Discovery });
        }
        issuers
    }

    fn add_audiences(&self, read: &mut Reader<'_>, issuers: &mut [IssuerConfig]) {
        let id = "token_audience";
        for text in read.list(id, &self.token_audience, AUDIENCE) {
            match Binding::of(text, issuers) {
                Binding::All => issuers.iter_mut().for_each(|issuer| issuer.audiences.push(text.clone())),
                Binding::One(_, "") => {
                    read.fault_of(id, Some(text), format!("{text:?} is not valid"), AUDIENCE)
                }
                Binding::One(at, audience) => issuers[at].audiences.push(audience.to_owned()),
                Binding::Unknown(issuer) => complain_of_binding(read, id, text, issuer),
            }
        }
    }

    fn add_places(&self, read: &mut Reader<'_>, issuers: &mut [IssuerConfig]) {
        let id = "token_jwks";
        for text in read.list(id, &self.token_jwks, JWKS) {
            let (at, place) = match Binding::of(text, issuers) {
                Binding::All if issuers.len() > 1 => {
                    let what = format!("{text:?} does not say whose keys it has");
                    read.fault_of(id, Some(text), what, "write ISSUER=URL or ISSUER=FILE");
                    continue;
                }
                Binding::All => (0, text.as_str()),
                Binding::One(at, place) => (at, place),
                Binding::Unknown(issuer) => {
                    complain_of_binding(read, id, text, issuer);
                    continue;
                }
            };
            let Some(source) = source(read, text, place) else { continue };
            if issuers[at].jwks != JwksSource::Discovery {
                let what = format!("the keys of {} are in two places", issuers[at].name);
                read.fault_of(id, Some(text), what, "name one");
            }
            issuers[at].jwks = source;
        }
    }
}

// === impl Binding ===

impl<'a> Binding<'a> {
    /// An issuer ends at the `=` that makes it the name of one that is known, for its own name may have one too. What stands
    /// before the first `=` and looks like an issuer that is not known is no plain value: somebody has mistaken a name.
    fn of(text: &'a str, issuers: &[IssuerConfig]) -> Self {
        let bound = |(at, issuer): (usize, &IssuerConfig)| {
            let value = text.strip_prefix(&issuer.name)?.strip_prefix('=')?;
            Some((at, value))
        };
        // The longest name is what was meant.
        let known = issuers.iter().enumerate().filter_map(bound).min_by_key(|(_, value)| value.len());
        match (known, text.split_once('=')) {
            (Some((at, value)), _) => Self::One(at, value),
            (None, Some((issuer, _))) if issuer.contains("://") && !issuer.contains('?') => {
                Self::Unknown(issuer)
            }
            _ => Self::All,
        }
    }
}

/// The place of keys; `text` is all that stands there.
fn source(read: &mut Reader<'_>, text: &str, place: &str) -> Option<JwksSource> {
    let parsed = match place {
        "" => Err(format!("{text:?} is not valid")),
        place if place.contains("://") => match place.parse() {
            Ok(url) => JwksSource::is_safe(&url).map(|()| JwksSource::Url(url)),
            Err(_) => Err(format!("{text:?} is not valid")),
        },
        place => Ok(JwksSource::File(PathBuf::from(place))),
    };
    parsed.map_err(|what| read.fault_of("token_jwks", Some(text), what, JWKS)).ok()
}

/// Complains of a setting that means nothing without issuers, if somebody has set it.
pub(super) fn complain_without_issuer(read: &mut Reader<'_>, id: &str) {
    if read.is_set(id) {
        read.fault(id, "stands without --token-issuer".to_owned(), "name the issuer of the tokens");
    }
}

fn complain_of_binding(read: &mut Reader<'_>, id: &str, text: &str, issuer: &str) {
    let what = format!("{text:?} is bound to {issuer}, which is no --token-issuer");
    read.fault_of(id, Some(text), what, "write the issuer as --token-issuer has it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn issuers(names: &[&str]) -> Vec<IssuerConfig> {
        let issuer = |name: &&str| IssuerConfig {
            name: (*name).to_owned(),
            audiences: Vec::new(),
            jwks: JwksSource::Discovery,
        };
        names.iter().map(issuer).collect()
    }

    #[test]
    fn a_value_belongs_to_the_issuer_whose_name_it_begins_with() {
        let issuers = issuers(&["https://a", "https://a=b", "accounts.google.com"]);
        for (text, expected) in [
            ("shop", Binding::All),
            ("https://shop.example.com", Binding::All),
            ("https://keys.example.com/jwks?tenant=a", Binding::All),
            ("keys=of=a.json", Binding::All),
            ("https://a", Binding::All),
            ("https://a=shop", Binding::One(0, "shop")),
            ("https://a=https://shop?b=c", Binding::One(0, "https://shop?b=c")),
            ("https://a=", Binding::One(0, "")),
            ("https://a=b=shop", Binding::One(1, "shop")),
            ("accounts.google.com=shop", Binding::One(2, "shop")),
            ("https://aa=shop", Binding::Unknown("https://aa")),
            ("https://A=shop", Binding::Unknown("https://A")),
        ] {
            assert_eq!(Binding::of(text, &issuers), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_bound_is_what_was_written(at in 0..3_usize, value in "[a-z:/?#]{0,20}") {
            let issuers = issuers(&["https://a", "https://a=b", "c"]);
            let text = format!("{}={value}", issuers[at].name);
            // But where the value makes it the longer name of another.
            prop_assume!(!(at == 0 && value.starts_with("b=")));
            prop_assert_eq!(Binding::of(&text, &issuers), Binding::One(at, &value));
        }
    }
}
