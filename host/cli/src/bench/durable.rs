//! Skep on a disk: turns of a thousand durable agents, asks of one, and a swap while messages flow. Never what an agent
//! without durability costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use skep_core::spec::Durability;
use skep_runtime::{Host, SwapReceipt};
use skep_store::SqliteStore;
use skep_store::raw::{self, BODY_BYTES};

use super::control::RING;
use super::lab::{Lab, agent, ask, failed, member_name, ring, send};
use crate::failure::Outcome;

/// Messages that go round at the same time, each in a turn of its own.
const IN_FLIGHT: u32 = 1_024;
/// How long turns are counted, here and in the control, in windows of which the best one counts.
pub(super) const WINDOW: Duration = Duration::from_millis(500);
pub(super) const WINDOWS: u32 = 3;
pub(super) const WINDOWS_QUICK: u32 = 1;
/// Asks of one durable agent.
const ASKS: u32 = 1_000;
const ASKS_QUICK: u32 = 300;
/// Swaps of one agent.
const SWAPS: u32 = 10;
const SWAPS_QUICK: u32 = 4;

/// One message in, 200 bytes written, one message out: turns in a second whose commit stands, and the median and the 99th
/// percentile of the commits in microseconds.
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
    // A number that does not come to its end, in a body of the control's size.
    let mut body = u32::MAX.to_le_bytes().to_vec();
    body.resize(BODY_BYTES, 0);
    let sends = (0..IN_FLIGHT).map(|at| {
        let (host, to, body) = (host.clone(), member_name(at % RING), body.clone());
        tokio::spawn(async move { send(&host, &to, raw::KIND, body).await })
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

/// A message counts once what its turn did is committed.
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
        let mut best = None;
        for (_, file) in (0..lab.count(SWAPS, SWAPS_QUICK)).zip(versions.iter().cycle()) {
            let pause = pause_of(&host.swap("sink", file).await?)?;
            best = best.into_iter().chain(pause).min();
        }
        if flood.is_finished() {
            let ended = flood.await.map_err(|error| failed("the flood", &error))?;
            return Err(ended.err().unwrap_or_else(|| failed("the flood", &"it has ended")));
        }
        // The flood ends with the hive.
        host.shutdown().await;
        flood.abort();
        let best: Duration = best.ok_or_else(|| failed("swaps while messages flow", &"none kept a message waiting"))?;
        Ok(vec![best.as_secs_f64() * 1e6])
    })
}

/// The pause of a swap that kept messages waiting: one that did not says nothing, for no messages flowed then.
fn pause_of(receipt: &SwapReceipt) -> Outcome<Option<Duration>> {
    let [agent] = receipt.agents.as_slice() else {
        return Err(failed("a swap of one agent", &format!("{} were swapped", receipt.agents.len())));
    };
    if agent.lost != 0 {
        return Err(failed("a swap while messages flow", &format!("{} were lost", agent.lost)));
    }
    Ok((agent.waiting > 0).then_some(Duration::from_nanos(agent.pause_ns)))
}

/// More messages than the trial takes.
fn flood_for_ever(host: &Host) -> tokio::task::JoinHandle<Outcome<Bytes>> {
    let host = host.clone();
    let order = format!(r#"{{"to":"sink","count":{},"size":{BODY_BYTES}}}"#, u32::MAX);
    tokio::spawn(async move { ask(&host, "source", "flood", order).await })
}

#[cfg(test)]
mod tests {
    use skep_core::Digest;
    use skep_runtime::SwappedAgent;

    use super::*;
    use crate::bench::lab::name;

    #[test]
    fn a_pause_counts_only_if_messages_waited_and_none_was_lost() {
        let pause = |waiting, lost| {
            let agent = SwappedAgent { agent: name("sink").unwrap(), lost, replayed: 0, waiting, pause_ns: 7 };
            pause_of(&SwapReceipt { agents: vec![agent], from: Digest([1; 32]), to: Digest([2; 32]) })
        };
        assert_eq!(pause(3, 0).unwrap(), Some(Duration::from_nanos(7)));
        assert_eq!(pause(0, 0).unwrap(), None);
        assert_eq!(pause(3, 1).unwrap_err().code, "E_BENCH_FAILED");
    }
}
