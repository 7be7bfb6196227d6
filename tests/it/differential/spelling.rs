//! A message as ProtoJSON, in any of the spellings that <https://protobuf.dev/programming-guides/json/> allows.

use std::fmt::{Debug, Display, LowerExp};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, ReflectMessage, Value};

use super::{
    choices::Choices,
    field::{Field, Shape, in_any, key_text, scalar_text, wrapped},
};

/// Members of an object: their names, and their values as JSON.
type Members = Vec<(String, String)>;

pub(super) fn spell(message: &DynamicMessage, choices: Choices) -> String {
    let mut speller = Speller { choices };
    [speller.space(), &speller.message(message), speller.space()].concat()
}

struct Speller {
    choices: Choices,
}

// === impl Speller ===

impl Speller {
    fn message(&mut self, message: &DynamicMessage) -> String {
        let descriptor = message.descriptor();
        if let Some(field) = wrapped(&descriptor) {
            return self.value(&field.kind, &field.read(message).1);
        }
        match descriptor.full_name().strip_prefix("google.protobuf.").unwrap_or_default() {
            "Timestamp" => self.timestamp(message),
            "Duration" => {
                let text = canonical(message);
                let text = self.fraction(text.trim_end_matches('s')) + "s";
                self.string(&text)
            }
            "FieldMask" => self.string(&canonical(message)),
            "Any" => {
                let members = self.any(message);
                self.object(members)
            }
            "Struct" | "ListValue" => {
                let field = &Field::all(&descriptor)[0];
                self.values(field, &field.read(message).1)
            }
            "Value" => {
                let fields = Field::all(&descriptor);
                let set = fields.iter().find_map(|field| Some((&field.kind, field.get(message)?)));
                match set.unwrap() {
                    (Kind::Enum(_), _) => "null".to_owned(),
                    (_, Value::F64(value)) => self.decimal(value),
                    (kind, value) => self.value(kind, &value),
                }
            }
            _ => {
                let members = self.members(message);
                self.object(members)
            }
        }
    }

    /// The fields that are set; and some that are not, as null or as the default that is the same as none.
    fn members(&mut self, message: &DynamicMessage) -> Members {
        let mut members = Vec::new();
        for field in Field::all(&message.descriptor()) {
            let takes_null = field.shape == Shape::Single && field.is("google.protobuf.Value");
            let value = match field.get(message) {
                Some(value) => self.values(&field, &value),
                None if self.choices.one_in(12) && !takes_null => "null".to_owned(),
                None if self.choices.one_in(12) && !field.explicit => {
                    self.values(&field, &field.read(message).1)
                }
                None => continue,
            };
            members.push((self.choices.of(&field.names), value));
        }
        members
    }

    fn any(&mut self, message: &DynamicMessage) -> Members {
        let Some((url, inner)) = in_any(message) else { return Vec::new() };
        let known = url.rsplit_once("/google.protobuf.").filter(|(_, name)| *name != "Empty");
        let mut members = match known {
            Some(_) => vec![("value".to_owned(), self.message(&inner))],
            None => self.members(&inner),
        };
        members.insert(0, ("@type".to_owned(), self.string(&url)));
        members
    }

    fn values(&mut self, field: &Field, value: &Value) -> String {
        let kind = field.value_kind();
        match value {
            Value::List(values) => {
                let values: Vec<_> = values.iter().map(|value| self.value(&kind, value)).collect();
                format!("[{}]", self.joined(&values))
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                let entries =
                    entries.into_iter().map(|(key, value)| (key_text(key), self.value(&kind, value)));
                let members = entries.collect();
                self.object(members)
            }
            value => self.value(&kind, value),
        }
    }

    fn value(&mut self, kind: &Kind, value: &Value) -> String {
        match (kind, value) {
            (Kind::Enum(values), Value::EnumNumber(number)) => self.enum_value(values, *number),
            (_, Value::F32(value)) => {
                let text = if self.choices.one_in(3) {
                    self.decimal(f64::from(*value))
                } else {
                    self.decimal(*value)
                };
                self.number(text)
            }
            (_, Value::F64(value)) => {
                let text = self.decimal(*value);
                self.number(text)
            }
            (_, Value::String(text)) => self.string(text),
            (_, Value::Bytes(bytes)) => {
                let engine = self.choices.of(&[STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]);
                self.string(&engine.encode(bytes))
            }
            (_, Value::Message(message)) => self.message(message),
            (_, Value::Bool(value)) => value.to_string(),
            (_, value) => {
                let text = self.integer(scalar_text(value));
                self.number(text)
            }
        }
    }

