//! What transcoding costs in memory. It counts what the whole process does, so it is a program of its own.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "all of it is test, the helpers too, for which clippy's own exception does not count"
)]

use std::{fs, sync::Mutex};

use grpc_rest_bridge::{
    contract::{Contract, Source},
    transcode::{HttpAnswer, Strictness, Transcoder},
};

/// One test at a time: they watch the memory of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// A product list of about so many bytes, with escapes, decimals and lists in lists.
fn products(bytes: usize) -> String {
    let product = r#"{"title":"Veranda \"Symphony\"","price":"83.84","reviews":[{"id":4,"name":"Msgr. Arron Morissette","message":"Nisi est ut consequatur.","rate":2.5}]}"#;
    let list = vec![product; bytes / product.len() + 1].join(",");
    format!("{{\"products\":[{list}]}}")
}

/// The most memory that was resident since the last [`forget_peak`], in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Four million elements are four million pairs of a query, in a message of a few bytes when it is compressed.
#[test]
fn a_query_that_is_too_long_is_not_built_first() {
    let _alone = ALONE.lock();
    let source = Source { protos: vec!["tests/protos/kitchen/v1/kitchen.proto".into()], ..Source::default() };
    let contract = Source { includes: vec!["tests/protos".into()], ..source }.read().unwrap();
    let method = contract.methods().iter().position(|m| m.descriptor().name() == "WeighByQuery").unwrap();
    let transcoder = Transcoder::compile(&contract, Strictness::default());
    let input = contract.methods()[method].descriptor().input();
    let numbers = input.get_field_by_name("numbers").unwrap().number();
    let mut message = Vec::new();
    prost::encoding::int32::encode_packed(numbers, &vec![0; 4_000_000], &mut message);
    let mut said = String::new();
    let counted =
        allocation_counter::measure(|| said = transcoder.encode(method, &message).unwrap_err().to_string());
    assert_eq!(said, "numbers makes a URL of more than 65534 bytes, which is longer than HTTP carries");
    assert!(counted.bytes_max < 1024 * 1024, "{counted:?}");
}

#[test]
fn an_answer_takes_a_few_allocations_and_the_memory_of_the_message() {
    let _alone = ALONE.lock();
    let transcoder = Transcoder::compile(&Contract::embedded(), Strictness::default());
    let decode = |json: &str| {
        let answer = HttpAnswer { content_type: "application/json", body: json.as_bytes() };
        transcoder.decode(0, 0, &answer).unwrap().message
    };
    let answers = [1_000, 75_000, 2_000_000, 20_000_000].map(products);
    let counts = answers.each_ref().map(|json| {
        let counted = allocation_counter::measure(|| drop(decode(json)));
        counted.count_total
    });
    assert!(counts.iter().all(|count| *count == counts[0] && *count <= 8), "{counts:?}");
    for json in &answers {
        forget_peak();
        let before = resident();
        let message = decode(json);
        let taken = peak().saturating_sub(before);
        assert!(taken <= message.len() + 64 * 1024, "{} of {}: {taken}", json.len(), message.len());
    }
}
