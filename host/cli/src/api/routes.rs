//! The routes and what each of them does. Never longer than one call of the host and the shape of its answer.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use skep_core::{MessageId, Name};
use skep_runtime::Host;
use tokio::sync::watch;

use super::problem::ApiError;
use super::types::{Accepted, Done, HostStatus, List, PageQuery, Setting, SpawnRequest, SwapRequest, Versioned};
use super::{convert, events, messages};
use crate::manifest::agent_from_toml;

/// The most dead letters in one answer.
const DEAD_LETTERS_MAX: usize = 1_000;
/// The most agents at rest in one answer.
const RESTING_MAX: usize = 1_000;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub(super) host: Host,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    status: HostStatus,
    pub(super) body_bytes_max: usize,
    stop: watch::Sender<bool>,
}

pub(super) type Answer<T> = Result<Json<Versioned<T>>, ApiError>;

pub(super) fn answer<T>(kind: &str, body: T) -> Answer<T> {
    Ok(Json(Versioned::new(kind, body)))
}

impl Api {
    /// For one host. `body_bytes_max` is the hive's. The flag becomes true when a peer asks the host to stop.
    pub fn new(host: Host, status: HostStatus, body_bytes_max: u32) -> (Self, watch::Receiver<bool>) {
        let (stop, stopped) = watch::channel(false);
        let shared = Shared { status, body_bytes_max: body_bytes_max as usize, stop };
        (Self { host, shared: Arc::new(shared) }, stopped)
    }

    /// All routes.
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/agents", get(agents).post(spawn))
            .route("/v1/resting", get(resting))
            .route("/v1/agents/{agent}", get(inspect).delete(stop))
            .route("/v1/agents/{agent}/restart", post(restart))
            .route("/v1/agents/{agent}/ask", post(messages::ask))
            .route("/v1/agents/{agent}/send", post(messages::send))
            .merge(super::sessions::router())
            .route("/v1/nodes", get(nodes))
            .route("/v1/tree", get(tree))
            .route("/v1/dead-letters", get(dead_letters))
            .route("/v1/dead-letters/{id}", get(dead_letter).delete(drop_dead_letter))
            .route("/v1/dead-letters/{id}/retry", post(retry_dead_letter))
            .route("/v1/swap", post(swap))
            .route("/v1/events", get(events::stream))
            .route("/v1/settings", get(settings))
            .route("/v1/counters", get(counters))
            .route("/v1/shutdown", post(shutdown))
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method)
            .with_state(self)
    }
}

async fn status(State(api): State<Api>) -> Answer<HostStatus> {
    answer("HostStatus", HostStatus { agents: api.host.agents().len(), ..api.shared.status.clone() })
}

async fn agents(State(api): State<Api>) -> Answer<List<super::types::Agent>> {
    answer("AgentList", List { items: api.host.agents().iter().map(convert::agent).collect() })
}

async fn resting(State(api): State<Api>, Asked(query): Asked<PageQuery>) -> Answer<List<super::types::Agent>> {
    let agents = whole(async move {
        let found = tokio::task::spawn_blocking(move || api.host.resting(&query.after, RESTING_MAX)).await;
        found.unwrap_or(Err(skep_runtime::Error::Stopping))
    });
    answer("AgentList", List { items: agents.await?.iter().map(convert::agent).collect() })
}

async fn nodes(State(api): State<Api>) -> Answer<List<super::types::Node>> {
    answer("NodeList", List { items: api.host.nodes().iter().map(convert::node).collect() })
}

async fn tree(State(api): State<Api>) -> Answer<super::types::TreeNode> {
    answer("Tree", convert::tree(&api.host.tree()))
}

async fn inspect(State(api): State<Api>, Segment(agent): Segment) -> Answer<super::types::AgentDetail> {
    answer("AgentDetail", convert::detail(&api.host.inspect(&agent)?))
}

async fn spawn(State(api): State<Api>, Body(request): Body<SpawnRequest>) -> Answer<Done> {
    let name = Name::new(&request.name).map_err(|error| ApiError::new("E_INVALID_NAME", error.to_string()))?;
    let mut spec = agent_from_toml(&name, &request.toml).map_err(|rejected| ApiError::rejected(&rejected))?;
    if let Some(config) = request.config {
        if !config.is_object() {
            return Err(ApiError::bad_request("config must be a JSON object"));
        }
        if spec.config_json != "{}" {
            return Err(ApiError::bad_request("config is there twice: by itself and among the keys of the agent"));
        }
        spec.config_json = config.to_string();
    }
    let host = api.host;
    whole(async move { host.spawn(request.supervisor.as_deref(), spec).await.map(drop) }).await?;
    done("spawned", name.to_string())
}

