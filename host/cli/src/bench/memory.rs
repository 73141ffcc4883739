//! Skep without a store: messages between agents, asks of the program, starts and restarts.

use std::time::{Duration, Instant};

use skep_core::spec::Durability;
use skep_runtime::Host;

use super::control::RING;
use super::lab::{Lab, agent, ask as ask_of, member_name, name, ring, send};
use crate::failure::{Failure, Outcome};

/// Messages of `tell`.
const TELLS: u32 = 10_000_000;
const TELLS_QUICK: u32 = 2_000_000;
/// Asks of the program, and between agents.
const ASKS: u32 = 100_000;
const ASKS_QUICK: u32 = 40_000;
/// Laps of the ring.
const LAPS: u32 = 100;
const LAPS_QUICK: u32 = 40;
/// Agents that are started, and restarts.
const STARTS: u32 = 1_000;
const STARTS_QUICK: u32 = 300;
/// The body of a message, in bytes.
const BODY_BYTES: usize = 64;

const NONE: Durability = Durability::None;

/// The program asks one agent, one at a time.
pub(super) fn ask(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(vec![agent("echo", NONE)?]).await?;
        let body = bytes::Bytes::from_static(&[b'x'; BODY_BYTES]);
        let count = lab.count(ASKS, ASKS_QUICK);
        for _ in 0..count / 10 {
            host.ask("echo", "echo", body.clone(), Default::default()).await?;
        }
        let began = Instant::now();
        for _ in 0..count {
            host.ask("echo", "echo", body.clone(), Default::default()).await?;
        }
        ended(&host, began.elapsed(), count).await
    })
}

/// A guest sends to a guest, until the last is handled.
pub(super) fn tell(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(vec![agent("source", NONE)?, agent("sink", NONE)?]).await?;
        flood(&host, TELLS_QUICK / 10).await?;
        let count = lab.count(TELLS, TELLS_QUICK);
        let taken = flood(&host, count).await?;
        ended(&host, taken, count).await
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
        let count = lab.count(ASKS, ASKS_QUICK);
        let order = |count: u32| format!(r#"{{"to":"echo","count":{count},"size":{BODY_BYTES}}}"#);
        ask_of(&host, "asker", "asks", order(count / 10)).await?;
        let began = Instant::now();
        ask_of(&host, "asker", "asks", order(count)).await?;
        ended(&host, began.elapsed(), count).await
    })
}

/// One message around a ring.
pub(super) fn ring_hop(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let host = lab.hive(ring(RING, NONE)?).await?;
        go_round(&host, 2).await?;
        let laps = lab.count(LAPS, LAPS_QUICK);
        let taken = go_round(&host, laps).await?;
        ended(&host, taken, laps * RING).await
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
        let count = lab.count(STARTS, STARTS_QUICK);
        let mut taken = Duration::ZERO;
        for at in 0..count {
            let spec = agent(&format!("new-{at}"), NONE)?;
            let text = spec.name.clone();
            let began = Instant::now();
            host.spawn(None, spec).await?;
            host.ask(text.as_str(), "noop", Default::default(), Default::default()).await?;
            taken += began.elapsed();
            host.stop(text.as_str(), true).await?;
        }
        Ok(in_us(ended(&host, taken, count).await?))
    })
}

/// An agent traps on a message, which is not tried again, until the agent answers the next one.
pub(super) fn restart_us(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let mut spec = agent("trapper", NONE)?;
        spec.budget.attempts_max = 1;
        spec.budget.crash_loop_failures_max = u32::MAX;
        let host = lab.hive(vec![spec]).await?;
        let count = lab.count(STARTS, STARTS_QUICK);
        let mut taken = Duration::ZERO;
        for _ in 0..count {
            let began = Instant::now();
            let trapped = host.ask("trapper", "trap", Default::default(), Default::default()).await;
            if trapped.is_ok() {
                return Err(Failure::new("E_BENCH_FAILED", "the guest did not trap"));
            }
            host.ask("trapper", "noop", Default::default(), Default::default()).await?;
            taken += began.elapsed();
        }
        Ok(in_us(ended(&host, taken, count).await?))
    })
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

/// Ends the hive. Nanoseconds for each.
async fn ended(host: &Host, taken: Duration, count: u32) -> Outcome<Vec<f64>> {
    host.shutdown().await;
    Ok(vec![taken.as_nanos() as f64 / f64::from(count.max(1))])
}

fn in_us(ns: Vec<f64>) -> Vec<f64> {
    ns.into_iter().map(|ns| ns / 1_000.0).collect()
}
