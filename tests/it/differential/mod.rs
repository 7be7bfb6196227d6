//! The transcoder beside `prost-reflect`, the reference implementation, on messages that nobody thought of.
//!
//! Tables of cases say what somebody thought of. Here proptest makes the messages, from descriptors alone, and the
//! ways to write them: the spellings that ProtoJSON has for one value, and the ways that the wire has for one message.
//! What comes out must be the message that went in, and what the reference makes of the same text. The message that
//! went in has the last word, since the reference refuses some ProtoJSON (see [`REFUSED`]) and reads some of it in
//! another way: `serde_json`, which reads for it, rounds some doubles to a neighbour; it loses the sign of zero in a
//! wrapper; and null for a list of `google.protobuf.Value` is to it one null, not a list.

mod choices;
mod damage;
mod field;
mod generator;
mod query;
mod reference;
mod spelling;
mod wire;

use std::sync::LazyLock;

use grpc_rest_bridge::transcode::{Finding, HttpAnswer, Strictness, Transcoder};
use proptest::prelude::*;
use prost_reflect::{DynamicMessage, ReflectMessage};
use serde_json::Value as Json;

use self::{
    choices::Choices,
    damage::{damaged, damages},
    field::Picture,
    generator::{Sample, samples, samples_for_a_query},
};
use crate::support::Kitchen;

/// What the reference says where it refuses a request's body.
const REFUSED: &[&str] = &[
    // The largest float, 3.4028235e38, is a little more than that as a double.
    "float value out of range",
    // To `serde_json`, so is the largest double in some spellings.
    "number out of range",
    // An `Any` that holds nothing, or an `Empty`, which it has under `value`.
    "expected '@type' field",
    "expected 'value' field",
];

/// And an answer, with spellings that the bridge does not write.
const REFUSED_IN_ANSWERS: &[&str] = &[
    // Integers in quotes, with a fraction or an exponent or as -0.
    "invalid digit found in string",
    "number too large to fit in target type",
    "number too small to fit in target type",
    // `NullValue` by its number.
    "invalid type: integer `0`, expected null",
];

/// Refuses what ProtoJSON has a parser refuse.
static STRICT: LazyLock<Transcoder> =
    LazyLock::new(|| Transcoder::compile(&Kitchen::open().contract, Strictness::PROTO_JSON));

/// What the answer becomes.
fn decode(transcoder: &Transcoder, sample: &Sample, text: &[u8]) -> Result<Picture, String> {
    let answer = HttpAnswer { content_type: "application/json", body: text };
    let decoded = transcoder.decode(Kitchen::open().index(sample.method), 0, &answer);
    let message = decoded.map_err(|mismatch| mismatch.to_string())?.message;
    Ok(Picture::of(&DynamicMessage::decode(sample.message.descriptor(), message).unwrap()))
}

/// What the reference makes of the text.
fn by_reference(sample: &Sample, text: &[u8]) -> Result<Picture, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let message = Kitchen::open().message(sample.message.descriptor().full_name(), text);
    message.map(|message| Picture::of(&message)).map_err(|error| error.to_string())
}

/// How many places of the answer do not fit, to a survey.
fn misfits(sample: &Sample, text: &[u8]) -> Result<usize, String> {
    let (kitchen, answer) = (Kitchen::open(), HttpAnswer { body: text, ..HttpAnswer::default() });
    let survey = kitchen.transcoder.survey(kitchen.index(sample.method), 0, &answer);
    let survey = survey.map_err(|mismatch| mismatch.to_string())?;
    Ok(survey.findings().filter(|(_, finding, _)| matches!(finding, Finding::Misfit(_))).count())
}

/// The query and the body of the request that the message becomes.
fn request(method: &str, message: &[u8]) -> Result<(String, Vec<u8>), String> {
    let kitchen = Kitchen::open();
    let encoded = kitchen.transcoder.encode(kitchen.index(method), message);
    let request = encoded.map_err(|error| error.to_string())?.request;
    Ok((request.uri().query().unwrap_or_default().to_owned(), request.into_body().into()))
}

