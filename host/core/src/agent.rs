//! One agent as the host sees it: when it may run, what its next batch is, and what a failed turn means.
//!
//! A pure state machine. It owns the mailbox; it never runs a turn, starts an instance or sends anything.

use std::collections::{HashSet, VecDeque};

use crate::id::{MessageId, TurnId};
use crate::mailbox::{BatchRoom, Mailbox, Room};
use crate::message::{BoxedMessage, Channel};
use crate::spec::{Budget, Durability};

/// Whether an agent takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It is being started; messages queue.
    Starting,
    /// It takes turns.
    Open,
    /// A swap is under way; messages queue.
    Suspended,
    /// It has exited and may be started again; messages queue.
    Down,
    /// It is being stopped, perhaps to be started again with its group; messages queue.
    Stopping,
    /// It has ended for good; messages are refused.
    Ended,
}

impl Gate {
    /// Whether a message may still be put into the mailbox.
    pub fn takes_messages(self) -> bool {
        self != Self::Ended
    }
}

/// What follows from a failed turn.
#[derive(Debug, PartialEq, Eq)]
pub struct AfterFailure {
    /// The message that failed too often: to be made a dead letter, in a commit that also consumes it.
    pub dead: Option<BoxedMessage>,
    /// The agent has exited: its supervisor decides.
    pub exit: Option<FailureExit>,
    /// The message that comes again, and its next attempt.
    pub again: Option<(MessageId, u32)>,
}

/// Why a failed turn is an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureExit {
    /// The agent has no durability, so its memory is gone.
    MemoryLost,
    /// Too many distinct messages failed in too short a time.
    CrashLoop,
}

/// See the module.
#[derive(Debug)]
pub struct Agent {
    mailbox: Mailbox,
    gate: Gate,
    running: bool,
    queued: bool,
    /// Uncommitted turns.
    ahead: u32,
    /// Messages at the head of the mailbox that are taken one at a time, because a batch with them has failed.
    singles: u32,
    /// Messages whose failure has been counted as an exit already: those of a batch that comes again one at a time, at
    /// most, for when none of it is left they are forgotten.
    counted: HashSet<MessageId>,
    failures: VecDeque<(u64, MessageId)>,
    /// A commit has failed, and no turn runs until everything uncommitted has come back.
    undoing: bool,
    /// Batches that have come back meanwhile, by the number of their turn.
    undone: Vec<(TurnId, Vec<BoxedMessage>)>,
    durability: Durability,
    budget: Budget,
    /// The most messages that the guest takes at once; 0 is the host's choice.
    guest_batch_max: u32,
    /// Processor time of one message, in nanoseconds: a moving average.
    cost_ns: u64,
}

impl Agent {
    /// A new one, about to start.
    pub fn new(budget: Budget, durability: Durability) -> Self {
        let room = Room { messages_max: budget.mailbox_messages_max, bytes_max: budget.mailbox_bytes_max };
        Self {
            mailbox: Mailbox::new(room),
            gate: Gate::Starting,
            running: false,
            queued: false,
            ahead: 0,
            singles: 0,
            counted: HashSet::new(),
            failures: VecDeque::new(),
            undoing: false,
            undone: Vec::new(),
            durability,
            budget,
            guest_batch_max: 0,
            cost_ns: 0,
        }
    }

    /// The mailbox.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The mailbox, to reserve places and put messages in.
    pub fn mailbox_mut(&mut self) -> &mut Mailbox {
        &mut self.mailbox
    }

