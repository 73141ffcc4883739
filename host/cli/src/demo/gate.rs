//! How far the traffic may go, and how far it has come: so that the acts of the demo happen while messages flow, and not
//! after. Never a message.

use tokio::sync::watch;

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    /// Files before this place may be begun.
    open_to: watch::Sender<usize>,
    /// Files that are done.
    done: watch::Sender<usize>,
}

impl Gate {
    /// Closed.
    pub(super) fn new() -> Self {
        Self { open_to: watch::Sender::new(0), done: watch::Sender::new(0) }
    }

    /// Files before this place may be begun from now on.
    pub(super) fn open(&self, place: usize) {
        self.open_to.send_replace(place);
    }

    /// Waits until the file at this place may be begun.
    pub(super) async fn pass(&self, place: usize) {
        // The sender is this gate's own, so it cannot be gone.
        let _ = self.open_to.subscribe().wait_for(|open| place < *open).await;
    }

    /// One more file is done.
    pub(super) fn count(&self) {
        self.done.send_modify(|done| *done += 1);
    }

    /// How many files are done.
    pub(super) fn done(&self) -> usize {
        *self.done.borrow()
    }

    /// Waits until so many files are done.
    pub(super) async fn reached(&self, count: usize) {
        let _ = self.done.subscribe().wait_for(|done| *done >= count).await;
    }
}
