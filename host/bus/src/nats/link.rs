//! The frames of one lane: out with the server's word that it has them, in until they are done. Never what is in a frame,
//! and never whether one came before: the two ends number them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, MessagesErrorKind};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::{AckKind, Acker};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use bytes::Bytes;
use futures_util::StreamExt;
use skep_core::Name;
use tokio::sync::mpsc;

use super::address::{self, Addresses};
use super::connection::Line;
use super::gate::Gate;
use super::lane::Lane;
use super::pace::Pauses;
use super::word::{Teller, Word};
use crate::Error;

/// How many frames wait for a host in each lane: what it takes in one go; all others wait on the server.
pub(super) const FRAMES_MAX: usize = 128;
/// A hive whose hosts are away is stopped here, and its senders are told: their journals have the frames.
const STREAM_BYTES_MAX: i64 = 1 << 30;
/// A frame that is not done comes again after this.
const DONE_WITHIN: Duration = Duration::from_secs(10);
/// As many frames may be out to one host without being done.
const UNDONE_FRAMES_MAX: i64 = 1_024;
/// A frame that its host cannot take now comes again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// The largest frame before a server has told its own limit.
const FRAME_BYTES_UNKNOWN: usize = 512 * 1_024;
/// What a message may have beside its frame.
const HEADER_BYTES: usize = 1_024;
/// How long one request for frames stands, and how often the server says that it still does.
const REQUEST_FOR: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A frame of another host. One that is dropped without a word comes again, after 10 s.
pub struct Frame {
    /// The host that sent it.
    pub from: Name,
    /// The lane it came on.
    pub lane: Lane,
    /// What it sent.
    pub body: Bytes,
    acker: Acker,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("from", &self.from).field("lane", &self.lane).field("body", &self.body).finish()
    }
}

impl Frame {
    /// It never comes again, as far as the server remembers: a server that is wiped or killed may send it once more.
    pub async fn done(self) {
        // Without a connection it comes again, and is known by its number then.
        let _ = self.acker.ack().await;
    }

    /// It comes again soon.
    pub fn again(self) {
        tokio::spawn(async move { self.acker.ack_with(AckKind::Nak(Some(AGAIN_AFTER))).await });
    }
}

/// One lane of a host.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) line: Line,
    pub(super) addresses: Arc<Addresses>,
    pub(super) gate: Gate,
    pub(super) teller: Teller,
}

impl Link {
    /// Sends a frame, and waits for the server's word.
    pub(super) async fn publish(&self, to: &Name, frame: Bytes) -> Result<(), Error> {
        let round = self.ready()?;
        let bytes_max = frame_bytes_max(&self.line);
        if frame.len() > bytes_max {
            return Err(Error::NatsTooLarge { bytes: frame.len(), bytes_max });
        }
        let subject = self.addresses.link_to(self.line.lane, to);
        tokio::select! {
            sent = self.send(subject, frame) => sent,
            why = self.line.gone(round) => Err(Error::NatsAway { why }),
        }
    }

    /// The round of the connection that frames can be sent in now.
    pub(super) fn ready(&self) -> Result<u64, Error> {
        let round = self.line.up()?;
        if self.gate.is_open() {
            return Ok(round);
        }
        Err(Error::NatsAway { why: "this host's lease is not held".to_owned() })
    }

