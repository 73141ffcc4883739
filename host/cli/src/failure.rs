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
    /// More about it, for those who ask.
    pub more: Box<More>,
}

/// What else is known of a failure.
#[derive(Clone, Debug, Default)]
pub struct More {
    /// What to do next.
    pub help: Option<String>,
    /// A report with snippets, for people.
    pub report: Option<String>,
    /// What is wrong in a file, one by one, for programs.
    pub problems: Option<Value>,
    /// Of a message that its agent refused: invalid, unknown-kind, denied, unavailable or failed.
    pub refusal: Option<String>,
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// With the exit code and the help of the code's page.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let code = code.into();
        let help = pages::help(&code).map(str::to_owned);
        Self {
            exit: pages::exit(&code),
            message: message.into(),
            more: Box::new(More { help, ..More::default() }),
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
        self.more.help = Some(help.into());
        self
    }

    /// From a manifest that could not be loaded, with its snippets.
    pub fn of_manifest(error: LoadError, color: bool) -> Self {
        let mut failure = Self::new(error.code(), error.to_string());
        if let LoadError::Rejected(rejected) = error {
            let (report, problems) = (Some(rejected.rendered(color)), Some(rejected.to_json()));
            *failure.more = More { report, problems, ..More::default() };
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
            "help": self.more.help,
            "problems": self.more.problems,
            "refusal": self.more.refusal,
        })
    }
}

impl From<skep_runtime::Error> for Failure {
    fn from(error: skep_runtime::Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<skep_bus::Error> for Failure {
    fn from(error: skep_bus::Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let Problem { code, exit, detail, help, problems, refusal, .. } = problem;
        let more = Box::new(More { help, report: None, problems, refusal });
        Self { exit: Exit::from_number(exit), code: code.into(), message: detail, more }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Failure {}
