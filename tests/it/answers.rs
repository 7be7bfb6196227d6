use grpc_rest_bridge::transcode::{Strictness, Tolerance};
use proptest::prelude::*;
use prost::Message;
use prost_reflect::ReflectMessage;

use crate::{mapping::EVERYTHING, support::Kitchen};

/// Answers that the reference implementation reads too.
const ANSWERS: &[&str] = &[
    "{}",
    " \t\r\n{ } ",
    EVERYTHING,
    r#"{"doubleValue": 2, "floatValue": 4.5}"#,
    r#"{"doubleValue": 2.0, "double_value": 1.0e-05}"#,
    r#"{"doubleValue": -0.0, "floatValue": -0.0}"#,
    r#"{"doubleValue": "12.50", "floatValue": "Infinity"}"#,
    r#"{"int64Value": 9223372036854775807, "uint64Value": 18446744073709551615}"#,
    r#"{"int32Value": 2.0, "int64Value": "7", "sint32Value": 1e3, "uint32Value": "5"}"#,
    r#"{"int32Value": 0, "maybe": 0, "boolValue": false, "stringValue": "", "bytesValue": "", "size": 0}"#,
    r#"{"stringValue": "\u00e9\ud83d\ude00\u0000\/", "called": "a", "words": ["\"", "\\"]}"#,
    r#"{"stringValue": null, "numbers": null, "labels": null, "inner": null, "at": null, "right": null}"#,
    r#"{"left": null, "right": {"id": 1}}"#,
    r#"{"bytesValue": "-_8", "wrappedBytes": "+/8"}"#,
    r#"{"size": "SIZE_LARGE", "sizes": ["SIZE_SMALL", 2, 77, -1]}"#,
    r#"{"numbers": [], "doubles": [], "more": [], "labels": {}, "inner": {}}"#,
    r#"{"labels": {"a": "1", "b": ""}, "dishes": {"7": {"title": "x"}}, "answers": {"true": 2}}"#,
    r#"{"at": "2022-08-05T22:38:22.678+02:00", "lasts": "1.5s", "mask": "a.bC,d"}"#,
    r#"{"at": "1970-01-01T00:00:00Z", "lasts": "0s", "mask": ""}"#,
    r#"{"wrappedLong": 5, "wrappedText": "x", "wrappedBool": true, "wrappedDouble": 0.5}"#,
    r#"{"inner": {"inner": {"more": [{"more": [{}, {"int32Value": 5}]}]}}}"#,
];

