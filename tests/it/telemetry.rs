//! What an agent measures of itself, and what operators are told of its life that agents do not see: instances that are
//! dropped, messages that come again, asks that fail.

use serde_json::{Value, json};
use skep_core::event::What;
use skep_core::spec::{Durability, Restart};
use skep_runtime::Host;
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, send, told};

/// The metrics, spans and events of one `measure`, in the order in which they came.
async fn measured(host: &Host) -> Vec<Value> {
    let mut watch = Watch::on(host);
    send(host, "f", "measure", Value::Null).await;
    let all = kit::any_of(event("metric"), kit::any_of(event("custom"), event("span")));
    let found = watch.capture(&all.of("f"), &event("turn.committed").of("f")).await;
    let shown = found.iter().map(|event| match &event.what {
        What::Metric { form, name, value } => json!([form, name, value]),
        What::Custom { name, fields } => json!(["event", name, fields]),
        What::Span { name, parent, .. } => json!(["span", name, *parent > 0]),
        what => panic!("{what:?}"),
    });
    shown.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_measures_is_told_and_a_span_that_it_leaves_open_is_closed() {
    let host = Draft::new().agent("f", "faults", Durability::None).start().await;
    let expected = json!([
        ["counter", "faults.count", 2.0],
        ["gauge", "faults.gauge", 1.5],
        ["histogram", "faults.histogram", 2.5],
        ["event", "faults.event", [["key", "value"]]],
        ["span", "inner", true],
        ["span", "outer", false],
    ]);
    assert_eq!(json!(measured(&host).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_dropped_for_room_is_told_and_its_agent_shown_as_passive() {
    let draft = (0..6).fold(Draft::new(), |draft, n| draft.puppet(&format!("p{n}"), Durability::Process, json!({})));
    let dir = tempfile::tempdir().expect("a directory");
    let builder = draft.with_instances_kept().builder().data_dir(dir.path()).live_instances_max(2);
    let host = builder.start().await.expect("the hive starts");
    let mut watch = Watch::on(&host);
    for n in 0..6 {
        ask(&host, &format!("p{n}"), "n", json!(0)).await.expect("a reply");
    }
    let dropped = watch.expect(&event("agent.passive")).await;
    let agent = dropped.agent.as_ref().expect("an agent").name.to_string();
    assert!(agent.starts_with('p'), "{agent}");
    let passive = host.agents().iter().filter(|view| view.status.word() == "passive").count();
    assert!((4..6).contains(&passive), "{passive} of 6 are passive, and 2 may live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_again_is_told_with_its_attempt() {
    let host = Draft::new().agent("f", "faults", Durability::Full).run().await;
    let mut watch = Watch::on(&host);
    let message = send(&host, "f", "trap", json!({"attempts": 2})).await;
    let again = watch.capture(&event("message.redelivered").of("f"), &event("turn.committed").of("f")).await;
    let shown = |name: &str| again.iter().map(|event| kit::field(event, name).expect("a field")).collect::<Vec<_>>();
    assert_eq!(shown("attempt"), ["2", "3"]);
    assert_eq!(shown("message"), vec![message.to_string(); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_fails_is_told_with_the_word_of_its_failure() {
    let b = json!({
        "poison": [{"do": "trap"}],
        "hold": [{"do": "later"}],
        "end": [{"do": "later"}, {"do": "exit", "reason": "normal"}],
    });
    let host = Draft::new()
        .puppet("a", Durability::None, json!({}))
        .puppet_with("b", Durability::Full, b, |spec| spec.restart = Restart::Transient)
        .run()
        .await;
    for (kind, of, why) in [("poison", "b", "dead-letter"), ("hold", "a", "timeout"), ("end", "b", "down")] {
        let ops = json!([{"do": "ask", "to": "b", "kind": kind, "ms": if kind == "hold" { 50 } else { 30_000 }}]);
        let (failed, _) = kit::expect(&host, event("ask.failed"), told(&host, "a", ops)).await;
        let agent = failed.agent.as_ref().map(|agent| agent.name.to_string());
        assert_eq!((agent.as_deref(), kit::field(&failed, "why").as_deref()), (Some(of), Some(why)), "{kind}");
        let counters = host.counters().values;
        assert!(counters.iter().any(|(name, _)| *name == format!("ask.failed.{why}")), "{counters:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_has_timed_out_does_not_fail_once_more_with_its_callee() {
    for durability in [Durability::None, Durability::Full] {
        let draft = Draft::new().puppet("a", durability, json!({}));
        let host = draft.puppet("b", durability, json!({"hold": [{"do": "later"}]})).run().await;
        let ops = json!([{"do": "ask", "to": "b", "kind": "hold", "ms": 50}]);
        kit::expect(&host, event("ask.failed").with("why", "timeout"), told(&host, "a", ops)).await;
        let mut watch = Watch::on(&host);
        host.stop("b", false).await.expect("a stop");
        watch.refuse(&event("ask.failed"), &event("message.dropped").with("reason", "late-reply")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_reply_is_dropped_and_counted_and_one_by_a_timer_is_as_good_as_any() {
    for durability in [Durability::None, Durability::Full] {
        let host = Draft::new().agent("f", "faults", durability).run().await;
        let dropped = event("message.dropped").of("f").with("reason", "late-reply");
        let (_, reply) = kit::expect(&host, dropped, ask(&host, "f", "reply-twice", Value::Null)).await;
        assert_eq!(reply.expect("a reply"), json!(1));
        assert_eq!(ask(&host, "f", "reply-after", json!({"ms": 20})).await.expect("a reply"), json!("later"));
        assert_eq!(host.inspect("f").expect("an agent").replies_owed, 0);
    }
}
