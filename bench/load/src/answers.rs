//! What the API itself answers, and whether an answer says the same.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::OnceLock,
};

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::{Fault, call::Call};

/// The answers of the API by the path of the resource.
#[derive(Debug)]
pub(crate) struct Answers {
    expected: HashMap<String, Expected>,
    ids: Vec<i64>,
    pool: DescriptorPool,
}

#[derive(Debug)]
struct Expected {
    json: Bytes,
    /// The first message that was found to say the same: later ones need only be compared with it.
    message: OnceLock<Bytes>,
}

// === impl Answers ===

impl Answers {
    /// Reads the bodies that the API gave, and the contract.
    pub(crate) fn read(bodies: &Path, descriptor_set: &Path) -> Result<Self, Fault> {
        let bodies: BTreeMap<String, String> = serde_json::from_slice(&fs::read(bodies)?)?;
        let pool = DescriptorPool::decode(&*fs::read(descriptor_set)?)?;
        let ids: Vec<_> =
            bodies.keys().filter_map(|path| path.strip_prefix("/products/")?.parse().ok()).collect();
        if ids.is_empty() {
            return Err("there is no product among the answers".into());
        }
        let expected = |json: String| Expected { json: json.into(), message: OnceLock::new() };
        let expected = bodies.into_iter().map(|(path, json)| (path, expected(json))).collect();
        Ok(Self { expected, ids, pool })
    }

    /// The products that there are.
    pub(crate) fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// Whether this is, to the last byte, the JSON that the API gives.
    pub(crate) fn is_right_json(&self, call: Call, body: &Bytes) -> bool {
        self.expected.get(&call.resource()).is_some_and(|expected| expected.json == body)
    }

    /// Whether this message has, field by field, what the JSON has.
    pub(crate) fn is_right_message(&self, call: Call, message: &Bytes) -> bool {
        let Some(expected) = self.expected.get(&call.resource()) else { return false };
        if expected.message.get() == Some(message) {
            return true;
        }
        let right = self.says_the_same(call, &expected.json, message).unwrap_or(false);
        if right {
            expected.message.get_or_init(|| message.clone());
        }
        right
    }

    fn says_the_same(&self, call: Call, json: &Bytes, message: &Bytes) -> Result<bool, Fault> {
        let kind = self.pool.get_message_by_name(call.answer_type()).ok_or("not in the contract")?;
        let mut json = serde_json::Deserializer::from_slice(json);
        let expected = DynamicMessage::deserialize(kind.clone(), &mut json)?.encode_to_vec();
        // Both are decoded, since a list that was set to nothing would not equal one that was not set.
        let decode = |bytes: &[u8]| DynamicMessage::decode(kind.clone(), bytes);
        Ok(decode(message)? == decode(&expected)?)
    }
}
