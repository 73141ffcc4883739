//! Reads the hive for people: views are taken at one moment, each agent by itself. Never changes anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_bus::Bus;
use skep_core::ExitReason;
use skep_core::agent::Gate;
use skep_core::dead::DeadLetter;
use skep_core::spec::HiveSpec;
use skep_core::supervision::{ChildId, Tree};
use skep_store::Space;

use crate::cell::{Cell, Mind};
use crate::cluster::ClusterOptions;
use crate::error::Error;
use crate::hive::Hive;
use crate::record::name_key;
use crate::spec_record::Kept;
use crate::view::{AgentDetail, AgentView, Counters, DeadLetterView, Setting, Status, TreeView};

/// Supervisors below one another: deeper ones are left out, and the tree never is that deep.
const DEPTH_MAX: usize = 64;

pub(crate) fn agents(hive: &Hive) -> Vec<AgentView> {
    hive.directory.all().iter().filter(|cell| !is_done(cell)).map(|cell| view(cell)).collect()
}

/// What the store has of those at rest. One that is purged or comes back meanwhile is left out.
pub(crate) fn resting(hive: &Hive, after: &str, count_max: usize) -> Result<Vec<AgentView>, Error> {
    let Some(store) = hive.store() else { return Ok(Vec::new()) };
    let mut views = Vec::new();
    for (name, id) in hive.directory.rested_after(after, count_max) {
        let found = store.get(Space::Agent, id, &[name_key(&name)])?.pop().flatten();
        let corrupt = |detail: String| skep_store::Error::Corrupt { place: format!("agent {name}"), detail };
        let Some(value) = found else { continue };
        let kept = Kept::read(id, &value).map_err(|error| corrupt(error.to_string()))?;
        views.push(kept.view().map_err(corrupt)?);
    }
    Ok(views)
}

/// An agent that has done what it was for is in the tree, not among those that an operator looks after.
fn is_done(cell: &Cell) -> bool {
    let mind = cell.mind.lock();
    mind.agent.gate() == Gate::Ended && matches!(mind.exit, None | Some(ExitReason::Normal))
}

fn view(cell: &Cell) -> AgentView {
    let mind = cell.mind.lock();
    let handled = cell.stats.handled.load(Ordering::Relaxed);
    AgentView {
        id: cell.id,
        name: cell.name.clone(),
        status: status(&mind, handled),
        plugin: cell.spec.plugin.clone(),
        digest: mind.ran.unwrap_or_else(|| cell.component.lock().digest()),
        durability: cell.spec.durability,
        supervisor: cell.supervisor.clone(),
        incarnation: mind.incarnation,
        mailbox_messages: mind.agent.mailbox().waiting().into(),
        handled,
        restarts: cell.stats.restarts.load(Ordering::Relaxed),
    }
}

fn status(mind: &Mind, handled: u64) -> Status {
    match mind.agent.gate() {
        Gate::Starting | Gate::Down => Status::Starting,
        Gate::Stopping => Status::Stopping,
        Gate::Ended if mind.exit.as_ref().is_none_or(ExitReason::is_ordinary) => Status::Stopped,
        Gate::Ended => Status::Failed(mind.exit.as_ref().map(ToString::to_string).unwrap_or_default()),
        Gate::Open | Gate::Suspended => {
            let busy = mind.agent.is_running() || !mind.agent.mailbox().is_empty();
            match (&mind.failing, &mind.degraded) {
                (Some(reason), _) => Status::Failed(reason.clone()),
                (None, Some(reason)) => Status::Degraded(reason.clone()),
                (None, None) if busy => Status::Busy,
                (None, None) if mind.passive => Status::Passive,
                (None, None) if handled == 0 => Status::Ready,
                (None, None) => Status::Idle,
            }
        }
    }
}

pub(crate) fn detail(hive: &Hive, cell: &Arc<Cell>) -> AgentDetail {
    let view = view(cell);
    let has_instance = cell.instance.lock().is_some();
    let mind = cell.mind.lock();
    AgentDetail {
        view,
        config_json: cell.spec.config_json.clone(),
        restart: cell.spec.restart,
        lanes: mind.agent.lanes(),
        promised_messages: mind.agent.mailbox().promised().into(),
        promised_bytes: mind.agent.mailbox().promised_bytes(),
        memory_bytes: has_instance.then(|| cell.stats.memory_bytes.load(Ordering::Relaxed)),
        state_bytes: mind.state.bytes,
        timers: hive.alarms.names(cell.id),
        asks_open: mind.asks.open_count() as u64,
        replies_owed: mind.asks.owed_count() as u64,
        subscriptions: hive.bus.patterns_of(cell.id).iter().map(ToString::to_string).collect(),
        turns_failed: cell.stats.turns_failed.load(Ordering::Relaxed),
        refused: cell.stats.refused.load(Ordering::Relaxed),
        sdk: mind.sdk.clone(),
        last_failure: mind.last_failure.clone(),
    }
}

