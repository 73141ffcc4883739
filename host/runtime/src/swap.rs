//! Swap: another version of a plugin under agents that run. prepare, suspend, migrate, one commit, resume. Whatever fails
//! before the commit leaves the old version serving.

use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use skep_core::agent::Gate;
use skep_core::event::What;
use skep_core::{Digest, Name};
use skep_engine::Plugin;
use tokio::sync::MutexGuard;

use crate::cell::Cell;
use crate::error::Error;
use crate::hive::{Hive, PluginEntry};
use crate::running::Component;
use crate::upgrade::{Upgraded, rehearse, upgrade};
use crate::view::{SwapReceipt, SwappedAgent};

/// A turn that waits longer than this is undone and comes again in the new version.
const SUSPEND_PATIENCE: Duration = Duration::from_secs(1);
/// A turn that was cancelled must be gone by then: it yields at every tick of the epoch.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// What is to be swapped.
struct Target {
    what: Swapped,
    from: Digest,
}

enum Swapped {
    One(Arc<Cell>),
    All(Name),
}

impl Target {
    /// The agents as they are now: others may come and go while a swap is prepared.
    fn cells(&self, hive: &Hive) -> Vec<Arc<Cell>> {
        match &self.what {
            Swapped::One(cell) => vec![cell.clone()],
            Swapped::All(plugin) => {
                hive.directory.all().into_iter().filter(|cell| cell.spec.plugin == *plugin).collect()
            }
        }
    }

    /// The plugin that is swapped as a whole.
    fn whole(&self) -> Option<&Name> {
        match &self.what {
            Swapped::One(_) => None,
            Swapped::All(plugin) => Some(plugin),
        }
    }

    fn plugin(&self) -> &Name {
        match &self.what {
            Swapped::One(cell) => &cell.spec.plugin,
            Swapped::All(plugin) => plugin,
        }
    }
}

/// An agent that is suspended: nobody else starts or stops it meanwhile.
struct Suspended<'a> {
    cell: &'a Arc<Cell>,
    undone_before: u64,
    quiet_ns: u64,
    _alone: MutexGuard<'a, ()>,
}

/// A swap that goes on, for those who want one of its agents stopped.
#[derive(Default)]
pub(crate) struct UnderWay {
    given_up: AtomicBool,
    /// The agent that is brought to the new version now.
    current: parking_lot::Mutex<Option<Arc<Cell>>>,
}

impl UnderWay {
    /// Whether the swap may go on with this agent.
    fn goes_on_with(&self, cell: &Arc<Cell>) -> bool {
        *self.current.lock() = Some(cell.clone());
        !self.given_up.load(Ordering::SeqCst)
    }
}

/// One of the swap's agents is to be stopped: if the new version does not stand yet, the swap is given up for it.
pub(crate) fn give_up(hive: &Hive, cell: &Cell) {
    let Some(under_way) = hive.swapping.lock().get(&cell.spec.plugin).cloned() else { return };
    under_way.given_up.store(true, Ordering::SeqCst);
    if let Some(current) = &*under_way.current.lock() {
        current.cancel.notify_waiters();
    }
}

/// Holds the name while its swap is under way.
struct Under<'a> {
    hive: &'a Hive,
    name: Name,
    way: Arc<UnderWay>,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.hive.swapping.lock().remove(&self.name);
    }
}

/// Swaps one agent, or all agents of a plugin, to the component in `file`.
pub(crate) async fn swap(hive: &Arc<Hive>, name: &str, file: &Path) -> Result<SwapReceipt, Error> {
    let target = find(hive, name)?;
    let under = claim(hive, &target)?;
    let (plugin, component) = prepare(hive, file).await?;
    if target.cells(hive).iter().any(|cell| !cell.component.lock().is_like(&component)) {
        let detail = "an agent and a protocol cannot take each other's place".to_owned();
        return Err(Error::SwapFailed { phase: "prepare", detail });
    }
    let scene = Default::default();
    hive.emit(&scene, What::SwapPrepared { from: target.from, to: plugin.digest });
    let swapped = change(hive, &target, &under.way, (&plugin, &component)).await;
    match swapped {
        Ok((agents, waiting)) => {
            hive.emit(&scene, What::SwapResumed { from: target.from, to: plugin.digest, waiting });
            Ok(SwapReceipt { agents, from: target.from, to: plugin.digest })
        }
        Err((phase, detail)) => {
            hive.emit(&scene, What::SwapFailed { detail: format!("{phase}: {detail}") });
            Err(Error::SwapFailed { phase, detail })
        }
    }
}