/// Answer -> what is said of it.
const MISMATCHES: &[[&str; 2]] = &[
    ["[]", "expected an object, found an array (line 1, column 1)"],
    ["", ""],
    ["null", "expected an object, found null (line 1, column 1)"],
    [
        "{\"int32Value\": \"four\"}",
        "int32Value: expected an integer of 32 bits, found a string (line 1, column 22)",
    ],
    [
        "{\"int32Value\": 1.5}",
        "int32Value: expected an integer of 32 bits, found another number (line 1, column 19)",
    ],
    [
        "{\"int32_value\": 2147483648}",
        "int32_value: expected an integer of 32 bits, found another number (line 1, column 27)",
    ],
    [
        "{\"uint64Value\": -1}",
        "uint64Value: expected a positive integer of 64 bits, found another number (line 1, column 19)",
    ],
    ["{\"doubleValue\": true}", "doubleValue: expected a number, found a boolean (line 1, column 17)"],
    ["{\"doubleValue\": 1e400}", "doubleValue: expected a number, found another number (line 1, column 22)"],
    ["{\"floatValue\": 1e39}", "floatValue: expected a number, found another number (line 1, column 20)"],
    ["{\"stringValue\": 83.84}", "stringValue: expected a string, found a number (line 1, column 17)"],
    ["{\"boolValue\": \"true\"}", "boolValue: expected a boolean, found a string (line 1, column 15)"],
    [
        "{\"bytesValue\": \"?\"}",
        "bytesValue: expected base64 in a string, found another string (line 1, column 19)",
    ],
    [
        "{\"at\": \"yesterday\"}",
        "at: expected a time such as 2026-01-02T03:04:05.678Z, found another string (line 1, column 19)",
    ],
    [
        "{\"at\": 5}",
        "at: expected a time such as 2026-01-02T03:04:05.678Z, found a number (line 1, column 8)",
    ],
    [
        "{\"size\": true}",
        "size: expected the name or number of an enum value, found a boolean (line 1, column 10)",
    ],
    [
        "{\n  \"more\": [\n    {},\n    {\"labels\": {\"é\": 5}}\n  ]\n}",
        "more[1].labels.é: expected a string, found a number (line 4, column 22)",
    ],
    [
        "{\"numbers\": [1, \"x\"]}",
        "numbers[1]: expected an integer of 32 bits, found a string (line 1, column 20)",
    ],
    ["{\"numbers\": 1}", "numbers: expected an array, found a number (line 1, column 13)"],
    ["{\"labels\": []}", "labels: expected an object, found an array (line 1, column 12)"],
    [
        "{\"dishes\": {\"x\": {}}}",
        "dishes.x: expected an integer of 64 bits, found another key (line 1, column 18)",
    ],
    [
        "{\"dishes\": {\"+7\": {}}}",
        "dishes.+7: expected an integer of 64 bits, found another key (line 1, column 19)",
    ],
    [
        "{\"answers\": {\"maybe\": 1}}",
        "answers.maybe: expected true or false as key, found another key (line 1, column 23)",
    ],
    [
        "{\"left\": \"a\", \"right\": {}}",
        "right: another member of its oneof is set already (line 1, column 24)",
    ],
    [
        "{\"left\": null, \"left\": \"a\", \"right\": {}}",
        "right: another member of its oneof is set already (line 1, column 38)",
    ],
    [
        "{\"left\": null, \"right\": {}, \"left\": \"a\"}",
        "left: another member of its oneof is set already (line 1, column 37)",
    ],
    ["{\"inner\": {\"size\": 1", "inner: expected \",\" or \"}\", but the text ends (line 1, column 21)"],
    ["{\"unknown\": [1,", "unknown: expected a value, but the text ends (line 1, column 16)"],
    ["{} {}", "expected the end, found \"{\" (line 1, column 4)"],
    ["<html>", "expected a value, found \"<\" (line 1, column 1)"],
];

/// An object in free JSON is three messages, a list two: what nests deeper than parsers of protobuf read is refused.
#[test]
fn free_json_nests_as_deep_as_its_messages_may() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{{\"free\": {}1{}}}", open.repeat(depth), close.repeat(depth))
    };
    for (open, close, deepest, place) in [("{\"a\":", "}", 33, "free.a.a"), ("[", "]", 49, "free[0][0]")] {
        let kitchen = Kitchen::open();
        let message = kitchen.decode("Weigh", &nested(open, close, deepest)).unwrap();
        assert!(message.has_field_by_name("free"));
        let said = kitchen.decode("Weigh", &nested(open, close, deepest + 1)).unwrap_err().to_string();
        assert!(said.starts_with(place) && said.contains(": nested deeper than 100 levels"), "{said}");
    }
}

#[test]
fn of_a_value_that_comes_twice_in_an_any_the_last_counts() {
    let any = r#"{"anything": {"@type": "t/google.protobuf.Duration", "value": "1s", "value": "0.5s"}}"#;
    let kitchen = Kitchen::open();
    let decoded = kitchen.decode_strictly("Weigh", any, Strictness::default()).unwrap();
    assert_eq!(decoded.tolerated.iter().collect::<Vec<_>>(), [(Tolerance::DuplicateKey, 1)]);
    let once = any.replace("\"value\": \"1s\", ", "");
    assert_eq!(kitchen.decode("Weigh", any).unwrap(), kitchen.decode("Weigh", &once).unwrap());
}

