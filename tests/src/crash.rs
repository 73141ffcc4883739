//! The kill harness: a durable workload on a real host that is killed at random moments and started again, clients that
//! send again what was not acknowledged, and a model that says what must be there in the end.
//!
//! The workload is that of the fixture `relay`: each client sends numbers to a relay of its own, by turns as a message and
//! as an ask; relays pass them on, ask each other, call a clerk and set timers. On two hosts every second relay is on the
//! other one, and the NATS server between them is killed too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use skep::api::types::{DeadLetter, List, MessageQuery, Node, SwapRequest};
use skep::client::{Connection, Outgoing};
use skep::failure::Failure;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::guests::{component, variant};
use crate::nats::NatsServer;
use crate::process::Process;

/// Relays, each with a client.
const RELAYS: usize = 4;
const CLERK: &str = "clerk";
/// At most so many acknowledgements pass between two kills, and at most so much time.
const ACKS_BETWEEN_MAX: u64 = 60;
const TIME_BETWEEN_MAX_MS: u64 = 120;
/// How long an ask waits: far longer than a host takes to come back.
const ASK_MS: u64 = 60_000;

/// What is to be done to the host.
pub struct Plan {
    /// How often it is killed.
    pub kills: u32,
    /// Whether swaps are under way at the kills.
    pub swaps: bool,
    /// One, or two of one hive.
    pub hosts: usize,
}

/// What came of it.
pub struct Outcome {
    /// Messages that were acknowledged, all clients together.
    pub acknowledged: u64,
    /// The longest start after a kill.
    pub slowest_start: Duration,
    /// Swaps that were asked for.
    pub swaps_begun: u64,
    /// Those that the host was killed in the middle of: asked for, and never answered.
    pub swaps_unfinished: u64,
}

struct Shared {
    homes: Vec<Home>,
    acked: watch::Sender<u64>,
    done: AtomicBool,
    swaps_begun: AtomicU64,
    swaps_unfinished: AtomicU64,
}

/// A host, whichever process it is.
struct Home {
    manifest: PathBuf,
    data: PathBuf,
    /// Counts its starts.
    starts: watch::Sender<u64>,
}

impl Home {
    /// One of so many; with the server between them.
    fn new(dir: &Path, host: usize, hosts: usize, nats: Option<&NatsServer>) -> Self {
        let file = dir.join(format!("hive-{host}.toml"));
        let own = nats.map(|nats| format!("host = \"host-{host}\"\nnats = \"{}\"\n", nats.url()));
        std::fs::write(&file, manifest(&own.unwrap_or_default(), host, hosts)).expect("a manifest");
        Self { manifest: file, data: dir.join(format!("data-{host}")), starts: watch::Sender::new(0) }
    }

    fn started(&self) {
        self.starts.send_modify(|starts| *starts += 1);
    }
}

impl Shared {
    /// Where an agent is: relays by turns, and the clerk on the first host.
    fn home_of(&self, agent: &str) -> &Home {
        let relay = (0..RELAYS).find(|relay| name(*relay) == agent).unwrap_or(0);
        &self.homes[relay % self.homes.len()]
    }
}

fn name(relay: usize) -> String {
    format!("relay-{}", relay % RELAYS)
}

fn manifest(own: &str, host: usize, hosts: usize) -> String {
    let path = component("relay");
    let mut text = format!("[hive]\nname = \"kill\"\n{own}\n[plugin.relay]\npath = {:?}\n", path.display().to_string());
    if host == 0 {
        text.push_str("\n[agent.clerk]\nplugin = \"relay\"\ndurability = \"process\"\n");
    }
    for relay in (0..RELAYS).filter(|relay| relay % hosts == host) {
        let durability = ["full", "process"][relay / hosts % 2];
        let (next, peer) = (name(relay + 1), name(relay + 2));
        text.push_str(&format!(
            "\n[agent.{}]\nplugin = \"relay\"\ndurability = \"{durability}\"\n\
             config = {{ next = \"{next}\", peer = \"{peer}\", clerk = \"{CLERK}\" }}\n\
             grants = {{ channels = [\"events\"], send_to = [\"relay-*\", \"{CLERK}\"] }}\n",
            name(relay)
        ));
    }
    text
}

