//! The record of an agent in the store: what it is to be, so that it comes back with the host. Only this file knows its
//! shape; a field is only ever added, with a default.

use serde::{Deserialize, Serialize};
use skep_core::spec::{AgentSpec, Budget, Durability, Grants, Restart, Shutdown};
use skep_core::{AgentId, Bytes, Channel, Digest, Incarnation, Lineage, Name};
use skep_store::{Space, Write};

use crate::cell::{Cell, Parent};
use crate::directory::Rested;
use crate::hive::Hive;
use crate::record::{Unreadable, decode, encode};
use crate::spawn::record_key;
use crate::view::{AgentView, Status};

/// See the module.
#[derive(Serialize, Deserialize)]
pub(crate) struct AgentRecord {
    pub(crate) name: String,
    pub(crate) lineage: u64,
    /// What it ran last.
    pub(crate) digest: String,
    /// It was swapped alone: it runs this version, whatever its plugin is.
    #[serde(default)]
    pub(crate) alone: bool,
    /// Its first start is committed.
    pub(crate) started: bool,
    /// It is the manifest's: without it there it is not started.
    #[serde(default)]
    pub(crate) declared: bool,
    /// It is a session: its plugin is a protocol.
    #[serde(default)]
    pub(crate) session: bool,
    /// It has ended for good and is not started with the host.
    #[serde(default)]
    pub(crate) ended: bool,
    pub(crate) supervisor: String,
    #[serde(default)]
    pub(crate) parent: Option<String>,
    #[serde(default)]
    pub(crate) owned: bool,
    pub(crate) plugin: String,
    config: String,
    durability: String,
    restart: String,
    shutdown_ms: Option<u32>,
    grants: GrantsRecord,
    budget: BudgetRecord,
    subscribe: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct GrantsRecord {
    channels: Vec<String>,
    send_to: Vec<String>,
    publish: Vec<String>,
    subscribe: Vec<String>,
    spawn: Vec<String>,
    children_max: u32,
}

#[derive(Serialize, Deserialize)]
struct BudgetRecord {
    memory_bytes_max: u64,
    turn_cpu_ms_max: u32,
    turn_wall_ms_max: u32,
    state_bytes_max: u64,
    mailbox_messages_max: u32,
    mailbox_bytes_max: u64,
    out_messages_per_s_max: u32,
    out_bytes_per_s_max: u64,
    log_lines_per_s_max: u32,
    timers_max: u32,
    handles_max: u32,
    attempts_max: u32,
    crash_loop_failures_max: u32,
    crash_loop_ms: u32,
    turns_ahead_max: u32,
    batch_messages_max: u32,
    batch_bytes_max: u64,
}

/// The write that keeps the record of an agent whose first start is still to come, or of one that was at rest.
pub(crate) fn write(hive: &Hive, cell: &Cell) -> Write {
    let started = cell.mind.lock().started;
    let digest = digest_of(cell);
    put(cell, &of(hive, cell, started, digest))
}

/// As `write`, of an agent whose first start stands, in this version.
pub(crate) fn started(hive: &Hive, cell: &Cell, digest: Digest) -> Write {
    put(cell, &of(hive, cell, true, digest))
}

/// What its state was last written by, or will be.
fn digest_of(cell: &Cell) -> Digest {
    let ran = cell.mind.lock().ran;
    // Never both locks at once: others take them in another order.
    ran.unwrap_or_else(|| cell.component.lock().digest())
}

/// As `write`, of an agent that has ended for good: its state stays until it is purged.
pub(crate) fn ended(hive: &Hive, cell: &Cell) -> Write {
    let started = cell.mind.lock().started;
    let digest = digest_of(cell);
    put(cell, &AgentRecord { ended: true, ..of(hive, cell, started, digest) })
}

/// As `write`, of an agent that is about to run another plugin.
pub(crate) fn upgraded(hive: &Hive, cell: &Cell, digest: Digest, alone: bool) -> Write {
    put(cell, &AgentRecord { alone, ..of(hive, cell, true, digest) })
}

fn put(cell: &Cell, record: &AgentRecord) -> Write {
    Write::Put { space: Space::Agent, owner: cell.id, key: record_key(cell), value: encode(record, b"") }
}

fn of(hive: &Hive, cell: &Cell, started: bool, digest: Digest) -> AgentRecord {
    let spec = &cell.spec;
    let parent = cell.parent.and_then(|parent| hive.directory.name_of(parent.id));
    AgentRecord {
        name: cell.name.to_string(),
        lineage: cell.lineage.0,
        digest: digest.to_string(),
        alone: cell.mind.lock().alone,
        started,
        declared: cell.declared,
        session: cell.component.lock().protocol().is_some(),
        ended: false,
        supervisor: cell.supervisor.to_string(),
        parent: parent.map(|name| name.to_string()),
        owned: cell.parent.is_some_and(|parent| parent.owned),
        plugin: spec.plugin.to_string(),
        config: spec.config_json.clone(),
        durability: spec.durability.name().to_owned(),
        restart: restart_word(spec.restart).to_owned(),
        shutdown_ms: match spec.shutdown {
            Shutdown::Brutal => Some(0),
            Shutdown::AfterMs(limit_ms) => Some(limit_ms),
            Shutdown::Infinity => None,
        },
        grants: GrantsRecord {
            channels: spec.grants.channels.iter().map(|channel| channel.name().to_owned()).collect(),
            send_to: spec.grants.send_to.clone(),
            publish: spec.grants.publish.clone(),
            subscribe: spec.grants.subscribe.clone(),
            spawn: spec.grants.spawn.clone(),
            children_max: spec.grants.children_max,
        },
        budget: BudgetRecord::of(&spec.budget),
        subscribe: spec.subscribe.clone(),
    }
}

fn restart_word(restart: Restart) -> &'static str {
    match restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    }
}

