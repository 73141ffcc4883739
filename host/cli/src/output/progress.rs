//! Progress on stderr: a bar on a terminal, a line now and then elsewhere. Never data.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::format::Output;

/// With a known total.
const PARTS: &str = "{prefix:10} [{bar:32}] {pos}/{len} {msg}";
/// Without.
const COUNT: &str = "{prefix:10} {pos} {msg}";

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// From 0 to `total` of what `label` says; 0 is a total that is not known yet. Hidden where stderr is no terminal or nothing is to be told.
    pub fn new(output: &Output, label: &'static str, total: u64) -> Self {
        let hidden = output.quiet || !output.talk_terminal;
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        bar.set_prefix(label);
        let this = Self { bar };
        this.draw_as(if total == 0 { COUNT } else { PARTS });
        // Only now, or it would be drawn once in another style.
        this.bar.set_draw_target(target);
        this
    }

    fn draw_as(&self, form: &str) {
        if let Ok(style) = ProgressStyle::with_template(form) {
            self.bar.set_style(style.progress_chars("=> "));
        }
    }

    /// Where it is, of how many.
    pub fn set(&self, done: u64, total: u64) {
        if self.bar.length() != Some(total) {
            self.draw_as(PARTS);
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }

    /// One further.
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// What is said beside it; safe to show.
    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// From 0 again, to another total.
    pub fn restart(&self, total: u64) {
        self.set(0, total);
    }

    /// Another label.
    pub fn label(&self, label: &'static str) {
        self.bar.set_prefix(label);
    }

    /// Talk above the bar.
    pub fn note(&self, output: &Output, text: &str) {
        if output.quiet {
            return;
        }
        if self.bar.is_hidden() { output.note(text) } else { self.bar.println(text) }
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
