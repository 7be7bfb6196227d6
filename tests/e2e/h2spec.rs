//! h2spec: does the listener speak HTTP/2 as RFC 9113 and RFC 7541 have it? docs/connections.md tells the result.
//!
//! h2spec sends plain requests, which are no calls of gRPC. The bridge answers those with 415 at their first frame, and so may
//! have answered before h2spec has sent the frame that breaks a rule. A stream that is answered is closed, and what comes on it
//! then is ignored, as RFC 9113 allows (sections 5.1 and 8.1), but h2spec calls that a failure. So a case that fails is run again:
//! one that breaks a rule fails each time. `tests/it/attacks/streams.rs` has those cases in calls of gRPC, which are not
//! answered so early.

use crate::{
    pki::{Authority, Files},
    support::{Bridge, h2spec},
};

/// The cases that fail whenever they are run.
const EXCEPTIONS: &[&str] = &[
    // It sends text in place of the preface, and wants the connection to be closed. It is, but what is no HTTP/2 may be
    // HTTP/1.1, so 400 is answered in its words first, which h2spec reads as half a frame. RFC 9113, section 3.4: there need
    // be no GOAWAY, since the caller does not speak HTTP/2.
    "http2/3.5/2",
];
/// All cases of h2spec, those for SHOULD included.
const CASES: usize = 146;
/// Of so many runs one comes in time, if the machine is not overloaded.
const RUNS: usize = 50;
/// How long h2spec waits for the bridge.
const SECONDS: &str = "1";
/// No request of h2spec reaches the API.
const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn the_listener_speaks_http_2_as_the_standard_has_it() {
    let bridge = Bridge::before(NOWHERE).start().await;
    assert_eq!(failures(&bridge, &[]).await, EXCEPTIONS);
}

#[tokio::test]
async fn so_it_does_over_tls() {
    let files = Files::of(&Authority::new("test").for_server());
    let tls = files.config();
    let bridge = Bridge::before(NOWHERE)
        .set("--tls-cert", tls.certificate.to_str().unwrap())
        .set("--tls-key", tls.key.to_str().unwrap());
    assert_eq!(failures(&bridge.start().await, &["--tls", "--insecure"]).await, EXCEPTIONS);
}

/// The cases that fail each time.
async fn failures(bridge: &Bridge, flags: &[&str]) -> Vec<String> {
    let (cases, failed) = run(bridge, flags, None).await;
    assert_eq!(cases, CASES);
    let mut failures = Vec::new();
    for case in failed {
        if fails_always(bridge, flags, &case).await {
            failures.push(case);
        }
    }
    failures
}

async fn fails_always(bridge: &Bridge, flags: &[&str], case: &str) -> bool {
    for _ in 0..RUNS {
        let (cases, failed) = run(bridge, flags, Some(case)).await;
        assert_eq!(cases, 1, "{case}");
        if failed.is_empty() {
            return false;
        }
    }
    true
}

/// Runs all cases or one, and gives how many there were, and those that have failed.
async fn run(bridge: &Bridge, flags: &[&str], case: Option<&str>) -> (usize, Vec<String>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = folder.path().join("report.xml");
    let (host, port) = bridge.address().rsplit_once(':').unwrap();
    let path = "/shop.v1.ProductService/ListProducts";
    let tool = h2spec().args(case.as_slice()).args(&["--strict", "--timeout", SECONDS]).args(flags);
    let tool = tool.args(&["--host", host, "--port", port, "--path", path]);
    let (code, told, _) = tool.args(&["--junit-report", report.to_str().unwrap()]).run().await;
    let report = std::fs::read_to_string(report).unwrap();
    let (cases, failed) = read(&report);
    assert_eq!(code != 0, !failed.is_empty(), "{told}");
    (cases, failed)
}

/// How many cases a report has, and those that have failed, as h2spec takes them: `http2/3.5/2` is the second one of its section.
fn read(report: &str) -> (usize, Vec<String>) {
    let (mut cases, mut failed) = (0, Vec::new());
    for section in report.split("<testsuite ").skip(1) {
        for (index, case) in section.split("<testcase ").skip(1).enumerate() {
            cases += 1;
            if case.contains("<error>") || case.contains("<failure>") {
                let name = case.split("package=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
                failed.push(format!("{name}/{}", index + 1));
            }
        }
    }
    (cases, failed)
}
