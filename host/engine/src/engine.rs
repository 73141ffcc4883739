//! The sandbox of a host: from files to components, from components to instances. Compiling blocks and is done one
//! component at a time; whoever cannot wait does it on a thread of its own.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use skep_core::Digest;
use skep_core::name::shown;
use wasmtime::Store;
use wasmtime::component::{self, Linker};

use crate::bindings::AgentPre;
use crate::cache::Cache;
use crate::capability;
use crate::component::{Compiled, Component, Sizes};
use crate::config::{Allocation, Profile, config};
use crate::ctx::Ctx;
use crate::error::Error;
use crate::failure::Failure;
use crate::host::TurnHost;
use crate::instance::{Instance, guard, of_store};
use crate::limits::{Limits, Meter};
use crate::looks;
use crate::plugin::{Plugin, shown_path};
use crate::pool::Pool;
use crate::protocol::{self, Protocol};
use crate::scan::{self, Needs, Scan};
use crate::ticker::{Cpu, Ticker};
use crate::wasi::{self, Wasi};
use crate::world::World;

/// What is shown of an error of the compiler, in characters.
const CAUSE_CHARS_MAX: usize = 500;
/// The most imports of a component that are kept for people.
const IMPORTS_MAX: usize = 256;

/// The largest component file that is read unless somebody says otherwise, in bytes.
const PLUGIN_BYTES_MAX: u64 = 64 << 20;

/// How the sandbox is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where compiled code is kept. None: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// The most live instances of each profile. None: what the system bears.
    pub live_instances_max: Option<u32>,
    /// The largest component file that is read, in bytes.
    pub plugin_bytes_max: u64,
    /// Whether slots for instances are set aside. Without, every start of an agent is slower.
    pub pooled: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { cache_dir: None, live_instances_max: None, plugin_bytes_max: PLUGIN_BYTES_MAX, pooled: true }
    }
}

/// What a component is.
pub enum Program<H: TurnHost> {
    /// An agent.
    Agent(Component<H>),
    /// A coordination protocol.
    Protocol(Protocol),
}

impl<H: TurnHost> Clone for Program<H> {
    fn clone(&self) -> Self {
        match self {
            Self::Agent(component) => Self::Agent(component.clone()),
            Self::Protocol(protocol) => Self::Protocol(protocol.clone()),
        }
    }
}

impl<H: TurnHost> Program<H> {
    /// Which plugin it is.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Agent(component) => component.digest(),
            Self::Protocol(protocol) => protocol.digest(),
        }
    }

    /// Whether its compiled code was found on disk.
    pub fn cached(&self) -> bool {
        match self {
            Self::Agent(component) => component.cached(),
            Self::Protocol(protocol) => protocol.cached(),
        }
    }

    /// The names of its imports, safe to show: a protocol has none.
    pub fn imports(&self) -> &[String] {
        match self {
            Self::Agent(component) => component.imports(),
            Self::Protocol(_) => &[],
        }
    }

    /// As of a component.
    pub fn denied(&self) -> &[String] {
        match self {
            Self::Agent(component) => component.denied(),
            Self::Protocol(_) => &[],
        }
    }

    /// How large it is.
    pub fn sizes(&self) -> Sizes {
        match self {
            Self::Agent(component) => component.sizes(),
            Self::Protocol(protocol) => protocol.sizes(),
        }
    }
}

/// The sandbox. Cheap to clone; its clock ends with the last clone and the last instance.
pub struct Engine<H: TurnHost>(Arc<Inner<H>>);

impl<H: TurnHost> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<H: TurnHost> {
    options: EngineOptions,
    world: World,
    world_of_protocols: World,
    cache: Result<Cache, String>,
    pool: Arc<Pool>,
    small: Arc<Sandbox<H>>,
    /// Made when the first component needs it.
    large: Mutex<Option<Arc<Sandbox<H>>>>,
    /// Made with the first protocol.
    protocols: Mutex<Option<Arc<protocol::Sandbox>>>,
    /// One compiles at a time: it uses all processors as it is.
    compiling: Mutex<()>,
    compiled: Mutex<HashMap<Digest, Weak<Compiled<H>>>>,
    ticker: Arc<Ticker>,
}

