use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use grpc_rest_bridge::{
    app::Stopped,
    codec::BytesCodec,
    config::ConnectionConfig,
    shop::v1::{GetProductRequest, ListProductsRequest, product_service_client::ProductServiceClient},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use tonic_reflection::pb::v1;
use tonic_types::{ErrorDetail, StatusExt};

use crate::support::{Api, Bridge, Builder, Caller, Clock, Frame, Program, Tap, reason};

/// The last stream of the first GOAWAY: none is turned away yet.
const EVERY_STREAM: u32 = (1 << 31) - 1;

const NO_ERROR: u32 = 0;
/// The setting, by RFC 9113.
const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
const LIST_PRODUCTS: &str = "/shop.v1.ProductService/ListProducts";
/// Timers go off by whole milliseconds.
const TICK: Duration = Duration::from_millis(1);

/// The age of connections here, and a time after which every connection has it.
const AGE: Duration = Duration::from_secs(2);
const OLD: Duration = Duration::from_millis(2300);
/// Longer than a call waits in any test.
const GRACE: Duration = Duration::from_secs(5);

/// After which silence a caller is asked, and how long its answer may take.
const INTERVAL: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(2);

/// A bridge whose connections get old soon, and of which nothing else happens by the clock.
fn ageing(url: &str) -> Builder {
    let bridge = Bridge::to(url).probe(|probe| probe.interval = Duration::from_secs(3600));
    bridge.connections(|connections| {
        connections.max_age = Some(AGE);
        connections.max_age_grace = GRACE;
        connections.keepalive_interval = None;
    })
}

/// How a bridge stops once it is told to.
async fn stopped(bridge: &mut Bridge, clock: &mut Clock) -> Stopped {
    bridge.stop();
    // It has to hear of it before the drain delay, which is nothing, is over.
    tokio::task::yield_now().await;
    clock.pass(TICK).await;
    clock.now(bridge.stop()).await.unwrap()
}

/// A call that runs on its own.
fn call(channel: &Channel) -> JoinHandle<Result<(), Status>> {
    let mut shop = ProductServiceClient::new(channel.clone());
    tokio::spawn(async move { shop.list_products(ListProductsRequest {}).await.map(drop) })
}

/// One that shares no request with those.
fn call_another(channel: &Channel) -> JoinHandle<Result<(), Status>> {
    let mut shop = ProductServiceClient::new(channel.clone());
    tokio::spawn(async move { shop.get_product(GetProductRequest { id: 1 }).await.map(drop) })
}

async fn health(channel: Channel) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.map(|answer| answer.into_inner().status())
}

#[tokio::test]
async fn a_caller_whose_connection_is_old_is_told_to_go_and_its_call_ends_well() {
    let mut clock = Clock::stop();
    let (api, mut was_asked, answer) = Api::patient().await;
    let bridge = ageing(&api.url()).start().await;
    let mut tap = Tap::to(&bridge, Caller::Lives).await;
    let running = call(&tap.channel().await);
    clock.now(was_asked.recv()).await.unwrap();

    clock.pass(OLD).await;
    let first = clock.now(tap.frame(Frame::GOAWAY)).await;
    assert_eq!((first.number(0), first.number(4)), (EVERY_STREAM, NO_ERROR));
    let last = clock.now(tap.frame(Frame::GOAWAY)).await;
    assert_eq!((last.number(0), last.number(4)), (1, NO_ERROR));

    clock.pass(GRACE - TICK).await;
    answer.send_replace(true);
    clock.now(running).await.unwrap().unwrap();
    clock.now(tap.closed()).await;
}

#[tokio::test]
async fn what_hangs_on_an_old_connection_is_cut_when_the_grace_is_over() {
    let mut clock = Clock::stop();
    let (api, mut was_asked) = Api::silent().await;
    let bridge = ageing(&api.url()).start().await;
    let mut tap = Tap::to(&bridge, Caller::Lives).await;
    let hanging = call(&tap.channel().await);
    let given_up = clock.now(was_asked.recv()).await.unwrap();

    clock.pass(OLD).await;
    clock.now(tap.frame(Frame::GOAWAY)).await;
    clock.pass(GRACE + TICK).await;
    clock.now(tap.closed()).await;
    clock.now(given_up).await.unwrap_err();
    let status = clock.now(hanging).await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "transport error"));
}

