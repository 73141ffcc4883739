//! The operations: one for each import of the world, and the ways in which a guest can fail. Each says what came of it,
//! an error as the text `error: ...`; only `refuse` refuses.

use std::fmt::Display;
use std::hint::black_box;

use skep_sdk::Options;
use skep_sdk::prelude::*;
use skep_sdk::serde_json::{Value, json};

#[data]
#[derive(Clone)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Op {
    /// Sends `body` `times` times, or `bytes` of x.
    Send {
        to: Address,
        kind: String,
        #[serde(default)]
        body: Value,
        bytes: Option<usize>,
        times: Option<u32>,
        on: Option<String>,
    },
    Ask {
        to: Address,
        kind: String,
        #[serde(default)]
        body: Value,
        ms: Option<u64>,
    },
    Call {
        to: Address,
        kind: String,
        #[serde(default)]
        body: Value,
        ms: Option<u64>,
    },
    AskMany {
        to: Vec<Address>,
        kind: String,
        #[serde(default)]
        body: Value,
        in_flight: usize,
        ms: u64,
    },
    Task {
        kind: String,
        #[serde(default)]
        body: Value,
        ms: u64,
    },
    Publish {
        topic: String,
        kind: String,
        #[serde(default)]
        body: Value,
    },
    Subscribe {
        pattern: String,
    },
    Unsubscribe {
        pattern: String,
    },
    /// Keeps the asker for `answer`.
    Later,
    /// Answers the one who has waited longest.
    Answer {
        #[serde(default)]
        body: Value,
    },
    Put {
        key: String,
        #[serde(default)]
        value: Value,
        bytes: Option<usize>,
    },
    Get {
        key: String,
    },
    Delete {
        key: String,
    },
    Keys {
        prefix: String,
    },
    Once {
        name: String,
        ms: u64,
    },
    Every {
        name: String,
        ms: u64,
    },
    Cancel {
        name: String,
    },
    Register {
        capabilities: Vec<String>,
    },
    Lookup {
        name: String,
    },
    Find {
        capability: String,
    },
    Join {
        group: String,
    },
    Leave {
        group: String,
    },
    Members {
        group: String,
    },
    Spawn {
        name: String,
        plugin: Option<String>,
        config: Option<String>,
        restart: Option<Again>,
        durability: Option<Kept>,
        #[serde(default)]
        owned: bool,
    },
    Stop {
        name: Address,
    },
    Exit {
        reason: String,
    },
    Link {
        name: Address,
    },
    Unlink {
        name: Address,
    },
    Monitor {
        name: Address,
    },
    Demonitor {
        name: Address,
    },
    Health {
        status: String,
        #[serde(default)]
        reason: String,
    },
    Log {
        text: String,
        times: Option<u32>,
    },
    /// What is rare about the message.
    Meta,
    /// Time, chance and ids: the same when the turn is repeated.
    Draw,
    Note {
        text: String,
    },
    Refuse {
        text: String,
    },
    /// Traps; with `below` only while the attempt is lower.
    Trap {
        below: Option<u32>,
    },
    /// Uses processor time, for ever without `ms`.
    Spin {
        ms: Option<u64>,
    },
    /// Holds so much more memory.
    Grow {
        bytes: usize,
    },
    Recurse,
    /// Is so long itself.
    Big {
        bytes: usize,
    },
}

#[data]
#[derive(Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Again {
    Permanent,
    Transient,
    Temporary,
}

#[data]
#[derive(Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
    None,
    Process,
    Full,
}

/// What an operation may touch.
pub(crate) struct Scope<'a> {
    pub(crate) ctx: &'a mut Context,
    pub(crate) journal: &'a mut Vec<String>,
    pub(crate) waiting: &'a mut Vec<ReplyTo>,
}

impl Op {
    pub(crate) fn run(&self, scope: &mut Scope<'_>) -> Result<Value> {
        match self {
            Self::Refuse { text } => Err(Refusal::Failed(text.clone())),
            Self::Note { text } => {
                scope.journal.push(text.clone());
                Ok(json!("ok"))
            }
            Self::Later => {
                scope.waiting.extend(scope.ctx.asker());
                Ok(json!("ok"))
            }
            Self::Answer { body } => {
                let Some(asker) = (!scope.waiting.is_empty()).then(|| scope.waiting.remove(0)) else {
                    return Ok(json!("error: nobody waits"));
                };
                Ok(said(scope.ctx.reply(&asker, body)))
            }
            _ => Ok(self
                .talk(scope.ctx)
                .or_else(|| self.keep(scope.ctx))
                .or_else(|| self.live(scope.ctx))
                .unwrap_or_else(|| self.fail(scope.ctx))),
        }
    }

