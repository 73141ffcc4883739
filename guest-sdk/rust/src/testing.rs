//! Agents in native tests: `cargo test` instead of a host. A [`Testbed`] plays the host for one agent; other agents are
//! what the test says they are. Not in components.

pub(crate) mod host;
mod world;

pub use world::Effect;

use std::marker::PhantomData;
use std::mem::take;
use std::time::Duration;

use crate::agent::Agent;
use crate::body::{Body, Message};
use crate::error::{AskError, Refusal, SendError};
use crate::host::types::{self, Channel, ExitReason, MessageFlags, StartReason, TurnError};
use crate::id::{AskId, Id};
use crate::instance::Instance;
use world::{Rare, World, enter, number, plain};

/// Why a turn failed: what its agent wrote and asked for is undone, and the next message meets a new instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The configuration or the stored state cannot be used.
    Unusable(String),
    /// Anything else.
    Failed(String),
}

/// What became of a message: its reply's bytes if there was one, or its refusal.
pub type Outcome = Result<Option<Vec<u8>>, Refusal>;

/// One message of a batch, made by [`told`] or [`asked`].
#[derive(Clone, Debug)]
pub struct Incoming {
    kind: String,
    body: Vec<u8>,
    flags: MessageFlags,
    sender: Option<String>,
    attempt: u32,
    headers: Vec<(String, String)>,
    in_reply_to: Option<Id>,
    failure: Option<types::AskError>,
    missed: u32,
}

/// A message that nobody waits for. Panics if it cannot be encoded.
pub fn told<M: Message>(message: &M) -> Incoming {
    let body = message.encode().unwrap_or_else(|error| unreachable!("the message cannot be encoded: {error}"));
    Incoming::new(message.kind(), body.into_owned(), MessageFlags::empty())
}

/// A message whose sender waits for the reply.
pub fn asked<M: Message>(message: &M) -> Incoming {
    Incoming { flags: MessageFlags::ASK, ..told(message) }
}

impl Incoming {
    fn new(kind: &str, body: Vec<u8>, flags: MessageFlags) -> Self {
        Self {
            kind: kind.to_owned(),
            body,
            flags,
            sender: None,
            attempt: 1,
            headers: Vec::new(),
            in_reply_to: None,
            failure: None,
            missed: 0,
        }
    }

    /// From an agent instead of from outside.
    pub fn from(mut self, sender: &str) -> Self {
        self.sender = Some(sender.to_owned());
        self
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Delivered for the n-th time.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    fn lower(self, id: Id) -> (types::Message, Rare) {
        let message = types::Message {
            id: id.pair(),
            sender: self.sender.map_or(0, |name| number(&name)),
            kind: number(&self.kind),
            channel: Channel::Events,
            attempt: self.attempt,
            flags: self.flags,
            body: self.body,
        };
        let mut rare = plain();
        rare.meta.headers = self.headers;
        rare.meta.in_reply_to = self.in_reply_to.map(Id::pair);
        rare.meta.missed = self.missed;
        rare.failure = self.failure;
        (message, rare)
    }
}

/// One agent and the host that the test plays for it. One instance at a time, as in a hive.
pub struct Testbed<A> {
    instance: Option<Instance<A>>,
    world: World,
    of: PhantomData<A>,
}

impl<A: Agent> Testbed<A> {
    /// A fresh agent of the name `agent`. `config` is a JSON object.
    pub fn start(config: &str) -> Result<Self, Failed> {
        let mut testbed = Self { instance: None, world: World::of(config), of: PhantomData };
        testbed.begin(StartReason::Fresh)?;
        Ok(testbed)
    }

    /// Drops the instance and starts another: what is left is what was kept.
    pub fn restart(&mut self) -> Result<(), Failed> {
        self.begin(StartReason::Restarted)
    }

    /// As [`Testbed::restart`], for an instance that had been dropped to save memory.
    pub fn wake(&mut self) -> Result<(), Failed> {
        self.begin(StartReason::Woken)
    }

    /// Swaps the plugin: migrates the state and starts. On failure the agent is as before, and given back.
    pub fn upgrade<B: Agent>(mut self) -> Result<Testbed<B>, Box<(Self, Failed)>> {
        let before = self.world.state.clone();
        let mut next = Testbed { instance: None, world: take(&mut self.world), of: PhantomData };
        let migrated = next.turn(Vec::new(), |instance: &mut Instance<B>| instance.migrate("sha256:0".to_owned()));
        let started = migrated.and_then(|()| next.begin(StartReason::Upgraded("sha256:0".to_owned())));
        match started {
            Ok(()) => Ok(next),
            Err(failed) => {
                self.world = next.world;
                self.world.state = before;
                Err(Box::new((self, failed)))
            }
        }
    }

