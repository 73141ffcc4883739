//! Sessions as an operator or an embedder handles them: opened, looked at, also after they have ended.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use skep_core::session::Record;
use skep_core::spec::{AgentSpec, Budget, Durability, Grants, Restart};
use skep_core::{AgentId, Bytes, Channel, Lineage, Name};
use skep_store::{Space, Store};

use super::course::LogEntry;
use super::declaration::SessionSpec;
use super::kept::{self, BooksRecord, EndedRecord, OpenedRecord, SessionView};
use super::mail;
use super::rules::Rules;
use crate::error::Error;
use crate::hive::Hive;
use crate::host::Host;
use crate::outside::AskOptions;

/// How long a session that runs may take to say how it is.
const VIEW_TIME_MAX: Duration = Duration::from_secs(1);
/// Beside one ask and one monitor for each member.
const HANDLES_SPARE: u32 = 1_000;
/// The log is read in pages of this size.
const PAGE_BYTES_MAX: usize = 1 << 20;

impl Host {
    /// Opens a session of a protocol, which is named by its plugin or by what it calls itself. Returns when its first step
    /// stands. With a data directory it is as durable as that.
    ///
    /// # Errors
    /// No such protocol, a name that is or was a session's or an agent's, or a declaration that the protocol refuses.
    pub async fn open_session(&self, name: &str, protocol: &str, spec: &SessionSpec) -> Result<(), Error> {
        let hive = self.hive();
        let session = name;
        let name = Name::new(name).map_err(|bad| Error::Session(bad.to_string()))?;
        let (plugin, rules) = protocol_of(hive, protocol)?;
        // Before anything is there that would have to go again.
        spec.info(session, &rules, Lineage(0)).map_err(Error::Session)?;
        if hive.directory.at_rest(&name).is_some() {
            return Err(Error::AlreadyPresent(name));
        }
        let members = u32::try_from(spec.members.len()).unwrap_or(u32::MAX);
        let budget =
            Budget { handles_max: members.saturating_mul(2).saturating_add(HANDLES_SPARE), ..Budget::default() };
        let grants = Grants {
            channels: vec![Channel::Coordination],
            send_to: spec.members.iter().map(|member| member.id.clone()).collect(),
            ..Grants::default()
        };
        let durability = if hive.committer.is_some() { Durability::Full } else { Durability::None };
        let agent = AgentSpec {
            config_json: spec.to_json(),
            durability,
            restart: Restart::Transient,
            grants,
            budget,
            ..AgentSpec::new(name, plugin)
        };
        match self.spawn(None, agent).await {
            // It may have ended in its first step.
            Err(error @ Error::StartFailed { .. }) => self.ended_session(session)?.map(drop).ok_or(error),
            opened => opened.map(drop),
        }
    }

