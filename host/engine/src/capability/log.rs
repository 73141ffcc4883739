//! `log`: lines for people. The host counts them; here they are cut and made safe to show. Never where they go.

use skep_core::event::{Severity, What};
use skep_core::name::shown;

use crate::bindings::skep::agent::log::{Host, Level};
use crate::ctx::Ctx;
use crate::host::TurnHost;

/// The longest line, in characters. Together with its fields it is cut at 8 KiB.
pub(crate) const LINE_CHARS_MAX: usize = 8 << 10;
/// The most fields of a line or of an event.
const FIELDS_MAX: usize = 32;
/// The longest name of a field, in characters.
const FIELD_NAME_CHARS_MAX: usize = 64;

impl<H: TurnHost> Host for Ctx<H> {
    fn write(&mut self, level: Level, text: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        // What the guest printed before comes before.
        if self.wasi.is_some() {
            self.log_stdio();
        }
        let severity = match level {
            Level::Debug => Severity::Debug,
            Level::Info => Severity::Info,
            Level::Warn => Severity::Warn,
            Level::Error => Severity::Error,
        };
        self.line(severity, &text, fields);
        Ok(())
    }
}

impl<H: TurnHost> Ctx<H> {
    pub(crate) fn line(&mut self, severity: Severity, text: &str, fields: Vec<(String, String)>) {
        let text = shown(text, LINE_CHARS_MAX);
        let fields = shown_fields(fields, LINE_CHARS_MAX.saturating_sub(text.len()));
        self.event(What::Log { severity, text: text.into(), fields, undone: false });
    }
}

/// Fields made safe to show, and cut where the characters are used up.
pub(crate) fn shown_fields(fields: Vec<(String, String)>, chars_max: usize) -> Vec<(String, String)> {
    let mut left = chars_max;
    let mut all = Vec::with_capacity(fields.len().min(FIELDS_MAX));
    for (name, value) in fields.into_iter().take(FIELDS_MAX) {
        if left == 0 {
            break;
        }
        let name = shown(&name, FIELD_NAME_CHARS_MAX);
        let value = shown(&value, left);
        left = left.saturating_sub(name.len() + value.len());
        all.push((name, value));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_where_the_line_is_full() {
        let fields =
            vec![("a".to_owned(), "x".repeat(10)), ("b".to_owned(), "y".repeat(10)), ("c".to_owned(), "z".into())];
        let cut = shown_fields(fields, 15);
        assert_eq!(cut.len(), 2);
        assert_eq!(cut[1].1, "yyyy…");
    }

    #[test]
    fn at_most_32_fields_are_kept() {
        let fields = (0..100).map(|count| (count.to_string(), String::new())).collect();
        assert_eq!(shown_fields(fields, 1_000).len(), 32);
    }
}
