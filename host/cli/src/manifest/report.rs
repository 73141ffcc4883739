//! How the problems of a manifest are shown: snippets for people, plain values for programs. Never which they are.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use serde_json::{Value, json};

use super::hive::Manifest;
use super::problem::{Problem, Rejected, Severity};
use super::source::Source;

/// How wide a report is where nobody says, in columns.
const WIDTH: usize = 100;

impl Rejected {
    /// All problems with their snippets.
    pub fn rendered(&self, color: bool) -> String {
        rendered(&self.source, &self.problems, self.left_out, color)
    }

    /// All problems as JSON.
    pub fn to_json(&self) -> Value {
        to_json(&self.source, &self.problems)
    }
}

impl Manifest {
    /// Its warnings with their snippets; empty if there are none.
    pub fn shown_warnings(&self, color: bool) -> String {
        rendered(&self.source, &self.warnings, self.warnings_left_out, color)
    }

    /// Its warnings as JSON.
    pub fn warnings_to_json(&self) -> Value {
        to_json(&self.source, &self.warnings)
    }
}

fn to_json(source: &Source, problems: &[Problem]) -> Value {
    let one = |problem: &Problem| {
        let (line, column) = source.place(problem.span.start);
        json!({
            "code": problem.code.text(),
            "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
            "message": problem.message,
            "file": source.name(),
            "line": line,
            "column": column,
            "help": problem.help,
        })
    };
    problems.iter().map(one).collect()
}

fn rendered(source: &Source, problems: &[Problem], left_out: usize, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_links(false);
    let mut out = String::new();
    for problem in problems {
        let shown = handler.render_report(&mut out, &Shown { source, problem });
        if shown.is_err() {
            out.push_str(&problem.message);
        }
        out.push('\n');
    }
    if left_out > 0 {
        out.push_str(&format!("and {left_out} more problems, not shown\n"));
    }
    out
}

/// A problem with its text, as miette wants them.
#[derive(Debug)]
struct Shown<'a> {
    source: &'a Source,
    problem: &'a Problem,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code.text()))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_deref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.source.underlined(&self.problem.span);
        let label = LabeledSpan::new(Some(self.problem.label.clone()), span.start, span.len());
        Some(Box::new(std::iter::once(label)))
    }
}
