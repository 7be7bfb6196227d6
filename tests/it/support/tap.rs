//! A wire between callers and the bridge, on which the HTTP/2 frames of the bridge are seen as they pass.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
};
use tonic::transport::{Channel, Endpoint};

use super::Bridge;

/// What every HTTP/2 connection begins with.
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const ACK: u8 = 1;

/// The wire; callers connect to its endpoint.
pub(crate) struct Tap {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: UnboundedReceiver<Seen>,
    task: JoinHandle<()>,
}

/// What the bridge does.
#[derive(Debug)]
enum Seen {
    Sent(Frame),
    Closed,
}

/// What the bridge sends, by RFC 9113.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    kind: u8,
    flags: u8,
    pub(crate) payload: Bytes,
}

/// What becomes of the caller at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// It lives.
    Lives,
    /// It answers no PING.
    IsGone,
    /// It reads nothing any more once an answer has begun.
    IsStuck,
}

// === impl Tap ===

impl Tap {
    /// A wire to this bridge.
    pub(crate) async fn to(bridge: &Bridge, caller: Caller) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, bridge) = (listener.local_addr().unwrap(), bridge.address);
        let (see, seen) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(bridge).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(join(near, far, caller, see.clone()));
            }
        });
        Self { address, connections, seen, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    /// Waits for a frame of this kind that answers no other.
    pub(crate) async fn frame(&mut self, kind: u8) -> Frame {
        loop {
            match self.seen.recv().await.unwrap() {
                Seen::Sent(frame) if frame.kind == kind && !frame.is_answer() => return frame,
                Seen::Closed => panic!("closed before any frame of kind {kind}"),
                _ => {}
            }
        }
    }

    /// Waits until the bridge closes a connection.
    pub(crate) async fn closed(&mut self) {
        while !matches!(self.seen.recv().await.unwrap(), Seen::Closed) {}
    }

    /// How many connections callers have made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(near: TcpStream, far: TcpStream, caller: Caller, see: UnboundedSender<Seen>) {
    let ((from_caller, to_caller), (from_bridge, to_bridge)) = (near.into_split(), far.into_split());
    // Either way ends when one side closes; the test is told by the bridge's way.
    let _ = tokio::join!(ask(from_caller, to_bridge, caller), answer(from_bridge, to_caller, caller, see));
}

/// The way to the bridge.
async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, caller: Caller) -> io::Result<()> {
    let mut preface = [0; PREFACE_BYTES];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    loop {
        let (frame, bytes) = Frame::read(&mut from).await?;
        if !(caller == Caller::IsGone && frame.kind == Frame::PING && frame.is_answer()) {
            to.write_all(&bytes).await?;
        }
    }
}

/// The way from the bridge.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    caller: Caller,
    see: UnboundedSender<Seen>,
) -> io::Result<()> {
    while let Ok((frame, bytes)) = Frame::read(&mut from).await {
        let stuck = caller == Caller::IsStuck && frame.kind == Frame::DATA;
        // A test that has seen enough is over.
        let _ = see.send(Seen::Sent(frame));
        if stuck {
            std::future::pending::<()>().await;
        }
        // The caller may be gone before the bridge has noticed.
        let _ = to.write_all(&bytes).await;
    }
    let _ = see.send(Seen::Closed);
    Ok(())
}

// === impl Frame ===

impl Frame {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;

    /// The next frame, and all of its bytes.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Self, Vec<u8>)> {
        let mut bytes = vec![0; HEAD_BYTES];
        from.read_exact(&mut bytes).await?;
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        bytes.resize(HEAD_BYTES + length, 0);
        from.read_exact(&mut bytes[HEAD_BYTES..]).await?;
        let payload = Bytes::copy_from_slice(&bytes[HEAD_BYTES..]);
        Ok((Self { kind: bytes[3], flags: bytes[4], payload }, bytes))
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: u8) -> bool {
        self.kind == kind
    }

    fn is_answer(&self) -> bool {
        matches!(self.kind, Self::SETTINGS | Self::PING) && self.flags & ACK != 0
    }

    /// The number at this place of the payload.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}