/// `agent:NAME`, `plugin:NAME`, or a name by itself if it says which.
fn find(hive: &Arc<Hive>, text: &str) -> Result<Target, Error> {
    let plugin_of = |name: &str| {
        let plugins = hive.plugins.read();
        plugins.iter().find_map(|(of, entry)| (of.as_str() == name).then(|| (of.clone(), entry.digest)))
    };
    // A colon may be in a name too.
    let is_name = hive.directory.find(text).is_ok() || plugin_of(text).is_some();
    let (kind, name) = match text.split_once(':') {
        Some((kind @ ("agent" | "plugin"), name)) if !is_name => (Some(kind), name),
        _ => (None, text),
    };
    let agent = hive.directory.find(name);
    let plugin = plugin_of(name);
    let one = |cell: Arc<Cell>| {
        let from = cell.component.lock().digest();
        Ok(Target { what: Swapped::One(cell), from })
    };
    let all = |(plugin, from): (Name, Digest)| Ok(Target { what: Swapped::All(plugin), from });
    match (kind, agent, plugin) {
        (Some("plugin"), _, Some(plugin)) => all(plugin),
        (Some("plugin"), ..) => Err(Error::NoPlugin(skep_core::name::shown(name, 128))),
        (Some(_), agent, _) => one(agent?),
        (None, Ok(cell), Some((plugin, from))) => {
            let of_plugin = hive.directory.all().into_iter().filter(|cell| cell.spec.plugin == plugin);
            // Its only agent: there is nothing to choose, and the plugin stays what its agent is.
            if of_plugin.map(|cell| cell.id).eq([cell.id]) {
                all((plugin, from))
            } else {
                Err(Error::SwapTarget(plugin))
            }
        }
        (None, Err(_), Some(plugin)) => all(plugin),
        // The error of the agent: it knows names that are alike.
        (None, agent, None) => one(agent?),
    }
}

/// One swap of a plugin at a time, whether of one of its agents or of all.
fn claim<'a>(hive: &'a Hive, target: &Target) -> Result<Under<'a>, Error> {
    let plugin = target.plugin().clone();
    match hive.swapping.lock().entry(plugin.clone()) {
        Entry::Occupied(_) => Err(Error::SwapInProgress(plugin.to_string())),
        Entry::Vacant(free) => Ok(Under { hive, name: plugin, way: free.insert(Arc::default()).clone() }),
    }
}

/// Reads, checks and compiles the new version; the old one serves meanwhile.
async fn prepare(hive: &Arc<Hive>, file: &Path) -> Result<(Plugin, Component), Error> {
    let (engine, file, data_dir) = (hive.engine.clone(), file.to_path_buf(), hive.data_dir.clone());
    let work = move || -> Result<_, Error> {
        let plugin = engine.load(&file, None)?;
        let component = crate::plugins::compile(&engine, &plugin)?;
        if let Some(dir) = data_dir {
            crate::plugins::keep_copy(&dir, &plugin)?;
        }
        Ok((plugin, component))
    };
    let compiled = hive.scheduler.handle().spawn_blocking(work).await;
    compiled.unwrap_or(Err(Error::Stopping))
}

type Failed = (&'static str, String);

async fn change(
    hive: &Arc<Hive>,
    target: &Target,
    under_way: &UnderWay,
    (plugin, component): (&Plugin, &Component),
) -> Result<(Vec<SwappedAgent>, u64), Failed> {
    let running: Vec<Arc<Cell>> =
        target.cells(hive).into_iter().filter(|cell| cell.mind.lock().agent.gate() == Gate::Open).collect();
    for cell in &running {
        let from = cell.component.lock().digest();
        let rehearsed = rehearse(hive, cell, component, from).await;
        rehearsed.map_err(|why| ("prepare", format!("agent {}: {why}", cell.name)))?;
    }
    let mut suspended = Vec::new();
    for cell in &running {
        match suspend(hive, cell).await {
            Ok(one) => suspended.push(one),
            Err(why) => {
                resume_all(hive, &suspended);
                return Err(("suspend", format!("agent {}: {why}", cell.name)));
            }
        }
    }
    let committed = match migrate_all(hive, under_way, &suspended, component).await {
        Ok(upgraded) => commit(hive, target, plugin, component, &suspended, upgraded).await,
        Err(failed) => Err(failed),
    };
    match committed {
        Ok(upgraded) => Ok(go_on(hive, target, component, suspended, upgraded)),
        Err(failed) => {
            resume_all(hive, &suspended);
            Err(failed)
        }
    }
}

/// Closes the gate and waits until nothing of the agent runs. Its mailbox queues meanwhile.
async fn suspend<'a>(hive: &Arc<Hive>, cell: &'a Arc<Cell>) -> Result<Suspended<'a>, String> {
    let alone = tokio::time::timeout(CANCEL_PATIENCE, cell.life.lock()).await;
    let alone = alone.map_err(|_| "it is being started or stopped".to_owned())?;
    let undone_before = cell.stats.undone.load(Ordering::Relaxed);
    if !close_open(cell) {
        return Err("it does not run any more".to_owned());
    }
    if tokio::time::timeout(SUSPEND_PATIENCE, cell.quiet()).await.is_err() {
        cell.cancel.notify_waiters();
        if tokio::time::timeout(CANCEL_PATIENCE, cell.quiet()).await.is_err() {
            open_again(hive, cell);
            return Err("its turn did not end".to_owned());
        }
    }
    Ok(Suspended { cell, undone_before, quiet_ns: hive.clock.monotonic_ns(), _alone: alone })
}