    /// Tells it something.
    pub fn tell<M: Message>(&mut self, message: &M) -> Result<(), Refusal> {
        self.one(told(message)).map(drop)
    }

    /// Asks it. A reply that comes later is [`Refusal::Unavailable`] here: see [`Testbed::effects`] for it then.
    pub fn ask<M: Message>(&mut self, message: &M) -> Result<M::Reply, Refusal> {
        let reply = self.one(asked(message))?;
        let reply = reply.ok_or_else(|| Refusal::Unavailable("there is no reply yet".to_owned()))?;
        M::Reply::decode(reply).map_err(Refusal::Invalid)
    }

    /// One message, alone in its turn. Gives the reply, if there is one. A failed turn is [`Refusal::Failed`].
    pub fn one(&mut self, message: Incoming) -> Outcome {
        let failed = |failed| match failed {
            Failed::Unusable(text) | Failed::Failed(text) => Refusal::Failed(text),
        };
        let mut results = self.batch(vec![message]).map_err(failed)?;
        results.pop().unwrap_or(Ok(None))
    }

    /// Several messages in one turn: for each its reply, if it has one, or its refusal.
    pub fn batch(&mut self, batch: Vec<Incoming>) -> Result<Vec<Outcome>, Failed> {
        if self.instance.is_none() {
            self.begin(StartReason::Restarted)?;
        }
        let lowered: Vec<_> = batch.into_iter().map(|message| message.lower(self.world.new_id().into())).collect();
        let (messages, rare): (Vec<_>, Vec<_>) = lowered.into_iter().unzip();
        let ids: Vec<Id> = messages.iter().map(|message| message.id.into()).collect();
        let before = self.world.effects.len();
        self.turn(rare, |instance| instance.handle(Vec::new(), messages).map(drop))?;
        Ok((0..).zip(ids).map(|(index, id)| self.outcome(index, id, before)).collect())
    }

    fn outcome(&mut self, index: u32, id: Id, before: usize) -> Outcome {
        if let Some((_, why)) = self.world.refused.iter().find(|(refused, _)| *refused == index) {
            return Err(Refusal::lift(why.clone()));
        }
        let own = |effect: &mut Effect| matches!(effect, Effect::Reply { to, .. } if *to == id);
        let reply = self.world.effects.extract_if(before.., own).next();
        Ok(reply.and_then(|reply| if let Effect::Reply { body, .. } = reply { Some(body) } else { None }))
    }

    /// A timer of this name is due; it was set with `body` and has missed so many ticks.
    pub fn fire<T: Body>(&mut self, name: &str, body: &T, missed: u32) -> Result<(), Refusal> {
        let body = body.encode().map_err(Refusal::Invalid)?.into_owned();
        self.one(Incoming { missed, ..Incoming::new(name, body, MessageFlags::TIMER) }).map(drop)
    }

    /// An ask of the agent ends with this reply.
    pub fn answer<T: Body>(&mut self, ask: AskId, reply: &T) -> Result<(), Refusal> {
        let body = reply.encode().map_err(Refusal::Invalid)?.into_owned();
        let incoming = Incoming::new("answer", body, MessageFlags::ANSWER);
        self.one(Incoming { in_reply_to: Some(ask.0), ..incoming }).map(drop)
    }

    /// An ask of the agent ends without a reply. [`AskError::BadReply`] is none of the host's: it counts as a time-out.
    pub fn fail(&mut self, ask: AskId, error: &AskError) -> Result<(), Refusal> {
        let incoming = Incoming::new("answer", Vec::new(), MessageFlags::ANSWER | MessageFlags::FAILED);
        self.one(Incoming { in_reply_to: Some(ask.0), failure: Some(lower(error)), ..incoming }).map(drop)
    }

    /// An agent that it is linked to, monitors or owns has ended.
    pub fn down(&mut self, agent: &str, reason: &str) -> Result<(), Refusal> {
        let incoming = Incoming::new("down", reason.as_bytes().to_vec(), MessageFlags::DOWN);
        self.one(incoming.from(agent)).map(drop)
    }

    /// Stops it.
    pub fn stop(&mut self, reason: &ExitReason) -> Result<(), Failed> {
        self.turn(Vec::new(), |instance| instance.stop(reason.clone()))
    }

