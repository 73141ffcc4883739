//! Tasks and many asks: what has to be remembered until they end. The notes are kept in the agent's state and written
//! once a turn; what waits and what is answered has keys of its own. Never more than the bounds below.

mod many;
mod result;
mod task;

use serde::{Deserialize, Serialize};

pub(crate) use many::Ask;
pub(crate) use task::is_task_of;

use crate::error::StateError;
use crate::host::state;
use crate::id::{AskId, Id, ManyId};

const BOOK_KEY: &str = "skep.jobs";

/// Timers of this name look for what a refusal has left behind.
pub(crate) const SWEEP: &str = "skep.sweep.";

/// How much later than a deadline a sweep comes, in milliseconds: the answer must be handled first.
const SWEEP_AFTER_MS: u32 = 1_000;

/// The notes, and what this turn has done to them.
#[derive(Default)]
pub(crate) struct Jobs {
    book: Book,
    /// The book as it was before the message that is being handled changed it.
    before: Option<Book>,
    /// The book is not written yet.
    changed: bool,
    /// The agent has handlers for the ends of tasks, of many asks.
    allowed: (bool, bool),
}

/// Lists, for they are short, and every agent carries this code.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Book {
    /// The ask and the name of the agent that has it.
    tasks: Vec<(AskId, String)>,
    many: Vec<many::Many>,
}

/// Whose ask an answer is.
pub(crate) enum Claim {
    /// The author's.
    None,
    /// A task's.
    Task(AskId),
    /// One of many's, at this place.
    Many(ManyId, u32),
}

impl Jobs {
    pub(crate) fn load() -> Result<Self, String> {
        let Some(bytes) = state::get(BOOK_KEY) else { return Ok(Self::default()) };
        let book =
            serde_json::from_slice(&bytes).map_err(|error| format!("the notes of tasks cannot be read: {error}"))?;
        Ok(Self { book, ..Self::default() })
    }

    pub(crate) fn save(&mut self) -> Result<(), String> {
        if !self.changed {
            return Ok(());
        }
        if self.is_idle() {
            state::delete(BOOK_KEY);
        } else {
            let bytes = serde_json::to_vec(&self.book).map_err(|error| error.to_string())?;
            put(BOOK_KEY, &bytes)?;
        }
        self.changed = false;
        Ok(())
    }

    /// Says which handlers the agent has.
    pub(crate) fn allow(&mut self, tasks: bool, many: bool) {
        self.allowed = (tasks, many);
    }

    /// A message begins.
    pub(crate) fn mark(&mut self) {
        self.before = None;
    }

    /// The message is refused.
    pub(crate) fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.book = before;
        }
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.book.tasks.is_empty() && self.book.many.is_empty()
    }

    pub(crate) fn claim(&self, ask: Id) -> Claim {
        let ask = AskId(ask);
        if self.has_task(ask) {
            return Claim::Task(ask);
        }
        self.book.many.iter().find_map(|many| many.claim(ask)).unwrap_or(Claim::None)
    }

    /// Ends the job of this id if it has stopped moving.
    pub(crate) fn sweep(&mut self, job: &str) {
        let Ok(id) = job.parse::<Id>() else { return };
        self.end_task(AskId(id));
        self.sweep_many(ManyId(id));
    }

    fn edit(&mut self) -> &mut Book {
        if self.before.is_none() {
            self.before = Some(self.book.clone());
        }
        self.changed = true;
        &mut self.book
    }
}

fn put(key: &str, value: &[u8]) -> Result<(), String> {
    state::put(key, value).map_err(|error| StateError::lift(error).to_string())
}
