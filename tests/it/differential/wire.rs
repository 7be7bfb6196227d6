//! A message on the wire, in any of the ways that <https://protobuf.dev/programming-guides/encoding/> allows.

use std::collections::VecDeque;

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};

use super::{
    choices::Choices,
    field::{Field, Shape, in_any},
};

/// A field with its tag.
type Record = Vec<u8>;

pub(super) fn encode(message: &DynamicMessage, choices: Choices) -> Vec<u8> {
    Encoder { choices }.message(message)
}

struct Encoder {
    choices: Choices,
}

// === impl Encoder ===

impl Encoder {
    fn message(&mut self, message: &DynamicMessage) -> Vec<u8> {
        self.records(message).concat()
    }

    /// The fields in any order, with unknown ones between them. What is written for one field stays in order.
    fn records(&mut self, message: &DynamicMessage) -> Vec<Record> {
        let mut message = message.clone();
        if let Some((_, inner)) = in_any(&message) {
            message.set_field_by_number(2, Value::Bytes(self.message(&inner).into()));
        }
        let fields = Field::all(&message.descriptor()).into_iter();
        let mut queues: Vec<_> = fields.map(|field| VecDeque::from(self.field(&field, &message))).collect();
        let mut records = Vec::new();
        while !queues.is_empty() {
            let at = self.choices.pick(queues.len());
            match queues[at].pop_front() {
                Some(record) => records.push(record),
                None => drop(queues.remove(at)),
            }
            if self.choices.one_in(20) {
                records.push(self.unknown(0));
            }
        }
        records
    }

    fn field(&mut self, field: &Field, message: &DynamicMessage) -> Vec<Record> {
        let is_implicit = field.shape == Shape::Single && !field.explicit;
        let value = field.get(message);
        let value = value.or_else(|| (is_implicit && self.choices.one_in(10)).then(|| field.read(message).1));
        match value {
            None => Vec::new(),
            Some(Value::List(values)) if is_packable(&field.kind) => self.packable(field, &values),
            Some(Value::List(values)) => values.iter().map(|value| self.record(field, value)).collect(),
            Some(Value::Map(entries)) => {
                let mut entries: Vec<_> = entries.into_iter().collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                entries.into_iter().flat_map(|(key, value)| self.entry(field, key.into(), value)).collect()
            }
            Some(Value::Message(inner)) => [self.rival(field), self.parts(field, &inner)].concat(),
            Some(value) => [self.rival(field), self.junk(field), vec![self.record(field, &value)]].concat(),
        }
    }

    /// Packed, not packed, and packed in chunks; an empty one may follow.
    fn packable(&mut self, field: &Field, mut values: &[Value]) -> Vec<Record> {
        let mut records = Vec::new();
        while !values.is_empty() {
            let (chunk, rest) = values.split_at(values.len() - self.choices.pick(values.len()));
            match chunk {
                [value] if self.choices.one_in(2) => records.push(self.record(field, value)),
                chunk => records.push(self.packed(field, chunk)),
            }
            values = rest;
        }
        if self.choices.one_in(5) {
            records.push(self.packed(field, &[]));
        }
        records
    }

    fn packed(&mut self, field: &Field, values: &[Value]) -> Record {
        let content: Vec<u8> = values.iter().flat_map(|value| self.scalar(&field.kind, value)).collect();
        self.tagged(field.number, WireType::LengthDelimited, &content)
    }

    /// A map entry, which is a message of a key and a value; and maybe one before it that does not count.
    fn entry(&mut self, field: &Field, key: Value, value: Value) -> Vec<Record> {
        let descriptor = field.kind.as_message().unwrap();
        let mut entry = DynamicMessage::new(descriptor.clone());
        entry.set_field(&descriptor.map_entry_key_field(), key);
        let before = self.choices.one_in(8).then(|| self.record(field, &Value::Message(entry.clone())));
        entry.set_field(&descriptor.map_entry_value_field(), value);
        before.into_iter().chain([self.record(field, &Value::Message(entry))]).collect()
    }

    /// A message whole, or in parts, which are merged.
    fn parts(&mut self, field: &Field, message: &DynamicMessage) -> Vec<Record> {
        let mut left = self.records(message);
        let mut parts = Vec::new();
        while self.choices.one_in(3) && parts.len() < 3 {
            parts.push(left.drain(..self.choices.pick(left.len() + 1)).collect::<Vec<_>>());
        }
        parts.push(left);
        parts.iter().map(|part| self.tagged(field.number, wire_type(field), &part.concat())).collect()
    }

