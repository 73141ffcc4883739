//! A message as a row of the table `message`, and back. It knows columns, never when they are written.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement};
use skep_core::form::{FailureForm, RareForm};
use skep_core::name::shown;
use skep_core::{AgentId, Channel, Class, Message, MessageId, Name, Rare, Seq};

use super::sum::Sum;
use crate::store::{Error, StoredMessage};

/// Puts a message. On a row that is taken it changes the row if it holds the same message, else nothing.
pub(super) const PUT: &str = "
    INSERT INTO message (row, receiver, sender, id, kind, channel, class, deadline_ns, ask, detail, failed_turns, hops,
        accepted_ns, sum, rare, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
    ON CONFLICT (row) DO UPDATE SET receiver = ?2, sender = ?3, kind = ?5, channel = ?6, class = ?7, deadline_ns = ?8,
        ask = ?9, detail = ?10, failed_turns = ?11, hops = ?12, accepted_ns = ?13, sum = ?14, rare = ?15, body = ?16
    WHERE id = ?4";

/// Messages after a row, in order.
pub(super) const SCAN: &str = "
    SELECT row, receiver, sender, id, kind, channel, class, deadline_ns, ask, detail, failed_turns, hops, accepted_ns,
        sum, rare, body
    FROM message WHERE row > ?1 ORDER BY row LIMIT ?2";

/// The numbers of the column `class`. They are part of the format.
mod class {
    pub(super) const TELL: u8 = 0;
    pub(super) const ASK: u8 = 1;
    pub(super) const CALL: u8 = 2;
    pub(super) const ANSWER: u8 = 3;
    pub(super) const TIMER: u8 = 4;
    pub(super) const DOWN: u8 = 5;
    pub(super) const PUBLISHED: u8 = 6;
}

/// The columns that depend on the class of a message.
struct ClassColumns<'m> {
    class: u8,
    deadline_ns: Option<u64>,
    ask: Option<MessageId>,
    detail: Option<Cow<'m, str>>,
}

/// Binds a message to [`PUT`].
pub(super) fn bind(put: &mut Statement<'_>, row: Seq, to: AgentId, message: &Message) -> Result<(), Error> {
    let columns = class_columns(&message.class)?;
    let rare = message.rare.as_deref().map(|rare| json(&RareForm::from(rare))).transpose()?;
    let sum = sum_of(row, to, message, &columns, rare.as_deref());
    let bound = bind_all(put, (row, to, message), &columns, rare.as_deref(), sum);
    bound.map_err(|problem| Error::Fatal(shown(&problem.to_string(), 256)))
}

fn bind_all(
    put: &mut Statement<'_>,
    (row, to, message): (Seq, AgentId, &Message),
    columns: &ClassColumns<'_>,
    rare: Option<&str>,
    sum: i64,
) -> rusqlite::Result<()> {
    put.raw_bind_parameter(1, row.0.cast_signed())?;
    put.raw_bind_parameter(2, to.0)?;
    put.raw_bind_parameter(3, message.sender.0)?;
    put.raw_bind_parameter(4, message.id.0.to_be_bytes())?;
    put.raw_bind_parameter(5, message.kind.as_str())?;
    put.raw_bind_parameter(6, message.channel as u8)?;
    put.raw_bind_parameter(7, columns.class)?;
    put.raw_bind_parameter(8, columns.deadline_ns.map(u64::cast_signed))?;
    put.raw_bind_parameter(9, columns.ask.map(|ask| ask.0.to_be_bytes()))?;
    put.raw_bind_parameter(10, columns.detail.as_deref())?;
    put.raw_bind_parameter(11, message.failed_turns)?;
    put.raw_bind_parameter(12, message.hops)?;
    put.raw_bind_parameter(13, message.accepted_ns.cast_signed())?;
    put.raw_bind_parameter(14, sum)?;
    put.raw_bind_parameter(15, rare)?;
    put.raw_bind_parameter(16, message.body.as_ref())
}

fn class_columns(class: &Class) -> Result<ClassColumns<'_>, Error> {
    let plain = |class| ClassColumns { class, deadline_ns: None, ask: None, detail: None };
    Ok(match class {
        Class::Tell => plain(class::TELL),
        Class::Down => plain(class::DOWN),
        Class::Ask { deadline_ns, blocking } => {
            let class = if *blocking { class::CALL } else { class::ASK };
            ClassColumns { deadline_ns: Some(*deadline_ns), ..plain(class) }
        }
        Class::Answer { ask, failure } => {
            let failure = failure.as_deref().map(|failure| json(&FailureForm::from(failure))).transpose()?;
            ClassColumns { ask: Some(*ask), detail: failure.map(Cow::Owned), ..plain(class::ANSWER) }
        }
        Class::Timer { missed } => ClassColumns { detail: Some(Cow::Owned(missed.to_string())), ..plain(class::TIMER) },
        Class::Published { topic } => ClassColumns { detail: Some(Cow::Borrowed(topic)), ..plain(class::PUBLISHED) },
    })
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|problem| Error::Invalid(problem.to_string()))
}

