//! What the host shows of itself, in the shapes of the API. Never asks the host anything.

use serde_json::Value;
use skep_core::event::{self, Severity};
use skep_core::spec::{Restart, Strategy};
use skep_core::{DeadReason, Digest};
use skep_runtime::{AgentDetail, AgentView, DeadLetterView, NodeView, OutboxView, SwapReceipt, TreeView};

use super::text::{base64, rfc3339};
use super::types;

/// The most of a body that is shown, in bytes: a message may hold this much, and a screen does not.
const BODY_SHOWN_BYTES_MAX: usize = 1 << 20;

pub(super) fn agent(view: &AgentView) -> types::Agent {
    types::Agent {
        name: view.name.to_string(),
        id: view.id.0,
        status: view.status.word().to_owned(),
        reason: view.status.reason().map(str::to_owned),
        plugin: view.plugin.to_string(),
        digest: view.digest.to_string(),
        durability: view.durability.name().to_owned(),
        supervisor: view.supervisor.to_string(),
        incarnation: view.incarnation.0,
        mailbox_messages: view.mailbox_messages,
        handled: view.handled,
        restarts: view.restarts,
    }
}

pub(super) fn node(view: &NodeView) -> types::Node {
    let OutboxView { messages, bytes, messages_max, oldest } = view.outbox;
    let oldest_ms = (messages > 0).then(|| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX));
    types::Node {
        host: view.host.to_string(),
        state: view.state.word().to_owned(),
        since: rfc3339(view.since_ms.saturating_mul(1_000_000)),
        connected: view.connected,
        agents: view.agents,
        outbox: types::Outbox { messages, bytes, messages_max, oldest_ms },
        received: view.received,
    }
}

pub(super) fn detail(detail: &AgentDetail) -> types::AgentDetail {
    types::AgentDetail {
        agent: agent(&detail.view),
        config: serde_json::from_str(&detail.config_json).unwrap_or(Value::Null),
        restart: restart(detail.restart).to_owned(),
        lanes: detail
            .lanes
            .iter()
            .map(|(channel, messages)| types::Lane { channel: channel.name().to_owned(), messages: *messages })
            .collect(),
        memory_bytes: detail.memory_bytes,
        state_bytes: detail.state_bytes,
        timers: detail.timers.iter().map(ToString::to_string).collect(),
        asks_open: detail.asks_open,
        replies_owed: detail.replies_owed,
        subscriptions: detail.subscriptions.clone(),
        turns_failed: detail.turns_failed,
        refused: detail.refused,
        sdk: detail.sdk.clone(),
        last_failure: detail.last_failure.clone(),
    }
}

fn restart(restart: Restart) -> &'static str {
    match restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::OneForOne => "one-for-one",
        Strategy::OneForAll => "one-for-all",
        Strategy::RestForOne => "rest-for-one",
        Strategy::Dynamic => "dynamic",
    }
}

/// The tree is at most 64 deep.
pub(super) fn tree(view: &TreeView) -> types::TreeNode {
    match view {
        TreeView::Supervisor { name, strategy: how, restarts, intensity, period_ms, children } => {
            types::TreeNode::Supervisor {
                name: name.to_string(),
                strategy: strategy(*how).to_owned(),
                restarts: *restarts,
                intensity: *intensity,
                period_ms: *period_ms,
                children: children.iter().map(tree).collect(),
            }
        }
        TreeView::Agent(view) => types::TreeNode::Agent(Box::new(agent(view))),
    }
}

pub(super) fn dead_letter(view: &DeadLetterView, with_body: bool) -> types::DeadLetter {
    let detail = match &view.reason {
        DeadReason::Failed(detail) => Some(detail.clone()),
        _ => None,
    };
    types::DeadLetter {
        id: view.id.to_string(),
        to: view.to.to_string(),
        from: view.from.as_ref().map(ToString::to_string),
        message_kind: view.kind.to_string(),
        channel: view.channel.name().to_owned(),
        reason: view.reason.word().to_owned(),
        detail,
        time: rfc3339(view.time_ns),
        attempts: view.attempts,
        body: with_body.then(|| body(&view.body)),
    }
}

/// A body for people and programs.
pub fn body(bytes: &[u8]) -> types::Body {
    let shown = bytes.get(..BODY_SHOWN_BYTES_MAX).unwrap_or(bytes);
    let mut body = types::Body { bytes: bytes.len(), json: None, text: None, base64: None };
    match std::str::from_utf8(shown) {
        Ok(text) => match serde_json::from_str(text) {
            Ok(json) => body.json = Some(json),
            Err(_) => body.text = Some(text.to_owned()),
        },
        Err(_) => body.base64 = Some(base64(shown)),
    }
    body
}

pub(super) fn receipt(target: &str, receipt: &SwapReceipt) -> types::Receipt {
    let agents: Vec<_> = receipt
        .agents
        .iter()
        .map(|one| types::SwappedAgent {
            agent: one.agent.to_string(),
            lost: one.lost,
            replayed: one.replayed,
            pause_ms: one.pause_ns as f64 / 1e6,
        })
        .collect();
    types::Receipt {
        target: target.to_owned(),
        from: digest(receipt.from),
        to: digest(receipt.to),
        lost: agents.iter().map(|one| one.lost).sum(),
        replayed: agents.iter().map(|one| one.replayed).sum(),
        pause_ms: agents.iter().map(|one| one.pause_ms).fold(0.0, f64::max),
        agents,
    }
}

fn digest(digest: Digest) -> String {
    digest.to_string()
}

/// An event of the host.
pub fn event(event: &event::Event) -> types::Event {
    types::Event {
        id: event.id,
        time: rfc3339(event.time_ns),
        severity: severity(event.what.severity()).to_owned(),
        event: event.what.name().to_owned(),
        host: event.host.to_string(),
        agent: event.agent.as_ref().map(|agent| agent.name.to_string()),
        incarnation: event.incarnation.0,
        turn: event.turn.map(|turn| turn.0),
        cause: event.cause.map(|cause| cause.to_string()),
        correlation: event.correlation.map(|id| id.to_string()),
        duration_ns: event.duration_ns,
        fields: event.what.fields().into_iter().map(|(name, field)| (name.to_owned(), value(field))).collect(),
    }
}

fn value(value: event::Value) -> Value {
    match value {
        event::Value::Text(text) => Value::String(text),
        event::Value::Number(number) => number.into(),
        event::Value::Float(number) => number.into(),
        event::Value::Flag(flag) => flag.into(),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => "debug",
        Severity::Info => "info",
        Severity::Warn => "warn",
        Severity::Error => "error",
    }
}