    fn talk(&self, ctx: &mut Context) -> Option<Value> {
        Some(match self {
            Self::Send { to, kind, body, bytes, times, on } => {
                let message = letter(kind, body, *bytes);
                let options = Options::new().channel(on.as_deref().map_or(Channel::Events, channel));
                let mut last = json!("ok");
                for _ in 0..times.unwrap_or(1) {
                    last = said(ctx.send_with(to, &message, &options).map(drop));
                }
                last
            }
            Self::Ask { to, kind, body, ms } => {
                let message = letter(kind, body, None);
                said(match ms {
                    Some(ms) => ctx.ask_within(to, &message, Duration::from_millis(*ms)).map(drop),
                    None => ctx.ask(to, &message).map(drop),
                })
            }
            Self::Call { to, kind, body, ms } => {
                let message = letter(kind, body, None);
                let reply = match ms {
                    Some(ms) => ctx.call_within(to, &message, Duration::from_millis(*ms)),
                    None => ctx.call(to, &message),
                };
                match reply {
                    Ok(bytes) => skep_sdk::serde_json::from_slice(&bytes.0).unwrap_or(json!("ok")),
                    Err(error) => json!(format!("error: {error}")),
                }
            }
            Self::AskMany { to, kind, body, in_flight, ms } => {
                let asks: Vec<_> = to.iter().map(|to| (to.clone(), letter(kind, body, None))).collect();
                match ctx.ask_many(&asks, *in_flight, Duration::from_millis(*ms)) {
                    Ok(_) => json!("ok"),
                    Err(refusal) => json!(format!("error: {}", refusal.text())),
                }
            }
            Self::Task { kind, body, ms } => {
                said(ctx.task(&letter(kind, body, None), Duration::from_millis(*ms)).map(drop))
            }
            Self::Publish { topic, kind, body } => match ctx.publish(topic, &letter(kind, body, None)) {
                Ok(count) => json!(count),
                Err(error) => json!(format!("error: {error}")),
            },
            Self::Subscribe { pattern } => said(ctx.subscribe(pattern)),
            Self::Unsubscribe { pattern } => {
                ctx.unsubscribe(pattern);
                json!("ok")
            }
            _ => return None,
        })
    }

    fn keep(&self, ctx: &mut Context) -> Option<Value> {
        Some(match self {
            Self::Put { key, value, bytes } => match bytes {
                Some(bytes) => said(ctx.state().put(key, &"x".repeat(*bytes))),
                None => said(ctx.state().put(key, value)),
            },
            Self::Get { key } => match ctx.state().get::<Value>(key) {
                Ok(value) => json!(value),
                Err(error) => json!(format!("error: {error}")),
            },
            Self::Delete { key } => said(ctx.state().delete(key)),
            Self::Keys { prefix } => {
                json!(ctx.state().scan::<Value>(prefix).filter_map(|entry| Some(entry.ok()?.0)).collect::<Vec<_>>())
            }
            Self::Once { name, ms } => said(ctx.once(name, Duration::from_millis(*ms))),
            Self::Every { name, ms } => said(ctx.every(name, Duration::from_millis(*ms))),
            Self::Cancel { name } => {
                ctx.cancel(name);
                json!("ok")
            }
            Self::Register { capabilities } => {
                let words: Vec<&str> = capabilities.iter().map(String::as_str).collect();
                said(ctx.registry().register(&words, &[], &[]))
            }
            Self::Lookup { name } => json!(ctx.registry().lookup(name).map(|entry| entry.capabilities)),
            Self::Find { capability } => names(&ctx.registry().find(capability, None, 100)),
            Self::Join { group } => said(ctx.registry().join(group)),
            Self::Leave { group } => {
                ctx.registry().leave(group);
                json!("ok")
            }
            Self::Members { group } => names(&ctx.registry().members(group, None, 100)),
            _ => return None,
        })
    }

