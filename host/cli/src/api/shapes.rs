//! The shapes as JSON, letter by letter: what a script relies on does not change unseen.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use skep_core::event::{AgentRef, Event, What};
use skep_core::spec::{Durability, Restart, Strategy};
use skep_core::{AgentId, Bytes, Channel, DeadReason, Digest, Incarnation, MessageId, Name, TurnId};
use skep_runtime::{AgentDetail, AgentView, DeadLetterView, Status, SwapReceipt, SwappedAgent, TreeView};

use super::{convert, types};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// As it is written, and that it can be read back.
fn same<T: Serialize + DeserializeOwned>(shape: &T, expected: Value) {
    let written = serde_json::to_value(shape).unwrap();
    assert_eq!(written, expected);
    let read: T = serde_json::from_value(written).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), expected);
}

fn view(status: Status) -> AgentView {
    AgentView {
        id: AgentId(3),
        name: name("ledger"),
        status,
        plugin: name("books"),
        digest: Digest([0xab; 32]),
        durability: Durability::Full,
        supervisor: name("root"),
        incarnation: Incarnation(2),
        mailbox_messages: 1,
        handled: 20,
        restarts: 1,
    }
}

fn agent_json() -> Value {
    json!({
        "name": "ledger", "id": 3, "status": "idle", "plugin": "books",
        "digest": format!("sha256:{}", "ab".repeat(32)), "durability": "full", "supervisor": "root",
        "incarnation": 2, "mailboxMessages": 1, "handled": 20, "restarts": 1,
    })
}

#[test]
fn an_agent_and_its_reason() {
    same(&convert::agent(&view(Status::Idle)), agent_json());
    let degraded = convert::agent(&view(Status::Degraded("slow disk".into())));
    assert_eq!((degraded.status.as_str(), degraded.reason.as_deref()), ("degraded", Some("slow disk")));
}

#[test]
fn all_that_is_known_of_an_agent() {
    let detail = AgentDetail {
        view: view(Status::Idle),
        config_json: "{\"a\":1}".into(),
        restart: Restart::Transient,
        lanes: vec![(Channel::Control, 0), (Channel::Events, 1)],
        promised_messages: 0,
        promised_bytes: 0,
        memory_bytes: None,
        state_bytes: 9,
        timers: vec![name("tick")],
        asks_open: 1,
        replies_owed: 2,
        subscriptions: vec!["a.*".into()],
        turns_failed: 3,
        refused: 4,
        sdk: "rust 0.1.0".into(),
        last_failure: Some("trap".into()),
    };
    let mut expected = agent_json();
    let more = json!({
        "config": { "a": 1 }, "restart": "transient",
        "lanes": [{ "channel": "control", "messages": 0 }, { "channel": "events", "messages": 1 }],
        "memoryBytes": null, "stateBytes": 9, "timers": ["tick"], "asksOpen": 1, "repliesOwed": 2,
        "subscriptions": ["a.*"], "turnsFailed": 3, "refused": 4, "sdk": "rust 0.1.0", "lastFailure": "trap",
    });
    expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    same(&convert::detail(&detail), expected);
}

#[test]
fn a_tree() {
    let tree = TreeView::Supervisor {
        name: name("root"),
        strategy: Strategy::RestForOne,
        restarts: 1,
        intensity: 2,
        period_ms: 5_000,
        children: vec![TreeView::Agent(Box::new(view(Status::Idle)))],
    };
    let mut child = agent_json();
    child["type"] = "agent".into();
    let expected = json!({
        "type": "supervisor", "name": "root", "strategy": "rest-for-one", "restarts": 1, "intensity": 2,
        "periodMs": 5000, "children": [child],
    });
    same(&convert::tree(&tree), expected);
}

