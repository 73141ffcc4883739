//! A protocol as the component's exports: bytes in, bytes out. Nothing is kept between calls.

use std::marker::PhantomData;

use serde_json::Value;

use crate::bindings::exports::skep::protocol::{invariants, protocol};
use crate::bindings::skep::protocol::types::{Envelope, SessionInfo, StepResult};
use crate::{Manifest, Outcome, Protocol, Reject, Session, Step, json};

/// The exports of a protocol.
pub struct Component<P>(PhantomData<P>);

impl<P: Protocol> protocol::Guest for Component<P> {
    fn describe() -> Manifest {
        P::describe()
    }

    fn init(info: SessionInfo) -> Result<Vec<u8>, Reject> {
        written::<P>(&P::init(&Session::read(info)?)?)
    }

    fn step(info: SessionInfo, state: Vec<u8>, envelope: Envelope) -> Result<StepResult, Reject> {
        let session = Session::read(info)?;
        let mut state = read::<P>(&state)?;
        let mut step = Step::new(envelope.seq, envelope.at);
        P::step(&session, &mut state, envelope.event, &mut step)?;
        Ok(StepResult { state: written::<P>(&state)?, effects: step.effects()? })
    }

    fn migrate(from: u32, state: Vec<u8>) -> Result<Vec<u8>, Reject> {
        let state = serde_json::from_slice(&state).map_err(unreadable)?;
        written::<P>(&P::migrate(from, state)?)
    }

    /// Of a state that cannot be read there is nothing to see.
    fn view(state: Vec<u8>) -> Vec<u8> {
        json::canonical(&read::<P>(&state).map_or(Value::Null, |state| P::view(&state)))
    }
}

impl<P: Protocol> invariants::Guest for Component<P> {
    fn check(state: Vec<u8>, end: Option<Outcome>) -> Vec<String> {
        match read::<P>(&state) {
            Ok(state) => P::broken(&state, end.as_ref()),
            Err(error) => vec![error.to_string()],
        }
    }
}

fn read<P: Protocol>(state: &[u8]) -> Result<P::State, Reject> {
    serde_json::from_slice(state).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Reject {
    Reject::BadState(error.to_string())
}

fn written<P: Protocol>(state: &P::State) -> Result<Vec<u8>, Reject> {
    json::write(state).map_err(Reject::Bug)
}

/// Makes a type that implements [`Protocol`] the protocol of this component. On other targets than wasm it exports nothing,
/// and only keeps the compiler from calling the protocol unused.
#[macro_export]
macro_rules! export {
    ($protocol:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::__private::Component<$protocol>;
    $crate::__private::export_protocol!(Exported with_types_in $crate::__private);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> $crate::Manifest = <$protocol as $crate::Protocol>::describe;
    };
}
