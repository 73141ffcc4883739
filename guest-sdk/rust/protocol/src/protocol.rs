//! What an author implements, and the manifest that most protocols begin with.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Event, Limits, Manifest, Outcome, Reject, Session, Step, Timing};

/// The rules of a coordination. Each function depends on its arguments alone: a protocol has no clock, no randomness but
/// the session's seed, and no memory but its state.
pub trait Protocol {
    /// What a session is configured with. Refuse unknown fields (`#[serde(deny_unknown_fields)]`): what cannot be read
    /// is refused as [`Reject::BadConfig`].
    type Config: DeserializeOwned;

    /// All that one step tells the next. It is kept as canonical JSON, so it has no maps without an order and no
    /// floats; what cannot be read is refused as [`Reject::BadState`].
    type State: Serialize + DeserializeOwned;

    /// What the protocol is.
    fn describe() -> Manifest;

    /// The first state. Nothing can be done yet: the first step has [`Event::Start`].
    fn init(session: &Session<Self::Config>) -> Result<Self::State, Reject>;

    /// One event. What is to be done is told to `step`; it is done once the step is committed. An event that means
    /// nothing to the rule is none of the protocol's business: it changes nothing.
    fn step(
        session: &Session<Self::Config>,
        state: &mut Self::State,
        event: Event,
        step: &mut Step,
    ) -> Result<(), Reject>;

    /// What observers may see of a state, before the end too.
    fn view(state: &Self::State) -> Value;

    /// The state of an earlier state-version as one of this. Without it, such a state is refused.
    fn migrate(from: u32, state: Value) -> Result<Self::State, Reject> {
        let _ = state;
        Err(Reject::BadState(format!("there is no way from the state of version {from}")))
    }

    /// The invariants that a state breaks, in words: each says what should hold. With the outcome, if the session has
    /// ended.
    fn broken(state: &Self::State, end: Option<&Outcome>) -> Vec<String> {
        let _ = (state, end);
        Vec::new()
    }
}

/// A day.
const DEADLINE_MS_DEFAULT: u64 = 86_400_000;

impl Manifest {
    /// Without roles, joins and asks, of state-version 1, not sensitive to order, with a deadline of a day and with
    /// limits that do for 1,000 members whose entries in the state have 1 KiB. The fields are public: write
    /// `Manifest { ask_schemas, ..Manifest::new(...) }`.
    pub fn new(name: &str, version: &str, config_schema: &str, outcome_schema: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            state_version: 1,
            config_schema: config_schema.to_owned(),
            outcome_schema: outcome_schema.to_owned(),
            ask_schemas: Vec::new(),
            roles: Vec::new(),
            order_sensitive: false,
            allows_join: false,
            properties: Vec::new(),
            timing: Timing { default_deadline: DEADLINE_MS_DEFAULT, min_members: 0, max_members: None },
            limits: Limits { max_state_bytes: 1 << 20, max_effects_per_step: 4_096, fuel_per_step: 1_000_000_000 },
        }
    }
}
