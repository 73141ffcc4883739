//! Publishing: patterns with `*` and `>`, subscriptions of the turn and of the manifest, and full subscribers.

use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, Durability};
use skep_runtime::Host;
use skep_tests::hives::{Draft, Nest};
use skep_tests::kit::{self, event};
use skep_tests::puppet::{came, noted, send, told, try_send};

async fn nest(durability: Durability) -> Nest {
    let draft = ["a", "b", "c"].into_iter().fold(Draft::new(), |draft, agent| {
        draft.puppet(agent, durability, json!({"busy": [{"do": "spin", "ms": 300}]}))
    });
    draft.run().await
}

async fn subscribe(host: &Host, agent: &str, pattern: &str) {
    assert_eq!(told(host, agent, json!([{"do": "subscribe", "pattern": pattern}])).await, [json!("ok")]);
}

async fn publish(host: &Host, topic: &str) -> Value {
    told(host, "a", json!([{"do": "publish", "topic": topic, "kind": "news", "body": 1}])).await.remove(0)
}

async fn fence(host: &Host, agent: &str) {
    kit::expect(host, noted(agent, "fence 0"), send(host, agent, "fence", json!(0))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_reaches_every_pattern_that_matches_and_says_how_many() {
    let host = nest(Durability::None).await;
    subscribe(&host, "a", "sensor.*").await;
    subscribe(&host, "b", "sensor.>").await;
    subscribe(&host, "c", "sensor.heat").await;
    for (topic, count) in [("sensor.heat", 3), ("sensor.cold", 2), ("sensor.cold.low", 1), ("sensor", 0), ("other", 0)]
    {
        assert_eq!(publish(&host, topic).await, json!(count), "{topic}");
    }
    for agent in ["a", "b", "c"] {
        fence(&host, agent).await;
    }
    let about = |topic: &str| format!("news 1 from a about {topic}");
    assert_eq!(came(&host, "c").await, [about("sensor.heat"), "fence 0".to_owned()]);
    let of_b = [about("sensor.heat"), about("sensor.cold"), about("sensor.cold.low"), "fence 0".to_owned()];
    assert_eq!(came(&host, "b").await, of_b);
    assert_eq!(came(&host, "a").await, [about("sensor.heat"), about("sensor.cold"), "fence 0".to_owned()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_patterns_of_one_agent_bring_one_message() {
    let host = nest(Durability::None).await;
    subscribe(&host, "b", "x.*").await;
    subscribe(&host, "b", "x.y").await;
    assert_eq!(publish(&host, "x.y").await, json!(1));
    fence(&host, "b").await;
    assert_eq!(came(&host, "b").await, ["news 1 from a about x.y", "fence 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_ends_when_it_is_told_to() {
    let host = nest(Durability::Full).await;
    subscribe(&host, "b", "x").await;
    assert_eq!(publish(&host, "x").await, json!(1));
    told(&host, "b", json!([{"do": "unsubscribe", "pattern": "x"}])).await;
    assert_eq!(publish(&host, "x").await, json!(0));
    let host = host.again().await;
    assert_eq!(publish(&host, "x").await, json!(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_outlive_the_host_and_publications_too() {
    let host = nest(Durability::Full).await;
    subscribe(&host, "b", "x.>").await;
    kit::expect(&host, noted("b", "busy 0"), send(&host, "b", "busy", json!(0))).await;
    assert_eq!(publish(&host, "x.y").await, json!(1));
    let host = host.again().await;
    assert_eq!(host.inspect("b").expect("an agent").subscriptions, ["x.>"]);
    assert_eq!(publish(&host, "x.z").await, json!(1));
    fence(&host, "b").await;
    let news: Vec<_> = came(&host, "b").await.into_iter().filter(|line| line.starts_with("news")).collect();
    assert_eq!(news, ["news 1 from a about x.y", "news 1 from a about x.z"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifest_may_subscribe_an_agent() {
    let declared = |spec: &mut AgentSpec| spec.subscribe = vec!["x.*".to_owned()];
    let draft = Draft::new().puppet("a", Durability::None, json!({}));
    let host = draft.puppet_with("b", Durability::None, json!({}), declared).start().await;
    assert_eq!(publish(&host, "x.y").await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_none_is_an_error() {
    let host = nest(Durability::None).await;
    for topic in ["", "a..b", "a.*", "a.>", ".", "a b"] {
        let result = publish(&host, topic).await.to_string();
        assert!(result.contains("error: invalid"), "{topic:?}: {result}");
    }
    let result = told(&host, "a", json!([{"do": "subscribe", "pattern": "a.>.b"}])).await[0].to_string();
    assert!(result.contains("error: invalid"), "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_subscriber_is_left_out_and_counted_and_keeps_nobody_waiting() {
    let small = |spec: &mut AgentSpec| spec.budget.mailbox_messages_max = 20;
    let busy = json!({"busy": [{"do": "spin", "ms": 300}]});
    let draft = Draft::new().puppet("a", Durability::None, json!({}));
    let host = draft.puppet_with("b", Durability::None, busy, small).start().await;
    subscribe(&host, "b", "x").await;
    kit::expect(&host, noted("b", "busy 0"), send(&host, "b", "busy", json!(0))).await;
    let full = event("message.dropped").of("b").with("reason", "subscriber-full");
    let publications = async {
        let mut reached = 0;
        for _ in 0..30 {
            reached += publish(&host, "x").await.as_u64().expect("a count");
        }
        reached
    };
    let (_, reached) = kit::expect(&host, full, publications).await;
    assert!((1..30).contains(&reached), "{reached}");
    let mut watch = kit::Watch::on(&host);
    // Refused until its long turn has ended.
    let taken = async { while try_send(&host, "b", "fence", json!(0)).await.is_err() {} };
    kit::within("room", taken).await;
    watch.expect(&noted("b", "fence 0")).await;
    let news = came(&host, "b").await.iter().filter(|line| line.starts_with("news")).count();
    assert_eq!(news as u64, reached, "what was counted as reached has come");
}
