//! Skep on a disk: turns of a thousand durable agents, asks of one, and a swap while messages flow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_core::spec::Durability;
use skep_runtime::Host;
use skep_store::SqliteStore;

use super::control::RING;
use super::lab::{Lab, agent, ask, failed, member_name, ring, send};
use crate::failure::Outcome;

/// Messages that go round at the same time, each in a turn of its own.
const IN_FLIGHT: u32 = 1_024;
/// How long turns are counted, in windows of which the best one counts.
const WINDOW: Duration = Duration::from_millis(500);
const WINDOWS: u32 = 3;
const WINDOWS_QUICK: u32 = 1;
/// Asks of one durable agent.
const ASKS: u32 = 1_000;
const ASKS_QUICK: u32 = 300;
/// Swaps of one agent.
const SWAPS: u32 = 10;
const SWAPS_QUICK: u32 = 4;

/// One message in, 200 bytes written, one message out: turns in a second, and the median and the 99th percentile of
/// their commits in microseconds.
pub(super) fn turns(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let mut agents = ring(RING, Durability::Full)?;
        agents.iter_mut().for_each(|agent| agent.budget.batch_messages_max = 1);
        let (host, store) = lab.hive_on_disk("turns", agents).await?;
        fill(&host).await?;
        let mut best = 0f64;
        for _ in 0..lab.count(WINDOWS, WINDOWS_QUICK) {
            best = best.max(turns_per_s(&host).await?);
        }
        let (p50, p99) = commits_us(&store);
        // The messages still go round: the hive is ended as it is.
        host.shutdown().await;
        Ok(vec![best, p50, p99])
    })
}

async fn fill(host: &Host) -> Outcome {
    let hops = u32::MAX.to_le_bytes();
    let sends = (0..IN_FLIGHT).map(|at| {
        let (host, to) = (host.clone(), member_name(at % RING));
        tokio::spawn(async move { send(&host, &to, "durable", hops.to_vec()).await })
    });
    for sent in sends.collect::<Vec<_>>() {
        sent.await.map_err(|error| failed("a message to go round", &error))??;
    }
    Ok(())
}

async fn turns_per_s(host: &Host) -> Outcome<f64> {
    let (before, began) = (handled(host), Instant::now());
    // A window of time is made of time.
    let _ = tokio::time::timeout(WINDOW, std::future::pending::<()>()).await;
    Ok(handled(host).saturating_sub(before) as f64 / began.elapsed().as_secs_f64())
}

fn handled(host: &Host) -> u64 {
    let counters = host.counters();
    counters.values.iter().find(|(name, _)| name == "messages.handled").map_or(0, |(_, count)| *count)
}

fn commits_us(store: &Arc<SqliteStore>) -> (f64, f64) {
    let stats = store.stats();
    (stats.commit_p50.as_secs_f64() * 1e6, stats.commit_p99.as_secs_f64() * 1e6)
}

/// The program asks one agent that writes 200 bytes; the reply is the acknowledgement. The median.
pub(super) fn ask_us(lab: &Lab) -> Outcome<Vec<f64>> {
    lab.wait(async {
        let (host, _) = lab.hive_on_disk("ask", vec![agent("keeper", Durability::Full)?]).await?;
        let mut taken = Vec::new();
        for _ in 0..lab.count(ASKS, ASKS_QUICK) {
            let began = Instant::now();
            host.ask("keeper", "put", Default::default(), Default::default()).await?;
            taken.push(began.elapsed());
        }
        host.shutdown().await;
        taken.sort_unstable();
        let median = taken.get(taken.len() / 2).copied().unwrap_or_default();
        Ok(vec![median.as_secs_f64() * 1e6])
    })
}

/// One durable agent is swapped to and fro while another floods it: the shortest pause.
pub(super) fn swap_pause_us(lab: &Lab) -> Outcome<Vec<f64>> {
    let versions = [lab.second_version()?, lab.guest.clone()];
    lab.wait(async {
        let agents = vec![agent("source", Durability::None)?, agent("sink", Durability::Process)?];
        let (host, _) = lab.hive_on_disk("swap", agents).await?;
        let flood = flood_for_ever(&host);
        let mut pause = Duration::MAX;
        for (_, file) in (0..lab.count(SWAPS, SWAPS_QUICK)).zip(versions.iter().cycle()) {
            let receipt = host.swap("sink", file).await?;
            let pauses = receipt.agents.iter().map(|agent| Duration::from_nanos(agent.pause_ns));
            pause = pauses.fold(pause, Duration::min);
        }
        host.shutdown().await;
        flood.abort();
        Ok(vec![pause.as_secs_f64() * 1e6])
    })
}

/// More messages than the trial takes.
fn flood_for_ever(host: &Host) -> tokio::task::JoinHandle<()> {
    let host = host.clone();
    tokio::spawn(async move {
        let order = format!(r#"{{"to":"sink","count":{},"size":64}}"#, u32::MAX);
        // It ends with the hive.
        let _ = ask(&host, "source", "flood", order).await;
    })
}
