//! What a component says of itself before anything is compiled: is it whole, what does it import and export, what will an
//! instance of it need, and would compiling it take for ever. Function bodies are only looked at for the last question.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{
    ComponentAlias, ComponentInstance, ComponentOuterAliasKind, FunctionBody, Instance, Operator, Parser, Payload,
    ValidPayload, Validator, WasmFeatures,
};

use skep_core::name::shown;

use crate::error::Error;

/// The most components that one component may instantiate, nested ones included.
const COMPONENTS_MAX: u32 = 2_000;
/// The most functions of a component.
const FUNCTIONS_MAX: u64 = 200_000;
/// The largest body of a function, in bytes.
const BODY_BYTES_MAX: u64 = 2 << 20;
/// The most branches of a function: with 20,000 it compiles for 6 seconds. CPython's largest has 8,000.
const BRANCHES_MAX: u64 = 20_000;
/// The most of locals times branches of a function: each branch may have to carry each local. 320 million take 4 seconds
/// and over 1 GiB; CPython's most is 150,000.
const LOCALS_TIMES_BRANCHES_MAX: u64 = 20_000_000;
/// The most branches of all functions that are large, together.
const LARGE_BRANCHES_MAX: u64 = 400_000;
/// What is smaller cannot take long to compile, and most functions are: bytes times locals, and bytes.
const SMALL_PRODUCT: u64 = 1_000_000;
const SMALL_BYTES: u64 = 16 << 10;
/// What is shown of an error of the parser, in characters: names of the file may be in it.
const CAUSE_CHARS_MAX: usize = 300;

/// What a component says of itself.
pub(crate) struct Scan {
    pub(crate) types: Types,
    /// In the order of the file.
    pub(crate) imports: Vec<(String, ComponentEntityType)>,
    /// In the order of the file.
    pub(crate) exports: Vec<(String, ComponentEntityType)>,
    pub(crate) needs: Needs,
}

impl Scan {
    /// Only types, no code: a WIT package in its binary form.
    pub(crate) fn is_wit_package(&self) -> bool {
        let is_type = |(_, ty): &(String, ComponentEntityType)| matches!(ty, ComponentEntityType::Type { .. });
        self.needs == Needs::default() && !self.exports.is_empty() && self.exports.iter().all(is_type)
    }
}

/// What one instance needs, all nested ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) core_instances: u32,
    pub(crate) components: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    /// Of the largest table.
    pub(crate) table_elements: u64,
}

impl Needs {
    fn add(&mut self, other: &Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.components = self.components.saturating_add(other.components);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        self.table_elements = self.table_elements.max(other.table_elements);
    }
}

/// What of WebAssembly components may use.
pub(crate) fn features() -> WasmFeatures {
    let off = WasmFeatures::GC
        | WasmFeatures::GC_TYPES
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::MEMORY64
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::THREADS;
    (WasmFeatures::WASM3 & !off) | WasmFeatures::COMPONENT_MODEL
}

/// Reads all but the bodies of functions.
pub(crate) fn scan(bytes: &[u8]) -> Result<Scan, Error> {
    let mut walk = Walk {
        validator: Validator::new_with_features(features()),
        frames: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
    };
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| bad(&error, bytes))?;
        if let Some((types, needs)) = walk.step(&payload).map_err(|error| bad(&error, bytes))? {
            return walk.done(types, needs);
        }
    }
    Err(Error::Corrupt { offset: bytes.len() as u64, cause: "the component does not end".to_owned() })
}

/// Looks for functions that would take the compiler too long or too much memory.
pub(crate) fn refuse_bombs(bytes: &[u8]) -> Result<(), Error> {
    let (mut functions, mut large_branches) = (0, 0_u64);
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CodeSectionEntry(body) = payload.map_err(|error| bad(&error, bytes))? {
            functions += 1;
            if functions > FUNCTIONS_MAX {
                return Err(Error::TooComplex(format!("over {FUNCTIONS_MAX} functions")));
            }
            let size = body_size(&body).map_err(|error| bad(&error, bytes))?;
            size.check(body.range().start)?;
            large_branches = large_branches.saturating_add(size.branches);
            if large_branches > LARGE_BRANCHES_MAX {
                return Err(Error::TooComplex(format!("over {LARGE_BRANCHES_MAX} branches in large functions")));
            }
        }
    }
    Ok(())
}

/// What is wrong in the body of a function, if anything is; all else is right, as [`scan`] has found.
pub(crate) fn invalid_body(bytes: &[u8]) -> Option<Error> {
    Validator::new_with_features(features()).validate_all(bytes).err().map(|error| bad(&error, bytes))
}

fn bad(error: &wasmparser::Error, bytes: &[u8]) -> Error {
    let cause = shown(error.message(), CAUSE_CHARS_MAX);
    if error.message().starts_with("unexpected end") || error.offset() >= bytes.len() as u64 {
        return Error::Corrupt { offset: bytes.len() as u64, cause };
    }
    Error::Invalid { offset: error.offset(), cause }
}

struct Walk {
    validator: Validator,
    frames: Vec<Frame>,
    imports: Vec<String>,
    exports: Vec<String>,
}

/// A component or module that is being read.
#[derive(Default)]
struct Frame {
    needs: Needs,
    /// By index; none: it comes from elsewhere.
    modules: Vec<Option<Needs>>,
    components: Vec<Option<Needs>>,
    is_module: bool,
}

