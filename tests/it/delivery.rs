//! Messages on their way: order, batches, lanes, and mailboxes that outlive instances and hosts.

use serde_json::json;
use skep_core::Channel;
use skep_core::spec::{AgentSpec, Durability, Shutdown};
use skep_runtime::{Host, SendOptions};
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, came, history, json_body, noted, send, told};

async fn send_on(host: &Host, channel: Channel, kind: &str) {
    let options = SendOptions { channel: Some(channel), ..SendOptions::default() };
    host.send("b", kind, json_body(&json!(null)), options).await.expect("a message that is taken");
}

/// Two agents send to a third, each in its own order.
async fn order_holds(durability: Durability) {
    let draft = Draft::new().puppet("a", durability, json!({})).puppet("c", durability, json!({}));
    let host = draft.puppet("b", durability, json!({})).run().await;
    let mut watch = Watch::on(&host);
    let count = 200;
    for n in 1..=count {
        for sender in ["a", "c"] {
            send(&host, sender, "do", json!([{"do": "send", "to": "b", "kind": "n", "body": n}])).await;
        }
    }
    let last = |sender: &str| noted("b", &format!("n {count} from {sender}"));
    let (first, _) = watch.any_of(&[last("a"), last("c")]).await;
    watch.expect(&last(["c", "a"][first])).await;
    let came = came(&host, "b").await;
    for sender in ["a", "c"] {
        let of_sender: Vec<_> = came.iter().filter(|line| line.ends_with(&format!("from {sender}"))).collect();
        let expected: Vec<_> = (1..=count).map(|n| format!("n {n} from {sender}")).collect();
        assert_eq!(of_sender, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_per_sender_and_receiver_in_memory() {
    order_holds(Durability::None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_per_sender_and_receiver_when_durable() {
    order_holds(Durability::Full).await;
}

/// Agents whose turns are woken from two sides at once, and run ahead of their commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_while_turns_run_ahead_of_their_commits() {
    let count = 400;
    let names = ["r0", "r1", "r2"];
    let draft = (0..3).fold(Draft::new(), |draft, at| {
        let config = json!({"next": names[(at + 1) % 3], "peer": names[(at + 2) % 3]}).to_string();
        draft.agent_with(names[at], "relay", Durability::Process, |spec| spec.config_json = config)
    });
    let host = draft.run().await;
    let client = async |agent: &str| {
        for n in 1..=count {
            send(&host, agent, "post", json!({ "n": n })).await;
        }
    };
    tokio::join!(client("r0"), client("r1"), client("r2"));
    for at in 0..3 {
        let before = names[(at + 2) % 3];
        let settled = ask(&host, names[at], "settled", json!({"line": before, "last": count})).await;
        let lines = settled.expect("a report")["lines"].clone();
        let in_order = json!({"last": count, "out_of_order": 0});
        assert_eq!(lines, json!({"outside": in_order, before: in_order}), "{}", names[at]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_are_handled_in_few_turns() {
    let host = Draft::new().agent("a", "bench", Durability::None).agent("b", "bench", Durability::None).start().await;
    let mut watch = Watch::on(&host);
    let order = json!({"to": "b", "count": 2_000, "size": 64});
    let flooded = skep_tests::puppet::ask(&host, "a", "flood", order).await.expect("a flood");
    assert_eq!(flooded, json!(2_000));
    let (mut handled, mut turns) = (0, 0);
    while handled < 2_000 {
        let turn = watch.expect(&event("turn.committed").of("b")).await;
        handled += kit::field(&turn, "handled").and_then(|count| count.parse::<u32>().ok()).expect("a number");
        turns += 1;
    }
    assert_eq!(handled, 2_000);
    assert!(turns <= 1_000, "2,000 messages took {turns} turns");
}

/// While `b` is in a long turn, messages queue in its lanes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_is_handled_first_and_telemetry_last() {
    let on = json!({"busy": [{"do": "spin", "ms": 300}]});
    let host = Draft::new().puppet("b", Durability::None, on).start().await;
    let (_, ()) = kit::expect(&host, noted("b", "busy null"), send_on(&host, Channel::Events, "busy")).await;
    for (channel, kind) in [
        (Channel::Telemetry, "fifth"),
        (Channel::Data, "fourth"),
        (Channel::Events, "third"),
        (Channel::Coordination, "second"),
        (Channel::Control, "first"),
    ] {
        send_on(&host, channel, kind).await;
    }
    let fence = noted("b", "fifth null on telemetry");
    Watch::on(&host).expect(&fence).await;
    let kinds: Vec<_> = came(&host, "b").await.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["busy", "first", "second", "third", "fourth", "fifth"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_mailbox_outlives_its_host() {
    let on = json!({"busy": [{"do": "spin", "ms": 200}]});
    let host = Draft::new().puppet("b", Durability::Process, on).run().await;
    kit::expect(&host, noted("b", "busy null"), send_on(&host, Channel::Events, "busy")).await;
    for n in 1..=50 {
        send(&host, "b", "n", json!(n)).await;
    }
    let host = host.again().await;
    send(&host, "b", "last", json!(0)).await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "fence", json!(0)).await;
    watch.expect(&noted("b", "fence 0")).await;
    let numbers: Vec<_> = came(&host, "b").await.into_iter().filter(|line| line.starts_with("n ")).collect();
    assert_eq!(numbers, (1..=50).map(|n| format!("n {n}")).collect::<Vec<_>>());
    assert!(host.dead_letters(10).expect("dead letters").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_outlives_its_instance() {
    let on =
        json!({"busy": [{"do": "call", "to": "gate", "kind": "hold"}], "end": [{"do": "exit", "reason": "an end"}]});
    let one_by_one = |spec: &mut AgentSpec| spec.budget.batch_messages_max = 1;
    // Who has no durability forgets what was before.
    let forgotten = ["start fresh"].as_slice();
    let kept = ["start fresh", "busy null", "end null on control", "start restarted"].as_slice();
    for (durability, before) in [(Durability::None, forgotten), (Durability::Full, kept)] {
        let draft = Draft::new().puppet_with("b", durability, on.clone(), one_by_one);
        let host = draft.puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]})).run().await;
        let held = noted("gate", "hold null from b");
        kit::expect(&host, held, send_on(&host, Channel::Events, "busy")).await;
        send_on(&host, Channel::Control, "end").await;
        for n in 1..=20 {
            send(&host, "b", "n", json!(n)).await;
        }
        let mut watch = Watch::on(&host);
        told(&host, "gate", json!([{"do": "answer"}])).await;
        watch.refuse(&noted("b", "n 1"), &event("agent.restarting").of("b")).await;
        watch.expect(&noted("b", "n 20")).await;
        let numbers = (1..=20).map(|n| format!("n {n}"));
        let expected: Vec<_> = before.iter().map(|line| (*line).to_owned()).chain(numbers).collect();
        assert_eq!(history(&host, "b").await, expected, "{durability:?}");
    }
}

/// Three receivers, by turns: each has its own order, whatever the others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_for_each_of_several_receivers() {
    for durability in [Durability::None, Durability::Full] {
        let receivers = ["b", "c", "d"];
        let draft = receivers
            .into_iter()
            .fold(Draft::new().puppet("a", durability, json!({})), |draft, to| draft.puppet(to, durability, json!({})));
        let host = draft.run().await;
        let count = 100;
        let mut watches = receivers.map(|_| Watch::on(&host));
        for n in 1..=count {
            let each = receivers.map(|to| json!({"do": "send", "to": to, "kind": "n", "body": n}));
            send(&host, "a", "do", json!(each)).await;
        }
        let expected: Vec<_> = (1..=count).map(|n| format!("n {n} from a")).collect();
        for (to, watch) in receivers.into_iter().zip(&mut watches) {
            watch.expect(&noted(to, &format!("n {count} from a"))).await;
            assert_eq!(came(&host, to).await, expected, "{to} {durability:?}");
        }
    }
}

/// A message waits for `to`, which is busy, when the host ends; whether it is there afterwards.
async fn outlives(from: Durability, to: Durability) -> bool {
    let brutal = |spec: &mut AgentSpec| spec.shutdown = Shutdown::Brutal;
    let busy = json!({"busy": [{"do": "call", "to": "gate", "kind": "hold", "ms": 30_000}]});
    // The gate is the last to stop, so that the busy turn does not end before its agent.
    let draft = Draft::new().puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]}));
    let host = draft.puppet("from", from, json!({})).puppet_with("to", to, busy, brutal).run().await;
    kit::expect(&host, noted("gate", "hold null from to"), send(&host, "to", "busy", json!(0))).await;
    let ops = json!([{"do": "send", "to": "to", "kind": "n", "body": 1}]);
    assert_eq!(told(&host, "from", ops).await, [json!("ok")]);
    let host = host.again().await;
    // The busy turn comes again if it is durable, and then the message behind it.
    let (mut watch, fence) = (Watch::on(&host), noted("to", "fence 0"));
    send(&host, "to", "fence", json!(0)).await;
    if to > Durability::None {
        let held = async { while told(&host, "gate", json!([{"do": "answer"}])).await != [json!("ok")] {} };
        kit::within("the busy turn once more", held).await;
    }
    watch.expect(&fence).await;
    came(&host, "to").await.contains(&"n 1 from from".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_as_durable_as_the_weaker_of_its_two_ends() {
    for (from, to, there) in [
        (Durability::Full, Durability::Full, true),
        (Durability::Process, Durability::Full, true),
        (Durability::None, Durability::Full, false),
        (Durability::Full, Durability::None, false),
    ] {
        assert_eq!(outlives(from, to).await, there, "from {from:?} to {to:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_turn_sends_leaves_in_order() {
    let host =
        Draft::new().puppet("a", Durability::Full, json!({})).puppet("b", Durability::Full, json!({})).run().await;
    let send = |n: u32| json!({"do": "send", "to": "b", "kind": "n", "body": n});
    let ops = json!([send(1), send(2), {"do": "put", "key": "k", "value": 1}, send(3)]);
    kit::expect(&host, noted("b", "n 3 from a"), told(&host, "a", ops)).await;
    assert_eq!(came(&host, "b").await, ["n 1 from a", "n 2 from a", "n 3 from a"]);
}
