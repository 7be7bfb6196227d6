//! The protobuf wire format (<https://protobuf.dev/programming-guides/encoding/>): a reader that borrows
//! and a writer that appends.

use super::plan::{Kind, Scalar};

/// Messages may nest this deep, which is protobuf's own default.
pub(super) const MAX_DEPTH: usize = 100;
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// The ways a value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A variable-length integer.
    Varint = 0,
    /// Eight bytes.
    Fixed64 = 1,
    /// A length and that many bytes.
    Bytes = 2,
    /// Fields up to the end of the group.
    Group = 3,
    /// The end of a group.
    EndGroup = 4,
    /// Four bytes.
    Fixed32 = 5,
}

/// One value as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// The fields of a group, without the tag that ends it.
    Group(&'a [u8]),
    Fixed32(u32),
}

/// A field that came again in one object, and where its last values begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    pub(super) number: u32,
    pub(super) from: usize,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a value.
    #[error("the message ends inside a value")]
    Truncated,
    /// A variable-length integer of more than ten bytes.
    #[error("a varint is longer than ten bytes")]
    Varint,
    /// A tag with a field number or type that does not exist.
    #[error("a tag is not valid")]
    Tag,
    /// A group that is not closed, or closed without being open.
    #[error("a group is not closed properly")]
    Group,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// Nested too deep.
    #[error("nested deeper than 100 levels")]
    Depth,
}

struct Reader<'a> {
    bytes: &'a [u8],
}

// === impl Value ===

impl<'a> Value<'a> {
    pub(super) fn wire_type(self) -> Type {
        match self {
            Self::Varint(_) => Type::Varint,
            Self::Fixed64(_) => Type::Fixed64,
            Self::Bytes(_) => Type::Bytes,
            Self::Group(_) => Type::Group,
            Self::Fixed32(_) => Type::Fixed32,
        }
    }

    /// The bytes, or the fields of a message.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) | Self::Group(bytes) => Some(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => None,
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The next field.
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        match wire_type {
            3 => Ok(Some((number, Value::Group(self.group(number)?)))),
            4 => Err(WireError::Group),
            _ => Ok(Some((number, self.value(wire_type)?))),
        }
    }

    fn tag(&mut self) -> Result<(u32, u8), WireError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..=MAX_FIELD_NUMBER).contains(&u64::from(*n)));
        Ok((number.ok_or(WireError::Tag)?, (tag & 7) as u8))
    }

    fn value(&mut self, wire_type: u8) -> Result<Value<'a>, WireError> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Tag),
        })
    }

    /// The fields up to the end of the group that has just begun.
    fn group(&mut self, number: u32) -> Result<&'a [u8], WireError> {
        let start = self.bytes;
        let mut open = vec![number];
        loop {
            let left = self.bytes.len();
            match self.tag()? {
                (number, 3) if open.len() < MAX_DEPTH => open.push(number),
                (_, 3) => return Err(WireError::Depth),
                (number, 4) if open.pop() == Some(number) => {
                    if open.is_empty() {
                        return Ok(&start[..start.len() - left]);
                    }
                }
                (_, 4) => return Err(WireError::Group),
                (_, wire_type) => drop(self.value(wire_type)?),
            }
        }
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let (value, length) = read_varint(self.bytes)?;
        self.bytes = &self.bytes[length..];
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Truncated)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }
}

// === impl Kind ===

impl Kind {
    pub(super) fn wire_type(&self) -> Type {
        match self {
            Self::Scalar(scalar) => scalar.wire_type(),
            Self::Enum(_) | Self::Null => Type::Varint,
            Self::Message(_) | Self::WellKnown(_) => Type::Bytes,
            Self::Group(_) => Type::Group,
        }
    }
}

// === impl Scalar ===

impl Scalar {
    pub(super) fn wire_type(self) -> Type {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => Type::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => Type::Fixed32,
            Self::String | Self::Bytes => Type::Bytes,
            Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Sint64
            | Self::Bool => Type::Varint,
        }
    }
}

/// Calls `visit` with every field of a message.
pub(super) fn each_field<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(u32, Value<'a>),
) -> Result<(), WireError> {
    let mut reader = Reader { bytes };
    while let Some((number, value)) = reader.next()? {
        visit(number, value);
    }
    Ok(())
}

/// The values of a packed list, each laid out as `wire_type`.
pub(super) fn unpack(bytes: &[u8], wire_type: Type) -> impl Iterator<Item = Result<Value<'_>, WireError>> {
    let mut reader = Reader { bytes };
    std::iter::from_fn(move || {
        if reader.bytes.is_empty() {
            return None;
        }
        let value = reader.value(wire_type as u8);
        if value.is_err() {
            reader.bytes = &[];
        }
        Some(value)
    })
}

fn read_varint(bytes: &[u8]) -> Result<(u64, usize), WireError> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(if bytes.len() < 10 { WireError::Truncated } else { WireError::Varint })
}

