//! A rehearsal: a session without a host, in time that is only counted, with members that do what a script says. What
//! decides is what decides in a host.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use skep_core::session::{AskId, Closed, DownReason, Info, Input, Member, Notice, Order, Record};

use super::course::{Course, LogEntry};
use super::rules::{Rules, canonical};

/// What may happen in one rehearsal.
const HAPPENINGS_MAX: usize = 1_000_000;

/// A member, and what it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Player {
    /// The member's name.
    pub id: String,
    /// Its role.
    #[serde(default)]
    pub role: String,
    /// Its weight.
    #[serde(default = "one")]
    pub weight: u32,
    /// Words of what it can do.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it does when it is asked: the first for the first ask, and so on. To asks beyond the last it is silent.
    #[serde(default)]
    pub answers: Vec<Reaction>,
    /// When it ends whatever it was asked, in milliseconds of session time.
    #[serde(default)]
    pub down_at_ms: Option<u64>,
    /// What it says unasked.
    #[serde(default)]
    pub tells: Vec<Told>,
}

fn one() -> u32 {
    1
}

/// What a member does when it is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reaction {
    /// It answers, and perhaps again.
    Answer {
        /// The answer.
        body: Value,
        /// How long it takes, in milliseconds.
        #[serde(default)]
        after_ms: u64,
        /// More answers to the same ask: the same once more, or another.
        #[serde(default)]
        again: Vec<Later>,
    },
    /// It answers with what is no JSON.
    Malformed {
        /// The text.
        text: String,
        /// How long it takes, in milliseconds.
        #[serde(default)]
        after_ms: u64,
    },
    /// It refuses.
    Refuse {
        /// How long it takes, in milliseconds.
        #[serde(default)]
        after_ms: u64,
    },
    /// It ends.
    Crash {
        /// How long it takes, in milliseconds.
        #[serde(default)]
        after_ms: u64,
    },
    /// Nothing.
    Silence,
}

/// One more answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Later {
    /// The answer.
    pub body: Value,
    /// How long after the ask, in milliseconds.
    pub after_ms: u64,
}

/// A word that nobody asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// When, in milliseconds of session time.
    pub at_ms: u64,
    /// What.
    pub body: Value,
}

/// Who plays, and what happens to the session itself. The format of a members file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cast {
    /// In the order that breaks ties.
    pub members: Vec<Player>,
    /// The only randomness.
    #[serde(default)]
    pub seed: u64,
    /// When the session ends at the latest; none: what the protocol says.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// When it is called off.
    #[serde(default)]
    pub cancel_at_ms: Option<u64>,
    /// What others say to the session, who are no members.
    #[serde(default)]
    pub strangers: Vec<Stranger>,
}

/// Who is no member, and speaks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    /// Its name.
    pub id: String,
    /// When, in milliseconds of session time.
    pub at_ms: u64,
    /// What.
    pub body: Value,
}

/// What a rehearsal has come to.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// What the session was opened with.
    pub info: Info,
    /// How it ended.
    pub record: Record,
    /// What happened.
    pub log: Vec<LogEntry>,
    /// How often an ask was sent again because its answer was not understood, by member.
    pub not_understood: BTreeMap<String, u32>,
    /// What members were told of asks that were over without their answers.
    pub told: BTreeMap<String, Vec<Notice>>,
}

impl Cast {
    /// The members alone.
    pub fn members(&self) -> Vec<Member> {
        let member = |player: &Player| Member {
            id: player.id.clone(),
            role: player.role.clone(),
            weight: player.weight,
            capabilities: player.capabilities.clone(),
        };
        self.members.iter().map(member).collect()
    }
}

/// What happens, and when: at one time in the order in which it was planned.
struct Stage<'a> {
    rules: &'a Rules,
    cast: &'a Cast,
    plans: BinaryHeap<Reverse<(u64, usize)>>,
    inputs: Vec<Option<Planned>>,
    /// How many asks each member has had.
    asked: HashMap<String, usize>,
    schemas: HashMap<AskId, String>,
    not_understood: BTreeMap<String, u32>,
    told: BTreeMap<String, Vec<Notice>>,
}

enum Planned {
    Answer { ask: AskId, member: String, body: Vec<u8>, msg_id: String },
    Other(Input),
}

