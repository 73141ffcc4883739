//! An agent that does what a test tells it, and keeps a journal of all that came. Never an example of how to write one.
//!
//! A message `do` brings operations (see `op`) and is answered with their results. A message of any other kind, a timer,
//! an answer, an end or a start does what the configuration has for it under `on`: by kind, `timer:NAME`, `answer`,
//! `down`, `start:WHY`, `stop`. A message `journal` is answered with the journal: a line for each thing that
//! came and stayed, since what a turn writes that fails is not seen.

mod op;

use std::collections::BTreeMap;

use op::{Op, Scope};
use skep_sdk::prelude::*;
use skep_sdk::serde_json::{Value, json};

#[data]
#[derive(Default)]
struct Settings {
    #[serde(default)]
    on: BTreeMap<String, Vec<Op>>,
}

#[agent(persist)]
#[derive(Default)]
struct Puppet {
    journal: Vec<String>,
    /// Those who wait for an answer, the first one first.
    waiting: Vec<ReplyTo>,
    #[skep(skip)]
    on: BTreeMap<String, Vec<Op>>,
}

#[message(reply = Vec<Value>)]
struct Do(Vec<Op>);

#[message(reply = Vec<String>)]
struct Journal;

#[handlers]
impl Puppet {
    fn start(&mut self, ctx: &mut Context, settings: Settings) -> Result<()> {
        self.on = settings.on;
        let why = match ctx.start_reason() {
            StartReason::Fresh => "fresh",
            StartReason::Restarted => "restarted",
            StartReason::Woken => "woken",
            StartReason::Upgraded(_) => "upgraded",
        };
        // It comes whenever the host likes, so it is nothing that a test could expect.
        if why != "woken" {
            self.note(ctx, format!("start {why}"));
        }
        self.react(ctx, &format!("start:{why}")).map(drop)
    }

    fn stop(&mut self, ctx: &mut Context, reason: ExitReason) -> Result<()> {
        self.note(ctx, format!("stop {reason:?}"));
        self.react(ctx, "stop").map(drop)
    }

    fn told(&mut self, ctx: &mut Context, Do(ops): Do) -> Result<Later> {
        let results = self.run(ctx, &ops)?;
        self.finish(ctx, results)
    }

    fn read(&self, _: Journal) -> Vec<String> {
        self.journal.clone()
    }

    #[fallback]
    fn any(&mut self, ctx: &mut Context, m: Envelope) -> Result<Later> {
        let mut line = format!("{} {}", m.kind, text(&m.body));
        if let Some(sender) = ctx.sender() {
            line.push_str(&format!(" from {}", sender.name()));
        }
        if ctx.channel() != Channel::Events {
            line.push_str(&format!(" on {}", channel_name(ctx.channel())));
        }
        if ctx.is_published() {
            line.push_str(&format!(" about {}", ctx.meta().and_then(|meta| meta.topic).unwrap_or_default()));
        }
        if ctx.attempt() > 1 {
            line.push_str(&format!(" attempt {}", ctx.attempt()));
        }
        if ctx.is_retried() {
            line.push_str(" retried");
        }
        self.note(ctx, line);
        let results = self.react(ctx, &m.kind)?;
        self.finish(ctx, results)
    }

    #[timer]
    fn rang(&mut self, ctx: &mut Context, timer: Timer) -> Result<()> {
        let missed = if timer.missed() > 0 { format!(" missed {}", timer.missed()) } else { String::new() };
        self.note(ctx, format!("timer {}{missed}", timer.name()));
        self.react(ctx, &format!("timer:{}", timer.name())).map(drop)
    }

    #[answer]
    fn answered(&mut self, ctx: &mut Context, a: Answer) -> Result<()> {
        self.note(ctx, format!("answer {}", outcome(a.result)));
        self.react(ctx, "answer").map(drop)
    }

    #[answers]
    fn all_answered(&mut self, ctx: &mut Context, a: Answers) -> Result<()> {
        let each: Vec<String> = a.results.into_iter().map(outcome).collect();
        self.note(ctx, format!("answers {}", each.join(", ")));
        self.react(ctx, "answers").map(drop)
    }

    #[down]
    fn ended(&mut self, ctx: &mut Context, d: Down) -> Result<()> {
        self.note(ctx, format!("down {}: {}", d.agent.name(), d.reason));
        self.react(ctx, "down").map(drop)
    }
}

impl Puppet {
    /// A line of the journal, and an event, so that a test can wait for it.
    fn note(&mut self, ctx: &Context, line: String) {
        ctx.telemetry().event("noted", &[("line", &line)]);
        self.journal.push(line);
    }

    fn react(&mut self, ctx: &mut Context, to: &str) -> Result<Vec<Value>> {
        match self.on.get(to).cloned() {
            Some(ops) => self.run(ctx, &ops),
            None => Ok(Vec::new()),
        }
    }

    fn run(&mut self, ctx: &mut Context, ops: &[Op]) -> Result<Vec<Value>> {
        let mut scope = Scope { ctx, journal: &mut self.journal, waiting: &mut self.waiting };
        ops.iter().map(|op| op.run(&mut scope)).collect()
    }

    /// Answers whoever asked, unless an operation has kept him.
    fn finish(&mut self, ctx: &mut Context, results: Vec<Value>) -> Result<Later> {
        if let Some(asker) = ctx.asker().filter(|asker| !self.waiting.contains(asker)) {
            ctx.reply(&asker, &json!(results))?;
        }
        Ok(Later)
    }
}

fn text(body: &[u8]) -> String {
    let short: String = String::from_utf8_lossy(body).chars().take(60).collect();
    if short.is_empty() { "-".to_owned() } else { short }
}

fn outcome(result: Result<Vec<u8>, AskError>) -> String {
    match result {
        Ok(body) => text(&body),
        Err(error) => format!("failed: {error}"),
    }
}

fn channel_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Control => "control",
        Channel::Coordination => "coordination",
        Channel::Events => "events",
        Channel::Data => "data",
        Channel::Telemetry => "telemetry",
    }
}
