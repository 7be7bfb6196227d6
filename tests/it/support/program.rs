//! The program as a process.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program whose output is read line by line.
pub(crate) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// The program with these words, and with no variable of ours but `variables`.
    fn command(words: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grpc-rest-bridge"));
        command.args(words).env_clear().envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(words: &[&str], variables: &[(&str, &str)]) -> Ended {
        let output = timeout(PATIENCE, Self::command(words, variables).output()).await.unwrap().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one fault that keeps it from serving with these flags.
    pub(crate) async fn fault_of(flags: &[&str]) -> String {
        let serve = ["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"];
        let ended = Self::run(&[&serve[..], flags].concat(), &[]).await;
        assert!(matches!(ended.code, Some(2 | 78)), "{ended:?}");
        let fault = ended.stderr.strip_prefix("error: 1 fault to mend:\n  ").unwrap_or(&ended.stderr);
        fault.trim_end().to_owned()
    }

    /// Starts it.
    pub(crate) fn start(words: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Self::command(words, variables).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line of its output.
    pub(crate) async fn line(&mut self) -> String {
        timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().expect("the program has ended")
    }

    /// The next log line whose message contains `text`.
    pub(crate) async fn log(&mut self, text: &str) -> Value {
        loop {
            let line = self.line().await;
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            if line["message"].as_str().is_some_and(|message| message.contains(text)) {
                return line;
            }
        }
    }

    /// The address that it listens on.
    pub(crate) async fn address(&mut self) -> String {
        let line = self.log("listening on ").await;
        line["message"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the program has ended")
    }

    /// What every process of the machine can read of how it was started.
    pub(crate) fn command_line(&self) -> String {
        let words = std::fs::read(format!("/proc/{}/cmdline", self.id())).unwrap();
        String::from_utf8(words).unwrap()
    }

    /// Sends it a signal, by its own process id.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits for its end and gives the exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().code()
    }
}
