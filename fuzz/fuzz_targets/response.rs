//! Any bytes as the answer to methods of the kitchen: what is accepted must be a message, and come back as it was.
#![no_main]

use grpc_rest_bridge::transcode::{Finding, Survey};
use grpc_rest_bridge_fuzz::{Kitchen, check_request, decode, message, same, survey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let kitchen = Kitchen::open();
    for name in ["Weigh", "Stock", "SetFree", "FindDishes", "PutImage"] {
        let method = kitchen.index(name);
        let tolerant = decode(&kitchen.tolerant, method, body);
        check_strictness(kitchen, method, body);
        let survey = survey(&kitchen.tolerant, method, body);
        assert_eq!(
            tolerant.is_ok(),
            survey.is_ok_and(|survey| fits(&survey)),
            "{name}: the survey is of another opinion than {tolerant:?}"
        );
        let decoded = match tolerant {
            Ok(decoded) => decoded,
            Err(mismatch) => {
                drop(mismatch.to_string());
                continue;
            }
        };
        // The worst is a `repeated google.protobuf.Value`: twelve bytes for the two of `0,`.
        let longest = 6 * body.len() + 64;
        assert!(
            decoded.message.len() <= longest,
            "{name}: {} bytes of {}",
            decoded.message.len(),
            body.len()
        );
        let first = message(kitchen.output(method), &decoded.message);
        if ["Weigh", "Stock"].contains(&name) {
            for transcoder in [&kitchen.tolerant, &kitchen.proto_json] {
                // What JSON cannot carry, a request may refuse.
                let Ok(encoded) = transcoder.encode(method, &decoded.message) else { continue };
                check_request(&encoded);
                let json = encoded.request.body();
                let again = decode(&kitchen.proto_json, method, json);
                let again =
                    again.unwrap_or_else(|e| panic!("{name}: {e} in our own {}", json.escape_ascii()));
                let second = message(kitchen.output(method), &again.message);
                assert!(same(&first, &second), "{name}: what was read is sent as {}", json.escape_ascii());
            }
        }
    }
});

/// What a stricter reader accepts, a less strict one reads in the same way.
fn check_strictness(kitchen: &Kitchen, method: usize, body: &[u8]) {
    let readers = [&kitchen.strict, &kitchen.proto_json, &kitchen.tolerant];
    let mut before = None;
    for read in readers.map(|reader| decode(reader, method, body).map(|decoded| decoded.message)) {
        if let Some(before) = before {
            assert_eq!(read.as_ref().ok(), Some(&before), "it is refused, or read in another way: {read:?}");
        }
        before = read.ok();
    }
}

/// Whether nothing was found for which a call would fail.
fn fits(survey: &Survey) -> bool {
    survey.findings().all(|(_, finding, _)| !matches!(finding, Finding::Misfit(_)))
}
