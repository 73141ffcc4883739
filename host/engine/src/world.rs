//! Whether a component fits the world of agents: before it is compiled, and in words that name the item, what was expected
//! and the fix. What passes here is checked by wasmtime again.

use std::collections::BTreeMap;

use skep_core::name::shown;
use skep_core::similar::closest;
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{Parser, Validator};

use crate::bindings::COMPONENT_TYPE;
use crate::error::Error;
use crate::scan::{Scan, features};
use crate::wit_text;

/// What is shown of a name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// What is shown of a signature, in characters.
const SIGNATURE_CHARS_MAX: usize = 1_500;
/// The most names that an error lists.
const LISTED_MAX: usize = 12;

/// Packages of WASI 0.2 that are linked, with what of them is denied.
const WASI_LINKED: [&str; 6] = ["wasi:io", "wasi:clocks", "wasi:random", "wasi:cli", "wasi:filesystem", "wasi:sockets"];
/// Packages that exist and that no manifest can grant yet.
const NOT_GRANTED: [&str; 8] = [
    "wasi:http",
    "wasi:tls",
    "wasi:keyvalue",
    "wasi:blobstore",
    "wasi:messaging",
    "wasi:config",
    "wasi:nn",
    "wasi:logging",
];
/// The version of WASI that is linked.
const WASI_VERSION: &str = "0.2.9";

/// The world of agents: functions by the names of interfaces.
pub(crate) struct World {
    imports: BTreeMap<String, Interface>,
    exports: BTreeMap<String, Interface>,
}

/// The signatures of an interface's functions.
type Interface = BTreeMap<String, String>;

impl World {
    /// As `wit/` has it.
    pub(crate) fn of_agents() -> Result<Self, Error> {
        Self::decode(COMPONENT_TYPE).map_err(Error::Engine)
    }

    /// As `wit/protocol/` has it.
    pub(crate) fn of_protocols() -> Result<Self, Error> {
        Self::decode(crate::protocol::COMPONENT_TYPE).map_err(Error::Engine)
    }

    /// Whether a component is a protocol, or means to be.
    pub(crate) fn is_protocol(scan: &Scan) -> bool {
        scan.exports.iter().any(|(name, _)| Versioned::of(name).package() == "skep:protocol")
    }

    /// Whether a component fits the world of protocols, and imports nothing but the names of types.
    pub(crate) fn check_protocol(&self, scan: &Scan) -> Result<(), Error> {
        let types = scan.types.as_ref();
        let needs = |ty: ComponentEntityType| match interface(types, ty) {
            Some(functions) => !functions.is_empty(),
            None => !matches!(ty, ComponentEntityType::Type { .. }),
        };
        if let Some((import, _)) = scan.imports.iter().find(|(_, ty)| needs(*ty)) {
            return Err(Error::ProtocolImports { import: shown(import, NAME_CHARS_MAX) });
        }
        self.exports.iter().try_for_each(|(name, expected)| check_export(types, scan, name, expected))
    }

    /// From the encoded form of a world: a component that exports a component type for it.
    fn decode(encoded: &[u8]) -> Result<Self, String> {
        let types = all_types(encoded).map_err(|error| format!("the WIT in this program is damaged: {error}"))?;
        let types = types.as_ref();
        let mut exported = Parser::new(0)
            .parse_all(encoded)
            .filter_map(|payload| match payload {
                Ok(wasmparser::Payload::ComponentExportSection(section)) => Some(section),
                _ => None,
            })
            .flat_map(|section| section.into_iter().filter_map(Result::ok))
            .filter_map(|export| types.component_item_for_export(export.name.name).map(|item| item.ty));
        let world = exported.find_map(|ty| component_of(types, ty)).ok_or("the WIT in this program has no world")?;
        let inner = types.get(world).ok_or("the WIT in this program has no world")?;
        // The type wraps the world: its only export is the world itself.
        let world = inner.exports.values().find_map(|item| component_of(types, item.ty)).and_then(|id| types.get(id));
        let world = world.unwrap_or(inner);
        let interfaces = |items: &mut dyn Iterator<Item = (&String, ComponentEntityType)>| {
            items.filter_map(|(name, ty)| Some((name.clone(), interface(types, ty)?))).collect()
        };
        Ok(Self {
            imports: interfaces(&mut world.imports.iter().map(|(name, item)| (name, item.ty))),
            exports: interfaces(&mut world.exports.iter().map(|(name, item)| (name, item.ty))),
        })
    }

