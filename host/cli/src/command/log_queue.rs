//! Lines of a log on their way out: a bounded queue and a thread that writes it. Whoever logs never waits: a line without
//! room is left out, and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that wait, in bytes.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// How long the end of the process waits for the last of them.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// The end of it that takes lines: each write is one. Clones are the same queue.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

/// At its end what waits is written, unless that takes too long.
pub(super) struct Log(Lines);

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines, and of the one that is being written.
    bytes: usize,
    left_out: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Vec<u8> {
        let mut queue = self.lock();
        loop {
            match queue.lines.pop_front() {
                Some(line) => return line,
                None => queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// How many lines have been left out so far, once there is room to tell.
    fn written(&self, bytes: usize) -> Option<u64> {
        let mut queue = self.lock();
        queue.bytes -= bytes;
        if queue.bytes == 0 {
            self.emptied.notify_all();
        }
        (queue.bytes < WAITING_BYTES_MAX / 2).then_some(queue.left_out)
    }
}

impl Lines {
    /// Writes to `to` on a thread of its own. `tell` is told how many lines have been left out in all, as soon as the
    /// queue is half empty again.
    pub(super) fn new(mut to: impl Write + Send + 'static, tell: fn(u64)) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
        let lines = Self(shared.clone());
        let write = move || {
            let mut told = 0;
            loop {
                let line = shared.next();
                // There is no other place to say that this one is gone.
                let _ = to.write_all(&line);
                if let Some(left_out) = shared.written(line.len()).filter(|left_out| *left_out > told) {
                    told = left_out;
                    tell(left_out);
                }
            }
        };
        std::thread::Builder::new().name("skep-log".to_owned()).spawn(write)?;
        Ok(lines)
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.lock();
        if queue.bytes + line.len() > WAITING_BYTES_MAX {
            queue.left_out += 1;
        } else {
            queue.bytes += line.len();
            queue.lines.push_back(line.to_vec());
            self.0.filled.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(super) fn new(lines: &Lines) -> Self {
        Self(lines.clone())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let queue = self.0.0.lock();
        drop(self.0.0.emptied.wait_timeout_while(queue, END_PATIENCE, |queue| queue.bytes > 0));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells what is written, and waits for a word before each line.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_is_not_read_keeps_nobody_waiting_and_its_end_is_written() {
        let ((go, going), (told, telling)) = (mpsc::channel(), mpsc::channel());
        let mut lines = Lines::new(Slow(going, told), |_| {}).unwrap();
        let log = Log::new(&lines);
        let line = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            assert_eq!(lines.write(&line).unwrap(), line.len());
        }
        assert_eq!(lines.0.lock().left_out, 6);
        for _ in 0..4 {
            go.send(()).unwrap();
        }
        drop(log);
        assert_eq!(telling.try_iter().count(), 4);
    }
}
