//! Events as lines of JSON: those of the past, then those to come. Never holds the host up: a reader that falls behind is
//! told how many it missed.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use skep_core::event::Event;
use skep_runtime::{EventStream, NextEvent};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::problem::ApiError;
use super::routes::{Api, Asked};
use super::types::{EventQuery, Missed, Versioned};
use super::{convert, kinds};

/// Lines between the host's stream and a reader; what is behind them waits in the stream, which is bounded itself.
const LINES_MAX: usize = 64;
/// The most events of the past in one answer: all that the host keeps.
const RECENT_MAX: usize = 16_384;

/// Which events are wanted.
struct Filter {
    agent: Option<String>,
    /// How the name begins, any of these; all, if there is none.
    names: Vec<String>,
}

impl Filter {
    fn wants(&self, event: &Event) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|begins| event.what.name().starts_with(begins));
        named && self.is_of_agent(event)
    }

    fn is_of_agent(&self, event: &Event) -> bool {
        let of = |name: &String| event.agent.as_ref().is_some_and(|agent| agent.name.as_str() == name);
        self.agent.as_ref().is_none_or(of)
    }
}

pub(super) async fn stream(State(api): State<Api>, Asked(query): Asked<EventQuery>) -> Result<Response, ApiError> {
    let names: Vec<String> = query.event.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
    names.iter().try_for_each(|name| kinds::check(name))?;
    let filter = Filter { agent: query.agent, names };
    // The stream comes first, so that nothing falls between the past and it.
    let following = query.follow.then(|| api.host.events());
    let recent = api.host.recent(RECENT_MAX);
    // One that is gone has left its events; one that is to come is waited for.
    if let (false, Some(agent)) = (query.follow, &filter.agent)
        && !recent.iter().any(|event| filter.is_of_agent(event))
    {
        api.host.inspect(agent)?;
    }
    let count = query.recent.unwrap_or(RECENT_MAX);
    let (lines, receiver) = mpsc::channel(LINES_MAX);
    tokio::spawn(write(recent, count, following, filter, lines));
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Ends with the host, or when the reader has gone: sending to it fails then.
async fn write(
    recent: Vec<Arc<Event>>,
    count: usize,
    following: Option<EventStream>,
    filter: Filter,
    lines: mpsc::Sender<String>,
) {
    let past: Vec<_> = recent.iter().filter(|event| filter.wants(event)).collect();
    // Events of several threads need not come in the order of their numbers.
    let mut told: HashSet<u64> = recent.iter().map(|event| event.id).collect();
    for event in past.iter().skip(past.len().saturating_sub(count)) {
        if lines.send(line(event)).await.is_err() {
            return;
        }
    }
    drop(recent);
    let Some(mut following) = following else { return };
    loop {
        let next = tokio::select! {
            next = following.next() => next,
            () = lines.closed() => return,
        };
        let text = match next {
            None => return,
            Some(NextEvent::Missed(missed)) => versioned("Missed", Missed { missed }),
            Some(NextEvent::Event(event)) if !told.remove(&event.id) && filter.wants(&event) => line(&event),
            Some(NextEvent::Event(_)) => continue,
        };
        if lines.send(text).await.is_err() {
            return;
        }
    }
}

fn line(event: &Event) -> String {
    versioned("Event", convert::event(event))
}

fn versioned<T: serde::Serialize>(kind: &str, body: T) -> String {
    let mut text = serde_json::to_string(&Versioned::new(kind, body)).unwrap_or_default();
    text.push('\n');
    text
}