#[tokio::test]
async fn an_old_connection_does_not_hold_up_a_stop() {
    let mut clock = Clock::stop();
    let (api, mut was_asked, answer) = Api::patient().await;
    let mut bridge = ageing(&api.url()).start().await;
    let mut tap = Tap::to(&bridge, Caller::Lives).await;
    let running = call(&tap.channel().await);
    clock.now(was_asked.recv()).await.unwrap();
    clock.pass(OLD).await;
    clock.now(tap.frame(Frame::GOAWAY)).await;

    bridge.stop();
    answer.send_replace(true);
    assert_eq!(stopped(&mut bridge, &mut clock).await, Stopped::Drained);
    clock.now(running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_gets_as_old_as_it_likes_where_no_age_is_set() {
    let mut clock = Clock::stop();
    let api = Api::saying("{}").await;
    let bridge = ageing(&api.url()).connections(|connections| connections.max_age = None).start().await;
    let tap = Tap::to(&bridge, Caller::Lives).await;
    let channel = tap.channel().await;
    for _ in 0..2 {
        clock.now(call(&channel)).await.unwrap().unwrap();
        clock.pass(Duration::from_secs(24 * 3600)).await;
    }
    assert_eq!(tap.connections(), 1);
}

#[tokio::test]
async fn a_connection_without_calls_is_told_to_go_and_one_with_a_long_call_is_not() {
    let mut clock = Clock::stop();
    let (api, mut was_asked, answer) = Api::patient().await;
    let idle = |connections: &mut ConnectionConfig| {
        (connections.max_age, connections.max_idle) = (None, Some(AGE));
    };
    let bridge = ageing(&api.url())
        .connections(idle)
        .inbound(|inbound| inbound.default_deadline = 10 * AGE)
        .start()
        .await;
    let mut tap = Tap::to(&bridge, Caller::Lives).await;
    let channel = tap.channel().await;
    clock.pass(AGE - TICK).await;
    let running = call(&channel);
    clock.now(was_asked.recv()).await.unwrap();
    for _ in 0..3 {
        clock.pass(AGE + TICK).await;
    }
    // It has not been told to go, so that it takes another call.
    assert_eq!(clock.now(health(channel.clone())).await.unwrap(), ServingStatus::Serving);
    assert_eq!(tap.connections(), 1);
    answer.send_replace(true);
    clock.now(running).await.unwrap().unwrap();
    clock.pass(AGE + TICK).await;
    clock.pass(AGE + TICK).await;
    let first = clock.now(tap.frame(Frame::GOAWAY)).await;
    assert_eq!((first.number(0), first.number(4)), (EVERY_STREAM, NO_ERROR));
    clock.now(tap.closed()).await;
}

/// A bridge that asks whether its callers are there.
fn asking(url: &str) -> Builder {
    ageing(url).connections(|connections| {
        connections.max_age = None;
        connections.keepalive_interval = Some(INTERVAL);
        connections.keepalive_timeout = PATIENCE;
    })
}

#[tokio::test]
async fn a_caller_that_does_not_answer_a_ping_is_closed_and_its_call_given_up() {
    let mut clock = Clock::stop();
    let (api, mut was_asked) = Api::silent().await;
    let bridge = asking(&api.url()).start().await;
    let mut tap = Tap::to(&bridge, Caller::IsGone).await;
    let hanging = call(&tap.channel().await);
    let given_up = clock.now(was_asked.recv()).await.unwrap();

    clock.pass(INTERVAL + TICK).await;
    clock.now(tap.frame(Frame::PING)).await;
    clock.pass(PATIENCE + TICK).await;
    clock.now(tap.closed()).await;
    clock.now(given_up).await.unwrap_err();
    clock.now(hanging).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_caller_that_answers_pings_may_be_silent_for_long() {
    let mut clock = Clock::stop();
    let api = Api::saying("{}").await;
    let bridge = asking(&api.url()).start().await;
    let mut tap = Tap::to(&bridge, Caller::Lives).await;
    let channel = tap.channel().await;
    clock.now(call(&channel)).await.unwrap().unwrap();
    for _ in 0..3 {
        clock.pass(INTERVAL + TICK).await;
        clock.now(tap.frame(Frame::PING)).await;
        // The answer has come before the answer to this one.
        clock.now(health(channel.clone())).await.unwrap();
        clock.pass(PATIENCE + TICK).await;
    }
    clock.now(call(&channel)).await.unwrap().unwrap();
    assert_eq!(tap.connections(), 1);
}

/// A PING does not get through to a caller that takes no bytes, nor does the end; the system has to see it, and
/// does so by its own clock.
#[tokio::test]
async fn a_caller_that_takes_no_bytes_is_closed() {
    let mut clock = Clock::stop();
    let api = Api::saying(format!(r#"{{"products":[{{"title":"{}"}}]}}"#, "x".repeat(16 << 20))).await;
    let patience = Duration::from_millis(200);
    let bridge = asking(&api.url()).connections(|connections| connections.keepalive_timeout = patience);
    let mut bridge = bridge.start().await;
    let mut tap = Tap::to(&bridge, Caller::IsStuck).await;
    let endpoint = tap.endpoint().initial_connection_window_size(1 << 30).initial_stream_window_size(1 << 30);
    let _stuck = call(&endpoint.connect().await.unwrap());
    clock.now(tap.frame(Frame::DATA)).await;
    clock.pass(INTERVAL + TICK).await;
    clock.pass(patience + TICK).await;

    assert_eq!(stopped(&mut bridge, &mut clock).await, Stopped::Drained);
}

#[tokio::test]
async fn a_caller_is_told_how_many_calls_its_connection_takes() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::to(&api.url()).connections(|connections| connections.max_concurrent_streams = 7);
    let bridge = bridge.start().await;
    let mut tap = Tap::to(&bridge, Caller::Lives).await;
    let _channel = tap.channel().await;
    let settings = tap.frame(Frame::SETTINGS).await.payload;
    let streams = settings.chunks(6).find(|setting| setting[..2] == MAX_CONCURRENT_STREAMS).unwrap();
    assert_eq!(streams[2..], [0, 0, 0, 7]);
}

/// A frame of HTTP/2, by RFC 9113.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a call, by RFC 7541, with nothing in it that another one would refer to.
fn head_of_a_call() -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let [post, http, path, authority, content_type] = [[0x83], [0x86], [0x04], [0x01], [0x00]];
    let names_and_values =
        [text(LIST_PRODUCTS), text("bridge"), text("content-type"), text("application/grpc")];
    let [target, host, name, value] = &names_and_values;
    [&post[..], &http, &path, target, &authority, host, &content_type, name, value].concat()
}

#[tokio::test]
async fn a_caller_may_give_up_all_its_calls_at_once() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let api = Api::saying("{}").await;
    let bridge = Bridge::to(&api.url()).start().await;
    let mut tap = Tap::to(&bridge, Caller::Lives).await;
    let mut bytes = [PREFACE, &frame(Frame::SETTINGS, 0, 0, &[])].concat();
    // As many as there may be on a connection, by default.
    for stream in (1..400).step_by(2) {
        bytes.extend(frame(Frame::HEADERS, END_HEADERS, stream, &head_of_a_call()));
        bytes.extend(frame(Frame::RST_STREAM, 0, stream, &CANCEL));
    }
    bytes.extend(frame(Frame::HEADERS, END_HEADERS, 401, &head_of_a_call()));
    bytes.extend(frame(Frame::DATA, END_STREAM, 401, &[0; 5]));
    let mut stream = TcpStream::connect(tap.address()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    // The last one is answered, on the same connection.
    tap.frame(Frame::HEADERS).await;
    assert_eq!(tap.connections(), 1);
}

/// A bridge that takes this many calls at a time.
async fn taking(calls: usize, api: &Api) -> Bridge {
    Bridge::to(&api.url()).inbound(|inbound| inbound.max_in_flight = calls).start().await
}

#[tokio::test]
async fn a_call_beyond_the_ceiling_is_refused_and_told_when_to_try_again() {
    let (api, mut was_asked, answer) = Api::patient().await;
    let bridge = taking(2, &api).await;
    // The ceiling is that of the process, not of a connection.
    let running = [call(&bridge.channel().await), call_another(&bridge.channel().await)];
    for _ in &running {
        was_asked.recv().await.unwrap();
    }
    let mut request = Request::new(GetProductRequest { id: 7 });
    request.metadata_mut().insert("x-request-id", "my-id".parse().unwrap());
    let status = bridge.shop().await.get_product(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "the bridge has its hands full with 2 calls (--max-in-flight)")
    );
    let details = status.get_error_details_vec();
    let [ErrorDetail::RetryInfo(retry), ErrorDetail::ErrorInfo(info), ErrorDetail::RequestInfo(request)] =
        &details[..]
    else {
        panic!("{details:?}")
    };
    assert_eq!(retry.retry_delay, Some(Duration::from_secs(1)));
    let metadata = [("method", "shop.v1.ProductService/GetProduct"), ("limit_calls", "2")];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str(), &info.metadata),
        ("BRIDGE_OVERLOADED", "grpc-rest-bridge", &HashMap::from(metadata))
    );
    assert_eq!(request.request_id, "my-id");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "my-id");
    assert_eq!(api.calls().len(), 2);

    answer.send_replace(true);
    for call in running {
        call.await.unwrap().unwrap();
    }
    call(&bridge.channel().await).await.unwrap().unwrap();
}

