//! A protocol that looks at a clock: it is refused when it is loaded. Never entered.

use exports::skep::protocol::protocol::{Envelope, Guest, Manifest, Payload, Reject, SessionInfo, StepResult};

#[expect(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../../../wit/protocol",
        inline: "
            package test:rogue;
            interface clock { now: func() -> u64; }
            world rogue {
                import clock;
                export skep:protocol/protocol@0.1.0;
            }
        ",
        world: "test:rogue/rogue",
        generate_all,
    });
    export!(Component);
    pub(super) use super::Component;
}
use bindings::exports;

/// The protocol.
pub struct Component;

impl Guest for Component {
    fn describe() -> Manifest {
        unreachable()
    }

    fn init(_: SessionInfo) -> Result<Payload, Reject> {
        Ok(bindings::test::rogue::clock::now().to_le_bytes().to_vec())
    }

    fn step(_: SessionInfo, _: Payload, _: Envelope) -> Result<StepResult, Reject> {
        Err(Reject::Bug(String::new()))
    }

    fn migrate(_: u32, state: Payload) -> Result<Payload, Reject> {
        Ok(state)
    }

    fn view(state: Payload) -> Payload {
        state
    }
}

fn unreachable() -> ! {
    std::process::abort()
}
