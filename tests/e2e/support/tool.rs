//! Programs that others wrote, run to their end.

use std::{io::ErrorKind, process::Output};

use tokio::process::Command;

use super::within_patience;

/// A program and how to get it.
pub(crate) struct Tool {
    command: Command,
    how_to_get_it: &'static str,
}

/// `GRPCURL`, else `grpcurl`.
pub(crate) fn grpcurl() -> Tool {
    Tool::named(
        "GRPCURL",
        "grpcurl",
        "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest, and put it on PATH or in GRPCURL",
    )
}

/// `H2SPEC`, else `h2spec`, in the version whose cases the test knows. It is the newest one that `go install` takes: later ones
/// have a `go.mod` without the `/v2` that Go wants there.
pub(crate) fn h2spec() -> Tool {
    Tool::named(
        "H2SPEC",
        "h2spec",
        "go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible, and put it on PATH or in H2SPEC",
    )
}

/// `PYTHON`, else `python3`, with the packages that `examples/python` needs.
pub(crate) fn python() -> Tool {
    Tool::named(
        "PYTHON",
        "python3",
        "make a virtual environment with `pip install -r examples/python/requirements.txt grpcio-tools`, and \
         name its bin/python in PYTHON",
    )
}

// === impl Tool ===

impl Tool {
    #[allow(clippy::disallowed_methods, reason = "a test has no command line to be told by")]
    fn named(variable: &str, default: &str, how_to_get_it: &'static str) -> Self {
        let mut command = Command::new(std::env::var_os(variable).unwrap_or_else(|| default.into()));
        // gRPC's C core would ask a proxy even for this very machine.
        for proxy in ["grpc_proxy", "http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy);
        }
        command.kill_on_drop(true);
        Self { command, how_to_get_it }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it, and gives exit code, standard output and standard error.
    pub(crate) async fn run(mut self) -> (i32, String, String) {
        let program = format!("{:?}", self.command.as_std());
        let output = within_patience(&program, self.command.output(), String::new).await;
        let Output { status, stdout, stderr } = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("there is no {program}: {}", self.how_to_get_it)
            }
            output => output.unwrap(),
        };
        let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(!stderr.contains("No module named"), "{program}\n{stderr}\n{}", self.how_to_get_it);
        (status.code().expect("an exit code, not a signal"), stdout, stderr)
    }

    /// Runs it, and gives its standard output; anything but success is a failure of the test.
    pub(crate) async fn succeeds(self) -> String {
        let program = format!("{:?}", self.command.as_std());
        let (code, stdout, stderr) = self.run().await;
        assert_eq!(code, 0, "{program}\n{stdout}\n{stderr}");
        stdout
    }
}