impl Walk {
    /// Takes one part of the file. Gives the types and the needs of the whole at its end.
    fn step(&mut self, payload: &Payload<'_>) -> wasmparser::Result<Option<(Types, Needs)>> {
        let valid = self.validator.payload(payload)?;
        match payload {
            Payload::Version { encoding, .. } => {
                let is_module = *encoding == wasmparser::Encoding::Module;
                self.frames.push(Frame { is_module, ..Frame::default() });
            }
            Payload::End(_) => {
                let Some(frame) = self.frames.pop() else { return Ok(None) };
                match (self.frames.last_mut(), valid) {
                    (Some(outer), _) if frame.is_module => outer.modules.push(Some(frame.needs)),
                    (Some(outer), _) => outer.components.push(Some(frame.needs)),
                    (None, ValidPayload::End(types)) => return Ok(Some((types, frame.needs))),
                    (None, _) => {}
                }
            }
            _ => self.inside(payload)?,
        }
        Ok(None)
    }

    fn inside(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        let outermost = self.frames.len() == 1;
        let Some((frame, outer)) = self.frames.split_last_mut() else { return Ok(()) };
        match payload {
            Payload::MemorySection(section) => frame.needs.memories = section.count(),
            Payload::TableSection(section) => frame.tables(section.clone())?,
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    frame.instantiate(&instance?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        frame.needs.components = frame.needs.components.saturating_add(1);
                        let nested = frame.components.get(component_index as usize).copied().flatten();
                        frame.needs.add(&nested.unwrap_or_default());
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    frame.alias(&alias?, outer);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    match import.ty {
                        wasmparser::ComponentTypeRef::Module(_) => frame.modules.push(None),
                        wasmparser::ComponentTypeRef::Component(_) => frame.components.push(None),
                        _ => {}
                    }
                    if outermost {
                        self.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) if outermost => {
                for export in section.clone() {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn done(self, types: Types, needs: Needs) -> Result<Scan, Error> {
        if needs.components > COMPONENTS_MAX {
            let value = needs.components.into();
            return Err(Error::Limit { what: "nested components", value, max: COMPONENTS_MAX.into() });
        }
        let refs = types.as_ref();
        let imports = self.imports.into_iter().filter_map(|name| {
            let item = refs.component_item_for_import(&name)?.ty;
            Some((name, item))
        });
        let exports = self.exports.into_iter().filter_map(|name| {
            let item = refs.component_item_for_export(&name)?.ty;
            Some((name, item))
        });
        let (imports, exports) = (imports.collect(), exports.collect());
        Ok(Scan { types, imports, exports, needs })
    }
}

impl Frame {
    fn tables(&mut self, section: wasmparser::TableSectionReader<'_>) -> wasmparser::Result<()> {
        for table in section {
            let table = table?;
            self.needs.tables = self.needs.tables.saturating_add(1);
            self.needs.table_elements = self.needs.table_elements.max(table.ty.initial);
        }
        Ok(())
    }

    fn instantiate(&mut self, instance: &Instance<'_>) {
        if let Instance::Instantiate { module_index, .. } = instance {
            self.needs.core_instances = self.needs.core_instances.saturating_add(1);
            let module = self.modules.get(*module_index as usize).copied().flatten();
            self.needs.add(&module.unwrap_or_default());
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>, outer: &[Frame]) {
        match alias {
            ComponentAlias::Outer { kind, count, index } => {
                let from = outer.len().checked_sub(*count as usize).and_then(|at| outer.get(at));
                let index = *index as usize;
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        self.modules.push(from.and_then(|from| from.modules.get(index).copied().flatten()));
                    }
                    ComponentOuterAliasKind::Component => {
                        self.components.push(from.and_then(|from| from.components.get(index).copied().flatten()));
                    }
                    _ => {}
                }
            }
            ComponentAlias::InstanceExport { kind, .. } => match kind {
                wasmparser::ComponentExternalKind::Module => self.modules.push(None),
                wasmparser::ComponentExternalKind::Component => self.components.push(None),
                _ => {}
            },
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }
}

/// What of a function the compiler's time depends on.
#[derive(Default)]
struct BodySize {
    bytes: u64,
    locals: u64,
    branches: u64,
}

impl BodySize {
    fn check(&self, offset: u64) -> Result<(), Error> {
        let product = self.locals.saturating_mul(self.branches);
        let checks = [
            (self.bytes, BODY_BYTES_MAX, "bytes"),
            (self.branches, BRANCHES_MAX, "branches"),
            (product, LOCALS_TIMES_BRANCHES_MAX, "locals times branches"),
        ];
        for (value, max, what) in checks {
            if value > max {
                return Err(Error::TooComplex(format!(
                    "the function at offset {offset} has {value} {what}; {max} is the most"
                )));
            }
        }
        Ok(())
    }
}

fn body_size(body: &FunctionBody<'_>) -> wasmparser::Result<BodySize> {
    let range = body.range();
    let mut size = BodySize { bytes: range.end - range.start, ..BodySize::default() };
    for local in body.get_locals_reader()? {
        size.locals = size.locals.saturating_add(local?.0.into());
    }
    if size.bytes < SMALL_BYTES && size.bytes.saturating_mul(size.locals) < SMALL_PRODUCT {
        return Ok(size);
    }
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        size.branches = size.branches.saturating_add(match operators.read()? {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::BrIf { .. } => 1,
            Operator::BrTable { targets } => u64::from(targets.len()),
            _ => 0,
        });
    }
    Ok(size)
}