/// One of wasmtime's engines, and what it offers to components.
struct Sandbox<H: TurnHost> {
    profile: Profile,
    engine: wasmtime::Engine,
    linker: Linker<Ctx<H>>,
    allocation: Allocation,
    /// Why there is no pool, if there is none.
    fallback: Option<String>,
}

impl<H: TurnHost> Engine<H> {
    /// Sets the sandbox up.
    pub fn new(options: EngineOptions) -> Result<Self, Error> {
        let pool = Arc::new(Pool::of_system(options.live_instances_max));
        let ticker = Arc::new(Ticker::start()?);
        let small = Arc::new(Sandbox::new(Profile::AgentSmall, &pool, options.pooled)?);
        ticker.add(&small.engine);
        let cache = open_cache(options.cache_dir.as_deref());
        Ok(Self(Arc::new(Inner {
            world: World::of_agents()?,
            world_of_protocols: World::of_protocols()?,
            cache,
            pool,
            small,
            large: Mutex::new(None),
            protocols: Mutex::new(None),
            compiling: Mutex::new(()),
            compiled: Mutex::default(),
            ticker,
            options,
        })))
    }

    /// Reads a component file, once, and checks its size, what it looks like and, if it is pinned, its digest.
    pub fn load(&self, path: &Path, expect: Option<Digest>) -> Result<Plugin, Error> {
        Plugin::load(path, self.0.options.plugin_bytes_max, expect).map_err(|error| error.of(&shown_path(path)))
    }

    /// Checks a component, compiles it unless its code is known, and links it. Blocks for as long as that takes: 20 ms for
    /// a small one, seconds for one that brings a language's runtime along. A protocol is asked what it is.
    pub fn program(&self, plugin: &Plugin) -> Result<Program<H>, Error> {
        looks::like_component(&plugin.bytes).map_err(|error| error.of(&shown_path(&plugin.path)))?;
        let scan = scan::scan(&plugin.bytes).map_err(|error| error.of(&shown_path(&plugin.path)))?;
        if !World::is_protocol(&scan) {
            return self.compile(plugin).map(Program::Agent);
        }
        let _one_at_a_time = self.0.compiling.lock();
        let protocol = self.0.compile_protocol(plugin, &scan);
        protocol.map(Program::Protocol).map_err(|error| error.of(&shown_path(&plugin.path)))
    }

    /// As `program`, of an agent.
    pub fn compile(&self, plugin: &Plugin) -> Result<Component<H>, Error> {
        if let Some(known) = self.known(plugin.digest) {
            return Ok(known);
        }
        let _one_at_a_time = self.0.compiling.lock();
        if let Some(known) = self.known(plugin.digest) {
            return Ok(known);
        }
        let compiled = self.0.compile(plugin).map_err(|error| error.of(&shown_path(&plugin.path)))?;
        let compiled = Arc::new(compiled);
        let mut all = self.0.compiled.lock();
        all.retain(|_, other| other.strong_count() > 0);
        all.insert(plugin.digest, Arc::downgrade(&compiled));
        Ok(Component(compiled))
    }

    fn known(&self, digest: Digest) -> Option<Component<H>> {
        self.0.compiled.lock().get(&digest)?.upgrade().map(Component)
    }

    /// Makes an instance, within limits from its first instruction on, and asks it how it wants to be entered.
    pub async fn instantiate(&self, component: &Component<H>, host: H, limits: Limits) -> Result<Instance<H>, Failure> {
        let compiled = &component.0;
        let live_max = self.0.pool.live_max(compiled.profile);
        let place =
            self.0.pool.take(compiled.profile, compiled.sizes.memories).ok_or(Failure::PoolFull { live_max })?;
        let wasi = (compiled.has_wasi()).then(|| Box::new(Wasi::new()));
        let ctx = Ctx::new(host, Meter::new(&limits), Cpu::new(limits.cpu_ms_max, self.0.ticker.clock()), wasi);
        let mut store = Store::new(compiled.pre.engine(), ctx);
        guard(&mut store, &limits);
        let agent = match compiled.pre.instantiate_async(&mut store).await {
            Ok(agent) => agent,
            Err(error) => return Err(in_init(of_store(&mut store, &error, None, live_max))),
        };
        Instance::described(store, agent, place, Arc::clone(&self.0.ticker)).await.map_err(in_init)
    }