#[test]
fn an_answer_becomes_the_message_that_the_reference_implementation_makes() {
    let kitchen = Kitchen::open();
    for answer in ANSWERS {
        let expected = kitchen.message("kitchen.v1.Everything", answer).unwrap();
        let decoded = kitchen.decode("Weigh", answer).unwrap();
        let [decoded_json, expected_json] =
            [&decoded, &expected].map(|message| serde_json::to_value(message).unwrap());
        assert_eq!(decoded_json, expected_json, "{answer}");
        // The JSON of both is alike too where a default value is set in one and unset in the other.
        assert_eq!(decoded.encoded_len(), expected.encoded_len(), "{answer}");
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let kitchen = Kitchen::open();
    for [answer, complaint] in MISMATCHES {
        let said =
            kitchen.decode("Weigh", answer).err().map(|mismatch| mismatch.to_string()).unwrap_or_default();
        assert_eq!(said, *complaint, "{answer}");
    }
}

#[test]
fn what_the_api_wrote_is_kept_from_the_complaint() {
    let mismatch = Kitchen::open().decode("Weigh", r#"{"int32Value": "secret"}"#).unwrap_err();
    assert_eq!(mismatch.value.as_deref(), Some("secret"));
    assert!(!mismatch.to_string().contains("secret"), "{mismatch}");
}

#[test]
fn an_answer_without_a_body_is_the_empty_message() {
    let kitchen = Kitchen::open();
    for answer in ["", " \r\n"] {
        assert!(kitchen.decode("Weigh", answer).unwrap() == kitchen.decode("Weigh", "{}").unwrap());
    }
}

#[test]
fn a_response_body_is_one_field_of_the_message() {
    let kitchen = Kitchen::open();
    let message = kitchen.decode("FindDishes", r#"[{"id": 1, "title": "Pie"}, {"id": "2"}]"#).unwrap();
    let expected = r#"{"dishes": [{"id": 1, "title": "Pie"}, {"id": "2"}]}"#;
    assert!(message == kitchen.message(message.descriptor().full_name(), expected).unwrap());
    let mismatch = kitchen.decode("FindDishes", r#"[{"id": {}}]"#).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "[0].id: expected an integer of 64 bits, found an object (line 1, column 9)"
    );
}

/// Tolerance, an answer that uses it, the same answer as it should be (nothing where they mean the same), and the
/// complaint where it is refused.
const TOLERANCES: &[(Tolerance, &str, &str, &str)] = &[
    (
        Tolerance::UnknownField,
        r#"{"new": {"a": [1, "x", null, true, {"b": 1e5}]}, "int32Value": 5}"#,
        r#"{"int32Value": 5}"#,
        "new: the contract has no such field (line 1, column 9)",
    ),
    (
        Tolerance::UnknownEnumValue,
        r#"{"size": "SIZE_HUGE"}"#,
        "{}",
        "size: the contract has no such enum value (line 1, column 21)",
    ),
    (
        Tolerance::UnknownEnumValue,
        r#"{"sizes": ["SIZE_HUGE", "SIZE_SMALL"]}"#,
        r#"{"sizes": ["SIZE_SMALL"]}"#,
        "sizes[0]: the contract has no such enum value (line 1, column 23)",
    ),
    (
        Tolerance::UnknownEnumValue,
        r#"{"answers": {"true": "SIZE_SMALL", "false": "SIZE_HUGE"}}"#,
        r#"{"answers": {"true": "SIZE_SMALL"}}"#,
        "answers.false: the contract has no such enum value (line 1, column 56)",
    ),
    (
        Tolerance::NullElement,
        r#"{"numbers": [1, null, 2]}"#,
        r#"{"numbers": [1, 2]}"#,
        "numbers[1]: null in a list or a map (line 1, column 17)",
    ),
    (
        Tolerance::NullElement,
        r#"{"labels": {"a": null, "b": "x"}}"#,
        r#"{"labels": {"b": "x"}}"#,
        "labels.a: null in a list or a map (line 1, column 18)",
    ),
    (
        Tolerance::DuplicateKey,
        r#"{"int32Value": 1, "int32Value": 0}"#,
        "{}",
        "int32Value: the key comes twice (line 1, column 33)",
    ),
    (
        Tolerance::DuplicateKey,
        r#"{"inner": {"int32Value": 1, "words": ["a"]}, "maybe": 3, "inner": {"boolValue": true}}"#,
        r#"{"maybe": 3, "inner": {"boolValue": true}}"#,
        "inner: the key comes twice (line 1, column 67)",
    ),
    (
        Tolerance::DuplicateKey,
        r#"{"int32Value": 1, "maybe": 2, "int32_value": null, "words": ["x"], "words": ["y", "z"]}"#,
        r#"{"maybe": 2, "words": ["y", "z"]}"#,
        "int32_value: the key comes twice (line 1, column 46)",
    ),
    (
        Tolerance::RubyTime,
        r#"{"at": "2022-08-06 00:38:22 +0200"}"#,
        r#"{"at": "2022-08-05T22:38:22Z"}"#,
        "at: expected a time such as 2026-01-02T03:04:05.678Z, found Ruby's own form (line 1, column 35)",
    ),
    (
        Tolerance::QuotedNumber,
        r#"{"int32Value": "5"}"#,
        r#"{"int32Value": 5}"#,
        "int32Value: expected a bare number, found one in quotes (line 1, column 19)",
    ),
    (
        Tolerance::IntegralFloat,
        r#"{"int32Value": 2.0, "int64Value": "5e1"}"#,
        r#"{"int32Value": 2, "int64Value": "50"}"#,
        "int32Value: expected an integer, found one with a fraction or an exponent (line 1, column 19)",
    ),
];

#[test]
fn what_is_not_as_it_should_be_is_understood_and_counted_or_refused() {
    let kitchen = Kitchen::open();
    for (tolerance, odd, plain, complaint) in TOLERANCES {
        assert!(kitchen.decode("Weigh", odd).unwrap() == kitchen.decode("Weigh", plain).unwrap(), "{odd}");
        let others = Strictness::ALL.without(*tolerance);
        let tolerated = kitchen.decode_strictly("Weigh", odd, others).unwrap().tolerated;
        assert!(tolerated.iter().all(|(used, count)| used == *tolerance && count > 0), "{odd}: {tolerated}");
        assert!(!tolerated.is_empty(), "{odd}");
        let alone = Strictness::default().with(*tolerance);
        let mismatch = kitchen.decode_strictly("Weigh", odd, alone).unwrap_err();
        assert_eq!(mismatch.to_string(), *complaint, "{odd}");
        let tolerated = kitchen.decode_strictly("Weigh", plain, Strictness::ALL).unwrap().tolerated;
        assert!(tolerated.is_empty(), "{plain}: {tolerated}");
    }
}

#[test]
fn tolerances_are_counted_each_by_its_name() {
    let answer = r#"{"a": 1, "b": 2, "numbers": [null, "1", 2.0], "inner": {"c": 3}}"#;
    let decoded = Kitchen::open().decode_strictly("Weigh", answer, Strictness::default()).unwrap();
    let counted = "3 unknown-fields, 1 null-elements, 1 quoted-numbers, 1 integral-floats";
    assert_eq!(decoded.tolerated.to_string(), counted);
}

proptest! {
    #[test]
    fn no_text_makes_the_response_side_panic(text in r#"[{}\[\]:,"a-e0-9.\\ -]{0,80}"#) {
        let _ = Kitchen::open().decode("Weigh", &text);
    }

    #[test]
    fn a_broken_answer_is_never_a_message(cut in 1_usize..EVERYTHING.len()) {
        prop_assume!(EVERYTHING.is_char_boundary(cut));
        prop_assert!(Kitchen::open().decode("Weigh", &EVERYTHING[..cut]).is_err());
    }
}
