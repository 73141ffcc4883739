//! Who wins, and what is paid: a function of the bids alone. It knows neither members nor time.

use serde::{Deserialize, Serialize};

/// What the winner pays.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rule {
    /// Its own bid.
    First,
    /// The highest bid of the others, or the reserve if that is more (Vickrey).
    Second,
}

/// A bid, and the number of the envelope that brought it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Bid {
    pub(crate) amount: u64,
    pub(crate) seq: u64,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Sale {
    /// Its place in the declared order.
    pub(crate) winner: usize,
    pub(crate) payment: u64,
    /// Others bid as much.
    pub(crate) tie_broken: bool,
    /// The numbers of the envelopes with the winner's bid and with the one that sets the price.
    pub(crate) evidence: Vec<u64>,
}

/// The sale that these bids give, in the declared order of the bidders. `draw` chooses one of so many equal bids.
pub(crate) fn sale(rule: Rule, reserve: u64, bids: &[Option<Bid>], draw: impl FnOnce(usize) -> usize) -> Option<Sale> {
    let counted: Vec<(usize, Bid)> = bids
        .iter()
        .enumerate()
        .filter_map(|(place, bid)| Some((place, (*bid)?)))
        .filter(|(_, bid)| bid.amount >= reserve)
        .collect();
    let highest = counted.iter().map(|(_, bid)| bid.amount).max()?;
    let equal: Vec<&(usize, Bid)> = counted.iter().filter(|(_, bid)| bid.amount == highest).collect();
    let drawn = if equal.len() > 1 { draw(equal.len()) } else { 0 };
    let &&(winner, own) = equal.get(drawn)?;
    // The first of the highest: `max_by_key` would give the last.
    let others = counted.iter().rev().filter(|(place, _)| *place != winner).map(|(_, bid)| *bid);
    let price = match rule {
        Rule::First => Some(own),
        Rule::Second => others.max_by_key(|bid| bid.amount),
    };
    let mut evidence: Vec<u64> = std::iter::once(own.seq).chain(price.map(|bid| bid.seq)).collect();
    evidence.sort_unstable();
    evidence.dedup();
    Some(Sale { winner, payment: price.map_or(reserve, |bid| bid.amount), tie_broken: equal.len() > 1, evidence })
}