    /// How many of instances of these components can be alive beside one another.
    pub fn fitting<'a>(&self, components: impl Iterator<Item = &'a Component<H>>) -> usize
    where
        H: 'a,
    {
        self.0.pool.fitting(components.map(|component| (component.0.profile, component.0.sizes.memories)))
    }

    /// Ends when a place for an instance becomes free after the call of this. Whoever waits for one calls this, then tries,
    /// and awaits it if the pool is full.
    pub fn place_freed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.pool.freed()
    }

    /// Every setting of the sandbox: name, value with its unit, and where it comes from.
    pub fn settings(&self) -> Vec<(String, String, String)> {
        self.0.settings()
    }

    /// wasmtime's engine of small agents: for whoever needs the real thing.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.small.engine
    }
}

impl<H: TurnHost> Compiled<H> {
    fn has_wasi(&self) -> bool {
        self.imports.iter().any(|import| import.starts_with("wasi:"))
    }
}

impl<H: TurnHost> Inner<H> {
    fn compile(&self, plugin: &Plugin) -> Result<Compiled<H>, Error> {
        looks::like_component(&plugin.bytes)?;
        let scan = scan::scan(&plugin.bytes)?;
        if scan.is_wit_package() {
            return Err(Error::WitPackage);
        }
        self.world.check(&scan)?;
        let sandbox = self.sandbox(profile(&scan.needs)?)?;
        let (component, cached) = self.component(plugin, &sandbox.engine, sandbox.profile)?;
        let linked = sandbox.linker.instantiate_pre(&component).and_then(AgentPre::new);
        let pre = linked.map_err(|error| Error::Compile(cause(&error)))?;
        let imports = imports(&scan);
        let denied = imports.iter().filter(|name| is_denied(name)).cloned().collect();
        let sizes = sizes(plugin, &component, &scan.needs);
        Ok(Compiled { digest: plugin.digest, cached, profile: sandbox.profile, sizes, imports, denied, pre })
    }

    fn compile_protocol(&self, plugin: &Plugin, scan: &Scan) -> Result<Protocol, Error> {
        self.world_of_protocols.check_protocol(scan)?;
        if let Some((what, value, max)) = excess(&scan.needs, Profile::Protocol) {
            return Err(Error::Limit { what, value, max });
        }
        let sandbox = self.protocols()?;
        let (component, cached) = self.component(plugin, &sandbox.engine, Profile::Protocol)?;
        let sizes = sizes(plugin, &component, &scan.needs);
        sandbox.link(plugin, &component, cached, sizes)
    }

    fn protocols(&self) -> Result<Arc<protocol::Sandbox>, Error> {
        let mut protocols = self.protocols.lock();
        if let Some(sandbox) = protocols.as_ref() {
            return Ok(Arc::clone(sandbox));
        }
        let sandbox = Arc::new(protocol::Sandbox::new(&self.pool)?);
        *protocols = Some(Arc::clone(&sandbox));
        Ok(sandbox)
    }

    /// The compiled code, and whether it was found on disk.
    fn component(
        &self,
        plugin: &Plugin,
        engine: &wasmtime::Engine,
        profile: Profile,
    ) -> Result<(component::Component, bool), Error> {
        let found = self.cache.as_ref().ok().and_then(|cache| cache.load(engine, plugin.digest, profile));
        match found {
            Some(component) => Ok((component, true)),
            None => Ok((self.translate(plugin, engine, profile)?, false)),
        }
    }

