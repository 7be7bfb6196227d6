//! The program: everything happens in the library, so that tests can do the same.

use std::process::ExitCode;

fn main() -> ExitCode {
    grpc_rest_bridge::run()
}
