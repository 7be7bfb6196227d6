//! What is made of an answer stays beside it, so that it is made once for all who get that answer.

use std::{any::Any, future::Future};

use tokio::sync::OnceCell;

/// What is made of an answer is kept if it is no larger than the answer, or than this.
pub(super) const MIN_KEPT_BYTES: usize = 256;

/// A place beside an answer for what is made of it, so that it is made once.
#[derive(Debug, Default)]
pub struct Memo {
    kept: OnceCell<Box<dyn Any + Send + Sync>>,
}

// === impl Memo ===

impl Memo {
    /// What is kept, or else what `make` makes, which is then kept. `None` if what is kept is of another type.
    ///
    /// # Errors
    /// That of `make`; nothing is kept then.
    pub async fn get_or_try_make<T, E, F>(&self, make: impl FnOnce() -> F) -> Result<Option<&T>, E>
    where
        T: Any + Send + Sync,
        F: Future<Output = Result<T, E>>,
    {
        let make = || async { Ok::<_, E>(Box::new(make().await?) as Box<dyn Any + Send + Sync>) };
        Ok(self.kept.get_or_try_init(make).await?.downcast_ref())
    }

    /// Whether there is room for something of this size beside an answer of that size.
    pub fn has_room(size: usize, answer: usize) -> bool {
        size <= answer.max(MIN_KEPT_BYTES)
    }
}