    /// Whether it takes turns.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// Opens or closes it.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
    }

    /// What the guest says of the batches that it takes.
    pub fn set_guest_batch_max(&mut self, messages_max: u32) {
        self.guest_batch_max = messages_max;
    }

    /// Whether a turn is running.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Uncommitted turns.
    pub fn ahead(&self) -> u32 {
        self.ahead
    }

    /// Whether nothing of it is under way: no turn runs and none waits for its commit.
    pub fn is_quiet(&self) -> bool {
        !self.running && self.ahead == 0
    }

    /// Whether it should be put into the queue of runnable agents now. Says yes once, until the next turn.
    pub fn wake(&mut self) -> bool {
        let wakes = self.gate == Gate::Open
            && !self.undoing
            && !self.running
            && !self.queued
            && !self.mailbox.is_empty()
            && self.ahead < self.budget.turns_ahead_max.max(1);
        self.queued |= wakes;
        wakes
    }

    /// The next batch, if it may run now. A turn has begun, unless it is none.
    pub fn begin_turn(&mut self) -> Option<Vec<BoxedMessage>> {
        self.queued = false;
        if self.gate != Gate::Open || self.undoing || self.running || self.mailbox.is_empty() {
            return None;
        }
        let batch = self.mailbox.take(self.batch_room());
        self.singles = self.singles.saturating_sub(1);
        self.running = true;
        Some(batch)
    }

    fn batch_room(&self) -> BatchRoom {
        let by_guest = if self.guest_batch_max == 0 { u32::MAX } else { self.guest_batch_max };
        // A fifth of the turn's processor budget, at what a message has cost of late.
        let by_cost = (u64::from(self.budget.turn_cpu_ms_max) * 200_000).checked_div(self.cost_ns).unwrap_or(u64::MAX);
        let messages_max = if self.singles > 0 {
            1
        } else {
            self.budget.batch_messages_max.min(by_guest).min(u32::try_from(by_cost).unwrap_or(u32::MAX)).max(1)
        };
        BatchRoom { messages_max, bytes_max: self.budget.batch_bytes_max }
    }

    /// The turn ended well. What it did not deal with comes again. `waits` says that its commit is still to come.
    pub fn turn_done(&mut self, rest: Vec<BoxedMessage>, handled: u32, cost_ns: u64, waits: bool) {
        self.running = false;
        self.ahead += u32::from(waits);
        self.mailbox.put_back(rest);
        if handled > 0 {
            let each = cost_ns / u64::from(handled);
            self.cost_ns = (self.cost_ns * 7 + each) / 8;
            self.failures.clear();
            if self.singles == 0 {
                self.counted.clear();
            }
        }
        self.put_undone_back();
    }

    /// A commit of a turn has been written.
    pub fn committed(&mut self) {
        self.ahead = self.ahead.saturating_sub(1);
        self.put_undone_back();
    }

    /// Everything that is not committed is to come back: a commit has failed.
    pub fn undo(&mut self) {
        self.undoing = true;
    }

    /// A turn was undone through no fault of its messages (a failed commit, a swap, a stop): they come again in their
    /// old order, and no attempt is counted. While an undoing is under way they wait until all have come back, since
    /// the batch of the earliest turn must stand first.
    pub fn turn_undone(&mut self, turn: TurnId, batch: Vec<BoxedMessage>, was_running: bool) {
        if was_running {
            self.running = false;
        } else {
            self.ahead = self.ahead.saturating_sub(1);
        }
        self.undone.push((turn, batch));
        self.put_undone_back();
    }

    /// As soon as nothing uncommitted is on its way any more.
    fn put_undone_back(&mut self) {
        if self.undone.is_empty() || (self.undoing && !self.is_quiet()) {
            return;
        }
        self.undoing = false;
        let mut undone = std::mem::take(&mut self.undone);
        undone.sort_by_key(|(turn, _)| std::cmp::Reverse(*turn));
        for (_, batch) in undone {
            self.mailbox.put_back(batch);
        }
    }

    /// The turn failed. A batch comes again one by one and counts no attempt; a single message counts one.
    pub fn turn_failed(&mut self, batch: Vec<BoxedMessage>, now_ns: u64) -> AfterFailure {
        self.running = false;
        let after = self.fail(batch, now_ns);
        // An undoing that has waited for this turn goes on; what it brings back stands before what has failed.
        self.put_undone_back();
        after
    }

    fn fail(&mut self, mut batch: Vec<BoxedMessage>, now_ns: u64) -> AfterFailure {
        let counts_exit = self.counts_as_exit(&batch);
        if batch.len() > 1 {
            self.singles = self.singles.max(batch.len() as u32);
            self.counted.extend(batch.iter().map(|message| message.id));
            self.mailbox.put_back(batch);
            return AfterFailure { dead: None, exit: counts_exit.then_some(FailureExit::MemoryLost), again: None };
        }
        let Some(mut message) = batch.pop() else {
            return AfterFailure { dead: None, exit: None, again: None };
        };
        message.failed_turns += 1;
        self.counted.insert(message.id);
        let loops = self.note_failure(message.id, now_ns);
        let exit = match (loops, counts_exit) {
            (true, _) => Some(FailureExit::CrashLoop),
            (false, true) => Some(FailureExit::MemoryLost),
            (false, false) => None,
        };
        if message.failed_turns >= self.budget.attempts_max.max(1) {
            if self.singles == 0 {
                self.counted.clear();
            }
            return AfterFailure { dead: Some(message), exit, again: None };
        }
        let again = Some((message.id, message.failed_turns + 1));
        self.singles += 1;
        self.mailbox.put_back(vec![message]);
        AfterFailure { dead: None, exit, again }
    }

    /// An agent without durability exits with its memory, but the failures of one message count once: else a poison
    /// message alone would bring its supervisor down.
    fn counts_as_exit(&self, batch: &[BoxedMessage]) -> bool {
        self.durability == Durability::None && batch.iter().any(|message| !self.counted.contains(&message.id))
    }

    /// Whether it is a crash loop now: more than M distinct messages failed within T, and none succeeded between.
    fn note_failure(&mut self, message: MessageId, now_ns: u64) -> bool {
        let window_ns = u64::from(self.budget.crash_loop_ms) * 1_000_000;
        self.failures.retain(|(time_ns, id)| *id != message && now_ns.saturating_sub(*time_ns) <= window_ns);
        self.failures.push_back((now_ns, message));
        let loops = self.failures.len() > self.budget.crash_loop_failures_max as usize;
        if loops {
            self.failures.clear();
        }
        loops
    }

    /// Puts a message whose place was promised into the mailbox. Returns telemetry messages that it displaced, or the
    /// message itself if the agent takes none any more.
    pub fn deliver(&mut self, message: BoxedMessage, promised_bytes: usize) -> Result<u32, BoxedMessage> {
        if !self.gate.takes_messages() {
            self.mailbox.give_back(promised_bytes);
            return Err(message);
        }
        Ok(self.mailbox.push_promised(message, promised_bytes))
    }

    /// Puts in what the host itself has to say.
    pub fn notice(&mut self, message: BoxedMessage) -> Result<u32, BoxedMessage> {
        if !self.gate.takes_messages() {
            return Err(message);
        }
        Ok(self.mailbox.push(message))
    }

    /// Messages waiting in each lane.
    pub fn lanes(&self) -> Vec<(Channel, u64)> {
        Channel::ALL.into_iter().map(|channel| (channel, self.mailbox.waiting_in(channel) as u64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AgentId;
    use crate::message::{Class, Message};
    use crate::name::Name;
    use bytes::Bytes;

    fn message(id: u128) -> BoxedMessage {
        Box::new(Message {
            id: MessageId(id),
            sender: AgentId::OUTSIDE,
            kind: Name::new("k").unwrap(),
            channel: Channel::Events,
            class: Class::Tell,
            failed_turns: 0,
            hops: 0,
            accepted_ns: 0,
            row: None,
            body: Bytes::new(),
            rare: None,
        })
    }

    fn agent(durability: Durability, messages: u128) -> Agent {
        let mut agent = Agent::new(Budget::default(), durability);
        agent.set_gate(Gate::Open);
        for id in 1..=messages {
            agent.notice(message(id)).unwrap();
        }
        agent
    }

    fn run(agent: &mut Agent) -> Vec<u128> {
        let batch = agent.begin_turn().unwrap();
        let ids = batch.iter().map(|message| message.id.0).collect();
        agent.turn_done(Vec::new(), batch.len() as u32, 0, false);
        ids
    }

    fn fail(agent: &mut Agent, now_ns: u64) -> (Vec<u128>, AfterFailure) {
        let batch = agent.begin_turn().unwrap();
        let ids = batch.iter().map(|message| message.id.0).collect();
        (ids, agent.turn_failed(batch, now_ns))
    }

    #[test]
    fn it_is_woken_once_until_its_next_turn() {
        let mut agent = agent(Durability::None, 1);
        assert!(agent.wake());
        assert!(!agent.wake());
        assert_eq!(run(&mut agent), [1]);
        assert!(!agent.wake());
        agent.notice(message(2)).unwrap();
        assert!(agent.wake());
    }

    #[test]
    fn a_failed_batch_comes_again_one_by_one_and_counts_no_attempt() {
        let mut agent = agent(Durability::Full, 3);
        let (ids, after) = fail(&mut agent, 0);
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(after, AfterFailure { dead: None, exit: None, again: None });
        assert_eq!(run(&mut agent), [1]);
        let (ids, after) = fail(&mut agent, 0);
        assert_eq!((ids, after.again), (vec![2], Some((MessageId(2), 2))));
        fail(&mut agent, 0);
        let (_, after) = fail(&mut agent, 0);
        assert_eq!(after.dead.map(|message| message.id.0), Some(2));
        assert_eq!(run(&mut agent), [3]);
    }

    #[test]
    fn after_the_singles_batches_are_whole_again() {
        let mut agent = agent(Durability::Full, 2);
        fail(&mut agent, 0);
        for id in 3..=6 {
            agent.notice(message(id)).unwrap();
        }
        assert_eq!(run(&mut agent), [1]);
        assert_eq!(run(&mut agent), [2]);
        assert_eq!(run(&mut agent), [3, 4, 5, 6]);
    }

    #[test]
    fn one_poison_message_is_one_exit_of_an_agent_without_durability() {
        let mut agent = agent(Durability::None, 2);
        let mut exits = 0;
        for _ in 0..4 {
            let (_, after) = fail(&mut agent, 0);
            exits += u32::from(after.exit.is_some());
        }
        assert_eq!(exits, 1);
    }

    #[test]
    fn nothing_is_kept_of_messages_that_have_died() {
        let mut agent = agent(Durability::None, 0);
        for round in 0..10 {
            agent.notice(message(2 * round + 1)).unwrap();
            agent.notice(message(2 * round + 2)).unwrap();
            assert_eq!(fail(&mut agent, 0).0.len(), 2);
            run(&mut agent);
            while fail(&mut agent, 0).1.dead.is_none() {}
            assert_eq!(agent.counted.len(), 0);
        }
    }

    #[test]
    fn many_poison_messages_are_a_crash_loop_and_a_success_between_is_not() {
        let mut budget =
            Budget { attempts_max: 1, batch_messages_max: 1, crash_loop_failures_max: 2, ..Budget::default() };
        budget.crash_loop_ms = 1;
        let count = |gap_ns: u64, success: bool| {
            let mut agent = Agent::new(budget, Durability::Full);
            agent.set_gate(Gate::Open);
            let mut loops = 0;
            for id in 1..=4u64 {
                agent.notice(message(id.into())).unwrap();
                let (_, after) = fail(&mut agent, id * gap_ns);
                loops += u32::from(after.exit == Some(FailureExit::CrashLoop));
                if success {
                    agent.notice(message(u128::from(id) + 100)).unwrap();
                    run(&mut agent);
                }
            }
            loops
        };
        assert_eq!(count(1, false), 1);
        assert_eq!(count(1, true), 0);
        assert_eq!(count(2_000_000, false), 0);
    }

    #[test]
    fn it_runs_only_so_far_ahead_of_its_commits() {
        let mut agent = agent(Durability::Full, 0);
        for id in 1..=4 {
            agent.notice(message(id)).unwrap();
            assert!(agent.wake());
            let batch = agent.begin_turn().unwrap();
            agent.turn_done(Vec::new(), batch.len() as u32, 0, true);
        }
        agent.notice(message(5)).unwrap();
        assert!(!agent.wake());
        agent.committed();
        assert!(agent.wake());
    }

    #[test]
    fn a_turn_that_fails_while_an_earlier_commit_fails_lets_the_undoing_end() {
        for messages in [1, 2] {
            let mut agent = agent(Durability::Full, 1);
            let first = agent.begin_turn().unwrap();
            agent.turn_done(Vec::new(), 1, 0, true);
            for id in 0..messages {
                agent.notice(message(10 + id)).unwrap();
            }
            let second = agent.begin_turn().unwrap();
            assert_eq!(second.len() as u128, messages);
            agent.undo();
            agent.turn_undone(TurnId(1), first, false);
            agent.turn_failed(second, 0);
            assert!(agent.wake(), "it runs again");
            let next = agent.begin_turn().unwrap();
            assert_eq!(next[0].id, MessageId(1), "in the old order");
        }
    }

    #[test]
    fn undone_turns_come_back_in_their_old_order() {
        let mut agent = agent(Durability::Full, 0);
        let mut batches = Vec::new();
        for turn in 1..=3u64 {
            agent.notice(message(turn.into())).unwrap();
            batches.push((TurnId(turn), agent.begin_turn().unwrap()));
            if turn < 3 {
                agent.turn_done(Vec::new(), 1, 0, true);
            }
        }
        agent.undo();
        assert!(!agent.wake());
        for (turn, batch) in batches {
            agent.turn_undone(turn, batch, turn == TurnId(3));
        }
        assert!(agent.wake());
        assert_eq!(run(&mut agent), [1, 2, 3]);
    }

    #[test]
    fn an_agent_that_has_ended_gives_the_message_back() {
        let mut agent = agent(Durability::None, 0);
        agent.mailbox_mut().reserve(Channel::Events, 128).unwrap();
        agent.set_gate(Gate::Ended);
        assert!(agent.deliver(message(1), 128).is_err());
        assert_eq!(agent.mailbox().promised(), 0);
    }
}
