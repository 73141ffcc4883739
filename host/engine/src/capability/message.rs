//! `message`: what is rare about the messages of the batch. Only reads.

use skep_core::{Class, Message};

use crate::bindings::skep::agent::message::{Host, Meta};
use crate::bindings::skep::agent::types::{AskError, MessageId};
use crate::convert;
use crate::ctx::Ctx;
use crate::host::TurnHost;

impl<H: TurnHost> Host for Ctx<H> {
    fn get_meta(&mut self, index: u32) -> wasmtime::Result<Option<Meta>> {
        Ok(self.turn()?.batch().get(index as usize).map(|message| meta(message)))
    }

    fn in_reply_to(&mut self, index: u32) -> wasmtime::Result<Option<MessageId>> {
        Ok(self.turn()?.batch().get(index as usize).and_then(|message| in_reply_to(message)))
    }

    fn failure(&mut self, index: u32) -> wasmtime::Result<Option<AskError>> {
        Ok(self.turn()?.batch().get(index as usize).and_then(|message| match &message.class {
            Class::Answer { failure: Some(failure), .. } => Some(convert::ask_error_to_wit(failure.as_ref().clone())),
            _ => None,
        }))
    }
}

fn in_reply_to(message: &Message) -> Option<MessageId> {
    match &message.class {
        Class::Answer { ask, .. } => Some(ask.halves()),
        _ => None,
    }
}

fn meta(message: &Message) -> Meta {
    let rare = message.rare.as_deref();
    Meta {
        in_reply_to: in_reply_to(message),
        retry_of: rare.and_then(|rare| rare.retry_of).map(|id| id.halves()),
        topic: match &message.class {
            Class::Published { topic } => Some(topic.to_string()),
            _ => None,
        },
        content_type: rare.and_then(|rare| rare.content_type.clone()),
        headers: rare.map(|rare| rare.headers.clone()).unwrap_or_default(),
        deadline: match message.class {
            Class::Ask { deadline_ns, .. } => Some(deadline_ns / 1_000_000),
            _ => None,
        },
        accepted: message.accepted_ns,
        traceparent: rare.and_then(|rare| rare.traceparent.clone()),
        hops: message.hops,
        missed: match message.class {
            Class::Timer { missed } => missed,
            _ => 0,
        },
    }
}
