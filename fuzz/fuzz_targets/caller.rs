//! Whatever a stranger sends on a connection: the bridge says something or nothing, and ends; nothing panics, and the API is asked
//! for nothing that the contract does not have, with no header that it should not get.
#![no_main]

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    panic,
    sync::LazyLock,
    thread,
    time::Duration,
};

use bytes::Bytes;
use grpc_rest_bridge::{app::App, config::Config, contract::Contract, deadline::time_limit, forwarded};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use libfuzzer_sys::fuzz_target;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longer than the bridge takes for anything here.
const PATIENCE: Duration = Duration::from_secs(4);
/// All that the API may be told.
const TOLD: [&str; 9] = [
    "host",
    "accept",
    "accept-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "x-forwarded-for",
    "x-request-id",
    "x-tenant",
];

/// The bridge, and what it runs on.
struct House {
    address: SocketAddr,
    runtime: Runtime,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", api.local_addr().unwrap());
    thread::spawn(move || {
        for stream in api.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // A program of Rust ignores it, but this one is begun by libFuzzer: writing to who has gone would end it without a word.
    drop(runtime.block_on(async { signal(SignalKind::pipe()) }).unwrap());
    // The HTTP library asserts, in debugging alone, that nothing is left of a connection when it is dropped, and is wrong where
    // the connection ends by an error of its caller (h2 0.4.20).
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|place| place.file().replace('\\', "/")).unwrap_or_default();
        if !(place.contains("/h2-") && place.ends_with("/proto/streams/counts.rs")) {
            abort(panic);
        }
    }));
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), url.parse().unwrap());
    config.inbound.receive_timeout = Duration::from_millis(500);
    config.inbound.headers.to_api = vec![HeaderName::from_static("x-tenant")];
    config.inbound.headers.forwarded_for = Some(1);
    config.connections.handshake_timeout = Duration::from_millis(500);
    config.connections.send_timeout = Duration::from_millis(200);
    let app = runtime.block_on(App::bind(config, Contract::embedded())).unwrap();
    let address = app.local_addr();
    runtime.spawn(async { app.serve(std::future::pending()).await });
    House { address, runtime }
});

/// The API: it answers every request with nothing, and looks at what it is told.
fn serve(mut stream: TcpStream) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        head.extend_from_slice(&buffer[..length]);
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8(head.drain(..end + 4).collect()).unwrap();
            look_at(&text);
            if stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
                )
                .is_err()
            {
                return;
            }
        }
    }
}

fn look_at(head: &str) {
    let mut lines = head.trim_end().split("\r\n");
    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let ["GET", path, "HTTP/1.1"] = line[..] else { panic!("{head:?}") };
    let id = path.strip_prefix("/products/").map(str::parse::<i64>);
    assert!(path == "/" || path == "/products" || matches!(id, Some(Ok(_))), "{head:?}");
    for line in lines {
        let name = line.split(": ").next().unwrap().to_lowercase();
        assert!(TOLD.contains(&&*name) || path == "/", "{head:?}");
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    match kind % 4 {
        0 => connect(&[PREFACE, bytes].concat()),
        1 => connect(bytes),
        2 => call(bytes),
        _ => read(bytes),
    }
});

/// Sends it all, and waits for the end.
fn connect(bytes: &[u8]) {
    let mut stream = TcpStream::connect(HOUSE.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The bridge may have ended it already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                panic!("it neither speaks nor ends")
            }
            Err(_) => return,
        }
    }
}

/// A call by a client that keeps to HTTP, with metadata and a message of this: lines of metadata, and the message behind an empty one.
fn call(bytes: &[u8]) {
    let (metadata, message) = match bytes.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &b"\0\0\0\0\x02\x08\x07"[..]),
    };
    let mut request = Request::post(format!("http://{}/shop.v1.ProductService/GetProduct", HOUSE.address))
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::copy_from_slice(message)))
        .unwrap();
    for line in metadata.split(|byte| *byte == b'\n').take(20) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let Some((name, value)) = name.zip(value) {
            request.headers_mut().append(name, value);
        }
    }
    let answered = HOUSE.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(HOUSE.address).await.unwrap();
        let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = client.await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let status = answer.headers().get("grpc-status").cloned();
        let (head, body) = (answer.status(), answer.into_body().collect().await?);
        let status =
            status.or_else(|| body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned()));
        // What is no gRPC is told so by HTTP.
        assert!(status.is_some() || head.is_client_error(), "{head}");
        Ok::<_, hyper::Error>(())
    });
    // A stream that is not as HTTP/2 has it is given up.
    drop(answered);
}

/// What is read of metadata alone.
fn read(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let metadata = HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), value.clone())]);
    let digits = bytes.len().saturating_sub(1);
    let good = (1..=8).contains(&digits)
        && bytes[..digits].iter().all(u8::is_ascii_digit)
        && b"HMSmun".contains(&bytes[digits]);
    assert_eq!(time_limit(&metadata).is_ok(), good);
    let metadata = HeaderMap::from_iter([(forwarded::X_FORWARDED_FOR, value)]);
    let way = forwarded::way(&metadata, HOUSE.address.ip(), 3);
    assert!((1..=4).contains(&way.len()) && way.last() == Some(&HOUSE.address.ip()));
    assert!(!forwarded::told(&way).as_bytes().contains(&b'\n'));
}