pub(crate) fn tree(hive: &Hive) -> TreeView {
    hive.supervision.look(|tree| node(hive, tree, tree.root(), 0)).unwrap_or(TreeView::Supervisor {
        name: hive.spec.root.name.clone(),
        strategy: hive.spec.root.strategy,
        restarts: 0,
        intensity: hive.spec.root.intensity,
        period_ms: hive.spec.root.period_ms,
        children: Vec::new(),
    })
}

fn node(hive: &Hive, tree: &Tree, id: ChildId, depth: usize) -> Option<TreeView> {
    let child = tree.child(id)?;
    if let Some(spec) = child.agent() {
        let cell = hive.directory.resolve(&spec.name).and_then(|id| hive.cell(id))?;
        return Some(TreeView::Agent(Box::new(view(&cell))));
    }
    let policy = child.policy()?;
    let children = if depth < DEPTH_MAX {
        tree.children(id).filter_map(|below| node(hive, tree, below, depth + 1)).collect()
    } else {
        Vec::new()
    };
    Some(TreeView::Supervisor {
        name: child.name().clone(),
        strategy: policy.strategy,
        restarts: child.restarts(hive.clock.monotonic_ns()),
        intensity: policy.intensity,
        period_ms: policy.period_ms,
        children,
    })
}

pub(crate) fn dead_letter(letter: &DeadLetter) -> DeadLetterView {
    DeadLetterView {
        id: letter.message.id,
        to: letter.to.clone(),
        from: letter.from.clone(),
        kind: letter.message.kind.clone(),
        channel: letter.message.channel,
        reason: letter.reason.clone(),
        time_ns: letter.time_ns,
        attempts: letter.message.failed_turns,
        body: letter.message.body.clone(),
    }
}

pub(crate) fn explain(hive: &Hive) -> Vec<Setting> {
    let mut settings: Vec<Setting> =
        hive.engine.settings().into_iter().map(|(name, value, origin)| Setting { name, value, origin }).collect();
    let mut add = |name: &str, value: String, origin: &str| {
        settings.push(Setting { name: name.to_owned(), value, origin: origin.to_owned() });
    };
    let embedder = "the program that embeds the host";
    let defaults = HiveSpec::new(hive.spec.name.clone());
    let by = |is_default: bool| if is_default { "default" } else { embedder };
    add("hive.name", hive.spec.name.to_string(), embedder);
    let (body, window) = (hive.spec.body_bytes_max, hive.spec.client_window_ms);
    add("message.body-bytes-max", format!("{body} bytes"), by(body == defaults.body_bytes_max));
    add("client.window-ms", format!("{window} ms"), by(window == defaults.client_window_ms));
    let kept = hive.spec.sessions_kept_max;
    add("sessions.kept-max", kept.to_string(), by(kept == defaults.sessions_kept_max));
    let data = hive.data_dir.as_ref().map_or("none: memory only".to_owned(), |dir| dir.display().to_string());
    add("store.dir", data, by(hive.data_dir.is_none()));
    let (host, nats) = match &hive.cluster_options {
        Some(ClusterOptions { host, nats }) => (host.to_string(), nats.to_string()),
        None => ("none: this host is alone".to_owned(), "none".to_owned()),
    };
    add("cluster.host", host, by(hive.cluster_options.is_none()));
    add("cluster.nats", nats, by(hive.cluster_options.is_none()));
    for policy in skep_bus::policy::Policy::all() {
        settings.push(Setting {
            name: format!("channel.{}", policy.channel.name()),
            value: policy.explain(),
            origin: "fixed".to_owned(),
        });
    }
    for setting in &mut settings {
        if let Some(origin) = hive.origins.get(setting.name.as_str()) {
            setting.origin.clone_from(origin);
        }
    }
    settings
}

pub(crate) fn counters(hive: &Hive) -> Counters {
    let mut values = hive.events.counters();
    let cells = hive.directory.all();
    let sum = |of: fn(&Cell) -> u64| cells.iter().map(|cell| of(cell)).sum::<u64>();
    values.push(("messages.handled".to_owned(), sum(|cell| cell.stats.handled.load(Ordering::Relaxed))));
    values.push(("turns".to_owned(), sum(|cell| cell.stats.turns.load(Ordering::Relaxed))));
    values.push(("agents".to_owned(), cells.len() as u64));
    values.push(("commits".to_owned(), hive.committer.as_ref().map_or(0, crate::commit::Committer::commits)));
    values.push(("client-ids.remembered".to_owned(), hive.outside.seen_count() as u64));
    values.push(("calls.remembered".to_owned(), hive.calls.count() as u64));
    values.push(("dead-letters".to_owned(), hive.dead.letters.lock().len() as u64));
    values.sort();
    Counters { values }
}
