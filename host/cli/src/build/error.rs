//! What can go wrong in a build, and what to do next. Never an unescaped word of a guest's source or of a tool.

use std::io;
use std::path::Path;
use std::time::Duration;

use skep_core::name::shown;

/// A path in a message is cut here, in characters.
const PATH_CHARS_MAX: usize = 300;

/// A line of a tool's output is cut here, in characters.
const LINE_CHARS_MAX: usize = 400;

/// So many lines of a tool's output are shown: from its first error on, else the last ones.
const LINES_MAX: usize = 60;

/// A build failed. Every text in it is safe to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds nothing that can be built.
    #[error("there is no guest in {dir}: {why}")]
    NoGuest {
        /// The folder.
        dir: String,
        /// What was looked for.
        why: String,
    },
    /// A tool is missing. The text names every way to get it.
    #[error("{0}")]
    Toolchain(String),
    /// A tool ran and failed.
    #[error("{what} failed ({status}); what it said:\n{output}")]
    Failed {
        /// Which tool, on what.
        what: String,
        /// Its exit status in words.
        status: String,
        /// The lines that say why.
        output: String,
    },
    /// A tool took too long and was ended.
    #[error("{what} was ended after {} s, the longest allowed; try again, or look at what it waits for", .time.as_secs())]
    Timeout {
        /// Which tool, on what.
        what: String,
        /// The limit.
        time: Duration,
    },
    /// What was compiled is no component of Skep's.
    #[error("{name} cannot be made a component: {why}")]
    Component {
        /// The package.
        name: String,
        /// In the words of wit-component.
        why: String,
    },
    /// One file was asked for, and there are several components.
    #[error("{out} is one file, but {count} components are built: name a folder")]
    OneOutput {
        /// What was asked for.
        out: String,
        /// How many there are.
        count: usize,
    },
    /// More source than a guest has.
    #[error("{dir} holds more than {max}: move what is not the guest's own source out of it")]
    TooLarge {
        /// The folder.
        dir: String,
        /// The limit with its unit.
        max: String,
    },
    /// A file or folder cannot be used.
    #[error("cannot {action} {path}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why not.
        cause: io::Error,
    },
}

impl Error {
    /// The stable code, with a page of its own in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoGuest { .. } => "E_BUILD_NO_GUEST",
            Self::Toolchain(_) => "E_BUILD_TOOLCHAIN",
            Self::Failed { .. } => "E_BUILD_FAILED",
            Self::Timeout { .. } => "E_BUILD_TIMEOUT",
            Self::Component { .. } => "E_BUILD_COMPONENT",
            Self::OneOutput { .. } => "E_BUILD_ONE_OUTPUT",
            Self::TooLarge { .. } => "E_BUILD_TOO_LARGE",
            Self::Io { .. } => "E_BUILD_IO",
        }
    }

    pub(super) fn io(action: &'static str, at: &Path, cause: io::Error) -> Self {
        Self::Io { action, path: path(at), cause }
    }
}

/// A path, safe to show.
pub(super) fn path(path: &Path) -> String {
    shown(&path.to_string_lossy(), PATH_CHARS_MAX)
}

/// The lines of a tool's output that say why it failed, escaped and indented: what follows the first error is often its
/// consequence.
pub(super) fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "  (nothing)".to_owned();
    }
    let error = lines.iter().position(|line| line.starts_with("error"));
    let first = error.unwrap_or(lines.len().saturating_sub(LINES_MAX));
    let shown_line = |line: &&str| format!("  {}", shown(&line.replace('\t', "    "), LINE_CHARS_MAX));
    let mut shown: Vec<String> = lines.iter().skip(first).take(LINES_MAX).map(shown_line).collect();
    let left_out = lines.len() - first - shown.len();
    if left_out > 0 {
        shown.push(format!("  and {left_out} more lines"));
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_shown_and_else_the_end() {
        let many = |before: &str, line: &str| format!("{before}{}", format!("{line}\n").repeat(2 * LINES_MAX));
        let said = tail(many("warning: x\nerror[E0308]: mismatched\n", "error: more").as_bytes());
        assert!(said.starts_with("  error[E0308]: mismatched\n"), "{said}");
        assert!(said.ends_with("\n  and 61 more lines"), "{said}");
        let said = tail((many("first\n", "between") + "last\n").as_bytes());
        assert!(said.ends_with("\n  last") && !said.contains("first"), "{said}");
    }
}