    /// Whether a component fits.
    pub(crate) fn check(&self, scan: &Scan) -> Result<(), Error> {
        let types = scan.types.as_ref();
        for (name, ty) in &scan.imports {
            self.check_import(types, name, *ty)?;
        }
        for (name, expected) in &self.exports {
            check_export(types, scan, name, expected)?;
        }
        Ok(())
    }

    fn check_import(&self, types: TypesRef<'_>, name: &str, ty: ComponentEntityType) -> Result<(), Error> {
        let wanted = Versioned::of(name);
        if wanted.package() == "skep:agent" {
            return self.check_own(types, name, &wanted, ty);
        }
        if WASI_LINKED.contains(&wanted.package()) {
            return if wanted.is_compatible_with(WASI_VERSION) {
                Ok(())
            } else {
                Err(version(name, &wanted, WASI_VERSION))
            };
        }
        if NOT_GRANTED.contains(&wanted.package()) {
            return Err(Error::ImportNotGranted { import: shown(name, NAME_CHARS_MAX) });
        }
        // A type alone needs nothing of the host.
        if matches!(ty, ComponentEntityType::Type { .. }) {
            return Ok(());
        }
        Err(Error::ImportUnknown { import: shown(name, NAME_CHARS_MAX), closest: self.closest_import(name) })
    }

    fn closest_import(&self, name: &str) -> Option<String> {
        closest(name, self.imports.keys().map(String::as_str)).map(str::to_owned)
    }

    fn check_own(
        &self,
        types: TypesRef<'_>,
        name: &str,
        wanted: &Versioned<'_>,
        ty: ComponentEntityType,
    ) -> Result<(), Error> {
        let ours = self.imports.iter().find(|(known, _)| Versioned::of(known).path == wanted.path);
        let Some((known, functions)) = ours else {
            return Err(Error::ImportUnknown {
                import: shown(name, NAME_CHARS_MAX),
                closest: self.closest_import(name),
            });
        };
        let our_version = Versioned::of(known).version;
        if !wanted.is_compatible_with(our_version) {
            return Err(version(name, wanted, our_version));
        }
        for (function, found) in interface(types, ty).unwrap_or_default() {
            match functions.get(&function) {
                Some(expected) => same(&format!("import {name}.{function}"), expected, &found)?,
                // A later version of the same line may have more.
                None if wanted.version != our_version => return Err(version(name, wanted, our_version)),
                None => {
                    let closest = closest(&function, functions.keys().map(String::as_str)).map(str::to_owned);
                    let import = shown(&format!("{name}.{function}"), NAME_CHARS_MAX);
                    return Err(Error::ImportUnknown { import, closest });
                }
            }
        }
        Ok(())
    }
}

fn check_export(types: TypesRef<'_>, scan: &Scan, name: &str, expected: &Interface) -> Result<(), Error> {
    let wanted = Versioned::of(name);
    let found = scan.exports.iter().find(|(export, _)| Versioned::of(export).path == wanted.path);
    let Some((export, ty)) = found else {
        let names = || scan.exports.iter().map(|(name, _)| name.as_str());
        let closest = closest(name, names()).map(|name| shown(name, NAME_CHARS_MAX));
        return Err(Error::World { missing: name.to_owned(), found: list(names()), closest });
    };
    let version_found = Versioned::of(export);
    if !version_found.is_compatible_with(wanted.version) {
        return Err(version(export, &version_found, wanted.version));
    }
    let functions = interface(types, *ty).unwrap_or_default();
    for (function, expected) in expected {
        match functions.get(function) {
            Some(found) => same(&format!("export {name}.{function}"), expected, found)?,
            None => {
                let names = || functions.keys().map(String::as_str);
                let closest = closest(function, names()).map(|name| shown(name, NAME_CHARS_MAX));
                return Err(Error::World { missing: format!("{name}.{function}"), found: list(names()), closest });
            }
        }
    }
    Ok(())
}

