//! Other agents' lives: children, links, monitors, one's own end, and what an operator may do.

use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, Durability, Restart};
use skep_runtime::{Host, Status};
use skep_tests::hives::{Draft, Nest, agent_spec};
use skep_tests::kit::{self, Watch, event, exited, ready};
use skep_tests::puppet::{ask, came, history, noted, send, told};

/// Ends as its message says; and holds.
fn mortal() -> Value {
    json!({
        "normal": [{"do": "exit", "reason": "normal"}],
        "shutdown": [{"do": "exit", "reason": "shutdown"}],
        "broken": [{"do": "exit", "reason": "broken"}],
        "hold": [{"do": "later"}],
        "busy": [{"do": "spin", "ms": 200}],
    })
}

async fn pair(durability: Durability, restart: Restart) -> Nest {
    let change = |spec: &mut AgentSpec| spec.restart = restart;
    let draft = Draft::new().puppet("a", durability, mortal());
    draft.puppet_with("b", durability, mortal(), change).run().await
}

fn status(host: &Host, agent: &str) -> Option<Status> {
    host.agents().into_iter().find(|view| view.name.as_str() == agent).map(|view| view.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_tells_of_the_end_once() {
    for durability in [Durability::None, Durability::Full] {
        let host = pair(durability, Restart::Permanent).await;
        told(&host, "a", json!([{"do": "monitor", "name": "b"}])).await;
        let mut watch = Watch::on(&host);
        send(&host, "b", "broken", json!(0)).await;
        watch.expect(&noted("a", "down b: error: broken")).await;
        // The monitor is used up: the second end is nobody's business.
        kit::expect(&host, event("agent.restarting").of("b"), send(&host, "b", "broken", json!(0))).await;
        kit::expect(&host, noted("a", "fence 0"), send(&host, "a", "fence", json!(0))).await;
        assert_eq!(came(&host, "a").await, ["down b: error: broken", "fence 0"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_of_nobody_tells_at_once_and_one_that_is_undone_never() {
    let host = pair(Durability::None, Restart::Permanent).await;
    let nobody = told(&host, "a", json!([{"do": "monitor", "name": "nobody"}])).await;
    assert_eq!(nobody, [json!("error: there is no such agent")]);
    host.stop("b", false).await.expect("a stop");
    let stopped = told(&host, "a", json!([{"do": "monitor", "name": "b"}]));
    let (_, results) = kit::expect(&host, noted("a", "down b: no-agent"), stopped).await;
    assert_eq!(results, [json!("ok")]);
    host.restart("b").await.expect("a start");
    told(&host, "a", json!([{"do": "monitor", "name": "b"}])).await;
    told(&host, "a", json!([{"do": "demonitor", "name": "b"}])).await;
    kit::expect(&host, event("agent.restarting").of("b"), send(&host, "b", "broken", json!(0))).await;
    kit::expect(&host, noted("a", "fence 0"), send(&host, "a", "fence", json!(0))).await;
    assert_eq!(came(&host, "a").await, ["down b: no-agent", "fence 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_both_unless_the_end_is_normal() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    told(&host, "a", json!([{"do": "link", "name": "b"}])).await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "broken", json!(0)).await;
    watch.expect(&exited("b", "error: broken")).await;
    watch.expect(&exited("a", "linked")).await;
    watch.ready("a").await;
    // The link ended with them.
    send(&host, "b", "broken", json!(0)).await;
    watch.restarted("b").await;
    send(&host, "a", "fence", json!(0)).await;
    watch.refuse(&event("agent.exited").of("a"), &noted("a", "fence 0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_bears_a_normal_end() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    told(&host, "a", json!([{"do": "link", "name": "b"}])).await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "normal", json!(0)).await;
    watch.restarted("b").await;
    send(&host, "a", "fence", json!(0)).await;
    watch.refuse(&event("agent.exited").of("a"), &noted("a", "fence 0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_monitors_outlive_the_host() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    told(&host, "a", json!([{"do": "link", "name": "b"}, {"do": "monitor", "name": "b"}])).await;
    let host = host.again().await;
    let (mut watch, mut told) = (Watch::on(&host), Watch::on(&host));
    send(&host, "b", "broken", json!(0)).await;
    watch.expect(&exited("a", "linked")).await;
    watch.ready("a").await;
    // In either of its lives: which one gets it first is chance.
    told.expect(&noted("a", "down b: error: broken")).await;
    kit::expect(&host, noted("a", "fence 0"), send(&host, "a", "fence", json!(0))).await;
    assert_eq!(came(&host, "a").await, ["down b: error: broken", "fence 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_follow_the_type_and_the_reason() {
    for (restart, reason, again) in [
        (Restart::Permanent, "normal", true),
        (Restart::Permanent, "broken", true),
        (Restart::Transient, "broken", true),
        (Restart::Transient, "normal", false),
        (Restart::Transient, "shutdown", false),
        (Restart::Temporary, "broken", false),
    ] {
        let host = pair(Durability::None, restart).await;
        let mut watch = Watch::on(&host);
        send(&host, "b", reason, json!(0)).await;
        watch.expect(&event("agent.exited").of("b")).await;
        if again {
            watch.restarted("b").await;
            assert_eq!(history(&host, "b").await, ["start fresh"], "{restart:?} {reason}");
        } else {
            send(&host, "a", "fence", json!(0)).await;
            watch.refuse(&event("agent.restarting"), &noted("a", "fence 0")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_sees_fresh_once_in_its_life_if_it_is_durable() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "broken", json!(0)).await;
    watch.restarted("b").await;
    let host = host.again().await;
    let starts: Vec<_> = history(&host, "b").await.into_iter().filter(|line| line.starts_with("start")).collect();
    assert_eq!(starts, ["start fresh", "start restarted", "start restarted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_exiting_turn_asked_for_still_leaves() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    let ops = json!([{"do": "exit", "reason": "normal"}, {"do": "send", "to": "a", "kind": "farewell"}]);
    kit::expect(&host, noted("a", "farewell null from b"), told(&host, "b", ops)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_there_at_once_and_starts_after_the_commit() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    let ops = json!([
        {"do": "spawn", "name": "child", "durability": "full"},
        {"do": "send", "to": "child", "kind": "first"},
    ]);
    let (_, results) = kit::expect(&host, noted("child", "first null from a"), told(&host, "a", ops)).await;
    assert_eq!(results, [json!("ok"), json!("ok")]);
    let taken = told(&host, "a", json!([{"do": "spawn", "name": "child"}])).await;
    assert!(taken[0].to_string().contains("error"), "{taken:?}");
    let host = host.again().await;
    kit::expect(&host, noted("child", "second 0"), send(&host, "child", "second", json!(0))).await;
    assert_eq!(history(&host, "child").await, ["start fresh", "first null from a", "start restarted", "second 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_of_a_refused_message_is_not_there() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    let ops = json!([{"do": "spawn", "name": "child"}, {"do": "refuse", "text": "no"}]);
    skep_tests::puppet::try_told(&host, "a", ops).await.expect_err("a refusal");
    assert_eq!(told(&host, "a", json!([{"do": "lookup", "name": "child"}])).await, [json!(null)]);
    let mut watch = Watch::on(&host);
    assert_eq!(told(&host, "a", json!([{"do": "spawn", "name": "child"}])).await, [json!("ok")]);
    watch.ready("child").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_cannot_start_is_told_to_its_owner() {
    let host = pair(Durability::None, Restart::Permanent).await;
    let config = json!({"on": {"start:fresh": [{"do": "refuse", "text": "never"}]}}).to_string();
    let ops = json!([{"do": "spawn", "name": "child", "owned": true, "restart": "temporary", "config": config}]);
    let (down, _) =
        kit::expect(&host, event("custom").of("a").saying("line=down child: start-failed"), told(&host, "a", ops))
            .await;
    assert!(kit::field(&down, "fields").expect("a line").contains("never"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owned_child_ends_with_its_owner_and_its_end_is_told() {
    let host = pair(Durability::None, Restart::Permanent).await;
    let mut watch = Watch::on(&host);
    let config = json!({ "on": mortal() }).to_string();
    let spawn = |name: &str| json!({"do": "spawn", "name": name, "owned": true, "config": config});
    told(&host, "a", json!([spawn("one"), spawn("two")])).await;
    watch.ready("two").await;
    send(&host, "one", "normal", json!(0)).await;
    watch.expect(&noted("a", "down one: normal")).await;
    send(&host, "a", "broken", json!(0)).await;
    watch.expect(&exited("two", "shutdown")).await;
    watch.gone("two").await;
    assert!(host.inspect("two").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_stops_its_own_children_and_nobody_else() {
    let host = pair(Durability::None, Restart::Permanent).await;
    kit::expect(&host, ready("child"), told(&host, "a", json!([{"do": "spawn", "name": "child"}]))).await;
    let absent = json!([json!("error: there is no such agent")]);
    assert_eq!(json!(told(&host, "a", json!([{"do": "stop", "name": "b"}])).await), absent);
    assert_eq!(json!(told(&host, "b", json!([{"do": "stop", "name": "child"}])).await), absent);
    let stop = told(&host, "a", json!([{"do": "stop", "name": "child"}]));
    let (_, results) = kit::expect(&host, exited("child", "shutdown"), stop).await;
    assert_eq!(results, [json!("ok")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_for_good_makes_dead_letters_of_the_mailbox_and_ends_what_is_owed() {
    for durability in [Durability::None, Durability::Full] {
        let host = pair(durability, Restart::Permanent).await;
        let ops = json!([{"do": "ask", "to": "b", "kind": "hold", "body": 0, "ms": 60_000}]);
        kit::expect(&host, noted("b", "hold 0 from a"), told(&host, "a", ops)).await;
        kit::expect(&host, noted("b", "busy 0"), send(&host, "b", "busy", json!(0))).await;
        let waiting = send(&host, "b", "n", json!(1)).await;
        let mut watch = Watch::on(&host);
        host.stop("b", false).await.expect("a stop");
        watch.expect(&noted("a", "answer failed: the receiver has ended: shutdown")).await;
        let letter = host.dead_letter(waiting).expect("a dead letter");
        assert_eq!((letter.reason.word(), letter.body.as_ref()), ("stopped", &b"1"[..]));
        let sent = told(&host, "a", json!([{"do": "send", "to": "b", "kind": "n"}])).await;
        assert_eq!(sent, [json!("error: there is no such agent")]);
        assert!(ask(&host, "b", "n", json!(2)).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_kept_until_it_is_purged() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    told(&host, "b", json!([{"do": "put", "key": "k", "value": 1}])).await;
    host.stop("b", false).await.expect("a stop");
    host.restart("b").await.expect("a start");
    assert_eq!(told(&host, "b", json!([{"do": "get", "key": "k"}])).await, [json!(1)]);
    host.stop("b", true).await.expect("a stop");
    host.restart("b").await.expect("a start");
    assert_eq!(told(&host, "b", json!([{"do": "get", "key": "k"}])).await, [json!(null)]);
    assert_eq!(history(&host, "b").await, ["start fresh"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_is_called_before_an_end_and_what_it_does_stands() {
    let on = json!({"stop": [
        {"do": "put", "key": "stopped", "value": true},
        {"do": "send", "to": "a", "kind": "stopping"},
    ]});
    let draft = Draft::new().puppet("a", Durability::Full, json!({}));
    let host = draft.puppet("b", Durability::Full, on).with_instances_kept().run().await;
    let _ = kit::expect(&host, noted("a", "stopping null from b"), host.stop("b", false)).await;
    host.restart("b").await.expect("a start");
    assert_eq!(told(&host, "b", json!([{"do": "get", "key": "stopped"}])).await, [json!(true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_stop_in_time_is_killed() {
    let brief = |spec: &mut AgentSpec| spec.shutdown = skep_core::spec::Shutdown::AfterMs(100);
    let on = json!({"stop": [{"do": "spin"}]});
    let host = Draft::new().puppet_with("b", Durability::Full, on, brief).with_instances_kept().run().await;
    let _ = kit::expect(&host, exited("b", "killed"), host.stop("b", false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_adds_an_agent_and_restarts_it() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    let spec = || agent_spec("new", "puppet", Durability::Full);
    host.spawn(None, spec()).await.expect("an agent");
    assert_eq!(host.spawn(None, spec()).await.expect_err("it is there").code(), "E_ALREADY_STARTED");
    let nowhere = host.spawn(Some("nowhere"), agent_spec("newer", "puppet", Durability::None)).await;
    assert_eq!(nowhere.expect_err("no such supervisor").code(), "E_HIVE_INVALID");
    let bare = agent_spec("newer", "nothing", Durability::None);
    assert_eq!(host.spawn(None, bare).await.expect_err("no such plugin").code(), "E_NO_PLUGIN");
    kit::expect(&host, noted("new", "n 1"), send(&host, "new", "n", json!(1))).await;
    host.restart("new").await.expect("a restart");
    assert_eq!(host.inspect("new").expect("an agent").view.restarts, 0, "no restart is counted");
    let host = host.again().await;
    let lines = history(&host, "new").await;
    assert_eq!(lines.iter().filter(|line| *line == "n 1").count(), 1, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_says_how_it_is_and_operators_see_it() {
    let host = pair(Durability::None, Restart::Permanent).await;
    assert_eq!(status(&host, "b"), Some(Status::Ready));
    told(&host, "b", json!([])).await;
    assert_eq!(status(&host, "b"), Some(Status::Idle));
    let degraded = told(&host, "b", json!([{"do": "health", "status": "degraded", "reason": "slow disk"}]));
    let (seen, _) = kit::expect(&host, event("agent.health").of("b"), degraded).await;
    assert_eq!(kit::field(&seen, "reason").as_deref(), Some("slow disk"));
    assert_eq!(status(&host, "b"), Some(Status::Degraded("slow disk".to_owned())));
    told(&host, "b", json!([{"do": "health", "status": "failing", "reason": "no disk"}])).await;
    assert_eq!(status(&host, "b"), Some(Status::Failed("no disk".to_owned())));
    told(&host, "b", json!([{"do": "health", "status": "ok"}])).await;
    assert_eq!(status(&host, "b"), Some(Status::Idle));
    kit::expect(&host, noted("b", "busy 0"), send(&host, "b", "busy", json!(0))).await;
    assert_eq!(status(&host, "b"), Some(Status::Busy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_of_an_agent_that_was_stopped_go_on_when_it_is_started_again() {
    let host = pair(Durability::Full, Restart::Permanent).await;
    let timers = json!([
        {"do": "once", "name": "soon", "ms": 300},
        {"do": "once", "name": "late", "ms": 60_000},
        {"do": "every", "name": "often", "ms": 60_000},
    ]);
    told(&host, "a", timers).await;
    host.stop("a", false).await.expect("a stop");
    let mut watch = Watch::on(&host);
    host.restart("a").await.expect("a restart");
    watch.expect(&noted("a", "timer soon")).await;
    came(&host, "a").await;
    let timers = host.inspect("a").expect("an agent").timers;
    assert_eq!(timers.len(), 2, "{timers:?}");
}
