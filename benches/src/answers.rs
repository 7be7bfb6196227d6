//! Answers such as real APIs give: the product list of the shop's Rails API, and a message full of numbers.

use serde_json::{Map, Value, json};

/// A product list of about so many bytes, as Rails writes it: no white space, the fields in the order of the
/// serializer, decimals as strings, floats with a point.
pub fn products(bytes: usize) -> Vec<u8> {
    let mut list = r#"{"products":["#.to_owned();
    let mut number = 0;
    while list.len() < bytes {
        if number > 0 {
            list.push(',');
        }
        list.push_str(&product(number));
        number += 1;
    }
    list.push_str("]}");
    list.into_bytes()
}

/// The same with a space after each comma and colon, as Python's `json` writes it.
pub fn spaced_products(bytes: usize) -> Vec<u8> {
    let json = String::from_utf8(products(bytes)).expect("it is JSON");
    json.replace("\":", "\": ").replace(",\"", ", \"").replace("},{", "}, {").into_bytes()
}

fn product(number: u64) -> String {
    const TITLES: [&str; 4] =
        ["Veranda Symphony", "Pumpkin-spice Cake", "Café Volcano", "Kreb-Full-o Breaker"];
    let (title, euros, cents) = (TITLES[(number % 4) as usize], 5 + number % 90, number * 7 % 100);
    let reviews: Vec<_> = (0..number % 5).map(|index| review(number * 5 + index)).collect();
    let reviews = reviews.join(",");
    format!(r#"{{"title":"{title}","price":"{euros}.{cents:02}","reviews":[{reviews}]}}"#)
}

fn review(number: u64) -> String {
    const NAMES: [&str; 3] = ["Msgr. Arron Morissette", "Dr. Kelly Wintheiser", "Zoë Ångström"];
    const MESSAGES: [&str; 3] = [
        "Nisi est ut consequatur.",
        r#"Voluptatem quia et. Explicabo \"sunt\" non aut, sed perferendis."#,
        "Dolorem et dicta. Occaecati veritatis accusamus molestiae eum deserunt, qui inventore rerum ad aliquam.",
    ];
    let (name, message) = (NAMES[(number % 3) as usize], MESSAGES[(number / 3 % 3) as usize]);
    let rate = (number % 9) as f64 / 2.0 + 1.0;
    format!(r#"{{"id":{number},"name":"{name}","message":"{message}","rate":{rate:?}}}"#)
}

/// Every field of `wide.proto` with a number of many digits, and its lists of 200 each.
pub fn wide() -> Vec<u8> {
    let mut members = Map::new();
    for row in 1..=5_i64 {
        for (kind, value) in [
            ("double", json!(row as f64 * 1234.56789)),
            ("float", json!(row as f64 * 2.5)),
            ("int32", json!(-row * 123_456)),
            ("int64", json!((row * 1_234_567_890_123).to_string())),
            ("uint32", json!(row * 654_321)),
            ("uint64", json!((row * 9_876_543_210_987).to_string())),
            ("sint32", json!(-row * 7)),
            ("sint64", json!((-row * 77_777_777_777).to_string())),
            ("fixed32", json!(row * 1000)),
            ("fixed64", json!((row * 10_000_000_000).to_string())),
            ("sfixed32", json!(-row)),
            ("sfixed64", json!((-row).to_string())),
            ("bool", json!(true)),
        ] {
            members.insert(format!("{kind}{row}"), value);
        }
    }
    let list = |value: fn(i64) -> Value| Value::from((0..200).map(value).collect::<Vec<_>>());
    members.insert("doubleList".to_owned(), list(|n| json!(n as f64 * 0.125 + 1e3)));
    members.insert("int32List".to_owned(), list(|n| json!(n * n * 31)));
    members.insert("int64List".to_owned(), list(|n| json!((n * 1_000_003).to_string())));
    Value::from(members).to_string().into_bytes()
}
