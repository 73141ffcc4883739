//! Budgets: every part is enforced, a breach is an event that names agent, limit and value, and others are unaffected.

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};
use skep_core::event::{Event, What};
use skep_core::message::HOPS_MAX;
use skep_core::spec::{AgentSpec, Budget, Durability, Shutdown};
use skep_runtime::{AskOptions, Host, SendOptions};
use skep_tests::hives::{Draft, Nest};
use skep_tests::kit::{self, Watch, any_of, event};
use skep_tests::puppet::{ask, came, json_body, noted, send, told, try_send, try_told};

/// A durable `a` with this budget, and `b` beside it.
async fn with(on: Value, change: impl FnOnce(&mut Budget)) -> Nest {
    let change = |spec: &mut AgentSpec| change(&mut spec.budget);
    let draft = Draft::new().puppet_with("a", Durability::Full, on, change);
    draft.puppet("b", Durability::None, json!({})).run().await
}

/// As `with`; `a` is in a turn that does not end until `let_go`.
async fn held(change: impl FnOnce(&mut Budget)) -> Nest {
    let on = json!({"busy": [{"do": "call", "to": "gate", "kind": "hold", "ms": 60_000}]});
    let patient = |spec: &mut AgentSpec| {
        spec.budget.turn_wall_ms_max = 60_000;
        change(&mut spec.budget);
    };
    let draft = Draft::new().puppet_with("a", Durability::Full, on, patient).puppet("b", Durability::None, json!({}));
    let host = draft.puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]})).run().await;
    kit::expect(&host, noted("gate", "hold null from a"), send(&host, "a", "busy", json!(0))).await;
    host
}

async fn let_go(host: &Host) {
    told(host, "gate", json!([{"do": "answer"}])).await;
}

/// `b` answers, so nobody else was hit.
async fn others_go_on(host: &Host) {
    assert!(ask(host, "b", "anything", json!(0)).await.is_ok());
    assert!(told(host, "a", json!([])).await.is_empty());
}

