//! What the kinds do.

use skep_sdk::raw::messaging::{self, ask, call, reply, send};
use skep_sdk::raw::types::{Message, MessageFlags, Refusal, SendError};
use skep_sdk::raw::{names, state, turn};

use crate::order::{Await, Order, read};

/// Messages in one turn, unless ordered otherwise.
const CHUNK: u32 = 256;

/// What a durable turn writes.
const VALUE_BYTES: usize = 200;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Unknown,
    Noop,
    Echo,
    Bid,
    Sink,
    Await,
    Flood,
    More,
    Asks,
    Calls,
    Next,
    Hop,
    Durable,
    Put,
    Trap,
}

const KINDS: [(&str, Kind); 15] = [
    ("noop", Kind::Noop),
    ("echo", Kind::Echo),
    ("call-for-bids", Kind::Bid),
    ("sink", Kind::Sink),
    ("await", Kind::Await),
    ("flood", Kind::Flood),
    ("fan", Kind::Flood),
    ("more", Kind::More),
    ("asks", Kind::Asks),
    ("calls", Kind::Calls),
    ("next", Kind::Next),
    ("hop", Kind::Hop),
    ("durable", Kind::Durable),
    ("put", Kind::Put),
    ("trap", Kind::Trap),
];

type Id = (u64, u64);

/// A flood that goes on in the next turn, or asks that wait for their answer.
struct Job {
    asker: Option<Id>,
    to: Vec<u32>,
    kind: u32,
    body: Vec<u8>,
    done: u64,
    total: u64,
    chunk: u32,
}

#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) next: u32,
    kinds: Vec<Kind>,
    counted: u64,
    waiting: Option<(Id, u64)>,
    flood: Option<Job>,
    asks: Option<Job>,
    writes: u8,
    me: u32,
    more: u32,
}

impl Bench {
    pub(crate) fn learn(&mut self, number: u32, name: &str) {
        let at = number as usize;
        if at >= self.kinds.len() {
            self.kinds.resize(at + 1, Kind::Unknown);
        }
        self.kinds[at] = KINDS.iter().find(|(known, _)| *known == name).map_or(Kind::Unknown, |(_, kind)| *kind);
    }

    fn kind(&mut self, number: u32) -> Kind {
        if self.kinds.get(number as usize).is_none_or(|kind| *kind == Kind::Unknown) {
            let name = names::name_of(number).unwrap_or_default();
            self.learn(number, &name);
        }
        self.kinds[number as usize]
    }

    pub(crate) fn handle(&mut self, index: u32, message: Message) {
        if message.flags.contains(MessageFlags::ANSWER) {
            return self.answered(index);
        }
        match self.kind(message.kind) {
            Kind::Sink => self.count(index),
            Kind::Hop => self.hop(index, message),
            Kind::Durable => {
                turn::begin(index);
                self.put();
                self.pass(message);
            }
            Kind::Noop if !message.flags.contains(MessageFlags::ASK) => {}
            Kind::Trap => std::process::abort(),
            other => {
                turn::begin(index);
                if let Err(text) = self.rare(other, &message) {
                    turn::refuse(index, &Refusal::Invalid(text));
                }
            }
        }
    }

