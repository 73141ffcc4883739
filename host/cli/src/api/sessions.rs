//! The routes of sessions. Never what a session decides.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde::Deserialize;
use skep_runtime::{AskOptions, SessionView};

use super::problem::ApiError;
use super::routes::{Answer, Api, Asked, Body, Segment, answer, done, whole};
use super::types::{CancelRequest, List, OpenRequest, Outcome, Session, SessionLogEntry};

/// The most sessions in one answer.
const SESSIONS_MAX: usize = 1_000;
/// The most entries of a log in one answer.
const ENTRIES_MAX: usize = 1_000;
/// The longest that an outcome is waited for, in milliseconds.
const OUTCOME_MS_MAX: u64 = 24 * 3_600_000;

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/sessions", get(list).post(open))
        .route("/v1/sessions/{session}", get(inspect))
        .route("/v1/sessions/{session}/log", get(log))
        .route("/v1/sessions/{session}/outcome", get(outcome))
        .route("/v1/sessions/{session}/cancel", post(cancel))
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
}

#[derive(Deserialize)]
struct From {
    from: Option<u64>,
}

#[derive(Deserialize)]
struct Within {
    timeout_ms: Option<u64>,
}

async fn list(State(api): State<Api>, Asked(page): Asked<Page>) -> Answer<List<Session>> {
    let mut items = Vec::new();
    for name in api.host.sessions(page.after.as_deref(), SESSIONS_MAX) {
        // One that was purged meanwhile is left out.
        if let Ok(view) = api.host.session(&name).await {
            items.push(session(&view));
        }
    }
    answer("SessionList", List { items })
}

async fn open(State(api): State<Api>, Body(request): Body<OpenRequest>) -> Answer<super::types::Done> {
    let (host, name) = (api.host, request.name.clone());
    whole(async move { host.open_session(&request.name, &request.protocol, &request.session).await }).await?;
    done("opened", name)
}

async fn inspect(State(api): State<Api>, Segment(name): Segment) -> Answer<Session> {
    answer("Session", session(&api.host.session(&name).await?))
}

async fn log(
    State(api): State<Api>,
    Segment(name): Segment,
    Asked(page): Asked<From>,
) -> Answer<List<SessionLogEntry>> {
    let entries = api.host.session_log(&name, page.from.unwrap_or(0), ENTRIES_MAX)?;
    answer("SessionLog", List { items: entries.into_iter().map(SessionLogEntry).collect() })
}

async fn outcome(State(api): State<Api>, Segment(name): Segment, Asked(within): Asked<Within>) -> Answer<Outcome> {
    let record = api.host.outcome(&name, patience(within.timeout_ms)).await?;
    answer("Outcome", Outcome(skep_runtime::record_to_json(&record)))
}

async fn cancel(
    State(api): State<Api>,
    Segment(name): Segment,
    Body(request): Body<CancelRequest>,
) -> Answer<super::types::Done> {
    api.host.cancel_session(&name, &request.why, AskOptions::default()).await.map_err(ApiError::from)?;
    done("cancelled", name)
}

fn patience(timeout_ms: Option<u64>) -> AskOptions {
    let mut options = AskOptions::default();
    if let Some(ms) = timeout_ms {
        options.timeout = Duration::from_millis(ms.clamp(1, OUTCOME_MS_MAX));
    }
    options
}

fn session(view: &SessionView) -> Session {
    Session {
        name: view.name.clone(),
        protocol: view.protocol.clone(),
        version: view.version.clone(),
        config: serde_json::from_str(&view.info.config).unwrap_or_default(),
        members: view.info.members.clone(),
        seed: view.info.seed,
        deadline_ms: view.info.deadline_ms,
        opened: super::text::rfc3339(view.opened_ns),
        events: view.events,
        outcome: view.record.as_ref().map(skep_runtime::record_to_json),
        view: view.view.clone(),
    }
}
