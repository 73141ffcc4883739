//! Why a component file cannot be used, or the sandbox not be set up. Every case has a stable code and says what to do.

use skep_core::Digest;

/// The sandbox or a plugin cannot be used. Texts are safe to show.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is wrong with a file.
    #[error("plugin {path}: {error}")]
    Plugin {
        /// The file.
        path: String,
        /// What is wrong.
        error: Box<Self>,
    },
    /// The file cannot be read.
    #[error("{0}")]
    Io(String),
    /// The file is over the cap: it was not read.
    #[error("{bytes} bytes; {bytes_max} is the most")]
    TooLarge {
        /// What it has.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
    },
    /// The file ends too early.
    #[error("truncated at offset {offset}: {cause}; copy or build it again")]
    Corrupt {
        /// Where.
        offset: u64,
        /// What was expected there.
        cause: String,
    },
    /// The file is not the one that was pinned.
    #[error("its digest is {found}, but {expected} is pinned; it was changed, or the pin is old")]
    Digest {
        /// What is pinned.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The file is something else.
    #[error("not WebAssembly: it looks like {looks_like}")]
    NotWasm {
        /// What.
        looks_like: &'static str,
    },
    /// The file is WebAssembly's text form.
    #[error("WebAssembly text; only the binary form is taken: run `wasm-tools parse` on it")]
    Text,
    /// The file is a core module.
    #[error(
        "a core module, not a component; build it with `skep build` or for wasm32-wasip2, or run `wasm-tools component new`"
    )]
    CoreModule,
    /// The file is a WIT package.
    #[error(
        "a WIT package in binary form: it describes interfaces and has no code; give the component that implements it"
    )]
    WitPackage,
    /// The file is not a valid component.
    #[error("not a valid component at offset {offset}: {cause}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// It does not export what an agent exports.
    #[error("does not export {missing}; it exports {found}{}", hint(.closest))]
    World {
        /// What is missing.
        missing: String,
        /// What is there.
        found: String,
        /// What was perhaps meant.
        closest: Option<String>,
    },
    /// A function has another type than the WIT says.
    #[error(
        "{function} has another signature: expected `{expected}`, found `{found}`; build it against the WIT of this host"
    )]
    Signature {
        /// Which.
        function: String,
        /// As the WIT has it.
        expected: String,
        /// As the component has it.
        found: String,
    },
    /// It needs what the host does not have.
    #[error("imports {import}, which the host does not offer{}", hint(.closest))]
    ImportUnknown {
        /// What.
        import: String,
        /// What was perhaps meant.
        closest: Option<String>,
    },
    /// It is a protocol, and needs something.
    #[error(
        "is a protocol and imports {import}: a protocol imports nothing; build it for wasm32-unknown-unknown, without \
         files, clocks or randomness"
    )]
    ProtocolImports {
        /// What.
        import: String,
    },
    /// It is a protocol, and what it says of itself is nothing that this host can run.
    #[error("is a protocol that this host cannot run: {0}")]
    Manifest(String),
    /// It needs what no manifest can grant yet.
    #[error(
        "imports {import}, which is not granted: agents get clocks, randomness and standard output of WASI, and no network"
    )]
    ImportNotGranted {
        /// What.
        import: String,
    },
    /// It was built against another version of an interface.
    #[error(
        "{wanted} is not compatible with {supported}: versions 0.x.y are if x is equal, from 1.0.0 on if the first number is"
    )]
    WitVersion {
        /// What it needs.
        wanted: String,
        /// What the host has.
        supported: String,
    },
    /// Compiling it would take too long or too much memory.
    #[error("too complex to be compiled: {0}")]
    TooComplex(String),
    /// It needs more than any instance may have.
    #[error("needs {value} {what}; {max} is the most")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much it needs.
        value: u64,
        /// How much there may be.
        max: u64,
    },
    /// The compiler refused it.
    #[error("cannot be compiled: {0}")]
    Compile(String),
    /// The sandbox cannot be set up on this machine.
    #[error("the sandbox cannot be set up: {0}")]
    Engine(String),
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Plugin { error, .. } => error.code(),
            Self::Io(_) => "E_PLUGIN_IO",
            Self::TooLarge { .. } => "E_PLUGIN_TOO_LARGE",
            Self::Corrupt { .. } => "E_PLUGIN_CORRUPT",
            Self::Digest { .. } => "E_PLUGIN_DIGEST",
            Self::NotWasm { .. } => "E_PLUGIN_NOT_WASM",
            Self::Text => "E_PLUGIN_TEXT",
            Self::CoreModule => "E_PLUGIN_CORE_MODULE",
            Self::WitPackage => "E_PLUGIN_WIT_PACKAGE",
            Self::Invalid { .. } => "E_PLUGIN_INVALID",
            Self::World { .. } => "E_PLUGIN_WORLD",
            Self::Signature { .. } => "E_PLUGIN_SIGNATURE",
            Self::ImportUnknown { .. } => "E_PLUGIN_IMPORT_UNKNOWN",
            Self::ImportNotGranted { .. } => "E_PLUGIN_IMPORT_NOT_GRANTED",
            Self::ProtocolImports { .. } => "E_PLUGIN_PROTOCOL_IMPORTS",
            Self::Manifest(_) => "E_PLUGIN_MANIFEST",
            Self::WitVersion { .. } => "E_PLUGIN_WIT_VERSION",
            Self::TooComplex(_) => "E_PLUGIN_TOO_COMPLEX",
            Self::Limit { .. } => "E_PLUGIN_LIMIT",
            Self::Compile(_) => "E_COMPILE",
            Self::Engine(_) => "E_ENGINE",
        }
    }

    /// The same, naming the file.
    pub(crate) fn of(self, path: &str) -> Self {
        match self {
            Self::Plugin { .. } | Self::Engine(_) => self,
            error => Self::Plugin { path: path.to_owned(), error: Box::new(error) },
        }
    }
}

fn hint(closest: &Option<String>) -> String {
    closest.as_ref().map(|closest| format!("; did you mean {closest}?")).unwrap_or_default()
}
