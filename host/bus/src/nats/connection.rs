//! One lane's connection: made in the background, kept for ever, and whether it is up. Never waits for a server.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::{Context, context::ContextBuilder};
use async_nats::{Client, ClientError, ConnectOptions, Event, ServerAddr, ServerError};
use tokio::sync::watch;

use super::handle::Options;
use super::lane::Lane;
use super::pace;
use super::word::Teller;
use crate::Error;

/// How many messages wait for a task that takes them: a lane's frames are asked for in smaller batches, so that only
/// confirmations can ever be too many, and those may be lost.
const SUBSCRIPTION_MESSAGES_MAX: usize = 4_096;
/// A server that says nothing for two of these is gone.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A server that refuses this host is asked again this slowly: credentials change by a person's hand.
const DENIED_PAUSE: Duration = Duration::from_secs(10);
/// The client never ends trying by itself while it has no server: when the room is gone it sleeps this long instead.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A connection, cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) lane: Lane,
    pub(super) client: Client,
    pub(super) jetstream: Context,
    state: watch::Receiver<State>,
}

/// How it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) up: bool,
    /// How often it came up.
    pub(super) round: u64,
    /// Why it is not up; empty as long as nothing is known.
    pub(super) why: String,
    denied: bool,
}

impl Line {
    /// Begins to connect; once `ended` is set it tries no more.
    pub(super) async fn open(
        lane: Lane,
        options: &Options,
        teller: &Teller,
        ended: &Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let servers = servers(&options.url)?;
        let (sender, state) = watch::channel(State::default());
        let delay = {
            let (ended, state) = (Arc::clone(ended), state.clone());
            move |attempt: usize| match attempt {
                _ if ended.load(Ordering::Relaxed) => NEVER,
                _ if state.borrow().denied => DENIED_PAUSE,
                0 | 1 => Duration::ZERO,
                more => pace::back_off(u32::try_from(more - 1).unwrap_or(u32::MAX)),
            }
        };
        let teller = teller.clone();
        let client = ConnectOptions::new()
            .name(format!("skep {} {} {}", options.hive, options.host, lane.name()))
            .retry_on_initial_connect()
            .ping_interval(PING_EVERY)
            .request_timeout(Some(pace::ANSWER_MAX))
            .connection_timeout(pace::ANSWER_MAX)
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .reconnect_delay_callback(delay)
            .event_callback(move |event| {
                heard(lane, event, &sender, &teller);
                std::future::ready(())
            })
            .connect(servers)
            .await
            .map_err(|error| Error::NatsUrl { url: harmless(&options.url), why: error.to_string() })?;
        let jetstream = ContextBuilder::new().timeout(pace::ANSWER_MAX).build(client.clone());
        Ok(Self { lane, client, jetstream, state })
    }

    /// The round it is up in, or why it is not.
    pub(super) fn up(&self) -> Result<u64, Error> {
        let state = self.state.borrow();
        match &*state {
            State { up: true, round, .. } => Ok(*round),
            State { denied: true, why, .. } => Err(Error::NatsAuth { why: why.clone() }),
            State { why, .. } if why.is_empty() => Err(Error::NatsAway { why: "not yet connected".to_owned() }),
            State { why, .. } => Err(Error::NatsAway { why: why.clone() }),
        }
    }

    /// Waits until it is up, or until it is known why it is not.
    pub(super) async fn known(&self) -> State {
        self.until(|state| state.up || !state.why.is_empty()).await
    }

    /// Waits until it is up.
    pub(super) async fn until_up(&self) -> u64 {
        self.until(|state| state.up).await.round
    }

    /// Waits until the connection of this round is lost, and says why.
    pub(super) async fn gone(&self, round: u64) -> String {
        let state = self.until(|state| !state.up || state.round != round).await;
        if state.why.is_empty() { "the connection was lost".to_owned() } else { state.why }
    }

    async fn until(&self, done: impl FnMut(&State) -> bool) -> State {
        if let Ok(state) = self.state.clone().wait_for(done).await {
            return state.clone();
        }
        // The client has ended, so whoever waits is about to.
        std::future::pending().await
    }
}

/// What an event of the client changes.
fn heard(lane: Lane, event: Event, state: &watch::Sender<State>, teller: &Teller) {
    match event {
        Event::Connected => {
            state.send_modify(|state| *state = State { up: true, round: state.round + 1, ..State::default() });
        }
        Event::Disconnected => down(state, "the connection was lost", false),
        Event::Closed => down(state, "the connection was closed", false),
        Event::ServerError(ServerError::AuthorizationViolation) => {
            denied(lane, "authorization violation", state, teller)
        }
        Event::ServerError(error) => {
            let text = error.to_string();
            let code = if is_denial(&text) { "E_NATS_AUTH: " } else { "" };
            teller.trouble(format!("{code}lane {}: {text}", lane.name()));
        }
        Event::ClientError(ClientError::Other(text)) if is_denial(&text) => denied(lane, &text, state, teller),
        // What goes wrong while it is not up is why it is not.
        Event::ClientError(error) if !state.borrow().up => down(state, &error.to_string(), false),
        Event::ClientError(error) => teller.trouble(format!("lane {}: {error}", lane.name())),
        Event::SlowConsumer(_) => {
            teller.trouble(format!("lane {}: this host is too slow, confirmations are dropped", lane.name()));
        }
        Event::LameDuckMode => teller.trouble(format!("lane {}: the server is about to stop", lane.name())),
        Event::Draining => {}
    }
}

fn down(state: &watch::Sender<State>, why: &str, denied: bool) {
    state.send_modify(|state| {
        state.up = false;
        why.clone_into(&mut state.why);
        state.denied = denied;
    });
}

fn denied(lane: Lane, why: &str, state: &watch::Sender<State>, teller: &Teller) {
    down(state, why, true);
    teller.trouble(format!("E_NATS_AUTH: lane {}: {why}", lane.name()));
}

/// The client tells refusals only as text.
fn is_denial(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["authorization", "authentication", "permissions violation", "signing nonce"].iter().any(|word| text.contains(word))
}

fn servers(url: &str) -> Result<Vec<ServerAddr>, Error> {
    url.split(',')
        .map(|one| {
            let one = one.trim();
            let bad = |why: String| Error::NatsUrl { url: harmless(one), why };
            let server = ServerAddr::from_str(one).map_err(|error| bad(error.to_string()))?;
            match server.scheme() {
                _ if server.host().is_empty() => Err(bad("it names no host".to_owned())),
                "nats" | "tls" => Ok(server),
                other => Err(bad(format!("{other} is not spoken, but nats and tls"))),
            }
        })
        .collect()
}

/// An address without what is secret in it, safe to show.
fn harmless(url: &str) -> String {
    let rest = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    skep_core::name::shown(rest, 128)
}
