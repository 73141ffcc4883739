//! The acts: a host starts, an agent traps, a plugin is swapped, the host is killed and started again, while files flow.
//! Never looks at a file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::process::Child;
use tokio::task::JoinSet;

use super::stage::Stage;
use super::traffic::{Sent, Traffic};
use crate::api::types::{Receipt, SwapRequest};
use crate::client::Connection;
use crate::command::swap_summary;
use crate::failure::{Failure, Outcome};
use crate::output::{Bar, Output};
use crate::process::Launch;

/// Senders at a time, each with one message under way.
const SENDERS: usize = 32;
/// The longest that a host may take to start.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// The counter of traps.
const TRAPS: &str = "turn.failed.trap";

/// What the acts have shown.
#[derive(Debug)]
pub(super) struct Shown {
    /// Files that are not as the list has them, by place.
    pub(super) unlike: Vec<(usize, Sent)>,
    pub(super) receipt: Receipt,
    pub(super) traps: u64,
    /// Files that were done when the host was killed.
    pub(super) killed_at: usize,
    /// From the kill to the moment the host answered again.
    pub(super) outage_ms: u128,
    /// The host, still running.
    pub(super) host: Child,
}

/// Plays all acts; `bar` counts files.
pub(super) async fn play(
    traffic: &Arc<Traffic>,
    stage: &Stage,
    launch: &Launch,
    output: &Output,
    bar: &Bar,
) -> Outcome<Shown> {
    let count = traffic.files.len();
    let (host, _) = started(launch).await?;
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS.min(count) {
        senders.spawn(Arc::clone(traffic).send_files());
    }
    // Half of the files flow before the swap is through, another quarter before the kill, the rest after it.
    traffic.gate.open(count / 2);
    unless_stopped(&mut senders, traffic.gate.reached(count / 4)).await?;
    bar.note(output, "swapping the plugin digest for its second version");
    let receipt = swap(&traffic.data, &stage.second_version()).await?;
    bar.note(output, &swap_summary(&receipt));
    traffic.gate.open(count * 3 / 4);
    unless_stopped(&mut senders, traffic.gate.reached(count / 2)).await?;
    let traps = counter(&traffic.data, TRAPS).await?;
    if traps > 0 {
        bar.note(output, &format!("an agent trapped on purpose ({traps} turns undone): its messages came again"));
    }
    bar.note(output, "kill -9 of the host");
    let killed = std::time::Instant::now();
    kill(host).await?;
    let killed_at = traffic.gate.done();
    let (host, _) = started(launch).await?;
    let outage_ms = killed.elapsed().as_millis();
    bar.note(output, &format!("the host is back after {outage_ms} ms; what was not acknowledged is sent again"));
    traffic.gate.open(usize::MAX);
    let mut unlike = Vec::new();
    while let Some(ended) = senders.join_next().await {
        unlike.extend(ended.map_err(|error| Failure::new("E_DEMO_FAILED", error.to_string()))??);
    }
    let traps = traps + counter(&traffic.data, TRAPS).await?;
    Ok(Shown { unlike, receipt, traps, killed_at, outage_ms, host })
}

async fn started(launch: &Launch) -> Outcome<(Child, crate::api::types::HostStatus)> {
    match tokio::time::timeout(START_TIME_MAX, launch.start(|_| {})).await {
        Ok(started) => started,
        Err(_) => {
            Err(Failure::new("E_DEMO_FAILED", format!("the host did not start in {} s", START_TIME_MAX.as_secs())))
        }
    }
}

/// Waits, unless a sender fails before.
async fn unless_stopped(
    senders: &mut JoinSet<Outcome<Vec<(usize, Sent)>>>,
    until: impl Future<Output = ()>,
) -> Outcome {
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return Ok(()),
            Some(ended) = senders.join_next() => {
                ended.map_err(|error| Failure::new("E_DEMO_FAILED", error.to_string()))??;
            }
        }
    }
}

async fn swap(data: &Path, file: &Path) -> Outcome<Receipt> {
    let request = SwapRequest { target: "digest".to_owned(), file: file.to_string_lossy().into_owned() };
    Connection::open(data).await?.post("/v1/swap", &request).await
}

async fn counter(data: &Path, name: &str) -> Outcome<u64> {
    let counters: Map<String, Value> = Connection::open(data).await?.get("/v1/counters").await?;
    Ok(counters.get(name).and_then(Value::as_u64).unwrap_or(0))
}

/// SIGKILL: nothing of the host gets a chance to say good-bye.
async fn kill(mut host: Child) -> Outcome {
    host.kill().await.map_err(|error| Failure::io("kill -9 of the host", &error))
}
