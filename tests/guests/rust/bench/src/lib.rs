//! The agent of the benches: as lean as the WIT allows, so that what is measured is the host. It speaks the bare
//! bindings; a message without effects says no `begin`. Never an example of how to write an agent.
//!
//! | kind | body | what it does | reply |
//! |---|---|---|---|
//! | `noop` | any | nothing | empty |
//! | `echo` | any | nothing | the body |
//! | `call-for-bids` | any | nothing | `{"bid":10}`: a member of auctions |
//! | `sink` | any | counts it | none |
//! | `await` | `{"count": N}` | nothing | the count, once N are counted in all; counting starts anew then |
//! | `flood` | `{"to", "count", "size" or "text", "kind"?: "sink", "chunk"?: 256}` | sends `count` bodies of `size` bytes, or of this text, `chunk` in a turn | how many were sent, once all are |
//! | `fan` | `{"to": prefix, "agents", "count", "size", "kind"?}` | sends `count` bodies to each of `prefix0..` | how many were sent, once all are |
//! | `asks` | `{"to", "count", "size", "kind"?: "echo"}` | asks, one after the other | the count, once all are answered |
//! | `calls` | likewise | calls, all in one turn | the count |
//! | `next` | an agent's name | `hop` and `durable` go there; the config key `next` does the same | empty |
//! | `hop` | u32, little endian, and any bytes | 0: counts it as `sink` does; else sends it on, less one | none |
//! | `durable` | likewise | writes 200 bytes of state, then as `hop` | none |
//! | `put` | any | writes 200 bytes of state | empty |
//! | `trap` | any | traps | never |

mod order;
mod work;

use std::cell::RefCell;

use skep_sdk::raw::types::{ExitReason, Message, StartReason, TurnError};
use skep_sdk::raw::{Guest, Traits, names};

use work::Bench;

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// The agent.
pub struct Component;

impl Guest for Component {
    fn describe() -> Traits {
        Traits { batch_max: 0, sdk: "bare rust 0.1.0".to_owned() }
    }

    fn start(config: String, _why: StartReason) -> Result<(), TurnError> {
        if let Some(next) = order::next_of(&config).map_err(TurnError::Unusable)? {
            BENCH.with_borrow_mut(|bench| bench.next = names::number_of(&next));
        }
        Ok(())
    }

    fn handle(told: Vec<(u32, String)>, messages: Vec<Message>) -> Result<u32, TurnError> {
        BENCH.with_borrow_mut(|bench| {
            for (number, name) in told {
                bench.learn(number, &name);
            }
            let count = messages.len() as u32;
            for (index, message) in (0..).zip(messages) {
                bench.handle(index, message);
            }
            Ok(count)
        })
    }

    fn migrate(_from_digest: String) -> Result<(), TurnError> {
        Ok(())
    }

    fn stop(_reason: ExitReason) -> Result<(), TurnError> {
        Ok(())
    }
}

skep_sdk::export_raw!(Component);