/// Runs the workload, kills its host as planned, and holds what is there in the end against what was acknowledged.
pub async fn run(plan: &Plan, mut chance: Chance) -> Outcome {
    let dir = tempfile::tempdir().expect("a directory");
    let mut nats = if plan.hosts > 1 { Some(NatsServer::start().await) } else { None };
    let home = |host| Home::new(dir.path(), host, plan.hosts, nats.as_ref());
    let shared = Arc::new(Shared {
        homes: (0..plan.hosts).map(home).collect(),
        acked: watch::Sender::new(0),
        done: AtomicBool::new(false),
        swaps_begun: AtomicU64::new(0),
        swaps_unfinished: AtomicU64::new(0),
    });
    let mut processes = Vec::new();
    for home in &shared.homes {
        processes.push(Process::up(&home.manifest, &home.data).await);
        home.started();
    }
    until_acquainted(&shared).await;
    let clients: Vec<_> = (0..RELAYS).map(|relay| tokio::spawn(client(shared.clone(), relay))).collect();
    let versions: Vec<PathBuf> = (1..=2).map(|mark| variant("relay", dir.path(), mark)).collect();
    let mut slowest_start = Duration::ZERO;
    for kill in 0..plan.kills {
        some_moment(&shared, &mut chance).await;
        if plan.swaps {
            let version = versions[kill as usize % versions.len()].clone();
            tokio::spawn(swap(shared.clone(), version));
            some_moment(&shared, &mut chance).await;
        }
        if let Some(nats) = nats.as_mut().filter(|_| chance.once_in(3)) {
            nats.kill().await;
            some_moment(&shared, &mut chance).await;
            nats.start_again().await;
            continue;
        }
        let victim = chance.below(plan.hosts as u64) as usize;
        let home = &shared.homes[victim];
        processes.remove(victim).kill().await;
        let (started, took) = start_again(&home.manifest, &home.data, &mut chance).await;
        processes.insert(victim, started);
        slowest_start = slowest_start.max(took);
        home.started();
        // Else they would hardly ever have a word with each other.
        if plan.hosts > 1 && chance.once_in(2) {
            until_acquainted(&shared).await;
        }
    }
    shared.done.store(true, Ordering::SeqCst);
    let mut sent = Vec::new();
    for client in clients {
        sent.push(client.await.expect("a client that ends well"));
    }
    hold_against(&shared, &sent).await;
    Outcome {
        acknowledged: sent.iter().sum(),
        slowest_start,
        swaps_begun: shared.swaps_begun.load(Ordering::SeqCst),
        swaps_unfinished: shared.swaps_unfinished.load(Ordering::SeqCst),
    }
}

/// Hosts that have never run before hear of each other's agents only when both are there.
async fn until_acquainted(shared: &Shared) {
    let own =
        |host: usize| (0..RELAYS).filter(|relay| relay % shared.homes.len() == host).count() + usize::from(host == 0);
    let acquainted = async {
        for (at, home) in shared.homes.iter().enumerate() {
            let others: usize = (0..shared.homes.len()).filter(|host| *host != at).map(own).sum();
            let mut connection = Connection::open(&home.data).await.expect("a connection");
            loop {
                let nodes: List<Node> = connection.get("/v1/nodes").await.expect("a list");
                let known: u32 = nodes.items.iter().filter(|node| node.state == "up").map(|node| node.agents).sum();
                if known as usize == others {
                    break;
                }
            }
        }
    };
    crate::kit::within("hosts that know of each other", acquainted).await;
}

/// After some acknowledgements or some time, whichever comes first.
async fn some_moment(shared: &Shared, chance: &mut Chance) {
    let mut acked = shared.acked.subscribe();
    let target = *acked.borrow() + 1 + chance.below(ACKS_BETWEEN_MAX);
    let time = Duration::from_micros(chance.below(TIME_BETWEEN_MAX_MS * 1_000));
    // Either will do: the moment is meant to be any.
    let _ = tokio::time::timeout(time, acked.wait_for(|acked| *acked >= target)).await;
}

/// Starts the host; now and then it is killed while it starts.
async fn start_again(manifest: &Path, data: &Path, chance: &mut Chance) -> (Process, Duration) {
    while chance.once_in(4) {
        let mut process = Process::spawn(manifest, data);
        let time = Duration::from_micros(chance.below(60_000));
        // It may be ready before; it is killed all the same.
        let _ = tokio::time::timeout(time, process.ready()).await;
        process.kill().await;
    }
    let began = Instant::now();
    let process = Process::up(manifest, data).await;
    (process, began.elapsed())
}

/// Sends numbers until it is told to stop; says how many were acknowledged, which is all that it has sent.
async fn client(shared: Arc<Shared>, relay: usize) -> u64 {
    let mut line = Line { shared: &shared, connection: None };
    let mut n = 0;
    while !shared.done.load(Ordering::SeqCst) {
        n += 1;
        line.post(relay, n).await;
        shared.acked.send_modify(|acked| *acked += 1);
    }
    n
}

/// A message and how it is given.
struct Request {
    agent: String,
    asks: bool,
    message: Outgoing,
}

/// A client's way to the host, whichever process that is.
struct Line<'a> {
    shared: &'a Shared,
    /// With the start of the host that it was made to, and its data directory.
    connection: Option<(u64, PathBuf, Connection)>,
}

