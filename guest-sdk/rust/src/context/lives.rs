//! Other agents' lives, and one's own end. All are effects of the turn.

use super::Context;
use crate::address::Address;
use crate::error::{Result, SendError};
use crate::host::supervision::{self, Durability, Restart};
use crate::host::types::ExitReason;

/// A child to be started.
#[derive(Clone, Debug, PartialEq)]
pub struct Child(supervision::Child);

impl Child {
    /// Of this agent's own plugin, with an empty configuration: transient, without durability, not owned.
    pub fn new(name: impl Into<String>) -> Self {
        Self(supervision::Child {
            name: name.into(),
            plugin: String::new(),
            config: "{}".to_owned(),
            restart: Restart::Transient,
            durability: Durability::None,
            owned: false,
        })
    }

    /// Of another plugin of the manifest.
    pub fn plugin(mut self, plugin: impl Into<String>) -> Self {
        self.0.plugin = plugin.into();
        self
    }

    /// With this configuration: a JSON object.
    pub fn config(mut self, json: impl Into<String>) -> Self {
        self.0.config = json.into();
        self
    }

    /// When it is started again.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.0.restart = restart;
        self
    }

    /// What survives. It is never more durable than the manifest allows its parent to make it.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.0.durability = durability;
        self
    }

    /// Ends with this agent, which is told of its end by [`crate::Down`].
    pub fn owned(mut self) -> Self {
        self.0.owned = true;
        self
    }
}

impl Context {
    /// Starts a child under this agent's supervisor. Its name is reserved now and may be sent to at once; a start that
    /// fails comes as [`crate::Down`]. [`SendError::Full`] is a name that is taken.
    pub fn spawn(&mut self, child: &Child) -> Result<Address, SendError> {
        supervision::spawn(&child.0).map_err(SendError::lift)?;
        Ok(Address::new(child.0.name.as_str()))
    }

    /// Stops an agent that this one started. [`SendError::Absent`]: it did not.
    pub fn stop(&mut self, agent: &Address, reason: &ExitReason) -> Result<(), SendError> {
        supervision::stop(agent.number(), reason).map_err(SendError::lift)
    }

    /// Ends this agent after the commit of this turn.
    pub fn exit(&mut self, reason: &ExitReason) {
        supervision::exit(reason);
    }

    /// Links both ways: if one ends by other than `normal`, so does the other.
    pub fn link(&mut self, agent: &Address) -> Result<(), SendError> {
        supervision::link(agent.number()).map_err(SendError::lift)
    }

    /// Undoes a link; none is no error.
    pub fn unlink(&mut self, agent: &Address) {
        supervision::unlink(agent.number());
    }

    /// Asks for one [`crate::Down`] when that agent ends; at once if it is not there.
    pub fn monitor(&mut self, agent: &Address) -> Result<(), SendError> {
        supervision::monitor(agent.number()).map_err(SendError::lift)
    }

    /// Undoes a monitor; none is no error.
    pub fn demonitor(&mut self, agent: &Address) {
        supervision::demonitor(agent.number());
    }
}
