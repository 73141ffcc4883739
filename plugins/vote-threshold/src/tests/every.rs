//! The rule over all small electorates, against what its words say when they are taken literally: slow, and plain.

use crate::rule::{Base, Need, Rule, Tally, Tie, Verdict};
use crate::share::Share;

/// What a member has done, or may do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ballot {
    Open,
    Silent,
    Abstains,
    For(usize),
}

fn ballots(options: usize, open: bool) -> Vec<Ballot> {
    let open = if open { vec![Ballot::Open] } else { Vec::new() };
    [open, vec![Ballot::Silent, Ballot::Abstains], (0..options).map(Ballot::For).collect()].concat()
}

/// Every way to fill so many places.
fn every<T: Clone>(choices: &[T], places: usize) -> Vec<Vec<T>> {
    let longer = |shorter: Vec<Vec<T>>| {
        let with = |choice: &T| {
            shorter.iter().map(|start| [start.as_slice(), std::slice::from_ref(choice)].concat()).collect::<Vec<_>>()
        };
        choices.iter().flat_map(with).collect()
    };
    (0..places).fold(vec![Vec::new()], |shorter, _| longer(shorter))
}

fn tally(options: usize, weights: &[u64], ballots: &[Ballot]) -> Tally {
    let mut tally = Tally { scores: vec![0; options], ..Tally::default() };
    for (weight, ballot) in weights.iter().zip(ballots) {
        match ballot {
            Ballot::Open => tally.open += weight,
            Ballot::Silent => tally.missing += weight,
            Ballot::Abstains => tally.abstained += weight,
            Ballot::For(option) => tally.scores[*option] += weight,
        }
    }
    tally
}

fn share(text: &str, strict: bool) -> Need {
    Need::Share(Share::read(text, strict).unwrap())
}

fn rules() -> Vec<Rule> {
    let needs = [
        Need::Most,
        Need::Quota(2),
        Need::Quota(4),
        Need::Share(Share::ALL),
        share("1/2", true),
        share("1/2", false),
        share("2/3", false),
        share("1/3", true),
    ];
    let mut rules = Vec::new();
    for need in needs {
        for base in [Base::Electorate, Base::Answered, Base::NonAbstaining] {
            for quorum in [None, Some("1/2"), Some("3/4")] {
                let quorum = quorum.map(|text| Share::read(text, false).unwrap());
                let rule = |tie| Rule { need, base, quorum, tie, drop_on_crash: false };
                rules.extend([Tie::Declared, Tie::None].map(rule));
            }
        }
    }
    rules
}

/// Every way in which those who may still answer do; where answers may be dropped, with any of them dropped before.
fn completions(options: usize, ballots_now: &[Ballot], drops: bool) -> Vec<Vec<Ballot>> {
    ballots_now.iter().fold(vec![Vec::new()], |shorter: Vec<Vec<Ballot>>, now| {
        let choices = match now {
            Ballot::Open => ballots(options, false),
            Ballot::Abstains | Ballot::For(_) if drops => vec![*now, Ballot::Silent],
            _ => vec![*now],
        };
        let with =
            |choice: &Ballot| shorter.iter().map(|start| [start.as_slice(), &[*choice]].concat()).collect::<Vec<_>>();
        choices.iter().flat_map(with).collect()
    })
}

/// How often a vote ends early, of how many moments of votes under every rule. Fails if an early end does not give what
/// every way to go on gives, or if they all give the same and it is not there. Nobody is waited for who weighs nothing.
fn early_ends(drop_on_crash: bool, electorates: &[(usize, &[u64])]) -> (u64, u64) {
    let (mut early, mut all) = (0, 0);
    for (options, weights) in electorates {
        for now in every(&ballots(*options, true), weights.len()) {
            let tally_now = tally(*options, weights, &now);
            let drops = drop_on_crash && tally_now.open > 0;
            let ends = completions(*options, &now, drops);
            let ends: Vec<Tally> = ends.iter().map(|end| tally(*options, weights, end)).collect();
            for rule in rules().into_iter().map(|rule| Rule { drop_on_crash, ..rule }) {
                let verdict = rule.verdict(&tally_now, |_| 0);
                let same = ends.iter().all(|end| rule.verdict(end, |_| 0) == verdict);
                assert_eq!(rule.is_settled(&tally_now), same, "{rule:?} of {weights:?} at {now:?}: {verdict:?}");
                all += 1;
                early += u64::from(same && now.contains(&Ballot::Open));
            }
        }
    }
    (early, all)
}

const ELECTORATES: [(usize, &[u64]); 9] = [
    (1, &[1, 2, 1]),
    (2, &[]),
    (2, &[0, 0]),
    (2, &[1]),
    (2, &[1, 1, 1]),
    (2, &[3, 2, 1]),
    (2, &[1, 1, 1, 1]),
    (2, &[2, 0, 1, 1]),
    (3, &[2, 1, 1]),
];

/// An early end gives what the full count gives, and it comes as early as it can: exactly when all ways to go on lead to
/// the same verdict.
#[test]
fn an_early_end_is_exact() {
    let (early, all) = early_ends(false, &ELECTORATES);
    assert!(early > all / 10, "{early} of {all}: the test sees hardly an early end");
}