impl Line<'_> {
    /// Sends a number until it is acknowledged.
    async fn post(&mut self, relay: usize, n: u64) {
        let (agent, asks) = (name(relay), !n.is_multiple_of(2));
        let message = outgoing("post", &json!({ "n": n }), Some(&format!("{agent} {n}")));
        let reply = self.until_done(&Request { agent, asks, message }).await;
        assert!(!asks || reply == n.to_string().as_bytes(), "the reply to another message: {reply:?}");
    }

    async fn until_done(&mut self, request: &Request) -> Bytes {
        loop {
            let start = *self.shared.home_of(&request.agent).starts.borrow();
            match self.try_once(start, request).await {
                Ok(reply) => return reply,
                Err(failure) => self.wait_for_another(&request.agent, start, &failure).await,
            }
        }
    }

    /// The host is gone: the next one is waited for. Any other failure is none that a kill explains.
    async fn wait_for_another(&mut self, agent: &str, start: u64, failure: &Failure) {
        let gone = ["E_HOST_GONE", "E_HOST_UNREACHABLE"].contains(&&*failure.code);
        assert!(gone, "a host that runs refuses: {} {}\n{}", failure.code, failure.message, self.shown().await);
        self.connection = None;
        let mut starts = self.shared.home_of(agent).starts.subscribe();
        let next = tokio::time::timeout(crate::kit::LIMIT, starts.wait_for(|now| *now > start)).await;
        assert!(next.is_ok(), "the host does not answer: {}", failure.message);
    }

    /// All relays as the host shows them, for messages.
    async fn shown(&self) -> String {
        let mut shown = String::new();
        for relay in 0..RELAYS {
            let data = &self.shared.home_of(&name(relay)).data;
            let Ok(mut connection) = Connection::open(data).await else { break };
            let detail: Result<Value, Failure> = connection.get(&format!("/v1/agents/{}", name(relay))).await;
            shown.push_str(&detail.map_or_else(|failure| failure.message, |detail| format!("{detail}\n")));
        }
        shown
    }

    async fn try_once(&mut self, start: u64, request: &Request) -> Result<Bytes, Failure> {
        let data = &self.shared.home_of(&request.agent).data;
        if self.connection.as_ref().is_none_or(|(of, to, _)| (*of, to) != (start, data)) {
            self.connection = Some((start, data.clone(), Connection::open(data).await?));
        }
        let (_, _, connection) = self.connection.as_mut().expect("a connection");
        if request.asks {
            connection.ask(&request.agent, &request.message).await
        } else {
            connection.send(&request.agent, &request.message).await.map(|_| Bytes::new())
        }
    }
}

fn outgoing(kind: &str, body: &Value, client_id: Option<&str>) -> Outgoing {
    let query = MessageQuery {
        kind: kind.to_owned(),
        channel: None,
        client_id: client_id.map(str::to_owned),
        timeout_ms: Some(ASK_MS),
    };
    Outgoing { query, headers: Vec::new(), body: Bytes::from(body.to_string()) }
}

/// Begins a swap. Nobody waits for it: the host will be killed.
async fn swap(shared: Arc<Shared>, version: PathBuf) {
    let Ok(mut connection) = Connection::open(&shared.homes[0].data).await else { return };
    shared.swaps_begun.fetch_add(1, Ordering::SeqCst);
    let request = SwapRequest { target: "relay".to_owned(), file: version.display().to_string() };
    let swapped: Result<Value, Failure> = connection.post("/v1/swap", &request).await;
    if let Err(failure) = swapped {
        let expected = ["E_HOST_GONE", "E_HOST_UNREACHABLE", "E_SWAP_IN_PROGRESS", "E_HOST_STOPPING"];
        assert!(expected.contains(&&*failure.code), "a swap fails: {} {}", failure.code, failure.message);
        if failure.code == "E_HOST_GONE" {
            shared.swaps_unfinished.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Everything that was acknowledged is there, once, in its order; and all that follows from it has happened, once.
async fn hold_against(shared: &Shared, sent: &[u64]) {
    let mut line = Line { shared, connection: None };
    for relay in 0..RELAYS {
        let before = (relay + RELAYS - 1) % RELAYS;
        let (own, passed) = (sent[relay], sent[before]);
        let wanted = json!({"line": name(before), "last": passed});
        let (agent, message) = (name(relay), outgoing("settled", &wanted, None));
        let reply = line.until_done(&Request { agent: agent.clone(), asks: true, message }).await;
        let report: Value = serde_json::from_slice(&reply).expect("a report");
        let (of_client, of_relay) = ("outside".to_owned(), name(before));
        let in_order = |last: u64| json!({"last": last, "out_of_order": 0});
        let expected = json!({
            "lines": { &of_client: in_order(own), &of_relay: in_order(passed) },
            "keys": { &of_client: own, &of_relay: passed },
            "asked": own / 3, "confirmed": own / 3, "unconfirmed": 0,
            "timers_set": own / 5, "timers_rung": own / 5,
        });
        assert_eq!(report, expected, "{agent}: {own} from its client, {passed} from {of_relay}");
    }
    let request = Request { agent: CLERK.to_owned(), asks: true, message: outgoing("stamps", &Value::Null, None) };
    let stamps: (u64, u64) = serde_json::from_slice(&line.until_done(&request).await).expect("two numbers");
    assert_eq!(stamps, (sent.iter().map(|n| n / 4).sum(), 0), "what the clerk has stamped, and twice");
    for home in &shared.homes {
        let mut connection = Connection::open(&home.data).await.expect("a connection");
        let letters: List<DeadLetter> = connection.get("/v1/dead-letters").await.expect("a list");
        assert!(letters.items.is_empty(), "{:?}", letters.items);
    }
}
