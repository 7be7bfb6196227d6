//! JSON answers to protobuf: the bridge beside generated serde code and beside dynamic messages, in one run.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grpc_rest_bridge_benches::{
    Subject, answers, generated,
    generated::{shop::ListProductsResponse, wide::Wide},
};
use serde::de::IgnoredAny;

fn compare(c: &mut Criterion, name: &str, json: &[u8], subject: &Subject, generated: fn(&[u8]) -> Vec<u8>) {
    // A rival that makes something else is no rival.
    let length = subject.bridge(json).len();
    assert_eq!((generated(json).len(), subject.dynamic(json).len()), (length, length), "{name}");
    let mut group = c.benchmark_group("answer");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function(BenchmarkId::new("bridge", name), |b| b.iter(|| subject.bridge(black_box(json))));
    group.bench_function(BenchmarkId::new("generated", name), |b| b.iter(|| generated(black_box(json))));
    group.bench_function(BenchmarkId::new("dynamic", name), |b| b.iter(|| subject.dynamic(black_box(json))));
    group.finish();
}

fn answers(c: &mut Criterion) {
    let list = Subject::named("ListProducts");
    for (name, bytes) in [("1 KB", 1000), ("75 KB", 75_000), ("2 MB", 2_000_000)] {
        compare(c, name, &answers::products(bytes), &list, generated::<ListProductsResponse>);
    }
    compare(c, "75 KB, spaced", &answers::spaced_products(75_000), &list, generated::<ListProductsResponse>);
    compare(c, "wide", &answers::wide(), &Subject::named("GetWide"), generated::<Wide>);
}

/// What other parsers take to read the same text and keep nothing of it. The bridge has by then written the message.
fn parsers(c: &mut Criterion) {
    let json = answers::products(75_000);
    let mut group = c.benchmark_group("parse alone, 75 KB");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("serde_json", |b| {
        b.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(&json)).expect("it is JSON"));
    });
    group.bench_function("sonic-rs", |b| {
        b.iter(|| sonic_rs::from_slice::<IgnoredAny>(black_box(&json)).expect("it is JSON"));
    });
    group.bench_function("jiter", |b| {
        b.iter(|| jiter::Jiter::new(black_box(&json)).next_skip().expect("it is JSON"));
    });
    // It writes into its input, so each round needs a copy.
    let mut buffers = simd_json::Buffers::new(json.len());
    group.bench_function("simd-json, tape", |b| {
        b.iter(|| {
            let mut copy = black_box(&json).clone();
            let tape = simd_json::to_tape_with_buffers(&mut copy, &mut buffers).expect("it is JSON");
            tape.0.len()
        });
    });
    group.finish();
}

criterion_group!(benches, answers, parsers);
criterion_main!(benches);