fn sum_of(row: Seq, to: AgentId, message: &Message, columns: &ClassColumns<'_>, rare: Option<&str>) -> i64 {
    let (id, ask) = (message.id.halves(), columns.ask.map_or((0, 0), MessageId::halves));
    let numbers = [
        row.0,
        u64::from(to.0),
        u64::from(message.sender.0),
        id.0,
        id.1,
        message.channel as u64,
        u64::from(columns.class),
        columns.deadline_ns.unwrap_or(0),
        ask.0,
        ask.1,
        u64::from(message.failed_turns),
        u64::from(message.hops),
        message.accepted_ns,
    ];
    Sum::of_numbers(&numbers)
        .bytes(message.kind.as_str().as_bytes())
        .bytes(columns.detail.as_deref().unwrap_or("").as_bytes())
        .bytes(rare.unwrap_or("").as_bytes())
        .bytes(&message.body)
        .value()
}

/// Why a row is not a message.
enum Bad {
    /// The database's own words.
    Sqlite(rusqlite::Error),
    /// The column that holds what it cannot.
    Column(&'static str),
}

impl From<rusqlite::Error> for Bad {
    fn from(problem: rusqlite::Error) -> Self {
        Self::Sqlite(problem)
    }
}

/// Reads a row of [`SCAN`].
pub(super) fn read(row: &Row<'_>) -> Result<StoredMessage, Error> {
    read_columns(row).map_err(|bad| Error::Corrupt {
        place: row.get(0).map_or_else(|_| "a message".to_owned(), |row: i64| format!("message {row}")),
        detail: match bad {
            Bad::Sqlite(problem) => shown(&problem.to_string(), 256),
            Bad::Column("sum") => "its sum does not match its content".to_owned(),
            Bad::Column(column) => format!("column {column} holds what it cannot"),
        },
    })
}

fn read_columns(row: &Row<'_>) -> Result<StoredMessage, Bad> {
    let place = Seq(row.get::<_, i64>(0)?.cast_unsigned());
    let to = AgentId(row.get(1)?);
    let columns = ClassColumns {
        class: row.get(6)?,
        deadline_ns: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        ask: id_or_null(row, 8)?,
        detail: row.get_ref(9)?.as_str_or_null().map_err(|_| Bad::Column("detail"))?.map(Cow::Borrowed),
    };
    let rare = row.get_ref(14)?.as_str_or_null().map_err(|_| Bad::Column("rare"))?;
    let message = Message {
        id: id_or_null(row, 3)?.ok_or(Bad::Column("id"))?,
        sender: AgentId(row.get(2)?),
        kind: Name::new(text(row, 4)?).map_err(|_| Bad::Column("kind"))?,
        channel: Channel::from_number(row.get(5)?).ok_or(Bad::Column("channel"))?,
        class: class_of(&columns)?,
        failed_turns: row.get(10)?,
        hops: row.get(11)?,
        accepted_ns: row.get::<_, i64>(12)?.cast_unsigned(),
        row: Some(place),
        body: Bytes::copy_from_slice(row.get_ref(15)?.as_blob().map_err(|_| Bad::Column("body"))?),
        rare: rare.map(rare_of).transpose()?,
    };
    let sum: Option<i64> = row.get(13)?;
    if sum.is_some_and(|sum| sum != sum_of(place, to, &message, &columns, rare)) {
        return Err(Bad::Column("sum"));
    }
    Ok(StoredMessage { to, message })
}

fn class_of(columns: &ClassColumns<'_>) -> Result<Class, Bad> {
    let detail = columns.detail.as_deref();
    Ok(match columns.class {
        class::TELL => Class::Tell,
        class::DOWN => Class::Down,
        number @ (class::ASK | class::CALL) => Class::Ask {
            deadline_ns: columns.deadline_ns.ok_or(Bad::Column("deadline_ns"))?,
            blocking: number == class::CALL,
        },
        class::ANSWER => {
            Class::Answer { ask: columns.ask.ok_or(Bad::Column("ask"))?, failure: detail.map(failure_of).transpose()? }
        }
        class::TIMER => {
            let missed = detail.and_then(|missed| missed.parse().ok());
            Class::Timer { missed: missed.ok_or(Bad::Column("detail"))? }
        }
        class::PUBLISHED => Class::Published { topic: Arc::from(detail.ok_or(Bad::Column("detail"))?) },
        _ => return Err(Bad::Column("class")),
    })
}

fn failure_of(json: &str) -> Result<Box<skep_core::AskFailure>, Bad> {
    let row: FailureForm = serde_json::from_str(json).map_err(|_| Bad::Column("detail"))?;
    Ok(Box::new(row.into()))
}

fn rare_of(json: &str) -> Result<Box<Rare>, Bad> {
    let row: RareForm = serde_json::from_str(json).map_err(|_| Bad::Column("rare"))?;
    row.into_rare().map(Box::new).ok_or(Bad::Column("rare"))
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Bad> {
    row.get_ref(column)?.as_str().map_err(|_| Bad::Column("kind"))
}

fn id_or_null(row: &Row<'_>, column: usize) -> Result<Option<MessageId>, Bad> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) => {
            let bytes: [u8; 16] = bytes.try_into().map_err(|_| Bad::Column("id"))?;
            Ok(Some(MessageId(u128::from_be_bytes(bytes))))
        }
        _ => Err(Bad::Column("id")),
    }
}
