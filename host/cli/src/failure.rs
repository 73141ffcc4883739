//! Why a command failed: a stable code, one sentence, what to do next, and the exit code. Never how it is printed.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::api::types::{API_VERSION, Problem};
use crate::exit::Exit;
use crate::manifest::LoadError;
use crate::pages;

/// A command's failure. Texts are safe to show.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Stable: it has a page of its own.
    pub code: Cow<'static, str>,
    /// How the process ends.
    pub exit: Exit,
    /// One sentence.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// A report with snippets, for people, in place of the sentence.
    pub report: Option<String>,
    /// What is wrong in a file, one by one, for programs.
    pub problems: Option<Value>,
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// With the exit code and the help of the code's page.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let code = code.into();
        Self {
            exit: pages::exit(&code),
            help: pages::help(&code).map(str::to_owned),
            message: message.into(),
            report: None,
            problems: None,
            code,
        }
    }

    /// The command line is wrong in a way that its parser cannot see.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new("E_USAGE", message)
    }

    /// A file or a stream could not be used.
    pub fn io(what: &str, error: &std::io::Error) -> Self {
        Self::new("E_IO", format!("{what}: {error}"))
    }

    /// The same with other words about what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// From a manifest that could not be loaded, with its snippets.
    pub fn of_manifest(error: LoadError, color: bool) -> Self {
        let mut failure = Self::new(error.code(), error.to_string());
        if let LoadError::Rejected(rejected) = error {
            failure.report = Some(rejected.rendered(color));
            failure.problems = Some(rejected.to_json());
            failure.help = None;
        }
        failure
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": "Error",
            "code": self.code,
            "exit": self.exit as u8,
            "message": self.message,
            "help": self.help,
            "problems": self.problems,
        })
    }
}

impl From<skep_runtime::Error> for Failure {
    fn from(error: skep_runtime::Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            exit: Exit::from_number(problem.exit),
            code: problem.code.into(),
            message: problem.detail,
            help: problem.help,
            report: None,
            problems: problem.problems,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Failure {}
