//! Types of components as WIT would write them, with names of types resolved to what they are: two types are the same
//! if their texts are. Never compares anything itself.

use std::fmt::Write as _;

use wasmparser::component_types::{ComponentDefinedType, ComponentFuncType, ComponentValType};
use wasmparser::types::TypesRef;

/// How deep a type may be: deeper ones are cut, so a hostile file cannot use up the stack.
const DEPTH_MAX: usize = 32;
/// The longest text of a type, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// A function's type.
pub(crate) fn function(types: TypesRef<'_>, function: &ComponentFuncType) -> String {
    let mut text = Text { types, out: String::new() };
    text.out.push_str(if function.async_ { "async func(" } else { "func(" });
    let params = function.params.iter().map(|(name, ty)| (name.as_str(), Some(*ty)));
    text.fields(params, 0);
    text.out.push(')');
    if let Some(result) = &function.result {
        text.out.push_str(" -> ");
        text.value(result, 0);
    }
    text.out
}

struct Text<'a> {
    types: TypesRef<'a>,
    out: String,
}

impl Text<'_> {
    fn value(&mut self, ty: &ComponentValType, depth: usize) {
        if depth > DEPTH_MAX || self.out.len() > TEXT_BYTES_MAX {
            self.out.push('…');
            return;
        }
        match ty {
            ComponentValType::Primitive(primitive) => {
                let _ = write!(self.out, "{primitive}");
            }
            ComponentValType::Type(id) => match self.types.get(*id) {
                Some(defined) => self.defined(&defined.clone(), depth + 1),
                None => self.out.push('?'),
            },
        }
    }

    fn defined(&mut self, ty: &ComponentDefinedType, depth: usize) {
        match ty {
            ComponentDefinedType::Primitive(primitive) => {
                let _ = write!(self.out, "{primitive}");
            }
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| (name.as_str(), Some(*ty)));
                self.braced("record", fields, depth);
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| (name.as_str(), case.ty));
                self.variant(cases, depth);
            }
            ComponentDefinedType::Flags(names) => {
                self.braced("flags", names.iter().map(|name| (name.as_str(), None)), depth)
            }
            ComponentDefinedType::Enum(names) => {
                self.braced("enum", names.iter().map(|name| (name.as_str(), None)), depth)
            }
            ComponentDefinedType::List { element: ty, .. } => self.wrapped("list", [Some(ty)], depth),
            ComponentDefinedType::Option { ty, .. } => self.wrapped("option", [Some(ty)], depth),
            ComponentDefinedType::Tuple(tuple) => self.wrapped("tuple", tuple.types.iter().map(Some), depth),
            ComponentDefinedType::Result { ok, err, .. } => self.wrapped("result", [ok.as_ref(), err.as_ref()], depth),
            ComponentDefinedType::Own(_) => self.out.push_str("own<resource>"),
            ComponentDefinedType::Borrow(_) => self.out.push_str("borrow<resource>"),
            _ => self.out.push_str("a type of a newer component model"),
        }
    }

    fn wrapped<'t>(&mut self, word: &str, types: impl IntoIterator<Item = Option<&'t ComponentValType>>, depth: usize) {
        self.out.push_str(word);
        self.out.push('<');
        for (count, ty) in types.into_iter().enumerate() {
            if count > 0 {
                self.out.push_str(", ");
            }
            match ty {
                Some(ty) => self.value(ty, depth),
                None => self.out.push('_'),
            }
        }
        self.out.push('>');
    }

    fn braced<'t>(
        &mut self,
        word: &str,
        fields: impl Iterator<Item = (&'t str, Option<ComponentValType>)>,
        depth: usize,
    ) {
        self.out.push_str(word);
        self.out.push_str(" { ");
        self.fields(fields, depth);
        self.out.push_str(" }");
    }

    fn fields<'t>(&mut self, fields: impl Iterator<Item = (&'t str, Option<ComponentValType>)>, depth: usize) {
        for (count, (name, ty)) in fields.enumerate() {
            self.comma(count);
            self.out.push_str(name);
            if let Some(ty) = ty {
                self.out.push_str(": ");
                self.value(&ty, depth);
            }
        }
    }

    fn variant<'t>(&mut self, cases: impl Iterator<Item = (&'t str, Option<ComponentValType>)>, depth: usize) {
        self.out.push_str("variant { ");
        for (count, (name, ty)) in cases.enumerate() {
            self.comma(count);
            self.out.push_str(name);
            if let Some(ty) = ty {
                self.out.push('(');
                self.value(&ty, depth);
                self.out.push(')');
            }
        }
        self.out.push_str(" }");
    }

    fn comma(&mut self, count: usize) {
        if count > 0 {
            self.out.push_str(", ");
        }
    }
}
