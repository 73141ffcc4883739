//! Between the words of the WIT and those of the core. Texts of guests are made safe to show here. Never a decision.

use skep_core::{AskFailure, Channel, Class, ExitReason, Message, MessageId, Refusal, SendError};

use crate::bindings::skep::agent::types as wit;
use crate::failure::said;

pub(crate) fn channel_to_wit(channel: Channel) -> wit::Channel {
    match channel {
        Channel::Control => wit::Channel::Control,
        Channel::Coordination => wit::Channel::Coordination,
        Channel::Events => wit::Channel::Events,
        Channel::Data => wit::Channel::Data,
        Channel::Telemetry => wit::Channel::Telemetry,
    }
}

pub(crate) fn channel(channel: wit::Channel) -> Channel {
    match channel {
        wit::Channel::Control => Channel::Control,
        wit::Channel::Coordination => Channel::Coordination,
        wit::Channel::Events => Channel::Events,
        wit::Channel::Data => Channel::Data,
        wit::Channel::Telemetry => Channel::Telemetry,
    }
}

pub(crate) fn flags(message: &Message) -> wit::MessageFlags {
    let class = match &message.class {
        Class::Tell => wit::MessageFlags::empty(),
        Class::Ask { .. } => wit::MessageFlags::ASK,
        Class::Answer { failure: None, .. } => wit::MessageFlags::ANSWER,
        Class::Answer { failure: Some(_), .. } => wit::MessageFlags::ANSWER | wit::MessageFlags::FAILED,
        Class::Timer { .. } => wit::MessageFlags::TIMER,
        Class::Down => wit::MessageFlags::DOWN,
        Class::Published { .. } => wit::MessageFlags::PUBLISHED,
    };
    match &message.rare {
        Some(rare) if rare.retry_of.is_some() => class | wit::MessageFlags::RETRIED,
        _ => class,
    }
}

pub(crate) fn id(id: wit::MessageId) -> MessageId {
    MessageId::from_halves(id.0, id.1)
}

pub(crate) fn send_error_to_wit(error: SendError) -> wit::SendError {
    match error {
        SendError::Full => wit::SendError::Full,
        SendError::Absent => wit::SendError::Absent,
        SendError::Denied(text) => wit::SendError::Denied(text),
        SendError::TooLarge(bytes_max) => wit::SendError::TooLarge(bytes_max),
        SendError::Invalid(text) => wit::SendError::Invalid(text),
        SendError::Limit(text) => wit::SendError::Limit(text),
        other => wit::SendError::Invalid(other.to_string()),
    }
}

pub(crate) fn ask_error_to_wit(failure: AskFailure) -> wit::AskError {
    match failure {
        AskFailure::NotSent(error) => wit::AskError::NotSent(send_error_to_wit(error)),
        AskFailure::Refused(refusal) => wit::AskError::Refused(refusal_to_wit(refusal)),
        AskFailure::Timeout => wit::AskError::Timeout,
        AskFailure::Down(reason) => wit::AskError::Down(reason.to_string()),
        AskFailure::DeadLetter => wit::AskError::DeadLetter,
        AskFailure::Cycle(text) => wit::AskError::Cycle(text),
        other => wit::AskError::Down(other.to_string()),
    }
}

fn refusal_to_wit(refusal: Refusal) -> wit::Refusal {
    match refusal {
        Refusal::Invalid(text) => wit::Refusal::Invalid(text),
        Refusal::UnknownKind(text) => wit::Refusal::UnknownKind(text),
        Refusal::Denied(text) => wit::Refusal::Denied(text),
        Refusal::Unavailable(text) => wit::Refusal::Unavailable(text),
        Refusal::Failed(text) => wit::Refusal::Failed(text),
    }
}

pub(crate) fn refusal(refusal: wit::Refusal) -> Refusal {
    match refusal {
        wit::Refusal::Invalid(text) => Refusal::Invalid(said(&text)),
        wit::Refusal::UnknownKind(text) => Refusal::UnknownKind(said(&text)),
        wit::Refusal::Denied(text) => Refusal::Denied(said(&text)),
        wit::Refusal::Unavailable(text) => Refusal::Unavailable(said(&text)),
        wit::Refusal::Failed(text) => Refusal::Failed(said(&text)),
    }
}

pub(crate) fn exit_reason(reason: wit::ExitReasonResult) -> ExitReason {
    match reason {
        wit::ExitReasonResult::Normal => ExitReason::Normal,
        wit::ExitReasonResult::Shutdown => ExitReason::Shutdown,
        wit::ExitReasonResult::ShutdownBecause(text) => ExitReason::ShutdownBecause(said(&text)),
        wit::ExitReasonResult::Error(text) => ExitReason::Error(said(&text)),
    }
}

/// The reason for the guest; the host's own reasons are errors to it. `text` is `reason` as text.
pub(crate) fn exit_reason_to_wit<'a>(reason: &'a ExitReason, text: &'a str) -> wit::ExitReasonParam<'a> {
    match reason {
        ExitReason::Normal => wit::ExitReasonParam::Normal,
        ExitReason::Shutdown => wit::ExitReasonParam::Shutdown,
        ExitReason::ShutdownBecause(word) => wit::ExitReasonParam::ShutdownBecause(word),
        _ => wit::ExitReasonParam::Error(text),
    }
}