/// Appends a tag.
#[inline]
pub(super) fn put_tag(number: u32, wire_type: Type, out: &mut Vec<u8>) {
    put_varint(u64::from(number << 3 | wire_type as u32), out);
}

/// Appends a varint.
#[inline]
#[allow(clippy::cast_possible_truncation)] // seven bits at a time is the encoding
pub(super) fn put_varint(value: u64, out: &mut Vec<u8>) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        put_long_varint(value, out);
    }
}

#[allow(clippy::cast_possible_truncation)] // seven bits at a time is the encoding
fn put_long_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
#[inline]
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a length and what `write` appends, whose length is known only afterwards.
///
/// One byte is kept for the length; a longer one moves the content up, in place. So nothing is written
/// twice for small messages, and there is never a second buffer.
#[inline]
#[allow(clippy::cast_possible_truncation)] // seven bits are less than eight
pub(super) fn put_delimited<E>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.push(0);
    write(out)?;
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
    } else {
        widen_length(out, start, length);
    }
    Ok(())
}

/// Makes room for a length of more than one byte before the content, and writes it.
fn widen_length(out: &mut Vec<u8>, start: usize, length: usize) {
    let extra = varint_length(length) - 1;
    out.resize(out.len() + extra, 0);
    out.copy_within(start + 1..start + 1 + length, start + 1 + extra);
    write_varint_at(&mut out[start..], length as u64);
}

/// Takes out of the message that begins at `start` what was written for each repeated field before its last
/// values. The message is ours, so every record in it is whole.
pub(super) fn keep_last(out: &mut Vec<u8>, start: usize, repeats: &[Repeat]) {
    let (mut read, mut kept) = (start, start);
    while read < out.len() {
        let mut reader = Reader { bytes: &out[read..] };
        let Ok(Some((number, _))) = reader.next() else { return };
        let length = out.len() - read - reader.bytes.len();
        if !repeats.iter().any(|repeat| repeat.number == number && read < repeat.from) {
            out.copy_within(read..read + length, kept);
            kept += length;
        }
        read += length;
    }
    out.truncate(kept);
}

#[allow(clippy::cast_possible_truncation)] // seven bits at a time is the encoding
fn write_varint_at(out: &mut [u8], mut value: u64) {
    for byte in out {
        *byte = value as u8 & 0x7f;
        value >>= 7;
        if value == 0 {
            return;
        }
        *byte |= 0x80;
    }
}

fn varint_length(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, WireError> {
        let mut reader = Reader { bytes };
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    #[test]
    fn broken_bytes_are_refused() {
        for (bytes, error) in [
            (&[0x08][..], WireError::Truncated),
            (&[0x0a, 5, 1], WireError::Truncated),
            (&[0x0d, 1, 2, 3], WireError::Truncated),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], WireError::Varint),
            (&[0x00, 1], WireError::Tag),
            (&[0x0e, 1], WireError::Tag),
            (&[0x0c], WireError::Group),
            (&[0x0b, 0x14], WireError::Group),
            (&[0x0b], WireError::Truncated),
            (&[0x0b; 200], WireError::Depth),
        ] {
            assert_eq!(fields(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_group_is_read_with_all_that_is_in_it() {
        let bytes = [0x0b, 0x10, 1, 0x13, 0x1a, 1, 9, 0x14, 0x0c, 0x18, 7];
        let inside = &bytes[1..8];
        assert_eq!(fields(&bytes), Ok(vec![(1, Value::Group(inside)), (3, Value::Varint(7))]));
    }

    #[test]
    fn of_a_repeated_field_the_last_values_are_kept() {
        let mut out = vec![9, 0x08, 1, 0x12, 1, b'a', 0x08, 2, 0x18, 3, 0x08, 4, 0x08, 5];
        keep_last(&mut out, 1, &[Repeat { number: 1, from: 10 }, Repeat { number: 3, from: 14 }]);
        assert_eq!(out, [9, 0x12, 1, b'a', 0x08, 4, 0x08, 5]);
    }

    proptest! {
        #[test]
        fn a_varint_is_read_as_it_was_written(value: u64) {
            let mut out = Vec::new();
            put_varint(value, &mut out);
            prop_assert_eq!(read_varint(&out), Ok((value, out.len())));
        }

        #[test]
        fn a_delimited_part_has_its_length_before_it(length in 0_usize..40_000) {
            let mut out = vec![7];
            let written: Result<(), Infallible> = put_delimited(&mut out, |out| {
                out.resize(out.len() + length, 0xa5);
                Ok(())
            });
            prop_assert_eq!(written, Ok(()));
            let (read, prefix) = read_varint(&out[1..]).unwrap();
            prop_assert_eq!(read, length as u64);
            prop_assert_eq!(&out[1 + prefix..], &vec![0xa5; length][..]);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = fields(&bytes);
        }
    }
}