    /// An earlier value of the field, of which the last one counts.
    fn junk(&mut self, field: &Field) -> Vec<Record> {
        let content: &[u8] = match wire_type(field) {
            _ if self.choices.one_in(2) => return Vec::new(),
            WireType::SixtyFourBit => &[7; 8],
            WireType::ThirtyTwoBit => &[7; 4],
            WireType::LengthDelimited => b"junk",
            _ => &[7],
        };
        vec![self.tagged(field.number, wire_type(field), content)]
    }

    /// Another member of the `oneof`, which is cleared by what comes after it.
    fn rival(&mut self, field: &Field) -> Vec<Record> {
        if field.rivals.is_empty() || self.choices.one_in(2) {
            return Vec::new();
        }
        let rival = Field::of(self.choices.of(&field.rivals));
        vec![self.record(&rival, &Value::default_value(&rival.kind))]
    }

    fn record(&mut self, field: &Field, value: &Value) -> Record {
        let content = match value {
            Value::Message(message) => self.message(message),
            Value::String(text) => text.clone().into_bytes(),
            Value::Bytes(bytes) => bytes.to_vec(),
            value => self.scalar(&field.kind, value),
        };
        self.tagged(field.number, wire_type(field), &content)
    }

    #[allow(clippy::cast_sign_loss)] // two's complement is the encoding
    fn scalar(&mut self, kind: &Kind, value: &Value) -> Vec<u8> {
        let number = match (kind, value) {
            (_, Value::F64(value)) => return value.to_le_bytes().to_vec(),
            (_, Value::F32(value)) => return value.to_le_bytes().to_vec(),
            (Kind::Fixed32, Value::U32(value)) => return value.to_le_bytes().to_vec(),
            (Kind::Sfixed32, Value::I32(value)) => return value.to_le_bytes().to_vec(),
            (Kind::Fixed64, Value::U64(value)) => return value.to_le_bytes().to_vec(),
            (Kind::Sfixed64, Value::I64(value)) => return value.to_le_bytes().to_vec(),
            (Kind::Sint32, Value::I32(value)) => u64::from(((value << 1) ^ (value >> 31)) as u32),
            (Kind::Sint64, Value::I64(value)) => ((value << 1) ^ (value >> 63)) as u64,
            // Of a negative number the upper half may be missing.
            (_, Value::I32(value)) if self.choices.one_in(8) => u64::from(*value as u32),
            (_, Value::I32(value) | Value::EnumNumber(value)) => i64::from(*value) as u64,
            (_, Value::I64(value)) => *value as u64,
            (_, Value::U32(value)) => u64::from(*value),
            (_, Value::U64(value)) => *value,
            (_, Value::Bool(value)) => u64::from(*value),
            _ => unreachable!("a value is of its kind"),
        };
        self.varint(number)
    }

    /// A varint, which may be longer than it must be.
    fn varint(&mut self, value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_varint(value, &mut bytes);
        if bytes.len() < 9 && self.choices.one_in(8) {
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.extend(self.choices.of(&[&[0][..], &[0x80, 0]]));
        }
        bytes
    }

    /// A field that no contract has. Groups of them nest.
    fn unknown(&mut self, depth: usize) -> Record {
        let number = self.choices.of(&[999, 150, 536_870_911]);
        match self.choices.pick(5) {
            0 => self.tagged(number, WireType::Varint, &[7]),
            1 => self.tagged(number, WireType::SixtyFourBit, &[0xff; 8]),
            2 => self.tagged(number, WireType::ThirtyTwoBit, &[0xff; 4]),
            3 => self.tagged(number, WireType::LengthDelimited, &[0x0c, 0xff]),
            _ => {
                let content = if depth < 3 { self.unknown(depth + 1) } else { Vec::new() };
                self.tagged(number, WireType::StartGroup, &content)
            }
        }
    }

    /// The content behind its tag, and behind its length or before the end of its group.
    fn tagged(&mut self, number: u32, wire_type: WireType, content: &[u8]) -> Record {
        let mut record = Vec::new();
        encode_key(number, wire_type, &mut record);
        if wire_type == WireType::LengthDelimited {
            record.extend(self.varint(content.len() as u64));
        }
        record.extend(content);
        if wire_type == WireType::StartGroup {
            encode_key(number, WireType::EndGroup, &mut record);
        }
        record
    }
}

fn wire_type(field: &Field) -> WireType {
    if field.is_group { WireType::StartGroup } else { field.kind.wire_type() }
}

fn is_packable(kind: &Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}
