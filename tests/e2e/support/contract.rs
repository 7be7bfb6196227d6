//! The contract's messages as something that can be walked field by field.

use std::sync::LazyLock;

use grpc_rest_bridge::{
    contract::Contract,
    shop::v1::{GetProductResponse, ListProductsResponse},
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(&**Contract::embedded().descriptor_set()).unwrap());

/// A message that knows its name in the contract.
pub(crate) trait Shape: Message {
    const NAME: &str;
}

impl Shape for GetProductResponse {
    const NAME: &str = "shop.v1.GetProductResponse";
}

impl Shape for ListProductsResponse {
    const NAME: &str = "shop.v1.ListProductsResponse";
}

/// The message with its fields by their names.
pub(crate) fn dynamic<M: Shape>(message: &M) -> DynamicMessage {
    DynamicMessage::decode(descriptor::<M>(), &*message.encode_to_vec()).unwrap()
}

/// Reads protobuf's JSON, as tools print it; a name that is in no field is refused.
pub(crate) fn from_json<M: Shape>(json: &str) -> DynamicMessage {
    let mut json_reader = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor::<M>(), &mut json_reader);
    let message = message.unwrap_or_else(|error| panic!("this is no {}: {error}\n{json}", M::NAME));
    json_reader.end().unwrap();
    message
}

fn descriptor<M: Shape>() -> MessageDescriptor {
    POOL.get_message_by_name(M::NAME).unwrap()
}
