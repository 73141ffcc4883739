//! Bodies of messages from the command line: as they are, from stdin, or from a file. Never larger than a message may be.

use std::io::Read;

use hyper::body::Bytes;

use super::Context;
use crate::failure::{Failure, Outcome};

/// The most that is read for one body, in bytes: the largest that a hive can allow is far below.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// `-` is stdin, `@FILE` a file, anything else is the body itself. Who writes it may take as long as the command may.
pub(super) fn body(context: &Context, text: String) -> Outcome<Bytes> {
    context.blocking(move || read_body(&text))
}

fn read_body(text: &str) -> Outcome<Bytes> {
    match text.strip_prefix('@') {
        Some(path) => {
            let what = skep_core::name::shown(path, 256);
            let file = std::fs::File::open(path).map_err(|error| Failure::io(&what, &error))?;
            read(file, &what)
        }
        None if text == "-" => read(std::io::stdin().lock(), "stdin"),
        None => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// The JSON of a file.
pub(super) fn json_file(context: &Context, path: std::path::PathBuf) -> Outcome<serde_json::Value> {
    let what = skep_core::name::shown(&path.to_string_lossy(), 256);
    let bytes = context.blocking({
        let what = what.clone();
        move || read(std::fs::File::open(&path).map_err(|error| Failure::io(&what, &error))?, &what)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::usage(format!("{what} is no JSON: {error}")))
}

/// The channels that there are, for the parser of the command line.
pub(super) fn channels() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(skep_core::Channel::ALL.map(skep_core::Channel::name))
}

/// Headers given as NAME=VALUE.
pub(super) fn headers(texts: Vec<String>) -> Outcome<Vec<(String, String)>> {
    let pair = |text: String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => {
            let shown = skep_core::name::shown(&text, 64);
            Err(Failure::usage(format!("--header {shown} is not NAME=VALUE")))
        }
    };
    texts.into_iter().map(pair).collect()
}

fn read(from: impl Read, what: &str) -> Outcome<Bytes> {
    let mut bytes = Vec::new();
    from.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| Failure::io(what, &error))?;
    if bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(Failure::new("E_TOO_LARGE", format!("{what} is larger than {BODY_BYTES_MAX} bytes")));
    }
    Ok(bytes.into())
}
