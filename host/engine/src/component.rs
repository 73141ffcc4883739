//! A compiled component that is linked and ready to be instantiated, shared by all its agents. Never an instance of it.

use std::sync::Arc;

use skep_core::Digest;

use crate::bindings::AgentPre;
use crate::config::Profile;
use crate::ctx::Ctx;
use crate::host::TurnHost;

/// A component, compiled and linked. Cheap to clone.
pub struct Component<H: TurnHost>(pub(crate) Arc<Compiled<H>>);

pub(crate) struct Compiled<H: TurnHost> {
    pub(crate) digest: Digest,
    pub(crate) cached: bool,
    pub(crate) profile: Profile,
    pub(crate) sizes: Sizes,
    pub(crate) imports: Vec<String>,
    pub(crate) denied: Vec<String>,
    pub(crate) pre: AgentPre<Ctx<H>>,
}

/// How large a component is, and what each instance of it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The file, in bytes.
    pub plugin_bytes: u64,
    /// The compiled code, in bytes.
    pub compiled_bytes: u64,
    /// Core instances of an instance.
    pub core_instances: u32,
    /// Memories of an instance.
    pub memories: u32,
    /// What its largest memory has at first, in bytes.
    pub memory_bytes: u64,
    /// Tables of an instance.
    pub tables: u32,
    /// Elements that its largest table has at first.
    pub table_elements: u64,
}

impl<H: TurnHost> Component<H> {
    /// Which plugin it is.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Whether its compiled code was found on disk.
    pub fn cached(&self) -> bool {
        self.0.cached
    }

    /// What it is compiled and run as.
    pub fn profile(&self) -> Profile {
        self.0.profile
    }

    /// How large it is.
    pub fn sizes(&self) -> Sizes {
        self.0.sizes
    }

    /// The names of its imports, safe to show, in the order of the file.
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// Those of its imports that it gets, but that answer every request with a refusal: files and sockets.
    pub fn denied(&self) -> &[String] {
        &self.0.denied
    }
}

impl<H: TurnHost> Clone for Component<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
