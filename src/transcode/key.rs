//! Field names as they mostly stand in a text, ready to be compared.

/// A key with its quotes and its colon, ready to be compared.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// The first sixteen bytes, or all and zeros.
    head: u128,
    /// What counts of them.
    mask: u128,
    /// What comes after them.
    rest: Box<[u8]>,
    length: usize,
}

// === impl Key ===

impl Key {
    const HEAD: usize = 16;

    /// A key that stands nowhere.
    pub(super) fn never() -> Self {
        Self { head: 1, mask: 0, rest: Box::default(), length: 0 }
    }

    /// A name as it is written; one that needs escapes is not known here.
    pub(super) fn new(name: &str) -> Self {
        if name.contains(['"', '\\']) || name.contains(char::is_control) {
            return Self::never();
        }
        let text = format!("\"{name}\":").into_bytes();
        let (first, rest) = text.split_at(text.len().min(Self::HEAD));
        let mut head = [0; Self::HEAD];
        head[..first.len()].copy_from_slice(first);
        let mask = u128::MAX >> (8 * (Self::HEAD - first.len()));
        Self { head: u128::from_le_bytes(head), mask, rest: rest.into(), length: text.len() }
    }

    /// Where it ends, if it stands at `at`. The last bytes of a text it does not look at, since no key is among them.
    #[inline]
    pub(super) fn end(&self, text: &[u8], at: usize) -> Option<usize> {
        let (head, rest) = text.get(at..)?.split_first_chunk()?;
        let found = u128::from_le_bytes(*head) & self.mask == self.head
            && (self.rest.is_empty() || rest.starts_with(&self.rest));
        found.then_some(at + self.length)
    }
}