/// Runs a session to its end. The error says why it cannot begin, or not go on.
pub(crate) async fn rehearse(rules: &Rules, info: Info, cast: &Cast) -> Result<Rehearsed, String> {
    let mut stage = Stage::set(rules, cast)?;
    let opened = Course::open(rules.clone(), info.clone()).await;
    let mut course = opened.map_err(|misstep| misstep.to_string())?;
    let mut log = Vec::new();
    let mut now_ms = 0;
    let mut record = None;
    loop {
        let ran = course.run(usize::MAX).await.map_err(|failure| failure.to_string())?;
        log.extend(ran.entries);
        for order in ran.orders {
            match order {
                Order::Ask { ask, to, schema, .. } => stage.ask(now_ms, ask, to, schema)?,
                Order::AskAgain { ask, to, schema, .. } => {
                    *stage.not_understood.entry(to.clone()).or_default() += 1;
                    stage.ask(now_ms, ask, to, schema)?;
                }
                Order::Tell { .. } => {}
                Order::Notice { to, notice, .. } => stage.told.entry(to).or_default().push(notice),
                Order::End(ended) => record = Some(*ended),
            }
        }
        // Also after the end: who answers then is told so.
        let due_ms = course.session.due_ms().unwrap_or(u64::MAX);
        match (stage.next_before(due_ms), record.take()) {
            (Some((at_ms, input)), ended) => {
                (now_ms, record) = (at_ms, ended);
                course.session.happen(at_ms, input);
            }
            (None, Some(record)) => {
                let Stage { not_understood, told, .. } = stage;
                return Ok(Rehearsed { info, record, log, not_understood, told });
            }
            (None, None) => {
                now_ms = due_ms;
                course.session.happen(due_ms, Input::Time);
            }
        }
    }
}

impl<'a> Stage<'a> {
    fn set(rules: &'a Rules, cast: &'a Cast) -> Result<Self, String> {
        let mut stage = Self {
            rules,
            cast,
            plans: BinaryHeap::new(),
            inputs: Vec::new(),
            asked: HashMap::new(),
            schemas: HashMap::new(),
            not_understood: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        for player in &cast.members {
            if let Some(at_ms) = player.down_at_ms {
                stage.plan(at_ms, Planned::Other(down(&player.id)))?;
            }
            for (count, told) in player.tells.iter().enumerate() {
                let (member, msg_id) = (player.id.clone(), format!("{}-told-{count}", player.id));
                let body = canonical(&told.body)?;
                stage.plan(told.at_ms, Planned::Other(Input::Told { member, msg_id, body }))?;
            }
        }
        for (count, stranger) in cast.strangers.iter().enumerate() {
            let (member, msg_id) = (stranger.id.clone(), format!("{}-{count}", stranger.id));
            let body = canonical(&stranger.body)?;
            stage.plan(stranger.at_ms, Planned::Other(Input::Told { member, msg_id, body }))?;
        }
        if let Some(at_ms) = cast.cancel_at_ms {
            stage.plan(at_ms, Planned::Other(Input::Cancel("the members file says so".to_owned())))?;
        }
        Ok(stage)
    }

    fn plan(&mut self, at_ms: u64, planned: Planned) -> Result<(), String> {
        if self.inputs.len() >= HAPPENINGS_MAX {
            return Err(format!("more than {HAPPENINGS_MAX} things happen"));
        }
        self.plans.push(Reverse((at_ms, self.inputs.len())));
        self.inputs.push(Some(planned));
        Ok(())
    }

    /// What happens next, if that is before this time: who comes at the very time comes late (H3).
    fn next_before(&mut self, due_ms: u64) -> Option<(u64, Input)> {
        let Reverse((at_ms, index)) = *self.plans.peek()?;
        if at_ms >= due_ms {
            return None;
        }
        self.plans.pop();
        let input = match self.inputs.get_mut(index)?.take()? {
            Planned::Other(input) => input,
            Planned::Answer { ask, member, body, msg_id } => {
                let schema = self.schemas.get(&ask).map(String::as_str).unwrap_or_default();
                Input::Answer { ask, member, msg_id, body: self.rules.answer(schema, &body) }
            }
        };
        Some((at_ms, input))
    }

    fn ask(&mut self, now_ms: u64, ask: AskId, to: String, schema: String) -> Result<(), String> {
        self.schemas.insert(ask, schema);
        let count = self.asked.entry(to.clone()).or_default();
        let turn = std::mem::replace(count, *count + 1);
        let player = self.cast.members.iter().find(|player| player.id == to);
        let reaction = player.and_then(|player| player.answers.get(turn)).cloned().unwrap_or(Reaction::Silence);
        let at = |after_ms: u64| now_ms.saturating_add(after_ms);
        let answer = |body: Vec<u8>, nth: usize| {
            let msg_id = format!("{to}-{turn}-{nth}");
            Planned::Answer { ask, member: to.clone(), body, msg_id }
        };
        match reaction {
            Reaction::Answer { body, after_ms, again } => {
                self.plan(at(after_ms), answer(body.to_string().into_bytes(), 0))?;
                for (nth, later) in again.into_iter().enumerate() {
                    self.plan(at(later.after_ms), answer(later.body.to_string().into_bytes(), nth + 1))?;
                }
                Ok(())
            }
            Reaction::Malformed { text, after_ms } => self.plan(at(after_ms), answer(text.into_bytes(), 0)),
            Reaction::Refuse { after_ms } => {
                self.plan(at(after_ms), Planned::Other(Input::Unanswered { ask, how: Closed::Refused }))
            }
            Reaction::Crash { after_ms } => self.plan(at(after_ms), Planned::Other(down(&to))),
            Reaction::Silence => Ok(()),
        }
    }
}

fn down(member: &str) -> Input {
    Input::Down { member: member.to_owned(), reason: DownReason::Crashed }
}
