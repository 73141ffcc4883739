//! Messages that are refused and turns that fail: what is taken back, what comes again, what dies.

use serde_json::{Value, json};
use skep_core::DeadReason;
use skep_core::spec::{AgentSpec, Durability};
use skep_runtime::{DeadLetterView, Host};
use skep_tests::hives::{Draft, Nest};
use skep_tests::kit::{self, Watch, event, exited, ready};
use skep_tests::puppet::{ask, came, history, json_body, noted, send, told, try_told};

/// A puppet that traps on `poison`, always, and on `once` at its first attempt.
async fn nest(durability: Durability) -> Nest {
    let poison = json!([
        {"do": "put", "key": "poisoned", "value": true},
        {"do": "send", "to": "b", "kind": "never"},
        {"do": "once", "name": "never", "ms": 1},
        {"do": "trap"},
    ]);
    let once = json!([{"do": "put", "key": "once", "value": 1}, {"do": "trap", "below": 2}]);
    let on = json!({"poison": poison, "once": once, "busy": [{"do": "spin", "ms": 200}]});
    Draft::new().puppet("a", durability, on).puppet("b", durability, json!({})).run().await
}

async fn letters(host: &Host) -> Vec<DeadLetterView> {
    host.dead_letters(100).expect("dead letters")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_takes_back_what_its_message_did_and_nothing_else() {
    let host = nest(Durability::Full).await;
    told(&host, "a", json!([{"do": "put", "key": "k", "value": "before"}])).await;
    let refused = json!([
        {"do": "note", "text": "gone"},
        {"do": "put", "key": "k", "value": "after"},
        {"do": "send", "to": "b", "kind": "never"},
        {"do": "once", "name": "never", "ms": 1},
        {"do": "refuse", "text": "not today"},
    ]);
    let mut watch = Watch::on(&host);
    let error = try_told(&host, "a", refused).await.expect_err("a refusal");
    assert_eq!((error.code(), error.to_string().contains("not today")), ("E_REFUSED", true));
    assert_eq!(told(&host, "a", json!([{"do": "get", "key": "k"}])).await, [json!("before")]);
    assert!(came(&host, "a").await.is_empty());
    send(&host, "b", "fence", json!(0)).await;
    watch.refuse(&event("turn.failed"), &noted("b", "fence 0")).await;
    assert_eq!(came(&host, "b").await, ["fence 0"]);
    assert!(host.inspect("a").expect("an agent").timers.is_empty());
    assert_eq!(host.inspect("a").expect("an agent").refused, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_does_not_keep_its_batch_from_going_on() {
    let host = nest(Durability::Full).await;
    kit::expect(&host, noted("a", "busy 0"), send(&host, "a", "busy", json!(0))).await;
    send(&host, "a", "n", json!(1)).await;
    send(&host, "a", "do", json!([{"do": "note", "text": "gone"}, {"do": "refuse", "text": "no"}])).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "n", json!(2)).await;
    watch.expect(&noted("a", "n 2")).await;
    watch.expect(&event("turn.committed").of("a")).await;
    assert_eq!(came(&host, "a").await, ["busy 0", "n 1", "n 2"]);
    assert_eq!(host.inspect("a").expect("an agent").turns_failed, 0);
    assert!(letters(&host).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_failed_turn_is_visible() {
    let host = nest(Durability::Full).await;
    let ended = ask(&host, "a", "poison", Value::Null).await.expect_err("a failure");
    assert_eq!(ended.code(), "E_DEAD_LETTER");
    assert_eq!(told(&host, "a", json!([{"do": "get", "key": "poisoned"}])).await, [json!(null)]);
    assert!(host.inspect("a").expect("an agent").timers.is_empty());
    kit::expect(&host, noted("b", "fence 0"), send(&host, "b", "fence", json!(0))).await;
    assert_eq!(came(&host, "b").await, ["fence 0"]);
    assert!(came(&host, "a").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_batch_comes_again_one_by_one_in_its_order_and_counts_no_attempt() {
    let host = nest(Durability::Full).await;
    kit::expect(&host, noted("a", "busy 0"), send(&host, "a", "busy", json!(0))).await;
    send(&host, "a", "n", json!(1)).await;
    let poison = send(&host, "a", "poison", json!(0)).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "n", json!(2)).await;
    let failed = watch.expect(&event("turn.failed").of("a").with("kind", "trap")).await;
    assert_eq!(kit::field(&failed, "batch").as_deref(), Some("3"));
    let singles = watch.expect_times(3, &event("turn.failed").of("a").with("batch", "1")).await;
    assert!(singles.iter().all(|failed| failed.cause == Some(poison)));
    watch.expect(&event("message.dead-letter").of("a")).await;
    watch.expect(&noted("a", "n 2")).await;
    watch.expect(&event("turn.committed").of("a")).await;
    assert_eq!(came(&host, "a").await, ["busy 0", "n 1", "n 2"]);
    assert_eq!(letters(&host).await[0].attempts, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_message_dies_after_three_turns_and_its_agent_lives_on() {
    let host = nest(Durability::Full).await;
    let mut watch = Watch::on(&host);
    let poison = send(&host, "a", "poison", json!({"why": "me"})).await;
    let fence = event("message.dead-letter").of("a");
    let failed = watch.capture(&event("turn.failed").of("a"), &fence).await;
    assert_eq!(failed.len(), 3);
    send(&host, "a", "n", json!(1)).await;
    watch.refuse(&event("agent.exited"), &noted("a", "n 1")).await;
    let letter = host.dead_letter(poison).expect("a dead letter");
    assert_eq!((letter.to.as_str(), letter.kind.as_str(), letter.from, letter.attempts), ("a", "poison", None, 3));
    assert_eq!(letter.body, json_body(&json!({"why": "me"})));
    assert!(matches!(&letter.reason, DeadReason::Failed(why) if why.contains("trap")), "{:?}", letter.reason);
    assert_eq!(host.inspect("a").expect("an agent").view.restarts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_works_at_last_is_handled_once() {
    let host = nest(Durability::Full).await;
    kit::expect(&host, noted("a", "once 7 attempt 2"), send(&host, "a", "once", json!(7))).await;
    assert_eq!(came(&host, "a").await, ["once 7 attempt 2"]);
    assert_eq!(told(&host, "a", json!([{"do": "get", "key": "once"}])).await, [json!(1)]);
    assert!(letters(&host).await.is_empty());
}

/// Makes a dead letter and returns its id.
async fn dead(host: &Host) -> skep_core::MessageId {
    let (_, id) = kit::expect(host, event("message.dead-letter").of("a"), send(host, "a", "poison", json!("x"))).await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_outlives_its_host_and_is_retried_as_a_new_delivery() {
    let host = nest(Durability::Full).await;
    let id = dead(&host).await;
    let host = host.again_as(|draft| {
        let mut draft = draft;
        draft.spec.root.children.clear();
        draft.puppet("a", Durability::Full, json!({})).puppet("b", Durability::Full, json!({}))
    });
    let host = host.await;
    assert_eq!(host.dead_letter(id).expect("a dead letter").attempts, 3);
    let (_, retried) = kit::expect(&host, noted("a", "poison \"x\" retried"), host.retry_dead_letter(id)).await;
    assert_ne!(retried.expect("a retry"), id);
    assert!(letters(&host).await.is_empty());
    assert_eq!(host.retry_dead_letter(id).await.expect_err("it is gone").code(), "E_NO_DEAD_LETTER");
    assert!(host.again().await.dead_letters(10).expect("dead letters").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_is_dropped_is_gone_for_good() {
    let host = nest(Durability::Full).await;
    let id = dead(&host).await;
    host.drop_dead_letter(id).await.expect("a dead letter");
    assert_eq!(host.drop_dead_letter(id).await.expect_err("it is gone").code(), "E_NO_DEAD_LETTER");
    assert!(host.again().await.dead_letters(10).expect("dead letters").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_that_fail_with_no_success_between_are_a_crash_loop() {
    let host = nest(Durability::Full).await;
    let mut watch = Watch::on(&host);
    for n in 0..6 {
        send(&host, "a", "poison", json!(n)).await;
    }
    watch.sequence(&[exited("a", "crash-loop"), event("agent.restarting").of("a"), ready("a")]).await;
    let host = host;
    kit::expect(&host, noted("a", "n 1"), send(&host, "a", "n", json!(1))).await;
    assert_eq!(history(&host, "a").await, ["start fresh", "start restarted", "n 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successes_between_keep_failures_from_being_a_crash_loop() {
    let host = nest(Durability::Full).await;
    let mut watch = Watch::on(&host);
    for n in 0..8 {
        send(&host, "a", "poison", json!(n)).await;
        send(&host, "a", "n", json!(n)).await;
        watch.refuse(&event("agent.exited"), &noted("a", &format!("n {n}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_durability_exits_with_its_turn_and_one_message_counts_once() {
    let host = nest(Durability::None).await;
    told(&host, "a", json!([{"do": "note", "text": "in memory"}])).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "poison", json!(0)).await;
    let fence = event("message.dead-letter").of("a");
    let exits = watch.capture(&exited("a", "turn-failed"), &fence).await;
    assert_eq!(exits.len(), 1, "one exit for one poison message");
    kit::expect(&host, noted("a", "n 1"), send(&host, "a", "n", json!(1))).await;
    assert_eq!(came(&host, "a").await, ["n 1"], "its memory is gone");
    assert_eq!(host.inspect("a").expect("an agent").view.restarts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_over_its_wall_time_is_undone() {
    let slow = |spec: &mut AgentSpec| spec.budget.turn_wall_ms_max = 100;
    let on = json!({"wait": [{"do": "put", "key": "k", "value": 1}, {"do": "call", "to": "b", "kind": "hold"}]});
    let b = json!({"hold": [{"do": "later"}]});
    let draft = Draft::new().puppet_with("a", Durability::Full, on, slow).puppet("b", Durability::Full, b);
    let host = draft.run().await;
    let (failed, error) = kit::expect(
        &host,
        event("turn.failed").of("a").with("kind", "wall-time"),
        ask(&host, "a", "wait", Value::Null),
    )
    .await;
    assert!(kit::field(&failed, "detail").expect("a detail").contains("100"));
    assert_eq!(error.expect_err("a failure").code(), "E_DEAD_LETTER");
    assert_eq!(told(&host, "a", json!([{"do": "get", "key": "k"}])).await, [json!(null)]);
}

/// What each attempt of a turn drew: the log outlives the attempts that trap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_chance_and_ids_are_the_same_when_a_turn_is_repeated() {
    let host = Draft::new().agent("f", "faults", Durability::Full).run().await;
    let replay = async || {
        let mut watch = Watch::on(&host);
        let reply = ask(&host, "f", "replay", json!({"attempts": 2})).await.expect("a reply");
        let drawn = watch.expect_times(3, &event("log").of("f").saying("replay {")).await;
        let drawn = drawn.iter().map(|line| kit::field(line, "text").expect("a line"));
        assert_eq!(drawn.collect::<Vec<_>>(), vec![format!("replay {reply}"); 3], "each attempt, and what it replied");
        reply
    };
    let (first, second) = (replay().await, replay().await);
    for what in ["now", "random", "bytes", "id", "sent"] {
        assert_ne!(first[what], second[what], "{what} of another cause is another one");
    }
    let heard = ask(&host, "f", "heard", Value::Null).await.expect("a reply");
    let notes = heard.as_array().expect("a list").iter().filter(|heard| **heard == json!("note: replayed from f"));
    assert_eq!(notes.count(), 2, "what each attempt sent came once: {heard}");
}
