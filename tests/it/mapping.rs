use grpc_rest_bridge::transcode::RequestError;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::Kitchen;

/// Method, request message -> verb, path and query, body (empty is none).
const REQUESTS: &[[&str; 5]] = &[
    ["FindDishes", "{}", "GET", "/dishes", ""],
    ["FindDishes", r#"{"query": ""}"#, "GET", "/dishes", ""],
    ["FindDishes", r#"{"query": "fish & chips+é"}"#, "GET", "/dishes?query=fish%20%26%20chips%2B%C3%A9", ""],
    ["FindDishes", r#"{"tags": ["a", "", "b"]}"#, "GET", "/dishes?tags%5B%5D=a&tags%5B%5D=&tags%5B%5D=b", ""],
    ["FindDishes", r#"{"filter": {"brand": "x"}}"#, "GET", "/dishes?filter%5Bbrand%5D=x", ""],
    ["FindDishes", r#"{"filter": {"vegan": false}}"#, "GET", "/dishes?filter%5Bvegan%5D=false", ""],
    ["FindDishes", r#"{"page": 0}"#, "GET", "/dishes?page=0", ""],
    [
        "FindDishes",
        r#"{"atLeast": {"salt & pepper": 0}}"#,
        "GET",
        "/dishes?at_least%5Bsalt%20%26%20pepper%5D=0",
        "",
    ],
    [
        "GetDish",
        r#"{"name": "menus/a b/dishes/é", "full": true}"#,
        "GET",
        "/menus/a%20b/dishes/%C3%A9?full=true",
        "",
    ],
    ["GetDish", r#"{"name": "id/7"}"#, "GET", "/dishes/id/7", ""],
    [
        "CreateDish",
        r#"{"menu": "lunch", "dish": {"id": "7", "title": "Pie", "price": ""}, "requestId": "r1"}"#,
        "POST",
        "/menus/lunch/dishes?request_id=r1",
        r#"{"id":"7","title":"Pie","price":""}"#,
    ],
    ["CreateDish", r#"{"menu": "lunch", "dish": {}}"#, "POST", "/menus/lunch/dishes", "{}"],
    ["CreateDish", r#"{"menu": "lunch"}"#, "POST", "/menus/lunch/dishes", ""],
    [
        "UpdateDish",
        r#"{"dish": {"id": "7", "title": "Pie"}}"#,
        "PATCH",
        "/dishes/7",
        r#"{"dish":{"title":"Pie"}}"#,
    ],
    ["UpdateDish", r#"{"dish": {"id": "7"}}"#, "PATCH", "/dishes/7", r#"{"dish":{}}"#],
    [
        "UpdateDish",
        r#"{"dish": {"id": "-7"}, "updateMask": "title"}"#,
        "PATCH",
        "/dishes/-7",
        r#"{"dish":{},"update_mask":"title"}"#,
    ],
    [
        "ReplaceDish",
        r#"{"dish": {"id": "7"}, "updateMask": "title,price"}"#,
        "PUT",
        "/dishes/7?update_mask=title%2Cprice",
        r#"{"id":"7"}"#,
    ],
    [
        "TagDish",
        r#"{"id": "7", "tags": ["hot", "sweet \"x\""]}"#,
        "POST",
        "/dishes/7/tags",
        r#"["hot","sweet \"x\""]"#,
    ],
    ["TagDish", r#"{"id": "7"}"#, "POST", "/dishes/7/tags", ""],
    ["DeleteDish", r#"{"id": "9223372036854775807"}"#, "DELETE", "/dishes/9223372036854775807", ""],
    ["DeleteDish", "{}", "DELETE", "/dishes/0", ""],
    ["ServeDish", r#"{"id": "7", "note": "warm"}"#, "POST", "/dishes/7:serve", r#"{"note":"warm"}"#],
    ["ServeDish", r#"{"id": "7"}"#, "POST", "/dishes/7:serve", "{}"],
    ["PeekDish", r#"{"id": "7"}"#, "HEAD", "/dishes/7", ""],
    ["GetFile", r#"{"path": "a/b%2Fc/ä?#"}"#, "GET", "/files/a/b%252Fc/%C3%A4%3F%23/raw", ""],
    ["GetFile", r#"{"path": "..."}"#, "GET", "/files/.../raw", ""],
    ["GetFile", r#"{"path": "a\\b"}"#, "GET", "/files/a%5Cb/raw", ""],
];

/// Method, request message -> the field and what is wrong with it.
const REFUSALS: &[[&str; 4]] = &[
    ["GetDish", r#"{"name": "menus/1"}"#, "name", "must look like \"menus/*/dishes/*\""],
    ["GetDish", r#"{"name": "menus//dishes/2"}"#, "name", "must look like \"menus/*/dishes/*\""],
    [
        "GetDish",
        r#"{"name": "menus/../dishes/2"}"#,
        "name",
        "must not have \".\" or \"..\" as a path segment",
    ],
    ["GetDish", "{}", "name", "must be set, since the path needs it"],
    ["GetFile", r#"{"path": "a/./b"}"#, "path", "must not have \".\" or \"..\" as a path segment"],
    ["GetFile", r#"{"path": "a//b"}"#, "path", "must look like \"**\""],
    [
        "FindDishes",
        r#"{"anyOf": [{"brand": "x"}, {"vegan": true}]}"#,
        "any_of[1]",
        "shares no field with the element before it, so that a query cannot tell where it begins",
    ],
    [
        "FindDishes",
        r#"{"anyOf": [{}]}"#,
        "any_of[0]",
        "has nothing set, which a query cannot carry in a list",
    ],
    ["FindDishes", r#"{"atLeast": {"a[b": 0}}"#, "at_least.a[b", "is a key that a query cannot carry"],
    ["WeighByQuery", r#"{"dishes": {"7": {}}}"#, "dishes.7", "is empty, which a query cannot carry"],
    ["WeighByQuery", r#"{"freeObject": {"a": []}}"#, "free_object.a", "is empty, which a query cannot carry"],
];

#[test]
fn a_request_message_becomes_the_request_of_its_rule() {
    let kitchen = Kitchen::open();
    for [method, message, verb, uri, body] in REQUESTS {
        let request = kitchen.encode(method, message).unwrap().request;
        let found = [request.method().as_str(), &request.uri().to_string()].map(str::to_owned);
        assert_eq!(found, [*verb, *uri], "{method} {message}");
        assert_eq!(std::str::from_utf8(request.body()).unwrap(), *body, "{method} {message}");
        let content_type = request.headers().get("content-type").map(|value| value.to_str().unwrap());
        assert_eq!(content_type, (!body.is_empty()).then_some("application/json"), "{method} {message}");
    }
}

#[test]
fn a_message_that_no_binding_can_carry_is_refused_with_its_field() {
    let kitchen = Kitchen::open();
    for [method, message, field, description] in REFUSALS {
        let error = kitchen.encode(method, message).unwrap_err();
        assert_eq!(error.to_string(), format!("{field} {description}"), "{method} {message}");
    }
}

#[test]
fn every_kind_of_value_is_written_as_proto_json() {
    let kitchen = Kitchen::open();
    let request = kitchen.encode("Weigh", EVERYTHING).unwrap().request;
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body, serde_json::from_str::<Value>(EVERYTHING).unwrap());
}

/// ProtoJSON with proto names, as the bridge writes it.
pub(crate) const EVERYTHING: &str = r#"{
    "double_value": 1.7976931348623157e308, "float_value": 0.1, "int32_value": -2147483648,
    "int64_value": "-9223372036854775808", "uint32_value": 4294967295, "uint64_value": "18446744073709551615",
    "sint32_value": -2147483648, "sint64_value": "-9223372036854775808", "fixed32_value": 4294967295,
    "fixed64_value": "18446744073709551615", "sfixed32_value": -2147483648, "sfixed64_value": "-9223372036854775808",
    "bool_value": true, "string_value": "\u0000\n\"\\é😀\u2028<", "bytes_value": "+/8=", "size": "SIZE_LARGE",
    "maybe": 0, "numbers": [0, -1, 2147483647], "words": ["", "a"], "sizes": ["SIZE_SMALL", "SIZE_UNSPECIFIED", 7],
    "labels": {"": "", "é": "b"}, "dishes": {"-1": {"title": "Pie"}, "0": {}},
    "answers": {"true": "SIZE_LARGE", "false": "SIZE_UNSPECIFIED"}, "right": {"id": "1"},
    "at": "2021-03-14T16:09:26.535Z", "lasts": "-3.000000001s", "mask": "title,dish.priceTag",
    "wrapped_long": "0", "wrapped_text": "", "wrapped_bool": false, "wrapped_double": "NaN", "wrapped_bytes": "",
    "inner": {"inner": {"left": ""}}, "more": [{}, {"maybe": 1}], "doubles": [1, 2.5, "-Infinity"], "named": "x"
}"#;

#[test]
fn values_in_a_query_are_spelled_as_text() {
    let kitchen = Kitchen::open();
    for (message, query) in [
        (r#"{"doubleValue": 1.5, "floatValue": 2}"#, "double_value=1.5&float_value=2"),
        (r#"{"doubleValue": "NaN"}"#, "double_value=NaN"),
        (r#"{"bytesValue": "+/8="}"#, "bytes_value=-_8"),
        (
            r#"{"size": "SIZE_LARGE", "sizes": [1, 9]}"#,
            "size=SIZE_LARGE&sizes%5B%5D=SIZE_SMALL&sizes%5B%5D=9",
        ),
        (r#"{"at": "2021-03-14T17:09:26+01:00"}"#, "at=2021-03-14T16%3A09%3A26Z"),
        (r#"{"lasts": "1.5s", "wrappedLong": "0"}"#, "lasts=1.500s&wrapped_long=0"),
        (r#"{"labels": {"a": "b c"}}"#, "labels%5Ba%5D=b%20c"),
        (r#"{"dishes": {"1": {"title": "Pie"}}}"#, "dishes%5B1%5D%5Btitle%5D=Pie"),
    ] {
        let request = kitchen.encode("WeighByQuery", message).unwrap().request;
        assert_eq!(request.uri().query(), Some(query), "{message}");
    }
}

#[test]
fn a_url_longer_than_http_carries_is_refused() {
    let long = "a".repeat(70_000);
    for (method, message, place) in [
        ("FindDishes", format!(r#"{{"query": "{long}"}}"#), "query"),
        ("GetFile", format!(r#"{{"path": "{long}"}}"#), "the request"),
    ] {
        let error = Kitchen::open().encode(method, &message).unwrap_err();
        let said = "makes a URL of more than 65534 bytes, which is longer than HTTP carries";
        assert_eq!(error.to_string(), format!("{place} {said}"));
    }
}

/// What is legal on the wire, though few write it so.
#[test]
fn every_legal_way_to_write_a_message_is_understood() {
    let kitchen = Kitchen::open();
    for (bytes, body) in [
        // Unpacked and packed in turns; an unknown field and a group between them.
        (
            &[0x90, 1, 5, 0x92, 1, 2, 6, 7, 0xf8, 0x3f, 1, 0xfb, 0x3f, 8, 1, 0xfc, 0x3f, 0x90, 1, 8][..],
            r#"{"numbers":[5,6,7,8]}"#,
        ),
        // A singular field twice: the last counts; a message twice: they merge.
        (
            &[0x18, 1, 0x18, 2, 0x92, 2, 2, 0x18, 3, 0x92, 2, 2, 0x20, 4],
            r#"{"int32_value":2,"inner":{"int32_value":3,"int64_value":"4"}}"#,
        ),
        // Map entries without key, without value, and with a key that came before.
        (
            &[0xaa, 1, 3, 0x12, 1, b'v', 0xaa, 1, 3, 0x0a, 1, b'k', 0xaa, 1, 6, 0x0a, 1, b'k', 0x12, 1, b'w'],
            r#"{"labels":{"":"v","k":"w"}}"#,
        ),
        // Two members of a oneof: the last counts.
        (&[0xc2, 1, 1, b'x', 0xca, 1, 0], r#"{"right":{}}"#),
        (&[0xca, 1, 0, 0xc2, 1, 1, b'x'], r#"{"left":"x"}"#),
        // A map entry without its value, where the default is a text.
        (&[0xb2, 2, 3, 0x0a, 1, b'k'], r#"{"times":{"k":"1970-01-01T00:00:00Z"}}"#),
        // A value laid out in another way than its type is an unknown field: it sets nothing and clears nothing.
        (&[0x1d, 1, 0, 0, 0, 0x8d, 1, 1, 0, 0, 0], "{}"),
        (&[0xc2, 1, 1, b'x', 0xc8, 1, 1], r#"{"left":"x"}"#),
    ] {
        let encoded = kitchen.transcoder.encode(kitchen.index("Weigh"), bytes).unwrap();
        assert_eq!(std::str::from_utf8(encoded.request.body()).unwrap(), body);
    }
}

/// Four megabytes of what would take hours if each part looked at all the others.
#[test]
fn a_hostile_message_takes_no_more_time_than_its_size() {
    let kitchen = Kitchen::open();
    let oneofs = [[0x18, 1].repeat(1_000_000), [0xc2, 1, 0, 0xca, 1, 0].repeat(350_000)].concat();
    let request = kitchen.transcoder.encode(kitchen.index("Weigh"), &oneofs).unwrap().request;
    assert_eq!(std::str::from_utf8(request.body()).unwrap(), r#"{"int32_value":1,"right":{}}"#);
    let mut map = Vec::new();
    for key in 0..400_000_u32 {
        map.extend_from_slice(&[0xaa, 1, 8, 0x0a, 6]);
        map.extend_from_slice(format!("{key:06}").as_bytes());
    }
    let request = kitchen.transcoder.encode(kitchen.index("Weigh"), &map).unwrap().request;
    assert_eq!(request.body().len(), "{\"labels\":{}}".len() + 400_000 * "\"000000\":\"\",".len() - 1);
}

#[test]
fn a_value_that_cannot_be_sent_is_told_with_its_whole_path() {
    let kitchen = Kitchen::open();
    // A time after the year 9999, in `inner`, in the second of `more`, and in the map `times`.
    let seconds = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let part = |tag: &[u8], content: &[u8]| [tag, &[u8::try_from(content.len()).unwrap()], content].concat();
    let at = part(&[0xd2, 1], &seconds);
    let entry = [part(&[0x0a], b"k"), part(&[0x12], &seconds)].concat();
    for (method, message, field) in [
        ("Weigh", part(&[0x92, 2], &at), "inner.at"),
        ("Weigh", [part(&[0x9a, 2], &[]), part(&[0x9a, 2], &at)].concat(), "more[1].at"),
        ("Weigh", part(&[0xb2, 2], &entry), "times.k"),
        ("WeighByQuery", part(&[0x92, 2], &at), "inner.at"),
        ("WeighByQuery", part(&[0xb2, 2], &entry), "times.k"),
        ("WeighByQuery", part(&[0x92, 2], &part(&[0x9a, 2], &[])), "inner.more[0]"),
    ] {
        let error = kitchen.transcoder.encode(kitchen.index(method), &message).unwrap_err();
        let RequestError::Unmappable { field: found, .. } = error else { panic!("{error}") };
        assert_eq!(found, field, "{method}");
    }
}

#[test]
fn of_equal_keys_in_a_map_the_query_has_the_last() {
    let kitchen = Kitchen::open();
    let bytes = [0xaa, 1, 6, 0x0a, 1, b'k', 0x12, 1, b'v', 0xaa, 1, 6, 0x0a, 1, b'k', 0x12, 1, b'w'];
    let request = kitchen.transcoder.encode(kitchen.index("WeighByQuery"), &bytes).unwrap().request;
    assert_eq!(request.uri().query(), Some("labels%5Bk%5D=w"));
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let kitchen = Kitchen::open();
    for (bytes, what) in [
        (&[0x18][..], "the message ends inside a value"),
        (&[0x72, 1, 0xff], "a string is not UTF-8"),
        (&[0x92, 1, 1, 0x80], "the message ends inside a value"),
    ] {
        let error = kitchen.transcoder.encode(kitchen.index("Weigh"), bytes).unwrap_err();
        assert_eq!(error.to_string(), format!("the request message cannot be read: {what}"));
    }
    let mut deep = Vec::new();
    for _ in 0..150 {
        let mut outer = vec![0x92, 2];
        prost::encoding::encode_varint(deep.len() as u64, &mut outer);
        outer.extend(deep);
        deep = outer;
    }
    let error = kitchen.transcoder.encode(kitchen.index("Weigh"), &deep).unwrap_err();
    assert_eq!(error.to_string(), "the request message cannot be read: nested deeper than 100 levels");
}

proptest! {
    #[test]
    fn no_bytes_make_the_request_side_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let kitchen = Kitchen::open();
        for method in ["Weigh", "WeighByQuery"] {
            let _ = kitchen.transcoder.encode(kitchen.index(method), &bytes);
        }
    }

    #[test]
    fn what_a_path_carries_comes_out_as_it_went_in(id in "[^/]{1,20}") {
        prop_assume!(id != "." && id != "..");
        let kitchen = Kitchen::open();
        let message = serde_json::json!({"menu": id}).to_string();
        let request = kitchen.encode("CreateDish", &message).unwrap().request;
        let segment = request.uri().path().strip_prefix("/menus/").unwrap().strip_suffix("/dishes").unwrap().to_owned();
        prop_assert_eq!(percent_encoding::percent_decode_str(&segment).decode_utf8().unwrap(), id);
    }
}
