//! Brings an agent's state to another version of its plugin: `migrate` and `start` in a fresh instance, for one commit.

use std::sync::Arc;

use skep_core::turn::Turn;
use skep_core::{Digest, MessageId, Seq};
use skep_engine::StartReason;
use skep_store::{Sync, Write};

use crate::cell::Cell;
use crate::cluster::Cluster;
use crate::commit::Job;
use crate::hive::Hive;
use crate::instance::make_of;
use crate::running::{Component, Running};
use crate::seal::{Plan, Release, number};
use crate::state::Snapshot;
use crate::turn::{Began, Left, enter};

/// An agent that is ready to go on with another version, once that is committed.
pub(crate) struct Upgraded {
    pub(crate) instance: Running,
    writes: Vec<Write>,
    /// Rows of it that are for other hosts and get their numbers with the commit.
    away: Vec<Seq>,
    pub(crate) migrate: Release,
    pub(crate) start: Release,
    before: Snapshot,
}

impl Upgraded {
    /// The commit did not happen: the state is what it was.
    pub(crate) fn take_back(self, hive: &Arc<Hive>, cell: &Arc<Cell>) {
        cell.mind.lock().state.restore(self.before);
        crate::release::retract_alone(hive, cell, self.migrate);
        crate::release::retract_alone(hive, cell, self.start);
    }
}

/// Commits what agents have become, with `more`, all of it or nothing.
pub(crate) async fn commit(
    hive: &Arc<Hive>,
    upgraded: &mut [Upgraded],
    more: Vec<Write>,
) -> Result<(), skep_store::Error> {
    let Some(committer) = &hive.committer else { return Ok(()) };
    let (done, committed) = crate::hive::waiting();
    {
        let sends_away = upgraded.iter().any(|one| !one.away.is_empty());
        // Nobody else's rows come between.
        let _order = if sends_away { hive.cluster.get().map(Cluster::order) } else { None };
        let mut writes = Vec::new();
        for one in upgraded {
            number(committer, &mut one.away, &mut one.writes, &mut one.start);
            writes.append(&mut one.writes);
        }
        writes.extend(more);
        committer.queue(Job { writes, sync: Sync::Power, void: None, done });
    }
    committer.drive(hive.scheduler.is_quiet());
    committed.await
}

/// Runs `migrate` alone, on what is committed now, and forgets what it has done: it shows whether a swap could work.
pub(crate) async fn rehearse(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    component: &Component,
    from: Digest,
) -> Result<(), String> {
    let mut instance = make_of(hive, cell, component).await.map_err(|failure| failure.to_string())?;
    // The agent works meanwhile, so what is read here may be old by the time it is known.
    instance.host_mut().remembers = false;
    migrate(hive, cell, &mut instance, from).await?;
    instance.host().forsaken();
    Ok(())
}

/// The agent is quiet and nothing of it runs. The state in memory is the new one from here on, until `take_back`.
pub(crate) async fn upgrade(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    component: &Component,
    from: Digest,
) -> Result<Upgraded, String> {
    let mut instance = make_of(hive, cell, component).await.map_err(|failure| failure.to_string())?;
    let before = cell.mind.lock().state.snapshot();
    match run(hive, cell, &mut instance, from).await {
        Ok((migrate, start)) => {
            let (mut writes, _, migrate) = migrate.into_commit();
            let (more, away, start) = start.into_unnumbered();
            writes.extend(more);
            Ok(Upgraded { instance, writes, away, migrate, start, before })
        }
        Err(why) => {
            cell.mind.lock().state.restore(before);
            Err(why)
        }
    }
}

async fn run(hive: &Arc<Hive>, cell: &Arc<Cell>, instance: &mut Running, from: Digest) -> Result<(Plan, Plan), String> {
    let (began, turn) = migrate(hive, cell, instance, from).await?;
    let migrated = crate::lifecycle::seal_alone(hive, cell, began, turn).map_err(|reason| reason.to_string())?;
    instance.host_mut().prepare(Began::now(hive, cell), &[]);
    let cause = format!("{:016x} {} {}", cell.lineage.0, from, hive.clock.wall_ns());
    let cause = MessageId::of_text("start upgraded", &cause);
    let turn = Turn::alone(Some(cause), hive.clock.wall_ns());
    let config = cell.spec.config_json.clone();
    let left = enter(cell, instance.start(turn, &config, StartReason::Upgraded(from))).await;
    instance.host_mut().settle();
    hive.calls.close(hive, cause);
    let started = match ended(hive, cell, instance, left, "start") {
        Ok(turn) => {
            crate::lifecycle::seal_alone(hive, cell, instance.host().began, turn).map_err(|reason| reason.to_string())
        }
        Err(why) => Err(why),
    };
    match started {
        Ok(started) => Ok((migrated, started)),
        Err(why) => {
            crate::release::retract_alone(hive, cell, migrated.into_release());
            Err(why)
        }
    }
}

async fn migrate(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    instance: &mut Running,
    from: Digest,
) -> Result<(Began, Turn), String> {
    instance.host_mut().prepare(Began::now(hive, cell), &[]);
    // Without a cause: it may read and write, but not send.
    let turn = Turn::alone(None, hive.clock.wall_ns());
    let left = enter(cell, instance.migrate(turn, from)).await;
    let turn = ended(hive, cell, instance, left, "migrate")?;
    Ok((instance.host().began, turn))
}

fn ended(hive: &Arc<Hive>, cell: &Arc<Cell>, instance: &mut Running, left: Left, what: &str) -> Result<Turn, String> {
    instance.host().tell_overtime(&left);
    let why = match left {
        Left::Ended(ended) => match ended.outcome {
            Ok(_) => return Ok(ended.turn),
            Err(failure) => {
                crate::turn::forsake(hive, cell, ended.turn);
                instance.host().forsaken();
                return Err(format!("{what}: {failure} [{}]", failure.code()));
            }
        },
        Left::WallTime(limit_ms) => format!("{what}: over turn_wall_ms_max = {limit_ms}"),
        Left::Cancelled => format!("{what} was cancelled"),
        Left::Panicked => format!("{what}: the host panicked inside the sandbox"),
    };
    crate::turn::forsake(hive, cell, instance.abandon().unwrap_or_default());
    instance.host().forsaken();
    Err(why)
}
