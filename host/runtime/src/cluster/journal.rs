//! Which journal the rows of this host are of, and where the rows of this life of the host begin. A place on a link means
//! the same for ever because no row is ever given twice. Never a row itself.

use serde::{Deserialize, Serialize};
use skep_core::{AgentId, Bytes, MessageId};
use skep_store::{Commit, Error as StoreError, Space, Sync, Write};

use crate::hive::Hive;
use crate::record::{decode, encode};

/// Where the record is.
const KEY: &[u8] = b"journal";
/// Rows of one life of the host: at half a million a second it lasts for a year. It leaves 524,288 lives.
const ROWS_PER_LIFE_BITS: u32 = 44;

#[derive(Serialize, Deserialize)]
struct JournalRecord {
    journal: u64,
    /// Counts the lives of the host.
    epoch: u64,
}

/// What a life of the host begins with.
pub(super) struct Begun {
    pub(super) journal: u64,
    pub(super) first_row: u64,
    /// The journal outlives this process.
    pub(super) is_kept: bool,
}

/// A number for a journal that nobody else has by accident.
fn random(hive: &Hive) -> u64 {
    let seed = format!("{} {} {}", hive.spec.name, std::process::id(), hive.clock.wall_ns());
    let address = std::ptr::from_ref(hive) as usize;
    MessageId::of_text("journal", &format!("{seed} {address}")).0 as u64
}

fn write(record: &JournalRecord) -> Write {
    let (space, owner, key) = (Space::Hive, AgentId::OUTSIDE, Bytes::from_static(KEY));
    Write::Put { space, owner, key, value: encode(record, b"") }
}

/// Another number for the journal, from now on.
pub(super) fn renew(hive: &Hive) -> u64 {
    let journal = random(hive);
    let epoch = hive.committer.as_ref().map_or(0, |committer| committer.last_row() >> ROWS_PER_LIFE_BITS);
    hive.commit_later(vec![write(&JournalRecord { journal, epoch })]);
    journal
}

/// Begins a life: its epoch is on disk before a row of it is given.
pub(super) fn begin(hive: &Hive) -> Result<Begun, StoreError> {
    let Some(store) = hive.store() else {
        return Ok(Begun { journal: random(hive), first_row: 0, is_kept: false });
    };
    let kept = store.get(Space::Hive, AgentId::OUTSIDE, &[Bytes::from_static(KEY)])?.pop().flatten();
    let before = kept.map(|value| decode::<JournalRecord>("journal", &value)).transpose();
    let before =
        before.map_err(|error| StoreError::Corrupt { place: "journal".to_owned(), detail: error.to_string() })?;
    let (journal, epoch) = before.map_or_else(|| (random(hive), 0), |(record, _)| (record.journal, record.epoch));
    let record = JournalRecord { journal, epoch: epoch + 1 };
    store.commit(&Commit { writes: vec![write(&record)], sync: Sync::Power })?;
    let first_row = record.epoch << ROWS_PER_LIFE_BITS;
    if let Some(committer) = &hive.committer {
        committer.rows_from(first_row + 1);
    }
    Ok(Begun { journal, first_row, is_kept: true })
}
