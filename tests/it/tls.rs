use std::time::Duration;

use grpc_rest_bridge::{
    app::Stopped,
    config::{ClientAuth, TlsConfig},
    shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{
    Code, Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::support::{Api, Authority, Bridge, Clock, Files, Program, reason};

const SHOP: &str = r#"{"products":[]}"#;

async fn channel(bridge: &Bridge, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("https://{}", bridge.address)).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await
}

async fn list(channel: Channel) -> Result<usize, Status> {
    let answer = ProductServiceClient::new(channel).list_products(ListProductsRequest {}).await;
    answer.map(|answer| answer.into_inner().products.len())
}

/// Connects and calls once.
async fn call(bridge: &Bridge, tls: ClientTlsConfig) -> Result<usize, String> {
    let channel = channel(bridge, tls).await.map_err(|error| format!("{error:?}"))?;
    list(channel).await.map_err(|status| format!("{status:?}"))
}

async fn serving(api: &Api, tls: TlsConfig) -> Bridge {
    Bridge::to(&api.url()).tls(tls).start().await
}

#[tokio::test]
async fn a_caller_is_served_over_tls_and_no_other_way() {
    let api = Api::saying(SHOP).await;
    let authority = Authority::new("ours");
    let files = Files::of(&authority.for_server());
    let bridge = serving(&api, files.config()).await;
    assert_eq!(call(&bridge, authority.trusted(None)).await, Ok(0));

    let mistrusts = call(&bridge, Authority::new("another").trusted(None)).await.unwrap_err();
    assert!(mistrusts.contains("UnknownIssuer") || mistrusts.contains("BadSignature"), "{mistrusts}");
    let plain = bridge.endpoint().connect().await.map(drop);
    assert!(plain.is_err() || list(bridge.channel().await).await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_served_to_new_connections_and_the_old_ones_go_on() {
    let api = Api::saying(SHOP).await;
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::of(&old.for_server());
    let bridge = serving(&api, files.config()).await;
    let before = channel(&bridge, old.trusted(None)).await.unwrap();
    assert_eq!(list(before.clone()).await.unwrap(), 0);

    files.renew(&new.for_server());
    // It is read again within some milliseconds; a call hangs for as long as the test may if it is not.
    while call(&bridge, new.trusted(None)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(call(&bridge, old.trusted(None)).await.is_err());
    assert_eq!(list(before).await.unwrap(), 0);
}

#[tokio::test]
async fn a_bad_certificate_does_not_take_the_place_of_a_good_one() {
    let api = Api::saying(SHOP).await;
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let files = Files::of(&authority.for_server());
    let bridge = serving(&api, files.config()).await;
    // A key that does not belong to the certificate, as between the two writes of a careless renewal.
    files.write("key.pem", &other.for_server().key);
    for _ in 0..20 {
        assert_eq!(call(&bridge, authority.trusted(None)).await, Ok(0));
    }
    files.renew(&other.for_server());
    while call(&bridge, other.trusted(None)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_caller_without_the_right_certificate_does_not_connect() {
    let api = Api::saying(SHOP).await;
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let files = Files::of(&authority.for_server());
    let mut tls = files.mutual(&authority);
    tls.client_names = vec!["spiffe://shop/*".to_owned()];
    let bridge = serving(&api, tls).await;
    let right = authority.for_caller("spiffe://shop/checkout");
    assert_eq!(call(&bridge, authority.trusted(Some(&right))).await, Ok(0));

    let none = call(&bridge, authority.trusted(None)).await.unwrap_err();
    assert!(none.contains("CertificateRequired"), "{none}");
    let stranger = other.for_caller("spiffe://shop/checkout");
    let stranger = call(&bridge, authority.trusted(Some(&stranger))).await.unwrap_err();
    assert!(stranger.contains("UnknownCA") || stranger.contains("DecryptError"), "{stranger}");
    let neighbour = authority.for_caller("spiffe://warehouse/shop");
    let neighbour = call(&bridge, authority.trusted(Some(&neighbour))).await.unwrap_err();
    assert!(neighbour.contains("AccessDenied"), "{neighbour}");
}

#[tokio::test]
async fn where_certificates_are_requested_a_method_may_require_one() {
    let api = Api::saying(SHOP).await;
    let authority = Authority::new("ours");
    let files = Files::of(&authority.for_server());
    let tls = TlsConfig { client_auth: ClientAuth::Requested, ..files.mutual(&authority) };
    let bridge = Bridge::to(&api.url())
        .tls(tls)
        .door(|door| {
            door.policies = vec!["*/ListProducts=mtls".parse().unwrap(), "*=public".parse().unwrap()]
        })
        .start()
        .await;
    let right = authority.for_caller("spiffe://shop/checkout");
    assert_eq!(call(&bridge, authority.trusted(Some(&right))).await, Ok(0));
    let without = channel(&bridge, authority.trusted(None)).await.unwrap();
    let status = list(without).await.unwrap_err();
    let told = (status.code(), status.message(), reason(&status));
    let missing = "this method requires a client certificate";
    assert_eq!(told, (Code::Unauthenticated, missing, "CREDENTIALS_MISSING".to_owned()));
}

#[tokio::test]
async fn a_handshake_that_comes_to_no_end_is_ended() {
    let mut clock = Clock::stop();
    let api = Api::saying(SHOP).await;
    let files = Files::of(&Authority::new("ours").for_server());
    let probe =
        |probe: &mut grpc_rest_bridge::config::ProbeConfig| probe.interval = Duration::from_secs(3600);
    let bridge = Bridge::to(&api.url()).probe(probe).tls(files.config()).start().await;
    let mut says_nothing = TcpStream::connect(bridge.address).await.unwrap();
    let mut says_little = TcpStream::connect(bridge.address).await.unwrap();
    says_little.write_all(&[0x16, 3, 1, 2]).await.unwrap();
    // Until both were taken.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.pass(Duration::from_millis(10_001)).await;
    for stream in [&mut says_nothing, &mut says_little] {
        assert_eq!(clock.now(stream.read(&mut [0; 64])).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_handshake_does_not_hold_up_a_stop() {
    let mut clock = Clock::stop();
    let api = Api::saying(SHOP).await;
    let files = Files::of(&Authority::new("ours").for_server());
    let probe =
        |probe: &mut grpc_rest_bridge::config::ProbeConfig| probe.interval = Duration::from_secs(3600);
    let mut bridge = Bridge::to(&api.url()).probe(probe).tls(files.config()).start().await;
    let _says_nothing = TcpStream::connect(bridge.address).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    bridge.stop();
    tokio::task::yield_now().await;
    // The drain delay is nothing, which takes a tick of the clock.
    clock.pass(Duration::from_millis(1)).await;
    assert_eq!(clock.now(bridge.stop()).await.unwrap(), Stopped::Drained);
}

/// What `serve` says of these flags, and its exit code.
async fn complaint(flags: &[&str]) -> (Option<i32>, String) {
    let words =
        [&["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"][..], flags].concat();
    let ended = Program::run(&words, &[]).await;
    (ended.code, ended.stderr)
}

fn one_fault(code: i32, what: &str, mend: &str) -> (Option<i32>, String) {
    (Some(code), format!("error: 1 fault to mend:\n  {what}\n      {mend}\n"))
}

#[tokio::test]
async fn a_certificate_and_its_key_come_together() {
    let files = Files::of(&Authority::new("ours").for_server());
    let (cert, key) =
        (files.path("cert.pem").display().to_string(), files.path("key.pem").display().to_string());
    let without_key = complaint(&["--tls-cert", &cert]).await;
    let mend = "name the private key of the certificate";
    assert_eq!(without_key, one_fault(2, "--tls-cert: stands without --tls-key", mend));
    let without_certificate = complaint(&["--tls-key", &key]).await;
    let mend = "name the certificate to serve with";
    assert_eq!(without_certificate, one_fault(2, "--tls-key: stands without --tls-cert", mend));
    let names_without_ca =
        complaint(&["--tls-cert", &cert, "--tls-key", &key, "--tls-client-names", "a"]).await;
    let mend = "name the CA that issues the certificates of callers";
    assert_eq!(names_without_ca, one_fault(2, "--tls-client-names: stands without --tls-client-ca", mend));
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_at_the_start() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let server = authority.for_server();
    let files = Files::of(&server);
    let path = |name: &str, text: &str| files.write(name, text).display().to_string();
    let (good, key) = (path("good.pem", &server.certificate), path("good.key", &server.key));
    let empty = path("empty.pem", "");
    let broken = path("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let locked = path(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let of_other = path("other.key", &other.for_server().key);
    let nowhere = files.path("nowhere.pem").display().to_string();
    let chain = "write PEM (-----BEGIN CERTIFICATE-----), the server's own first, then those of its issuers";
    let private =
        "write PEM without a password (-----BEGIN PRIVATE KEY-----), the key of the first certificate";
    let issuers = "write PEM (-----BEGIN CERTIFICATE-----), the certificates that issue those of callers";
    let no_base64 = format!("{broken}: is no PEM: base64 decode error: InvalidCharacter(33)");
    let not_its_key = format!("{of_other}: is not the key of the certificate in {good}");
    let missing = format!("{nowhere}: cannot be read: No such file or directory (os error 2)");
    let cases: [(&str, &str, &str, String, &str); 7] = [
        (&empty, &key, &good, format!("{empty}: has no certificate in it"), chain),
        (&broken, &key, &good, no_base64, chain),
        (&good, &good, &good, format!("{good}: has no private key in it"), private),
        (&good, &locked, &good, format!("{locked}: has a key with a password"), private),
        (&good, &of_other, &good, not_its_key, private),
        (&good, &key, &empty, format!("{empty}: has no certificate in it"), issuers),
        (&nowhere, &key, &good, missing, "name a file that this process can read"),
    ];
    for (cert, key, ca, what, mend) in cases {
        let told = complaint(&["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca]).await;
        assert_eq!(told, one_fault(78, &what, mend));
    }
}
