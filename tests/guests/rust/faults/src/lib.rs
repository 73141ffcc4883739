//! An agent that does whatever a test tells it, right or wrong. `README.md` has its kinds.

mod did;
mod harm;
mod orders;

use orders::*;
use skep_sdk::prelude::*;
use skep_sdk::serde_json::{Value, json};

/// What is kept of what was heard.
const HEARD_MAX: usize = 10_000;

#[data]
#[derive(Default)]
#[serde(default)]
struct Settings {
    /// `ok`, `fail`, `invalid`, `trap`, `spin` or `exit`.
    start: String,
    /// The same for `stop`; `note` sends a note to `tell`.
    stop: String,
    tell: Option<Address>,
}

#[agent(persist)]
#[derive(Default)]
struct Faults {
    heard: Vec<String>,
    sum: u64,
    /// Who waits for the end of which ask.
    asks: Vec<(AskId, ReplyTo)>,
    many: Vec<(ManyId, ReplyTo)>,
    #[skep(skip)]
    settings: Settings,
}

impl Faults {
    fn hear(&mut self, what: String) {
        if self.heard.len() < HEARD_MAX {
            self.heard.push(what);
        }
    }
}

#[handlers]
impl Faults {
    fn start(&mut self, ctx: &mut Context, settings: Settings) -> Result<()> {
        let why = match ctx.start_reason() {
            StartReason::Fresh => "fresh".to_owned(),
            StartReason::Restarted => "restarted".to_owned(),
            StartReason::Woken => "woken".to_owned(),
            StartReason::Upgraded(from) => format!("upgraded from {from}"),
        };
        self.hear(format!("start: {why}"));
        let what = settings.start.clone();
        self.settings = settings;
        match what.as_str() {
            "fail" => Err("as it was told")?,
            "invalid" => Err(Refusal::Invalid("as it was told".to_owned())),
            "trap" => std::process::abort(),
            "spin" => harm::spin(),
            "exit" => {
                ctx.exit(&ExitReason::Error("as it was told".to_owned()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn stop(&mut self, ctx: &mut Context, reason: ExitReason) -> Result<()> {
        match (self.settings.stop.as_str(), &self.settings.tell) {
            ("fail", _) => Err("as it was told")?,
            ("trap", _) => std::process::abort(),
            ("spin", _) => harm::spin(),
            ("note", Some(to)) => ctx.send(to, &Note { text: format!("stopped: {reason:?}") }).map(drop)?,
            _ => {}
        }
        Ok(())
    }

    fn echo(&self, Echo(value): Echo) -> Value {
        value
    }

    fn add(&mut self, m: Add) -> u64 {
        self.sum += m.by;
        self.sum
    }

    fn heard(&self, _: Heard) -> Vec<String> {
        self.heard.clone()
    }

    fn note(&mut self, ctx: &mut Context, m: Note) {
        let from = ctx.sender().map_or_else(|| "outside".to_owned(), |sender| sender.to_string());
        self.hear(format!("note: {} from {from}", m.text));
    }

    #[timer]
    fn timer(&mut self, t: Timer) -> Result<()> {
        let (name, missed) = (t.name().to_owned(), t.missed());
        self.hear(format!("timer: {name} {} missed {missed}", t.read::<Value>()?));
        Ok(())
    }

    #[down]
    fn down(&mut self, down: Down) {
        self.hear(format!("down: {} {}", down.agent, down.reason));
    }

    #[answer]
    fn answered(&mut self, ctx: &mut Context, answer: Answer) -> Result<()> {
        let asker = self.asks.extract_if(.., |(ask, _)| *ask == answer.ask).next();
        let did = Did::answered(answer.result);
        match asker {
            Some((_, asker)) => ctx.reply(&asker, &did)?,
            None => self.hear(format!("answer: {}", skep_sdk::serde_json::to_string(&did)?)),
        }
        Ok(())
    }

    #[answers]
    fn all_answered(&mut self, ctx: &mut Context, answers: Answers) -> Result<()> {
        let asker = self.many.extract_if(.., |(many, _)| *many == answers.id).next();
        let did: Vec<Did> = answers.results.into_iter().map(Did::answered).collect();
        match asker {
            Some((_, asker)) => ctx.reply(&asker, &did)?,
            None => self.hear(format!("answers: {}", skep_sdk::serde_json::to_string(&did)?)),
        }
        Ok(())
    }

    // Ends of a turn.

    fn trap(&mut self, ctx: &mut Context, m: Trap) {
        if ctx.attempt() <= m.attempts.unwrap_or(u32::MAX) {
            std::process::abort();
        }
        self.hear(format!("trapped until attempt {}", ctx.attempt()));
    }

    fn panic(&self, m: Panic) {
        panic!("{}", m.text);
    }

    fn spin(&self, _: Spin) {
        harm::spin();
    }

    fn recurse(&self, _: Recurse) -> u64 {
        harm::recurse(1)
    }

    fn grow(&self, m: Grow) -> usize {
        harm::grow(m.mib, m.carefully)
    }

    fn huge(&self, m: Huge) -> Bytes {
        Bytes(vec![b'x'; m.bytes])
    }

    fn refuse(&mut self, ctx: &mut Context, m: Refuse) -> Result<()> {
        self.hear("a message that was refused".to_owned());
        ctx.state().put("refused", &true)?;
        if let Some(parcel) = m.after {
            ctx.send(&parcel.address(), &parcel.envelope()?)?;
        }
        Err(did::refusal(&m.how, m.text))
    }

    fn exit(&self, ctx: &mut Context, m: Exit) {
        ctx.exit(&m.reason.into());
    }

    // Messages.

    fn send(&self, ctx: &mut Context, m: Send) -> Result<Did> {
        let mut envelope = m.parcel.envelope()?;
        if let Some(size) = m.size {
            envelope.body = vec![b'x'; size];
        }
        let mut options = Options::new();
        if let Some(name) = &m.channel {
            options = options.channel(did::channel(name)?);
        }
        if let Some(content_type) = &m.content_type {
            options = options.content_type(content_type);
        }
        options = m.headers.iter().fold(options, |options, (name, value)| options.header(name, value));
        let to = m.parcel.address();
        let mut ids = Vec::new();
        for _ in 0..m.count.unwrap_or(1) {
            match ctx.send_with(&to, &envelope, &options) {
                Ok(id) => ids.push(id),
                Err(error) if ids.is_empty() => return Ok(Did::sent::<()>(Err(error))),
                Err(_) => break,
            }
        }
        Ok(Did::sent(Ok(ids)))
    }

    fn ask(&mut self, ctx: &mut Context, Ask(parcel): Ask) -> Result<Later> {
        let asked = ctx.ask_within(&parcel.address(), &parcel.envelope()?, parcel.within());
        self.await_answer(ctx, asked)
    }

    fn task(&mut self, ctx: &mut Context, Task(parcel): Task) -> Result<Later> {
        let asked = ctx.task(&parcel.envelope()?, parcel.within());
        self.await_answer(ctx, asked)
    }

    fn ask_many(&mut self, ctx: &mut Context, m: AskMany) -> Result<Later> {
        let envelope = m.parcel.envelope()?;
        let asks: Vec<_> = m.agents.into_iter().map(|agent| (agent, envelope.clone())).collect();
        let id = ctx.ask_many(&asks, m.in_flight_max, m.parcel.within())?;
        self.many.extend(ctx.asker().map(|asker| (id, asker)));
        Ok(Later)
    }

    fn call(&self, ctx: &mut Context, Call(parcel): Call) -> Result<Did> {
        let called = ctx.call_within(&parcel.address(), &parcel.envelope()?, parcel.within());
        Ok(Did::answered(called.map(|Bytes(bytes)| bytes)))
    }

    fn publish(&self, ctx: &mut Context, m: Publish) -> Result<Did> {
        let envelope = m.parcel.envelope()?;
        Ok(Did::sent(ctx.publish(&m.topic, &envelope)))
    }

    fn subscribe(&self, ctx: &mut Context, m: Subscribe) -> Did {
        Did::sent(ctx.subscribe(&m.pattern))
    }

    fn unsubscribe(&self, ctx: &mut Context, m: Unsubscribe) {
        ctx.unsubscribe(&m.pattern);
    }

    fn never(&self, _: Never) -> Later {
        Later
    }

    fn reply_after(&self, ctx: &mut Context, m: ReplyAfter) -> Result<Later> {
        if let Some(asker) = ctx.asker() {
            ctx.once_with("reply", Duration::from_millis(m.ms), &asker)?;
        }
        Ok(Later)
    }

    #[timer("reply")]
    fn reply_now(&self, ctx: &mut Context, t: Timer) -> Result<()> {
        ctx.reply(&t.read()?, &"later".to_owned())?;
        Ok(())
    }

    fn reply_twice(&self, ctx: &mut Context, _: ReplyTwice) -> Result<u32> {
        if let Some(asker) = ctx.asker() {
            ctx.reply(&asker, &1_u32)?;
        }
        Ok(2)
    }

    fn loop_self(&self, ctx: &mut Context, m: LoopSelf) -> Result<()> {
        ctx.send(&ctx.me(), &m)?;
        Ok(())
    }

    fn meta(&self, ctx: &mut Context, _: Meta) -> Value {
        let meta = ctx.meta();
        let channel = format!("{:?}", ctx.channel());
        json!({
            "id": ctx.message_id(),
            "sender": ctx.sender(),
            "attempt": ctx.attempt(),
            "channel": channel.trim_start_matches("Channel::").to_ascii_lowercase(),
            "retried": ctx.is_retried(),
            "published": ctx.is_published(),
            "topic": meta.as_ref().and_then(|meta| meta.topic.clone()),
            "content_type": meta.as_ref().and_then(|meta| meta.content_type.clone()),
            "headers": meta.as_ref().map(|meta| meta.headers.clone()),
            "deadline": meta.as_ref().and_then(|meta| meta.deadline),
            "accepted": meta.as_ref().map(|meta| meta.accepted),
            "traceparent": meta.as_ref().and_then(|meta| meta.traceparent.clone()),
            "hops": meta.as_ref().map(|meta| meta.hops),
        })
    }

    // State and timers.

    fn put(&self, ctx: &mut Context, m: Put) -> Did {
        Did::stored(match m.size {
            Some(size) => ctx.state().put(&m.key, &Bytes(vec![b'x'; size])),
            None => ctx.state().put(&m.key, &m.value),
        })
    }

    fn get(&self, ctx: &mut Context, m: Get) -> Result<Value> {
        Ok(ctx.state().get::<Bytes>(&m.key)?.map_or(Value::Null, |Bytes(bytes)| did::read(&bytes)))
    }

    fn delete(&self, ctx: &mut Context, m: Delete) -> Did {
        Did::stored(ctx.state().delete(&m.key))
    }

    fn scan(&self, ctx: &mut Context, m: Scan) -> Result<Vec<(String, Value)>> {
        let entries = ctx.state().scan_after::<Bytes>(&m.prefix, m.after.as_deref());
        let read =
            |entry: Result<(String, Bytes), StateError>| entry.map(|(key, Bytes(bytes))| (key, did::read(&bytes)));
        Ok(entries.take(m.limit.unwrap_or(usize::MAX)).map(read).collect::<Result<_, _>>()?)
    }

    fn put_many(&self, ctx: &mut Context, m: PutMany) -> Did {
        Did::stored(ctx.state().put_many(&m.entries))
    }

    fn get_many(&self, ctx: &mut Context, m: GetMany) -> Result<Vec<Value>> {
        let values = ctx.state().get_many::<Bytes>(&m.keys)?;
        Ok(values.into_iter().map(|value| value.map_or(Value::Null, |Bytes(bytes)| did::read(&bytes))).collect())
    }

    fn once(&self, ctx: &mut Context, m: Once) -> Did {
        Did::sent(ctx.once_with(&m.name, Duration::from_millis(m.after_ms), &m.body))
    }

    fn every(&self, ctx: &mut Context, m: Every) -> Did {
        Did::sent(ctx.every_with(&m.name, Duration::from_millis(m.period_ms), &m.body))
    }

    fn cancel(&self, ctx: &mut Context, m: Cancel) {
        ctx.cancel(&m.name);
    }

    // Lives.

    fn spawn(&self, ctx: &mut Context, m: Spawn) -> Result<Did> {
        let mut child = Child::new(m.name).plugin(m.plugin);
        if let Some(config) = &m.config {
            child = child.config(config.to_string());
        }
        if let Some(name) = &m.restart {
            child = child.restart(did::restart(name)?);
        }
        if let Some(name) = &m.durability {
            child = child.durability(did::durability(name)?);
        }
        if m.owned {
            child = child.owned();
        }
        Ok(Did::sent(ctx.spawn(&child)))
    }

    fn stop_other(&self, ctx: &mut Context, m: Stop) -> Did {
        Did::sent(ctx.stop(&m.agent, &m.reason.map_or(ExitReason::Shutdown, ExitReason::from)))
    }

    fn link(&self, ctx: &mut Context, m: Link) -> Did {
        Did::sent(ctx.link(&m.agent))
    }

    fn unlink(&self, ctx: &mut Context, m: Unlink) {
        ctx.unlink(&m.agent);
    }

    fn monitor(&self, ctx: &mut Context, m: Monitor) -> Did {
        Did::sent(ctx.monitor(&m.agent))
    }

    fn demonitor(&self, ctx: &mut Context, m: Demonitor) {
        ctx.demonitor(&m.agent);
    }

    // The registry, and what an agent shows of itself.

    fn register(&self, ctx: &mut Context, m: Register) -> Did {
        let capabilities: Vec<&str> = m.capabilities.iter().map(String::as_str).collect();
        let protocols: Vec<&str> = m.protocols.iter().map(String::as_str).collect();
        let metadata: Vec<(&str, &str)> =
            m.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Did::sent(ctx.registry().register(&capabilities, &protocols, &metadata))
    }

    fn lookup(&self, ctx: &mut Context, m: Lookup) -> Value {
        ctx.registry().lookup(&m.name).map_or(Value::Null, |entry| {
            json!({
                "agent": entry.agent,
                "capabilities": entry.capabilities,
                "protocols": entry.protocols,
                "metadata": entry.metadata,
            })
        })
    }

    fn find(&self, ctx: &mut Context, m: Find) -> Vec<Address> {
        let (after, limit) = (m.after.as_ref(), m.limit.unwrap_or(1_000));
        match m.by.as_str() {
            "protocol" => ctx.registry().speakers(&m.name, after, limit),
            "group" => ctx.registry().members(&m.name, after, limit),
            _ => ctx.registry().find(&m.name, after, limit),
        }
    }

    fn join(&self, ctx: &mut Context, m: Join) -> Did {
        Did::sent(ctx.registry().join(&m.group))
    }

    fn leave(&self, ctx: &mut Context, m: Leave) {
        ctx.registry().leave(&m.group);
    }

    fn log(&self, m: Log) {
        let text = m.text.unwrap_or_else(|| "x".repeat(m.bytes.unwrap_or(10)));
        for line in 0..m.lines.unwrap_or(1) {
            match m.level.as_deref() {
                Some("debug") => debug!(line = line, "{text}"),
                Some("warn") => warn!(line = line, "{text}"),
                Some("error") => error!(line = line, "{text}"),
                _ => info!(line = line, "{text}"),
            }
        }
    }

    fn measure(&self, ctx: &mut Context, _: Measure) {
        let telemetry = ctx.telemetry();
        let _outer = telemetry.span("outer");
        telemetry.counter("faults.count", 2);
        telemetry.gauge("faults.gauge", 1.5);
        telemetry.histogram("faults.histogram", 2.5);
        let inner = telemetry.span("inner");
        telemetry.event("faults.event", &[("key", "value")]);
        // Left open: the host closes it at the end of the cause.
        std::mem::forget(inner);
    }

    /// Says what must be the same at every attempt, in a log line that outlives the attempts that trap.
    fn replay(&self, ctx: &mut Context, m: Replay) -> Result<Value> {
        let sent = ctx.send(&ctx.me(), &Note { text: "replayed".to_owned() })?;
        let value = json!({
            "now": ctx.now().as_nanos() as u64,
            "random": ctx.random().to_string(),
            "bytes": ctx.random_bytes(4),
            "id": ctx.new_id(),
            "sent": sent,
        });
        info!("replay {value}");
        if ctx.attempt() <= m.attempts {
            std::process::abort();
        }
        Ok(value)
    }
}

impl Faults {
    fn await_answer(&mut self, ctx: &mut Context, asked: Result<AskId, SendError>) -> Result<Later> {
        match (asked, ctx.asker()) {
            (Ok(ask), Some(asker)) => self.asks.push((ask, asker)),
            (Err(error), Some(asker)) => ctx.reply(&asker, &Did::sent::<()>(Err(error)))?,
            _ => {}
        }
        Ok(Later)
    }
}