/// In one step: an agent that has ended meanwhile stays so.
fn close_open(cell: &Cell) -> bool {
    let mut mind = cell.mind.lock();
    let open = mind.agent.gate() == Gate::Open;
    if open {
        mind.agent.set_gate(Gate::Suspended);
    }
    open
}

/// The gate opens again, and an exit that was asked for meanwhile follows.
fn open_again(hive: &Arc<Hive>, cell: &Arc<Cell>) {
    if cell.mind.lock().agent.gate() == Gate::Suspended {
        cell.set_gate(Gate::Open);
        hive.wake(cell);
        crate::lifecycle::exit_as_wanted(hive, cell);
    }
}

fn resume_all(hive: &Arc<Hive>, suspended: &[Suspended<'_>]) {
    for one in suspended {
        open_again(hive, one.cell);
    }
}

async fn migrate_all(
    hive: &Arc<Hive>,
    under_way: &UnderWay,
    suspended: &[Suspended<'_>],
    component: &Component,
) -> Result<Vec<Upgraded>, Failed> {
    let mut upgraded: Vec<Upgraded> = Vec::new();
    for one in suspended {
        if !under_way.goes_on_with(one.cell) {
            take_back(hive, suspended, upgraded);
            return Err(("migrate", "one of its agents is being stopped".to_owned()));
        }
        let from = one.cell.component.lock().digest();
        match upgrade(hive, one.cell, component, from).await {
            Ok(ready) => upgraded.push(ready),
            Err(why) => {
                take_back(hive, suspended, upgraded);
                return Err(("migrate", format!("agent {}: {why}", one.cell.name)));
            }
        }
    }
    Ok(upgraded)
}

fn take_back(hive: &Arc<Hive>, suspended: &[Suspended<'_>], upgraded: Vec<Upgraded>) {
    for (ready, one) in upgraded.into_iter().zip(suspended) {
        ready.take_back(hive, one.cell);
    }
}

/// One commit for all agents: their state, and what they run.
async fn commit(
    hive: &Arc<Hive>,
    target: &Target,
    plugin: &Plugin,
    component: &Component,
    suspended: &[Suspended<'_>],
    mut upgraded: Vec<Upgraded>,
) -> Result<Vec<Upgraded>, Failed> {
    let mut writes = Vec::new();
    for one in suspended {
        if one.cell.is_durable() {
            writes.push(crate::spec_record::upgraded(hive, one.cell, plugin.digest, target.whole().is_none()));
        }
    }
    let entry = target.whole().and_then(|name| {
        let before = hive.plugins.read().get(name).cloned()?;
        Some((name.clone(), PluginEntry { component: component.clone(), digest: plugin.digest, ..before }))
    });
    if let Some((name, entry)) = &entry {
        writes.push(crate::plugins::record(name, entry));
    }
    if let Err(error) = crate::upgrade::commit(hive, &mut upgraded, writes).await {
        take_back(hive, suspended, upgraded);
        return Err(("commit", error.to_string()));
    }
    if let Some((name, entry)) = entry {
        hive.plugins.write().insert(name, entry);
    }
    Ok(upgraded)
}

/// The commit stands: the new version takes what waits.
fn go_on(
    hive: &Arc<Hive>,
    target: &Target,
    component: &Component,
    suspended: Vec<Suspended<'_>>,
    upgraded: Vec<Upgraded>,
) -> (Vec<SwappedAgent>, u64) {
    for cell in target.cells(hive) {
        *cell.component.lock() = component.clone();
        cell.mind.lock().alone = target.whole().is_none();
        // One that has begun to run meanwhile follows by itself; those that are suspended follow here.
        crate::lifecycle::catch_up(hive, &cell);
    }
    let mut agents = Vec::new();
    let mut waiting_in_all = 0;
    for (one, ready) in suspended.into_iter().zip(upgraded) {
        let cell = one.cell;
        let waiting = {
            let mut mind = cell.mind.lock();
            mind.state.committed(ready.start.began.turn);
            mind.ran = Some(component.digest());
            u64::from(mind.agent.mailbox().waiting())
        };
        waiting_in_all += waiting;
        crate::instance::adopt(cell, &ready.instance);
        *cell.instance.lock() = Some(ready.instance);
        crate::release::release(hive, cell, ready.migrate);
        crate::release::release(hive, cell, ready.start);
        open_again(hive, cell);
        hive.emit_of(cell, What::AgentReady { why: "upgraded" });
        agents.push(SwappedAgent {
            agent: cell.name.clone(),
            lost: 0,
            replayed: cell.stats.undone.load(Ordering::Relaxed).saturating_sub(one.undone_before),
            waiting,
            pause_ns: hive.clock.monotonic_ns().saturating_sub(one.quiet_ns),
        });
    }
    (agents, waiting_in_all)
}
