//! Skep without a store: messages between agents, asks of the program, starts and restarts.

use std::time::{Duration, Instant};

use skep_core::spec::Durability;
use skep_runtime::Host;

use super::control::RING;
use super::lab::{Lab, agent, ask as ask_of, member_name, name, ring, send};
use crate::failure::{Failure, Outcome};

/// Everything but `tell` is measured in many short windows, as the controls are: others use the machine too.
const WINDOWS: u32 = 40;
const WINDOWS_QUICK: u32 = 12;
/// Messages of `tell`.
const TELLS: u32 = 10_000_000;
const TELLS_QUICK: u32 = 2_000_000;
/// Messages before the first that count, so that everything is warm.
const TELLS_BEFORE: u32 = 200_000;
/// Asks of a window, of the program and between agents.
const ASKS: u32 = 2_500;
/// Laps of the ring in a window.
const LAPS: u32 = 3;
/// Agents that are started, and restarts, in a window.
const STARTS: u32 = 50;
/// The body of a message, in bytes.
const BODY_BYTES: usize = 64;

const NONE: Durability = Durability::None;

/// Nanoseconds for each of the `count` things of a window, in the best window. The first one warms up.
async fn best(lab: &Lab, count: u32, mut window: impl AsyncFnMut() -> Outcome<Duration>) -> Outcome<f64> {
    window().await?;
    let mut best = Duration::MAX;
    for _ in 0..lab.count(WINDOWS, WINDOWS_QUICK) {
        best = best.min(window().await?);
    }
    Ok(best.as_nanos() as f64 / f64::from(count.max(1)))
}

/// The program asks one agent, one at a time.
pub(super) fn ask(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(vec![agent("echo", NONE)?]).await?;
        let body = bytes::Bytes::from_static(&[b'x'; BODY_BYTES]);
        let each = best(lab, ASKS, async || {
            let began = Instant::now();
            for _ in 0..ASKS {
                host.ask("echo", "echo", body.clone(), Default::default()).await?;
            }
            Ok(began.elapsed())
        });
        let each = each.await?;
        host.shutdown().await;
        Ok(vec![each])
    })
}

/// A guest sends to a guest, until the last is handled.
pub(super) fn tell(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(vec![agent("source", NONE)?, agent("sink", NONE)?]).await?;
        flood(&host, TELLS_BEFORE).await?;
        let count = lab.count(TELLS, TELLS_QUICK);
        let taken = flood(&host, count).await?;
        host.shutdown().await;
        Ok(vec![taken.as_nanos() as f64 / f64::from(count)])
    })
}

async fn flood(host: &Host, count: u32) -> Outcome<Duration> {
    let order = format!(r#"{{"to":"sink","count":{count},"size":{BODY_BYTES}}}"#);
    let began = Instant::now();
    let (last, sent) = tokio::join!(
        ask_of(host, "sink", "await", format!(r#"{{"count":{count}}}"#)),
        ask_of(host, "source", "flood", order)
    );
    last.and(sent)?;
    Ok(began.elapsed())
}

/// An agent asks an agent, one at a time.
pub(super) fn ask_agents(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(vec![agent("asker", NONE)?, agent("echo", NONE)?]).await?;
        let order = format!(r#"{{"to":"echo","count":{ASKS},"size":{BODY_BYTES}}}"#);
        let each = best(lab, ASKS, async || {
            let began = Instant::now();
            ask_of(&host, "asker", "asks", order.clone()).await?;
            Ok(began.elapsed())
        });
        let each = each.await?;
        host.shutdown().await;
        Ok(vec![each])
    })
}

/// One message around a ring.
pub(super) fn ring_hop(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(ring(RING, NONE)?).await?;
        let each = best(lab, LAPS * RING, async || go_round(&host, LAPS).await).await?;
        host.shutdown().await;
        Ok(vec![each])
    })
}

async fn go_round(host: &Host, laps: u32) -> Outcome<Duration> {
    let first = member_name(0);
    let hops = (laps * RING).to_le_bytes().to_vec();
    let began = Instant::now();
    let (last, sent) = tokio::join!(ask_of(host, &first, "await", r#"{"count":1}"#), send(host, &first, "hop", hops));
    last.map(drop).and(sent)?;
    Ok(began.elapsed())
}

/// A new agent, until its first reply. Its end is not counted.
pub(super) fn spawn_us(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(Vec::new()).await?;
        let each = best(lab, STARTS, async || {
            let mut taken = Duration::ZERO;
            for at in 0..STARTS {
                taken += spawned(&host, at).await?;
            }
            Ok(taken)
        });
        let each = each.await?;
        host.shutdown().await;
        Ok(vec![each / 1_000.0])
    })
}

async fn spawned(host: &Host, at: u32) -> Outcome<Duration> {
    let spec = agent(&format!("new-{at}"), NONE)?;
    let text = spec.name.clone();
    let began = Instant::now();
    host.spawn(None, spec).await?;
    host.ask(text.as_str(), "noop", Default::default(), Default::default()).await?;
    let taken = began.elapsed();
    host.stop(text.as_str(), true).await?;
    Ok(taken)
}

/// An agent traps on a message, which is not tried again, until the agent answers the next one.
pub(super) fn restart_us(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let mut spec = agent("trapper", NONE)?;
        spec.budget.attempts_max = 1;
        spec.budget.crash_loop_failures_max = u32::MAX;
        let host = lab.hive(vec![spec]).await?;
        let each = best(lab, STARTS, async || {
            let began = Instant::now();
            for _ in 0..STARTS {
                restarted(&host).await?;
            }
            Ok(began.elapsed())
        });
        let each = each.await?;
        host.shutdown().await;
        Ok(vec![each / 1_000.0])
    })
}

async fn restarted(host: &Host) -> Outcome {
    let trapped = host.ask("trapper", "trap", Default::default(), Default::default()).await;
    if trapped.is_ok() {
        return Err(Failure::new("E_BENCH_FAILED", "the guest did not trap"));
    }
    host.ask("trapper", "noop", Default::default(), Default::default()).await?;
    Ok(())
}

/// So many agents of the host's, each asked once.
pub(super) async fn asked_once(lab: &Lab, agents: u32) -> Outcome<Host> {
    let specs = (0..agents).map(|at| agent(&member_name(at), NONE)).collect::<Outcome<Vec<_>>>()?;
    let host = lab.hive(specs).await?;
    for at in 0..agents {
        let to = name(&member_name(at))?;
        host.ask(to.as_str(), "noop", Default::default(), Default::default()).await?;
    }
    Ok(host)
}
