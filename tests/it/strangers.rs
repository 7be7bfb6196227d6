use std::time::Duration;

use grpc_rest_bridge::shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::Channel;

use crate::support::{Api, Bridge, Builder, Clock, Program};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Longer than it may take to begin.
const LONG: Duration = Duration::from_millis(10_001);

/// A bridge of which nothing happens by the clock but what is looked at here.
fn quiet(api: &Api) -> Builder {
    let bridge = Bridge::to(&api.url()).probe(|probe| probe.interval = Duration::from_secs(3600));
    bridge.connections(|connections| (connections.max_age, connections.keepalive_interval) = (None, None))
}

async fn list(channel: &Channel) -> Result<(), tonic::Status> {
    ProductServiceClient::new(channel.clone()).list_products(ListProductsRequest {}).await.map(drop)
}

/// Until what was sent has been looked at.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_does_not_begin_to_speak_is_ended_and_who_only_waits_is_not() {
    let mut clock = Clock::stop();
    let api = Api::saying("{}").await;
    let bridge = quiet(&api).start().await;
    let mut silent = TcpStream::connect(bridge.address).await.unwrap();
    let mut stammers = TcpStream::connect(bridge.address).await.unwrap();
    stammers.write_all(&PREFACE[..10]).await.unwrap();
    let mut no_settings = TcpStream::connect(bridge.address).await.unwrap();
    no_settings.write_all(PREFACE).await.unwrap();
    let waits = bridge.channel().await;
    clock.now(list(&waits)).await.unwrap();
    let mut has_begun = TcpStream::connect(bridge.address).await.unwrap();
    has_begun.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    settle().await;

    clock.pass(LONG).await;
    for ended in [&mut silent, &mut stammers, &mut no_settings] {
        let mut rest = Vec::new();
        // What was begun may be told why, or is cut off.
        let _ = clock.now(ended.read_to_end(&mut rest)).await;
    }
    clock.pass(LONG).await;
    clock.now(list(&waits)).await.unwrap();
    // It still answers a PING.
    has_begun.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&[1, 2, 3, 4, 5, 6, 7, 8]) {
        assert_ne!(clock.now(has_begun.read_buf(&mut answer)).await.unwrap(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn connections_beyond_the_number_are_closed_and_those_that_are_there_go_on() {
    let api = Api::saying("{}").await;
    let bridge = quiet(&api).connections(|connections| connections.max_connections = 2).start().await;
    let (first, second) = (bridge.channel().await, bridge.channel().await);
    list(&first).await.unwrap();
    list(&second).await.unwrap();
    for _ in 0..100 {
        let mut third = TcpStream::connect(bridge.address).await.unwrap();
        assert!(matches!(third.read(&mut [0; 64]).await, Ok(0) | Err(_)));
    }
    list(&first).await.unwrap();
    list(&second).await.unwrap();
    drop(second);
    // It takes a moment until the bridge has seen that it is gone.
    loop {
        let Ok(third) = bridge.endpoint().connect().await else { continue };
        if list(&third).await.is_ok() {
            break;
        }
    }
    list(&first).await.unwrap();
}

#[tokio::test]
async fn nobody_alone_has_all_connections() {
    let api = Api::saying("{}").await;
    let bridge =
        quiet(&api).connections(|connections| connections.max_connections_per_address = 1).start().await;
    let here = bridge.channel().await;
    list(&here).await.unwrap();
    let mut more = TcpStream::connect(bridge.address).await.unwrap();
    assert!(matches!(more.read(&mut [0; 64]).await, Ok(0) | Err(_)));
    // This machine has more than one address.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(bridge.address).await.unwrap();
    other.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    assert_ne!(other.read(&mut [0; 64]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_log_tells_of_closed_connections_once_a_second_at_most() {
    let words =
        ["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--max-connections", "1"];
    let mut program = Program::start(&words, &[("BRIDGE_LOG_FORMAT", "json")]);
    let address = program.address().await;
    let _only = TcpStream::connect(&address).await.unwrap();
    for _ in 0..50 {
        let mut more = TcpStream::connect(&address).await.unwrap();
        assert!(matches!(more.read(&mut [0; 64]).await, Ok(0) | Err(_)));
    }
    let told = "closed a connection: there are as many as there may be (--max-connections)";
    let line = program.log("closed a connection").await;
    assert_eq!((line["message"].as_str(), line["severity"].as_str()), (Some(told), Some("WARNING")));
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
}
