//! One agent in one instance: its life, and the books between its struct and its state. Never decides what a message
//! means; `route` finds its handler.

use crate::agent::{Agent, Respond};
use crate::arrive::Arrive;
use crate::config::Config;
use crate::context::Context;
use crate::error::{Refusal, Result};
use crate::host::turn;
use crate::host::types::{ExitReason, Message, StartReason, TurnError};
use crate::jobs::Jobs;
use crate::kept::Kept;
use crate::raw::Traits;
use crate::slots::Slots;
use crate::{log, names};

/// An agent in this instance. Made and driven by what `#[agent]` generates.
#[doc(hidden)]
pub struct Instance<A> {
    agent: Option<A>,
    pub(crate) ctx: Context,
    kept: Kept,
    pub(crate) slots: Slots,
    books: Books,
}

/// Where the message that is being handled stands.
#[derive(Default)]
struct Books {
    /// How many messages have changed something that is not written yet, and the index of the last of them.
    unsaved: (u32, u32),
    /// The message that was begun last.
    begun: u32,
    /// It is still being handled.
    open: bool,
    /// It was refused.
    refused: bool,
    /// The struct can be put back to what it was before.
    exact: bool,
}

impl<A> Default for Instance<A> {
    fn default() -> Self {
        Self {
            agent: None,
            ctx: Context::default(),
            kept: Kept::default(),
            slots: Slots::default(),
            books: Books::default(),
        }
    }
}

impl<A: Agent> Instance<A> {
    /// Whether the agent can have tasks and many asks. If not, the compiler leaves all that out of its component.
    pub(crate) const JOBS: bool = !A::ANSWER.is_empty() || !A::ANSWERS.is_empty();

    /// `guest.describe`.
    pub fn describe() -> Traits {
        log::show_panics();
        Traits { batch_max: A::BATCH_MAX, sdk: concat!("rust ", env!("CARGO_PKG_VERSION")).to_owned() }
    }

    /// `guest.start`.
    pub fn start(&mut self, config: String, why: StartReason) -> Result<(), TurnError> {
        let mut agent = A::default();
        if let Some(persist) = A::PERSIST {
            let found = self.kept.load(persist, &mut agent).map_err(TurnError::Unusable)?;
            if !found && matches!(why, StartReason::Restarted | StartReason::Woken) {
                return Err(TurnError::Unusable("it was started before, but its stored state is gone".to_owned()));
            }
        }
        let woken = why == StartReason::Woken;
        let jobs = if Self::JOBS { Jobs::load() } else { Ok(Jobs::default()) };
        self.ctx = Context::starting(why, jobs.map_err(TurnError::Unusable)?);
        self.ctx.jobs.allow(!A::ANSWER.is_empty(), !A::ANSWERS.is_empty());
        self.kept.touch();
        agent.start(&mut self.ctx, Config(config)).map_err(failure)?;
        let agent = self.agent.insert(agent);
        // A woken instance may not write: what its start has changed waits for the next turn.
        if woken { self.kept.settle(agent) } else { self.kept.save(agent) }.map_err(TurnError::Failed)?;
        self.save_jobs().map_err(TurnError::Failed)
    }

    /// `guest.migrate`.
    pub fn migrate(&mut self, from_digest: String) -> Result<(), TurnError> {
        let stored = Kept::stored(from_digest).map_err(TurnError::Unusable)?;
        let have = stored.version();
        let agent = match (A::PERSIST, A::MIGRATE) {
            (Some(persist), _) if have == persist.version => {
                return self.kept.load(persist, &mut A::default()).map(drop).map_err(TurnError::Unusable);
            }
            (_, Some(migrate)) => migrate(&mut self.ctx, stored).map_err(failure)?,
            (Some(persist), None) if have != 0 => {
                let want = persist.version;
                let text = format!("the stored state has version {have}, this plugin has {want} and no `migrate`");
                return Err(TurnError::Unusable(text));
            }
            (_, None) => return Ok(()),
        };
        self.kept.touch();
        self.kept.save(&agent).map_err(TurnError::Failed)
    }

    /// `guest.stop`.
    pub fn stop(&mut self, reason: ExitReason) -> Result<(), TurnError> {
        let Some(agent) = &mut self.agent else { return Ok(()) };
        self.ctx.between_messages();
        self.kept.touch();
        agent.stop(&mut self.ctx, reason).map_err(failure)?;
        self.kept.save(agent).map_err(TurnError::Failed)
    }

