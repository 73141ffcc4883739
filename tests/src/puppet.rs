//! Pulls the strings of the fixture `puppet`, and reads what came to it.

use bytes::Bytes;
use serde_json::Value;
use skep_core::MessageId;
use skep_core::event::What;
use skep_runtime::{AskOptions, Error, Host, SendOptions};

use crate::kit::{Pattern, event};

/// Has an agent do these operations in one turn; each gives a result.
pub async fn told(host: &Host, agent: &str, ops: Value) -> Vec<Value> {
    try_told(host, agent, ops).await.expect("a puppet that does as it is told")
}

/// As `told`, or why not.
pub async fn try_told(host: &Host, agent: &str, ops: Value) -> Result<Vec<Value>, Error> {
    let reply = host.ask(agent, "do", json_body(&ops), AskOptions::default()).await?;
    Ok(serde_json::from_slice(&reply).expect("a list of results"))
}

/// The journal of an agent.
pub async fn journal(host: &Host, agent: &str) -> Vec<String> {
    let reply = host.ask(agent, "journal", Bytes::new(), AskOptions::default()).await.expect("a journal");
    serde_json::from_slice(&reply).expect("a list of lines")
}

/// The journal without the lines of stops: an agent without an instance is not told to stop.
pub async fn history(host: &Host, agent: &str) -> Vec<String> {
    journal(host, agent).await.into_iter().filter(|line| !line.starts_with("stop ")).collect()
}

/// The history without the lines of starts: what came from others.
pub async fn came(host: &Host, agent: &str) -> Vec<String> {
    history(host, agent).await.into_iter().filter(|line| !line.starts_with("start ")).collect()
}

/// Sends one message.
pub async fn send(host: &Host, agent: &str, kind: &str, body: Value) -> MessageId {
    try_send(host, agent, kind, body).await.expect("a message that is taken")
}

/// As `send`, or why not.
pub async fn try_send(host: &Host, agent: &str, kind: &str, body: Value) -> Result<MessageId, Error> {
    host.send(agent, kind, json_body(&body), SendOptions::default()).await
}

/// Asks and reads the reply as JSON.
pub async fn ask(host: &Host, agent: &str, kind: &str, body: Value) -> Result<Value, Error> {
    let reply = host.ask(agent, kind, json_body(&body), AskOptions::default()).await?;
    Ok(serde_json::from_slice(&reply).expect("JSON"))
}

/// The event that an agent has written this line into its journal. It comes while the turn still runs.
pub fn noted(agent: &str, line: &str) -> Pattern {
    let (label, line) = (format!("noted {line:?}"), line.to_owned());
    event("custom").of(agent).when(&label, move |event| match &event.what {
        What::Custom { name, fields } => name == "noted" && fields.iter().any(|(_, text)| *text == line),
        _ => false,
    })
}

/// A value as a body.
pub fn json_body(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