fn breach(limit: &'static str, value: u64) -> kit::Pattern {
    event("limit.reached").of("a").with("limit", limit).with("value", &value.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_wants_more_memory_than_its_budget_fails_its_turn() {
    let host = with(json!({}), |budget| budget.memory_bytes_max = 8 << 20).await;
    assert_eq!(told(&host, "a", json!([{"do": "grow", "bytes": 1 << 20}])).await, [json!("ok")]);
    let mut watch = Watch::on(&host);
    let error = try_told(&host, "a", json!([{"do": "grow", "bytes": 16 << 20}])).await;
    watch.expect(&breach("memory_bytes_max", 8 << 20)).await;
    let failed = watch.expect(&event("turn.failed").of("a")).await;
    assert_eq!(error.expect_err("a failure").code(), "E_DEAD_LETTER");
    assert_eq!(kit::field(&failed, "kind").as_deref(), Some("limit"), "{:?}", kit::field(&failed, "detail"));
    assert!(kit::field(&failed, "detail").expect("a detail").contains(&(8u64 << 20).to_string()));
    others_go_on(&host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_at_its_budget_of_processor_time() {
    let host = with(json!({"loop": [{"do": "spin"}]}), |budget| budget.turn_cpu_ms_max = 100).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "loop", json!(0)).await;
    // Others are served while it spins.
    assert!(ask(&host, "b", "anything", json!(0)).await.is_ok());
    watch.expect(&breach("turn_cpu_ms_max", 100)).await;
    let failed = watch.expect(&event("turn.failed").of("a").with("kind", "deadline")).await;
    let ms = failed.duration_ns.expect("a duration") / 1_000_000;
    assert!((90..20_000).contains(&ms), "{ms} ms");
    watch.expect(&event("message.dead-letter").of("a")).await;
    others_go_on(&host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_waits_too_long_ends_at_its_budget_of_wall_time() {
    let draft = Draft::new().puppet("b", Durability::None, json!({"silent": [{"do": "later"}]}));
    let draft = draft.puppet_with("a", Durability::Full, json!({}), |spec| {
        (spec.budget.turn_wall_ms_max, spec.budget.attempts_max) = (100, 1);
    });
    let host = draft.run().await;
    let mut watch = Watch::on(&host);
    let call = json!([{"do": "call", "to": "b", "kind": "silent", "ms": 30_000}]);
    assert_eq!(try_told(&host, "a", call).await.expect_err("a failure").code(), "E_DEAD_LETTER");
    watch.expect(&breach("turn_wall_ms_max", 100)).await;
    watch.expect(&event("turn.failed").of("a").with("kind", "wall-time")).await;
    others_go_on(&host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_recursion_is_a_trap_and_nothing_worse() {
    let host = with(json!({"deep": [{"do": "recurse"}]}), |_| {}).await;
    let failed = event("turn.failed").of("a").with("kind", "trap");
    let (failed, _) = kit::expect(&host, failed, ask(&host, "a", "deep", json!(0))).await;
    let detail = kit::field(&failed, "detail").expect("a detail");
    assert!(detail.contains("stack"), "{detail}");
    others_go_on(&host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_is_full_refuses_and_recovers() {
    let host = held(|budget| budget.mailbox_messages_max = 10).await;
    let mut watch = Watch::on(&host);
    let mut taken = 0;
    let refused = async {
        loop {
            match try_send(&host, "a", "n", json!(taken)).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        }
    };
    let error = kit::within("a mailbox that is full", refused).await;
    assert_eq!((error.code(), taken), ("E_MAILBOX_FULL", 10));
    watch.expect(&breach("mailbox_messages_max", 10)).await;
    let sent = told(&host, "b", json!([{"do": "send", "to": "a", "kind": "n"}])).await;
    assert_eq!(sent, [json!("error: the receiver has no room")]);
    watch.expect(&breach("mailbox_messages_max", 10)).await;
    let_go(&host).await;
    kit::expect(&host, noted("a", "last 0"), send(&host, "a", "last", json!(0))).await;
    let mut expected: Vec<_> = (0..10).map(|n| format!("n {n}")).collect();
    expected.insert(0, "busy 0".to_owned());
    expected.push("last 0".to_owned());
    assert_eq!(came(&host, "a").await, expected);
}

/// How long a send to a full mailbox may take: what it waits for room, and what a slow machine needs beside.
const FULL_MS: std::ops::Range<u128> = 80..10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_to_a_full_mailbox_waits_a_while_and_then_fails() {
    let host = held(|budget| budget.mailbox_messages_max = 1).await;
    send(&host, "a", "n", json!(1)).await;
    let began = Instant::now();
    assert_eq!(try_send(&host, "a", "n", json!(2)).await.expect_err("no room").code(), "E_MAILBOX_FULL");
    let outside = began.elapsed().as_millis();
    let full = [json!("error: the receiver has no room")];
    let began = Instant::now();
    assert_eq!(told(&host, "b", json!([{"do": "send", "to": "a", "kind": "n"}])).await, full);
    let inside = began.elapsed().as_millis();
    assert!(FULL_MS.contains(&outside) && FULL_MS.contains(&inside), "{outside} ms and {inside} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_is_bounded_by_bytes_too() {
    let host = held(|budget| budget.mailbox_bytes_max = 100_000).await;
    let big = || host.send("a", "n", Bytes::from(vec![b'1'; 40_000]), SendOptions::default());
    big().await.expect("room");
    big().await.expect("room");
    let (_, refused) = kit::expect(&host, breach("mailbox_bytes_max", 100_000), big()).await;
    assert_eq!(refused.expect_err("no room").code(), "E_MAILBOX_FULL");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_waits_for_room_and_then_gets_it() {
    let on = json!({"busy": [{"do": "spin", "ms": 60}]});
    let host = with(on, |budget| budget.mailbox_messages_max = 3).await;
    kit::expect(&host, noted("a", "busy 0"), send(&host, "a", "busy", json!(0))).await;
    // More than fit: the last ones wait until the busy turn has ended, which is in less than 100 ms.
    for n in 0..6 {
        send(&host, "a", "n", json!(n)).await;
    }
    kit::expect(&host, noted("a", "last 0"), send(&host, "a", "last", json!(0))).await;
    let numbers: Vec<_> = came(&host, "a").await.into_iter().filter(|line| line.starts_with("n ")).collect();
    assert_eq!(numbers, (0..6).map(|n| format!("n {n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_bytes_are_bounded_and_what_is_deleted_makes_room() {
    let host = with(json!({}), |budget| budget.state_bytes_max = 50_000).await;
    let put = |key: &str, bytes: usize| json!([{"do": "put", "key": key, "bytes": bytes}]);
    assert_eq!(told(&host, "a", put("one", 40_000)).await, [json!("ok")]);
    let (_, results) =
        kit::expect(&host, breach("state_bytes_max", 50_000), told(&host, "a", put("two", 40_000))).await;
    let text = results[0].to_string();
    assert!(text.contains("over the quota") && text.contains("state_bytes_max = 50000 of agent a"), "{text}");
    told(&host, "a", json!([{"do": "delete", "key": "one"}])).await;
    assert_eq!(told(&host, "a", put("two", 40_000)).await, [json!("ok")]);
    let host = host.again().await;
    assert!(told(&host, "a", put("three", 40_000)).await[0].to_string().contains("over the quota"));
    assert!((40_000..50_000).contains(&host.inspect("a").expect("an agent").state_bytes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_flood_is_cut_and_counted() {
    let host = with(json!({}), |budget| budget.log_lines_per_s_max = 50).await;
    let mut watch = Watch::on(&host);
    let flood = json!([{"do": "log", "text": "flood", "times": 20_000}]);
    kit::expect(&host, breach("log_lines_per_s_max", 50), told(&host, "a", flood)).await;
    let (committed, suppressed) = (event("turn.committed").of("a"), event("log.suppressed").of("a"));
    let (mut lines, mut left_out) = (0, 0);
    let mut count = |found: &Event| match &found.what {
        What::Log { .. } => lines += 1,
        What::LogSuppressed { lines } => left_out += lines,
        _ => {}
    };
    let written = event("log").of("a");
    for found in watch.capture(&any_of(written, suppressed), &committed).await {
        count(&found);
    }
    // The first line that fits again says how many did not.
    let mut watch = Watch::on(&host);
    let counted = |host: &Host| {
        let counters = host.counters().values;
        counters.iter().find(|(name, _)| name == "log.suppressed").map_or(0, |(_, count)| *count)
    };
    let before = counted(&host);
    let noticed = async {
        while counted(&host) == before {
            told(&host, "a", json!([{"do": "log", "text": "after"}])).await;
        }
    };
    kit::within("a line that says what was left out", noticed).await;
    count(&*watch.expect(&event("log.suppressed").of("a")).await);
    // What is saved up for a second, and what a slow machine earns meanwhile.
    assert!((1..2_000).contains(&lines), "{lines} lines of 20,000");
    assert!(lines + left_out >= 20_000, "{lines} written and {left_out} left out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_are_bounded() {
    let host = with(json!({}), |budget| budget.timers_max = 2).await;
    let timer = |name: &str| json!({"do": "once", "name": name, "ms": 60_000});
    assert_eq!(told(&host, "a", json!([timer("t"), timer("u")])).await, [json!("ok"), json!("ok")]);
    let (_, results) = kit::expect(&host, breach("timers_max", 2), told(&host, "a", json!([timer("v")]))).await;
    assert!(results[0].to_string().contains("timers_max = 2 of agent a"), "{results:?}");
    told(&host, "a", json!([{"do": "cancel", "name": "t"}])).await;
    assert_eq!(told(&host, "a", json!([timer("v")])).await, [json!("ok")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_is_set_anew_takes_no_other_place() {
    let host = with(json!({}), |budget| budget.timers_max = 2).await;
    let timer = |name: &str| json!({"do": "once", "name": name, "ms": 60_000});
    assert_eq!(told(&host, "a", json!([timer("t"), timer("u")])).await, [json!("ok"), json!("ok")]);
    assert_eq!(told(&host, "a", json!([timer("t")])).await, [json!("ok")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_are_bounded() {
    let host = with(json!({}), |budget| budget.handles_max = 2).await;
    let ops = json!([{"do": "monitor", "name": "b"}, {"do": "subscribe", "pattern": "x"}]);
    assert_eq!(told(&host, "a", ops).await, [json!("ok"), json!("ok")]);
    let ask = json!([{"do": "ask", "to": "b", "kind": "k"}]);
    let (_, results) = kit::expect(&host, breach("handles_max", 2), told(&host, "a", ask)).await;
    assert!(results[0].to_string().contains("handles_max = 2 of agent a"), "{results:?}");
    assert!(came(&host, "b").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_out_are_bounded_per_second() {
    let host = with(json!({}), |budget| budget.out_messages_per_s_max = 100).await;
    let flood = json!([{"do": "send", "to": "b", "kind": "k", "times": 5_000}]);
    let (_, results) = kit::expect(&host, breach("out_messages_per_s_max", 100), told(&host, "a", flood)).await;
    assert!(results[0].to_string().contains("out_messages_per_s_max = 100"), "{results:?}");
    let host = with(json!({}), |budget| budget.out_bytes_per_s_max = 10_000).await;
    let flood = json!([{"do": "send", "to": "b", "kind": "k", "bytes": 1_000, "times": 200}]);
    let (_, results) = kit::expect(&host, breach("out_bytes_per_s_max", 10_000), told(&host, "a", flood)).await;
    assert!(results[0].to_string().contains("out_bytes_per_s_max = 10000"), "{results:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_what_is_denied_is_told_a_few_times_and_counted_each_time() {
    let host = Draft::new()
        .puppet_with("a", Durability::None, json!({}), |spec| spec.grants.send_to.clear())
        .puppet("b", Durability::None, json!({}))
        .run()
        .await;
    let mut watch = Watch::on(&host);
    let began = std::time::Instant::now();
    let denied = json!([{"do": "send", "to": "b", "kind": "k"}]);
    for _ in 0..500 {
        assert!(told(&host, "a", denied.clone()).await[0].to_string().contains("denied"));
    }
    let events_max = 16 * (began.elapsed().as_secs() as usize + 2);
    kit::expect(&host, event("custom").of("b"), send(&host, "b", "fence", json!(0))).await;
    let told = watch.capture(&event("grant.denied").of("a"), &event("custom").of("b")).await;
    assert!((1..=events_max.min(250)).contains(&told.len()), "{} events of 500", told.len());
    let counters = host.counters().values;
    let counted = counters.iter().find(|(name, _)| name == "grant.denied").map(|(_, count)| *count);
    assert_eq!(counted, Some(500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_refused_wherever_it_comes_from() {
    let host = with(json!({}), |_| {}).await;
    let big = Bytes::from(vec![b'1'; (1 << 20) + 1]);
    let error = host.ask("a", "k", big, AskOptions::default()).await.expect_err("too large");
    assert_eq!(error.code(), "E_TOO_LARGE");
    let results = told(&host, "b", json!([{"do": "send", "to": "a", "kind": "k", "bytes": (1 << 20) + 1}])).await;
    assert_eq!(results, [json!("error: the body is over the limit of 1048576 bytes")]);
    host.ask("a", "k", Bytes::from(vec![b'1'; 1 << 20]), AskOptions::default()).await.expect("just fits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_reply_fails_its_own_turn_or_message_only() {
    let on = json!({"huge": [{"do": "big", "bytes": 3 << 20}]});
    let host = with(on, |_| {}).await;
    let error = ask(&host, "a", "huge", json!(0)).await.expect_err("a reply that is too large");
    assert!(["E_REFUSED", "E_DEAD_LETTER"].contains(&error.code()), "{error}");
    others_go_on(&host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_sends_to_itself_for_ever_keeps_nobody_waiting_and_ends_at_its_hops() {
    let draft = Draft::new().agent("storm", "faults", Durability::None).puppet("b", Durability::None, json!({}));
    let host = draft.start().await;
    let mut watch = Watch::on(&host);
    send(&host, "storm", "loop-self", json!(null)).await;
    for _ in 0..20 {
        assert!(ask(&host, "b", "anything", json!(0)).await.is_ok(), "others are served meanwhile");
    }
    let refused = watch.expect(&event("message.refused").of("storm")).await;
    let why = kit::field(&refused, "why").expect("a reason");
    assert!(why.contains("1000000 hops since the message came from outside"), "{why}");
    ask(&host, "storm", "echo", json!(0)).await.expect("a reply");
    // The first one, which has made no hop, and the ask.
    assert_eq!(host.inspect("storm").expect("an agent").view.handled, u64::from(HOPS_MAX) + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_that_flood_each_other_keep_nobody_waiting() {
    let echo = |to: &str| json!({"ball": [{"do": "send", "to": to, "kind": "ball"}]});
    let host = Draft::new()
        .puppet("ping", Durability::None, echo("pong"))
        .puppet("pong", Durability::None, echo("ping"))
        .puppet("b", Durability::None, json!({}))
        .start()
        .await;
    for _ in 0..20 {
        host.send("ping", "ball", json_body(&json!(0)), SendOptions::default()).await.expect("sent");
    }
    for _ in 0..50 {
        assert!(ask(&host, "b", "anything", json!(0)).await.is_ok());
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinner_does_not_keep_others_from_their_turns() {
    let endless = |spec: &mut AgentSpec| {
        spec.budget.turn_cpu_ms_max = 60_000;
        spec.budget.turn_wall_ms_max = 120_000;
        spec.shutdown = Shutdown::Brutal;
    };
    let mut draft = Draft::new().puppet("b", Durability::None, json!({}));
    for n in 0..4 {
        draft =
            draft.puppet_with(&format!("spinner-{n}"), Durability::None, json!({"loop": [{"do": "spin"}]}), endless);
    }
    let host = draft.start().await;
    for n in 0..4 {
        let spinner = format!("spinner-{n}");
        kit::expect(&host, noted(&spinner, "loop 0"), send(&host, &spinner, "loop", json!(0))).await;
    }
    let mut watch = Watch::on(&host);
    let replies = async {
        for n in 0..20 {
            assert_eq!(ask(&host, "b", "anything", json!(n)).await.expect("a reply"), json!([]));
        }
    };
    kit::within("twenty replies", replies).await;
    send(&host, "b", "fence", json!(0)).await;
    let of_spinner = any_of(event("turn.committed"), event("turn.failed"))
        .when("of a spinner", |event| event.agent.as_ref().is_some_and(|agent| agent.name.as_str() != "b"));
    watch.refuse(&of_spinner, &noted("b", "fence 0")).await;
    let mut expected: Vec<_> = (0..20).map(|n| format!("anything {n}")).collect();
    expected.push("fence 0".to_owned());
    assert_eq!(came(&host, "b").await, expected);
    kit::within("the end of the host", host.shutdown()).await;
}