/// Whether it is JSON, however large its numbers are, or no body at all. A byte order mark is skipped, as RFC 8259
/// allows.
fn is_json(text: &[u8]) -> bool {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let error = serde_json::from_slice::<Json>(text).err();
    text.iter().all(u8::is_ascii_whitespace)
        || error.is_none_or(|error| error.to_string().starts_with("number out of range"))
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: 3 * default.cases, max_shrink_iters: 20_000, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_answer_is_the_same_message_in_every_spelling(sample in samples(), choices in Choices::any()) {
        let text = spelling::spell(&sample.message, choices);
        let made = Picture::of(&sample.message);
        for transcoder in [&STRICT, &Kitchen::open().transcoder] {
            prop_assert_eq!(decode(transcoder, &sample, text.as_bytes()), Ok(made.clone()), "{}", text);
        }
        prop_assert_eq!(misfits(&sample, text.as_bytes()), Ok(0), "{}", text);
        match by_reference(&sample, text.as_bytes()) {
            Ok(reference) => prop_assert!(made.is_like(&reference), "{} is {:?}", text, reference),
            Err(error) => {
                let mut refused = REFUSED.iter().chain(REFUSED_IN_ANSWERS);
                prop_assert!(refused.any(|known| error.starts_with(known)), "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn a_request_is_the_same_json_however_its_message_was_written(sample in samples(), choices in Choices::any()) {
        let bytes = wire::encode(&sample.message, choices);
        let made = Picture::of(&sample.message);
        let reference = reference::decode(&sample.message.descriptor(), &bytes).unwrap();
        prop_assert_eq!(&Picture::of(&reference), &made, "the bytes are another message");
        let (_, body) = request(sample.method, &bytes).map_err(TestCaseError::fail)?;
        let text = String::from_utf8_lossy(&body);
        prop_assert_eq!(decode(&STRICT, &sample, &body), Ok(made.clone()), "{}", text);
        match by_reference(&sample, &body) {
            Ok(reference) => prop_assert!(made.is_like(&reference), "{} is {:?}", text, reference),
            Err(error) => {
                prop_assert!(REFUSED.iter().any(|known| error.starts_with(known)), "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn a_query_says_the_message_to_rack(sample in samples_for_a_query(), choices in Choices::any()) {
        let bytes = wire::encode(&sample.message, choices);
        let asked = request(sample.method, &bytes);
        // The value of a map's key can be an empty message, which would not be there.
        prop_assume!(!asked.as_ref().is_err_and(|error| error.ends_with(" is empty, which a query cannot carry")));
        let (query, _) = asked.map_err(TestCaseError::fail)?;
        prop_assert_eq!(query::parse(&query), query::expected(&sample.message), "{}", query);
    }

    #[test]
    fn a_damaged_answer_is_understood_only_if_it_is_json(
        sample in samples(),
        choices in Choices::any(),
        ways in prop::collection::vec(damages(), 1..8),
    ) {
        let whole = spelling::spell(&sample.message, choices).into_bytes();
        for damages in ways {
            let text = damaged(&whole, &damages);
            let shown = String::from_utf8_lossy(&text);
            let [strictly, leniently] =
                [&STRICT, &Kitchen::open().transcoder].map(|transcoder| decode(transcoder, &sample, &text));
            let is_understood = strictly.is_ok() || leniently.is_ok() || misfits(&sample, &text).is_ok();
            prop_assert!(!is_understood || is_json(&text), "{}", shown);
            if let (Ok(ours), Ok(reference)) = (strictly, by_reference(&sample, &text)) {
                prop_assert!(ours.is_like(&reference), "{} is {:?} and {:?}", shown, ours, reference);
            }
        }
    }

    #[test]
    fn a_damaged_request_is_refused_or_says_what_is_left(
        sample in samples(),
        choices in Choices::any(),
        damages in damages(),
    ) {
        let bytes = damaged(&wire::encode(&sample.message, choices), &damages);
        let _never_a_panic = request(&format!("{}ByQuery", sample.method), &bytes);
        if let Ok((_, body)) = request(sample.method, &bytes) {
            let ours = decode(&STRICT, &sample, &body).map_err(TestCaseError::fail)?;
            if let Some(reference) = reference::decode(&sample.message.descriptor(), &bytes) {
                let reference = Picture::of(&reference);
                prop_assert!(ours.is_like(&reference), "{:?} is {:?} and {:?}", bytes, ours, reference);
            }
        }
    }
}
