//! Where and how a command prints. Never what.

use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::ValueEnum;
use skep_core::name::{is_harmless, shown};

use super::table::Document;
use crate::failure::{Failure, Outcome};

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table on a terminal, else tab-separated lines
    #[default]
    Table,
    /// One versioned JSON value
    Json,
    /// One JSON value a line: an item of a list, or an event
    Jsonl,
    /// Names only, one a line
    Name,
}

/// When colors are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that can show them
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

impl Color {
    fn on(self, terminal: bool) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set("NO_COLOR") => false,
            Self::Auto if set("CLICOLOR_FORCE") => true,
            Self::Auto => terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }
}

/// Where and how a command prints.
#[derive(Clone, Debug)]
pub struct Output {
    /// How data is printed.
    pub format: Format,
    /// Whether stdout is a terminal.
    pub terminal: bool,
    /// Whether stdout is colored.
    pub color: bool,
    /// Whether stderr is colored.
    pub talk_color: bool,
    /// Whether stderr is a terminal: progress bars are drawn there.
    pub talk_terminal: bool,
    /// Only errors are told.
    pub quiet: bool,
    /// More is told.
    pub verbose: u8,
}

impl Output {
    /// For this process.
    pub fn new(format: Format, color: Color, quiet: bool, verbose: u8) -> Self {
        let terminal = io::stdout().is_terminal();
        let talk_terminal = io::stderr().is_terminal();
        Self {
            format,
            terminal,
            color: color.on(terminal),
            talk_color: color.on(talk_terminal),
            talk_terminal,
            quiet,
            verbose,
        }
    }

    /// Data.
    pub fn print(&self, document: &Document) -> Outcome {
        let text = match self.format {
            Format::Table if self.terminal => document.table.decorated(self.color),
            Format::Table => document.table.plain(),
            Format::Json => safe_json(&format!("{:#}\n", document.json)),
            Format::Jsonl => match &document.items {
                Some(items) => items.iter().map(|item| safe_json(&format!("{item}\n"))).collect(),
                None => safe_json(&format!("{}\n", document.json)),
            },
            Format::Name => document.names.iter().map(|name| shown(name, 1_000) + "\n").collect(),
        };
        self.write(text.as_bytes())
    }

    /// A line of JSON from the host.
    pub fn write_json(&self, line: &[u8]) -> Outcome {
        self.write((safe_json(&String::from_utf8_lossy(line)) + "\n").as_bytes())
    }

    /// Bytes as they are.
    pub fn write(&self, bytes: &[u8]) -> Outcome {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| unwritable(&error))
    }

    /// Foreign bytes: as they are for a program, made safe for a terminal.
    pub fn write_foreign(&self, bytes: &[u8]) -> Outcome {
        if !self.terminal {
            return self.write(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        let mut safe = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            safe.push_str(&shown(line, usize::MAX));
            safe.push('\n');
        }
        self.write(safe.as_bytes())
    }

    /// Talk, unless it is not wanted.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            tell(text);
        }
    }

    /// A failure: a report or a sentence for people, one JSON value where JSON is asked for.
    pub fn fail(&self, failure: &Failure) {
        if matches!(self.format, Format::Json | Format::Jsonl) {
            return tell(&safe_json(&failure.to_json().to_string()));
        }
        if let Some(report) = &failure.more.report {
            tell(report.trim_end());
        }
        let (red, bold, end) = if self.talk_color { ("\u{1b}[31;1m", "\u{1b}[1m", "\u{1b}[0m") } else { ("", "", "") };
        let mut text = format!("{red}error{end}: {} [{}]", failure.message, failure.code);
        if let Some(help) = &failure.more.help {
            text.push_str(&format!("\n{bold}help{end}: {}", help.replace('\n', "\n      ")));
        }
        tell(&text);
    }
}

/// The same JSON with every character escaped that could deceive whoever looks at it. Those are in strings, all but the
/// ends of lines, which are nowhere else.
fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || is_harmless(character) {
            safe.push(character);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
        }
    }
    safe
}

/// Nobody is left to be told that stderr is gone.
fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn unwritable(error: &io::Error) -> Failure {
    let mut failure = Failure::io("stdout", error);
    if error.kind() == ErrorKind::BrokenPipe {
        // Whoever read has what it wanted: `skep ps | head -1`.
        failure.code = "".into();
        failure.exit = crate::exit::Exit::Ok;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_safe_to_look_at_and_means_the_same() {
        let value = serde_json::json!({"a\u{9b}": "\u{202e}\u{7f}\u{e0001}\n\"\u{1F41D} ü\\"});
        for text in [value.to_string(), format!("{value:#}")] {
            let safe = safe_json(&text);
            assert!(safe.chars().all(|character| character == '\n' || is_harmless(character)), "{safe}");
            assert!(
                safe.contains("\\u202e") && safe.contains("\\udb40\\udc01") && safe.contains('\u{1F41D}'),
                "{safe}"
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
