//! Any bytes as the request message of every method of the kitchen, in both styles.
#![no_main]

use grpc_rest_bridge::transcode::Transcoder;
use grpc_rest_bridge_fuzz::{Kitchen, check_request, decode, message, same};
use libfuzzer_sys::fuzz_target;
use prost_reflect::{DynamicMessage, prost::Message};

fuzz_target!(|bytes: &[u8]| {
    let kitchen = Kitchen::open();
    for (method, known) in kitchen.contract.methods().iter().enumerate() {
        for transcoder in [&kitchen.tolerant, &kitchen.proto_json] {
            match transcoder.encode(method, bytes) {
                Ok(encoded) => check_request(&encoded),
                Err(error) => drop(error.to_string()),
            }
            if ["Weigh", "Stock"].contains(&known.descriptor().name()) {
                check_body(kitchen, transcoder, method, bytes);
            }
        }
    }
});

/// Where the body is the whole message, it must say what the reference implementation says. That one writes the
/// message anew before, since it takes some bytes that are none (it reads map entries whatever their wire type is).
fn check_body(kitchen: &Kitchen, transcoder: &Transcoder, method: usize, bytes: &[u8]) {
    let Ok(sent) = DynamicMessage::decode(kitchen.output(method), bytes) else { return };
    // What JSON cannot carry may be refused.
    let Ok(encoded) = transcoder.encode(method, &sent.encode_to_vec()) else { return };
    let json = encoded.request.body();
    let said = decode(&kitchen.proto_json, method, json);
    let said = said.unwrap_or_else(|error| panic!("{error} in our own {}", json.escape_ascii()));
    let said = message(kitchen.output(method), &said.message);
    assert!(same(&sent, &said), "the message is sent as something else: {}", json.escape_ascii());
}
