//! A task: one agent for one job.

use super::{Jobs, SWEEP, SWEEP_AFTER_MS};
use crate::error::{Result, SendError};
use crate::host::supervision::{self, Child, Durability, Restart};
use crate::host::types::ExitReason;
use crate::host::{config, messaging, names, random, timers};
use crate::id::{AskId, Id};

/// Tasks at once: each is an agent.
const TASKS_MAX: usize = 256;

/// A name has 128 bytes: so many of the owner's leave room for the rest.
const OWNER_BYTES_MAX: usize = 80;

const INFIX: &str = "/task-";

impl Jobs {
    pub(crate) fn start_task(&mut self, kind: &str, body: &[u8], deadline_ms: u32) -> Result<AskId, SendError> {
        if !self.allowed.0 {
            return Err(SendError::Invalid("a task ends in #[answer], which this agent does not have".to_owned()));
        }
        if self.book.tasks.len() >= TASKS_MAX {
            return Err(SendError::Limit(format!("{TASKS_MAX} tasks are running already")));
        }
        let owner = names::self_name();
        let name = format!("{}{INFIX}{}", owner_part(&owner), Id::from(random::new_id()));
        let number = supervision::spawn(&Child {
            name: name.clone(),
            plugin: String::new(),
            config: config::all(),
            restart: Restart::Temporary,
            durability: Durability::None,
            owned: true,
        });
        let number = number.map_err(SendError::lift)?;
        let ask = messaging::ask(number, crate::names::kind(kind), body, deadline_ms);
        let ask = AskId(ask.map_err(SendError::lift)?.into());
        let sweep_ms = deadline_ms.saturating_add(SWEEP_AFTER_MS);
        timers::once(&format!("{SWEEP}{ask}"), sweep_ms, &[]).map_err(SendError::lift)?;
        self.edit().tasks.push((ask, name));
        Ok(ask)
    }

    pub(super) fn has_task(&self, ask: AskId) -> bool {
        self.book.tasks.iter().any(|(task, _)| *task == ask)
    }

    /// Ends a task, if there is one of this id.
    pub(crate) fn end_task(&mut self, ask: AskId) {
        if !self.has_task(ask) {
            return;
        }
        for (_, name) in self.edit().tasks.extract_if(.., |(task, _)| *task == ask) {
            // Absent: it has ended by itself.
            let _ = supervision::stop(names::number_of(&name), &ExitReason::Shutdown);
        }
        timers::cancel(&format!("{SWEEP}{ask}"));
    }
}

/// Whether an agent of this name runs a task of that owner.
pub(crate) fn is_task_of(owner: &str, name: &str) -> bool {
    name.strip_prefix(owner_part(owner)).is_some_and(|rest| rest.starts_with(INFIX))
}

/// Names are ASCII, so every cut is between characters; any other name is used whole.
fn owner_part(owner: &str) -> &str {
    owner.get(..OWNER_BYTES_MAX).unwrap_or(owner)
}
