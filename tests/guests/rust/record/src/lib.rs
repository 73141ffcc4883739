//! Not an agent: it takes messages in the shapes of `wit/measure.wit`, so that the bench `record` of the engine can tell
//! what each shape costs. It looks at every field and body once, and keeps none.

#[expect(unsafe_code, reason = "generated: how a component exports its functions")]
mod bindings {
    use super::Component;

    wit_bindgen::generate!({ path: "wit", world: "measure" });
    export!(Component with_types_in self);
}

use std::hint::black_box;

use bindings::exports::skep::measure::shapes::{
    Channel, Correlated, Flat, Guest, Id, Least, MessageFlags, Named, Numbered, OneImport,
};
use bindings::skep::measure::host;

/// The body of what is sent and stored, in bytes: as large as those that come.
const BODY_BYTES: usize = 64;

struct Component;

impl Guest for Component {
    fn take_named(messages: Vec<Named>) -> Result<u32, String> {
        for message in &messages {
            black_box((&message.id, &message.sender, &message.kind, message.channel, message.attempt));
            black_box((&message.in_reply_to, &message.content_type, &message.headers));
            look(&message.body);
        }
        Ok(messages.len() as u32)
    }

    fn take_numbered(_names: Vec<(u32, String)>, messages: Vec<Numbered>) -> Result<u32, String> {
        for message in &messages {
            numbers(message.id, message.sender, message.kind, message.channel, message.attempt, message.flags);
            look(&message.body);
        }
        Ok(messages.len() as u32)
    }

    fn take_least(_names: Vec<(u32, String)>, messages: Vec<Least>) -> Result<u32, String> {
        for message in &messages {
            black_box((message.id, message.sender));
            look(&message.body);
        }
        Ok(messages.len() as u32)
    }

    fn take_flat(_names: Vec<(u32, String)>, messages: Vec<Flat>, bodies: Vec<u8>) -> Result<u32, String> {
        let mut start = 0;
        for message in &messages {
            numbers(message.id, message.sender, message.kind, message.channel, message.attempt, message.flags);
            let end = message.body_end as usize;
            look(bodies.get(start..end).ok_or("a body is outside of the list")?);
            start = end;
        }
        Ok(messages.len() as u32)
    }

    fn take_flat_copied(_names: Vec<(u32, String)>, messages: Vec<Flat>, bodies: Vec<u8>) -> Result<u32, String> {
        let mut start = 0;
        for message in &messages {
            numbers(message.id, message.sender, message.kind, message.channel, message.attempt, message.flags);
            let end = message.body_end as usize;
            look(&black_box(bodies.get(start..end).ok_or("a body is outside of the list")?.to_vec()));
            start = end;
        }
        Ok(messages.len() as u32)
    }

    fn take_correlated(_names: Vec<(u32, String)>, messages: Vec<Correlated>) -> Result<u32, String> {
        for message in &messages {
            numbers(message.id, message.sender, message.kind, message.channel, message.attempt, message.flags);
            black_box(message.in_reply_to);
            look(&message.body);
        }
        Ok(messages.len() as u32)
    }

    fn repeat(what: OneImport, count: u32) {
        for index in 0..count {
            use_once(what, index);
        }
    }
}

fn numbers(id: Id, sender: u32, kind: u32, channel: Channel, attempt: u32, flags: MessageFlags) {
    black_box((id, sender, kind, channel, attempt, flags));
}

fn keep<T>(value: T) {
    black_box(value);
}

fn look(body: &[u8]) {
    black_box(body.first().zip(body.last()));
}

fn use_once(what: OneImport, index: u32) {
    const BODY: [u8; BODY_BYTES] = [1; BODY_BYTES];
    match what {
        OneImport::Begin => host::begin(index),
        OneImport::InReplyTo => keep(host::in_reply_to(index)),
        OneImport::GetMeta => keep(host::get_meta(index)),
        OneImport::Send => keep(host::send(index, 1, &BODY)),
        OneImport::SendAsync => keep(host::send_async(index, 1, &BODY)),
        OneImport::Get => keep(host::get("total")),
        OneImport::GetAsync => keep(host::get_async("total")),
        OneImport::Put => keep(host::put("total", &BODY)),
        OneImport::PutAsync => keep(host::put_async("total", &BODY)),
        OneImport::Call => keep(host::call(index, 1, &BODY, 0)),
        OneImport::CallYield => keep(host::call_yield(index, 1, &BODY, 0)),
    }
}