    /// `guest.handle`.
    pub fn handle(&mut self, told: Vec<(u32, String)>, messages: Vec<Message>) -> Result<u32, TurnError> {
        names::learn(told);
        let mut count = 0;
        for message in messages {
            self.route(count, message)?;
            count += 1;
        }
        self.save()?;
        Ok(count)
    }

    /// Handles one message by one handler: what every [`crate::agent::Handler`] does.
    pub fn step<M, R, Way>(
        &mut self,
        body: Vec<u8>,
        changes: bool,
        handler: impl FnOnce(&mut A, &mut Context, M) -> R,
    ) -> Result<(), TurnError>
    where
        M: Arrive,
        R: Respond<M::Reply, Way>,
    {
        // Parsed before `begin`: whether this message can be refused decides if what came before it is written first.
        let arrived = M::arrive(&mut self.ctx, body);
        self.open(R::FALLIBLE || arrived.is_err())?;
        let Some(agent) = &mut self.agent else { return Err(TurnError::Failed("handle came before start".to_owned())) };
        let result = arrived.and_then(|message| {
            if changes {
                self.kept.touch();
            }
            handler(agent, &mut self.ctx, message).respond()
        });
        let result = result.and_then(|reply| self.ctx.answer_asker(reply));
        self.close(result)
    }

    /// Begins the message, once. What a refusal takes back is all since `begin`, so before a message that can be
    /// refused (`risky`) the changes of those before it are written.
    pub(crate) fn open(&mut self, risky: bool) -> Result<(), TurnError> {
        if self.books.open {
            return Ok(());
        }
        if risky {
            self.save()?;
        }
        if A::BATCH_MAX != 1 {
            turn::begin(self.ctx.index());
        }
        self.ctx.jobs.mark();
        let unsaved = self.books.unsaved;
        self.books = Books { unsaved, begun: self.ctx.index(), open: true, refused: false, exact: self.kept.exact() };
        Ok(())
    }

    /// Ends the message that is open.
    pub(crate) fn close(&mut self, result: Result<()>) -> Result<(), TurnError> {
        self.books.open = false;
        if let Err(refusal) = result {
            return self.refuse(refusal);
        }
        if !self.kept.exact() || self.ctx.jobs.is_changed() {
            self.books.unsaved = (self.books.unsaved.0.saturating_add(1), self.ctx.index());
        }
        Ok(())
    }

    /// Whether the message that was closed last was refused.
    pub(crate) fn was_refused(&self) -> bool {
        self.books.refused
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), TurnError> {
        let Some(agent) = self.agent.as_mut().filter(|_| A::PERSIST.is_none() || self.books.exact) else {
            // The struct cannot be put back: the host hands the messages over again, one by one, and then it can.
            return Err(TurnError::Failed(refusal.text().to_owned()));
        };
        self.kept.restore(agent).map_err(TurnError::Failed)?;
        self.ctx.jobs.undo();
        self.books.refused = true;
        turn::refuse(self.books.begun, &refusal.lower());
        Ok(())
    }

    /// Writes what has changed. If it cannot be written and one message alone is to blame, that one is refused.
    fn save(&mut self) -> Result<(), TurnError> {
        let Some(agent) = &self.agent else { return Ok(()) };
        let saved = self.kept.save(agent).and_then(|()| self.save_jobs());
        let unsaved = std::mem::take(&mut self.books.unsaved);
        match saved {
            Ok(()) => Ok(()),
            Err(text) if unsaved == (1, self.books.begun) && self.books.exact => self.refuse(Refusal::Failed(text)),
            Err(text) => Err(TurnError::Failed(text)),
        }
    }

    fn save_jobs(&mut self) -> Result<(), String> {
        if Self::JOBS { self.ctx.jobs.save() } else { Ok(()) }
    }
}

/// An error of `start`, `migrate` or `stop` in the host's words: input that is invalid there is the operator's.
fn failure(refusal: Refusal) -> TurnError {
    match refusal {
        Refusal::Invalid(text) => TurnError::Unusable(text),
        other => TurnError::Failed(other.text().to_owned()),
    }
}