    async fn send(&self, subject: String, frame: Bytes) -> Result<(), Error> {
        match self.send_once(subject.clone(), frame.clone()).await {
            // It was wiped, or this is the first frame of the hive.
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                self.stream().await.map_err(|why| Error::NatsAway { why })?;
                self.send_once(subject, frame).await.map_err(away)
            }
            sent => sent.map_err(away),
        }
    }

    async fn send_once(&self, subject: String, frame: Bytes) -> Result<(), PublishError> {
        self.line.jetstream.publish(subject, frame).await?.await.map(|_| ())
    }

    /// Tells another host something that may be lost.
    pub(super) async fn confirm(&self, to: &Name, body: Bytes) {
        if self.line.up().is_ok() {
            let _ = self.line.client.publish(self.addresses.confirm_to(self.line.lane, to), body).await;
        }
    }

    /// Hears the confirmations of others as long as the client lives: it subscribes again by itself.
    pub(super) async fn hear_confirms(self) {
        let Ok(mut heard) = self.line.client.subscribe(self.addresses.confirm_here(self.line.lane)).await else {
            return;
        };
        while let Some(message) = heard.next().await {
            if let Some(from) = address::sender(&message.subject)
                && self.gate.is_open()
            {
                self.teller.try_tell(Word::Confirmed { from, lane: self.line.lane, body: message.payload });
            }
        }
    }

    /// Takes the frames to this host whenever the lane is up and the lease is held, and tells when that begins and ends.
    /// Ends when nobody takes frames any more.
    pub(super) async fn take_frames(self, frames: mpsc::Sender<Frame>) {
        let lane = self.line.lane;
        let mut pauses = Pauses::default();
        let mut lost_told = false;
        while !frames.is_closed() {
            let state = self.line.known().await;
            if !state.up {
                if !std::mem::replace(&mut lost_told, true) {
                    self.teller.tell(Word::Lost { lane, why: state.why }).await;
                }
                self.line.until_up().await;
                continue;
            }
            tokio::select! {
                why = self.line.gone(state.round) => {
                    lost_told = true;
                    self.teller.tell(Word::Lost { lane, why }).await;
                }
                () = self.while_up(&frames, &mut pauses) => lost_told = false,
            }
        }
    }

    async fn while_up(&self, frames: &mpsc::Sender<Frame>, pauses: &mut Pauses) {
        let mut told = false;
        while !frames.is_closed() {
            self.gate.open().await;
            let taken = tokio::select! {
                taken = self.take(frames, &mut told) => taken,
                () = self.gate.closed() => Ok(()),
            };
            match taken {
                Ok(()) => pauses.reset(),
                Err(why) => {
                    self.teller.trouble(format!("frames of lane {} cannot be taken: {why}", self.line.lane.name()));
                    pauses.next().await;
                }
            }
        }
    }

    /// Takes frames until the server or the receiver ends it.
    async fn take(&self, frames: &mpsc::Sender<Frame>, told: &mut bool) -> Result<(), String> {
        let lane = self.line.lane;
        let consumer = self.consumer().await?;
        let mut messages = consumer
            .stream()
            .max_messages_per_batch(FRAMES_MAX)
            .expires(REQUEST_FOR)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| error.to_string())?;
        if !std::mem::replace(told, true) {
            self.teller.tell(Word::Connected { lane }).await;
        }
        while let Some(message) = messages.next().await {
            let (message, acker) = match message {
                Ok(message) => message.split(),
                // The receiver took none for long, or the server is busy: asked again at once.
                Err(error) if error.kind() == MessagesErrorKind::MissingHeartbeat => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            let Some(from) = address::sender(&message.subject) else {
                // No host of ours sent it, and no host would ever take it.
                let _ = acker.ack_with(AckKind::Term).await;
                continue;
            };
            if frames.send(Frame { from, lane, body: message.payload, acker }).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn consumer(&self) -> Result<PullConsumer, String> {
        let config = pull::Config {
            durable_name: Some(self.addresses.consumer(self.line.lane)),
            filter_subject: self.addresses.link_here(self.line.lane),
            ack_policy: AckPolicy::Explicit,
            ack_wait: DONE_WITHIN,
            max_ack_pending: UNDONE_FRAMES_MAX,
            ..pull::Config::default()
        };
        self.stream().await?.create_consumer(config).await.map_err(|error| error.to_string())
    }

    /// The stream of the hive, made if it is missing.
    async fn stream(&self) -> Result<Stream, String> {
        let config = Config {
            name: self.addresses.stream.clone(),
            subjects: vec![self.addresses.links()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_bytes: STREAM_BYTES_MAX,
            storage: StorageType::File,
            ..Config::default()
        };
        self.line.jetstream.get_or_create_stream(config).await.map_err(|error| error.to_string())
    }
}

/// The largest frame: the server's limit, less what else is in the message.
pub(super) fn frame_bytes_max(line: &Line) -> usize {
    line.client.try_server_info().map_or(FRAME_BYTES_UNKNOWN, |info| info.max_payload.saturating_sub(HEADER_BYTES))
}

fn away(error: PublishError) -> Error {
    Error::NatsAway { why: error.to_string() }
}
