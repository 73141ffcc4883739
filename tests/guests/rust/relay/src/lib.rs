//! What the kill tests run: numbered messages that pass along a chain of durable agents, each of which keeps what it has
//! seen of whom, in its struct and once more key by key, so that a test can hold both against what it sent.
//!
//! Every number from outside is passed on to `next`; every third is asked of `peer`; every fifth sets a timer of its own;
//! every fourth is stamped by `clerk` in a call, every second of which is answered in a later turn.

use std::collections::BTreeMap;

use skep_sdk::prelude::*;

const ASKED_EVERY: u64 = 3;
const TIMED_EVERY: u64 = 5;
const STAMPED_EVERY: u64 = 4;
/// The begin of the name of a timer that answers a call.
const STAMP: &str = "stamp-";

#[data]
struct Settings {
    next: Option<Address>,
    peer: Option<Address>,
    clerk: Option<Address>,
}

/// The numbers of one sender: they must ascend by one.
#[data]
#[derive(Clone, Default)]
struct Line {
    last: u64,
    out_of_order: u64,
}

#[agent(persist)]
#[derive(Default)]
struct Relay {
    lines: BTreeMap<String, Line>,
    asked: u64,
    confirmed: u64,
    unconfirmed: u64,
    timers_set: u64,
    timers_rung: u64,
    waiting: Vec<(ReplyTo, Settled)>,
    stamped: u64,
    stamped_twice: u64,
    stamping: BTreeMap<String, (ReplyTo, u64)>,
    #[skep(skip)]
    next: Option<Address>,
    #[skep(skip)]
    peer: Option<Address>,
    #[skep(skip)]
    clerk: Option<Address>,
}

/// A number from outside.
#[message(reply = u64)]
struct Post {
    n: u64,
}

/// A number on its way.
#[message]
struct Step {
    n: u64,
}

/// A number to be confirmed.
#[message(reply = u64)]
struct Confirm {
    n: u64,
}

/// A number to be stamped, once.
#[message(reply = u64)]
struct Stamp {
    n: u64,
}

/// What the clerk has stamped, and how often one a second time.
#[message(reply = (u64, u64))]
struct Stamps;

/// Answered once the last number of this line has come, every ask has ended and every timer has rung.
#[message(reply = Report)]
#[derive(Clone)]
struct Settled {
    line: String,
    last: u64,
}

/// What is kept.
#[data]
struct Report {
    lines: BTreeMap<String, Line>,
    /// Keys of the state, by line: they are written in the same turns.
    keys: BTreeMap<String, u64>,
    asked: u64,
    confirmed: u64,
    unconfirmed: u64,
    timers_set: u64,
    timers_rung: u64,
}

#[handlers]
impl Relay {
    fn start(&mut self, settings: Settings) {
        self.next = settings.next;
        self.peer = settings.peer;
        self.clerk = settings.clerk;
    }

    fn post(&mut self, ctx: &mut Context, m: Post) -> Result<u64> {
        if let Some(clerk) = self.clerk.as_ref().filter(|_| m.n.is_multiple_of(STAMPED_EVERY)) {
            ctx.call_within(clerk, &Stamp { n: m.n }, Duration::from_secs(60))?;
        }
        self.seen(ctx, "outside", m.n)?;
        if let Some(next) = &self.next {
            ctx.send(next, &Step { n: m.n })?;
        }
        if let Some(peer) = self.peer.as_ref().filter(|_| m.n.is_multiple_of(ASKED_EVERY)) {
            ctx.ask_within(peer, &Confirm { n: m.n }, Duration::from_secs(60))?;
            self.asked += 1;
        }
        if m.n.is_multiple_of(TIMED_EVERY) {
            ctx.once(&format!("n{}", m.n), Duration::from_millis(m.n % 50))?;
            self.timers_set += 1;
        }
        Ok(m.n)
    }

    fn step(&mut self, ctx: &mut Context, m: Step) -> Result<()> {
        let from = ctx.sender().map_or_else(|| "nobody".to_owned(), |sender| sender.name().to_owned());
        self.seen(ctx, &from, m.n)?;
        self.settle(ctx)
    }

    fn confirm(&mut self, m: Confirm) -> u64 {
        m.n
    }

    fn stamp(&mut self, ctx: &mut Context, m: Stamp) -> Result<Later> {
        let from = ctx.sender().map_or_else(|| "nobody".to_owned(), |sender| sender.name().to_owned());
        let key = format!("{STAMP}{from}-{}", m.n);
        self.stamped += 1;
        self.stamped_twice += u64::from(ctx.state().get::<u64>(&key)?.is_some());
        ctx.state().put(&key, &m.n)?;
        let Some(asker) = ctx.asker() else { return Ok(Later) };
        if m.n.is_multiple_of(2 * STAMPED_EVERY) {
            ctx.once(&key, Duration::from_millis(m.n % 20))?;
            self.stamping.insert(key, (asker, m.n));
        } else {
            ctx.reply(&asker, &m.n)?;
        }
        Ok(Later)
    }

    fn stamps(&mut self, _: Stamps) -> (u64, u64) {
        (self.stamped, self.stamped_twice)
    }

    #[answer]
    fn answered(&mut self, ctx: &mut Context, a: Answer) -> Result<()> {
        match a.read::<Confirm>() {
            Ok(_) => self.confirmed += 1,
            Err(_) => self.unconfirmed += 1,
        }
        self.settle(ctx)
    }

    #[timer]
    fn rang(&mut self, ctx: &mut Context, timer: Timer) -> Result<()> {
        if let Some((asker, n)) = self.stamping.remove(timer.name()) {
            ctx.reply(&asker, &n)?;
            return Ok(());
        }
        self.timers_rung += 1;
        self.settle(ctx)
    }

    fn settled(&mut self, ctx: &mut Context, m: Settled) -> Result<Later> {
        if let Some(asker) = ctx.asker() {
            self.waiting.push((asker, m));
        }
        self.settle(ctx)?;
        Ok(Later)
    }
}

impl Relay {
    fn seen(&mut self, ctx: &Context, from: &str, n: u64) -> Result<()> {
        let line = self.lines.entry(from.to_owned()).or_default();
        if n != line.last + 1 {
            line.out_of_order += 1;
        }
        line.last = n;
        ctx.state().put(&format!("{from}/{n}"), &n)?;
        Ok(())
    }

    fn settle(&mut self, ctx: &mut Context) -> Result<()> {
        let quiet = self.asked == self.confirmed + self.unconfirmed && self.timers_set == self.timers_rung;
        let is_due = |m: &Settled| quiet && self.lines.get(&m.line).is_some_and(|line| line.last >= m.last);
        let (due, waiting) = self.waiting.drain(..).partition(|(_, m)| is_due(m));
        self.waiting = waiting;
        for (asker, _) in due {
            let report = self.report(ctx);
            ctx.reply(&asker, &report)?;
        }
        Ok(())
    }

    fn report(&self, ctx: &Context) -> Report {
        let count = |line: &String| (line.clone(), ctx.state().scan::<u64>(&format!("{line}/")).count() as u64);
        Report {
            lines: self.lines.clone(),
            keys: self.lines.keys().map(count).collect(),
            asked: self.asked,
            confirmed: self.confirmed,
            unconfirmed: self.unconfirmed,
            timers_set: self.timers_set,
            timers_rung: self.timers_rung,
        }
    }
}