    fn translate(
        &self,
        plugin: &Plugin,
        engine: &wasmtime::Engine,
        profile: Profile,
    ) -> Result<component::Component, Error> {
        scan::refuse_bombs(&plugin.bytes)?;
        let component = component::Component::from_binary(engine, &plugin.bytes)
            // The compiler is the first that reads the bodies of functions: what is wrong in one is the file's fault.
            .map_err(|error| scan::invalid_body(&plugin.bytes).unwrap_or_else(|| Error::Compile(cause(&error))))?;
        if let Ok(cache) = &self.cache
            && let Err(error) = cache.store(&component, plugin.digest, profile)
        {
            tracing::warn!(%error, "compiled code cannot be kept; it will be compiled again at the next start");
        }
        Ok(component)
    }

    fn sandbox(&self, profile: Profile) -> Result<Arc<Sandbox<H>>, Error> {
        if profile == Profile::AgentSmall {
            return Ok(Arc::clone(&self.small));
        }
        let mut large = self.large.lock();
        if let Some(sandbox) = large.as_ref() {
            return Ok(Arc::clone(sandbox));
        }
        let sandbox = Arc::new(Sandbox::new(profile, &self.pool, self.options.pooled)?);
        self.ticker.add(&sandbox.engine);
        *large = Some(Arc::clone(&sandbox));
        Ok(sandbox)
    }

    fn settings(&self) -> Vec<(String, String, String)> {
        let default = || "default".to_owned();
        let given = || "the program that embeds the host".to_owned();
        let mut all = vec![
            ("wasmtime".to_owned(), WASMTIME_VERSION.to_owned(), "built in".to_owned()),
            ("engine.tick".to_owned(), "1 ms".to_owned(), default()),
            (
                "engine.plugin-bytes-max".to_owned(),
                format!("{} bytes", self.options.plugin_bytes_max),
                if self.options.plugin_bytes_max == PLUGIN_BYTES_MAX { default() } else { given() },
            ),
            match (&self.cache, &self.options.cache_dir) {
                (Ok(_), Some(dir)) => ("engine.cache".to_owned(), shown_path(dir), given()),
                (Err(reason), Some(_)) => ("engine.cache".to_owned(), format!("off: {reason}"), given()),
                (_, None) => ("engine.cache".to_owned(), "off".to_owned(), default()),
            },
        ];
        all.extend(self.small.settings(self));
        if let Some(large) = self.large.lock().as_ref() {
            all.extend(large.settings(self));
        }
        all
    }
}

/// The version of wasmtime that this is built with.
const WASMTIME_VERSION: &str = "48";

impl<H: TurnHost> Sandbox<H> {
    /// With a pool as large as the system bears: if it refuses, with a smaller one; at last without.
    fn new(profile: Profile, pool: &Pool, pooled: bool) -> Result<Self, Error> {
        let mut fallback = (!pooled).then(|| "option pooled is off".to_owned());
        let mut live_max = if pooled { pool.live_max(profile) } else { 0 };
        while live_max > 0 {
            match wasmtime::Engine::new(&config(profile, Allocation::Pooled { live_max })) {
                Ok(engine) => {
                    pool.has_stacks(profile, live_max);
                    return Self::over(profile, engine, Allocation::Pooled { live_max }, fallback);
                }
                Err(error) => {
                    let cause = cause(&error);
                    tracing::warn!(
                        profile = profile.name(),
                        live_max,
                        cause,
                        "the pool of instances cannot be that large"
                    );
                    fallback.get_or_insert(cause);
                }
            }
            live_max /= 2;
        }
        tracing::warn!(profile = profile.name(), "there is no pool of instances: every start of an agent is slower");
        let engine = wasmtime::Engine::new(&config(profile, Allocation::OnDemand))
            .map_err(|error| Error::Engine(cause(&error)))?;
        pool.has_stacks(profile, pool.live_max(profile));
        Self::over(profile, engine, Allocation::OnDemand, fallback)
    }

    fn over(
        profile: Profile,
        engine: wasmtime::Engine,
        allocation: Allocation,
        fallback: Option<String>,
    ) -> Result<Self, Error> {
        let mut linker = Linker::new(&engine);
        capability::add_to_linker(&mut linker)
            .and_then(|()| wasi::add_to_linker(&mut linker))
            .map_err(|error| Error::Engine(error.to_string()))?;
        Ok(Self { profile, engine, linker, allocation, fallback })
    }

