//! A server process: its output is drained at all times, and it never outlives its owner.
//!
//! Threads and not tasks read the output, since a server that tests share must outlive the runtime of the
//! test that happened to start it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;

use super::within_patience;

/// How long a process may take to stop by itself when its owner is done with it.
const GRACE: Duration = Duration::from_secs(3);
/// How many lines of output a failure shows.
const LAST_LINES: usize = 30;

pub(crate) struct Process {
    name: &'static str,
    child: Mutex<Child>,
    /// A shell that sends SIGTERM as soon as it is told to. It runs from the beginning, since starting one
    /// takes longer than some of the moments at which a signal must be survived.
    terminator: Mutex<Child>,
    /// Every line so far; it is closed when the process has closed its output.
    lines: watch::Receiver<Vec<String>>,
    /// Nothing is ever sent: it is disconnected when the process has closed its output.
    silence: Mutex<mpsc::Receiver<()>>,
}

// === impl Process ===

impl Process {
    /// Starts `command`, whose name in failures is `name`.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (sender, lines) = watch::channel(Vec::new());
        let (open, silence) = mpsc::channel();
        drain(child.stdout.take().unwrap(), sender.clone(), open.clone());
        drain(child.stderr.take().unwrap(), sender, open);
        let terminator = Mutex::new(terminator(child.id()));
        Self { name, child: Mutex::new(child), terminator, lines, silence: Mutex::new(silence) }
    }

    /// Waits for a line in which `find` finds something, those that were written already included.
    pub(crate) async fn line<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut lines = self.lines.clone();
        let among = |lines: &[String]| lines.iter().find_map(|line| find(line));
        let found = async {
            match lines.wait_for(|lines| among(lines).is_some()).await {
                Ok(lines) => among(&lines),
                Err(_) => None,
            }
        };
        let what = format!("{what} from the {}", self.name);
        let found = within_patience(&what, found, || self.last_lines()).await;
        found.unwrap_or_else(|| panic!("{what} did not come before it ended\n{}", self.last_lines()))
    }

    /// Every line so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Asks it to stop, as an orchestrator does; once.
    pub(crate) fn terminate(&self) {
        // Held, so that its id cannot become another's meanwhile.
        let _child = self.child.lock().unwrap();
        let mut terminator = self.terminator.lock().unwrap();
        terminator.stdin.take().expect("it is asked once only").write_all(b"now\n").unwrap();
        assert!(terminator.wait().unwrap().success(), "SIGTERM could not be sent to the {}", self.name);
    }

    /// Ends it without asking (SIGKILL).
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn exit(&self) -> ExitStatus {
        let mut lines = self.lines.clone();
        let ended = async { while lines.changed().await.is_ok() {} };
        within_patience(&format!("the {} to end", self.name), ended, || self.last_lines()).await;
        // Its output is closed, so it is about to end, if it has not.
        self.child.lock().unwrap().wait().unwrap()
    }

    /// The end of its output, for failures.
    pub(crate) fn last_lines(&self) -> String {
        let lines = self.lines.borrow();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!("the {} said last:\n  {}", self.name, last.join("\n  "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed while it held a lock must not leave its server behind.
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let terminator = self.terminator.get_mut().unwrap_or_else(PoisonError::into_inner);
        let stdin = terminator.stdin.take();
        if let (Ok(None), Ok(silence)) = (child.try_wait(), self.silence.get_mut()) {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(b"now\n");
            }
            if silence.recv_timeout(GRACE) != Err(RecvTimeoutError::Disconnected) {
                let _ = child.kill();
            }
            let _ = child.wait();
        } else {
            // The end of its input ends the shell, which has nothing to do any more.
            drop(stdin);
        }
        let _ = terminator.wait();
    }
}

/// A shell, since `kill` is a part of every shell, and this crate has no unsafe code.
fn terminator(id: u32) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read -r word && kill -TERM \"$0\"", &id.to_string()]).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell")
}

fn drain(output: impl Read + Send + 'static, lines: watch::Sender<Vec<String>>, open: mpsc::Sender<()>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            lines.send_modify(|lines| lines.push(String::from_utf8_lossy(&line).into_owned()));
        }
        drop(open);
    });
}
