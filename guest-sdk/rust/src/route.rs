//! Which handler a message goes to, and what becomes of one that has none.

use crate::agent::{Agent, Handler};
use crate::context::Head;
use crate::error::Refusal;
use crate::host::message;
use crate::host::types::{Message, MessageFlags, TurnError};
use crate::instance::Instance;
use crate::jobs::Claim;
use crate::{log, names};

/// How much of a foreign name goes into a text.
const SHOWN_CHARS_MAX: usize = 64;
/// What a session says when it waits no more for an answer: an agent that has nothing to break off need not hear it.
const SESSION_CLOSED: &str = "session.closed";

impl<A: Agent> Instance<A> {
    pub(crate) fn route(&mut self, index: u32, message: Message) -> Result<(), TurnError> {
        let Message { id, sender, kind, channel, attempt, flags, body } = message;
        self.ctx.head = Head { index, present: true, id: id.into(), sender, kind, channel, attempt, flags };
        if flags.contains(MessageFlags::ANSWER) {
            self.answer(index, body)
        } else if flags.contains(MessageFlags::TIMER) {
            self.timer(kind, body)
        } else if flags.contains(MessageFlags::DOWN) {
            self.down(body)
        } else {
            match self.slots.find(kind, A::MESSAGES).or(A::FALLBACK.first()) {
                Some(handler) => (handler.run)(self, body),
                None => self.turn_away("message", kind, A::MESSAGES),
            }
        }
    }

    fn timer(&mut self, kind: u32, body: Vec<u8>) -> Result<(), TurnError> {
        let name = names::name(kind).unwrap_or_default();
        if Self::JOBS
            && let Some(job) = name.strip_prefix(crate::jobs::SWEEP)
        {
            self.open(false)?;
            self.ctx.jobs.sweep(job);
            return self.close(Ok(()));
        }
        let by_name = |handler: &&Handler<A>| handler.name == &*name || handler.name.is_empty();
        match A::TIMERS.iter().find(by_name) {
            Some(handler) => (handler.run)(self, body),
            None => self.turn_away("timer", kind, A::TIMERS),
        }
    }

    fn answer(&mut self, index: u32, body: Vec<u8>) -> Result<(), TurnError> {
        if !Self::JOBS || self.ctx.jobs.is_idle() {
            return self.hook(A::ANSWER, "answer", body);
        }
        match message::in_reply_to(index).map_or(Claim::None, |ask| self.ctx.jobs.claim(ask.into())) {
            Claim::None => self.hook(A::ANSWER, "answer", body),
            Claim::Task(ask) => {
                self.hook(A::ANSWER, "answer", body)?;
                // Refused, the effects of this message are taken back: the task's timer ends its agent then.
                if !self.was_refused() {
                    self.ctx.jobs.end_task(ask);
                }
                Ok(())
            }
            Claim::Many(many, at) => {
                self.open(self.ctx.jobs.is_last(many))?;
                let result = self.ctx.result_of_ask(body);
                match self.ctx.jobs.record(many, at, result) {
                    Err(text) => self.close(Err(Refusal::Failed(text))),
                    Ok(None) => self.close(Ok(())),
                    Ok(Some(answers)) => {
                        self.ctx.answers = Some(answers);
                        self.hook(A::ANSWERS, "answers", Vec::new())
                    }
                }
            }
        }
    }

    fn down(&mut self, body: Vec<u8>) -> Result<(), TurnError> {
        if !Self::JOBS || !self.ctx.is_from_task() {
            return self.hook(A::DOWN, "down", body);
        }
        self.open(false)?;
        self.close(Ok(()))
    }

    /// Runs a handler that an agent may leave out. Its message is then nobody's fault and refused by nobody.
    fn hook(&mut self, handler: &'static [Handler<A>], name: &str, body: Vec<u8>) -> Result<(), TurnError> {
        if let Some(handler) = handler.first() {
            return (handler.run)(self, body);
        }
        self.open(false)?;
        log::warn(&format!("a message was dropped: the agent has no #[{name}]"));
        self.close(Ok(()))
    }

    fn turn_away(&mut self, what: &str, kind: u32, expected: &[Handler<A>]) -> Result<(), TurnError> {
        let name = names::name(kind).unwrap_or_default();
        let shown: String = name.chars().take(SHOWN_CHARS_MAX).collect();
        let known: Vec<&str> = expected.iter().map(|handler| handler.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        self.open(true)?;
        if what == "message" && &*name == SESSION_CLOSED {
            return self.close(Ok(()));
        }
        self.close(Err(Refusal::UnknownKind(format!("no {what} {shown:?} here, expected: {known}"))))
    }
}
