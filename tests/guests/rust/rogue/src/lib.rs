//! A protocol that does in its first step what its config says, and breaks a rule by it. Never an example.

use serde::{Deserialize, Serialize};
use skep_protocol::prelude::*;

struct Rogue;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// Goes on for ever.
    Spin,
    Trap,
    /// A state over its own limit.
    Swell,
    /// More effects than its own limit.
    Flood,
    /// Asks who is no member.
    Stranger,
    /// An outcome that is not what its manifest says.
    Outcome,
    /// Says that it has failed.
    Reject,
    /// Never decides.
    Idle,
    /// Sets a timer for now, whatever happens.
    Hurry,
    /// Never decides, and traps when it is looked at.
    Hide,
}

#[derive(Deserialize)]
struct Config {
    fault: Fault,
}

#[derive(Deserialize, Serialize)]
struct State {
    text: String,
}

const HIDDEN: &str = "hidden";
const ANY: &str = "true";
const EFFECTS_MAX: u32 = 10;
const STATE_BYTES_MAX: u32 = 1_000;

impl Protocol for Rogue {
    type Config = Config;
    type State = State;

    fn describe() -> Manifest {
        let mut manifest = Manifest::new("test/rogue", "0.1.0", ANY, r#"{"type": "integer"}"#);
        manifest.ask_schemas = vec![("q".to_owned(), ANY.to_owned())];
        manifest.limits.max_effects_per_step = EFFECTS_MAX;
        manifest.limits.max_state_bytes = STATE_BYTES_MAX;
        manifest.limits.fuel_per_step = 50_000_000;
        manifest
    }

    fn init(_: &Session<Config>) -> Result<State, Reject> {
        Ok(State { text: String::new() })
    }

    fn step(session: &Session<Config>, state: &mut State, event: Event, step: &mut Step) -> Result<(), Reject> {
        if matches!(session.config.fault, Fault::Hurry) {
            step.set_timer("again", step.at_ms());
        }
        if !matches!(event, Event::Start) {
            return Ok(());
        }
        match session.config.fault {
            Fault::Spin => loop {
                std::hint::black_box(());
            },
            Fault::Trap => std::process::abort(),
            Fault::Swell => state.text = "x".repeat(STATE_BYTES_MAX as usize),
            Fault::Flood => (0..=EFFECTS_MAX).for_each(|_| step.note("n", &1)),
            Fault::Stranger => drop(step.ask("nobody-of-these", "q", &1, None)),
            Fault::Outcome => step.end(EndKind::Decided, "done", &"no number", Vec::new()),
            Fault::Reject => return Err(Reject::Bug("as told".to_owned())),
            Fault::Idle | Fault::Hurry => {}
            Fault::Hide => state.text = HIDDEN.to_owned(),
        }
        Ok(())
    }

    fn view(state: &State) -> Value {
        if state.text == HIDDEN {
            std::process::abort();
        }
        json!(null)
    }
}

skep_protocol::export!(Rogue);
