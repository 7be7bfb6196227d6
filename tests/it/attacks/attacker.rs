//! A caller that sends whatever it likes, frame by frame (RFC 9113).

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch::{self, Receiver, Sender},
    time::timeout,
};

use crate::support::Frame;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// The settings, by RFC 9113, section 6.5.2.
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longer than any answer takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// As much as is sent at once.
const BATCH_BYTES: usize = 64 * 1024;

/// One connection of an attacker.
pub(super) struct Attacker {
    write: OwnedWriteHalf,
    batch: Vec<u8>,
    /// What the bridge says, until it closes.
    heard: Receiver<Fate>,
}

/// What became of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    /// The frames that came, with their streams.
    pub(super) frames: Vec<(u32, Frame)>,
}

// === impl Attacker ===

impl Attacker {
    /// One that begins as any other caller does, with these settings.
    pub(super) async fn at(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::on(TcpStream::connect(address).await.unwrap(), settings).await
    }

    /// The same from this address of the machine.
    pub(super) async fn from(address: [u8; 4], to: SocketAddr) -> Self {
        Self::on(connect(address, to).await.unwrap(), &[]).await
    }

    async fn on(stream: TcpStream, settings: &[(u16, u32)]) -> Self {
        let (read, write) = stream.into_split();
        let (hear, heard) = watch::channel(Fate::default());
        tokio::spawn(listen(read, hear));
        let mut attacker = Self { write, batch: PREFACE.to_vec(), heard };
        let payload = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        attacker.frame(Frame::SETTINGS, 0, 0, &payload.collect::<Vec<_>>());
        attacker.frame(Frame::SETTINGS, ACK, 0, &[]);
        attacker.send().await.unwrap();
        attacker
    }

    /// Notes a frame, to be sent with others.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.batch.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        self.batch.extend_from_slice(&[kind, flags]);
        self.batch.extend_from_slice(&stream.to_be_bytes());
        self.batch.extend_from_slice(payload);
    }

    /// Notes a call as far as its message.
    pub(super) fn head(&mut self, stream: u32, path: &str, headers: &[(&str, &str)]) {
        let mut block = call(path);
        for (name, value) in headers {
            block.extend(field(name.as_bytes(), value.as_bytes()));
        }
        self.frame(Frame::HEADERS, END_HEADERS, stream, &block);
    }

    /// Notes a whole call.
    pub(super) fn call(&mut self, stream: u32, path: &str, message: &[u8]) {
        self.head(stream, path, &[]);
        self.frame(Frame::DATA, END_STREAM, stream, &framed(message));
    }

    /// Sends what was noted, if it is worth it.
    pub(super) async fn send_when_full(&mut self) -> io::Result<()> {
        if self.batch.len() >= BATCH_BYTES { self.send().await } else { Ok(()) }
    }

    /// Sends what was noted.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        let sent =
            timeout(PATIENCE, self.write.write_all(&self.batch)).await.expect("it neither takes nor closes");
        self.batch.clear();
        sent
    }

    /// Waits until the bridge has closed the connection.
    pub(super) async fn closed(mut self) -> Fate {
        let closed = async { while self.heard.changed().await.is_ok() {} };
        timeout(PATIENCE, closed).await.expect("the connection is still open");
        self.heard.borrow().clone()
    }

    /// What the bridge has said until now.
    pub(super) fn has_heard(&self) -> Fate {
        self.heard.borrow().clone()
    }

    /// Waits until the bridge has said this.
    pub(super) async fn hears(&mut self, what: impl FnMut(&Fate) -> bool) -> Fate {
        let heard =
            timeout(PATIENCE, self.heard.wait_for(what)).await.map(|heard| heard.map(|fate| fate.clone()));
        match heard {
            Ok(Ok(fate)) => fate,
            Ok(Err(_)) => panic!("it has closed the connection, and said {:?}", *self.heard.borrow()),
            Err(_) => panic!("it has said nothing but {:?}", *self.heard.borrow()),
        }
    }

    /// Sends the rest, says that nothing more will come, and waits for what the bridge has to say.
    pub(super) async fn done(mut self) -> Fate {
        let _ = self.send().await;
        let _ = self.write.shutdown().await;
        self.closed().await
    }

    /// Sends the same frame until the bridge closes the connection, and gives how many were taken at most.
    pub(super) async fn flood(&mut self, most: usize, mut frame: impl FnMut(&mut Self, usize)) -> usize {
        for index in 0..most {
            frame(self, index);
            if self.heard.has_changed().is_err() || self.send_when_full().await.is_err() {
                return index;
            }
        }
        let _ = self.send().await;
        most
    }
}

async fn listen(mut from: OwnedReadHalf, hear: Sender<Fate>) {
    while let Ok((frame, bytes)) = Frame::read(&mut from).await {
        let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
        hear.send_modify(|fate| fate.frames.push((stream, frame)));
    }
}

// === impl Fate ===

impl Fate {
    /// The error code of the GOAWAY that it ended with, if there was one.
    pub(super) fn goaway(&self) -> Option<u32> {
        let last = self.frames.iter().rev().find(|(_, frame)| frame.is(Frame::GOAWAY));
        last.map(|(_, frame)| frame.number(4))
    }

    /// The error codes of the streams that were given up.
    pub(super) fn resets(&self) -> Vec<u32> {
        self.frames
            .iter()
            .filter(|(_, frame)| frame.is(Frame::RST_STREAM))
            .map(|(_, frame)| frame.number(0))
            .collect()
    }

    /// How many answers came.
    pub(super) fn answers(&self) -> usize {
        self.frames.iter().filter(|(_, frame)| frame.is(Frame::HEADERS)).count()
    }
}

async fn connect(from: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// A connection from an address of this machine on which nothing follows the settings.
pub(super) async fn idle(from: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(from, to).await?;
    // It may be closed already.
    let _ = stream.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await;
    Ok(stream)
}

/// Whether the other side has not closed it.
pub(super) async fn is_open(stream: &mut TcpStream) -> bool {
    let mut first = [0; 9];
    stream.read_exact(&mut first).await.is_ok()
}

/// A message with the prefix of gRPC.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// The header block of a call (RFC 7541), none of it indexed.
pub(super) fn call(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "bridge"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

/// A header that is not indexed, in bytes that need not be legal.
pub(super) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// A header that goes into the dynamic table.
pub(super) fn indexed_field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x40][..], &text(name), &text(value)].concat()
}

/// A string of HPACK without Huffman's code.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut length = Vec::new();
    if bytes.len() < 127 {
        length.push(u8::try_from(bytes.len()).unwrap());
    } else {
        length.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            length.push(u8::try_from(rest % 128 + 128).unwrap());
            rest /= 128;
        }
        length.push(u8::try_from(rest).unwrap());
    }
    [&length, bytes].concat()
}
