//! The sealed-bid auction: first price, and second price (Vickrey 1961). Each member is asked once, and nobody learns
//! anything of the bids before the end. `docs/protocols/auction-sealed-bid.md` has the rule and its messages.

mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rule::{Bid, Rule, sale};
use serde::{Deserialize, Serialize};
use skep_protocol::INTEGER_MAX;
use skep_protocol::prelude::*;

/// The schema of answers, and the timer at which bidding ends.
const CALL_FOR_BIDS: &str = "call-for-bids";
const BID_BY: &str = "bid-by";

/// Each member is asked in the first step, which also sets a timer.
const MEMBERS_MAX: u32 = 4_000;

struct SealedBid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    item: Value,
    rule: Rule,
    #[serde(default)]
    reserve: u64,
    bid_by_ms: u64,
    #[serde(default)]
    tie: Tie,
    #[serde(default)]
    drop_on_crash: bool,
    #[serde(default)]
    disclose_bids: bool,
}

/// Who wins among equal bids.
#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Tie {
    #[default]
    Declared,
    Seeded,
}

/// The question to each member.
#[derive(Serialize)]
struct Call<'a> {
    item: &'a Value,
    reserve: u64,
    rule: Rule,
    bid_by: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Bid(u64),
    Pass(bool),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    ended: bool,
    /// In the declared order of the members.
    seats: Vec<Seat>,
    /// The places of the members that are down.
    down: BTreeSet<usize>,
}

/// What became of the ask to a member. Kept short: there is one for each member in every state.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Seat {
    Open,
    /// It ended without an answer, or its bid was dropped.
    Closed,
    Pass,
    Bid(Bid),
}

/// The body of the outcome.
#[derive(Deserialize, Serialize)]
struct Record {
    status: String,
    winner: Option<String>,
    payment: Option<u64>,
    tie_broken: bool,
    winner_down: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bids: Option<Vec<Disclosed>>,
}

#[derive(Deserialize, Serialize)]
struct Disclosed {
    member: String,
    bid: u64,
}

impl Protocol for SealedBid {
    type Config = Config;
    type State = State;

    fn describe() -> Manifest {
        let (config, outcome) = (include_str!("../schema/config.json"), include_str!("../schema/outcome.json"));
        let answer = include_str!("../schema/call-for-bids.json");
        let mut manifest = Manifest::new("auction/sealed-bid", env!("CARGO_PKG_VERSION"), config, outcome);
        manifest.ask_schemas = vec![(CALL_FOR_BIDS.to_owned(), answer.to_owned())];
        manifest.properties =
            ["individually-rational", "losers-pay-nothing", "sealed", "truthful-if-second"].map(str::to_owned).to_vec();
        manifest.timing.max_members = Some(MEMBERS_MAX);
        manifest
    }

    fn init(session: &Session<Config>) -> Result<State, Reject> {
        Ok(State { ended: false, seats: vec![Seat::Open; session.members.len()], down: BTreeSet::new() })
    }

    fn step(session: &Session<Config>, state: &mut State, event: Event, step: &mut Step) -> Result<(), Reject> {
        if state.ended {
            return Ok(());
        }
        if state.seats.len() != session.members.len() {
            return Err(Reject::BadState(format!("{} seats for {} members", state.seats.len(), session.members.len())));
        }
        match event {
            Event::Start => call(session, step),
            Event::Message(message) => state.hear(session, &message, step.seq()),
            Event::AskClosed((ask, _)) => state.settle(usize::try_from(ask.index).ok(), Seat::Closed),
            Event::MemberDown((member, _)) => state.fall(session, &member),
            Event::TimerFired(timer) if timer == BID_BY => state.close(),
            Event::Deadline => state.close(),
            Event::Cancel(_) => {
                state.cancel(step);
                return Ok(());
            }
            _ => (),
        }
        // Never earlier: whoever is still asked can outbid all, or set the price.
        if !state.seats.contains(&Seat::Open) {
            state.decide(session, step);
        }
        Ok(())
    }

    /// That the auction goes on; the number of bids is as secret as the bids are.
    fn view(state: &State) -> Value {
        json!({"phase": if state.ended { "ended" } else { "bidding" }})
    }

