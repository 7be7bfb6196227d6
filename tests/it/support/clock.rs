//! Time that stands still until a test lets it go on, so that nothing happens a moment too early or too late.

use std::{
    future::Future,
    sync::mpsc::{self, Sender},
    time::Duration,
};

use tokio::sync::oneshot::{self, Receiver};

/// Of real time: longer than anything here takes. A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The clock of a test, which is stopped as long as this is there.
pub(crate) struct Clock {
    impatient: Receiver<()>,
    _held: Sender<()>,
}

impl Clock {
    /// Stops it.
    ///
    /// tokio lets a paused clock jump to the next timer when there is nothing to do, and waiting for a socket is
    /// nothing to it; but it does not while a blocking task runs.
    pub(crate) fn stop() -> Self {
        tokio::time::pause();
        let (_held, hold) = mpsc::channel::<()>();
        let (lose_patience, impatient) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            if hold.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = lose_patience.send(());
                let _ = hold.recv();
            }
        });
        Self { impatient, _held }
    }

    /// Lets this much time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }

    /// What comes without any time passing.
    pub(crate) async fn now<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::select! {
            what = what => what,
            _ = &mut self.impatient => panic!("nothing has come, and no time has passed"),
        }
    }
}
