//! `kill -9` of the host at random moments of a durable workload: nothing acknowledged is lost, nothing is doubled, and
//! the order is kept.

use std::time::Duration;

use skep_tests::chance::{Chance, number};
use skep_tests::crash::{Outcome, Plan, run};

/// A start with few messages takes a fraction of this on an idle machine.
const START_MAX: Duration = Duration::from_secs(20);
/// The time of all of it: for each kill, and for the rest.
const KILL_TIME: Duration = Duration::from_secs(6);
const OTHER_TIME: Duration = Duration::from_secs(120);

/// `SKEP_KILLS`, or 20.
fn kills() -> u32 {
    number("SKEP_KILLS").map_or(20, |kills| u32::try_from(kills).expect("SKEP_KILLS is a small number"))
}

async fn survives(what: &str, plan: Plan) -> Outcome {
    let chance = Chance::announced(what);
    let time = OTHER_TIME + KILL_TIME * plan.kills;
    let outcome = tokio::time::timeout(time, run(&plan, chance)).await.expect("an end in time");
    println!(
        "{what}: {} kills, {} acknowledged, slowest start {:?}, {} of {} swaps unfinished",
        plan.kills, outcome.acknowledged, outcome.slowest_start, outcome.swaps_unfinished, outcome.swaps_begun
    );
    assert!(outcome.acknowledged > u64::from(plan.kills), "the workload has stood still");
    assert!(outcome.slowest_start < START_MAX, "{:?}", outcome.slowest_start);
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_random_moments_loses_and_doubles_nothing() {
    survives("kill -9", Plan { kills: kills(), swaps: false, hosts: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_in_the_middle_of_swaps_loses_and_doubles_nothing() {
    let outcome = survives("kill -9 and swaps", Plan { kills: kills(), swaps: true, hosts: 1 }).await;
    assert!(outcome.swaps_unfinished > 0, "none of {} swaps was under way at a kill", outcome.swaps_begun);
}

/// A host that was killed is missed until its lease has ended, so this one takes its time: a third of the kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_either_host_and_of_the_server_loses_and_doubles_nothing() {
    survives("kill -9 of two hosts and their server", Plan { kills: kills().div_ceil(3), swaps: false, hosts: 2 })
        .await;
}
