//! Two hosts of one hive and a real server between them: agents address each other by name, with what is promised on one
//! host. The hosts are in this process; `cluster_kill` has them in processes of their own.

use std::time::Duration;

use serde_json::{Value, json};
use skep_core::spec::Durability;
use skep_runtime::{Host, NodeState};
use skep_tests::guests::variant;
use skep_tests::hives::{Draft, Nest};
use skep_tests::kit::{Watch, event};
use skep_tests::nats::NatsServer;
use skep_tests::puppet::{came, noted, told, try_told};

fn send(to: &str, kind: &str, body: impl Into<Value>) -> Value {
    json!({"do": "send", "to": to, "kind": kind, "body": body.into()})
}

fn ask(to: &str, kind: &str, ms: u64) -> Value {
    json!({"do": "ask", "to": to, "kind": kind, "body": 1, "ms": ms})
}

/// Waits until a host knows of another, in this state and with so many agents.
async fn until_known(host: &Host, peer: &str, state: NodeState, agents: u32) {
    let mut watch = Watch::on(host);
    let is_known = || {
        let nodes = host.nodes();
        nodes.iter().any(|node| node.host.as_str() == peer && node.state == state && node.agents == agents)
    };
    let news = ["name.seen", "host.up", "host.gone"].map(event);
    while !is_known() {
        watch.any_of(&news).await;
    }
}

