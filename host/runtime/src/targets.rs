//! Receivers that one instance sends to: their entries, the channels that are granted, and places reserved ahead, so that
//! who sends much to one receiver does not lock its mailbox for each message. Never a decision about a grant.

use std::sync::Arc;
use std::time::Duration;

use skep_core::event::What;
use skep_core::{AgentId, Channel, IdMap, Origin, SendError};

use crate::cell::Cell;
use crate::hive::Hive;

/// Receivers that are remembered; beyond it the memory starts anew.
const TARGETS_MAX: usize = 1_024;
/// Places that are reserved ahead at once.
const AHEAD_MAX: u32 = 64;

/// See the module.
#[derive(Default)]
pub(crate) struct Targets {
    known: IdMap<AgentId, Target>,
    /// Those with places ahead, or with more than one message in this turn.
    busy: Vec<AgentId>,
}

struct Target {
    cell: Arc<Cell>,
    /// The channels that are granted, a bit each.
    channels: u8,
    /// Times that this turn has reserved here.
    reserved: u32,
    ahead: u32,
    ahead_bytes: usize,
}

impl Target {
    fn take_ahead(&mut self, weight_bytes: usize) -> bool {
        let has = self.ahead > 0 && self.ahead_bytes >= weight_bytes;
        if has {
            self.ahead -= 1;
            self.ahead_bytes -= weight_bytes;
        }
        has
    }
}

impl Targets {
    /// Whether a receiver is known as one that may be sent to on a channel.
    pub(crate) fn knows(&self, to: AgentId, channel: Channel) -> bool {
        self.known.get(&to).is_some_and(|target| target.channels & bit(channel) != 0)
    }

    pub(crate) fn cell(&self, to: AgentId) -> Option<Arc<Cell>> {
        self.known.get(&to).map(|target| target.cell.clone())
    }

    /// From now on it is known.
    pub(crate) fn add(&mut self, cell: Arc<Cell>, channel: Channel) {
        if self.known.len() >= TARGETS_MAX {
            self.settle();
            self.known.clear();
        }
        let fresh = |cell| Target { cell, channels: 0, reserved: 0, ahead: 0, ahead_bytes: 0 };
        self.known.entry(cell.id).or_insert_with(|| fresh(cell)).channels |= bit(channel);
    }

    /// Reserves a place at a receiver that is known; false: there is no room.
    pub(crate) fn reserve(&mut self, to: AgentId, channel: Channel, weight_bytes: usize) -> Result<bool, SendError> {
        let target = self.known.get_mut(&to).ok_or(SendError::Absent)?;
        if target.take_ahead(weight_bytes) {
            return Ok(true);
        }
        let mut mind = target.cell.mind.lock();
        if !mind.agent.gate().takes_messages() {
            // It may come back, with its mailbox.
            mind.agent.mailbox_mut().give_back_ahead(target.ahead, target.ahead_bytes);
            drop(mind);
            self.known.remove(&to);
            return Err(SendError::Absent);
        }
        let mailbox = mind.agent.mailbox_mut();
        if mailbox.reserve(channel, weight_bytes).is_err() {
            return Ok(false);
        }
        if target.reserved == 0 {
            self.busy.push(to);
        } else if target.ahead == 0 {
            // After the second message to a receiver in one turn, more are likely: twice as many each time.
            let count = (1 << target.reserved.min(8)).min(AHEAD_MAX);
            target.ahead = mailbox.reserve_ahead(count, weight_bytes);
            // What is left of an earlier row of smaller messages stays promised.
            target.ahead_bytes += weight_bytes * target.ahead as usize;
        }
        target.reserved += 1;
        Ok(true)
    }

    /// The turn is over: gives back what was reserved ahead.
    pub(crate) fn settle(&mut self) {
        while let Some(id) = self.busy.pop() {
            let Some(target) = self.known.get_mut(&id) else { continue };
            target.reserved = 0;
            let (places, bytes) = (std::mem::take(&mut target.ahead), std::mem::take(&mut target.ahead_bytes));
            if places > 0 || bytes > 0 {
                target.cell.mind.lock().agent.mailbox_mut().give_back_ahead(places, bytes);
                target.cell.room.ring();
            }
        }
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Reserves one place; false: there is no room.
pub(crate) fn reserve_at(cell: &Cell, channel: Channel, weight_bytes: usize) -> Result<bool, SendError> {
    let mut mind = cell.mind.lock();
    if !mind.agent.gate().takes_messages() {
        return Err(SendError::Absent);
    }
    Ok(mind.agent.mailbox_mut().reserve(channel, weight_bytes).is_ok())
}

/// Waits for a place, at most so long, and reserves it.
pub(crate) async fn wait_at(
    cell: &Cell,
    channel: Channel,
    weight_bytes: usize,
    wait_max: Duration,
) -> Result<(), SendError> {
    let look = || match reserve_at(cell, channel, weight_bytes) {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    };
    match tokio::time::timeout(wait_max, cell.room.wait(look)).await {
        Ok(reserved) => reserved,
        // The bell is not rung for the last few places.
        Err(_) => look().unwrap_or(Err(SendError::Full)),
    }
}

/// A mailbox has no room for a message of this weight: operators are told which of its bounds is in the way.
pub(crate) fn full(hive: &Hive, cell: &Cell, origin: Option<Origin>, weight_bytes: usize) {
    let (limit, value) = cell.mind.lock().agent.mailbox().scarcest(weight_bytes);
    hive.notice(cell, &cell.scene().because(origin), What::LimitReached { limit, value });
}

fn bit(channel: Channel) -> u8 {
    1 << channel as u8
}
