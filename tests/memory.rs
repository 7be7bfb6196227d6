//! What transcoding and stored answers cost in memory. It counts what the whole process does, so it is a program of its own.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "all of it is test, the helpers too, for which clippy's own exception does not count"
)]

use std::{fs, future::pending, sync::Mutex};

use grpc_rest_bridge::{
    app::App,
    config::{Config, UpstreamConfig},
    contract::{Contract, Source},
    shop::v1::{
        GetProductRequest, ListProductsRequest, product_service_client::ProductServiceClient as Shop,
    },
    transcode::{HttpAnswer, Strictness, Transcoder},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tonic::transport::Channel;

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

/// An API whose list is large and whose products are small, all with the headers of a Rails API.
async fn serve_shop(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_all(stream));
    }
}

async fn answer_all(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    // Not so long that it is read on another thread, whose memory is not counted.
    let (mut head, list) = (String::new(), format!("{{\"products\":[{}]}}", " ".repeat(200_000)));
    loop {
        head.clear();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap();
        let body = if path == "/products" { &list } else { r#"{"product":{"title":"Tea"}}"# };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\netag: \"{path}\"\r\n\
             cache-control: max-age=0, private, must-revalidate\r\nvary: Accept\r\nx-runtime: 0.003229\r\n\
             x-frame-options: SAMEORIGIN\r\nx-xss-protection: 1; mode=block\r\nx-content-type-options: nosniff\r\n\
             x-download-options: noopen\r\nx-permitted-cross-domain-policies: none\r\n\
             referrer-policy: strict-origin-when-cross-origin\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The shop's bridge before that API, with so much memory for answers.
async fn shop(cache: usize) -> Shop<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: http::Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut upstream = UpstreamConfig::new(url.clone());
    tokio::spawn(serve_shop(listener));
    upstream.cache.size = cache;
    let config = Config { upstream, ..Config::new("127.0.0.1:0".parse().unwrap(), url) };
    let app = App::bind(config, Contract::embedded()).await.unwrap();
    let address = app.local_addr();
    tokio::spawn(app.serve(pending()));
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    Shop::new(endpoint.connect().await.unwrap())
}

/// Lists make the buffers large that products are then read into.
async fn ask(shop: &mut Shop<Channel>, ids: std::ops::Range<i64>) {
    for id in ids {
        if id % 5 == 0 {
            shop.list_products(ListProductsRequest::default()).await.unwrap();
        }
        shop.get_product(GetProductRequest { id }).await.unwrap();
    }
}

#[test]
fn stored_answers_take_what_they_are_counted_for() {
    const CACHE: usize = 2 * 1024 * 1024;
    let _alone = ALONE.lock();
    // All in one thread, whose memory is counted.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut shop = runtime.block_on(shop(CACHE));
    // Until buffers and tables are as large as they get.
    runtime.block_on(ask(&mut shop, 0..30));
    let counted = allocation_counter::measure(|| runtime.block_on(ask(&mut shop, 30..1000)));
    let taken = usize::try_from(counted.bytes_current).unwrap();
    assert!((CACHE / 2..CACHE).contains(&taken), "{taken} of {CACHE}");
}