#[test]
fn a_dead_letter_with_and_without_its_body() {
    let letter = DeadLetterView {
        id: MessageId(7),
        to: name("ledger"),
        from: None,
        kind: name("add"),
        channel: Channel::Events,
        reason: DeadReason::Failed("trap".into()),
        time_ns: 0,
        attempts: 3,
        body: Bytes::from_static(b"{\"by\":1}"),
    };
    let mut expected = json!({
        "id": "00000000000000000000000000000007", "to": "ledger", "from": null, "messageKind": "add",
        "channel": "events", "reason": "failed", "detail": "trap", "time": "1970-01-01T00:00:00.000000Z", "attempts": 3,
    });
    same(&convert::dead_letter(&letter, false), expected.clone());
    expected["body"] = json!({ "bytes": 8, "json": { "by": 1 } });
    same(&convert::dead_letter(&letter, true), expected);
}

#[test]
fn bodies_are_json_or_text_or_base64() {
    same(&convert::body(b"[1]"), json!({ "bytes": 3, "json": [1] }));
    same(&convert::body(b"hello"), json!({ "bytes": 5, "text": "hello" }));
    same(&convert::body(b"\xff\x00"), json!({ "bytes": 2, "base64": "/wA=" }));
}

#[test]
fn a_receipt_sums_its_agents_up() {
    let one = |agent: &str, pause_ns| SwappedAgent { agent: name(agent), lost: 0, replayed: 2, waiting: 5, pause_ns };
    let receipt = SwapReceipt {
        agents: vec![one("a", 1_500_000), one("b", 500_000)],
        from: Digest([1; 32]),
        to: Digest([2; 32]),
    };
    let expected = json!({
        "target": "p", "from": format!("sha256:{}", "01".repeat(32)), "to": format!("sha256:{}", "02".repeat(32)),
        "lost": 0, "replayed": 4, "pauseMs": 1.5,
        "agents": [
            { "agent": "a", "lost": 0, "replayed": 2, "pauseMs": 1.5 },
            { "agent": "b", "lost": 0, "replayed": 2, "pauseMs": 0.5 },
        ],
    });
    same(&convert::receipt("p", &receipt), expected);
}

#[test]
fn a_number_of_the_bench_and_its_bar() {
    let mut number = types::BenchNumber {
        name: "ask".into(),
        value: 390.125,
        unit: "ns".into(),
        better: types::Better::Lower,
        what: "the program asks an agent".into(),
        control: Some("raw_call".into()),
        ratio: Some(3.901),
        factor: Some(4.0),
        met: Some(true),
        bar: Some("<= 4 x raw_call".into()),
    };
    let mut expected = json!({
        "name": "ask", "value": 390.125, "unit": "ns", "better": "lower", "what": "the program asks an agent",
        "control": "raw_call", "ratio": 3.901, "factor": 4.0, "met": true, "bar": "<= 4 x raw_call",
    });
    same(&number, expected.clone());
    (number.better, number.control, number.ratio) = (types::Better::Higher, None, None);
    (number.factor, number.met, number.bar) = (None, None, None);
    expected["better"] = "higher".into();
    for field in ["control", "ratio", "factor", "met", "bar"] {
        expected[field] = Value::Null;
    }
    same(&number, expected);
}

#[test]
fn an_event_of_a_turn() {
    let event = Event {
        id: 9,
        cause: Some(MessageId(1)),
        time_ns: 1_000,
        duration_ns: Some(5),
        host: name("h"),
        agent: Some(AgentRef { id: AgentId(3), name: name("ledger") }),
        incarnation: Incarnation(2),
        turn: Some(TurnId(4)),
        correlation: None,
        what: What::TurnFailed { kind: "trap", detail: "x".into(), batch: 2, lines: 1 },
    };
    let expected = json!({
        "id": 9, "time": "1970-01-01T00:00:00.000001Z", "severity": "warn", "event": "turn.failed", "host": "h",
        "agent": "ledger", "incarnation": 2, "turn": 4, "cause": "00000000000000000000000000000001",
        "correlation": null, "durationNs": 5, "fields": { "kind": "trap", "detail": "x", "batch": 2, "lines": 1 },
    });
    same(&convert::event(&event), expected);
}

#[test]
fn a_version_and_a_kind_stand_before_everything() {
    let text = serde_json::to_string(&types::Versioned::new("Accepted", types::Accepted { id: "7".into() })).unwrap();
    assert_eq!(text, "{\"apiVersion\":\"skep/v1\",\"kind\":\"Accepted\",\"id\":\"7\"}");
}
