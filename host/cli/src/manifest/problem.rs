//! What is wrong with a manifest: one value a mistake, with its place and its remedy. Never how it is printed.

use std::ops::Range;
use std::path::PathBuf;

use super::source::Source;

/// The most problems of one file that are kept; the rest are counted.
const PROBLEMS_MAX: usize = 200;

/// What sort of mistake it is: a stable code with a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// No TOML.
    Syntax,
    /// A key that the format does not have.
    UnknownKey,
    /// A key that has to be there is not.
    MissingKey,
    /// A value of the wrong sort.
    Type,
    /// A value of the right sort that is not allowed.
    Value,
    /// A name that is there twice.
    Duplicate,
    /// A name of something that is not in the file.
    Reference,
    /// Supervisors that are under themselves.
    Cycle,
    /// Values that do not go together.
    Contradiction,
    /// A component file that cannot be used, with its own code.
    Plugin(&'static str),
}

impl Code {
    /// The stable code.
    pub fn text(self) -> &'static str {
        match self {
            Self::Syntax => "E_MANIFEST_SYNTAX",
            Self::UnknownKey => "E_MANIFEST_UNKNOWN_KEY",
            Self::MissingKey => "E_MANIFEST_MISSING_KEY",
            Self::Type => "E_MANIFEST_TYPE",
            Self::Value => "E_MANIFEST_VALUE",
            Self::Duplicate => "E_MANIFEST_DUPLICATE",
            Self::Reference => "E_MANIFEST_REFERENCE",
            Self::Cycle => "E_MANIFEST_CYCLE",
            Self::Contradiction => "E_MANIFEST_CONTRADICTION",
            Self::Plugin(code) => code,
        }
    }
}

/// Whether the file can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can.
    Warning,
}

/// What a key that the format does not have is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownKeys {
    /// An error: the file cannot be used.
    #[default]
    Errors,
    /// A warning: the key does nothing, and the file can be used.
    Warnings,
}

/// One mistake. Texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What sort of mistake.
    pub code: Code,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where, in bytes from the start of the file.
    pub span: Range<usize>,
    /// What is said at that place.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

/// Collects problems while a file is walked.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    left_out: usize,
    errors: usize,
    unknown_keys: UnknownKeys,
}

impl Problems {
    pub(super) fn new(unknown_keys: UnknownKeys) -> Self {
        Self { unknown_keys, ..Self::default() }
    }

    /// Notes an error.
    pub(super) fn error(&mut self, code: Code, span: Range<usize>, message: String, label: &str, help: Option<String>) {
        self.errors += 1;
        self.push(Problem { code, severity: Severity::Error, message, span, label: label.to_owned(), help });
    }

    /// Notes something that is probably a mistake.
    pub(super) fn warning(&mut self, span: Range<usize>, message: String, label: &str, help: Option<String>) {
        let code = Code::Reference;
        self.push(Problem { code, severity: Severity::Warning, message, span, label: label.to_owned(), help });
    }

    /// Notes a key that the format does not have.
    pub(super) fn unknown_key(&mut self, span: Range<usize>, message: String, help: String) {
        let (code, label, help) = (Code::UnknownKey, "unknown key", Some(help));
        match self.unknown_keys {
            UnknownKeys::Errors => self.error(code, span, message, label, help),
            UnknownKeys::Warnings => {
                self.push(Problem { code, severity: Severity::Warning, message, span, label: label.to_owned(), help });
            }
        }
    }

    /// Keeps the first ones. Where there are too many an error takes the place of a warning: it is why the file is
    /// refused.
    fn push(&mut self, problem: Problem) {
        if self.list.len() < PROBLEMS_MAX {
            return self.list.push(problem);
        }
        self.left_out += 1;
        let is_error = problem.severity == Severity::Error;
        let warning = self.list.iter_mut().rfind(|kept| is_error && kept.severity == Severity::Warning);
        if let Some(warning) = warning {
            *warning = problem;
        }
    }

    /// Whether the file cannot be used.
    pub(super) fn any_error(&self) -> bool {
        self.errors > 0
    }

    /// In the order of the file, with how many are left out.
    pub(super) fn into_sorted(mut self) -> (Vec<Problem>, usize) {
        self.list.sort_by_key(|problem| problem.span.start);
        (self.list, self.left_out)
    }

    /// The end of a file that cannot be used.
    pub(super) fn reject(self, source: Source) -> Rejected {
        let errors = self.errors;
        let (problems, left_out) = self.into_sorted();
        Rejected { source, problems, left_out, errors }
    }
}

/// A manifest that cannot be used, with all that is wrong in it.
#[derive(Debug)]
pub struct Rejected {
    pub(super) source: Source,
    /// In the order of the file.
    pub problems: Vec<Problem>,
    /// Problems beyond the most that are kept.
    pub left_out: usize,
    errors: usize,
}

impl Rejected {
    /// Errors, without warnings and with those left out.
    pub fn errors(&self) -> usize {
        self.errors
    }
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let errors = self.errors();
        let noun = if errors == 1 { "error" } else { "errors" };
        write!(f, "{} has {errors} {noun}", self.source.name())
    }
}

impl std::error::Error for Rejected {}

/// Why a manifest could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It cannot be read.
    #[error("the manifest {path} cannot be read: {error}")]
    Io {
        /// Which, safe to show.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is too large to be a manifest, in bytes.
    #[error("the manifest {path} is larger than {bytes_max} bytes")]
    TooLarge {
        /// Which, safe to show.
        path: String,
        /// The limit.
        bytes_max: u64,
    },
    /// It is wrong.
    #[error(transparent)]
    Rejected(#[from] Box<Rejected>),
}

impl LoadError {
    /// The stable code: of the first error, if the file is wrong.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "E_MANIFEST_IO",
            Self::TooLarge { .. } => "E_MANIFEST_TOO_LARGE",
            Self::Rejected(rejected) => {
                let mut errors = rejected.problems.iter().filter(|problem| problem.severity == Severity::Error);
                errors.next().map_or("E_MANIFEST_SYNTAX", |problem| problem.code.text())
            }
        }
    }

    pub(super) fn io(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::Io { path: shown_path(path), error }
    }
}

/// A path, safe to show.
pub(super) fn shown_path(path: &std::path::Path) -> String {
    skep_core::name::shown(&PathBuf::from(path).to_string_lossy(), 256)
}
