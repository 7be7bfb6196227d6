//! The short way: what is written just as ProtoJSON writes it, by serializers that put no white space in.
//!
//! That is nearly everything that APIs answer. A stretch of it is taken in one loop over bytes; at the first thing that
//! is anything else, be it a space, an escape, a null or a fault, the loop ends before it, and the one way that knows
//! tolerances and complaints goes on. So nothing is decided here, and nothing can go wrong here.

use super::{
    json::end_of_run,
    number::plain_double,
    plan::{FieldPlan, Kind, MessagePlan, Scalar, Shape},
    scalar::put_integer,
    wire,
};

/// Where the value ends that begins at `at`, once it has been appended without a tag; `None` appends nothing.
#[inline]
fn scalar(scalar: Scalar, text: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    match scalar {
        Scalar::String => {
            let (content, end) = string(text, at)?;
            wire::put_bytes(content, out);
            Some(end)
        }
        Scalar::Double => {
            let (value, end) = plain_double(text, at)?;
            out.extend_from_slice(&value.to_le_bytes());
            Some(end)
        }
        Scalar::Bool => {
            let (value, end) = boolean(text, at)?;
            out.push(u8::from(value));
            Some(end)
        }
        Scalar::Bytes | Scalar::Float => None,
        integer => {
            let (value, end) = self::integer(text, at, integer.is_long())?;
            if !integer.small_range().contains(&value) {
                return None;
            }
            put_integer(integer, value, out);
            Some(end)
        }
    }
}

/// The same with its tag. Where a default value is the same as none, it is left out.
#[inline]
fn single(field: &FieldPlan, explicit: bool, text: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let Kind::Scalar(kind) = field.kind else { return None };
    let start = out.len();
    wire::put_tag(field.number, kind.wire_type(), out);
    let content = out.len();
    let end = scalar(kind, text, at, out);
    if end.is_none() || (!explicit && out[content..].iter().all(|byte| *byte == 0)) {
        out.truncate(start);
    }
    end
}

/// Appends members from `at` on, the first of which stands without a comma before it if `first`, and calls `mark` with
/// the slot of each, which tells whether it was met before. `place` is where in the plan the last one was. Returns
/// where the members end that were taken.
#[inline]
pub(super) fn members(
    plan: &MessagePlan,
    text: &[u8],
    mut at: usize,
    first: &mut bool,
    place: &mut usize,
    mut mark: impl FnMut(usize) -> bool,
    out: &mut Vec<u8>,
) -> usize {
    loop {
        let key = if *first {
            at
        } else if text.get(at) == Some(&b',') {
            at + 1
        } else {
            return at;
        };
        let Some((slot, field)) = plan.expected(*place) else { return at };
        let (Shape::Single { explicit }, None) = (field.shape, field.oneof) else { return at };
        let Some(value) = field.keys[0].end(text, key).or_else(|| field.keys[1].end(text, key)) else {
            return at;
        };
        let length = out.len();
        let Some(end) = single(field, explicit, text, value, out) else { return at };
        if mark(slot) {
            // It was met before, which is for others to judge.
            out.truncate(length);
            return at;
        }
        (*place, *first, at) = (slot + 1, false, end);
    }
}

/// Appends elements from `at` on, in the same way, and counts them. `packed` elements have no tag.
#[inline]
pub(super) fn elements(
    field: &FieldPlan,
    packed: bool,
    text: &[u8],
    mut at: usize,
    count: &mut usize,
    out: &mut Vec<u8>,
) -> usize {
    let Kind::Scalar(kind) = field.kind else { return at };
    loop {
        let value = if *count == 0 {
            at
        } else if text.get(at) == Some(&b',') {
            at + 1
        } else {
            return at;
        };
        let end = if packed { scalar(kind, text, value, out) } else { single(field, true, text, value, out) };
        let Some(end) = end else { return at };
        (*count, at) = (*count + 1, end);
    }
}

/// A string without escapes, and where it ends.
#[inline]
fn string(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let end = end_of_run(text, at + 1);
    (text.get(end) == Some(&b'"')).then(|| (&text[at + 1..end], end + 1))
}

/// An integer of up to eighteen digits, also in quotes where it may be, and where it ends.
#[inline]
fn integer(text: &[u8], at: usize, may_be_quoted: bool) -> Option<(i64, usize)> {
    let quote = may_be_quoted && text.get(at) == Some(&b'"');
    let start = at + usize::from(quote);
    let negative = text.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let (mut value, mut end) = (0_i64, first);
    while let Some(digit @ b'0'..=b'9') = text.get(end) {
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
        end += 1;
    }
    let good_end = match text.get(end)? {
        b'"' => quote,
        b',' | b'}' | b']' => !quote,
        _ => false,
    };
    if !good_end || !(1..=18).contains(&(end - first)) || (end - first > 1 && text[first] == b'0') {
        return None;
    }
    Some((if negative { -value } else { value }, end + usize::from(quote)))
}

#[inline]
fn boolean(text: &[u8], at: usize) -> Option<(bool, usize)> {
    let rest = text.get(at..)?;
    match rest {
        rest if rest.starts_with(b"true") => Some((true, at + 4)),
        rest if rest.starts_with(b"false") => Some((false, at + 5)),
        _ => None,
    }
}