async fn stop(State(api): State<Api>, Segment(agent): Segment, uri: Uri) -> Answer<Done> {
    let purge = match uri.query() {
        None | Some("purge=false") => false,
        Some("purge=true") => true,
        Some(_) => return Err(ApiError::bad_request("the query of a stop is purge=true or purge=false")),
    };
    let (host, name) = (api.host, agent.clone());
    whole(async move { host.stop(&name, purge).await }).await?;
    done(if purge { "purged" } else { "stopped" }, agent)
}

async fn restart(State(api): State<Api>, Segment(agent): Segment) -> Answer<Done> {
    let (host, name) = (api.host, agent.clone());
    whole(async move { host.restart(&name).await }).await?;
    done("restarted", agent)
}

async fn dead_letters(State(api): State<Api>) -> Answer<List<super::types::DeadLetter>> {
    let letters = api.host.dead_letters(DEAD_LETTERS_MAX)?;
    answer("DeadLetterList", List { items: letters.iter().map(|one| convert::dead_letter(one, false)).collect() })
}

async fn dead_letter(State(api): State<Api>, Segment(id): Segment) -> Answer<super::types::DeadLetter> {
    answer("DeadLetter", convert::dead_letter(&api.host.dead_letter(message_id(&id)?)?, true))
}

async fn retry_dead_letter(State(api): State<Api>, Segment(id): Segment) -> Answer<Accepted> {
    let id = message_id(&id)?;
    let again = whole(async move { api.host.retry_dead_letter(id).await }).await?;
    answer("Accepted", Accepted { id: again.to_string() })
}

async fn drop_dead_letter(State(api): State<Api>, Segment(id): Segment) -> Answer<Done> {
    let letter = message_id(&id)?;
    whole(async move { api.host.drop_dead_letter(letter).await }).await?;
    done("dropped", id)
}

async fn swap(State(api): State<Api>, Body(request): Body<SwapRequest>) -> Answer<super::types::Receipt> {
    let target = request.target.clone();
    let swap = async move { api.host.swap(&request.target, std::path::Path::new(&request.file)).await };
    answer("Receipt", convert::receipt(&target, &whole(swap).await?))
}

async fn settings(State(api): State<Api>) -> Answer<List<Setting>> {
    let one =
        |setting: skep_runtime::Setting| Setting { name: setting.name, value: setting.value, origin: setting.origin };
    answer("SettingList", List { items: api.host.explain().into_iter().map(one).collect() })
}

async fn counters(State(api): State<Api>) -> Answer<serde_json::Map<String, serde_json::Value>> {
    answer("Counters", api.host.counters().values.into_iter().map(|(name, value)| (name, value.into())).collect())
}

async fn shutdown(State(api): State<Api>) -> Answer<Done> {
    api.shared.stop.send_replace(true);
    done("stopping", api.shared.status.hive.clone())
}

async fn unknown(uri: Uri) -> ApiError {
    let path = skep_core::name::shown(uri.path(), 128);
    ApiError::new("E_NO_ROUTE", format!("the API has no {path}"))
}

async fn wrong_method(uri: Uri) -> Response {
    let path = skep_core::name::shown(uri.path(), 128);
    let error = ApiError::bad_request(format!("{path} has other methods"));
    error.with_status(StatusCode::METHOD_NOT_ALLOWED).into_response()
}

/// Does a change to its end, even if the peer that asked for it goes away meanwhile: a half-done swap helps nobody.
pub(super) async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, skep_runtime::Error>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(change).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(%error, "a request ended in a defect");
            Err(ApiError::new("E_INTERNAL", "the host met a defect of its own; its log has more"))
        }
    }
}

pub(super) fn done(what: &str, name: String) -> Answer<Done> {
    answer("Done", Done { done: what.to_owned(), name })
}

fn message_id(text: &str) -> Result<MessageId, ApiError> {
    MessageId::parse(text).ok_or_else(|| {
        let shown = skep_core::name::shown(text, 64);
        ApiError::new("E_NO_DEAD_LETTER", format!("{shown} is no id of a message: 32 hexadecimal digits"))
    })
}

/// The variable segment of a path.
pub(super) struct Segment(pub(super) String);

impl FromRequestParts<Api> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, api: &Api) -> Result<Self, ApiError> {
        let found: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, api).await;
        let Path(text) = found.map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self(text))
    }
}

/// A JSON body, whatever its content type says.
pub(super) struct Body<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Api) -> Result<Self, ApiError> {
        let bytes = messages::read_body(request.into_body(), messages::JSON_BYTES_MAX).await?;
        let found = serde_json::from_slice(&bytes);
        found.map(Self).map_err(|error| ApiError::bad_request(shown(&error.to_string())))
    }
}

/// A query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned> FromRequestParts<Api> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, api: &Api) -> Result<Self, ApiError> {
        let found: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, api).await;
        found.map(|Query(value)| Self(value)).map_err(|error| ApiError::bad_request(shown(&error.body_text())))
    }
}

fn shown(text: &str) -> String {
    skep_core::name::shown(text, 300)
}