    fn enum_value(&mut self, values: &EnumDescriptor, number: i32) -> String {
        match values.get_value(number) {
            Some(value) if value.name() == "NULL_VALUE" && self.choices.one_in(2) => "null".to_owned(),
            Some(value) if !self.choices.one_in(3) => self.string(value.name()),
            _ => number.to_string(),
        }
    }

    /// An integer, maybe with a fraction or an exponent.
    fn integer(&mut self, plain: String) -> String {
        match self.choices.pick(12) {
            1 => format!("{plain}.0"),
            2 if plain != "0" => format!("{plain}0e-1"),
            3 => format!("{plain}.00E+0"),
            4 if plain != "0" && plain.ends_with('0') => format!("{}e1", &plain[..plain.len() - 1]),
            5 if plain == "0" => "-0".to_owned(),
            _ => plain,
        }
    }

    fn decimal<T: Copy + Debug + Display + LowerExp + Into<f64>>(&mut self, value: T) -> String {
        let size = value.into().abs();
        let scientific = format!("{value:e}");
        match self.choices.pick(7) {
            _ if !size.is_finite() => format!("{value}").replace("inf", "Infinity"),
            1 => scientific,
            2 => scientific.to_uppercase(),
            3 => format!("{value}"),
            4 if (1e-3..1e12).contains(&size) => format!("{value:.25}"),
            5 if scientific.contains('.') => scientific.replace('e', "00e"),
            6 => scientific.replace('e', "e+").replace("e+-", "e-0"),
            _ => format!("{value:?}"),
        }
    }

    /// A number in quotes or not. What has no digits must be; and so must an integer that `prost-reflect` would
    /// read as a double and round.
    fn number(&mut self, text: String) -> String {
        let is_rounded = text.len() > 15 && text.contains(['.', 'e', 'E']);
        let is_word = !text.contains(|c: char| c.is_ascii_digit());
        if is_word || is_rounded || self.choices.one_in(3) { self.string(&text) } else { text }
    }

    fn timestamp(&mut self, message: &DynamicMessage) -> String {
        const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
        let mut at: prost_types::Timestamp = message.transcode_to().unwrap();
        let [hours, minutes] = [self.choices.pick(24), self.choices.pick(60)];
        let sign = self.choices.of(&[1, -1]);
        let local = at.seconds + sign * (hours * 3600 + minutes * 60) as i64;
        let mut zone = "Z".to_owned();
        if self.choices.one_in(2) && YEARS.contains(&local) {
            at.seconds = local;
            zone = format!("{}{hours:02}:{minutes:02}", if sign < 0 { '-' } else { '+' });
        }
        let text = self.fraction(at.to_string().trim_end_matches('Z')) + &zone;
        self.string(&text)
    }

    /// The seconds with any number of decimals that is enough.
    fn fraction(&mut self, seconds: &str) -> String {
        let (whole, decimals) = seconds.split_once('.').unwrap_or((seconds, ""));
        let needed = decimals.trim_end_matches('0');
        match needed.len() + self.choices.pick(10 - needed.len()) {
            0 => whole.to_owned(),
            length => format!("{whole}.{needed:0<length$}"),
        }
    }

    fn object(&mut self, mut members: Members) -> String {
        let mut parts = Vec::new();
        while !members.is_empty() {
            let (name, value) = members.remove(self.choices.pick(members.len()));
            parts.push([&self.string(&name), self.space(), ":", self.space(), &value].concat());
        }
        format!("{{{}}}", self.joined(&parts))
    }

    fn joined(&mut self, parts: &[String]) -> String {
        let mut text = self.space().to_owned();
        for (index, part) in parts.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            text.extend([comma, self.space(), part, self.space()]);
        }
        text
    }

    fn space(&mut self) -> &'static str {
        self.choices.of(&["", "", "", "", " ", "\n\t", "\r\n  "])
    }

    fn string(&mut self, text: &str) -> String {
        let mut out = "\"".to_owned();
        let escapes = self.choices.one_in(3);
        for c in text.chars() {
            match c {
                '\n' if self.choices.one_in(2) => out.push_str("\\n"),
                '\u{8}' if self.choices.one_in(2) => out.push_str("\\b"),
                '/' if self.choices.one_in(2) => out.push_str("\\/"),
                '"' | '\\' if !self.choices.one_in(3) => out.extend(['\\', c]),
                '"' | '\\' | '\0'..='\u{1f}' => out.push_str(&escape(c)),
                c if escapes && self.choices.one_in(4) => out.push_str(&escape(c)),
                c if escapes && self.choices.one_in(4) => out.push_str(&escape(c).replace('a', "A")),
                c => out.push(c),
            }
        }
        out + "\""
    }
}

fn escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// The text that the reference writes for a message.
fn canonical(message: &DynamicMessage) -> String {
    serde_json::to_value(message).unwrap().as_str().unwrap().to_owned()
}
