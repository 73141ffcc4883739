//! A vote that is decided by a threshold: plurality, majority, supermajority, unanimity, a quota of weights. Each member
//! is asked once. `docs/protocols/vote-threshold.md` has the rule and its messages.

mod config;
mod rule;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use config::{Config, Terms};
use rule::{Need, Tally, Verdict};
use serde::{Deserialize, Serialize};
use skep_protocol::prelude::*;

/// The schema of answers, and the timer at which voting ends.
const BALLOT: &str = "ballot";
const VOTE_BY: &str = "vote-by";

/// Each member is asked in the first step, which also sets a timer.
const MEMBERS_MAX: u32 = 4_000;

struct Threshold;

/// The question to each member.
#[derive(Serialize)]
struct Question<'a> {
    #[serde(flatten)]
    terms: &'a Terms,
    vote_by: u64,
    /// Why the member is asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_understood: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Vote(String),
    Abstain(bool),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    ended: bool,
    /// In the declared order of the members.
    seats: Vec<Seat>,
}

/// What became of the ask to a member, with the number of the envelope that brought it. Kept short: there is one for each
/// member in every state.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Seat {
    Open,
    /// It voted for what is no option, and was asked again.
    Again(AskId),
    /// It ended without an answer, or its answer was dropped.
    Closed(u64),
    Abstain(u64),
    /// The option's place.
    Vote(usize, u64),
}

/// The body of the outcome.
#[derive(Deserialize, Serialize)]
struct Record {
    status: String,
    decision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed: Option<bool>,
    tie_broken: bool,
    #[serde(flatten)]
    figures: Option<Figures>,
}

#[derive(Deserialize, Serialize)]
struct Figures {
    scores: BTreeMap<String, u64>,
    answered: u64,
    abstained: u64,
    missing: u64,
    electorate: u64,
    quorum: Option<u64>,
}

impl Protocol for Threshold {
    type Config = Config;
    type State = State;

    fn describe() -> Manifest {
        let (config, outcome) = (include_str!("../schema/config.json"), include_str!("../schema/outcome.json"));
        let mut manifest = Manifest::new("vote/threshold", env!("CARGO_PKG_VERSION"), config, outcome);
        manifest.ask_schemas = vec![(BALLOT.to_owned(), include_str!("../schema/ballot.json").to_owned())];
        manifest.properties = ["exact-early-end", "monotone"].map(str::to_owned).to_vec();
        manifest.timing.max_members = Some(MEMBERS_MAX);
        manifest
    }

    fn init(session: &Session<Config>) -> Result<State, Reject> {
        Ok(State { ended: false, seats: vec![Seat::Open; session.members.len()] })
    }

    fn step(session: &Session<Config>, state: &mut State, event: Event, step: &mut Step) -> Result<(), Reject> {
        if state.ended {
            return Ok(());
        }
        state.check(session)?;
        match event {
            Event::Start if !state.is_settled(session) => ask_all(session, step),
            Event::Message(message) => state.hear(session, &message, step),
            Event::AskClosed((ask, _)) => state.close(|place, seat| seat.waits_for(place, ask), step.seq()),
            Event::MemberDown((member, _)) => state.fall(session, &member, step.seq()),
            Event::TimerFired(timer) if timer == VOTE_BY => state.close(|_, _| true, step.seq()),
            Event::Deadline => state.close(|_, _| true, step.seq()),
            Event::Cancel(_) => {
                state.cancel(step);
                return Ok(());
            }
            _ => (),
        }
        if state.is_settled(session) {
            state.decide(session, step);
        }
        Ok(())
    }

    /// How many have answered, and nothing of what they said.
    fn view(state: &State) -> Value {
        let phase = if state.ended { "ended" } else { "voting" };
        let answered = state.seats.iter().filter(|seat| matches!(seat, Seat::Abstain(_) | Seat::Vote(..))).count();
        json!({"phase": phase, "answered": answered, "members": state.seats.len()})
    }

    fn broken(state: &State, end: Option<&Outcome>) -> Vec<String> {
        let mut broken = Vec::new();
        let mut holds = |holds: bool, what: &str| {
            if !holds {
                broken.push(what.to_owned());
            }
        };
        holds(state.ended == end.is_some(), "the state and the outcome agree on whether it has ended");
        let record = end.and_then(|end| skep_protocol::serde_json::from_slice::<Record>(&end.body).ok());
        if let Some(Record { decision, figures: Some(figures), .. }) = record {
            let Figures { scores, answered, abstained, missing, electorate, .. } = figures;
            holds(scores.values().sum::<u64>() + abstained == answered, "votes and abstentions are the answers");
            holds(answered + missing <= electorate, "nobody counts twice");
            let most = scores.values().copied().max();
            let decided = decision.is_none_or(|decision| scores.get(&decision).copied() == most && most > Some(0));
            holds(decided, "nothing has more weight than what is decided");
        }
        broken
    }
}

skep_protocol::export!(Threshold);

/// Asks come first, so that the ask to a member has the member's place as its index.
fn ask_all(session: &Session<Config>, step: &mut Step) {
    let vote_by = vote_by(session);
    let question = Question { terms: &session.config.terms, vote_by, not_understood: None };
    step.ask_all(session.ids(), BALLOT, &question, Some(vote_by));
    step.set_timer(VOTE_BY, vote_by);
}

fn ask_again(session: &Session<Config>, step: &mut Step, member: &str, why: String) -> AskId {
    let vote_by = vote_by(session);
    let question = Question { terms: &session.config.terms, vote_by, not_understood: Some(why) };
    step.ask(member, BALLOT, &question, Some(vote_by))
}

fn vote_by(session: &Session<Config>) -> u64 {
    session.config.vote_by_ms.min(session.deadline_at_ms)
}