    fn settings(&self, inner: &Inner<H>) -> Vec<(String, String, String)> {
        let name = |what: &str| format!("engine.{}.{what}", self.profile.name());
        let origin = match &self.fallback {
            Some(reason) => reason.clone(),
            None => inner.pool.origin(),
        };
        let (allocation, live) = match self.allocation {
            Allocation::Pooled { live_max } => ("pooled", live_max),
            Allocation::OnDemand => ("on demand", inner.pool.live_max(self.profile)),
        };
        let caps = self.profile.caps();
        let by_profile = || format!("profile {}", self.profile.name());
        vec![
            (name("allocation"), allocation.to_owned(), origin.clone()),
            (name("live-instances-max"), format!("{live} instances"), origin),
            (name("core-instances-max"), format!("{} in a component", caps.core_instances), by_profile()),
            (name("memories-max"), format!("{} in a component", caps.memories), by_profile()),
            (name("tables-max"), format!("{} in a component", caps.tables), by_profile()),
            (name("table-elements-max"), format!("{} in a table", caps.table_elements), by_profile()),
        ]
    }
}

/// What wasmtime says, with all its reasons, safe to show.
fn cause(error: &wasmtime::Error) -> String {
    shown(&format!("{error:#}"), CAUSE_CHARS_MAX)
}

fn open_cache(dir: Option<&Path>) -> Result<Cache, String> {
    let Some(dir) = dir else { return Err("no directory is given".to_owned()) };
    Cache::open(dir).map_err(|error| {
        tracing::warn!(dir = %shown_path(dir), %error, "compiled code is not kept");
        shown(&error.to_string(), CAUSE_CHARS_MAX)
    })
}

/// The smallest profile that an instance fits in.
fn profile(needs: &Needs) -> Result<Profile, Error> {
    let fits = |profile: &Profile| excess(needs, *profile).is_none();
    match [Profile::AgentSmall, Profile::AgentLarge].into_iter().find(fits) {
        Some(profile) => Ok(profile),
        None => {
            let (what, value, max) = excess(needs, Profile::AgentLarge).unwrap_or_default();
            Err(Error::Limit { what, value, max })
        }
    }
}

fn excess(needs: &Needs, profile: Profile) -> Option<(&'static str, u64, u64)> {
    let caps = profile.caps();
    [
        ("core instances", needs.core_instances.into(), caps.core_instances.into()),
        ("memories", needs.memories.into(), caps.memories.into()),
        ("tables", needs.tables.into(), caps.tables.into()),
        ("table elements", needs.table_elements, caps.table_elements.into()),
    ]
    .into_iter()
    .find(|(_, value, max)| value > max)
}

fn imports(scan: &Scan) -> Vec<String> {
    scan.imports.iter().take(IMPORTS_MAX).map(|(name, _)| shown(name, CAUSE_CHARS_MAX)).collect()
}

fn is_denied(import: &str) -> bool {
    import.starts_with("wasi:filesystem/") || import.starts_with("wasi:sockets/")
}

fn sizes(plugin: &Plugin, component: &component::Component, needs: &Needs) -> Sizes {
    let exact = component.resources_required();
    let pages = exact.as_ref().and_then(|exact| exact.max_initial_memory_size).unwrap_or_default();
    let range = component.image_range();
    Sizes {
        plugin_bytes: plugin.bytes.len() as u64,
        compiled_bytes: (range.end as usize).saturating_sub(range.start as usize) as u64,
        core_instances: needs.core_instances,
        memories: exact.as_ref().map_or(needs.memories, |exact| exact.num_memories),
        memory_bytes: pages.saturating_mul(64 << 10),
        tables: exact.as_ref().map_or(needs.tables, |exact| exact.num_tables),
        table_elements: needs.table_elements,
    }
}

fn in_init(failure: Failure) -> Failure {
    match failure {
        Failure::Deadline { ms } => Failure::InitTimeout { ms },
        other => other,
    }
}

#[cfg(test)]
mod tests;
