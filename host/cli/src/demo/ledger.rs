//! What the ledger says at the end: totals, figures by extension, and every file, page by page. Never what it should say.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::types::MessageQuery;
use crate::client::{Connection, Outgoing};
use crate::failure::{Failure, Outcome};

/// How long the ledger may take to have had all results.
const WAIT: Duration = Duration::from_secs(60);
/// Rows of a page.
const PAGE_ROWS: u32 = 1_000;

/// All that it has.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Totals {
    pub(super) files: u64,
    pub(super) deliveries: u64,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) words: u64,
    /// Deliveries by the version that computed them.
    pub(super) versions: Vec<(u32, u64)>,
}

/// What it has of one extension.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ExtensionRow {
    pub(super) extension: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) words: u64,
}

/// What it has of one file.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FileRow {
    pub(super) path: String,
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) words: u64,
    pub(super) deliveries: u64,
}

#[derive(Deserialize)]
struct Page<T> {
    rows: Vec<T>,
    next: Option<Value>,
}

/// A talk with the ledger.
pub(super) struct Ledger {
    connection: Connection,
}

impl Ledger {
    pub(super) async fn open(data: &Path) -> Outcome<Self> {
        Ok(Self { connection: Connection::open(data).await? })
    }

    /// The totals, when so many results have come, or as they are after a minute.
    pub(super) async fn totals_of(&mut self, deliveries: usize) -> Outcome<Totals> {
        match self.ask("wait", &json!({ "deliveries": deliveries })).await {
            Err(failure) if failure.code == "E_TIMEOUT" => self.ask("totals", &Value::Null).await,
            totals => totals,
        }
    }

    /// Figures by extension.
    pub(super) async fn extensions(&mut self) -> Outcome<Vec<ExtensionRow>> {
        let mut all = Vec::new();
        self.pages("report", |row| all.push(row)).await?;
        Ok(all)
    }

    /// Every file, one after another.
    pub(super) async fn files(&mut self, each: impl FnMut(FileRow)) -> Outcome {
        self.pages("files", each).await
    }

    async fn pages<T: DeserializeOwned>(&mut self, kind: &str, mut each: impl FnMut(T)) -> Outcome {
        let mut after = Value::Null;
        loop {
            let page: Page<T> = self.ask(kind, &json!({ "after": after, "limit": PAGE_ROWS })).await?;
            page.rows.into_iter().for_each(&mut each);
            match page.next {
                None | Some(Value::Null) => return Ok(()),
                Some(next) if next == after => {
                    return Err(Failure::new("E_DEMO_FAILED", "the ledger gives the same page for ever"));
                }
                Some(next) => after = next,
            }
        }
    }

    async fn ask<T: DeserializeOwned>(&mut self, kind: &str, body: &Value) -> Outcome<T> {
        let query = MessageQuery {
            kind: kind.to_owned(),
            timeout_ms: u64::try_from(WAIT.as_millis()).ok(),
            ..MessageQuery::default()
        };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let message = Outgoing { query, headers: Vec::new(), body: body.into() };
        let reply = self.connection.ask("ledger", &message).await?;
        serde_json::from_slice(&reply)
            .map_err(|error| Failure::new("E_DEMO_FAILED", format!("the ledger's {kind} is not understood: {error}")))
    }
}