impl BudgetRecord {
    fn of(budget: &Budget) -> Self {
        Self {
            memory_bytes_max: budget.memory_bytes_max,
            turn_cpu_ms_max: budget.turn_cpu_ms_max,
            turn_wall_ms_max: budget.turn_wall_ms_max,
            state_bytes_max: budget.state_bytes_max,
            mailbox_messages_max: budget.mailbox_messages_max,
            mailbox_bytes_max: budget.mailbox_bytes_max,
            out_messages_per_s_max: budget.out_messages_per_s_max,
            out_bytes_per_s_max: budget.out_bytes_per_s_max,
            log_lines_per_s_max: budget.log_lines_per_s_max,
            timers_max: budget.timers_max,
            handles_max: budget.handles_max,
            attempts_max: budget.attempts_max,
            crash_loop_failures_max: budget.crash_loop_failures_max,
            crash_loop_ms: budget.crash_loop_ms,
            turns_ahead_max: budget.turns_ahead_max,
            batch_messages_max: budget.batch_messages_max,
            batch_bytes_max: budget.batch_bytes_max,
        }
    }

    fn budget(&self) -> Budget {
        Budget {
            memory_bytes_max: self.memory_bytes_max,
            turn_cpu_ms_max: self.turn_cpu_ms_max,
            turn_wall_ms_max: self.turn_wall_ms_max,
            state_bytes_max: self.state_bytes_max,
            mailbox_messages_max: self.mailbox_messages_max,
            mailbox_bytes_max: self.mailbox_bytes_max,
            out_messages_per_s_max: self.out_messages_per_s_max,
            out_bytes_per_s_max: self.out_bytes_per_s_max,
            log_lines_per_s_max: self.log_lines_per_s_max,
            timers_max: self.timers_max,
            handles_max: self.handles_max,
            attempts_max: self.attempts_max,
            crash_loop_failures_max: self.crash_loop_failures_max,
            crash_loop_ms: self.crash_loop_ms,
            turns_ahead_max: self.turns_ahead_max,
            batch_messages_max: self.batch_messages_max,
            batch_bytes_max: self.batch_bytes_max,
        }
    }
}

/// A record as it was kept, with the agent's number.
pub(crate) struct Kept {
    pub(crate) id: AgentId,
    pub(crate) record: AgentRecord,
}

impl Kept {
    pub(crate) fn read(id: AgentId, value: &Bytes) -> Result<Self, Unreadable> {
        let (record, _) = decode("agent", value)?;
        Ok(Self { id, record })
    }

    pub(crate) fn lineage(&self) -> Lineage {
        Lineage(self.record.lineage)
    }

    /// What is to be known of it while it is at rest.
    pub(crate) fn rested(&self) -> Rested {
        let record = &self.record;
        Rested {
            id: self.id,
            lineage: self.lineage(),
            started: record.started,
            ran: Digest::parse(&record.digest).filter(|_| record.started),
            is_session: record.session,
        }
    }

    /// What an operator sees of it while it is at rest.
    pub(crate) fn view(&self) -> Result<AgentView, String> {
        let record = &self.record;
        let name = |text: &str| Name::new(text).map_err(|bad| bad.to_string());
        Ok(AgentView {
            id: self.id,
            name: name(&record.name)?,
            status: Status::Resting,
            plugin: name(&record.plugin)?,
            digest: Digest::parse(&record.digest).ok_or("its digest is none")?,
            durability: Durability::parse(&record.durability).ok_or("its durability is unknown")?,
            supervisor: name(&record.supervisor)?,
            incarnation: Incarnation(0),
            mailbox_messages: 0,
            handled: 0,
            restarts: 0,
        })
    }

    /// What the agent was to be: for one that the manifest does not know.
    pub(crate) fn spec(&self) -> Result<AgentSpec, String> {
        let record = &self.record;
        let name = |text: &str| Name::new(text).map_err(|bad| bad.to_string());
        let grants = &record.grants;
        Ok(AgentSpec {
            config_json: record.config.clone(),
            durability: Durability::parse(&record.durability).ok_or("its durability is unknown")?,
            restart: match record.restart.as_str() {
                "permanent" => Restart::Permanent,
                "transient" => Restart::Transient,
                _ => Restart::Temporary,
            },
            shutdown: match record.shutdown_ms {
                None => Shutdown::Infinity,
                Some(0) => Shutdown::Brutal,
                Some(limit_ms) => Shutdown::AfterMs(limit_ms),
            },
            grants: Grants {
                channels: grants.channels.iter().filter_map(|text| Channel::parse(text)).collect(),
                send_to: grants.send_to.clone(),
                publish: grants.publish.clone(),
                subscribe: grants.subscribe.clone(),
                spawn: grants.spawn.clone(),
                children_max: grants.children_max,
            },
            budget: record.budget.budget(),
            subscribe: record.subscribe.clone(),
            ..AgentSpec::new(name(&record.name)?, name(&record.plugin)?)
        })
    }

    pub(crate) fn parent(&self, hive: &Hive) -> Option<Parent> {
        let name = Name::new(self.record.parent.as_deref()?).ok()?;
        Some(Parent { id: hive.directory.resolve(&name)?, owned: self.record.owned })
    }
}