    /// Waits for a session to end, and gives its one record.
    ///
    /// # Errors
    /// No such session, or it did not end in this time.
    pub async fn outcome(&self, session: &str, options: AskOptions) -> Result<Record, Error> {
        if let Some(ended) = self.ended_session(session)? {
            return Ok(ended.record);
        }
        self.running_session(session)?;
        match self.ask(session, mail::OUTCOME, Bytes::from_static(b"null"), options).await {
            Ok(record) => kept::record_from_json(&record).map_err(Error::Session),
            // It may have ended between the two.
            Err(error @ (Error::NoAgent { .. } | Error::Ask { .. } | Error::Send { .. })) => {
                self.ended_session(session)?.map(|ended| ended.record).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Calls a session off; how it ends is its protocol's decision.
    ///
    /// # Errors
    /// No such session, or it has ended.
    pub async fn cancel_session(&self, session: &str, why: &str, options: AskOptions) -> Result<(), Error> {
        if self.ended_session(session)?.is_some() {
            return Err(Error::SessionEnded(skep_core::name::shown(session, 128)));
        }
        self.running_session(session)?;
        let body = Bytes::copy_from_slice(why.as_bytes());
        self.ask(session, mail::CANCEL, body, options).await.map(drop)
    }

    /// How a session is, or was.
    ///
    /// # Errors
    /// No such session.
    pub async fn session(&self, session: &str) -> Result<SessionView, Error> {
        if let Some(ended) = self.ended_session(session)? {
            return Ok(ended.view());
        }
        self.running_session(session)?;
        let options = AskOptions { timeout: VIEW_TIME_MAX, ..AskOptions::default() };
        match self.ask(session, mail::VIEW, Bytes::from_static(b"null"), options).await {
            Ok(view) => kept::from_bytes("view", &view).map_err(Error::Session),
            // It may have ended between the two, or be busy.
            Err(error @ (Error::NoAgent { .. } | Error::Ask { .. } | Error::Send { .. })) => {
                let ended = self.ended_session(session)?.map(|ended| ended.view());
                ended.or(self.opened_session(session)?).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The names of sessions, those that run and those that are kept, after a name; at most so many.
    pub fn sessions(&self, after: Option<&str>, count_max: usize) -> Vec<String> {
        let hive = self.hive();
        let running = hive.directory.all().into_iter().filter(|cell| cell.component.lock().protocol().is_some());
        let after = after.unwrap_or_default();
        let names = running.map(|cell| cell.name.clone()).filter(|name| name.as_str() > after);
        let mut found: Vec<Name> = names.collect();
        found.extend(hive.directory.sessions_after(after, count_max));
        found.extend(hive.ended_sessions.after(after, count_max));
        found.sort_unstable();
        found.dedup();
        found.truncate(count_max);
        found.iter().map(ToString::to_string).collect()
    }

    /// The log of a session that is kept on disk, from an envelope on; at most so many entries.
    ///
    /// # Errors
    /// No such session, or the store cannot be read.
    pub fn session_log(&self, session: &str, from_seq: u64, count_max: usize) -> Result<Vec<LogEntry>, Error> {
        if self.ended_session(session)?.is_none() {
            self.running_session(session)?;
        }
        let Some((store, id)) = self.kept(session) else { return Err(no_session(session)) };
        let mut after = from_seq.checked_sub(1).map(kept::log_key);
        let mut entries = Vec::new();
        loop {
            let page = store.scan(Space::State, id, kept::LOG, after.as_deref(), PAGE_BYTES_MAX)?;
            after = page.entries.last().map(|entry| entry.key.clone());
            for entry in page.entries {
                if entries.len() >= count_max {
                    return Ok(entries);
                }
                entries.push(kept::from_bytes("log", &entry.value).map_err(Error::Session)?);
            }
            if !page.more || after.is_none() {
                return Ok(entries);
            }
        }
    }

    /// Where the store has a session, whether it runs or is at rest.
    fn kept(&self, session: &str) -> Option<(Arc<dyn Store>, AgentId)> {
        let hive = self.hive();
        let name = Name::new(session).ok()?;
        let id = hive.directory.resolve(&name).or_else(|| hive.directory.at_rest(&name))?;
        Some((hive.store()?, id))
    }

    /// Whether the agent of this name is a session.
    fn running_session(&self, session: &str) -> Result<(), Error> {
        let cell = self.hive().directory.find(session)?;
        let is_session = cell.component.lock().protocol().is_some();
        if is_session { Ok(()) } else { Err(no_session(session)) }
    }

    /// What is on the disk of a session that is too busy to say how it is.
    fn opened_session(&self, session: &str) -> Result<Option<SessionView>, Error> {
        let Some((store, id)) = self.kept(session) else { return Ok(None) };
        let keys = [kept::OPENED, kept::BOOKS].map(Bytes::from_static);
        let mut values = store.get(Space::State, id, &keys)?.into_iter().flatten();
        let (Some(opened), Some(books)) = (values.next(), values.next()) else { return Ok(None) };
        let opened: OpenedRecord = kept::from_bytes("opening", &opened).map_err(Error::Session)?;
        let books: BooksRecord = kept::from_bytes("books", &books).map_err(Error::Session)?;
        Ok(Some(opened.view(books.books.events(), None, Value::Null)))
    }

    /// A session that has ended.
    fn ended_session(&self, session: &str) -> Result<Option<EndedRecord>, Error> {
        if let Some((store, id)) = self.kept(session) {
            let value = store.get(Space::State, id, &[Bytes::from_static(kept::OUTCOME)])?.pop().flatten();
            if let Some(value) = value {
                return kept::from_bytes("outcome", &value).map(Some).map_err(Error::Session);
            }
        }
        let name = Name::new(session).ok();
        Ok(name.and_then(|name| self.hive().ended_sessions.get(&name)).map(|ended| EndedRecord::clone(&ended)))
    }
}

fn no_session(text: &str) -> Error {
    Error::NoAgent { agent: skep_core::name::shown(text, 128), similar: None }
}

/// By the name of its plugin, or by its own.
fn protocol_of(hive: &Hive, text: &str) -> Result<(Name, Rules), Error> {
    let plugins = hive.plugins.read();
    let protocols = plugins.iter().filter_map(|(name, entry)| Some((name, entry.component.protocol()?)));
    let mut named = protocols.filter(|(name, rules)| name.as_str() == text || rules.protocol.manifest().name == text);
    let found = named.next().map(|(name, rules)| (name.clone(), rules.clone()));
    found.ok_or_else(|| Error::NoProtocol(skep_core::name::shown(text, 128)))
}
