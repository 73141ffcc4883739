//! Whether this host may act under its name. Never decides it: the lease does.

use std::sync::Arc;

use async_nats::jetstream::kv::Store;
use tokio::sync::watch;

/// Whether this host's lease is held.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// Not yet, or not known.
    Waiting,
    /// It is.
    Held(Ground),
    /// Another process has it, for good.
    Taken,
}

/// The bucket as it was found or made, until the next time.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    /// How often it was found before: whoever watches it begins anew with each round.
    pub(super) round: u64,
    pub(super) store: Arc<Store>,
}

/// What all who act under the host's name wait for.
#[derive(Clone, Debug)]
pub(super) struct Gate(watch::Receiver<Standing>);

impl Gate {
    /// Closed, with who opens it.
    pub(super) fn new() -> (watch::Sender<Standing>, Self) {
        let (sender, receiver) = watch::channel(Standing::Waiting);
        (sender, Self(receiver))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(*self.0.borrow(), Standing::Held(_))
    }

    /// Waits until the lease is held.
    pub(super) async fn open(&self) -> Ground {
        let mut receiver = self.0.clone();
        if let Ok(standing) = receiver.wait_for(|standing| matches!(standing, Standing::Held(_))).await
            && let Standing::Held(ground) = &*standing
        {
            return ground.clone();
        }
        // The lease's task has ended, so this one is about to.
        std::future::pending().await
    }

    /// Waits until the lease is not held any more.
    pub(super) async fn closed(&self) {
        self.until(|standing| !matches!(standing, Standing::Held(_))).await;
    }

    /// Waits until the bucket is another one, or the lease is not held any more.
    pub(super) async fn left(&self, round: u64) {
        self.until(|standing| !matches!(standing, Standing::Held(ground) if ground.round == round)).await;
    }

    async fn until(&self, done: impl FnMut(&Standing) -> bool) {
        if self.0.clone().wait_for(done).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
