//! The room's door: options in, a handle and ears out. Never does the work: each task is in its own file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use skep_core::Name;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::address::Addresses;
use super::connection::Line;
use super::gate::Gate;
use super::lane::Lane;
use super::lease::Keeper;
use super::link::{self, FRAMES_MAX, Link};
use super::names::{NAMES_MAX, Names, Writer};
use super::node::Node;
use super::pace;
use super::watch::Watcher;
use super::word::{Ears, Teller, WORDS_MAX};
use crate::Error;

/// A host that was not heard of for this long is gone, in seconds.
pub const LEASE_S_DEFAULT: u32 = 5;
/// The shortest lease, in seconds: servers count whole ones, and three renewals have to fit in it.
pub const LEASE_S_MIN: u32 = 2;

/// How a host joins its hive.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers, with commas between them: `nats://host:4222`.
    pub url: String,
    /// The hive.
    pub hive: Name,
    /// This host's name in it.
    pub host: Name,
    /// Who this host is, over all its lives: one with the same takes its lease over at once. None: a lease of an earlier life
    /// is waited out.
    pub instance: Option<String>,
    /// How long this host's lease lasts, in seconds.
    pub lease_s: u32,
}

/// A host's way to the others of its hive. Cheap to clone; once the last is dropped all ends without a word, as if the
/// process had died.
#[derive(Clone, Debug)]
pub struct Nats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: Link,
    data: Link,
    names: Arc<Names>,
    node: watch::Sender<Node>,
    teller: Teller,
    closing: watch::Sender<bool>,
    ended: Arc<AtomicBool>,
    /// The lease's task, which gives it up at the end.
    keeper: Mutex<Option<JoinHandle<()>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Nats {
    /// Joins a hive in the background, also while the server is away. Only options that can never work are an error.
    pub async fn connect(options: Options) -> Result<(Self, Ears), Error> {
        if options.lease_s < LEASE_S_MIN {
            let why = format!("a lease of {} s is shorter than {LEASE_S_MIN} s", options.lease_s);
            return Err(Error::NatsUrl { url: "the lease".to_owned(), why });
        }
        let (words, ears) = mpsc::channel(WORDS_MAX);
        let teller = Teller::new(words);
        let ended = Arc::new(AtomicBool::new(false));
        let addresses = Arc::new(Addresses::new(&options.hive, &options.host));
        let (standing, gate) = Gate::new();
        let link = |line| Link { line, addresses: Arc::clone(&addresses), gate: gate.clone(), teller: teller.clone() };
        let control = link(Line::open(Lane::Control, &options, &teller, &ended).await?);
        let data = link(Line::open(Lane::Data, &options, &teller, &ended).await?);
        let names = Arc::new(Names::new(options.host.clone()));
        let (node, said) = watch::channel(Node::default());
        let (closing, close) = watch::channel(false);
        // Random text that the client makes for its own subjects: no two processes have the same.
        let process = control.line.client.new_inbox();
        let keeper = Keeper {
            line: control.line.clone(),
            addresses: Arc::clone(&addresses),
            lease_s: options.lease_s,
            instance: options.instance.clone().unwrap_or_else(|| process.clone()),
            process,
            has_held: false,
            node: said,
            gate: standing,
            teller: teller.clone(),
            closing: close,
            round: 0,
            revision: None,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(
            Watcher {
                host: options.host.clone(),
                addresses: Arc::clone(&addresses),
                gate: gate.clone(),
                names: Arc::clone(&names),
                teller: teller.clone(),
                nodes: std::collections::HashMap::new(),
            }
            .watch(),
        );
        tasks.spawn(
            Writer { line: control.line.clone(), addresses, gate, names: Arc::clone(&names), teller: teller.clone() }
                .write(),
        );
        let mut take = |link: &Link| {
            let (sender, frames) = mpsc::channel(FRAMES_MAX);
            tasks.spawn(link.clone().take_frames(sender));
            tasks.spawn(link.clone().hear_confirms());
            frames
        };
        let ears = Ears { words: ears, control: take(&control), data: take(&data) };
        let keeper = Mutex::new(Some(tokio::spawn(keeper.keep())));
        let tasks = Mutex::new(tasks);
        Ok((Self(Arc::new(Inner { control, data, names, node, teller, closing, ended, keeper, tasks })), ears))
    }

    /// How large a frame can be.
    pub fn frame_bytes_max(&self) -> usize {
        Lane::ALL.map(|lane| link::frame_bytes_max(&self.link(lane).line)).into_iter().min().unwrap_or(0)
    }

    /// Whether frames can be sent now, on both lanes.
    pub fn is_connected(&self) -> bool {
        !*self.0.closing.borrow() && Lane::ALL.iter().all(|lane| self.link(*lane).ready().is_ok())
    }

    /// Sends a frame to another host, and returns when the server has it on disk, or after 5 s. Without a connection it
    /// fails at once. What failed may have arrived.
    pub async fn publish(&self, to: &Name, lane: Lane, frame: Bytes) -> Result<(), Error> {
        if *self.0.closing.borrow() {
            return Err(Error::NatsAway { why: "this host has left the hive".to_owned() });
        }
        self.link(lane).publish(to, frame).await
    }

    /// Tells another host something that may be lost.
    pub async fn confirm(&self, to: &Name, lane: Lane, body: Bytes) {
        self.link(lane).confirm(to, body).await;
    }

    /// Wants a name to be this host's, until it is freed: written when the server is there, and again when it forgot.
    pub fn hold(&self, name: Name) {
        if !self.0.names.hold(name) {
            self.0.teller.trouble(format!("this host holds {NAMES_MAX} names, the most that it can"));
        }
    }

    /// Gives a name up.
    pub fn free(&self, name: &Name) {
        self.0.names.free(name);
    }

    /// Says something new of this host, with its lease.
    pub fn say(&self, node: Node) {
        self.0.node.send_replace(node);
    }

    /// The client of lane control, for who needs the real thing.
    pub fn client(&self) -> async_nats::Client {
        self.0.control.line.client.clone()
    }

    /// Leaves the hive: gives the lease up, sends what is under way, and ends all tasks. Its names stay.
    pub async fn close(&self) {
        self.0.closing.send_replace(true);
        let keeper = self.0.keeper.lock().take();
        if let Some(keeper) = keeper {
            let _ = timeout(pace::CLOSE_MAX, keeper).await;
        }
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock());
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        self.0.ended.store(true, Ordering::Relaxed);
        for lane in Lane::ALL {
            let line = &self.link(lane).line;
            if line.up().is_ok() {
                let _ = timeout(pace::CLOSE_MAX, line.client.flush()).await;
                let _ = line.client.drain().await;
            }
        }
    }

    fn link(&self, lane: Lane) -> &Link {
        match lane {
            Lane::Control => &self.0.control,
            Lane::Data => &self.0.data,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.get_mut().take() {
            keeper.abort();
        }
    }
}
