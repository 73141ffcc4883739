//! The text of a manifest made fit to be shown: hostile characters replaced without moving a byte, long lines cut.
//! Never the text that is parsed.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// The widest piece of a line that a snippet shows, in bytes.
const SNIPPET_BYTES_MAX: usize = 160;

/// A file's text for snippets.
#[derive(Clone, Debug)]
pub(super) struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// `name` is safe to show.
    pub(super) fn new(name: String, text: &str) -> Self {
        let text = without_secrets(&harmless(text));
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1))
            .collect();
        Self { name, text, line_starts }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.line_of(offset);
        let start = self.start_of(line);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        (line + 1, column + 1)
    }

    /// The part of a span that a snippet can underline: in its first line, and not too long.
    pub(super) fn underlined(&self, span: &Range<usize>) -> Range<usize> {
        let start = span.start.min(self.text.len());
        let line_end = self.start_of(self.line_of(start) + 1);
        let end = span.end.min(line_end).min(start + SNIPPET_BYTES_MAX / 3);
        start..self.boundary(end).max(start)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    fn start_of(&self, line: usize) -> usize {
        self.line_starts.get(line).copied().unwrap_or(self.text.len())
    }

    /// The piece around a place that is shown: whole lines if they are short, a window of its line if not.
    fn window(&self, span: &SourceSpan, context: usize) -> (usize, usize, usize) {
        let line = self.line_of(span.offset());
        let (first, last) = (line.saturating_sub(context), line + context);
        let (start, end) = (self.start_of(first), self.start_of(last + 1));
        let lines_max = 2 * context + 1;
        if end - start <= lines_max * SNIPPET_BYTES_MAX && self.lines_are_short(first, last) {
            return (start, end, first);
        }
        let line_start = self.start_of(line);
        let line_end = self.start_of(line + 1);
        let from = self.boundary(span.offset().saturating_sub(SNIPPET_BYTES_MAX / 2).max(line_start));
        let to = self.boundary(span.offset() + SNIPPET_BYTES_MAX / 2);
        (from, to.clamp(from, line_end.max(from)), line)
    }

    fn lines_are_short(&self, first: usize, last: usize) -> bool {
        (first..=last).all(|line| self.start_of(line + 1) - self.start_of(line) <= SNIPPET_BYTES_MAX)
    }

    fn boundary(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        (end..=self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(end)
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end, line) = self.window(span, before.max(after));
        let data = self.text.as_bytes().get(start..end).ok_or(MietteError::OutOfBounds)?;
        let shown = SourceSpan::new(start.into(), data.len());
        // Without context it is asked for the place of the span itself: that is what the heading shows.
        let column = if before.max(after) == 0 { self.place(span.offset()).1 - 1 } else { 0 };
        let lines = self.line_starts.len();
        let contents = MietteSpanContents::new_named(self.name.clone(), data, shown, line, column, lines);
        Ok(Box::new(contents))
    }
}

/// The text with each harmful character replaced by as many bytes as it has, so that places stay what they are.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let mut buffer = [0; 4];
        let one = character.encode_utf8(&mut buffer);
        let keep = matches!(character, '\n' | '\t') || skep_core::name::shown(one, 1) == *one;
        match (keep, character.len_utf8()) {
            (true, _) => out.push(character),
            (false, 3) => out.push('\u{fffd}'),
            (false, bytes) => out.extend(std::iter::repeat_n('?', bytes)),
        }
    }
    out
}

/// The text with what URLs have before their `@` made stars, in a line of `nats` also where it is no URL.
fn without_secrets(text: &str) -> String {
    let hidden = |line: &str| {
        let from = line.find("://").map(|at| at + 3).or_else(|| line.find("nats").map(|at| at + 4));
        let secret =
            from.zip(line.rfind('@')).and_then(|(from, to)| line.get(from..to).map(|secret| (from, to, secret)));
        let Some((from, to, secret)) = secret else { return line.to_owned() };
        let stars = "*".repeat(secret.len());
        format!("{}{stars}{}", line.get(..from).unwrap_or_default(), line.get(to..).unwrap_or_default())
    };
    text.split_inclusive('\n').map(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_are_replaced_and_places_stay() {
        let source = Source::new("x".into(), "a\u{1b}[31m\r\n\u{202e}b = 1\n");
        assert_eq!(source.text, "a?[31m?\n\u{fffd}b = 1\n");
        assert_eq!(source.place(8), (2, 1));
        assert_eq!(source.place(11), (2, 2));
    }

    #[test]
    fn secrets_are_stars_and_places_stay() {
        let source = Source::new("x".into(), "a = \"nats://me:s3cret@h\"\nnats = \"s3cret@h\"\nmail = \"a@b\"\n");
        assert_eq!(source.text, "a = \"nats://*********@h\"\nnats**********@h\"\nmail = \"a@b\"\n");
    }

    #[test]
    fn a_line_of_a_megabyte_is_shown_as_a_window() {
        let text = format!("a = \"{}\"\nb = 1\n", "x".repeat(1 << 20));
        let source = Source::new("x".into(), &text);
        let contents = source.read_span(&SourceSpan::new(500_000.into(), 3), 1, 1).unwrap();
        assert!(contents.data().len() <= SNIPPET_BYTES_MAX, "{}", contents.data().len());
        assert!(contents.span().offset() <= 500_000);
    }
}