#[tokio::test]
async fn health_and_reflection_answer_when_every_place_is_taken() {
    let (api, mut was_asked) = Api::silent().await;
    let bridge = taking(1, &api).await;
    let channel = bridge.channel().await;
    let _running = call(&channel);
    was_asked.recv().await.unwrap();
    assert_eq!(call(&channel).await.unwrap().unwrap_err().code(), Code::ResourceExhausted);

    health(channel.clone()).await.unwrap();
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { message_request: Some(list), ..Default::default() };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().unwrap().message_response.is_some());
}

#[tokio::test]
async fn a_call_is_refused_before_its_message_has_come() {
    let (api, mut was_asked) = Api::silent().await;
    let bridge = taking(1, &api).await;
    let channel = bridge.channel().await;
    let _running = call(&channel);
    was_asked.recv().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let never = Request::new(tokio_stream::pending::<Bytes>());
    let status = grpc.client_streaming(never, LIST_PRODUCTS.parse().unwrap(), BytesCodec).await.unwrap_err();
    assert_eq!(reason(&status), "BRIDGE_OVERLOADED");
}

#[tokio::test]
async fn a_cancelled_call_gives_its_place_back() {
    let (api, mut was_asked) = Api::silent().await;
    let bridge = taking(1, &api).await;
    let channel = bridge.channel().await;
    let running = call(&channel);
    let given_up = was_asked.recv().await.unwrap();
    assert_eq!(reason(&call(&channel).await.unwrap().unwrap_err()), "BRIDGE_OVERLOADED");
    running.abort();
    given_up.await.unwrap_err();
    let _next = call(&channel);
    was_asked.recv().await.unwrap();
}

