//! Between the words of the WIT and those of the core. Texts of a protocol are data here, and are escaped where they are
//! shown.

use skep_core::name::shown;
use skep_core::session::{
    AskId, Closed, DownReason, Effect, EndKind, Envelope, Event, Info, Limits, Manifest, Outcome, Payload, Reject,
    Timing,
};

use super::Misstep;
use super::bindings::skep::protocol::types as wit;

/// What is shown of a protocol's word about itself, in characters.
const TEXT_CHARS_MAX: usize = 1_024;

/// What a session was opened with, in the form in which it is given to its protocol: made once.
pub struct Opened(pub(super) wit::SessionInfo);

impl From<&Info> for Opened {
    fn from(info: &Info) -> Self {
        let members = info.members.iter().map(|member| wit::Member {
            id: member.id.clone(),
            role: member.role.clone(),
            weight: member.weight,
            capabilities: member.capabilities.clone(),
        });
        Self(wit::SessionInfo {
            session_id: info.session.clone(),
            config: info.config.clone().into_bytes(),
            members: members.collect(),
            seed: info.seed,
            deadline_at: info.deadline_ms,
        })
    }
}

pub(super) fn envelope(envelope: &Envelope) -> wit::Envelope {
    wit::Envelope { seq: envelope.seq, at: envelope.at_ms, event: event(&envelope.event) }
}

fn event(event: &Event) -> wit::Event {
    match event {
        Event::Start => wit::Event::Start,
        Event::Message(said) => wit::Event::Message(wit::Inbound {
            sender: said.sender.clone(),
            msg_id: said.msg_id.clone(),
            in_reply_to: said.in_reply_to.map(ask_to_wit),
            body: said.body.clone().into_bytes(),
        }),
        Event::TimerFired(timer) => wit::Event::TimerFired(timer.clone()),
        Event::MemberDown(member, reason) => wit::Event::MemberDown((member.clone(), down(*reason))),
        Event::AskClosed(ask, how) => wit::Event::AskClosed((ask_to_wit(*ask), closed(*how))),
        Event::Cancel(why) => wit::Event::Cancel(why.clone()),
        Event::Deadline => wit::Event::Deadline,
    }
}

fn ask_to_wit(ask: AskId) -> wit::AskId {
    wit::AskId { seq: ask.seq, index: ask.index }
}

fn down(reason: DownReason) -> wit::DownReason {
    match reason {
        DownReason::Crashed => wit::DownReason::Crashed,
        DownReason::Left => wit::DownReason::Left,
        DownReason::Unreachable => wit::DownReason::Unreachable,
        DownReason::Evicted => wit::DownReason::Evicted,
    }
}

fn closed(how: Closed) -> wit::Closed {
    match how {
        Closed::Expired => wit::Closed::Expired,
        Closed::Refused => wit::Closed::Refused,
        Closed::Down => wit::Closed::Down,
        Closed::Undeliverable => wit::Closed::Undeliverable,
        Closed::Cancelled => wit::Closed::Cancelled,
    }
}

pub(super) fn effect(effect: wit::Effect) -> Result<Effect, Misstep> {
    Ok(match effect {
        wit::Effect::Send(ask) => {
            Effect::Ask { to: ask.to, body: payload(ask.body)?, schema: ask.schema, answer_by_ms: ask.answer_by }
        }
        wit::Effect::Broadcast((to, body)) => Effect::Broadcast { to, body: payload(body)? },
        wit::Effect::SetTimer((timer, at_ms)) => Effect::SetTimer { timer, at_ms },
        wit::Effect::CancelTimer(timer) => Effect::CancelTimer(timer),
        wit::Effect::CancelAsk(ask) => Effect::CancelAsk(AskId { seq: ask.seq, index: ask.index }),
        wit::Effect::CancelChild(key) | wit::Effect::SpawnChild((key, ..)) => Effect::Child(key),
        wit::Effect::Note((key, body)) => Effect::Note(key, payload(body)?),
        wit::Effect::RecordOutcome(outcome) => Effect::End(Outcome {
            kind: end_kind(outcome.kind),
            code: outcome.code,
            body: payload(outcome.body)?,
            evidence: outcome.evidence,
        }),
    })
}

fn end_kind(kind: wit::EndKind) -> EndKind {
    match kind {
        wit::EndKind::Decided => EndKind::Decided,
        wit::EndKind::NoDecision => EndKind::NoDecision,
        wit::EndKind::Cancelled => EndKind::Cancelled,
        wit::EndKind::Failed => EndKind::Failed,
    }
}

/// A payload is text: JSON.
pub(super) fn payload(bytes: Vec<u8>) -> Result<Payload, Misstep> {
    String::from_utf8(bytes).map_err(|_| Reject::Bug("a payload of it is not UTF-8".to_owned()).into())
}

pub(super) fn reject(reject: wit::Reject) -> Misstep {
    let safe = |text: &str| shown(text, TEXT_CHARS_MAX);
    Misstep::Rejected(match reject {
        wit::Reject::BadConfig(why) => Reject::BadConfig(safe(&why)),
        wit::Reject::BadState(why) => Reject::BadState(safe(&why)),
        wit::Reject::Bug(why) => Reject::Bug(safe(&why)),
    })
}

pub(super) fn manifest(manifest: wit::Manifest) -> Manifest {
    Manifest {
        name: shown(&manifest.name, TEXT_CHARS_MAX),
        version: shown(&manifest.version, TEXT_CHARS_MAX),
        state_version: manifest.state_version,
        config_schema: manifest.config_schema,
        outcome_schema: manifest.outcome_schema,
        ask_schemas: manifest.ask_schemas,
        roles: manifest.roles,
        order_sensitive: manifest.order_sensitive,
        allows_join: manifest.allows_join,
        properties: manifest.properties,
        timing: Timing {
            default_deadline_ms: manifest.timing.default_deadline,
            members_min: manifest.timing.min_members,
            members_max: manifest.timing.max_members,
        },
        limits: Limits {
            state_bytes_max: manifest.limits.max_state_bytes,
            effects_per_step_max: manifest.limits.max_effects_per_step,
            fuel_per_step: manifest.limits.fuel_per_step,
        },
    }
}
