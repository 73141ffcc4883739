//! One connection to a host. Never shared: whoever asks in parallel opens several.

use std::path::Path;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::lines::Lines;
use crate::api::socket::{noted, shown_path};
use crate::api::text::percent_encoded;
use crate::api::types::{API_VERSION, Accepted, META_PREFIX, MessageQuery, Problem, Versioned};
use crate::failure::{Failure, Outcome};

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A message on its way to a host.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// What it takes beside its body.
    pub query: MessageQuery,
    /// Its own headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

/// A connection to a host.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// To the host of a data directory.
    pub async fn open(data: &Path) -> Outcome<Self> {
        let Some(socket) = noted(data) else {
            let message = format!("no host runs on {}", shown_path(data));
            return Err(Failure::new("E_HOST_UNREACHABLE", message));
        };
        let unreachable = |why: &dyn std::fmt::Display| {
            let message = format!("the host of {} does not answer: {why}", shown_path(data));
            Failure::new("E_HOST_UNREACHABLE", message)
        };
        let stream = UnixStream::connect(&socket).await.map_err(|error| unreachable(&error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        // Ends with the sender or the host; what went wrong is told to whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// A shape.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Outcome<T> {
        self.shape(Method::GET, path, Bytes::new()).await
    }

    /// A shape for a request without a body.
    pub async fn request<T: DeserializeOwned>(&mut self, method: Method, path: &str) -> Outcome<T> {
        self.shape(method, path, Bytes::new()).await
    }

    /// A shape for a JSON body.
    pub async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Outcome<T> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::new("E_BAD_REQUEST", error.to_string()))?;
        self.shape(Method::POST, path, body.into()).await
    }

    /// Asks an agent and gives its reply.
    pub async fn ask(&mut self, agent: &str, message: &Outgoing) -> Outcome<Bytes> {
        collected(self.deliver(agent, "ask", message).await?.into_body()).await
    }

    /// Sends to an agent.
    pub async fn send(&mut self, agent: &str, message: &Outgoing) -> Outcome<Accepted> {
        understood(&collected(self.deliver(agent, "send", message).await?.into_body()).await?)
    }

    async fn deliver(&mut self, agent: &str, verb: &str, message: &Outgoing) -> Outcome<Response<Incoming>> {
        let mut request = Request::builder().method(Method::POST).uri(message_path(agent, verb, &message.query));
        for (name, value) in &message.headers {
            request = request.header(format!("{META_PREFIX}{name}"), percent_encoded(value));
        }
        self.exchange(request.body(Full::new(message.body.clone()))).await
    }

    /// A stream of lines; the connection is used up by it.
    pub async fn lines(mut self, path: &str) -> Outcome<Lines> {
        let response = self.answer(Method::GET, path, Bytes::new()).await?;
        Ok(Lines::new(response.into_body(), self.sender))
    }

    async fn shape<T: DeserializeOwned>(&mut self, method: Method, path: &str, body: Bytes) -> Outcome<T> {
        understood(&collected(self.answer(method, path, body).await?.into_body()).await?)
    }

    async fn answer(&mut self, method: Method, path: &str, body: Bytes) -> Outcome<Response<Incoming>> {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        self.exchange(request.body(Full::new(body))).await
    }

    /// The head of an answer, if it is a good one.
    async fn exchange(&mut self, request: hyper::http::Result<Request<Full<Bytes>>>) -> Outcome<Response<Incoming>> {
        let mut request = request.map_err(|error| Failure::new("E_BAD_REQUEST", error.to_string()))?;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("skep"));
        self.sender.ready().await.map_err(|error| gone(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| gone(&error))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let bytes = collected(response.into_body()).await?;
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|error| strange(&error.to_string()))?;
        Err(problem.into())
    }
}

fn understood<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    let shape: Versioned<T> = serde_json::from_slice(bytes).map_err(|error| strange(&error.to_string()))?;
    if shape.api_version == API_VERSION { Ok(shape.body) } else { Err(strange("another version of the API")) }
}

async fn collected(body: Incoming) -> Outcome<Bytes> {
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(gone(&error)),
    }
}

fn gone(error: &dyn std::fmt::Display) -> Failure {
    Failure::new("E_HOST_GONE", format!("the host broke off: {error}"))
}

fn strange(why: &str) -> Failure {
    Failure::new("E_API_VERSION", format!("the host's answer is not understood: {why}"))
}

fn message_path(agent: &str, verb: &str, query: &MessageQuery) -> String {
    let mut path = format!("/v1/agents/{}/{verb}?kind={}", percent_encoded(agent), percent_encoded(&query.kind));
    let pairs = [("channel", &query.channel), ("client_id", &query.client_id)];
    for (name, value) in pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        path.push_str(&format!("&{name}={}", percent_encoded(value)));
    }
    if let Some(timeout_ms) = query.timeout_ms {
        path.push_str(&format!("&timeout_ms={timeout_ms}"));
    }
    path
}