#[tokio::test]
async fn a_call_keeps_its_place_until_its_answer_is_handed_over() {
    let api = Api::saying(format!(r#"{{"products":[{{"title":"{}"}}]}}"#, "x".repeat(2 << 20))).await;
    let bridge = taking(1, &api).await;
    let channel = bridge.endpoint().initial_stream_window_size(1 << 16).connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let request = Request::new(Bytes::new());
    let answer = grpc.server_streaming(request, LIST_PRODUCTS.parse().unwrap(), BytesCodec).await.unwrap();
    // Its head has come, and nobody reads on.
    assert_eq!(reason(&call(&channel).await.unwrap().unwrap_err()), "BRIDGE_OVERLOADED");
    let messages: Vec<_> = answer.into_inner().collect().await;
    assert!(matches!(messages[..], [Ok(_)]), "{messages:?}");
    call(&channel).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refused_call_is_a_warning_in_the_log() {
    let (api, mut was_asked) = Api::silent().await;
    let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", &api.url(), "--max-in-flight", "1"];
    let mut program = Program::start(&words, &[]);
    let url = format!("http://{}", program.address().await);
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    let _running = call(&channel);
    was_asked.recv().await.unwrap();
    call(&channel).await.unwrap().unwrap_err();
    let line = program.log("shop.v1.ProductService/ListProducts RESOURCE_EXHAUSTED").await;
    assert_eq!(
        (&line["severity"], &line["error"]),
        (&"WARNING".into(), &"the bridge has its hands full with 1 calls (--max-in-flight)".into())
    );
}

#[tokio::test]
async fn settings_of_connections_that_cannot_be_meant_are_refused() {
    let words = "serve --upstream http://shop --max-connection-age 0s --max-connection-age-grace none \
                 --keepalive-interval 580000000000y --keepalive-timeout 11y --max-concurrent-streams 0 --max-in-flight few";
    let ended = Program::run(&words.split_whitespace().collect::<Vec<_>>(), &[]).await;
    let expected = "error: 6 faults to mend:
  --max-in-flight: \"few\" is not valid
      write a number from 1
  --max-connection-age: \"0s\" is not valid
      write a number with its unit, such as 30s or 5m and at most 10y, or none
  --max-connection-age-grace: \"none\" is not valid
      write a number with its unit, such as 500ms, 10s or 2m, and at most 10y
  --keepalive-interval: \"580000000000y\" is not valid
      write a number with its unit, such as 30s or 5m and at most 10y, or none
  --keepalive-timeout: \"11y\" is not valid
      write a number with its unit, such as 500ms, 10s or 2m, and at most 10y
  --max-concurrent-streams: \"0\" is not valid
      write a number from 1
";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), expected));
}
