//! What a file looks like, from its first bytes: so that a wrong file is called what it is. Never whether it is valid.

use crate::error::Error;

/// Every WebAssembly binary begins so.
const MAGIC: &[u8] = b"\0asm";
/// The version and layer of a core module.
const MODULE: [u8; 4] = [1, 0, 0, 0];
/// Magic, version and layer.
const HEADER_BYTES: usize = 8;

/// Whether the bytes begin as a component does.
pub(crate) fn like_component(bytes: &[u8]) -> Result<(), Error> {
    let truncated = || Error::Corrupt { offset: bytes.len() as u64, cause: "the header has 8 bytes".to_owned() };
    if bytes.len() < HEADER_BYTES && MAGIC.starts_with(bytes.get(..4).unwrap_or(bytes)) {
        return Err(truncated());
    }
    if !bytes.starts_with(MAGIC) {
        return Err(other(bytes));
    }
    match bytes.get(4..HEADER_BYTES) {
        None => Err(truncated()),
        Some(version) if version == MODULE => Err(Error::CoreModule),
        // The last two bytes are the layer: 1 is that of components.
        Some(version) if version.get(2..) == Some(&[1, 0]) => Ok(()),
        Some(_) => Err(Error::NotWasm { looks_like: "WebAssembly of a version that is not known" }),
    }
}

fn other(bytes: &[u8]) -> Error {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(1_024)).unwrap_or_default());
    let start = text.map_or_else(|error| error.valid_up_to(), str::len);
    let text = bytes.get(..start).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default().trim_start();
    let lower = text.get(..text.len().min(64)).unwrap_or(text).to_ascii_lowercase();
    if lower.starts_with("(component") || lower.starts_with("(module") || lower.starts_with(";;") {
        return Error::Text;
    }
    Error::NotWasm { looks_like: binary(bytes).unwrap_or_else(|| textual(&lower, text)) }
}

fn binary(bytes: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 9] = [
        (b"\x7fELF", "an ELF program or library"),
        (b"MZ", "a Windows program"),
        (b"\xcf\xfa\xed\xfe", "a macOS program"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"BZh", "a bzip2 file"),
        (b"\x89PNG", "a picture"),
        (b"%PDF", "a PDF file"),
    ];
    known.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}

fn textual(lower: &str, text: &str) -> &'static str {
    if lower.starts_with("#!") {
        "a script"
    } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "an HTML page, perhaps a registry's login page"
    } else if lower.starts_with('<') {
        "XML"
    } else if lower.starts_with('{') || lower.starts_with('[') {
        "JSON"
    } else if lower.starts_with("package ") || lower.starts_with("interface ") || lower.starts_with("world ") {
        "WIT text"
    } else if text.is_empty() {
        "binary data of an unknown kind"
    } else {
        "text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> &'static str {
        like_component(bytes).unwrap_err().code()
    }

    #[test]
    fn refuses_what_is_cut_short() {
        for length in 0..8 {
            assert_eq!(code(&b"\0asm\x0d\0\x01\0"[..length]), "E_PLUGIN_CORRUPT", "{length}");
        }
        assert!(like_component(b"\0asm\x0d\0\x01\0").is_ok());
    }

    #[test]
    fn refuses_other_files_by_their_names() {
        let cases: [(&[u8], &str); 9] = [
            (b"\x7fELF\x02\x01\x01\0\0", "an ELF program or library"),
            (b"#!/bin/sh\nexit 0\n", "a script"),
            (b"\n<!DOCTYPE html><html>", "an HTML page, perhaps a registry's login page"),
            (b"PK\x03\x04\x14\0\0\0", "a zip archive"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "a gzip file"),
            (b"{\"errors\": [1]}", "JSON"),
            (b"package a:b;\n", "WIT text"),
            (b"hello there", "text"),
            (b"\xff\xfe\0\x01\x02\x03\x04\x05", "binary data of an unknown kind"),
        ];
        for (bytes, name) in cases {
            match like_component(bytes) {
                Err(Error::NotWasm { looks_like }) => assert_eq!(looks_like, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn core_modules_and_text_have_their_own_codes() {
        assert_eq!(code(b"\0asm\x01\0\0\0"), "E_PLUGIN_CORE_MODULE");
        assert_eq!(code(b"  (component)"), "E_PLUGIN_TEXT");
        assert_eq!(code(b"(module $m)"), "E_PLUGIN_TEXT");
    }
}
