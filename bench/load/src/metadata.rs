//! What callers show of themselves: lines of metadata, of which each call has the next one.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Fault;

/// The lines, and whose turn it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata {
    lines: Arc<[HeaderMap]>,
    turn: Arc<AtomicUsize>,
}

impl Metadata {
    /// Reads lines of `name: value`; several of them on one line are parted by tabs.
    pub(crate) fn read(file: &Path) -> Result<Self, Fault> {
        let text = fs::read_to_string(file)?;
        let pair = |pair: &str| -> Result<(HeaderName, HeaderValue), Fault> {
            let (name, value) = pair.split_once(": ").ok_or("write lines of \"name: value\"")?;
            Ok((name.parse()?, value.parse()?))
        };
        let lines: Result<Vec<_>, _> =
            text.lines().map(|line| line.split('\t').map(pair).collect()).collect();
        Ok(Self { lines: lines?.into(), turn: Arc::default() })
    }

    /// The next line; nothing if there are none.
    pub(crate) fn next(&self) -> HeaderMap {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.lines.get(turn % self.lines.len().max(1)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_the_next_line_and_then_the_first_again() {
        let file = std::env::temp_dir().join(format!("metadata-{}", std::process::id()));
        fs::write(&file, "a: 1\nb: 2 3\tc: 4\n").unwrap();
        let metadata = Metadata::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        let next = || {
            let line = metadata.next();
            line.iter()
                .map(|(name, value)| format!("{name}={} ", value.to_str().unwrap()))
                .collect::<String>()
        };
        assert_eq!([next(), next(), next()], ["a=1 ", "b=2 3 c=4 ", "a=1 "]);
        assert!(Metadata::default().next().is_empty());
    }
}