#[test]
fn an_early_end_is_exact_where_answers_may_be_dropped() {
    let (early, all) = early_ends(true, &ELECTORATES);
    assert!(early > all / 50, "{early} of {all}: the test sees hardly an early end");
}

/// The words of the page, literally: what has enough, and of that the most.
#[test]
fn the_verdict_is_what_the_words_say() {
    let weights = [3, 2, 1, 1];
    for now in every(&ballots(2, false), weights.len()) {
        let tally = tally(2, &weights, &now);
        let sum = |ballot: Ballot| -> u64 {
            weights.iter().zip(&now).filter(|(_, each)| **each == ballot).map(|(weight, _)| *weight).sum()
        };
        let (yes, no) = (sum(Ballot::For(0)), sum(Ballot::For(1)));
        let words = |enough: &dyn Fn(u64) -> bool| match (enough(yes), enough(no)) {
            (true, true) if yes == no => Verdict::Decided { option: 0, tie_broken: true },
            (true, false) | (true, true) if yes > no => Verdict::Decided { option: 0, tie_broken: false },
            (false, false) => Verdict::Undecided,
            _ => Verdict::Decided { option: 1, tie_broken: false },
        };
        let verdict = |need, base| {
            Rule { need, base, quorum: None, tie: Tie::Declared, drop_on_crash: false }.verdict(&tally, |_| 0)
        };
        assert_eq!(verdict(Need::Most, Base::Electorate), words(&|score| score > 0));
        assert_eq!(verdict(Need::Quota(3), Base::Electorate), words(&|score| score >= 3));
        assert_eq!(verdict(share("1/2", true), Base::Electorate), words(&|score| score > 3));
        assert_eq!(verdict(share("2/3", false), Base::Electorate), words(&|score| score >= 5));
        assert_eq!(verdict(Need::Share(Share::ALL), Base::Electorate), words(&|score| score == 7));
        let answered = yes + no + sum(Ballot::Abstains);
        let of_answered = words(&|score| score > 0 && score * 2 > answered);
        assert_eq!(verdict(share("1/2", true), Base::Answered), of_answered);
        let of_votes = words(&|score| score > 0 && score * 3 >= (yes + no) * 2);
        assert_eq!(verdict(share("2/3", false), Base::NonAbstaining), of_votes);
    }
}

/// More votes for what is decided never undo it.
#[test]
fn a_vote_more_never_harms_its_option() {
    let weights = [2, 1, 1, 1];
    for now in every(&ballots(2, false), weights.len()) {
        for rule in rules().into_iter().filter(|rule| rule.tie == Tie::Declared) {
            let Verdict::Decided { option, .. } = rule.verdict(&tally(2, &weights, &now), |_| 0) else { continue };
            for voter in 0..weights.len() {
                let mut more = now.clone();
                more[voter] = Ballot::For(option);
                let after = rule.verdict(&tally(2, &weights, &more), |_| 0);
                assert!(
                    matches!(after, Verdict::Decided { option: still, .. } if still == option),
                    "{rule:?} {now:?} {voter}"
                );
            }
        }
    }
}

fn passes(quota: u64, weights: &[u64], ballots: &[Ballot]) -> bool {
    let rule = Rule {
        need: Need::Quota(quota),
        base: Base::Electorate,
        quorum: None,
        tie: Tie::Declared,
        drop_on_crash: false,
    };
    matches!(rule.verdict(&tally(2, weights, ballots), |_| 0), Verdict::Decided { option: 0, .. })
}

/// By definition: no coalition of the others has the quota only with this player.
fn is_dummy(quota: u64, weights: &[u64], player: usize) -> bool {
    every(&[false, true], weights.len()).iter().filter(|with| !with[player]).all(|with| {
        let sum: u64 = weights.iter().zip(with).filter(|(_, with)| **with).map(|(weight, _)| *weight).sum();
        (sum >= quota) == (sum + weights[player] >= quota)
    })
}

/// What a player says never changes whether it passes.
fn never_matters(quota: u64, weights: &[u64], player: usize) -> bool {
    every(&ballots(2, false), weights.len()).iter().all(|now| {
        let mut other = now.clone();
        other[player] = Ballot::Silent;
        passes(quota, weights, now) == passes(quota, weights, &other)
    })
}

/// For quotas of more than half of the weight: with less, both options can have it.
#[test]
fn a_dummy_never_matters_and_everybody_else_does() {
    assert!(is_dummy(51, &[40, 22, 30, 9], 3) && never_matters(51, &[40, 22, 30, 9], 3));
    let mut dummies = 0;
    for weights in every(&[0, 1, 2, 3, 5], 4) {
        let sum: u64 = weights.iter().sum();
        for quota in sum / 2 + 1..=sum {
            for player in 0..weights.len() {
                let dummy = is_dummy(quota, &weights, player);
                assert_eq!(never_matters(quota, &weights, player), dummy, "[{quota}; {weights:?}], {player}");
                dummies += u32::from(dummy && weights[player] > 0);
            }
        }
    }
    assert!(dummies > 100, "only {dummies} dummies with a weight were met");
}
