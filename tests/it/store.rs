//! The store under the turns: what a commit means, what happens when it fails, and who may have a data directory.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use skep_core::MessageId;
use skep_core::clock::Clock;
use skep_core::spec::Durability;
use skep_runtime::{Host, RealClock};
use skep_tests::faulty::{FaultyStore, Turns};
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event, exited};
use skep_tests::puppet::{ask, came, history, noted, send, told, try_send};

/// `a` passes on what it gets to `b`, both durable; `none` has no durability.
fn draft() -> Draft {
    let on = json!({
        "pass": [{"do": "put", "key": "passed", "value": 1}, {"do": "send", "to": "b", "kind": "n", "body": 1}],
        "busy": [{"do": "call", "to": "none", "kind": "hold", "ms": 30_000}],
    });
    Draft::new().puppet("a", Durability::Full, on).puppet("b", Durability::Full, json!({})).puppet(
        "none",
        Durability::None,
        json!({"hold": [{"do": "later"}]}),
    )
}

async fn on(store: &FaultyStore) -> Host {
    draft().builder().store(Arc::new(store.clone())).start().await.expect("the hive starts")
}

async fn fence(host: &Host, agent: &str) {
    kit::expect(host, noted(agent, "fence 0"), send(host, agent, "fence", json!(0))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_turn_leaves_before_its_commit() {
    let store = FaultyStore::default();
    let host = on(&store).await;
    store.turns(Turns::Hold);
    let mut watch = Watch::on(&host);
    send(&host, "a", "pass", json!(0)).await;
    watch.expect(&noted("a", "pass 0")).await;
    send(&host, "none", "fence", json!(0)).await;
    watch.refuse(&event("custom").of("b"), &noted("none", "fence 0")).await;
    store.turns(Turns::Commit);
    watch.expect(&noted("b", "n 1 from a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_durability_does_not_wait_for_the_store() {
    let store = FaultyStore::default();
    let host = on(&store).await;
    store.turns(Turns::Hold);
    kit::expect(&host, noted("a", "pass 0"), send(&host, "a", "pass", json!(0))).await;
    for n in 0..10 {
        ask(&host, "none", "k", json!(n)).await.expect("a reply");
    }
    store.turns(Turns::Commit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_undoes_its_turns_and_they_come_again_in_order() {
    let store = FaultyStore::default();
    let host = on(&store).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "busy", json!(0)).await;
    watch.expect(&noted("none", "hold null from a")).await;
    for n in 0..20 {
        send(&host, "a", "n", json!(n)).await;
    }
    send(&host, "a", "pass", json!(0)).await;
    store.turns(Turns::NoRoom);
    told(&host, "none", json!([{"do": "answer", "body": "go on"}])).await;
    watch.expect_times(3, &event("commit.failed").of("a")).await;
    told(&host, "none", json!([{"do": "once", "name": "t", "ms": 50}])).await;
    watch.refuse(&event("custom").of("b"), &noted("none", "timer t")).await;
    store.turns(Turns::Commit);
    watch.expect(&noted("b", "n 1 from a")).await;
    let mut expected = vec!["busy 0".to_owned()];
    expected.extend((0..20).map(|n| format!("n {n}")));
    expected.push("pass 0".to_owned());
    assert_eq!(came(&host, "a").await, expected, "no attempt is counted, nothing is doubled");
    assert_eq!(came(&host, "b").await, ["n 1 from a"]);
    assert!(host.dead_letters(10).expect("dead letters").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_to_who_sends_and_is_no_reason_to_end() {
    let store = FaultyStore::default();
    let host = on(&store).await;
    store.all(Turns::NoRoom);
    let error = try_send(&host, "a", "n", json!(0)).await.expect_err("no room on the disk");
    assert_eq!(error.code(), "E_STORE_NO_ROOM", "{error}");
    store.all(Turns::Commit);
    fence(&host, "a").await;
    assert_eq!(came(&host, "a").await, ["fence 0"], "what was not acknowledged has not happened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_not_run_against_without_a_pause() {
    let store = FaultyStore::default();
    let host = on(&store).await;
    store.all(Turns::NoRoom);
    let mut watch = Watch::on(&host);
    let asked = tokio::spawn({
        let host = host.clone();
        async move { told(&host, "a", json!([{"do": "put", "key": "k", "value": 1}])).await }
    });
    watch.expect(&event("commit.failed").of("a")).await;
    told(&host, "none", json!([{"do": "once", "name": "t", "ms": 300}])).await;
    watch.expect(&noted("none", "timer t")).await;
    // After 10 ms, 20, 40, 80 and 160.
    assert!(store.refused() < 12, "{} commits against a full disk", store.refused());
    store.all(Turns::Commit);
    assert_eq!(asked.await.expect("no panic").len(), 1, "what waited for the disk has happened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_disk_takes_the_hive_down_and_says_why() {
    let store = FaultyStore::default();
    let host = on(&store).await;
    store.turns(Turns::Break);
    kit::expect(&host, event("hive.down"), send(&host, "a", "n", json!(0))).await;
    let reason = kit::within("the end of the hive", host.ended()).await.to_string();
    assert!(reason.contains("the store failed"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_cannot_be_read_is_an_exit_and_never_a_fresh_start() {
    let store = FaultyStore::default();
    let mut draft = draft();
    draft.spec.root.intensity = 1;
    let host = draft.builder().store(Arc::new(store.clone())).start().await.expect("the hive starts");
    send(&host, "a", "n", json!(1)).await;
    fence(&host, "a").await;
    store.unreadable(true);
    let mut watch = Watch::on(&host);
    let never_read = json!([{"do": "get", "key": "never read before"}]);
    let _ = host.send("a", "do", never_read.to_string().into(), Default::default()).await;
    watch.expect(&exited("a", "state-unreadable")).await;
    // Its restart cannot read it either, so its supervisor gives up, and nothing was overwritten.
    watch.expect(&event("supervisor.escalated")).await;
    kit::within("the end of the hive", host.ended()).await;
    drop(host);
    store.unreadable(false);
    let host = on(&store).await;
    let lines = history(&host, "a").await;
    assert_eq!(lines[..3], ["start fresh", "n 1", "fence 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_of_another_shape_is_an_error_for_an_operator_and_never_a_fresh_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = Draft::new().agent("a", "counter", Durability::Full).start_in(dir.path()).await;
    assert_eq!(ask(&host, "a", "add", json!({"by": 3})).await.expect("a reply"), json!(3));
    host.shutdown().await;
    drop(host);
    // The same agent, of a plugin that knows nothing of what is stored.
    let other = Draft::new().agent("a", "puppet", Durability::Full);
    let error = other.builder().data_dir(dir.path()).start().await.err().expect("a failure");
    assert_eq!(error.code(), "E_START_FAILED");
    let text = error.to_string();
    assert!(text.contains("agent a") && text.contains("stored state"), "{text}");
    let host = Draft::new().agent("a", "counter", Durability::Full).start_in(dir.path()).await;
    assert_eq!(ask(&host, "a", "get", Value::Null).await.expect("a reply"), json!(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_host_on_the_same_data_directory_is_refused_and_told_who_has_it() {
    let host = draft().run().await;
    let error = draft().builder().data_dir(host.dir()).start().await.err().expect("a lock");
    assert_eq!(error.code(), "E_STORE_LOCKED");
    let text = error.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    assert!(ask(&host, "a", "k", json!(0)).await.is_ok(), "the first one goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_cannot_be_used_is_refused_with_its_path() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, b"not a directory").expect("a file");
    for path in
        [file.clone(), file.join("below"), dir.path().join("no").join("such").join("parent"), "/proc/skep".into()]
    {
        let error = draft().builder().data_dir(&path).start().await.err().expect("a refusal");
        assert_eq!(error.code(), "E_STORE_DIR", "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durability_without_a_data_directory_is_refused() {
    let error = draft().builder().start().await.err().expect("a refusal");
    assert_eq!(error.code(), "E_HIVE_INVALID");
    let text = error.to_string();
    assert!(text.contains("agent a: durability full needs a data directory") && text.contains("agent b"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_instances_of_durable_agents_are_only_a_cache() {
    let mut draft = Draft::new();
    for n in 0..12 {
        draft = draft.puppet(&format!("p{n}"), Durability::Process, json!({}));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let host = draft.builder().data_dir(dir.path()).live_instances_max(4).start().await.expect("the hive starts");
    for round in 0..3 {
        for n in 0..12 {
            ask(&host, &format!("p{n}"), "n", json!(round)).await.expect("a reply");
        }
    }
    for n in 0..12 {
        assert_eq!(history(&host, &format!("p{n}")).await, ["start fresh", "n 0", "n 1", "n 2"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_place_gets_that_of_the_next_turn_that_ends() {
    let on = json!({"busy": [{"do": "call", "to": "gate", "kind": "hold", "ms": 60_000}]});
    let draft = Draft::new().puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]}));
    let draft = draft.puppet("a", Durability::Process, on).puppet("b", Durability::Process, json!({}));
    let dir = tempfile::tempdir().expect("a directory");
    let host = draft.builder().data_dir(dir.path()).live_instances_max(2).start().await.expect("the hive starts");
    kit::expect(&host, noted("gate", "hold null from a"), send(&host, "a", "busy", json!(0))).await;
    // One place is held by a turn, the other by an agent without durability.
    let mut waits = pin!(ask(&host, "b", "n", json!(0)));
    tokio::select! {
        biased;
        reply = &mut waits => panic!("a place too many: {reply:?}"),
        () = std::future::ready(()) => {}
    }
    let (reply, _) = tokio::join!(waits, told(&host, "gate", json!([{"do": "answer"}])));
    reply.expect("a reply");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_dropped_after_every_turn_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let draft = Draft::new().puppet("a", Durability::Process, json!({"hold": [{"do": "later"}]}));
    let builder = draft.builder().data_dir(dir.path()).drop_instances(true);
    let host = builder.start().await.expect("the hive starts");
    kit::expect(&host, noted("a", "hold 0"), send(&host, "a", "hold", json!(0))).await;
    let held = host.ask("a", "hold", "1".into(), Default::default());
    let mut watch = Watch::on(&host);
    let answered = async {
        watch.expect(&noted("a", "hold 1")).await;
        told(&host, "a", json!([{"do": "answer", "body": "kept"}])).await
    };
    let (reply, _) = tokio::join!(held, answered);
    assert_eq!(reply.expect("a reply").as_ref(), b"\"kept\"");
    assert!(host.inspect("a").expect("an agent").memory_bytes.is_none(), "there is no instance between turns");
    assert_eq!(history(&host, "a").await, ["start fresh", "hold 0", "hold 1"]);
}

/// A durable `a` that fails on poison.
async fn poisoned(store: &FaultyStore) -> Host {
    let draft = Draft::new().puppet("a", Durability::Full, json!({"poison": [{"do": "trap"}]}));
    let draft = draft.puppet("none", Durability::None, json!({}));
    draft.builder().store(Arc::new(store.clone())).start().await.expect("the hive starts")
}

async fn dead(host: &Host) -> MessageId {
    kit::expect(host, event("message.dead-letter").of("a"), send(host, "a", "poison", json!("x"))).await.1
}

fn letters(host: &Host) -> usize {
    host.dead_letters(10).expect("dead letters").len()
}

async fn end(host: Host) {
    host.shutdown().await;
    drop(host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_is_written_when_the_disk_has_room_again() {
    let store = FaultyStore::default();
    let host = poisoned(&store).await;
    store.turns(Turns::NoRoom);
    dead(&host).await;
    let later = told(&host, "none", json!([{"do": "once", "name": "t", "ms": 50}]));
    kit::expect(&host, noted("none", "timer t"), later).await;
    assert!(store.refused() > 0, "the dead letter had no room");
    store.turns(Turns::Commit);
    fence(&host, "a").await;
    end(host).await;
    let host = poisoned(&store).await;
    fence(&host, "a").await;
    assert_eq!((letters(&host), host.inspect("a").expect("an agent").turns_failed), (1, 0), "it does not come again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_at_the_end_is_counted_and_said() {
    let store = FaultyStore::default();
    let host = poisoned(&store).await;
    store.turns(Turns::NoRoom);
    dead(&host).await;
    let mut watch = Watch::on(&host);
    kit::within("the end of the host", host.shutdown()).await;
    watch.expect(&event("commit.failed").saying("2 writes that nobody waits for are given up")).await;
    assert!(host.counters().values.contains(&("writes.given-up".to_owned(), 2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_disk_takes_the_hive_down_whatever_was_to_be_written() {
    let store = FaultyStore::default();
    let host = on(&store).await;
    store.all(Turns::Break);
    let mut watch = Watch::on(&host);
    let error = try_send(&host, "a", "n", json!(0)).await.expect_err("a broken disk");
    assert_eq!(error.code(), "E_STORE_FATAL", "{error}");
    watch.expect(&event("hive.down")).await;
    let reason = kit::within("the end of the hive", host.ended()).await.to_string();
    assert!(reason.contains("the store failed"), "{reason}");
}

/// Panics once, where effects are let out.
#[derive(Default)]
struct Trap {
    clock: RealClock,
    set: AtomicBool,
}

impl Clock for Trap {
    fn wall_ns(&self) -> u64 {
        if std::thread::current().name() == Some("skep-release") && self.set.swap(false, Ordering::SeqCst) {
            panic!("the clock has stopped");
        }
        self.clock.wall_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_after_a_commit_takes_the_hive_down_and_says_why() {
    let (store, clock) = (FaultyStore::default(), Arc::new(Trap::default()));
    let builder = draft().builder().store(Arc::new(store.clone())).clock(clock.clone());
    let host = builder.start().await.expect("the hive starts");
    let mut watch = Watch::on(&host);
    // After a commit that failed the next one is the writer's, and what follows it the releaser's.
    store.turns(Turns::NoRoom);
    send(&host, "a", "n", json!(0)).await;
    watch.expect(&event("commit.failed").of("a")).await;
    clock.set.store(true, Ordering::SeqCst);
    store.turns(Turns::Commit);
    let reason = kit::within("the end of the hive", host.ended()).await.to_string();
    assert!(reason.contains("panicked: the clock has stopped"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_written_after_the_end_is_refused() {
    let store = FaultyStore::default();
    let host = poisoned(&store).await;
    let id = dead(&host).await;
    host.shutdown().await;
    let dropped = kit::within("an answer", host.drop_dead_letter(id)).await;
    assert!(dropped.expect_err("the host has stopped").to_string().contains("the host has stopped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_whose_caller_has_gone_is_done_and_forgets_the_letter_with_it() {
    let store = FaultyStore::default();
    let host = poisoned(&store).await;
    let id = dead(&host).await;
    end(host).await;
    let host = on(&store).await;
    let mut watch = Watch::on(&host);
    store.all(Turns::Hold);
    {
        let mut retry = pin!(host.retry_dead_letter(id));
        assert!(
            std::future::poll_fn(|context| std::task::Poll::Ready(retry.as_mut().poll(context).is_pending())).await
        );
    }
    store.all(Turns::Commit);
    watch.expect(&noted("a", "poison \"x\" retried")).await;
    end(host).await;
    let host = on(&store).await;
    assert_eq!((letters(&host), came(&host, "a").await), (0, vec!["poison \"x\" retried".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_is_not_taken_leaves_the_letter() {
    let store = FaultyStore::default();
    let host = poisoned(&store).await;
    let id = dead(&host).await;
    fence(&host, "a").await;
    store.all(Turns::NoRoom);
    assert_eq!(host.retry_dead_letter(id).await.expect_err("no room").code(), "E_STORE_NO_ROOM");
    assert_eq!(letters(&host), 1);
    store.all(Turns::Commit);
    end(host).await;
    assert_eq!(letters(&poisoned(&store).await), 1);
}
