//! One API key: what a caller keeps, and what is kept here of it.
//!
//! A key is `brk_ID_SECRET`: eight letters that name it, and 32 random bytes. Here its id and its SHA-256 are kept; so
//! many random bits need no slow digest, which is for what people think of.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What every key begins with, so that it is known for one where it should not be.
const PREFIX: &str = "brk";
/// How many letters name it.
const ID_CHARS: usize = 8;
/// The letters of an id, none of which is easily taken for another.
const ID_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// How many random bytes make it.
const SECRET_BYTES: usize = 32;

/// A new key, which is seen once.
pub struct ApiKey {
    text: Zeroizing<String>,
    id: String,
}

/// The SHA-256 of a key.
#[derive(Clone, Copy)]
pub(super) struct KeyDigest([u8; 32]);

// === impl ApiKey ===

impl ApiKey {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut random = Zeroizing::new([0; ID_CHARS + SECRET_BYTES]);
        getrandom::fill(&mut *random)?;
        let (letters, secret) = random.split_at(ID_CHARS);
        let id: String = letters.iter().map(|byte| char::from(ID_LETTERS[usize::from(byte % 32)])).collect();
        let secret = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(secret));
        Ok(Self { text: Zeroizing::new(format!("{PREFIX}_{id}_{}", *secret)), id })
    }

    /// The key itself, for its caller alone.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What names it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SHA-256 of the key, in hexadecimal.
    pub fn digest(&self) -> String {
        KeyDigest::of(&self.text).to_string()
    }
}

/// The id in a text that has the form of a key.
pub(super) fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    (is_id(id) && !secret.is_empty()).then_some(id)
}

pub(super) fn is_id(id: &str) -> bool {
    id.len() == ID_CHARS && id.bytes().all(|letter| ID_LETTERS.contains(&letter))
}

// === impl KeyDigest ===

impl KeyDigest {
    pub(super) fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let pairs = text.as_bytes().chunks_exact(2);
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? * 16 + low?).ok()?;
        }
        Some(Self(digest))
    }

    /// Whether it is this one, found out in a time that does not tell how much of it is.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_key_is_known_by_its_id_and_its_digest() {
        let (key, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        assert_eq!((id_of(key.reveal()), key.reveal().len()), (Some(key.id()), 4 + 8 + 1 + 43));
        let digest = KeyDigest::parse(&key.digest()).unwrap();
        assert!(digest.is(&KeyDigest::of(key.reveal())) && !digest.is(&KeyDigest::of(other.reveal())));
        assert_ne!(key.id(), other.id());
    }

    #[test]
    fn a_digest_is_sixty_four_hexadecimal_digits() {
        let sixty_four = "0123456789abcdefABCDEF0123456789".repeat(2);
        assert_eq!(KeyDigest::parse(&sixty_four).unwrap().to_string(), sixty_four.to_lowercase());
        for bad in [&sixty_four[1..], &sixty_four.replace('0', "g"), &"é".repeat(32), "", "+1"] {
            assert!(KeyDigest::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(brk_)?\\PC{0,80}") {
            let _ = (id_of(&text), KeyDigest::parse(&text));
        }
    }
}
