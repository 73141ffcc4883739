//! WASI 0.2 for the runtimes of guests' languages: clocks, randomness, standard output into the log, an empty environment,
//! a file system without a single directory, and sockets that are all denied. Never files, network, http or arguments.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use skep_core::event::Severity;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::ctx::Ctx;
use crate::host::TurnHost;

/// The most resources of WASI that an instance may hold.
const RESOURCES_MAX: usize = 4_096;
/// The most random bytes of one call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// What a guest may print before it is put in the log, in bytes; what is over is counted and left out.
const PRINTED_BYTES_MAX: usize = 64 << 10;

/// What one instance holds of WASI.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    out: Printed,
    err: Printed,
}

impl Wasi {
    pub(crate) fn new() -> Self {
        let (out, err) = (Printed::default(), Printed::default());
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let ctx = WasiCtx::builder()
            .stdout(out.clone())
            .stderr(err.clone())
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self { ctx, table, out, err }
    }
}

/// Offers it to components. Files and sockets too: runtimes of languages import them whether they use them or not, and
/// a socket cannot even be made, nor a name be looked up.
pub(crate) fn add_to_linker<H: TurnHost>(linker: &mut Linker<Ctx<H>>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl<H: TurnHost> WasiView for Ctx<H> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| Box::new(Wasi::new()));
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

impl<H: TurnHost> Ctx<H> {
    /// Puts what was printed since the last call of this in the log, on behalf of the cause.
    pub(crate) fn log_stdio(&mut self) {
        let Some(wasi) = &self.wasi else { return };
        for (printed, severity) in [(wasi.out.take(), Severity::Info), (wasi.err.take(), Severity::Warn)] {
            let text = String::from_utf8_lossy(&printed.bytes);
            for line in text.lines().filter(|line| !line.is_empty()) {
                self.line(severity, line, Vec::new());
            }
            if printed.left_out > 0 {
                let text = format!(
                    "{} bytes that were printed are left out: {PRINTED_BYTES_MAX} is the most",
                    printed.left_out
                );
                self.line(Severity::Warn, &text, Vec::new());
            }
        }
    }
}

/// What a guest has printed and is not in the log yet. Shared by all streams that the guest opens.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Buffer>>);

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    left_out: u64,
}

impl Printed {
    fn take(&self) -> Buffer {
        std::mem::take(&mut self.0.lock())
    }

    fn add(&self, bytes: &[u8]) {
        let mut buffer = self.0.lock();
        let room = PRINTED_BYTES_MAX.saturating_sub(buffer.bytes.len());
        let (kept, left_out) = bytes.split_at(room.min(bytes.len()));
        buffer.bytes.extend_from_slice(kept);
        buffer.left_out += left_out.len() as u64;
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINTED_BYTES_MAX)
    }
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.add(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_bounded_and_what_is_over_is_counted() {
        let printed = Printed::default();
        printed.add(&[b'x'; PRINTED_BYTES_MAX - 1]);
        printed.add(b"abc");
        let buffer = printed.take();
        assert_eq!((buffer.bytes.len(), buffer.left_out), (PRINTED_BYTES_MAX, 2));
        assert!(printed.take().bytes.is_empty());
    }
}
