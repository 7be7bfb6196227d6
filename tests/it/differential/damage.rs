//! What can happen to bytes on their way.

use proptest::{
    prelude::*,
    sample::{Index, select},
};

/// What happens, where, and to which byte or from where on.
pub(super) type Damage = (Harm, Index, Index, u8);

#[derive(Debug, Clone, Copy)]
pub(super) enum Harm {
    Replace,
    Delete,
    Insert,
    Truncate,
    Duplicate,
}

pub(super) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let harm = select(vec![Harm::Replace, Harm::Delete, Harm::Insert, Harm::Truncate, Harm::Duplicate]);
    let byte = prop_oneof![3 => select(b"{}[]\",:\\u0129eE+-.tfn/ \n\x1f".to_vec()), 1 => any::<u8>()];
    prop::collection::vec((harm, any::<Index>(), any::<Index>(), byte), 1..4)
}

pub(super) fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (harm, at, from, byte) in damages {
        let [at, from] = [at, from].map(|index| index.index(bytes.len() + 1));
        match harm {
            Harm::Replace => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = *byte),
            Harm::Delete => drop(bytes.drain(at..bytes.len().min(at + 1))),
            Harm::Insert => bytes.insert(at, *byte),
            Harm::Truncate => bytes.truncate(at),
            Harm::Duplicate => {
                let slice = bytes[from.min(at)..from.max(at)].to_vec();
                bytes.splice(at..at, slice);
            }
        }
    }
    bytes
}
