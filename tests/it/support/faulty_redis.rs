//! A Redis for what a real one cannot be made to do: be silent, be slow, and hang up in the middle. It lets every call through.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What it does with commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It answers.
    Good,
    /// It reads them.
    Silent,
    /// It closes the connection when one has come.
    HangsUp,
}

/// A server on a free port.
pub(crate) struct FaultyRedis {
    pub(crate) address: SocketAddr,
    manners: watch::Sender<Manners>,
    commands: Arc<watch::Sender<usize>>,
    task: JoinHandle<()>,
}

impl FaultyRedis {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manners, commands) = (watch::Sender::new(manners), Arc::new(watch::Sender::new(0)));
        let (now, count) = (manners.clone(), commands.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, now.subscribe(), count.clone()));
            }
        });
        Self { address, manners, commands, task }
    }

    /// From now on; what has been read and not been answered is answered by a good one.
    pub(crate) fn behave(&self, manners: Manners) {
        self.manners.send_replace(manners);
    }

    /// Waits until this many commands have come in all.
    pub(crate) async fn has_read(&self, commands: usize) {
        self.commands.subscribe().wait_for(|read| *read >= commands).await.unwrap();
    }

    /// How many commands have come in all.
    pub(crate) fn commands(&self) -> usize {
        *self.commands.borrow()
    }
}

impl Drop for FaultyRedis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, mut manners: watch::Receiver<Manners>, count: Arc<watch::Sender<usize>>) {
    let mut stream = BufReader::new(stream);
    let mut unanswered = 0;
    loop {
        tokio::select! {
            read = read_command(&mut stream) => {
                if read.is_none() {
                    return;
                }
                unanswered += 1;
                count.send_modify(|count| *count += 1);
            }
            changed = manners.changed() => if changed.is_err() {
                return;
            },
        }
        match *manners.borrow_and_update() {
            Manners::Good => {}
            Manners::Silent => continue,
            Manners::HangsUp => return,
        }
        // No rate refuses, and there is nothing to wait for.
        let answers = "*2\r\n:0\r\n:0\r\n".repeat(std::mem::take(&mut unanswered));
        if stream.write_all(answers.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One command: `*N`, and N times `$LENGTH` and a text.
async fn read_command(stream: &mut BufReader<TcpStream>) -> Option<()> {
    for _ in 0..number(stream, '*').await? {
        let length = number(stream, '$').await?;
        stream.read_exact(&mut vec![0; length + 2]).await.ok()?;
    }
    Some(())
}

async fn number(stream: &mut BufReader<TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.strip_prefix(kind)?.trim_end().parse().ok()
}
