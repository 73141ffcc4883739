//! Asks: each ends in exactly one message, by its callee, by its failure, or by the host.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use skep_core::spec::{Durability, Restart};
use skep_runtime::{AskOptions, Host};
use skep_tests::clock::SetClock;
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, came, journal, json_body, noted, send, told};

const DURABILITIES: [Durability; 2] = [Durability::None, Durability::Full];

/// What `b` does with each kind.
fn callee() -> Value {
    json!({
        "refuse": [{"do": "refuse", "text": "not you"}],
        "poison": [{"do": "trap"}],
        "hold": [{"do": "later"}],
        "end": [{"do": "later"}, {"do": "exit", "reason": "normal"}],
    })
}

/// `a` asks `b`; what comes of it.
async fn answered(host: &Host, kind: &str, ms: u32) -> String {
    let mut watch = Watch::on(host);
    told(host, "a", json!([{"do": "ask", "to": "b", "kind": kind, "body": 1, "ms": ms}])).await;
    watch.expect(&event("custom").of("a").saying("line=answer")).await;
    watch.expect(&event("turn.committed").of("a")).await;
    let answers: Vec<_> = came(host, "a").await.into_iter().filter(|line| line.starts_with("answer")).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.into_iter().next().unwrap()
}

async fn asked(kind: &str, ms: u32, expected: &str) {
    for durability in DURABILITIES {
        let temporary = |spec: &mut skep_core::spec::AgentSpec| spec.restart = Restart::Transient;
        let draft = Draft::new().puppet("a", durability, json!({}));
        let host = draft.puppet_with("b", durability, callee(), temporary).run().await;
        let answer = answered(&host, kind, ms).await;
        assert!(answer.contains(expected), "{durability:?}: {answer}");
        let detail = host.inspect("a").expect("an agent");
        assert_eq!(detail.asks_open, 0, "{durability:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_ends_with_its_reply() {
    asked("anything", 30_000, "answer []").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_ends_with_its_refusal() {
    asked("refuse", 30_000, "answer failed: refused as failed: not you").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_ends_at_its_deadline() {
    asked("hold", 100, "answer failed: no reply by the deadline").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_ends_with_the_end_of_its_callee() {
    asked("end", 30_000, "answer failed: the receiver has ended: normal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_ends_as_a_dead_letter() {
    asked("poison", 30_000, "answer failed: the receiver failed on it too often").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_of_nobody_is_refused_at_once() {
    let host = Draft::new().puppet("a", Durability::None, json!({})).start().await;
    let results = told(&host, "a", json!([{"do": "ask", "to": "nobody", "kind": "k"}])).await;
    assert_eq!(results, [json!("error: there is no such agent")]);
    assert_eq!(host.inspect("a").expect("an agent").asks_open, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_may_come_in_a_later_turn() {
    for durability in DURABILITIES {
        let host = Draft::new()
            .puppet("a", durability, json!({}))
            .puppet("b", durability, json!({"hold": [{"do": "later"}]}))
            .run()
            .await;
        told(&host, "a", json!([{"do": "ask", "to": "b", "kind": "hold", "ms": 30_000}])).await;
        let host = &host;
        kit::expect(host, noted("b", "fence 0"), send(host, "b", "fence", json!(0))).await;
        journal(host, "b").await;
        assert_eq!(host.inspect("b").expect("an agent").replies_owed, 1);
        let answer = told(host, "b", json!([{"do": "answer", "body": "late"}]));
        kit::expect(host, noted("a", "answer \"late\""), answer).await;
        assert_eq!(host.inspect("b").expect("an agent").replies_owed, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owed_reply_and_an_open_ask_outlive_the_host() {
    let host = Draft::new()
        .puppet("a", Durability::Full, json!({}))
        .puppet("b", Durability::Full, json!({"hold": [{"do": "later"}]}))
        .run()
        .await;
    let ops = json!([{"do": "ask", "to": "b", "kind": "hold", "body": 1, "ms": 60_000}]);
    kit::expect(&host, noted("b", "hold 1 from a"), told(&host, "a", ops)).await;
    // The turn with the note is committed before this reply of the same agent.
    journal(&host, "b").await;
    let host = host.again().await;
    assert_eq!(host.inspect("a").expect("an agent").asks_open, 1);
    let answer = told(&host, "b", json!([{"do": "answer", "body": "after all"}]));
    kit::expect(&host, noted("a", "answer \"after all\""), answer).await;
    assert_eq!(host.inspect("a").expect("an agent").asks_open, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_of_an_agent_that_has_forgotten_it_with_its_host_ends_at_the_start() {
    // `a` stops first, so the end of `b` finds nobody to tell.
    let draft = Draft::new().puppet("b", Durability::None, json!({"hold": [{"do": "later"}]}));
    let host = draft.puppet("a", Durability::Full, json!({})).run().await;
    let ops = json!([{"do": "ask", "to": "b", "kind": "hold", "body": 1, "ms": 600_000}]);
    kit::expect(&host, noted("b", "hold 1 from a"), told(&host, "a", ops)).await;
    let host = host.again().await;
    let answered = async { while came(&host, "a").await.is_empty() {} };
    kit::within("an answer", answered).await;
    assert_eq!(came(&host, "a").await, ["answer failed: the receiver has ended: killed"]);
    assert_eq!(host.inspect("a").expect("an agent").asks_open, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_whose_deadline_passes_while_the_host_is_down_ends_at_the_start() {
    let (dir, clock) = (tempfile::tempdir().expect("a directory"), SetClock::default());
    // `a` stops first, so the end of `b` finds nobody to tell.
    let draft = Draft::new().puppet("b", Durability::None, json!({"hold": [{"do": "later"}]}));
    let draft = draft.puppet("a", Durability::Full, json!({}));
    let start = async || {
        let builder = draft.builder().data_dir(dir.path()).clock(Arc::new(clock.clone()));
        builder.start().await.expect("the hive starts")
    };
    let host = start().await;
    let ops = json!([{"do": "ask", "to": "b", "kind": "hold", "body": 1, "ms": 600_000}]);
    kit::expect(&host, noted("b", "hold 1 from a"), told(&host, "a", ops)).await;
    assert_eq!(host.inspect("a").expect("an agent").asks_open, 1);
    host.shutdown().await;
    drop(host);
    clock.forward(Duration::from_secs(601));
    let host = start().await;
    // Once the answer is committed, whether or not it was noted before this listened.
    let answered = async { while came(&host, "a").await.is_empty() {} };
    kit::within("an answer", answered).await;
    assert_eq!(came(&host, "a").await, ["answer failed: no reply by the deadline"]);
    assert_eq!(host.inspect("a").expect("an agent").asks_open, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_after_the_end_is_dropped_and_counted() {
    let host = Draft::new()
        .puppet("a", Durability::None, json!({}))
        .puppet("b", Durability::None, json!({"hold": [{"do": "later"}]}))
        .start()
        .await;
    assert!(answered(&host, "hold", 50).await.contains("no reply by the deadline"));
    let late = event("message.dropped").with("reason", "late-reply");
    let (_, results) = kit::expect(&host, late, told(&host, "b", json!([{"do": "answer", "body": "late"}]))).await;
    assert_eq!(results, [json!("ok")]);
    let counters = host.counters();
    assert!(counters.values.iter().any(|(name, count)| name == "message.dropped.late-reply" && *count == 1));
    assert_eq!(came(&host, "a").await.len(), 1, "no second answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_from_outside_ends_at_its_own_time_out() {
    let host = Draft::new().puppet("b", Durability::None, callee()).start().await;
    let options = AskOptions { timeout: Duration::from_millis(50), ..AskOptions::default() };
    let error = host.ask("b", "hold", json_body(&json!(0)), options).await.expect_err("a time-out");
    assert_eq!(error.code(), "E_TIMEOUT");
    assert!(ask(&host, "b", "anything", json!(0)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ask_many_brings_all_ends_in_the_given_order() {
    for durability in DURABILITIES {
        let host = Draft::new()
            .puppet("a", durability, json!({}))
            .puppet("b", durability, callee())
            .puppet("c", durability, json!({}))
            .run()
            .await;
        let ops = json!([{"do": "ask-many", "to": ["c", "b", "c", "nobody", "c"], "kind": "refuse", "in_flight": 2, "ms": 30_000}]);
        kit::expect(&host, event("custom").of("a").saying("line=answers"), told(&host, "a", ops)).await;
        let expected =
            "answers [], failed: refused as failed: not you, [], failed: not sent: there is no such agent, []";
        assert_eq!(came(&host, "a").await, [expected], "{durability:?}");
        let asked_of_c = came(&host, "c").await;
        assert_eq!(asked_of_c, vec!["refuse null from a"; 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ask_many_goes_on_after_a_restart_of_the_host() {
    let b = json!({"hold": [{"do": "later"}]});
    let host = Draft::new().puppet("a", Durability::Full, json!({})).puppet("b", Durability::Full, b).run().await;
    let ops = json!([{"do": "ask-many", "to": ["b", "b", "b"], "kind": "hold", "in_flight": 1, "ms": 60_000}]);
    kit::expect(&host, noted("b", "hold null from a"), told(&host, "a", ops)).await;
    journal(&host, "b").await;
    let host = host.again().await;
    let mut watch = Watch::on(&host);
    for n in 1..=3 {
        told(&host, "b", json!([{"do": "answer", "body": n}])).await;
        if n < 3 {
            watch.expect(&noted("b", "hold null from a")).await;
            journal(&host, "b").await;
        }
    }
    watch.expect(&noted("a", "answers 1, 2, 3")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_done_by_an_agent_that_ends_with_it() {
    let on = json!({"sum": [{"do": "note", "text": "done"}]});
    let host = Draft::new().puppet("a", Durability::None, on).start().await;
    let mut watch = Watch::on(&host);
    told(&host, "a", json!([{"do": "task", "kind": "sum", "body": 2, "ms": 30_000}])).await;
    let answered = watch.expect(&event("custom").of("a").saying("line=answer")).await;
    assert_eq!(kit::field(&answered, "fields").as_deref(), Some("line=answer [\"ok\"]"));
    watch.expect(&event("agent.gone")).await;
    assert_eq!(host.agents().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_cancelled_with_its_owner() {
    let on = json!({"hold": [{"do": "later"}]});
    let host = Draft::new().puppet("a", Durability::None, on).start().await;
    let mut watch = Watch::on(&host);
    told(&host, "a", json!([{"do": "task", "kind": "hold", "ms": 60_000}])).await;
    watch
        .expect(
            &event("agent.ready")
                .when("of a task", |event| event.agent.as_ref().is_some_and(|agent| agent.name.as_str() != "a")),
        )
        .await;
    host.stop("a", false).await.expect("a stop");
    watch.expect(&event("agent.gone")).await;
    assert!(host.agents().iter().all(|agent| agent.name.as_str() == "a"), "{:?}", host.agents());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_ask_whose_message_died_outlives_the_host() {
    let work =
        json!([{"do": "ask", "to": "b", "kind": "die", "ms": 60_000}, {"do": "send", "to": "a", "kind": "busy"}]);
    let busy = json!([{"do": "call", "to": "gate", "kind": "hold", "ms": 500}]);
    let host = Draft::new()
        .puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]}))
        .puppet_with("b", Durability::Full, json!({"die": [{"do": "trap"}]}), |spec| spec.budget.attempts_max = 1)
        .puppet("a", Durability::Full, json!({"work": work, "busy": busy}))
        .run()
        .await;
    let mut watch = Watch::on(&host);
    kit::expect(&host, noted("gate", "hold null from a"), send(&host, "a", "work", json!(0))).await;
    watch.expect(&event("ask.failed").of("b").with("why", "dead-letter")).await;
    let host = host.again().await;
    let lines = came(&host, "a").await;
    let answers: Vec<_> = lines.iter().filter(|line| line.starts_with("answer ")).collect();
    assert_eq!(answers.len(), 1, "{lines:?}");
    assert!(answers[0].starts_with("answer failed") && !answers[0].contains("deadline"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_is_refused_is_told_whoever_asked() {
    let b = json!({"refuse": [{"do": "refuse", "text": "no"}]});
    let host = Draft::new().puppet("a", Durability::None, json!({})).puppet("b", Durability::Full, b).run().await;
    let refused = || event("ask.failed").of("b").with("why", "refused");
    kit::expect(&host, refused(), ask(&host, "b", "refuse", Value::Null)).await.1.expect_err("a refusal");
    kit::expect(&host, refused(), told(&host, "a", json!([{"do": "call", "to": "b", "kind": "refuse"}]))).await;
    kit::expect(&host, refused(), told(&host, "a", json!([{"do": "ask", "to": "b", "kind": "refuse"}]))).await;
}
