//! What an answer may do that the contract, or ProtoJSON, does not say; each by its name, refused or counted.

use std::fmt;

/// Something that is understood in an answer although it is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tolerance {
    /// A field that the contract does not have is skipped.
    UnknownField,
    /// The name of an enum value that the contract does not have is no value.
    UnknownEnumValue,
    /// `null` in a list, or as the value of a map entry, is skipped.
    NullElement,
    /// A key that comes twice in an object; the last one counts.
    DuplicateKey,
    /// A time as Ruby's `Time#to_s` writes it: `2022-08-05 22:38:22 UTC`.
    RubyTime,
    /// A number in quotes where ProtoJSON would write it bare.
    QuotedNumber,
    /// `2.0` or `2e0` for an integer.
    IntegralFloat,
}

/// Which tolerances are refused instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strictness(u8);

/// How often each tolerance was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tolerated([u32; Tolerance::ALL.len()]);

// === impl Tolerance ===

impl Tolerance {
    /// Every tolerance.
    pub const ALL: [Self; 7] = [
        Self::UnknownField,
        Self::UnknownEnumValue,
        Self::NullElement,
        Self::DuplicateKey,
        Self::RubyTime,
        Self::QuotedNumber,
        Self::IntegralFloat,
    ];

    /// The name in settings, logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownField => "unknown-fields",
            Self::UnknownEnumValue => "unknown-enum-values",
            Self::NullElement => "null-elements",
            Self::DuplicateKey => "duplicate-keys",
            Self::RubyTime => "ruby-times",
            Self::QuotedNumber => "quoted-numbers",
            Self::IntegralFloat => "integral-floats",
        }
    }

    /// The tolerance with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tolerance| tolerance.name() == name)
    }

    /// What is wrong, for a complaint.
    pub(super) fn complaint(self) -> &'static str {
        match self {
            Self::UnknownField => "the contract has no such field",
            Self::UnknownEnumValue => "the contract has no such enum value",
            Self::NullElement => "null in a list or a map",
            Self::DuplicateKey => "the key comes twice",
            Self::RubyTime => "expected a time such as 2026-01-02T03:04:05.678Z, found Ruby's own form",
            Self::QuotedNumber => "expected a bare number, found one in quotes",
            Self::IntegralFloat => "expected an integer, found one with a fraction or an exponent",
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Strictness ===

impl Strictness {
    /// Refuses what <https://protobuf.dev/programming-guides/json/> has a parser refuse, and no more.
    pub const PROTO_JSON: Self = Self(
        1 << Tolerance::UnknownField as u8
            | 1 << Tolerance::UnknownEnumValue as u8
            | 1 << Tolerance::NullElement as u8
            | 1 << Tolerance::DuplicateKey as u8
            | 1 << Tolerance::RubyTime as u8,
    );
    /// Refuses everything that is tolerated otherwise.
    pub const ALL: Self = Self((1 << Tolerance::ALL.len()) - 1);

    /// These and one more.
    pub fn with(self, tolerance: Tolerance) -> Self {
        Self(self.0 | 1 << tolerance as u8)
    }

    /// These and those of `other`.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without one.
    pub fn without(self, tolerance: Tolerance) -> Self {
        Self(self.0 & !(1 << tolerance as u8))
    }

    /// Whether it is refused.
    pub fn refuses(self, tolerance: Tolerance) -> bool {
        self.0 & 1 << tolerance as u8 != 0
    }
}

// === impl Tolerated ===

impl Tolerated {
    /// Whether none was used.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Those that were used, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Tolerance, u32)> + '_ {
        Tolerance::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    pub(super) fn note(&mut self, tolerance: Tolerance) {
        let count = &mut self.0[tolerance as usize];
        *count = count.saturating_add(1);
    }
}

impl fmt::Display for Tolerated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (tolerance, count)) in self.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {tolerance}")?;
        }
        Ok(())
    }
}
