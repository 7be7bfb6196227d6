//! Protobuf's own conformance suite, with every Required and every Recommended test and no list of failures.
//!
//! `CONFORMANCE` names the folder that `tests/conformance/fetch` has filled. The runner there starts this program
//! again as its testee, which answers with what the transcoder of the bridge makes of each message.

// A test, though it is not run by the harness that clippy knows tests by.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod testee;

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

/// Names the descriptor set of the test messages; set for the testee alone.
const MESSAGES: &str = "CONFORMANCE_MESSAGES";

/// Tests with JSON on one side or on both: 1,252 from protobuf, 534 to protobuf, 976 from JSON to JSON.
const WITH_JSON: usize = 2762;
/// From protobuf to protobuf, which the bridge never does.
const WITHOUT_JSON: usize = 2805;

fn main() -> ExitCode {
    if let Some(messages) = env::var_os(MESSAGES) {
        testee::run(messages.as_ref());
        return ExitCode::SUCCESS;
    }
    let folder = env::var_os("CONFORMANCE").map(PathBuf::from);
    let folder = folder.expect("CONFORMANCE names the folder that tests/conformance/fetch has filled");
    let output = Command::new(folder.join("run"))
        .args(["--enforce_recommended", "--maximum_edition", "2023"])
        .arg(env::current_exe().unwrap())
        .env(MESSAGES, folder.join("tests.binpb"))
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    print!("{report}");
    let passed = format!(
        "CONFORMANCE SUITE PASSED: {WITH_JSON} successes, {WITHOUT_JSON} skipped, 0 expected failures, 0 unexpected failures."
    );
    // The runner also ends well where everything was skipped, so the counts are what tells.
    let good = output.status.success() && report.contains(&passed);
    println!("{} passed, {} failed", if good { WITH_JSON } else { 0 }, usize::from(!good));
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
