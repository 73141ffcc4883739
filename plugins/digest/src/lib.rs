//! Computes SHA-256, bytes, lines and words of files that come as messages, and sends the results to a ledger. Never
//! reads a file itself and never holds more of one than a message brings. `../README.md` has its messages.

mod progress;
#[cfg(test)]
mod tests;

use progress::{Progress, Summary};
use skep_sdk::prelude::*;

/// Files begun and not finished: each is a key of the state.
const FILES_BEGUN_MAX: usize = 1_024;

#[data]
struct Settings {
    ledger: Option<Address>,
    trap_on: Option<String>,
}

#[agent]
#[derive(Default)]
struct Digest {
    ledger: Option<Address>,
    trap_on: Option<String>,
}

/// A whole file.
#[message(raw, reply = Summary)]
struct File(Vec<u8>);

/// A part of a file.
#[message(raw, reply = Option<Summary>)]
struct Part(Vec<u8>);

#[message(reply = u32)]
struct Version;

/// A result, for the ledger.
#[message]
struct Record(Summary);

#[handlers]
impl Digest {
    fn start(&mut self, settings: Settings) {
        self.ledger = settings.ledger;
        self.trap_on = settings.trap_on;
    }

    fn file(&self, ctx: &mut Context, File(bytes): File) -> Result<Summary> {
        let path = self.path(ctx)?;
        let mut progress = Progress::default();
        progress.add(&bytes);
        self.finish(ctx, path, progress)
    }

    fn part(&self, ctx: &mut Context, Part(bytes): Part) -> Result<Option<Summary>> {
        let path = self.path(ctx)?;
        let (part, parts) = (number(ctx, "part")?, number(ctx, "parts")?);
        if part >= parts {
            return Err(Refusal::Invalid(format!("{path}: part {part} of {parts}, parts are counted from 0")));
        }
        let key = key(&path);
        let begun = ctx.state().get::<Progress>(&key)?;
        if begun.is_none() && part == 0 && ctx.state().scan::<Bytes>("begun/").count() >= FILES_BEGUN_MAX {
            return Err(Refusal::Unavailable(format!("{FILES_BEGUN_MAX} files are begun already")));
        }
        let mut progress = begun.unwrap_or_default();
        if part > progress.parts() {
            return Err(Refusal::Unavailable(format!("{path}: part {part} came before part {}", progress.parts())));
        }
        if part < progress.parts() {
            return Ok(None);
        }
        progress.add(&bytes);
        if progress.parts() < parts {
            ctx.state().put(&key, &progress)?;
            return Ok(None);
        }
        ctx.state().delete(&key)?;
        self.finish(ctx, path, progress).map(Some)
    }

    fn version(&self, _: Version) -> u32 {
        progress::VERSION
    }
}

impl Digest {
    /// The file that a message is about. Traps if that is what it was told to do.
    fn path(&self, ctx: &Context) -> Result<String> {
        let headers = ctx.meta().map(|meta| meta.headers).unwrap_or_default();
        let header = |name| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let path = header("path").ok_or_else(|| Refusal::Invalid("there is no header `path`".to_owned()))?;
        let told_to = header("trap").as_deref() == Some("once") || self.trap_on.as_deref() == Some(path.as_str());
        if told_to && ctx.attempt() == 1 {
            warn!(path = path, "trapping on purpose");
            std::process::abort();
        }
        Ok(path)
    }

    fn finish(&self, ctx: &mut Context, path: String, progress: Progress) -> Result<Summary> {
        let record = Record(progress.finish(path));
        if let Some(ledger) = &self.ledger {
            ctx.send(ledger, &record)?;
        }
        Ok(record.0)
    }
}

fn number(ctx: &Context, name: &str) -> Result<u32> {
    let text = ctx.header(name).ok_or_else(|| Refusal::Invalid(format!("there is no header `{name}`")))?;
    text.parse().map_err(|_| Refusal::Invalid(format!("the header `{name}` is no number: {text:?}")))
}

/// A key has 512 bytes at most, so a path is known by its digest.
fn key(path: &str) -> String {
    format!("begun/{}", progress::sha256(path.as_bytes()))
}
