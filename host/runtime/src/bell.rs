//! Waiting for something about an agent to change. Ringing costs one read while nobody listens, which is nearly always.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Rung after a change, by whoever made it. What the change is, is under a lock that whoever waits takes to look: who
/// began to listen before it looked is either seen by the ringer, or sees the change.
#[derive(Default)]
pub(crate) struct Bell {
    notify: Notify,
    listeners: AtomicU32,
}

/// Counts one listener for as long as it is.
struct Listening<'a>(&'a Bell);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Bell {
    /// Something has changed.
    pub(crate) fn ring(&self) {
        if self.listeners.load(Ordering::SeqCst) > 0 {
            self.notify.notify_waiters();
        }
    }

    /// Waits until `look` finds something: looks at once, and again after each ring.
    pub(crate) async fn wait<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        self.listeners.fetch_add(1, Ordering::SeqCst);
        let _listening = Listening(self);
        loop {
            let rung = self.notify.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            rung.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[tokio::test]
    async fn wakes_who_waits_and_forgets_who_gave_up() {
        let (bell, changed) = (Arc::new(Bell::default()), Arc::new(AtomicBool::new(false)));
        let look = {
            let changed = changed.clone();
            move || changed.load(Ordering::SeqCst).then_some(7)
        };
        let mut waits = Box::pin(bell.wait(look));
        assert!(futures_poll_once(waits.as_mut()).is_none());
        changed.store(true, Ordering::SeqCst);
        bell.ring();
        assert_eq!(futures_poll_once(waits.as_mut()), Some(7));
        drop(waits);
        assert_eq!(bell.listeners.load(Ordering::SeqCst), 0);
    }

    fn futures_poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(found) => Some(found),
            std::task::Poll::Pending => None,
        }
    }
}
