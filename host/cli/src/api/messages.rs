//! Asks and sends: bodies go through as they are. Never decides what a body means.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use skep_core::{Bytes, Channel};
use skep_runtime::{AskOptions, SendOptions};

use super::problem::ApiError;
use super::routes::{Answer, Api, Asked, Segment};
use super::text::percent_decoded;
use super::types::{Accepted, META_PREFIX, MessageQuery, Versioned};

/// The largest body of a request that is no message, in bytes.
pub(super) const JSON_BYTES_MAX: usize = 1 << 20;
/// What is read of a body that is too large, in bytes, so that a peer that sends it all gets to read why.
const DRAINED_BYTES_MAX: usize = 64 << 20;
/// How long a peer may take to send its body.
const BODY_SECONDS_MAX: u64 = 30;
/// The longest that an ask may wait.
const ASK_MS_MAX: u64 = 24 * 3_600_000;

pub(super) async fn ask(
    State(api): State<Api>,
    Segment(agent): Segment,
    Asked(query): Asked<MessageQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read_body(body, api.shared.body_bytes_max).await?;
    let timeout = query.timeout_ms.map(|ms| Duration::from_millis(ms.clamp(1, ASK_MS_MAX)));
    let mut options = AskOptions { send: send_options(&query, &headers)?, ..AskOptions::default() };
    options.timeout = timeout.unwrap_or(options.timeout);
    let reply = api.host.ask(&agent, &query.kind, body, options).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], reply).into_response())
}

pub(super) async fn send(
    State(api): State<Api>,
    Segment(agent): Segment,
    Asked(query): Asked<MessageQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Accepted> {
    let body = read_body(body, api.shared.body_bytes_max).await?;
    let id = api.host.send(&agent, &query.kind, body, send_options(&query, &headers)?).await?;
    Ok(Json(Versioned::new("Accepted", Accepted { id: id.to_string() })))
}

fn send_options(query: &MessageQuery, headers: &HeaderMap) -> Result<SendOptions, ApiError> {
    let channel = match query.channel.as_deref() {
        None => None,
        Some(word) => Some(Channel::parse(word).ok_or_else(|| {
            let shown = skep_core::name::shown(word, 64);
            ApiError::bad_request(format!("{shown} is no channel: control, coordination, events, data or telemetry"))
        })?),
    };
    if query.client_id.as_deref() == Some("") {
        return Err(ApiError::bad_request("a client's own id of a message cannot be empty"));
    }
    let metadata = metadata(headers)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(SendOptions { channel, client_id: query.client_id.clone(), headers: metadata, content_type })
}

/// The message's own headers: `skep-meta-NAME: VALUE`, the value percent-encoded.
fn metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, ApiError> {
    let mut found = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META_PREFIX) else { continue };
        let text = value.to_str().ok().and_then(percent_decoded);
        let text =
            text.ok_or_else(|| ApiError::bad_request(format!("the header {name} is not percent-encoded UTF-8")))?;
        found.push((name.to_owned(), text));
    }
    Ok(found)
}

/// The whole body, if it is not too large and comes in time.
pub(super) async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), whole_body(body, bytes_max)).await {
        Ok(read) => read,
        Err(_) => {
            let error = ApiError::bad_request(format!("the body took longer than {BODY_SECONDS_MAX} s"));
            Err(error.with_status(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

async fn whole_body(mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad_request("the body broke off"))?;
        let data = frame.into_data().unwrap_or_default();
        length += data.len();
        if length <= bytes_max {
            kept.extend_from_slice(&data);
        } else if length > bytes_max + DRAINED_BYTES_MAX {
            break;
        }
    }
    if length <= bytes_max {
        return Ok(kept.into());
    }
    let error = ApiError::new("E_TOO_LARGE", format!("the body is larger than {bytes_max} bytes"));
    Err(error.with_status(StatusCode::PAYLOAD_TOO_LARGE))
}