    fn broken(state: &State, end: Option<&Outcome>) -> Vec<String> {
        let mut broken = Vec::new();
        if state.ended != end.is_some() {
            broken.push("the state and the outcome agree on whether it has ended".to_owned());
        }
        let record = end.and_then(|end| skep_protocol::serde_json::from_slice::<Record>(&end.body).ok());
        let payment = record.and_then(|record| record.payment);
        if payment.is_some_and(|payment| state.bids().into_iter().flatten().all(|bid| bid.amount < payment)) {
            broken.push("somebody bid what is paid".to_owned());
        }
        broken
    }
}

skep_protocol::export!(SealedBid);

/// Asks come first, so that the ask to a member has the member's place as its index.
fn call(session: &Session<Config>, step: &mut Step) {
    let config = &session.config;
    let bid_by = config.bid_by_ms.min(session.deadline_at_ms);
    let call = Call { item: &config.item, reserve: config.reserve, rule: config.rule, bid_by };
    step.ask_all(session.ids(), CALL_FOR_BIDS, &call, Some(bid_by));
    step.set_timer(BID_BY, bid_by);
}

impl State {
    /// The first answer to an ask stands. One that cannot be read is none; the host has asked again by then.
    fn hear(&mut self, session: &Session<Config>, message: &Inbound, seq: u64) {
        let place = session.place(&message.sender);
        if message.in_reply_to.and_then(|ask| usize::try_from(ask.index).ok()) != place {
            return;
        }
        let seat = match message.read() {
            Ok(Answer::Bid(amount)) if amount <= INTEGER_MAX => Seat::Bid(Bid { amount, seq }),
            Ok(Answer::Pass(true)) => Seat::Pass,
            _ => Seat::Closed,
        };
        self.settle(place, seat);
    }

    fn settle(&mut self, place: Option<usize>, as_what: Seat) {
        if let Some(seat) = place.and_then(|place| self.seats.get_mut(place)).filter(|seat| **seat == Seat::Open) {
            *seat = as_what;
        }
    }

    /// Nobody is waited for any more.
    fn close(&mut self) {
        for place in 0..self.seats.len() {
            self.settle(Some(place), Seat::Closed);
        }
    }

    /// A bid binds, unless the config says otherwise.
    fn fall(&mut self, session: &Session<Config>, member: &str) {
        let Some(place) = session.place(member) else { return };
        self.down.insert(place);
        self.settle(Some(place), Seat::Closed);
        if let Some(seat @ Seat::Bid(_)) = self.seats.get_mut(place).filter(|_| session.config.drop_on_crash) {
            *seat = Seat::Closed;
        }
    }

    fn bids(&self) -> Vec<Option<Bid>> {
        let bid = |seat: &Seat| if let Seat::Bid(bid) = seat { Some(*bid) } else { None };
        self.seats.iter().map(bid).collect()
    }

    fn decide(&mut self, session: &Session<Config>, step: &mut Step) {
        let Config { rule, reserve, tie, disclose_bids, .. } = session.config;
        let bids = self.bids();
        let draw = |count| if tie == Tie::Seeded { session.draw(0, count) } else { 0 };
        let disclosed = disclose_bids.then(|| disclosed(session, &bids));
        let sale = sale(rule, reserve, &bids, draw);
        self.ended = true;
        let Some(sale) = sale else {
            return step.end(EndKind::NoDecision, "no-sale", &Record::without_sale("no-sale", disclosed), Vec::new());
        };
        let record = Record {
            status: "sold".to_owned(),
            winner: session.members.get(sale.winner).map(|member| member.id.clone()),
            payment: Some(sale.payment),
            tie_broken: sale.tie_broken,
            winner_down: self.down.contains(&sale.winner),
            bids: disclosed,
        };
        step.end(EndKind::Decided, "sold", &record, sale.evidence);
    }

    /// Bids stay sealed then.
    fn cancel(&mut self, step: &mut Step) {
        self.ended = true;
        step.end(EndKind::Cancelled, "cancelled", &Record::without_sale("cancelled", None), vec![step.seq()]);
    }
}

impl Record {
    fn without_sale(status: &str, bids: Option<Vec<Disclosed>>) -> Self {
        let status = status.to_owned();
        Self { status, winner: None, payment: None, tie_broken: false, winner_down: false, bids }
    }
}

fn disclosed(session: &Session<Config>, bids: &[Option<Bid>]) -> Vec<Disclosed> {
    let all = session.members.iter().zip(bids);
    all.filter_map(|(member, bid)| Some(Disclosed { member: member.id.clone(), bid: (*bid)?.amount })).collect()
}
