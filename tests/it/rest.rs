//! Agents that rest, go and come again: whose state is whose, what an undone turn leaves behind, what a host finds that
//! others have left.

use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, Durability, Restart};
use skep_runtime::Host;
use skep_tests::faulty::{FaultyStore, Turns};
use skep_tests::guests::variant;
use skep_tests::hives::{Draft, agent_spec, telemetry};
use skep_tests::kit::{self, Watch, event, exited, ready};
use skep_tests::puppet::{ask, came, history, noted, send, told, try_told};

fn put() -> Value {
    json!([{"do": "put", "key": "k", "value": 7}])
}

/// An agent that nobody has declared, with state of its own.
async fn added(host: &Host, agent: &str) {
    host.spawn(None, agent_spec(agent, "puppet", Durability::Full)).await.expect("an agent");
}

fn has(host: &Host, agent: &str) -> bool {
    host.inspect(agent).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_agent_that_was_stopped_and_spawned_again_is_the_same_one_and_stays() {
    let host = Draft::new().puppet("a", Durability::Full, json!({})).run().await;
    added(&host, "x").await;
    told(&host, "x", put()).await;
    host.stop("x", false).await.expect("a stop");
    assert!(!has(&host, "x"));
    added(&host, "x").await;
    let host = host.again().await;
    assert_eq!(history(&host, "x").await, ["start fresh", "start restarted", "start restarted"]);
    host.stop("x", false).await.expect("a stop");
    let host = host.again().await;
    assert!(!has(&host, "x"), "it was stopped for good");
    let spawn = json!([{"do": "spawn", "name": "x", "plugin": "puppet", "durability": "full"}]);
    kit::expect(&host, ready("x"), told(&host, "a", spawn)).await;
    let host = host.again().await;
    let starts = history(&host, "x").await;
    assert_eq!(starts.iter().filter(|line| *line == "start fresh").count(), 1, "{starts:?}");
    host.stop("x", true).await.expect("a stop");
    added(&host, "x").await;
    assert_eq!(history(&host, "x").await, ["start fresh"], "nothing is left of what was purged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawn_that_is_undone_leaves_the_state_of_who_had_the_name() {
    let spawn = json!({"do": "spawn", "name": "x", "plugin": "puppet", "durability": "full"});
    let on = json!({"refuse": [spawn, {"do": "refuse", "text": "no"}], "trap": [spawn, {"do": "trap"}]});
    let host = Draft::new().puppet("a", Durability::Full, on).run().await;
    added(&host, "x").await;
    host.stop("x", false).await.expect("a stop");
    for kind in ["refuse", "trap"] {
        ask(&host, "a", kind, json!(0)).await.expect_err("it fails");
    }
    kit::expect(&host, ready("x"), told(&host, "a", json!([spawn]))).await;
    assert_eq!(history(&host, "x").await, ["start fresh", "start restarted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_at_rest_that_comes_back_under_another_version_is_migrated() {
    let host = Draft::new().puppet("a", Durability::Full, json!({})).run().await;
    added(&host, "x").await;
    host.stop("x", false).await.expect("a stop");
    let file = variant("puppet", host.dir(), 1);
    host.swap("puppet", &file).await.expect("a swap");
    added(&host, "x").await;
    assert_eq!(history(&host, "x").await, ["start fresh", "start upgraded"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_the_manifest_has_no_more_rests_and_its_state_is_kept() {
    let whole = Draft::new().puppet("a", Durability::Full, json!({})).agent("b", "counter", Durability::Full);
    let host = whole.clone().run().await;
    told(&host, "a", put()).await;
    let without = |_| Draft::new().agent("b", "counter", Durability::Full);
    let host = host.again_as(without).await;
    assert!(!has(&host, "a") && has(&host, "b"));
    let left_out = host.recent(100).into_iter().filter(|event| event.what.name() == "agent.left-out").count();
    assert_eq!(left_out, usize::from(telemetry()));
    let host = host.again_as(|_| whole).await;
    assert_eq!(history(&host, "a").await, ["start fresh", "start restarted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_monitors_of_who_has_not_come_back_end_once() {
    let both = Draft::new().puppet("a", Durability::Full, json!({}));
    let host = both.clone().puppet("b", Durability::None, json!({})).run().await;
    told(&host, "a", json!([{"do": "link", "name": "b"}, {"do": "monitor", "name": "b"}])).await;
    let mut host = host;
    for _ in 0..3 {
        let draft = both.clone();
        host = host.again_as(|_| draft).await;
        kit::expect(&host, noted("a", "fence 0"), send(&host, "a", "fence", json!(0))).await;
        assert_eq!(host.inspect("a").expect("an agent").view.restarts, 0, "the link ended with the host");
    }
    let downs: Vec<_> = came(&host, "a").await.into_iter().filter(|line| line.starts_with("down")).collect();
    assert_eq!(downs, ["down b: no-agent"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_was_reserved_ahead_is_given_back() {
    let send = |bytes: usize| json!({"do": "send", "to": "b", "kind": "n", "bytes": bytes, "times": 2});
    let draft = Draft::new().puppet("a", Durability::None, json!({}));
    let small = |spec: &mut AgentSpec| spec.budget.mailbox_bytes_max = 2 << 20;
    let host = draft.puppet_with("b", Durability::None, json!({}), small).start().await;
    for _ in 0..20 {
        told(&host, "a", json!([send(150_000), send(1)])).await;
        ask(&host, "b", "fence", json!(0)).await.expect("a reply");
    }
    let detail = host.inspect("b").expect("an agent");
    assert_eq!((detail.promised_messages, detail.promised_bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_was_reserved_ahead_at_one_that_has_ended_is_given_back() {
    let send_it =
        |bytes: usize, times: u32| json!({"do": "send", "to": "b", "kind": "n", "bytes": bytes, "times": times});
    let burst = json!([send_it(1, 3), {"do": "call", "to": "gate", "kind": "hold", "ms": 30_000}, send_it(9_000, 1)]);
    let draft = Draft::new().puppet("a", Durability::None, json!({"burst": burst}));
    let draft = draft.puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]}));
    let host = draft.puppet("b", Durability::None, json!({})).start().await;
    kit::expect(&host, noted("gate", "hold null from a"), send(&host, "a", "burst", json!(0))).await;
    host.stop("b", false).await.expect("a stop");
    let lost = event("message.dead-letter").of("b");
    let mut watch = Watch::on(&host);
    told(&host, "gate", json!([{"do": "answer"}])).await;
    watch.expect_times(3, &lost).await;
    ask(&host, "a", "fence", json!(0)).await.expect("a reply");
    host.restart("b").await.expect("a start");
    let detail = host.inspect("b").expect("an agent");
    assert_eq!((detail.promised_messages, detail.promised_bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_older_than_its_parent_comes_back_as_its_child() {
    let host = Draft::new().puppet("a", Durability::Full, json!({})).run().await;
    added(&host, "child").await;
    host.stop("child", false).await.expect("a stop");
    added(&host, "parent").await;
    let spawn = json!([{"do": "spawn", "name": "child", "plugin": "puppet", "durability": "full", "owned": true}]);
    kit::expect(&host, ready("child"), told(&host, "parent", spawn)).await;
    let host = host.again().await;
    assert_eq!(history(&host, "child").await, ["start fresh", "start restarted", "start restarted"]);
    let mut watch = Watch::on(&host);
    host.stop("parent", false).await.expect("a stop");
    watch.gone("child").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_gives_back_what_it_had_reserved() {
    let start = json!([
        {"do": "send", "to": "b", "kind": "n", "times": 3},
        {"do": "spawn", "name": "kid", "plugin": "puppet"},
        {"do": "refuse", "text": "not today"},
    ]);
    let on = json!({"start:restarted": start, "broken": [{"do": "exit", "reason": "broken"}]});
    let draft = Draft::new().puppet("b", Durability::None, json!({}));
    let mut draft = draft.puppet("a", Durability::Full, on);
    draft.spec.root.intensity = 5;
    let under = skep_core::spec::SupervisorSpec {
        restart: Restart::Temporary,
        children: vec![draft.spec.root.children.pop().expect("a child")],
        intensity: 5,
        ..skep_core::spec::SupervisorSpec::new(skep_tests::hives::name("team"))
    };
    draft.spec.root.children.push(skep_core::spec::ChildSpec::Supervisor(under));
    let host = draft.run().await;
    kit::expect(&host, event("supervisor.escalated"), send(&host, "a", "broken", json!(0))).await;
    ask(&host, "b", "fence", json!(0)).await.expect("a reply");
    let detail = host.inspect("b").expect("an agent");
    assert_eq!((detail.promised_messages, detail.promised_bytes), (0, 0));
    assert!(!has(&host, "kid"), "nobody has it");
    kit::expect(&host, ready("kid"), told(&host, "b", json!([{"do": "spawn", "name": "kid", "plugin": "puppet"}])))
        .await;
    host.stop("kid", false).await.expect("a stop that ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_could_not_be_committed_has_not_happened() {
    let store = FaultyStore::default();
    let host =
        Draft::new().puppet("a", Durability::None, json!({})).builder().store(std::sync::Arc::new(store.clone()));
    let host = host.start().await.expect("the hive starts");
    let on = json!({"start:fresh": [{"do": "get", "key": "k"}, {"do": "put", "key": "k", "value": 1}]});
    let mut spec = agent_spec("x", "puppet", Durability::Full);
    spec.config_json = json!({ "on": on }).to_string();
    store.all(Turns::NoRoom);
    host.spawn(None, spec.clone()).await.expect_err("no room");
    store.all(Turns::Commit);
    host.spawn(None, spec).await.expect("an agent");
    assert_eq!(history(&host, "x").await, ["start fresh"]);
    assert_eq!(told(&host, "x", json!([{"do": "get", "key": "k"}])).await, [json!(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_while_its_plugin_is_swapped_follows() {
    let slow = json!({"start:fresh": [{"do": "call", "to": "gate", "kind": "hold", "ms": 30_000}]});
    let mut spec = agent_spec("x", "puppet", Durability::Full);
    spec.config_json = json!({ "on": slow }).to_string();
    let hold = json!({"hold": [{"do": "later"}]});
    let mut draft = Draft::new().puppet("gate", Durability::None, hold);
    draft = draft.plugin_at("other", skep_tests::guests::component("puppet"));
    let host = draft.run().await;
    spec.plugin = skep_tests::hives::name("other");
    let mut watch = Watch::on(&host);
    let spawned = tokio::spawn({
        let host = (*host).clone();
        async move { host.spawn(None, spec).await }
    });
    watch.expect(&noted("gate", "hold null from x")).await;
    let receipt = host.swap("other", &variant("puppet", host.dir(), 2)).await.expect("a swap");
    assert!(receipt.agents.is_empty());
    told(&host, "gate", json!([{"do": "answer", "body": "go"}])).await;
    spawned.await.expect("no panic").expect("an agent");
    watch.sequence(&[ready("x"), ready("x").with("why", "upgraded")]).await;
    assert_eq!(host.inspect("x").expect("an agent").view.digest, receipt.to);
    assert_eq!(history(&host, "x").await, ["start fresh", "start upgraded"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_an_added_agent_while_the_host_stops_is_there_afterwards() {
    let on = json!({"stop": [{"do": "send", "to": "x", "kind": "last", "body": 1}]});
    let host = Draft::new().puppet("a", Durability::Full, on).with_instances_kept().run().await;
    added(&host, "x").await;
    let host = host.again().await;
    ask(&host, "x", "fence", json!(0)).await.expect("a reply");
    assert_eq!(came(&host, "x").await, ["last 1 from a", "fence 0"]);
    assert!(host.dead_letters(10).expect("dead letters").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_is_refused_leaves_the_agent_as_it_was() {
    let team = skep_core::spec::SupervisorSpec {
        auto_shutdown: skep_core::spec::AutoShutdown::AnySignificant,
        restart: Restart::Temporary,
        ..skep_tests::hives::supervisor("team", skep_core::spec::Strategy::OneForOne)
    };
    let significant = |spec: &mut AgentSpec| {
        spec.significant = true;
        spec.restart = Restart::Transient;
    };
    let on = json!({"normal": [{"do": "exit", "reason": "normal"}]});
    let children = Draft::new().puppet_with("a", Durability::Full, on, significant);
    let host = Draft::new().under(team, children).run().await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "normal", json!(0)).await;
    watch.expect(&event("supervisor.ended").with("supervisor", "team")).await;
    host.restart("a").await.expect_err("its supervisor has ended");
    assert!(try_told(&host, "a", json!([])).await.is_err(), "it takes nothing");
}

/// The callee owes its reply when the host ends; the caller's turn comes again after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_owed_when_the_host_ends_is_handled_once() {
    let brutal = |spec: &mut AgentSpec| spec.shutdown = skep_core::spec::Shutdown::Brutal;
    let work = json!({"work": [{"do": "call", "to": "b", "kind": "hold", "ms": 30_000}]});
    let draft = Draft::new().puppet("b", Durability::Full, json!({"hold": [{"do": "later"}]}));
    let host = draft.puppet_with("a", Durability::Full, work, brutal).run().await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "work", json!(0)).await;
    watch.expect(&event("turn.committed").of("b")).await;
    let host = host.again().await;
    let mut watch = Watch::on(&host);
    told(&host, "b", json!([{"do": "answer", "body": "at last"}])).await;
    watch.expect(&event("turn.committed").of("a")).await;
    assert_eq!(came(&host, "b").await, ["hold null from a"]);
    assert_eq!(came(&host, "a").await, ["work 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_at_agents_and_who_starts_them_do_not_wait_for_each_other() {
    let host = Draft::new().puppet("a", Durability::Full, json!({})).run().await;
    let looks = (*host).clone();
    // It looks until the other end is gone, which it is too if this test fails.
    let (alive, watched) = std::sync::mpsc::channel::<()>();
    let looking = std::thread::spawn(move || {
        while watched.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let _ = (looks.agents(), looks.tree());
        }
    });
    for count in 0..100 {
        let name = format!("x-{count}");
        kit::within("an agent, without a deadlock", added(&host, &name)).await;
        kit::within("a stop, without a deadlock", host.stop(&name, true)).await.expect("a stop");
    }
    drop(alive);
    looking.join().expect("no panic");
    kit::expect(&host, exited("a", "shutdown"), host.stop("a", false)).await.1.expect("a stop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_agent_that_was_stopped_comes_back_with_the_host() {
    let host = Draft::new().puppet("a", Durability::Full, json!({})).run().await;
    host.stop("a", false).await.expect("a stop");
    assert!(try_told(&host, "a", json!([])).await.is_err(), "it takes nothing");
    let host = host.again().await;
    assert_eq!(history(&host, "a").await, ["start fresh", "start restarted"]);
}