    fn rare(&mut self, kind: Kind, message: &Message) -> Result<(), String> {
        let asker = message.flags.contains(MessageFlags::ASK).then_some(message.id);
        match kind {
            Kind::Echo => answer(asker, &message.body),
            Kind::Bid => answer(asker, br#"{"bid":10}"#),
            Kind::Await => {
                self.waiting = asker.zip(Some(read::<Await>(&message.body)?.count));
                self.settle();
            }
            Kind::Flood => {
                self.flood = Some(Job::new(asker, &message.body, "sink")?);
                self.me = names::number_of(&names::self_name());
                self.more = names::number_of("more");
                self.flood_on();
            }
            Kind::More => self.flood_on(),
            Kind::Asks => {
                self.asks = Some(Job::new(asker, &message.body, "echo")?);
                self.ask_on()?;
            }
            Kind::Calls => Job::new(asker, &message.body, "echo")?.call_all()?,
            Kind::Next => {
                self.next = names::number_of(std::str::from_utf8(&message.body).map_err(|error| error.to_string())?);
                answer(asker, &[]);
            }
            Kind::Put => {
                self.put();
                answer(asker, &[]);
            }
            Kind::Noop => answer(asker, &[]),
            _ => return Err("no such kind".to_owned()),
        }
        Ok(())
    }

    fn count(&mut self, index: u32) {
        self.counted += 1;
        if self.waiting.is_some_and(|(_, count)| self.counted >= count) {
            turn::begin(index);
            self.settle();
        }
    }

    fn settle(&mut self) {
        if let Some((asker, _)) = self.waiting.filter(|(_, count)| self.counted >= *count) {
            answer(Some(asker), self.counted.to_string().as_bytes());
            self.waiting = None;
            self.counted = 0;
        }
    }

    fn hop(&mut self, index: u32, message: Message) {
        if left(&message) == 0 {
            return self.count(index);
        }
        turn::begin(index);
        self.pass(message);
    }

    /// Sends the body on, its number less one; begun already.
    fn pass(&mut self, mut message: Message) {
        let Some(left) = left(&message).checked_sub(1) else {
            self.counted += 1;
            return self.settle();
        };
        message.body[..4].copy_from_slice(&left.to_le_bytes());
        must(send(self.next, message.kind, &message.body));
    }

    fn put(&mut self) {
        self.writes = self.writes.wrapping_add(1);
        state::put("bench", &[self.writes; VALUE_BYTES]).expect("200 bytes of state");
    }

    /// Sends one chunk. Without room the rest comes in the next turn, as everything after a chunk does.
    fn flood_on(&mut self) {
        let Some(job) = &mut self.flood else { return };
        for _ in 0..job.chunk {
            if job.done == job.total {
                break;
            }
            let to = job.to[(job.done % job.to.len() as u64) as usize];
            match send(to, job.kind, &job.body) {
                Ok(_) => job.done += 1,
                Err(SendError::Full) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        if job.done < job.total {
            return must(send(self.me, self.more, &[]));
        }
        answer(job.asker, job.done.to_string().as_bytes());
        self.flood = None;
    }

    fn ask_on(&mut self) -> Result<(), String> {
        let Some(job) = &self.asks else { return Ok(()) };
        ask(job.to[0], job.kind, &job.body, 0).map(drop).map_err(|error| format!("{error:?}"))
    }

    fn answered(&mut self, index: u32) {
        turn::begin(index);
        let Some(job) = &mut self.asks else { return };
        job.done += 1;
        if job.done < job.total {
            return self.ask_on().expect("an ask that was taken before");
        }
        answer(job.asker, job.done.to_string().as_bytes());
        self.asks = None;
    }
}

impl Job {
    fn new(asker: Option<Id>, body: &[u8], kind: &str) -> Result<Self, String> {
        let order: Order = read(body)?;
        let to: Vec<u32> = match order.agents {
            None => vec![names::number_of(&order.to)],
            Some(agents) => (0..agents).map(|at| names::number_of(&format!("{}{at}", order.to))).collect(),
        };
        if to.is_empty() || order.count == 0 {
            return Err("nobody to send to, or nothing to send".to_owned());
        }
        Ok(Self {
            asker,
            kind: names::number_of(order.kind.as_deref().unwrap_or(kind)),
            body: order.text.map_or_else(|| vec![b'x'; order.size], String::into_bytes),
            done: 0,
            total: u64::from(order.count) * to.len() as u64,
            to,
            chunk: order.chunk.unwrap_or(CHUNK).max(1),
        })
    }

    fn call_all(mut self) -> Result<(), String> {
        while self.done < self.total {
            call(self.to[0], self.kind, &self.body, 0).map_err(|error| format!("{error:?}"))?;
            self.done += 1;
        }
        answer(self.asker, self.done.to_string().as_bytes());
        Ok(())
    }
}

fn left(message: &Message) -> u32 {
    message.body.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn answer(asker: Option<Id>, body: &[u8]) {
    if let Some(asker) = asker {
        reply(asker, body).expect("a reply that is owed");
    }
}

/// A bench that is out of room measures nothing: it ends loudly.
fn must(sent: Result<Id, messaging::SendError>) {
    sent.expect("room for a message");
}