/// Waits until nothing waits for a host any more.
async fn until_confirmed(host: &Host, peer: &str) {
    let waits = || host.nodes().iter().any(|node| node.host.as_str() == peer && node.outbox.messages > 0);
    skep_tests::kit::within("an empty outbox", async {
        while waits() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

struct Pair {
    nats: NatsServer,
    a: Nest,
    b: Nest,
}

/// Agent `a` on host `one` and agent `b` on host `two`, which know of each other.
async fn pair(durability: Durability, a: Value, b: Value) -> Pair {
    let nats = NatsServer::start().await;
    let a = Draft::new().puppet("a", durability, a).on_host("one", &nats).run().await;
    let b = Draft::new().puppet("b", durability, b).on_host("two", &nats).run().await;
    until_known(&a, "two", NodeState::Up, 1).await;
    until_known(&b, "one", NodeState::Up, 1).await;
    Pair { nats, a, b }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_two_hosts_tell_ask_and_call_each_other_by_name() {
    for durability in [Durability::None, Durability::Process, Durability::Full] {
        let on_b = json!({
            "order": [{"do": "note", "text": "ordered"}],
            "why": [{"do": "refuse", "text": "not you"}],
            "back": [send("a", "thanks", 2)],
        });
        let Pair { a, b, nats: _nats } = pair(durability, json!({}), on_b).await;
        let mut watch = Watch::on(&a);
        let ops = json!([send("b", "note", 1), ask("b", "order", 9_000), ask("b", "why", 9_000), send("b", "back", 3)]);
        let sent = told(&a, "a", ops).await;
        assert!(!sent.iter().any(|result| result.to_string().contains("error")), "{sent:?}");
        watch.expect(&noted("a", "thanks 2 from b")).await;
        let call = json!({"do": "call", "to": "b", "kind": "order", "body": 5, "ms": 9_000});
        assert_eq!(told(&a, "a", json!([call])).await, [json!(["ok"])]);
        let came_b = came(&b, "b").await;
        let expected = [
            "note 1 from a",
            "order 1 from a",
            "ordered",
            "why 1 from a",
            "back 3 from a",
            "order 5 from a",
            "ordered",
        ];
        let without_refused: Vec<&str> = expected.into_iter().filter(|line| !line.starts_with("why")).collect();
        assert_eq!(came_b, without_refused);
        let came_a = came(&a, "a").await;
        assert_eq!(came_a.len(), 3, "{came_a:?}");
        assert!(came_a.iter().any(|line| line.starts_with("answer") && line.contains("ok")), "{came_a:?}");
        assert!(came_a.iter().any(|line| line.contains("not you")), "{came_a:?}");
        until_confirmed(&a, "two").await;
        assert!(a.dead_letters(1).expect("letters").is_empty() && b.dead_letters(1).expect("letters").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_reaches_subscribers_on_other_hosts() {
    let subscribe = json!([{"do": "subscribe", "pattern": "orders.*"}]);
    let Pair { a, b, nats: _nats } = pair(Durability::Full, json!({}), json!({"start:fresh": subscribe})).await;
    let mut watch = Watch::on(&b);
    let publish = json!([{"do": "publish", "topic": "orders.new", "kind": "order", "body": 7}]);
    // That somebody there listens is heard a moment after.
    while told(&a, "a", publish.clone()).await == [json!("0")] || told(&a, "a", publish.clone()).await == [json!(0)] {
        tokio::task::yield_now().await;
    }
    watch.expect(&noted("b", "order 7 from a about orders.new")).await;
    until_confirmed(&a, "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_a_host_that_is_gone_waits_for_it() {
    let Pair { a, b, nats } = pair(Durability::Full, json!({}), json!({})).await;
    assert_eq!(told(&a, "a", json!([send("b", "first", 1)])).await, ["ok"]);
    until_confirmed(&a, "two").await;
    let (b, ()) = tokio::join!(b.stopped(), until_known(&a, "two", NodeState::Gone, 1));
    // It is there to be addressed, and nothing is lost.
    let sent = told(&a, "a", json!([send("b", "second", 2), ask("b", "third", 60_000), ask("b", "never", 1)])).await;
    assert!(!sent.iter().any(|result| result.to_string().contains("error")), "{sent:?}");
    let waiting = a.nodes().into_iter().find(|node| node.host.as_str() == "two").expect("the other host");
    assert_eq!((waiting.state, waiting.outbox.messages), (NodeState::Gone, 3));
    // Its sender may go and come meanwhile, and so may the server.
    let mut nats = nats;
    nats.kill().await;
    let a = a.again().await;
    nats.start_again().await;
    let mut watch = Watch::on(&a);
    let b = b.started().await;
    watch.expect(&noted("a", "answer []")).await;
    until_confirmed(&a, "two").await;
    let came_b = came(&b, "b").await;
    assert_eq!(came_b[..3], ["first 1 from a", "second 2 from a", "third 1 from a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_local_work_goes_on_and_the_rest_catches_up() {
    let Pair { a, b, mut nats } = pair(Durability::Full, json!({}), json!({})).await;
    let mut watch = Watch::on(&a);
    nats.kill().await;
    watch.expect(&event("bus.lost")).await;
    for n in 0..50 {
        assert_eq!(told(&a, "a", json!([send("b", "n", n), send("a", "own", n)])).await, ["ok", "ok"]);
    }
    assert_eq!(came(&a, "a").await.len(), 50);
    assert_eq!(came(&b, "b").await.len(), 0);
    let mut watch = Watch::on(&b);
    nats.start_again().await;
    watch.expect(&noted("b", "n 49 from a")).await;
    until_confirmed(&a, "two").await;
    let expected: Vec<String> = (0..50).map(|n| format!("n {n} from a")).collect();
    assert_eq!(came(&b, "b").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_start_of_an_upgraded_agent_sends_keeps_its_place() {
    let on_a = json!({"start:upgraded": [send("b", "n", 1)]});
    let Pair { a, b, mut nats } = pair(Durability::Full, on_a, json!({})).await;
    let mut watch = Watch::on(&a);
    nats.kill().await;
    watch.expect(&event("bus.lost")).await;
    assert_eq!(told(&a, "a", json!([send("b", "n", 0)])).await, ["ok"]);
    let dir = tempfile::tempdir().expect("a folder");
    a.swap("puppet", &variant("puppet", dir.path(), 1)).await.expect("a swap");
    assert_eq!(told(&a, "a", json!([send("b", "n", 2)])).await, ["ok"]);
    drop(watch);
    let a = a.again().await;
    let mut watch = Watch::on(&b);
    nats.start_again().await;
    watch.expect(&noted("b", "n 2 from a")).await;
    until_confirmed(&a, "two").await;
    assert_eq!(came(&b, "b").await, ["n 0 from a", "n 1 from a", "n 2 from a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_of_another_host_ends_at_its_deadline_and_with_the_end_of_its_callee() {
    let on_b = json!({"hold": [{"do": "later"}], "end": [{"do": "exit", "reason": "normal"}]});
    let Pair { a, b, nats: _nats } = pair(Durability::None, json!({}), on_b).await;
    let mut watch = Watch::on(&a);
    told(&a, "a", json!([ask("b", "hold", 100)])).await;
    watch.expect(&event("custom").saying("answer").saying("no reply by the deadline")).await;
    told(&a, "a", json!([ask("b", "hold", 60_000), send("b", "end", 1)])).await;
    watch.expect(&event("custom").saying("answer").saying("the receiver has ended")).await;
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_of_another_hosts_agent_tells_of_its_end_and_of_its_hosts() {
    let monitor = json!([{"do": "monitor", "name": "b"}]);
    let Pair { a, b, nats: _nats } = pair(Durability::Full, json!({}), json!({})).await;
    let mut watch = Watch::on(&a);
    told(&a, "a", monitor.clone()).await;
    b.stop("b", false).await.expect("an end");
    drop(b);
    watch.expect(&event("custom").saying("down b")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_nobody_is_a_dead_letter_where_it_came_to_and_its_asker_is_told() {
    let Pair { a, b, nats: _nats } = pair(Durability::Full, json!({}), json!({})).await;
    let mut watch = Watch::on(&b);
    // Known by name, and gone before the message comes.
    told(&a, "a", json!([{"do": "lookup", "name": "b"}])).await;
    b.stop("b", false).await.expect("an end");
    let mut watch_a = Watch::on(&a);
    let sent = try_told(&a, "a", json!([send("b", "late", 1), ask("b", "late", 60_000)])).await.expect("two sends");
    assert!(!sent.iter().any(|result| result.to_string().contains("error")), "{sent:?}");
    watch.expect(&event("message.dead-letter").with("reason", "absent")).await;
    watch_a.expect(&event("custom").saying("answer").saying("the receiver has ended")).await;
    assert!(b.dead_letters(10).expect("letters").iter().any(|letter| letter.to.as_str() == "b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_mailbox_takes_waits_for_it_and_is_no_dead_letter() {
    let nats = NatsServer::start().await;
    let a = Draft::new().puppet("a", Durability::Full, json!({})).on_host("one", &nats).run().await;
    let small =
        Draft::new().puppet_with("b", Durability::Full, json!({}), |spec| spec.budget.mailbox_messages_max = 20);
    let b = small.on_host("two", &nats).run().await;
    until_known(&a, "two", NodeState::Up, 1).await;
    let mut watch = Watch::on(&b);
    let many = json!({"do": "send", "to": "b", "kind": "n", "body": 1, "times": 300});
    told(&a, "a", json!([many, send("b", "last", 2)])).await;
    watch.expect(&noted("b", "last 2 from a")).await;
    until_confirmed(&a, "two").await;
    assert_eq!(came(&b, "b").await.len(), 301);
    assert!(b.dead_letters(1).expect("letters").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_two_hosts_have_is_told_of() {
    let nats = NatsServer::start().await;
    let one = Draft::new().puppet("same", Durability::None, json!({})).on_host("one", &nats).run().await;
    let two = Draft::new().puppet("other", Durability::None, json!({})).on_host("two", &nats).run().await;
    until_known(&two, "one", NodeState::Up, 1).await;
    let mut watch = Watch::on(&two);
    let spec = skep_tests::hives::agent_spec("same", "puppet", Durability::None);
    two.spawn(None, spec).await.expect("an agent");
    watch.expect(&event("name.taken").with("name", "same").with("by", "one")).await;
    // Here, the one that is here is meant.
    told(&two, "other", json!([send("same", "hello", 1)])).await;
    watch.expect(&noted("same", "hello 1 from other")).await;
    assert_eq!(came(&one, "same").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_is_kept_and_nothing_is_doubled_while_the_server_is_killed_again_and_again() {
    let Pair { a, b, mut nats } = pair(Durability::Process, json!({}), json!({})).await;
    let mut watch = Watch::on(&b);
    for round in 0..5 {
        for n in round * 40..(round + 1) * 40 {
            assert_eq!(told(&a, "a", json!([send("b", "n", n)])).await, ["ok"]);
            if n % 40 == 17 {
                nats.kill().await;
            }
        }
        nats.start_again().await;
    }
    watch.expect(&noted("b", "n 199 from a")).await;
    let expected: Vec<String> = (0..200).map(|n| format!("n {n} from a")).collect();
    assert_eq!(came(&b, "b").await, expected);
    tokio::time::timeout(Duration::from_secs(60), until_confirmed(&a, "two")).await.expect("an empty outbox");
}
