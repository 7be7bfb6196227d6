//! The short way: what is written just as ProtoJSON writes it, by serializers that put in no white space, or one space
//! after commas and colons.
//!
//! That is nearly everything that APIs answer. A stretch of it is taken in one loop over bytes; at the first thing that
//! is anything else, be it a line break, a null or a fault, the loop ends before it, and the one way that knows
//! tolerances and complaints goes on. So nothing is decided here, and nothing can go wrong here.

use super::{
    json::{copy_run, escaped},
    number::{digits, plain_double},
    plan::{FieldPlan, Kind, MessagePlan, Scalar, Shape},
    scalar::put_integer,
    wire,
};

/// Where the value ends that begins at `at`, once it has been appended without a tag. After `None` something may
/// have been appended.
#[inline]
fn scalar(scalar: Scalar, text: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    match scalar {
        Scalar::String => string(text, at, out),
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

/// The same with its tag. Where a default value is the same as none, it is left out. After `None` something may have
/// been appended.
#[inline]
fn single(field: &FieldPlan, explicit: bool, text: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let Kind::Scalar(kind) = field.kind else { return None };
    let start = out.len();
    wire::put_tag(field.number, kind.wire_type(), out);
    let content = out.len();
    let end = scalar(kind, text, at, out);
    if !explicit && out[content..].iter().all(|byte| *byte == 0) {
        out.truncate(start);
    }
    end
}

/// Where the next member or element begins, after a comma unless it is the first.
#[inline]
fn next_item(text: &[u8], at: usize, first: bool) -> Option<usize> {
    if first {
        return Some(at);
    }
    (text.get(at) == Some(&b',')).then(|| after_space(text, at + 1))
}

/// Some serializers put one space after each comma and colon.
#[inline]
fn after_space(text: &[u8], at: usize) -> usize {
    if text.get(at) == Some(&b' ') { behind(at) } else { at }
}

/// A call, so that it is a branch, which is foretold: where a sum is computed, what follows has to wait for it.
#[cold]
#[inline(never)]
fn behind(at: usize) -> usize {
    at + 1
}

/// Where the short way through an object ended.
pub(super) struct Stop<'p> {
    pub(super) at: usize,
    /// The slot and the name of the field whose key was read, but not its value, which is not plain.
    pub(super) before_value_of: Option<(usize, &'p str)>,
}

/// Appends members from `at` on, the first of which stands without a comma before it if `first`, and calls `mark` with
/// the slot of each, which tells whether it was met before. `place` is where in the plan the last one was.
#[inline]
pub(super) fn members<'p>(
    plan: &'p MessagePlan,
    text: &[u8],
    mut at: usize,
    first: &mut bool,
    place: &mut usize,
    mut mark: impl FnMut(usize) -> bool,
    out: &mut Vec<u8>,
) -> Stop<'p> {
    loop {
        let stop = Stop { at, before_value_of: None };
        let Some(key) = next_item(text, at, *first) else { return stop };
        let Some((slot, field)) = plan.expected(*place) else { return stop };
        let (name, value) = if let Some(end) = field.keys[0].end(text, key) {
            (&field.json_name, end)
        } else if let Some(end) = field.keys[1].end(text, key) {
            (&field.name, end)
        } else {
            return stop;
        };
        (*place, *first) = (slot + 1, false);
        let value = after_space(text, value);
        let stop = Stop { at: value, before_value_of: Some((slot, name)) };
        let (Shape::Single { explicit }, None) = (field.shape, field.oneof) else { return stop };
        let length = out.len();
        match single(field, explicit, text, value, out) {
            Some(end) if !mark(slot) => at = end,
            // It is for others to judge, also if it was met before.
            _ => {
                out.truncate(length);
                return stop;
            }
        }
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
        let Some(value) = next_item(text, at, *count == 0) else { return at };
        let length = out.len();
        let end = if packed { scalar(kind, text, value, out) } else { single(field, true, text, value, out) };
        let Some(end) = end else {
            out.truncate(length);
            return at;
        };
        (*count, at) = (*count + 1, end);
    }
}

/// A string behind its length, and where it ends.
#[inline]
fn string(text: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let mut end = None;
    let written = wire::put_delimited(out, |out| {
        end = string_content(text, at + 1, out);
        end.map(drop).ok_or(())
    });
    written.ok().and(end)
}

/// What stands in quotes, unescaped; escapes that stand for more than a byte are not plain.
#[inline]
fn string_content(text: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        at = copy_run(text, at, out);
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => out.push(escaped(*text.get(at + 1)?)?),
            _ => return None,
        }
        at += 2;
    }
}

/// An integer of up to eighteen digits, also in quotes where it may be, and where it ends.
#[inline]
fn integer(text: &[u8], at: usize, may_be_quoted: bool) -> Option<(i64, usize)> {
    let quote = may_be_quoted && text.get(at) == Some(&b'"');
    let start = at + usize::from(quote);
    let negative = text.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut value = 0;
    let end = digits(text, first, &mut value);
    let good_end = match text.get(end)? {
        b'"' => quote,
        b',' | b'}' | b']' => !quote,
        _ => false,
    };
    if !good_end || !(1..=18).contains(&(end - first)) || (end - first > 1 && text[first] == b'0') {
        return None;
    }
    let value = value.cast_signed();
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
