//! The message of an answer stays beside the answer, so that it is made once for all calls that get that answer.

use bytes::Bytes;

use super::crossing::Crossing;
use crate::{
    error::Error,
    transcode::{Decoded, Tolerated},
    upstream::{Memo, Reply},
};

/// A message as it is kept beside the answer that it was made of.
struct Finished {
    method: usize,
    binding: usize,
    message: Bytes,
    tolerated: Tolerated,
}

/// What keeping a message can end in besides the message.
enum NotKept {
    /// There is no room for it.
    TooLarge(Decoded),
    Failed(Error),
}

/// The message of an answer: the one that is kept beside it, or a new one, which is then kept.
pub(super) async fn message(
    crossing: &Crossing,
    binding: usize,
    reply: &Reply,
) -> Result<(Bytes, Tolerated), Error> {
    let (method, answer) = (crossing.method, &reply.response);
    let make = || async {
        let decoded = crossing.decode_in_time(binding, answer).await.map_err(NotKept::Failed)?;
        if !Memo::has_room(decoded.message.len(), answer.body().len()) {
            return Err(NotKept::TooLarge(decoded));
        }
        let Decoded { message, tolerated } = decoded;
        Ok(Finished { method, binding, message, tolerated })
    };
    let decoded = match reply.memo.get_or_try_make(make).await {
        Ok(Some(kept)) if (kept.method, kept.binding) == (method, binding) => {
            return Ok((kept.message.clone(), kept.tolerated));
        }
        // The same URL, asked for by way of another method.
        Ok(_) => crossing.decode_in_time(binding, answer).await?,
        Err(NotKept::TooLarge(decoded)) => decoded,
        Err(NotKept::Failed(error)) => return Err(error),
    };
    Ok((decoded.message, decoded.tolerated))
}