impl Seat {
    /// Whether it is the open ask of the member in this place.
    fn waits_for(self, place: usize, ask: AskId) -> bool {
        match self {
            Self::Open => usize::try_from(ask.index) == Ok(place),
            Self::Again(again) => again == ask,
            _ => false,
        }
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Again(_))
    }
}

impl State {
    fn check(&self, session: &Session<Config>) -> Result<(), Reject> {
        let options = session.config.terms.options.len();
        let unknown = |seat: &Seat| matches!(seat, Seat::Vote(option, _) if *option >= options);
        if self.seats.len() != session.members.len() || self.seats.iter().any(unknown) {
            return Err(Reject::BadState("its seats are not those of this session".to_owned()));
        }
        Ok(())
    }

    /// The first answer to an ask stands. A vote for what is no option gets a second chance: only this protocol knows the
    /// options, so the host could not refuse it.
    fn hear(&mut self, session: &Session<Config>, message: &Inbound, step: &mut Step) {
        let Some((place, ask_id)) = session.place(&message.sender).zip(message.in_reply_to) else { return };
        let Some(seat) = self.seats.get_mut(place).filter(|seat| seat.waits_for(place, ask_id)) else { return };
        let options = &session.config.terms.options;
        *seat = match message.read() {
            Ok(Answer::Abstain(true)) => Seat::Abstain(step.seq()),
            Ok(Answer::Vote(vote)) => match options.iter().position(|option| *option == vote) {
                Some(option) => Seat::Vote(option, step.seq()),
                None if *seat == Seat::Open => {
                    let why = format!("{vote:?} is none of the options");
                    Seat::Again(ask_again(session, step, &message.sender, why))
                }
                None => Seat::Closed(step.seq()),
            },
            _ => Seat::Closed(step.seq()),
        };
    }

    /// Of the seats that are open.
    fn close(&mut self, which: impl Fn(usize, Seat) -> bool, seq: u64) {
        for (place, seat) in self.seats.iter_mut().enumerate() {
            if seat.is_open() && which(place, *seat) {
                *seat = Seat::Closed(seq);
            }
        }
    }

    /// A vote stands, unless the config says otherwise.
    fn fall(&mut self, session: &Session<Config>, member: &str, seq: u64) {
        let seat = session.place(member).and_then(|place| self.seats.get_mut(place));
        let drops = |seat: &Seat| session.config.rule.drop_on_crash && !matches!(seat, Seat::Closed(_));
        if let Some(seat) = seat.filter(|seat| seat.is_open() || drops(seat)) {
            *seat = Seat::Closed(seq);
        }
    }

    fn tally(&self, session: &Session<Config>) -> Tally {
        let scores = vec![0; session.config.terms.options.len()];
        let mut tally = Tally { scores, ..Tally::default() };
        for (seat, member) in self.seats.iter().zip(&session.members) {
            let sum = match seat {
                Seat::Open | Seat::Again(_) => Some(&mut tally.open),
                Seat::Closed(_) => Some(&mut tally.missing),
                Seat::Abstain(_) => Some(&mut tally.abstained),
                Seat::Vote(option, _) => tally.scores.get_mut(*option),
            };
            if let Some(sum) = sum {
                *sum += u64::from(member.weight);
            }
        }
        tally
    }

    fn is_settled(&self, session: &Session<Config>) -> bool {
        session.config.rule.is_settled(&self.tally(session))
    }

    fn decide(&mut self, session: &Session<Config>, step: &mut Step) {
        let Config { rule, terms, .. } = &session.config;
        let tally = self.tally(session);
        let verdict = rule.verdict(&tally, |count| session.draw(0, count));
        let unanimity = matches!(rule.need, Need::Share(share) if share.is_all());
        let (kind, status, chosen) = match verdict {
            Verdict::Decided { option, tie_broken } => (EndKind::Decided, "decided", Some((option, tie_broken))),
            Verdict::Undecided if unanimity => (EndKind::NoDecision, "not-unanimous", None),
            Verdict::Undecided => (EndKind::NoDecision, "no-majority", None),
            Verdict::NoQuorum => (EndKind::NoDecision, "no-quorum", None),
        };
        let record = Record {
            status: status.to_owned(),
            decision: chosen.and_then(|(option, _)| terms.options.get(option).cloned()),
            passed: (terms.options.len() == 2).then_some(matches!(chosen, Some((0, _)))),
            tie_broken: matches!(chosen, Some((_, true))),
            figures: Some(Figures {
                answered: tally.answered(),
                abstained: tally.abstained,
                missing: tally.missing,
                electorate: tally.electorate(),
                quorum: rule.quorum.map(|quorum| quorum.least_of(tally.electorate())),
                scores: terms.options.iter().cloned().zip(tally.scores).collect(),
            }),
        };
        self.ended = true;
        step.end(kind, status, &record, self.evidence(kind == EndKind::Decided));
    }

    /// All answers; without a decision, also why others are missing.
    fn evidence(&self, decided: bool) -> Vec<u64> {
        let seq = |seat: &Seat| match seat {
            Seat::Abstain(seq) | Seat::Vote(_, seq) => Some(*seq),
            Seat::Closed(seq) if !decided => Some(*seq),
            _ => None,
        };
        let mut seqs: Vec<u64> = self.seats.iter().filter_map(seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }

    /// What was voted until then stays untold.
    fn cancel(&mut self, step: &mut Step) {
        self.ended = true;
        let status = "cancelled".to_owned();
        let record = Record { status, decision: None, passed: None, tie_broken: false, figures: None };
        step.end(EndKind::Cancelled, "cancelled", &record, vec![step.seq()]);
    }
}
