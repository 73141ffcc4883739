//! An agent that breaks the rules of a turn, on the bare bindings, because the SDK would not let it.
//!
//! | kind | what it does |
//! |---|---|
//! | `ok` | nothing; an ask is answered with the names that came with the batch, as JSON |
//! | `turn-error` | the turn fails |
//! | `unusable` | the turn fails, and trying again will not help |
//! | `leave` | deals with the messages before it, and with it only if it is the first |
//! | `too-many` | says that it has dealt with one message more than there are |
//! | `begin-again` | begins itself twice, after having sent something |
//! | `begin-beyond` | begins a message that is not in the batch |
//! | `refuse-other` | refuses a message that it has not begun |
//! | `refuse-twice` | refuses itself twice |
//! | `no-begin` | sends to itself without `begin`; the reply is what `send` said |
//! | `bad-number` | sends to a number that nobody told; the reply is what `send` said |
//! | `bad-kind` | sends a kind that nobody told; the reply is what `send` said |
//! | `after-refusal` | refuses itself, then sends `ok` to itself |
//! | `many-names` | asks for so many numbers that it must trap |

use std::cell::RefCell;
use std::collections::BTreeMap;

use skep_sdk::raw::types::{ExitReason, Message, MessageFlags, Refusal, SendError, StartReason, TurnError};
use skep_sdk::raw::{Guest, Traits, messaging, names, turn};

thread_local! {
    static NAMES: RefCell<BTreeMap<u32, String>> = RefCell::default();
}

/// No number that any host has told.
const NOBODY: u32 = 60_000;

/// The agent.
pub struct Component;

impl Guest for Component {
    fn describe() -> Traits {
        Traits { batch_max: 0, sdk: "bare rust 0.1.0".to_owned() }
    }

    fn start(_config: String, _why: StartReason) -> Result<(), TurnError> {
        Ok(())
    }

    fn handle(told: Vec<(u32, String)>, messages: Vec<Message>) -> Result<u32, TurnError> {
        let new: Vec<String> = told.iter().map(|(_, name)| format!("{name:?}")).collect();
        NAMES.with_borrow_mut(|names| names.extend(told));
        let count = messages.len() as u32;
        for (index, message) in (0..).zip(&messages) {
            match one(index, message, &new)? {
                Next::On => {}
                Next::Handled(handled) => return Ok(handled.min(count + 1)),
            }
        }
        Ok(count)
    }

    fn migrate(_from_digest: String) -> Result<(), TurnError> {
        Ok(())
    }

    fn stop(_reason: ExitReason) -> Result<(), TurnError> {
        Ok(())
    }
}

enum Next {
    On,
    Handled(u32),
}

fn one(index: u32, message: &Message, new: &[String]) -> Result<Next, TurnError> {
    let kind = NAMES.with_borrow(|names| names.get(&message.kind).cloned().unwrap_or_default());
    if kind == "no-begin" {
        let sent = messaging::send(me(), message.kind, &[]);
        turn::begin(index);
        reply(message, &said(sent));
        return Ok(Next::On);
    }
    turn::begin(index);
    match kind.as_str() {
        "turn-error" => return Err(TurnError::Failed("as it was told".to_owned())),
        "unusable" => return Err(TurnError::Unusable("as it was told".to_owned())),
        "leave" if index > 0 => return Ok(Next::Handled(index)),
        "too-many" => return Ok(Next::Handled(u32::MAX)),
        "refuse-other" => turn::refuse(index + 1, &no()),
        "begin-beyond" => turn::begin(u32::MAX),
        "many-names" => (0..=u16::MAX).for_each(|at| {
            names::number_of(&format!("name-{at}"));
        }),
        "bad-number" => reply(message, &said(messaging::send(NOBODY, message.kind, &[]))),
        "bad-kind" => reply(message, &said(messaging::send(me(), NOBODY, &[]))),
        "begin-again" => {
            let _ = messaging::send(me(), names::number_of("ok"), &[]);
            turn::begin(index);
        }
        "refuse-twice" => {
            turn::refuse(index, &no());
            turn::refuse(index, &no());
        }
        "after-refusal" => {
            turn::refuse(index, &no());
            let _ = messaging::send(me(), names::number_of("ok"), &[]);
        }
        _ => reply(message, &format!("[{}]", new.join(","))),
    }
    Ok(Next::On)
}

fn me() -> u32 {
    names::number_of(&names::self_name())
}

fn no() -> Refusal {
    Refusal::Failed("as it was told".to_owned())
}

fn said(sent: Result<(u64, u64), SendError>) -> String {
    format!(
        "{:?}",
        sent.map(drop).map_err(|error| error.to_string()).map_or_else(|error| error, |()| "sent".to_owned())
    )
}

fn reply(message: &Message, text: &str) {
    if message.flags.contains(MessageFlags::ASK) {
        let _ = messaging::reply(message.id, text.as_bytes());
    }
}

skep_sdk::export_raw!(Component);
