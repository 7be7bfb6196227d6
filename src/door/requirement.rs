//! What a caller has to prove: `public`, `key`, `token`, `mtls`, `userinfo`, several of them (`key+token`), or one of them
//! (`key|mtls`).

use std::{fmt, str::FromStr};

use wildmatch::WildMatch;

/// Something that a caller can prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// An API key in `x-api-key`.
    Key,
    /// A bearer token in `authorization`.
    Token,
    /// A certificate, shown when the connection was made.
    Mtls,
    /// What a gateway says in `x-apigateway-api-userinfo`; the proofs beside it are those of the gateway.
    Userinfo,
}

/// One of several sets of proofs; the empty set is what everybody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement(Vec<Vec<Proof>>);

/// What the methods with a certain name require.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `service/method`, with `*` for anything.
    pub methods: WildMatch,
    /// What they require.
    pub requirement: Requirement,
}

/// The scope that the methods with a certain name need.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopePolicy {
    /// `service/method`, with `*` for anything.
    pub methods: WildMatch,
    /// The scope.
    pub scope: String,
}

/// A text that is no requirement, or no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUnderstood;

// === impl Requirement ===

impl Requirement {
    /// Anybody.
    pub fn public() -> Self {
        Self(vec![Vec::new()])
    }

    /// All of these proofs.
    pub fn all_of(proofs: Vec<Proof>) -> Self {
        Self(vec![proofs])
    }

    /// The sets of proofs, each of which is enough.
    pub fn alternatives(&self) -> &[Vec<Proof>] {
        &self.0
    }

    /// The same for a caller who has to know what to bring.
    pub fn in_words(&self) -> String {
        let set = |proofs: &Vec<Proof>| {
            proofs.iter().map(|proof| proof.in_words()).collect::<Vec<_>>().join(" and ")
        };
        self.0.iter().map(set).collect::<Vec<_>>().join(", or ")
    }

    /// Whether a set of proofs has this one in it.
    pub fn knows(&self, proof: Proof) -> bool {
        self.0.iter().flatten().any(|known| *known == proof)
    }
}

impl FromStr for Requirement {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        if text == "public" {
            return Ok(Self::public());
        }
        let proof = |word: &str| match word.trim() {
            "key" => Ok(Proof::Key),
            "token" => Ok(Proof::Token),
            "mtls" => Ok(Proof::Mtls),
            "userinfo" => Ok(Proof::Userinfo),
            _ => Err(NotUnderstood),
        };
        let set = |words: &str| words.split('+').map(proof).collect();
        Ok(Self(text.split('|').map(set).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |proofs: &Vec<Proof>| match proofs.as_slice() {
            [] => "public".to_owned(),
            proofs => proofs.iter().map(Proof::to_string).collect::<Vec<_>>().join("+"),
        };
        f.write_str(&self.0.iter().map(set).collect::<Vec<_>>().join("|"))
    }
}

// === impl Proof ===

impl Proof {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Key, Self::Token, Self::Mtls, Self::Userinfo];

    fn in_words(self) -> &'static str {
        match self {
            Self::Key => "an API key (x-api-key)",
            Self::Token => "a bearer token (authorization)",
            Self::Mtls => "a client certificate",
            Self::Userinfo => "the user info of a gateway (x-apigateway-api-userinfo)",
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Token => "token",
            Self::Mtls => "mtls",
            Self::Userinfo => "userinfo",
        })
    }
}

// === impl Policy ===

impl FromStr for Policy {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let (methods, requirement) = text.split_once('=').ok_or(NotUnderstood)?;
        if methods.is_empty() {
            return Err(NotUnderstood);
        }
        Ok(Self { methods: WildMatch::new(methods), requirement: requirement.parse()? })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.methods, self.requirement)
    }
}

// === impl ScopePolicy ===

impl FromStr for ScopePolicy {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let (methods, scope) = text.split_once('=').ok_or(NotUnderstood)?;
        // The characters of a scope (RFC 6749, section 3.3).
        let is_scope = !scope.is_empty()
            && scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        if methods.is_empty() || !is_scope {
            return Err(NotUnderstood);
        }
        Ok(Self { methods: WildMatch::new(methods), scope: scope.to_owned() })
    }
}

impl fmt::Display for ScopePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.methods, self.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "public",
            "key",
            "token",
            "mtls",
            "userinfo",
            "key+token",
            "key|mtls",
            "key+token|mtls",
            "token+userinfo|key",
        ] {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
        assert_eq!("shop.v1.*/*=key".parse::<Policy>().unwrap().to_string(), "shop.v1.*/*=key");
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_public() {
        for text in ["", "none", "key+", "|", "public+key", "public|key", "KEY", "key,mtls"] {
            assert_eq!(text.parse::<Requirement>(), Err(NotUnderstood), "{text}");
        }
        for text in ["", "key", "=key", "a/b=", "a/b=c"] {
            assert_eq!(text.parse::<Policy>(), Err(NotUnderstood), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_is_written_alike(text in "[a-z+|= *./]{0,40}") {
            if let Ok(policy) = text.parse::<Policy>() {
                prop_assert_eq!(policy.to_string().parse::<Policy>(), Ok(policy));
            }
        }
    }
}