    fn live(&self, ctx: &mut Context) -> Option<Value> {
        Some(match self {
            Self::Spawn { name, plugin, config, restart, durability, owned } => {
                let mut child = skep_sdk::Child::new(name)
                    .plugin(plugin.clone().unwrap_or_default())
                    .config(config.clone().unwrap_or_else(|| "{}".to_owned()))
                    .restart(restart.map_or(skep_sdk::Restart::Transient, Again::of_the_sdk))
                    .durability(durability.map_or(skep_sdk::Durability::None, Kept::of_the_sdk));
                if *owned {
                    child = child.owned();
                }
                said(ctx.spawn(&child).map(drop))
            }
            Self::Stop { name } => said(ctx.stop(name, &ExitReason::Shutdown)),
            Self::Exit { reason } => {
                ctx.exit(&match reason.as_str() {
                    "normal" => ExitReason::Normal,
                    "shutdown" => ExitReason::Shutdown,
                    text => ExitReason::Error(text.to_owned()),
                });
                json!("ok")
            }
            Self::Link { name } => said(ctx.link(name)),
            Self::Unlink { name } => {
                ctx.unlink(name);
                json!("ok")
            }
            Self::Monitor { name } => said(ctx.monitor(name)),
            Self::Demonitor { name } => {
                ctx.demonitor(name);
                json!("ok")
            }
            Self::Health { status, reason } => {
                ctx.health(match status.as_str() {
                    "degraded" => skep_sdk::Health::Degraded(reason.clone()),
                    "failing" => skep_sdk::Health::Failing(reason.clone()),
                    _ => skep_sdk::Health::Ok,
                });
                json!("ok")
            }
            Self::Log { text, times } => {
                for _ in 0..times.unwrap_or(1) {
                    info!("{text}");
                }
                json!("ok")
            }
            Self::Meta => {
                let meta = ctx.meta();
                json!({
                    "headers": meta.as_ref().map(|meta| meta.headers.clone()),
                    "content-type": meta.as_ref().and_then(|meta| meta.content_type.clone()),
                    "hops": meta.as_ref().map(|meta| meta.hops),
                    "attempt": ctx.attempt(),
                })
            }
            Self::Draw => json!([ctx.now().as_nanos().to_string(), ctx.random(), ctx.new_id().to_string()]),
            _ => return None,
        })
    }

    fn fail(&self, ctx: &Context) -> Value {
        match self {
            Self::Trap { below } if below.is_none_or(|below| ctx.attempt() < below) => panic!("told to trap"),
            Self::Spin { ms: None } => loop {
                black_box(0);
            },
            Self::Spin { ms: Some(ms) } => {
                let until = ctx.elapsed() + Duration::from_millis(*ms);
                while ctx.elapsed() < until {
                    black_box(0);
                }
                json!("ok")
            }
            Self::Grow { bytes } => {
                std::mem::forget(black_box(vec![1u8; *bytes]));
                json!("ok")
            }
            Self::Recurse => json!(deeper(black_box(1))),
            Self::Big { bytes } => json!("x".repeat(*bytes)),
            _ => json!("ok"),
        }
    }
}

impl Again {
    fn of_the_sdk(self) -> skep_sdk::Restart {
        match self {
            Self::Permanent => skep_sdk::Restart::Permanent,
            Self::Transient => skep_sdk::Restart::Transient,
            Self::Temporary => skep_sdk::Restart::Temporary,
        }
    }
}

impl Kept {
    fn of_the_sdk(self) -> skep_sdk::Durability {
        match self {
            Self::None => skep_sdk::Durability::None,
            Self::Process => skep_sdk::Durability::Process,
            Self::Full => skep_sdk::Durability::Full,
        }
    }
}

fn letter(kind: &str, body: &Value, bytes: Option<usize>) -> Envelope {
    let body = match bytes {
        Some(bytes) => vec![b'x'; bytes],
        None => body.to_string().into_bytes(),
    };
    Envelope { kind: kind.to_owned(), body }
}

fn channel(name: &str) -> Channel {
    match name {
        "control" => Channel::Control,
        "coordination" => Channel::Coordination,
        "data" => Channel::Data,
        "telemetry" => Channel::Telemetry,
        _ => Channel::Events,
    }
}

fn said<E: Display>(result: std::result::Result<(), E>) -> Value {
    match result {
        Ok(()) => json!("ok"),
        Err(error) => json!(format!("error: {error}")),
    }
}

fn names(agents: &[Address]) -> Value {
    json!(agents.iter().map(Address::name).collect::<Vec<_>>())
}

#[expect(unconditional_recursion, reason = "what it is for")]
fn deeper(depth: u64) -> u64 {
    black_box(deeper(black_box(depth + 1)) + depth)
}