    /// What it has asked for since the last time, in order. Replies to asks that were answered at once are left out.
    pub fn effects(&mut self) -> Vec<Effect> {
        take(&mut self.world.effects)
    }

    /// The asks among [`Testbed::effects`], for [`Testbed::answer`]; the rest is dropped.
    pub fn asks(&mut self) -> Vec<AskId> {
        let id = |effect| if let Effect::Ask { id, .. } = effect { Some(AskId(id)) } else { None };
        self.effects().into_iter().filter_map(id).collect()
    }

    /// One key of its state, the SDK's own among them.
    pub fn state(&self, key: &str) -> Option<&[u8]> {
        self.world.state.get(key).map(Vec::as_slice)
    }

    /// Puts a value under its feet.
    pub fn set_state(&mut self, key: &str, value: &[u8]) {
        self.world.state.insert(key.to_owned(), value.to_vec());
    }

    /// Loses all of its state.
    pub fn clear_state(&mut self) {
        self.world.state.clear();
    }

    /// All keys of its state.
    pub fn keys(&self) -> Vec<&str> {
        self.world.state.keys().map(String::as_str).collect()
    }

    /// How often it has written to its state.
    pub fn writes(&self) -> usize {
        self.world.puts
    }

    /// From here on its state may have so many bytes.
    pub fn limit_state(&mut self, bytes_max: usize) {
        self.world.state_bytes_max = Some(bytes_max);
    }

    /// From here on this agent is not there.
    pub fn remove(&mut self, agent: &str) {
        self.world.absent.insert(agent.to_owned());
    }

    /// Answers its calls: (receiver, kind, body). Without it every receiver is absent.
    pub fn on_call(&mut self, mut callee: impl FnMut(&str, &str, &[u8]) -> Result<Vec<u8>, AskError> + 'static) {
        self.world.callee = Some(Box::new(move |to, kind, body| callee(to, kind, body).map_err(|error| lower(&error))));
    }

    /// Moves the clock on.
    pub fn pass(&mut self, time: Duration) {
        self.world.now_ns += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Why it says that it is not well; nothing if it is.
    pub fn health(&self) -> &str {
        &self.world.health
    }

    /// The lines that agents of this thread have logged since the last time.
    pub fn log(&self) -> Vec<String> {
        world::take_log()
    }

    fn begin(&mut self, why: StartReason) -> Result<(), Failed> {
        self.instance = None;
        let config = self.world.config.clone();
        self.turn(Vec::new(), |instance| instance.start(config, why))
    }

    fn turn(
        &mut self,
        batch: Vec<Rare>,
        run: impl FnOnce(&mut Instance<A>) -> Result<(), TurnError>,
    ) -> Result<(), Failed> {
        let (state, effects) = (self.world.state.clone(), self.world.effects.clone());
        let mut instance = self.instance.take().unwrap_or_default();
        let implied = A::BATCH_MAX == 1 && batch.len() == 1;
        self.world.open(batch);
        if implied {
            self.world.begin(0);
        }
        match enter(&mut self.world, || run(&mut instance)) {
            Ok(()) => {
                self.world.take_back_refused();
                self.instance = Some(instance);
                Ok(())
            }
            Err(error) => {
                (self.world.state, self.world.effects) = (state, effects);
                Err(match error {
                    TurnError::Unusable(text) => Failed::Unusable(text),
                    TurnError::Failed(text) => Failed::Failed(text),
                })
            }
        }
    }
}

fn lower(error: &AskError) -> types::AskError {
    match error.clone() {
        AskError::NotSent(error) => types::AskError::NotSent(lower_send(error)),
        AskError::Refused(refusal) => types::AskError::Refused(refusal.lower()),
        AskError::Timeout | AskError::BadReply(_) => types::AskError::Timeout,
        AskError::Down(reason) => types::AskError::Down(reason),
        AskError::DeadLetter => types::AskError::DeadLetter,
        AskError::Cycle(text) => types::AskError::Cycle(text),
    }
}

fn lower_send(error: SendError) -> types::SendError {
    match error {
        SendError::Full => types::SendError::Full,
        SendError::Absent => types::SendError::Absent,
        SendError::Denied(text) => types::SendError::Denied(text),
        SendError::TooLarge(bytes_max) => types::SendError::TooLarge(bytes_max),
        SendError::Invalid(text) => types::SendError::Invalid(text),
        SendError::Limit(text) => types::SendError::Limit(text),
    }
}
