//! The rules of a turn, broken by an agent on the bare bindings: each has its answer, and nobody else is hit.

use bytes::Bytes;
use serde_json::json;
use skep_core::spec::{AgentSpec, Durability};
use skep_runtime::{AskOptions, Host};
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, noted, send, told};

/// No bound of time is in the way of `bare`, however slow the machine is: what it breaks are rules.
async fn bare() -> Host {
    let busy = json!({"busy": [{"do": "spin", "ms": 200}]});
    let limit_ms = kit::LIMIT.as_millis() as u32;
    let patient = |spec: &mut AgentSpec| {
        (spec.budget.turn_cpu_ms_max, spec.budget.turn_wall_ms_max) = (limit_ms, limit_ms);
    };
    let draft = Draft::new().agent_with("bare", "bare", Durability::None, patient);
    draft.puppet("b", Durability::None, busy).start().await
}

async fn said(host: &Host, kind: &str) -> Result<String, String> {
    let patient = AskOptions { timeout: kit::LIMIT, ..AskOptions::default() };
    let reply = host.ask("bare", kind, Bytes::new(), patient).await;
    let reply = reply.map_err(|error| format!("{} {error}", error.code()))?;
    Ok(String::from_utf8(reply.to_vec()).expect("text"))
}

/// The message fails its turn in this way, always, so it dies; the agent lives on.
async fn fails(kind: &str, word: &'static str, detail: &str) {
    let host = bare().await;
    let failed = event("turn.failed").of("bare").with("kind", word).saying(detail);
    let (_, error) = kit::expect(&host, failed, said(&host, kind)).await;
    let error = error.expect_err("a failure");
    assert!(error.starts_with("E_DEAD_LETTER"), "{error}");
    assert!(said(&host, "ok").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_says_that_it_has_failed_has_failed() {
    fails("turn-error", "turn-error", "as it was told").await;
    fails("unusable", "turn-error", "cannot be used").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_begin_and_refuse_that_is_none_is_a_trap() {
    fails("begin-again", "trap", "turn.begin(0) is out of order").await;
    fails("begin-beyond", "trap", "out of order").await;
    fails("refuse-other", "trap", "turn.refuse(1)").await;
    fails("refuse-twice", "trap", "turn.refuse(0)").await;
    fails("too-many", "trap", "more than the batch has").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_bounded_and_those_that_nobody_told_are_errors() {
    fails("many-names", "limit", "numbers").await;
    let host = bare().await;
    for kind in ["bad-number", "bad-kind"] {
        let text = said(&host, kind).await.expect("a reply");
        assert!(text.contains("a number that this instance has not been told"), "{kind}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_brings_ever_new_kinds_is_refused_and_the_agent_goes_on() {
    let host = bare().await;
    let mut kinds = 0..=u16::MAX;
    let refused = loop {
        let kind = format!("kind-{}", kinds.next().expect("a bound"));
        if let Err(refused) = said(&host, &kind).await {
            break refused;
        }
    };
    assert!(refused.starts_with("E_NOT_SENT") && refused.contains("numbers_max = 65536 of agent bare"), "{refused}");
    // What it knows it goes on with, and what it asks for itself it still gets.
    assert_eq!(said(&host, "kind-0").await.as_deref(), Ok("[]"));
    let detail = host.inspect("bare").expect("an agent");
    assert_eq!((detail.turns_failed, detail.view.restarts), (0, 0));
    let counters = host.counters().values;
    for counter in ["limit.reached.numbers_max", "ask.failed.not-sent", "message.dead-letter.failed"] {
        assert!(counters.iter().any(|(name, count)| name == counter && *count == 1), "{counter}: {counters:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_before_begin_is_refused_and_after_a_refusal_does_not_leave() {
    let host = bare().await;
    let text = said(&host, "no-begin").await.expect("a reply");
    assert!(text.contains("call turn.begin first"), "{text}");
    let mut watch = Watch::on(&host);
    assert!(said(&host, "after-refusal").await.expect_err("a refusal").starts_with("E_REFUSED"));
    assert!(said(&host, "ok").await.is_ok());
    let effects = watch.expect_times(2, &event("turn.committed").of("bare")).await;
    assert_eq!(kit::field(&effects[0], "effects").as_deref(), Some("1"), "the end of the ask and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_turn_does_not_deal_with_comes_again_and_counts_no_attempt() {
    let host =
        Draft::new().agent("bare", "bare", Durability::None).puppet("b", Durability::None, json!({})).start().await;
    // In one batch: what a turn sends arrives together.
    let ops: Vec<_> =
        ["ok", "leave", "ok"].iter().map(|kind| json!({"do": "send", "to": "bare", "kind": kind})).collect();
    let mut watch = Watch::on(&host);
    told(&host, "b", json!(ops)).await;
    let mut handled = 0;
    while handled < 3 {
        let turn = watch.expect(&event("turn.committed").of("bare")).await;
        handled += kit::field(&turn, "handled").and_then(|count| count.parse::<u32>().ok()).expect("a number");
    }
    assert_eq!(handled, 3);
    let detail = host.inspect("bare").expect("an agent");
    assert_eq!((detail.turns_failed, detail.view.handled), (0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_breaks_every_rule_keeps_nobody_else_from_working() {
    let host = bare().await;
    for kind in ["too-many", "turn-error", "begin-beyond"] {
        send(&host, "bare", kind, json!(0)).await;
    }
    for _ in 0..10 {
        assert!(ask(&host, "b", "anything", json!(0)).await.is_ok());
    }
    kit::expect(&host, noted("b", "fence 0"), send(&host, "b", "fence", json!(0))).await;
}
