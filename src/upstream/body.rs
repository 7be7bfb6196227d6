//! Reads the body of an answer, decompressed and up to a limit.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::client::with_causes;
use crate::error::Error;

/// What has been read, and how much it may become.
struct Bounded {
    bytes: Vec<u8>,
    /// How much is expected, for which there is room as soon as something comes.
    expected: usize,
    limit: usize,
}

/// What comes in, as it is or compressed.
enum Reader {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

/// The whole answer, in memory of its own: what comes in is a part of the buffer it was read into, which may be a thousand
/// times as large and would live as long. The limit counts what is read, not what a header promises.
pub(super) async fn collect(answer: Response<Incoming>, limit: usize) -> Result<Response<Bytes>, Error> {
    let (mut head, mut body) = answer.into_parts();
    let promised = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if promised > limit {
        return Err(Error::AnswerTooLarge { limit });
    }
    // What is empty is not compressed either, whatever its head says.
    let is_gzip = !body.is_end_stream()
        && head.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    let mut reader = Reader::new(is_gzip, promised, limit);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::AnswerCutOff { detail: with_causes(&error) })?;
        if let Ok(chunk) = frame.into_data() {
            reader.take(&chunk)?;
        }
    }
    if is_gzip {
        head.headers.remove(header::CONTENT_ENCODING);
        head.headers.remove(header::CONTENT_LENGTH);
    }
    Ok(Response::from_parts(head, reader.finish()?))
}

// === impl Reader ===

impl Reader {
    fn new(is_gzip: bool, promised: usize, limit: usize) -> Self {
        let bounded = Bounded { bytes: Vec::new(), expected: if is_gzip { 0 } else { promised }, limit };
        if is_gzip { Self::Gzip(Box::new(MultiGzDecoder::new(bounded))) } else { Self::Plain(bounded) }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Error> {
        match self {
            Self::Plain(bounded) => bounded.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        }
        .map_err(|error| self.failure(&error))
    }

    fn finish(mut self) -> Result<Bytes, Error> {
        if let Self::Gzip(decoder) = &mut self
            && let Err(error) = decoder.try_finish()
        {
            return Err(self.failure(&error));
        }
        let bytes = match self {
            Self::Plain(bounded) => bounded.bytes,
            Self::Gzip(mut decoder) => std::mem::take(&mut decoder.get_mut().bytes),
        };
        // Without the room that was left.
        Ok(bytes.into_boxed_slice().into())
    }

    fn failure(&self, error: &io::Error) -> Error {
        let limit = match self {
            Self::Plain(bounded) => bounded.limit,
            Self::Gzip(decoder) => decoder.get_ref().limit,
        };
        if error.kind() == io::ErrorKind::FileTooLarge {
            Error::AnswerTooLarge { limit }
        } else {
            Error::AnswerUndecodable { detail: error.to_string() }
        }
    }
}

// === impl Bounded ===

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.reserve(self.expected.saturating_sub(self.bytes.len()).max(bytes.len()));
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
