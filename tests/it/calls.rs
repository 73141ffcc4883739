//! Calls: an agent waits inside its turn. Cycles are errors, and a turn that comes again gets the reply that it had.

use serde_json::{Value, json};
use skep_core::spec::Durability;
use skep_runtime::Host;
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, came, noted, send, told};

fn call(to: &str, kind: &str) -> Value {
    json!({"do": "call", "to": to, "kind": kind, "body": 1, "ms": 10_000})
}

async fn pair(durability: Durability, a: Value, b: Value) -> skep_tests::hives::Nest {
    Draft::new().puppet("a", durability, a).puppet("b", durability, b).run().await
}

async fn result_of(host: &Host, op: Value) -> String {
    told(host, "a", json!([op])).await[0].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_brings_its_reply_inside_the_turn() {
    for durability in [Durability::None, Durability::Process, Durability::Full] {
        let host = pair(durability, json!({}), json!({"sum": [{"do": "note", "text": "summed"}]})).await;
        assert_eq!(told(&host, "a", json!([call("b", "sum"), call("b", "sum")])).await, [json!(["ok"]), json!(["ok"])]);
        assert_eq!(came(&host, "b").await, ["sum 1 from a", "summed", "sum 1 from a", "summed"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_oneself_is_a_cycle() {
    let host = pair(Durability::None, json!({}), json!({})).await;
    let result = result_of(&host, call("a", "sum")).await;
    assert!(result.contains("error: a cycle of calls") && result.contains("a waits for a"), "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cycle_of_calls_is_an_error_at_once_whatever_its_length() {
    let host = Draft::new()
        .puppet("a", Durability::Full, json!({}))
        .puppet("b", Durability::Full, json!({"on": [call("c", "on")]}))
        .puppet("c", Durability::None, json!({"on": [call("a", "on")]}))
        .run()
        .await;
    let result = result_of(&host, call("b", "on")).await;
    assert!(result.contains("a cycle of calls"), "{result}");
    assert_eq!(host.inspect("a").expect("an agent").turns_failed, 0);
    // The chain is not held up for the next one.
    let result = result_of(&host, call("c", "other")).await;
    assert_eq!(result, "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_with_a_refusal_a_failure_or_its_deadline() {
    let b = json!({
        "refuse": [{"do": "refuse", "text": "not you"}],
        "poison": [{"do": "trap"}],
        "hold": [{"do": "later"}],
    });
    for durability in [Durability::None, Durability::Full] {
        let host = pair(durability, json!({}), b.clone()).await;
        assert!(result_of(&host, call("b", "refuse")).await.contains("refused as failed: not you"));
        assert!(result_of(&host, call("b", "poison")).await.contains("failed on it too often"));
        assert!(result_of(&host, call("nobody", "k")).await.contains("not sent: there is no such agent"));
        let short = json!({"do": "call", "to": "b", "kind": "hold", "ms": 50});
        assert!(result_of(&host, short).await.contains("no reply by the deadline"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_with_the_end_of_its_callee() {
    let on = json!({"end": [{"do": "later"}, {"do": "exit", "reason": "normal"}]});
    let host = Draft::new()
        .puppet("a", Durability::None, json!({}))
        .puppet_with("b", Durability::None, on, |spec| spec.restart = skep_core::spec::Restart::Temporary)
        .start()
        .await;
    let result = result_of(&host, call("b", "end")).await;
    assert!(result.contains("the receiver has ended"), "{result}");
}

/// The caller's turn fails after its call and comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_repeated_with_its_turn_is_handled_once() {
    let b = json!({"sum": [{"do": "put", "key": "k", "value": 1}]});
    let a = json!({"work": [call("b", "sum"), {"do": "trap", "below": 3}]});
    for durability in [Durability::Process, Durability::Full] {
        let host = pair(durability, a.clone(), b.clone()).await;
        assert_eq!(ask(&host, "a", "work", json!(0)).await.expect("a reply"), json!([["ok"], "ok"]));
        assert_eq!(came(&host, "a").await, ["work 0 attempt 3"]);
        assert_eq!(came(&host, "b").await, ["sum 1 from a"]);
        // Another message is another call.
        assert_eq!(ask(&host, "a", "work", json!(0)).await.expect("a reply"), json!([["ok"], "ok"]));
        assert_eq!(came(&host, "b").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_does_not_wait_for_what_its_own_turn_has_sent() {
    let host = pair(Durability::Full, json!({}), json!({})).await;
    let ops = json!([{"do": "send", "to": "b", "kind": "sent"}, call("b", "called")]);
    kit::expect(&host, noted("b", "sent null from a"), told(&host, "a", ops)).await;
    assert_eq!(came(&host, "b").await, ["called 1 from a", "sent null from a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_takes_no_other_message_while_it_waits() {
    let host = pair(Durability::Full, json!({"work": [call("b", "hold")]}), json!({"hold": [{"do": "later"}]})).await;
    kit::expect(&host, noted("b", "hold 1 from a"), send(&host, "a", "work", json!(0))).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "n", json!(1)).await;
    // It has all the time that these take.
    for n in 0..20 {
        ask(&host, "b", "meanwhile", json!(n)).await.expect("a reply");
    }
    send(&host, "b", "fence", json!(0)).await;
    watch.refuse(&noted("a", "n 1"), &noted("b", "fence 0")).await;
    told(&host, "b", json!([{"do": "answer", "body": "now"}])).await;
    watch.expect(&noted("a", "n 1")).await;
    kit::expect(&host, noted("a", "fence 0"), send(&host, "a", "fence", json!(0))).await;
    assert_eq!(came(&host, "a").await, ["work 0", "n 1", "fence 0"]);
}

fn remembered(host: &Host) -> u64 {
    let values = host.counters().values;
    values.iter().find(|(name, _)| name == "calls.remembered").map(|(_, count)| *count).expect("a counter")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_reply_goes_with_its_callers_commit_or_dead_letter() {
    let a = json!({
        "work": [call("b", "sum")],
        "doomed": [call("b", "sum"), {"do": "trap"}],
        "hasty": [{"do": "call", "to": "b", "kind": "hold", "ms": 20}],
    });
    let b = json!({"sum": [{"do": "put", "key": "k", "value": 1}], "hold": [{"do": "later"}]});
    let host = pair(Durability::Full, a, b).await;
    ask(&host, "a", "work", json!(0)).await.expect("a reply");
    ask(&host, "a", "doomed", json!(0)).await.expect_err("a dead letter");
    assert_eq!(remembered(&host), 0);
    // A reply that comes after its caller's commit is for nobody.
    ask(&host, "a", "hasty", json!(0)).await.expect("a reply");
    let answer = told(&host, "b", json!([{"do": "answer", "body": "late"}]));
    kit::expect(&host, event("message.dropped").saying("late-reply"), answer).await;
    assert_eq!(remembered(&host), 0);
    let host = host.again().await;
    assert_eq!(remembered(&host), 0, "and the store has kept nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_reply_outlives_the_host_as_its_callers_message_does() {
    let a = json!({"work": [call("b", "sum"), {"do": "spin", "ms": 60_000}]});
    let b = json!({"sum": [{"do": "put", "key": "k", "value": 1}]});
    let patient = |spec: &mut skep_core::spec::AgentSpec| {
        spec.budget.turn_cpu_ms_max = 60_000;
        spec.budget.turn_wall_ms_max = 60_000;
        spec.shutdown = skep_core::spec::Shutdown::Brutal;
    };
    let draft = Draft::new().puppet_with("a", Durability::Full, a, patient).puppet("b", Durability::Full, b);
    let host = draft.run().await;
    kit::expect(&host, event("turn.committed").of("b"), send(&host, "a", "work", json!(0))).await;
    let mut host = host.again().await;
    assert_eq!(remembered(&host), 1);
    for _ in 0..2 {
        ask(&host, "b", "fence", json!(0)).await.expect("a reply");
        host = host.again().await;
    }
    let sums = came(&host, "b").await.into_iter().filter(|line| line.starts_with("sum")).count();
    assert_eq!(sums, 1, "whatever becomes of its caller");
}
