//! Errors as a peer sees them: RFC 9457 with the stable code. Never a status without a code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use skep_core::AskFailure;

use super::types::Problem;
use crate::manifest::Rejected;
use crate::pages;

/// What a handler fails with.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) Box<Problem>);

impl ApiError {
    /// With the status, the exit code and the help of the code's page.
    pub(super) fn new(code: &str, detail: impl Into<String>) -> Self {
        let exit = pages::exit(code);
        Self(Box::new(Problem {
            sort: format!("urn:skep:error:{code}"),
            title: pages::title(code).unwrap_or("failed").to_owned(),
            status: exit.status(),
            code: code.to_owned(),
            exit: exit as u8,
            detail: detail.into(),
            help: pages::help(code).map(str::to_owned),
            problems: None,
            refusal: None,
        }))
    }

    /// The same with another status, where HTTP has a better one.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self
    }

    /// The same with other words about what to do.
    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// A request that does not fit the API.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new("E_BAD_REQUEST", detail).with_status(StatusCode::BAD_REQUEST)
    }

    /// Keys of an agent that are wrong.
    pub(super) fn rejected(rejected: &Rejected) -> Self {
        let first = rejected.problems.first();
        let code = first.map_or("E_MANIFEST_SYNTAX", |problem| problem.code.text());
        let all: Vec<&str> = rejected.problems.iter().map(|problem| problem.message.as_str()).collect();
        let mut error = Self::new(code, all.join("; "));
        error.0.help = first.and_then(|problem| problem.help.clone()).or(error.0.help);
        error.0.problems = Some(rejected.to_json());
        error
    }
}

impl From<skep_runtime::Error> for ApiError {
    fn from(error: skep_runtime::Error) -> Self {
        let mut api_error = Self::new(error.code(), error.to_string());
        match error {
            skep_runtime::Error::Ask { cause: AskFailure::Refused(refusal), .. } => {
                api_error.0.refusal = Some(refusal.word().to_owned());
                api_error
            }
            skep_runtime::Error::DeadLetter { id, .. } => api_error.with_help(format!(
                "`skep dead-letters show {id}` has the message; correct the agent, swap it, then `skep dead-letters \
                 retry {id}`"
            )),
            _ => api_error,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
