//! A protocol that asks its members and lists, when all have answered, what each said and to which version. Its second
//! version counts states in another form. Never an example.

use serde::{Deserialize, Serialize};
use skep_protocol::prelude::*;

struct Poll;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const ANSWER: &str = r#"{"type": "integer"}"#;
const OUTCOME: &str = r#"{"type": "array", "items": {"type": "string"}}"#;

/// The form of this version's states: its first number, if that is not 0.
fn form() -> u32 {
    VERSION.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0).max(1)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

#[derive(Deserialize, Serialize)]
struct State {
    form: u32,
    heard: Vec<String>,
    unheard: usize,
}

impl State {
    fn end_if_all_are_heard(&self, members: usize, step: &mut Step) {
        if self.heard.len() + self.unheard < members {
            return;
        }
        match self.heard.is_empty() {
            false => step.end(EndKind::Decided, "heard", &self.heard, Vec::new()),
            true => step.end(EndKind::NoDecision, "unheard", &self.heard, Vec::new()),
        }
    }
}

impl Protocol for Poll {
    type Config = Config;
    type State = State;

    fn describe() -> Manifest {
        let mut manifest = Manifest::new("test/poll", VERSION, r#"{"type": "object"}"#, OUTCOME);
        manifest.ask_schemas = vec![("number".to_owned(), ANSWER.to_owned())];
        manifest.state_version = form();
        manifest
    }

    fn init(_: &Session<Config>) -> Result<State, Reject> {
        Ok(State { form: form(), heard: Vec::new(), unheard: 0 })
    }

    fn step(session: &Session<Config>, state: &mut State, event: Event, step: &mut Step) -> Result<(), Reject> {
        if state.form != form() {
            return Err(Reject::BadState(format!("a state of the form {}", state.form)));
        }
        match event {
            Event::Start => {
                for member in session.ids() {
                    step.ask(member, "number", &1, None);
                }
                state.end_if_all_are_heard(session.members.len(), step);
            }
            Event::Message(message) => {
                let number: i64 = message.read().map_err(|why| Reject::Bug(why.to_string()))?;
                state.heard.push(format!("{} said {number} to {VERSION}", message.sender));
                state.end_if_all_are_heard(session.members.len(), step);
            }
            Event::AskClosed(_) => {
                state.unheard += 1;
                state.end_if_all_are_heard(session.members.len(), step);
            }
            Event::Cancel(_) | Event::Deadline => step.end(EndKind::NoDecision, "unheard", &state.heard, Vec::new()),
            _ => {}
        }
        Ok(())
    }

    fn view(state: &State) -> Value {
        json!(state.heard.len())
    }

    fn migrate(from: u32, state: Value) -> Result<State, Reject> {
        let bad = |why: String| Reject::BadState(why);
        let before: State = skep_protocol::serde_json::from_value(state).map_err(|error| bad(error.to_string()))?;
        if from + 1 != form() || before.form != from {
            return Err(bad(format!("there is no way from the form {from} to {}", form())));
        }
        Ok(State { form: form(), ..before })
    }
}

skep_protocol::export!(Poll);
