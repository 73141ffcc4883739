//! `telemetry`: the agent's own numbers, events and spans. Nothing depends on them.

use skep_core::Limit;
use skep_core::event::What;

use super::log::shown_fields;
use crate::bindings::skep::agent::telemetry::Host;
use crate::ctx::Ctx;
use crate::host::TurnHost;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most names of one instance.
const NAMES_MAX: usize = 256;
/// The most bytes of the fields of one event.
const FIELDS_CHARS_MAX: usize = 8 << 10;
/// How deep spans may be.
const DEPTH_MAX: usize = 64;

/// The spans of one cause that are open, outermost first.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    open: Vec<Span>,
    last: u32,
}

#[derive(Debug)]
struct Span {
    number: u32,
    name: String,
    began_ns: u64,
}

impl Spans {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl<H: TurnHost> Host for Ctx<H> {
    fn counter(&mut self, name: String, add: u32) -> wasmtime::Result<()> {
        self.metric("counter", name, add.into());
        Ok(())
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.metric("gauge", name, value);
        Ok(())
    }

    fn histogram(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.metric("histogram", name, value);
        Ok(())
    }

    fn event(&mut self, name: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        if self.is_counted(&name) {
            let fields = shown_fields(fields, FIELDS_CHARS_MAX);
            Ctx::event(self, What::Custom { name, fields });
        }
        Ok(())
    }

    fn open_span(&mut self, name: String) -> wasmtime::Result<u32> {
        let began_ns = self.elapsed_ns();
        let counted = self.is_counted(&name) && self.spans.open.len() < DEPTH_MAX;
        self.spans.last = self.spans.last.wrapping_add(1).max(1);
        let number = self.spans.last;
        if counted {
            self.spans.open.push(Span { number, name, began_ns });
        }
        Ok(number)
    }

    fn close_span(&mut self, span: u32) -> wasmtime::Result<()> {
        if let Some(depth) = self.spans.open.iter().position(|open| open.number == span) {
            self.close_spans(depth);
        }
        Ok(())
    }
}

impl<H: TurnHost> Ctx<H> {
    /// Closes all spans from this depth on, innermost first.
    pub(crate) fn close_spans(&mut self, depth: usize) {
        let now_ns = self.elapsed_ns();
        while self.spans.open.len() > depth {
            let Some(span) = self.spans.open.pop() else { return };
            let parent = self.spans.open.last().map_or(0, |outer| outer.number);
            let duration_ns = now_ns.saturating_sub(span.began_ns);
            self.event(What::Span { name: span.name, parent, duration_ns });
        }
    }

    fn metric(&mut self, form: &'static str, name: String, value: f64) {
        if self.is_counted(&name) {
            self.event(What::Metric { form, name, value });
        }
    }

    /// Whether the name is one that is kept. The first that is not is an event, so that nobody wonders.
    fn is_counted(&mut self, name: &str) -> bool {
        if self.metrics.contains(name) {
            return true;
        }
        let valid = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte));
        if valid && self.metrics.len() < NAMES_MAX {
            self.metrics.insert(name.to_owned());
            return true;
        }
        if !std::mem::replace(&mut self.left_out, true) {
            self.event(What::LimitReached { limit: Limit::TelemetryNames, value: NAMES_MAX as u64 });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Yes, ctx, turn};

    fn events(ctx: &Ctx<Yes>) -> Vec<What> {
        std::mem::take(&mut ctx.host.events.lock())
    }

    #[test]
    fn names_are_bounded_and_the_first_that_is_left_out_is_told() {
        let mut ctx = ctx(turn(1));
        for count in 0..NAMES_MAX + 5 {
            ctx.counter(format!("name_{count}"), 1).unwrap();
        }
        ctx.gauge("Not Valid".to_owned(), 1.0).unwrap();
        let all = events(&ctx);
        assert_eq!(all.iter().filter(|what| matches!(what, What::Metric { .. })).count(), NAMES_MAX);
        assert_eq!(all.iter().filter(|what| matches!(what, What::LimitReached { .. })).count(), 1);
        ctx.counter("name_0".to_owned(), 1).unwrap();
        assert_eq!(events(&ctx).len(), 1);
    }

    #[test]
    fn open_spans_are_closed_with_their_cause_innermost_first() {
        let mut ctx = ctx(turn(1));
        let outer = ctx.open_span("outer".to_owned()).unwrap();
        ctx.open_span("inner".to_owned()).unwrap();
        ctx.end_cause();
        let all = events(&ctx);
        let [What::Span { name: first, parent, .. }, What::Span { name: second, parent: 0, .. }] = all.as_slice()
        else {
            panic!("{all:?}")
        };
        assert_eq!((first.as_str(), *parent, second.as_str()), ("inner", outer, "outer"));
        ctx.close_span(outer).unwrap();
        assert!(events(&ctx).is_empty());
    }
}
