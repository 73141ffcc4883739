//! The acts: the hosts start, an agent traps, a plugin is swapped, a host is killed and started again, while files flow.
//! Never looks at a file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::process::Child;
use tokio::task::JoinSet;

use super::stage::{Player, Stage};
use super::traffic::{Sent, Traffic, pause};
use crate::api::types::{List, Node, Receipt, SwapRequest};
use crate::client::Connection;
use crate::command::swap_summary;
use crate::failure::{Failure, Outcome};
use crate::output::{Bar, Output};

/// Senders at a time, each with one message under way.
const SENDERS: usize = 32;
/// The longest that a host may take to start, and all of them to find each other.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// The counter of traps.
const TRAPS: &str = "turn.failed.trap";

/// What the acts have shown.
#[derive(Debug)]
pub(super) struct Shown {
    /// Files that are not as the list has them, by place.
    pub(super) unlike: Vec<(usize, Sent)>,
    /// The swaps of all hosts as one.
    pub(super) receipt: Receipt,
    pub(super) traps: u64,
    /// Files that were done when the host was killed.
    pub(super) killed_at: usize,
    /// From the kill to the moment the host answered again.
    pub(super) outage_ms: u128,
    /// The hosts, still running, in the order of the players.
    pub(super) hosts: Vec<Child>,
}

/// Plays all acts; `bar` counts files. The last of the players is the one that is killed.
pub(super) async fn play(
    traffic: &Arc<Traffic>,
    stage: &Stage,
    players: &[Player],
    output: &Output,
    bar: &Bar,
) -> Outcome<Shown> {
    let count = traffic.files.len();
    let mut hosts = Vec::new();
    for player in players {
        hosts.push(started(player).await?);
    }
    united(players).await?;
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS.min(count) {
        senders.spawn(Arc::clone(traffic).send_files());
    }
    // Half of the files flow before the swap is through, another quarter before the kill, the rest after it.
    traffic.gate.open(count / 2);
    unless_stopped(&mut senders, traffic.gate.reached(count / 4)).await?;
    bar.note(output, "swapping the plugin digest for its second version");
    let receipt = swap(players, &stage.second_version()).await?;
    bar.note(output, &swap_summary(&receipt));
    traffic.gate.open(count * 3 / 4);
    unless_stopped(&mut senders, traffic.gate.reached(count / 2)).await?;
    let traps = traps(players).await?;
    if traps.iter().sum::<u64>() > 0 {
        let told = "an agent trapped on purpose";
        bar.note(output, &format!("{told} ({} turns undone): its messages came again", traps.iter().sum::<u64>()));
    }
    let (Some(victim), Some(host)) = (players.last(), hosts.pop()) else { return Err(nobody()) };
    bar.note(output, &format!("kill -9 of {}", victim.called()));
    let killed = Instant::now();
    kill(host).await?;
    let killed_at = traffic.gate.done();
    hosts.push(started(victim).await?);
    let outage_ms = killed.elapsed().as_millis();
    bar.note(
        output,
        &format!("{} is back after {outage_ms} ms; what was not acknowledged is sent again", victim.called()),
    );
    traffic.gate.open(usize::MAX);
    let mut unlike = Vec::new();
    while let Some(ended) = senders.join_next().await {
        unlike.extend(ended.map_err(|error| Failure::new("E_DEMO_FAILED", error.to_string()))??);
    }
    // The one that was killed counts from its new start.
    let before = traps.last().copied().unwrap_or(0);
    let traps = before + self::traps(players).await?.iter().sum::<u64>();
    Ok(Shown { unlike, receipt, traps, killed_at, outage_ms, hosts })
}

fn nobody() -> Failure {
    Failure::new("E_DEMO_FAILED", "there is no host")
}

async fn started(player: &Player) -> Outcome<Child> {
    let what = format!("{} did not start", player.called());
    in_time(&what, async { player.launch.start(|_| {}).await.map(|(host, _)| host) }).await
}

async fn in_time<T>(what: &str, done: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match tokio::time::timeout(START_TIME_MAX, done).await {
        Ok(done) => done,
        Err(_) => Err(Failure::new("E_DEMO_FAILED", format!("{what} in {} s", START_TIME_MAX.as_secs()))),
    }
}

/// Waits until each host sees the agents of all others.
async fn united(players: &[Player]) -> Outcome {
    let find = async {
        for player in players.iter().filter(|player| player.name.is_some()) {
            while !sees_all(player, players).await? {
                pause().await;
            }
        }
        Ok(())
    };
    in_time("the hosts did not find each other", find).await
}

async fn sees_all(player: &Player, players: &[Player]) -> Outcome<bool> {
    let nodes: List<Node> = Connection::open(&player.launch.data).await?.get("/v1/nodes").await?;
    let sees = |other: &Player| {
        let mut found = nodes.items.iter().filter(|node| other.name == Some(node.host.as_str()));
        found.any(|node| node.connected && node.agents >= other.agents)
    };
    Ok(players.iter().all(sees))
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

/// Swaps the plugin under the agents of every host, and gives the receipts as one.
async fn swap(players: &[Player], file: &Path) -> Outcome<Receipt> {
    let request = SwapRequest { target: "digest".to_owned(), file: file.to_string_lossy().into_owned() };
    let mut all: Option<Receipt> = None;
    for player in players {
        let one: Receipt = Connection::open(&player.launch.data).await?.post("/v1/swap", &request).await?;
        all = Some(match all {
            None => one,
            Some(before) => Receipt {
                lost: before.lost + one.lost,
                replayed: before.replayed + one.replayed,
                pause_ms: before.pause_ms.max(one.pause_ms),
                agents: [before.agents, one.agents].concat(),
                ..one
            },
        });
    }
    all.ok_or_else(nobody)
}

/// Traps so far on each host.
async fn traps(players: &[Player]) -> Outcome<Vec<u64>> {
    let mut all = Vec::new();
    for player in players {
        let counters: Map<String, Value> = Connection::open(&player.launch.data).await?.get("/v1/counters").await?;
        all.push(counters.get(TRAPS).and_then(Value::as_u64).unwrap_or(0));
    }
    Ok(all)
}

/// SIGKILL: nothing of the host gets a chance to say good-bye.
async fn kill(mut host: Child) -> Outcome {
    host.kill().await.map_err(|error| Failure::io("kill -9 of the host", &error))
}