fn same(function: &str, expected: &str, found: &str) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Signature {
        function: shown(function, NAME_CHARS_MAX),
        expected: shown(expected, SIGNATURE_CHARS_MAX),
        found: shown(found, SIGNATURE_CHARS_MAX),
    })
}

fn version(name: &str, wanted: &Versioned<'_>, supported: &str) -> Error {
    Error::WitVersion {
        wanted: shown(name, NAME_CHARS_MAX),
        supported: shown(&format!("{}@{supported}", wanted.path), NAME_CHARS_MAX),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<String> = names.map(|name| shown(name, NAME_CHARS_MAX)).collect();
    let more = all.len().saturating_sub(LISTED_MAX);
    all.truncate(LISTED_MAX);
    match (all.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => all.join(", "),
        (false, more) => format!("{} and {more} more", all.join(", ")),
    }
}

fn all_types(bytes: &[u8]) -> wasmparser::Result<Types> {
    Validator::new_with_features(features()).validate_all(bytes)
}

fn component_of(types: TypesRef<'_>, ty: ComponentEntityType) -> Option<wasmparser::component_types::ComponentTypeId> {
    let _ = types;
    match ty {
        ComponentEntityType::Component(id) => Some(id),
        ComponentEntityType::Type { referenced: ComponentAnyTypeId::Component(id), .. } => Some(id),
        _ => None,
    }
}

/// The functions of an instance; none if it is none.
fn interface(types: TypesRef<'_>, ty: ComponentEntityType) -> Option<Interface> {
    let ComponentEntityType::Instance(id) = ty else { return None };
    let functions = types.get(id)?.exports.iter().filter_map(|(name, item)| match item.ty {
        ComponentEntityType::Func(id) => Some((name.clone(), wit_text::function(types, types.get(id)?))),
        _ => None,
    });
    Some(functions.collect())
}

/// `package/interface@version`, taken apart. Without a version it is empty.
struct Versioned<'a> {
    path: &'a str,
    version: &'a str,
}

impl<'a> Versioned<'a> {
    fn of(name: &'a str) -> Self {
        let (path, version) = name.split_once('@').unwrap_or((name, ""));
        Self { path, version }
    }

    fn package(&self) -> &'a str {
        self.path.split_once('/').map_or(self.path, |(package, _)| package)
    }

    /// As the component model has it: 0.x.y if x is equal, from 1.0.0 on if the first number is.
    fn is_compatible_with(&self, other: &str) -> bool {
        match (line(self.version), line(other)) {
            (Some(one), Some(other)) => one == other,
            _ => self.version == other,
        }
    }
}

/// The numbers that must be equal for two versions to be compatible.
fn line(version: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = version.split(['-', '+']).next()?.split('.').map(|number| number.parse::<u64>().ok());
    match (numbers.next()??, numbers.next()??, numbers.next()??) {
        (0, 0, patch) => Some((0, 0, patch)),
        (0, minor, _) => Some((0, minor, 0)),
        (major, _, _) => Some((major, 0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_of_agents_is_known() {
        let world = World::of_agents().unwrap();
        let guest = &world.exports["skep:agent/guest@0.1.0"];
        assert_eq!(guest["describe"], "func() -> record { batch-max: u32, sdk: string }");
        assert_eq!(guest.len(), 5);
        let state = &world.imports["skep:agent/state@0.1.0"];
        assert_eq!(state["get"], "func(key: string) -> option<list<u8>>");
    }

    #[test]
    fn versions_are_compatible_as_the_component_model_says() {
        let compatible = |one: &str, other: &str| Versioned::of(&format!("a:b/c@{one}")).is_compatible_with(other);
        assert!(compatible("0.1.0", "0.1.9"));
        assert!(!compatible("0.2.0", "0.1.0"));
        assert!(!compatible("0.0.1", "0.0.2"));
        assert!(compatible("1.2.0", "1.9.3"));
        assert!(!compatible("2.0.0", "1.0.0"));
        assert!(!compatible("x", "1.0.0"));
    }
}
