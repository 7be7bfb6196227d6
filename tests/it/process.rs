use std::time::Duration;

use grpc_rest_bridge::shop::v1::{
    GetProductRequest, ListProductsRequest, product_service_client::ProductServiceClient,
};
use prost_reflect::DescriptorPool;
use serde_json::Value;
use tokio::task::JoinHandle;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use crate::support::{Api, Bridge, Program, json, tls_api};
use grpc_rest_bridge::app::Stopped;

async fn client(address: &str) -> ProductServiceClient<Channel> {
    ProductServiceClient::new(
        Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap(),
    )
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn secrets_stay_out_of_core_dumps_and_there_are_as_many_open_files_as_may_be() {
    let words = [
        "serve",
        "--upstream",
        "http://127.0.0.1:9",
        "--listen",
        "127.0.0.1:0",
        "--max-connections",
        "9000000000",
    ];
    let mut program = Program::start(&words, &[("BRIDGE_LOG_FORMAT", "json")]);
    let line = program.log("open files").await;
    let told = "there may be fewer open files (ulimit -n) than --max-connections 9000000000 needs";
    assert_eq!((line["message"].as_str(), line["severity"].as_str()), (Some(told), Some("WARNING")));
    program.address().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let row = |name: &str| -> Vec<String> {
        let row = limits.lines().find_map(|row| row.strip_prefix(name)).unwrap();
        row.split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert!(["0", "1"].contains(&&*row("Max core file size")[0]), "{limits}");
    let files = row("Max open files");
    assert_eq!(files[0], files[1]);
}

#[tokio::test]
async fn serve_prints_the_real_address_and_answers_there() {
    let api = Api::saying(r#"{"product":{"title":"Pie"}}"#).await;
    let mut program = Program::start(&["serve", "--listen", "127.0.0.1:0", "--upstream", &api.url()], &[]);
    let address = program.address().await;
    let answer = client(&address).await.get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(answer.into_inner().product.unwrap().title.as_deref(), Some("Pie"));
}

#[tokio::test]
async fn every_setting_can_be_a_variable_and_the_flag_wins() {
    let api = Api::saying("{}").await;
    let url = api.url();
    let variables = [
        ("BRIDGE_UPSTREAM", url.as_str()),
        ("BRIDGE_LISTEN", "nonsense"),
        ("BRIDGE_UPSTREAM_HOST", "shop.internal"),
    ];
    let mut program = Program::start(&["serve", "--listen", "127.0.0.1:0"], &variables);
    client(&program.address().await).await.list_products(ListProductsRequest {}).await.unwrap();
    assert_eq!(api.call().headers["host"], "shop.internal");
}

/// The port is taken, so that nothing is opened to the network here.
#[tokio::test]
async fn the_port_of_cloud_run_is_honoured_on_all_addresses() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Program::run(&["serve", "--upstream", "http://127.0.0.1:1"], &[("PORT", &port)]).await;
    let expected = format!("error: cannot listen on 0.0.0.0:{port}: Address already in use (os error 98)\n");
    assert_eq!((ended.code, ended.stderr), (Some(1), expected));
}

#[tokio::test]
async fn an_https_api_is_trusted_by_the_certificates_of_the_machine_and_no_others() {
    let (address, certificate) = tls_api(r#"{"product":{"title":"Pie"}}"#).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let url = format!("https://localhost:{}", address.port());
    let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", &url];

    let mut trusting = Program::start(&words, &[("SSL_CERT_FILE", file.to_str().unwrap())]);
    let answer =
        client(&trusting.address().await).await.get_product(GetProductRequest { id: 7 }).await.unwrap();
    assert_eq!(answer.into_inner().product.unwrap().title.as_deref(), Some("Pie"));

    let mut doubting = Program::start(&words, &[]);
    let status =
        client(&doubting.address().await).await.get_product(GetProductRequest { id: 7 }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the API cannot be reached"));
    let line = doubting.log("shop.v1.ProductService/GetProduct UNAVAILABLE").await;
    assert!(line["detail"].as_str().unwrap().contains("certificate"), "{line}");
    assert_eq!(line["severity"], "WARNING");
}

#[tokio::test]
async fn a_call_whose_caller_went_away_is_cancelled_in_the_log() {
    let mut busy = Busy::start(&[]).await;
    busy.call.abort();
    let line = busy.program.log("shop.v1.ProductService/ListProducts").await;
    assert_eq!((&line["code"], &line["severity"]), (&"CANCELLED".into(), &"INFO".into()), "{line}");
}

#[tokio::test]
async fn a_call_leaves_one_line_with_what_happened() {
    let api = Api::answering(|_| async { json(404, r#"{"status":404,"error":"Not Found"}"#) }).await;
    let mut program = Program::start(&["serve", "--listen", "127.0.0.1:0", "--upstream", &api.url()], &[]);
    let mut shop = client(&program.address().await).await;
    let mut request = tonic::Request::new(GetProductRequest { id: 7 });
    request.metadata_mut().insert("x-request-id", "my-id".parse().unwrap());
    shop.get_product(request).await.unwrap_err();
    let line = program.log("shop.v1.ProductService/GetProduct").await;
    for (name, value) in [
        ("message", "shop.v1.ProductService/GetProduct NOT_FOUND"),
        ("severity", "INFO"),
        ("target", "access"),
        ("method", "shop.v1.ProductService/GetProduct"),
        ("code", "NOT_FOUND"),
        ("request_id", "my-id"),
        ("error", "Not Found (the API answered 404 to GET /products/7)"),
        ("detail", r#"HTTP 404, body "{\"status\":404,\"error\":\"Not Found\"}""#),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["upstream_status"], 404);
    for name in ["latency_us", "map_us", "wait_us"] {
        assert!(line[name].is_u64(), "{name} in {line}");
    }
}

#[tokio::test]
async fn what_was_tolerated_in_an_answer_stands_in_its_line() {
    let api = Api::saying(r#"{"products": [{"id": "1", "sku": 7}, {"sku": 8, "reviews": [null]}]}"#).await;
    let mut program = Program::start(&["serve", "--listen", "127.0.0.1:0", "--upstream", &api.url()], &[]);
    client(&program.address().await).await.list_products(ListProductsRequest {}).await.unwrap();
    let line = program.log("shop.v1.ProductService/ListProducts").await;
    assert_eq!(line["tolerated"], "2 unknown-fields, 1 null-elements", "{line}");
}

#[tokio::test]
async fn what_is_not_to_be_tolerated_is_refused() {
    let api = Api::saying(r#"{"products": [{"sku": 7}, {"created_at": "2022-08-05 22:38:22 UTC"}]}"#).await;
    for (names, complaint) in [
        ("unknown-fields", "products[0].sku: the contract has no such field (line 1, column 23)"),
        (
            "null-elements,ruby-times",
            "products[1].created_at: expected a time such as 2026-01-02T03:04:05.678Z, found Ruby's own form (line 1, column 67)",
        ),
        ("proto-json", "products[0].sku: the contract has no such field (line 1, column 23)"),
        ("all", "products[0].sku: the contract has no such field (line 1, column 23)"),
    ] {
        let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", &api.url(), "--strict-json", names];
        let mut program = Program::start(&words, &[]);
        let mut shop = client(&program.address().await).await;
        let status = shop.list_products(ListProductsRequest {}).await.unwrap_err();
        let expected = format!("the API's answer does not fit the contract: {complaint}");
        assert_eq!((status.code(), status.message()), (Code::Internal, expected.as_str()), "{names}");
    }
}

#[tokio::test]
async fn settings_of_the_contract_that_cannot_be_meant_are_refused() {
    for (words, told) in [
        (&["--rest-style", "php"][..], "--rest-style: \"php\" is not valid\n      write rails or google"),
        (
            &["--proto", "a.proto", "--descriptor-set", "a.binpb"],
            "--descriptor-set: stands beside --proto\n      give one of the two",
        ),
        (&["--include", "api"], "--include: stands without --proto\n      give the .proto files as --proto"),
        (
            &["--strict-json", "unknown-fields,nulls"],
            "--strict-json: \"nulls\" is not valid\n      write proto-json, all, or some of unknown-fields, unknown-enum-values, \
             null-elements, duplicate-keys, ruby-times, quoted-numbers, integral-floats",
        ),
    ] {
        let ended =
            Program::run(&[&["serve", "--upstream", "http://127.0.0.1:1"], words].concat(), &[]).await;
        assert_eq!(ended.stderr, format!("error: 1 fault to mend:\n  {told}\n"), "{words:?}");
        assert_eq!(ended.code, Some(2), "{words:?}");
    }
}

#[tokio::test]
async fn the_lines_of_calls_can_be_turned_down() {
    let api = Api::saying("{}").await;
    let words =
        ["serve", "--listen", "127.0.0.1:0", "--upstream", &api.url(), "--log-level", "info,access=warn"];
    let mut program = Program::start(&words, &[]);
    let address = program.address().await;
    client(&address).await.list_products(ListProductsRequest {}).await.unwrap();
    program.signal("TERM").await;
    loop {
        let line: Value = serde_json::from_str(&program.line().await).unwrap();
        assert_ne!(line["target"], "access", "{line}");
        if line["message"] == "stopped: every call has finished" {
            return;
        }
    }
}

/// A program with a call that waits for the API: it is there once the API has been asked.
struct Busy {
    program: Program,
    call: JoinHandle<Result<(), Status>>,
    /// Lets the API answer.
    answer: tokio::sync::watch::Sender<bool>,
    _api: Api,
}

impl Busy {
    async fn start(settings: &[&str]) -> Self {
        let (_api, mut was_asked, answer) = Api::patient().await;
        let url = _api.url();
        let words = [&["serve", "--listen", "127.0.0.1:0", "--upstream", &url], settings].concat();
        let mut program = Program::start(&words, &[]);
        let mut shop = client(&program.address().await).await;
        let call = tokio::spawn(async move { shop.list_products(ListProductsRequest {}).await.map(drop) });
        was_asked.recv().await.unwrap();
        Self { program, call, answer, _api }
    }
}

#[tokio::test]
async fn a_running_call_finishes_after_the_stop_signal() {
    let mut busy = Busy::start(&["--drain-delay", "0s"]).await;
    busy.program.signal("TERM").await;
    busy.program.log("stopping: NOT_SERVING").await;
    busy.answer.send_replace(true);
    busy.call.await.unwrap().unwrap();
    busy.program.log("stopped: every call has finished").await;
    assert_eq!(busy.program.ended().await, Some(0));
}

#[tokio::test]
async fn a_call_that_does_not_finish_in_time_is_cut_off_and_the_log_says_so() {
    let mut busy = Busy::start(&["--drain-delay", "0s", "--shutdown-timeout", "100ms"]).await;
    busy.program.signal("INT").await;
    let line = busy.program.log("stopped: the grace period is over").await;
    assert_eq!((&line["severity"], &line["connections"]), (&"WARNING".into(), &1.into()));
    assert_eq!(busy.program.ended().await, Some(0));
    busy.call.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut busy = Busy::start(&["--drain-delay", "1h", "--shutdown-timeout", "1h"]).await;
    busy.program.signal("INT").await;
    busy.program.log("stopping: NOT_SERVING").await;
    busy.program.signal("INT").await;
    busy.program.log("stopped: at the second signal").await;
    assert_eq!(busy.program.ended().await, Some(0));
    busy.call.await.unwrap().unwrap_err();
}

/// The health of the whole bridge, watched until it is told as serving.
async fn watch_until_serving(bridge: &Bridge) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(bridge.channel().await).watch(request).await.unwrap().into_inner();
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    watch
}

#[tokio::test]
async fn a_stopping_bridge_says_not_serving_and_takes_calls_until_its_delay_is_over() {
    let api = Api::saying("{}").await;
    let long = Duration::from_secs(3600);
    let bridge =
        Bridge::to(&api.url()).shutdown(|shutdown| (shutdown.drain_delay, shutdown.timeout) = (long, long));
    let mut bridge = bridge.start().await;
    let mut watch = watch_until_serving(&bridge).await;
    bridge.stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    ProductServiceClient::new(bridge.channel().await).list_products(ListProductsRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_stopped_bridge_ends_watches_and_takes_no_connection() {
    let api = Api::saying("{}").await;
    let mut bridge = Bridge::before(&api.url()).await;
    let mut watch = watch_until_serving(&bridge).await;
    assert_eq!(bridge.stop().await.unwrap(), Stopped::Drained);
    while watch.message().await.unwrap().is_some() {}
    assert!(bridge.endpoint().connect().await.is_err());
}

#[tokio::test]
async fn all_faults_of_a_start_are_told_at_once_with_their_mend() {
    let words = ["serve", "--listen", "here", "--connect-timeout", "5", "--max-response-bytes", "0"];
    let variables = [("BRIDGE_UPSTREAM_TIMEOUT", "soon"), ("BRIDGE_LOG_FORMAT", "xml")];
    let ended = Program::run(&words, &variables).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let expected = "error: 6 faults to mend:
  --upstream or BRIDGE_UPSTREAM: is missing
      name the REST API, such as --upstream http://shop-api:3000
  --connect-timeout: \"5\" is not valid
      write a number with its unit, such as 500ms, 10s or 2m, and at most 10y
  BRIDGE_UPSTREAM_TIMEOUT: \"soon\" is not valid
      write a number with its unit, such as 500ms, 10s or 2m, and at most 10y
  --max-response-bytes: \"0\" is not valid
      write a size of at least 1 byte, such as 65536, 64KiB or 4MiB
  --listen: \"here\" is not valid
      write ADDRESS:PORT, such as 127.0.0.1:50051 or [::]:50051
  BRIDGE_LOG_FORMAT: \"xml\" is not valid
      write auto, text or json
";
    assert_eq!(ended.stderr, expected);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_meant_is_refused_without_showing_a_password() {
    for (url, complaint) in [
        ("shop-api:3000", "\"shop-api:3000\" is no absolute URL"),
        ("ftp://shop", "\"ftp://shop\" is neither http nor https"),
        ("http://shop/a?b=c", "\"http://shop/a?b=c\" has a query or a fragment"),
        ("http://shop/a#b", "\"http://shop/a#b\" has a query or a fragment"),
        ("http://me:secret@shop", "the URL has a user name or password in it"),
        ("http://", "\"http://\" is not valid"),
    ] {
        let ended = Program::run(&["serve"], &[("BRIDGE_UPSTREAM", url)]).await;
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains(&format!("BRIDGE_UPSTREAM: {complaint}")), "{}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_base_path_that_would_be_resolved_to_another_is_refused() {
    let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", "http://shop/a/../b"];
    let ended = Program::run(&words, &[]).await;
    let expected = "error: 1 fault to mend:
  --upstream or BRIDGE_UPSTREAM: http://shop/a/../b has a dot segment in its path, which servers resolve
      write the URL that is meant, such as http://shop-api:3000/api, percent-encoded and without dot segments
";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(78), expected));
}

#[tokio::test]
async fn a_misspelt_variable_is_told() {
    let variables = [
        ("BRIDGE_UPSTREM_HOST", "shop"),
        ("BRIDGE_SERVICE_HOST", "10.0.0.1"),
        ("BRIDGE_PORT", "tcp://10.0.0.1:80"),
    ];
    let words = ["serve", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:1"];
    let mut program = Program::start(&words, &variables);
    let line: Value = serde_json::from_str(&program.line().await).unwrap();
    assert_eq!(
        line["message"],
        "BRIDGE_UPSTREM_HOST is not a setting, so it is ignored (serve --help lists all)"
    );
    assert_eq!(line["severity"], "WARNING");
    for next in ["listening on ", "every method is public"] {
        let line: Value = serde_json::from_str(&program.line().await).unwrap();
        assert!(line["message"].as_str().unwrap().starts_with(next), "{line}");
    }
}

#[tokio::test]
async fn a_command_line_that_cannot_be_read_ends_with_2() {
    for words in [&["serve", "--nonsense"][..], &["fly"], &[], &["descriptor"]] {
        assert_eq!(Program::run(words, &[]).await.code, Some(2), "{words:?}");
    }
}

#[tokio::test]
async fn an_address_in_use_ends_with_1() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Program::run(&["serve", "--upstream", "http://127.0.0.1:1", "--listen", &address], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.stderr,
        format!("error: cannot listen on {address}: Address already in use (os error 98)\n")
    );
}

#[tokio::test]
async fn routes_prints_the_table() {
    let ended = Program::run(&["routes"], &[]).await;
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stdout.contains("shop.v1.ProductService/GetProduct    GET   /products/{id}"),
        "{}",
        ended.stdout
    );
}

/// API Gateway prints only error details whose types stand in the descriptor set.
#[tokio::test]
async fn descriptor_writes_the_contract_with_annotations_comments_and_error_details() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api_descriptor.pb");
    let ended = Program::run(&["descriptor", "--out", file.to_str().unwrap()], &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let pool = DescriptorPool::decode(std::fs::read(&file).unwrap().as_slice()).unwrap();
    let method = pool.get_service_by_name("shop.v1.ProductService").unwrap().methods().next().unwrap();
    assert!(method.options().has_extension(&pool.get_extension_by_name("google.api.http").unwrap()));
    assert!(pool.get_message_by_name("google.rpc.ErrorInfo").is_some());
    let info = method.parent_file().file_descriptor_proto().source_code_info.clone().unwrap();
    assert!(info.location.iter().any(|location| location.leading_comments().contains("Lists every product")));
    let nowhere = folder.path().join("no/such/folder");
    let ended = Program::run(&["descriptor", "--out", nowhere.to_str().unwrap()], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("error: cannot write "), "{}", ended.stderr);
}

#[tokio::test]
async fn the_demo_shows_a_list_and_each_way_to_fail() {
    let mut program = Program::start(&["demo", "--listen", "127.0.0.1:0"], &[]);
    let mut line = program.line().await;
    while !line.starts_with("The shop is open: gRPC on localhost:") {
        line = program.line().await;
    }
    let port: u16 = line.split([':', ',']).nth(2).unwrap().parse().unwrap();
    let mut shop = client(&format!("127.0.0.1:{port}")).await;
    let list = shop.list_products(ListProductsRequest {}).await.unwrap().into_inner();
    assert_eq!(list.products.len(), 50);
    let first = shop.get_product(GetProductRequest { id: 1 }).await.unwrap().into_inner().product.unwrap();
    assert_eq!((first.title.as_deref(), first.price.as_deref()), (Some("Veranda Symphony"), Some("83.84")));
    for (id, code) in [(404, Code::NotFound), (-1, Code::InvalidArgument)] {
        assert_eq!(shop.get_product(GetProductRequest { id }).await.unwrap_err().code(), code);
    }
    let mut slow = tonic::Request::new(GetProductRequest { id: 999 });
    slow.set_timeout(Duration::from_millis(50));
    let status = shop.get_product(slow).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    program.signal("INT").await;
    assert_eq!(program.ended().await, Some(0));
}

/// Times that long cannot be added to a clock, which would be found out by the first call.
#[tokio::test]
async fn a_time_that_no_clock_can_add_is_refused() {
    let words = ["serve", "--upstream", "http://shop", "--upstream-connection-age", "100000000000years"];
    let ended = Program::run(&words, &[]).await;
    let expected = "error: 1 fault to mend:
  --upstream-connection-age: \"100000000000years\" is not valid
      write a number with its unit, such as 500ms, 10s or 2m, and at most 10y
";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), expected));
}
