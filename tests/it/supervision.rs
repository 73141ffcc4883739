//! Supervision of real agents: strategies, intensity, order of starts and stops, ends of supervisors.

use serde_json::{Value, json};
use skep_core::ExitReason;
use skep_core::spec::{AgentSpec, AutoShutdown, BackOff, Durability, Restart, Strategy, SupervisorSpec};
use skep_runtime::{Host, TreeView};
use skep_tests::hives::{Draft, supervisor};
use skep_tests::kit::{self, Watch, event, exited, ready};
use skep_tests::puppet::{ask, history, send, told};

fn mortal() -> Value {
    json!({
        "broken": [{"do": "exit", "reason": "broken"}],
        "normal": [{"do": "exit", "reason": "normal"}],
    })
}

/// `a`, `b` and `c` under a supervisor of this strategy, and `other` beside it.
async fn three(strategy: Strategy) -> Host {
    let children =
        ["a", "b", "c"].into_iter().fold(Draft::new(), |draft, agent| draft.puppet(agent, Durability::None, mortal()));
    let draft = Draft::new().under(supervisor("team", strategy), children);
    draft.puppet("other", Durability::None, json!({})).start().await
}

/// Breaks `b` and says who was started again, in order.
async fn restarted(host: &Host) -> Vec<String> {
    let mut watch = Watch::on(host);
    send(host, "b", "broken", json!(0)).await;
    watch.expect(&exited("b", "error: broken")).await;
    watch.expect(&event("agent.restarting").of("b")).await;
    watch.ready("b").await;
    // An ask of each shows that it has come up.
    let mut again = Vec::new();
    for agent in ["a", "b", "c", "other"] {
        ask(host, agent, "fence", json!(0)).await.expect("a reply");
        if host.inspect(agent).expect("an agent").view.incarnation.0 > 1 {
            assert_eq!(history(host, agent).await, ["start fresh", "fence 0"]);
            again.push(agent.to_owned());
        }
    }
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_for_one_restarts_the_dead_child_alone() {
    assert_eq!(restarted(&three(Strategy::OneForOne).await).await, ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_for_all_restarts_all_children_and_nobody_else() {
    assert_eq!(restarted(&three(Strategy::OneForAll).await).await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_for_one_restarts_the_dead_child_and_those_after_it() {
    assert_eq!(restarted(&three(Strategy::RestForOne).await).await, ["b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_start_left_to_right_and_stop_right_to_left() {
    let host = three(Strategy::OneForAll).await;
    let mut watch = Watch::on(&host);
    send(&host, "c", "broken", json!(0)).await;
    let steps =
        [exited("c", "broken"), exited("b", "shutdown"), exited("a", "shutdown"), ready("a"), ready("b"), ready("c")];
    watch.sequence(&steps).await;
    let mut watch = Watch::on(&host);
    host.shutdown().await;
    let order = ["other", "c", "b", "a"].map(|agent| exited(agent, "shutdown"));
    watch.sequence(&order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_gives_up_is_restarted_by_the_one_above() {
    let brittle = SupervisorSpec { intensity: 0, ..supervisor("team", Strategy::OneForOne) };
    let children = Draft::new().puppet("a", Durability::None, mortal()).puppet("b", Durability::None, mortal());
    let host = Draft::new().under(brittle, children).start().await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "broken", json!(0)).await;
    watch.expect(&event("supervisor.escalated").with("supervisor", "team")).await;
    watch.expect(&exited("a", "shutdown")).await;
    watch.sequence(&[ready("a"), ready("b")]).await;
    assert!(ask(&host, "b", "k", json!(0)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_turns_do_not_count_as_restarts() {
    let poison = json!({"poison": [{"do": "trap"}]});
    let mut draft = Draft::new().puppet("a", Durability::Full, poison);
    draft.spec.root.intensity = 0;
    let host = draft.run().await;
    let mut watch = Watch::on(&host);
    for n in 0..3 {
        send(&host, "a", "poison", json!(n)).await;
        watch.refuse(&event("agent.exited"), &event("message.dead-letter").of("a")).await;
        ask(&host, "a", "between", json!(n)).await.expect("a reply");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_at_first_fails_the_hive_and_says_who_and_why() {
    for (op, why) in
        [(json!({"do": "refuse", "text": "no such port"}), "no such port"), (json!({"do": "trap"}), "trap")]
    {
        let draft = Draft::new().puppet("b", Durability::None, json!({}));
        let draft = draft.puppet("a", Durability::None, json!({"start:fresh": [op]}));
        let error = draft.builder().start().await.err().expect("a failure");
        let text = error.to_string();
        assert!(error.code() == "E_START_FAILED" && text.contains("agent a") && text.contains(why), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_never_ends_is_ended_at_its_budget() {
    let brief = |spec: &mut AgentSpec| spec.budget.turn_cpu_ms_max = 100;
    let on = json!({"start:fresh": [{"do": "spin"}]});
    let draft = Draft::new().puppet_with("a", Durability::None, on, brief);
    let started = kit::within("the end of a start", draft.builder().start()).await;
    let text = started.err().expect("a failure").to_string();
    assert!(text.contains("agent a") && text.contains("100 ms"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_keeps_failing_after_a_crash_escalates() {
    let on = json!({
        "broken": [{"do": "exit", "reason": "broken"}],
        "start:restarted": [{"do": "refuse", "text": "never again"}],
    });
    let mut draft = Draft::new().puppet("a", Durability::Full, on);
    draft.spec.root.intensity = 3;
    let host = draft.run().await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "broken", json!(0)).await;
    let restarts = watch.capture(&event("agent.restarting").of("a"), &event("supervisor.escalated")).await;
    assert_eq!(restarts.len(), 3);
    let reason = kit::within("the end of the hive", host.ended()).await;
    assert!(!reason.is_ordinary(), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_restarts_than_the_intensity_escalate_and_take_the_hive_down() {
    let mut draft = Draft::new().puppet("a", Durability::None, mortal());
    draft.spec.root.intensity = 2;
    let host = draft.start().await;
    let mut watch = Watch::on(&host);
    for _ in 0..2 {
        send(&host, "a", "broken", json!(0)).await;
        watch.restarted("a").await;
    }
    send(&host, "a", "broken", json!(0)).await;
    watch.expect(&event("supervisor.escalated").with("supervisor", "root")).await;
    let reason = kit::within("the end of the hive", host.ended()).await;
    assert!(reason.to_string().contains("gave up"), "{reason}");
    let error = ask(&host, "a", "k", json!(0)).await.expect_err("it has ended");
    assert_eq!(error.code(), "E_HOST_STOPPING", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_off_waits_before_a_restart() {
    let back_off = Some(BackOff { min_ms: 200, max_ms: 1_000, factor_percent: 200 });
    let slow = SupervisorSpec { back_off, ..supervisor("team", Strategy::OneForOne) };
    let host = Draft::new().under(slow, Draft::new().puppet("a", Durability::None, mortal())).start().await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "broken", json!(0)).await;
    let ended = watch.expect(&exited("a", "broken")).await;
    let again = watch.expect(&event("agent.starting").of("a")).await;
    assert!(again.time_ns - ended.time_ns >= 200_000_000, "{} ns", again.time_ns - ended.time_ns);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_ends_with_its_significant_child() {
    let team = SupervisorSpec {
        auto_shutdown: AutoShutdown::AnySignificant,
        restart: Restart::Temporary,
        ..supervisor("team", Strategy::OneForOne)
    };
    let significant = |spec: &mut AgentSpec| {
        spec.significant = true;
        spec.restart = Restart::Transient;
    };
    let children = Draft::new().puppet("a", Durability::None, mortal());
    let children = children.puppet_with("b", Durability::None, mortal(), significant);
    let host = Draft::new().under(team, children).puppet("other", Durability::None, json!({})).start().await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "normal", json!(0)).await;
    watch.expect(&event("supervisor.ended").with("supervisor", "team")).await;
    watch.expect(&exited("a", "shutdown")).await;
    assert!(told(&host, "other", json!([])).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tree_shows_supervisors_agents_and_restarts() {
    let host = three(Strategy::RestForOne).await;
    kit::expect(&host, ready("c"), send(&host, "b", "broken", json!(0))).await;
    let TreeView::Supervisor { name, children, .. } = host.tree() else { panic!("the root is a supervisor") };
    assert_eq!((name.as_str(), children.len()), ("root", 2));
    let TreeView::Supervisor { name, strategy, restarts, children, .. } = &children[0] else { panic!("a supervisor") };
    assert_eq!((name.as_str(), *strategy, *restarts, children.len()), ("team", Strategy::RestForOne, 1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_otp_is_refused_before_anything_starts() {
    let both = |spec: &mut AgentSpec| spec.significant = true;
    let draft = Draft::new().puppet_with("a", Durability::None, json!({}), both);
    let error = draft.builder().start().await.err().expect("a contradiction");
    assert_eq!(error.code(), "E_HIVE_INVALID");
    let mut twice = Draft::new().puppet("a", Durability::None, json!({}));
    twice = twice.puppet("a", Durability::None, json!({}));
    assert_eq!(twice.builder().start().await.err().expect("a name twice").code(), "E_HIVE_INVALID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_in_good_order_and_may_be_asked_for_twice() {
    let host = three(Strategy::OneForOne).await;
    let (first, second) = (host.clone(), host.clone());
    tokio::join!(first.shutdown(), second.shutdown());
    assert_eq!(kit::within("the end of the hive", host.ended()).await, ExitReason::Shutdown);
    assert_eq!(ask(&host, "a", "k", json!(0)).await.expect_err("it has ended").code(), "E_HOST_STOPPING");
}
