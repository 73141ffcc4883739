//! What a tally of weights decides, and whether it can still change. It knows neither members nor time.
//! `docs/protocols/vote-threshold.md` has the rule in words.

use serde::{Deserialize, Serialize};

use crate::share::Share;

/// What an option needs. None is decided without any weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Need {
    /// More than the others: plurality.
    Most,
    /// So much weight.
    Quota(u64),
    /// So much of the base.
    Share(Share),
}

/// What a share is of.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Base {
    /// The weight of all members.
    #[default]
    Electorate,
    /// Votes and abstentions.
    Answered,
    /// Votes.
    NonAbstaining,
}

/// Which of several options wins that reach what is needed with the same weight.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tie {
    /// The first.
    #[default]
    Declared,
    /// One drawn from the session's seed.
    Seeded,
    /// None.
    None,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) need: Need,
    pub(crate) base: Base,
    /// Of the electorate.
    pub(crate) quorum: Option<Share>,
    pub(crate) tie: Tie,
    /// Whether who has answered may yet be missing.
    pub(crate) drop_on_crash: bool,
}

/// Sums of weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// By option.
    pub(crate) scores: Vec<u64>,
    pub(crate) abstained: u64,
    /// Of those who will not answer.
    pub(crate) missing: u64,
    /// Of those who still may.
    pub(crate) open: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Decided {
        option: usize,
        tie_broken: bool,
    },
    /// No option has what it needs, or several have it and the rule takes none of them.
    Undecided,
    NoQuorum,
}

impl Tally {
    pub(crate) fn voted(&self) -> u64 {
        self.scores.iter().sum()
    }

    pub(crate) fn answered(&self) -> u64 {
        self.voted() + self.abstained
    }

    pub(crate) fn electorate(&self) -> u64 {
        self.answered() + self.missing + self.open
    }
}

impl Rule {
    /// What is decided if nobody answers any more. `draw` chooses one of so many options.
    pub(crate) fn verdict(&self, tally: &Tally, draw: impl FnOnce(usize) -> usize) -> Verdict {
        if !self.has_quorum(tally, tally.answered()) {
            return Verdict::NoQuorum;
        }
        let most = tally.scores.iter().copied().max().unwrap_or(0);
        if !self.reaches(most, tally, 0) {
            return Verdict::Undecided;
        }
        let equal: Vec<usize> =
            tally.scores.iter().enumerate().filter(|(_, score)| **score == most).map(|(option, _)| option).collect();
        let tie_broken = equal.len() > 1;
        let drawn = match self.tie {
            Tie::None if tie_broken => return Verdict::Undecided,
            Tie::Seeded if tie_broken => draw(equal.len()),
            _ => 0,
        };
        equal.get(drawn).map_or(Verdict::Undecided, |option| Verdict::Decided { option: *option, tie_broken })
    }

    /// Whether the verdict is the same whatever those do who may still answer: vote, abstain or stay silent; and, with
    /// `drop_on_crash`, whoever of the others goes down before they do. Each can be bounded by what is worst for it, and
    /// the worst can happen, so this is exact.
    pub(crate) fn is_settled(&self, tally: &Tally) -> bool {
        let open = tally.open;
        if open == 0 || !self.has_quorum(tally, tally.answered() + open) {
            return true;
        }
        if self.drop_on_crash {
            // If all go down nothing is decided, and no quorum is reached. So that alone can stand already.
            return self.quorum.is_none() && tally.scores.iter().all(|score| !self.wins_alone(score + open, tally));
        }
        if !self.has_quorum(tally, tally.answered()) {
            return false;
        }
        let with_all = |score: &u64| self.reaches(score + open, tally, open).then_some(score + open);
        match self.verdict(tally, |_| 0) {
            Verdict::Decided { option, tie_broken: false } => {
                let own = tally.scores.get(option).copied().unwrap_or(0);
                let mut rivals = tally.scores.iter().enumerate().filter(|(rival, _)| *rival != option);
                self.reaches(own, tally, self.against(tally))
                    && rivals.all(|(_, score)| with_all(score).is_none_or(|score| score < own))
            }
            // One more vote tips a tie.
            Verdict::Decided { tie_broken: true, .. } => false,
            Verdict::Undecided | Verdict::NoQuorum => tally.scores.iter().all(|score| with_all(score).is_none()),
        }
    }

    /// Whether so much weight is enough for an option when nobody else has answered: it cannot have it better.
    fn wins_alone(&self, score: u64, tally: &Tally) -> bool {
        let missing = tally.electorate().saturating_sub(score);
        self.reaches(score, &Tally { scores: vec![score], missing, ..Tally::default() }, 0)
    }

    /// How much the base may grow without a vote for one option.
    fn against(&self, tally: &Tally) -> u64 {
        let only_votes_grow_it = self.base == Base::NonAbstaining && tally.scores.len() == 1;
        if only_votes_grow_it { 0 } else { tally.open }
    }

    /// Whether so much weight is enough for an option, when `more` is answered than in the tally.
    fn reaches(&self, score: u64, tally: &Tally, more: u64) -> bool {
        let enough = match self.need {
            Need::Most => true,
            Need::Quota(quota) => score >= quota,
            Need::Share(share) => share.is_reached(score, self.base_of(tally, more)),
        };
        enough && score > 0
    }

    fn base_of(&self, tally: &Tally, more: u64) -> u64 {
        match self.base {
            Base::Electorate => tally.electorate(),
            Base::Answered => tally.answered() + more,
            Base::NonAbstaining => tally.voted() + more,
        }
    }

    fn has_quorum(&self, tally: &Tally, answered: u64) -> bool {
        self.quorum.is_none_or(|quorum| quorum.is_reached(answered, tally.electorate()))
    }
}
