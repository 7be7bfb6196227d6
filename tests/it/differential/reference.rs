//! The reference implementation, and bytes that it takes for something else than they are.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::field::in_any;
use crate::support::Kitchen;

/// The message that these bytes are to `prost-reflect`. It reads the entry of a map whatever the wire type of the
/// field is, and so gets out of step with all that follows; `None` for such bytes, as for those that are no message.
pub(super) fn decode(descriptor: &MessageDescriptor, bytes: &[u8]) -> Option<DynamicMessage> {
    let plain = WITHOUT_MAPS.get_message_by_name(descriptor.full_name()).unwrap();
    let plain = DynamicMessage::decode(plain, bytes).ok()?;
    keeps_step(&plain).then(|| DynamicMessage::decode(descriptor.clone(), bytes).unwrap())
}

/// The kitchen with every map as the list of entries that it is on the wire.
static WITHOUT_MAPS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    fn unmap(message: &mut DescriptorProto) {
        message.options.iter_mut().for_each(|options| options.map_entry = None);
        message.nested_type.iter_mut().for_each(unmap);
    }
    let mut set = FileDescriptorSet::decode(Kitchen::open().contract.descriptor_set().clone()).unwrap();
    set.file.iter_mut().flat_map(|file| &mut file.message_type).for_each(unmap);
    DescriptorPool::from_file_descriptor_set(set).unwrap()
});

/// Whether what every `Any` in it holds is readable too.
fn keeps_step(message: &DynamicMessage) -> bool {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        return message.fields().count() == 0 || in_any(message).is_some_and(|(_, inner)| keeps_step(&inner));
    }
    let mut values =
        message.fields().map(|(_, value)| value).chain(message.extensions().map(|(_, value)| value));
    values.all(|value| match value {
        Value::Message(inner) => keeps_step(inner),
        Value::List(values) => values.iter().filter_map(Value::as_message).all(keeps_step),
        _ => true,
    })
}
