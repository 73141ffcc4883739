//! Sessions of the auction in a `Trial`, and its properties over all small auctions.

use skep_protocol::serde_json::{Value, json};
use skep_protocol::testing::{Trial, asked};
use skep_protocol::{AskId, Closed, DownReason, Effect, EndKind, Event, Inbound, Reject};

use super::SealedBid;
use super::rule::{Bid, Rule, Sale, sale};

/// Values and bids in the exhaustive tests go from 0 to this.
const VALUE_MAX: u64 = 6;

fn trial(config: &Value, members: usize) -> Trial<SealedBid> {
    let ids: Vec<String> = (0..members).map(|place| format!("m{place}")).collect();
    let members: Vec<(&str, u32)> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    let mut trial = Trial::new(config, &members).unwrap();
    trial.start();
    trial
}

fn second() -> Value {
    json!({"rule": "second", "bid_by_ms": 1000})
}

#[test]
fn sessions_end_as_they_are_written_down() {
    skep_protocol::testing::cases::<SealedBid>(include_str!("../tests/cases.json"));
}

#[test]
fn each_member_is_asked_once_and_all_at_once() {
    let config = json!({"item": {"lot": 7.5}, "rule": "first", "reserve": 3, "bid_by_ms": 1000});
    let trial = trial(&config, 3);
    let open = trial.open();
    for (place, (id, ask)) in (0..).zip(&open) {
        assert_eq!((*id, ask.to.as_str()), (AskId { seq: 0, index: place }, format!("m{place}").as_str()));
        assert_eq!((ask.schema.as_str(), ask.answer_by), ("call-for-bids", Some(1000)));
        let body: Value = asked(ask).unwrap();
        assert_eq!(body, json!({"item": {"lot": 7.5}, "reserve": 3, "rule": "first", "bid_by": 1000}));
    }
    assert_eq!(open.len(), 3);
    let timer = Effect::SetTimer(("bid-by".to_owned(), 1000));
    assert_eq!(trial.effects().get(3..), Some([timer].as_slice()));
}

#[test]
fn nothing_of_a_bid_is_seen_before_the_end() {
    let mut trial = trial(&second(), 2);
    let before = trial.view();
    trial.answer(1, "m0", &json!({"bid": 10}));
    assert_eq!((trial.view(), &before), (before.clone(), &json!({"phase": "bidding"})));
    assert_eq!(trial.effects().len(), 3, "two asks and a timer");
    trial.close(2, "m1", Closed::Refused);
    assert_eq!(trial.view(), json!({"phase": "ended"}));
}

#[test]
fn the_first_answer_stands_and_only_to_its_own_ask() {
    let mut trial = trial(&second(), 2);
    let say = |trial: &mut Trial<SealedBid>, from: &str, ask: Option<u32>, body: Value| {
        let in_reply_to = ask.map(|index| AskId { seq: 0, index });
        let body = body.to_string().into_bytes();
        trial.event(1, Event::Message(Inbound { sender: from.to_owned(), msg_id: "x".to_owned(), in_reply_to, body }));
    };
    say(&mut trial, "m0", None, json!({"bid": 100}));
    say(&mut trial, "m0", Some(1), json!({"bid": 100}));
    say(&mut trial, "m0", Some(9), json!({"bid": 100}));
    say(&mut trial, "stranger", None, json!({"bid": 100}));
    say(&mut trial, "m0", Some(0), json!({"bid": 10}));
    say(&mut trial, "m0", Some(0), json!({"bid": 100}));
    trial.answer(2, "m1", &json!({"bid": 7}));
    let ended = trial.ended().unwrap();
    assert_eq!((&ended.body["winner"], &ended.body["payment"]), (&json!("m0"), &json!(7)));
    assert_eq!(ended.evidence, [5, 7]);
}

#[test]
fn an_answer_that_is_no_bid_counts_as_none() {
    for body in [json!({"bid": -1}), json!({"bid": 9_007_199_254_740_992_u64}), json!({"pass": false}), json!(3)] {
        let mut trial = trial(&second(), 1);
        let in_reply_to = Some(AskId { seq: 0, index: 0 });
        let body = body.to_string().into_bytes();
        trial.event(1, Event::Message(Inbound { sender: "m0".into(), msg_id: "x".into(), in_reply_to, body }));
        assert_eq!(trial.ended().unwrap().code, "no-sale");
    }
}

#[test]
fn ends_without_a_decision_when_cancelled_and_with_one_at_the_deadline() {
    let mut trial_one = trial(&json!({"rule": "first", "bid_by_ms": 1000, "disclose_bids": true}), 2);
    trial_one.answer(1, "m0", &json!({"bid": 10}));
    trial_one.event(2, Event::Cancel("enough".to_owned()));
    let ended = trial_one.ended().unwrap();
    assert_eq!((ended.kind, ended.code.as_str(), &ended.evidence), (EndKind::Cancelled, "cancelled", &vec![2]));
    assert_eq!(ended.body.get("bids"), None);

    let mut trial_other = trial(&second(), 2);
    trial_other.answer(1, "m0", &json!({"bid": 10}));
    trial_other.event(2, Event::Deadline);
    assert_eq!(trial_other.ended().unwrap().body["winner"], "m0");
    // A Trial fails if anything is done after the end.
    trial_other.fire(3, "bid-by");
    trial_other.event(4, Event::Cancel("late".to_owned()));
}

#[test]
fn a_member_that_is_down_is_not_waited_for_in_whatever_order_it_is_told() {
    for ask_first in [true, false] {
        let mut trial = trial(&second(), 2);
        trial.answer(1, "m0", &json!({"bid": 10}));
        let ask = Event::AskClosed((AskId { seq: 0, index: 1 }, Closed::Down));
        let member = Event::MemberDown(("m1".to_owned(), DownReason::Crashed));
        let (one, other) = if ask_first { (ask, member) } else { (member, ask) };
        trial.event(2, one);
        assert_eq!(trial.ended().unwrap().at_ms, 2);
        trial.event(2, other);
    }
}

#[test]
fn ties_are_drawn_from_the_seed_alone() {
    let mut won = [0; 3];
    for seed in 0..300 {
        let config = json!({"rule": "first", "bid_by_ms": 1000, "tie": "seeded"});
        let run = || {
            let mut trial = Trial::<SealedBid>::seeded(&config, &[("a", 1), ("b", 1), ("c", 1)], seed).unwrap();
            trial.start();
            for (at_ms, member) in [(1, "c"), (2, "a"), (3, "b")] {
                trial.answer(at_ms, member, &json!({"bid": 10}));
            }
            trial.ended().unwrap().body["winner"].clone()
        };
        let winner = run();
        assert_eq!(run(), winner);
        won[["a", "b", "c"].iter().position(|id| winner == *id).unwrap()] += 1;
    }
    assert!(won.iter().all(|times| *times > 70), "{won:?}");
}

#[test]
fn asks_end_with_the_session() {
    let mut trial = trial(&json!({"rule": "first", "bid_by_ms": 9_007_199_254_740_991_u64}), 1);
    assert_eq!(trial.open()[0].1.answer_by, Some(86_400_000));
    trial.event(86_400_000, Event::Deadline);
    assert_eq!(trial.ended().unwrap().code, "no-sale");
}

#[test]
fn refuses_a_state_that_is_not_its_own() {
    let trial = trial(&second(), 2);
    for state in
        ["", "{}", "null", r#"{"down":[],"ended":false,"seats":[]}"#, r#"{"down":[],"ended":false,"seats":["open",7]}"#]
    {
        assert!(matches!(trial.reject(state.as_bytes()), Some(Reject::BadState(_))), "{state}");
    }
    assert_eq!(trial.reject(trial.state()), None);
}

#[test]
fn a_thousand_members_stay_within_the_limits() {
    let mut trial = trial(&second(), 1_000);
    for place in 0..1_000 {
        trial.answer(1, &format!("m{place}"), &json!({"bid": 9_007_199_254_740_991_u64}));
    }
    assert!(trial.state().len() < 64_000, "{} bytes", trial.state().len());
    assert_eq!(trial.ended().unwrap().evidence, [1, 2]);
}

fn sold(rule: Rule, reserve: u64, amounts: &[u64]) -> Option<Sale> {
    let bids: Vec<Option<Bid>> = (0..).zip(amounts).map(|(seq, amount)| Some(Bid { amount: *amount, seq })).collect();
    sale(rule, reserve, &bids, |_| 0)
}

/// What an outcome is worth to a bidder.
fn utility(sale: Option<&Sale>, bidder: usize, value: u64) -> i64 {
    let gain = |sale: &Sale| i64::try_from(value).unwrap() - i64::try_from(sale.payment).unwrap();
    sale.filter(|sale| sale.winner == bidder).map_or(0, gain)
}

/// Every choice of three bids and a reserve.
fn every_auction() -> impl Iterator<Item = ([u64; 3], u64)> {
    let all = || 0..=VALUE_MAX;
    all().flat_map(move |a| {
        all().flat_map(move |b| all().flat_map(move |c| all().map(move |reserve| ([a, b, c], reserve))))
    })
}

#[test]
fn second_price_no_bid_is_better_than_the_truth() {
    for (values, reserve) in every_auction() {
        let honest = sold(Rule::Second, reserve, &values);
        for bidder in 0..3 {
            let truth = utility(honest.as_ref(), bidder, values[bidder]);
            assert!(truth >= 0, "who bids the truth never loses: {values:?}, reserve {reserve}");
            for bid in 0..=VALUE_MAX + 1 {
                let mut bids = values;
                bids[bidder] = bid;
                let deviated = sold(Rule::Second, reserve, &bids);
                let lied = utility(deviated.as_ref(), bidder, values[bidder]);
                assert!(lied <= truth, "{values:?}, reserve {reserve}: {bidder} gains by {bid}");
            }
        }
    }
}

#[test]
fn second_price_the_payment_does_not_depend_on_the_winners_bid() {
    for (bids, reserve) in every_auction() {
        let Some(first) = sold(Rule::Second, reserve, &bids) else { continue };
        for bid in 0..=VALUE_MAX + 1 {
            let mut others = bids;
            others[first.winner] = bid;
            let again = sold(Rule::Second, reserve, &others).filter(|again| again.winner == first.winner);
            assert!(again.is_none_or(|again| again.payment == first.payment), "{bids:?}, reserve {reserve}, {bid}");
        }
    }
}

#[test]
fn the_highest_bid_wins_and_pays_no_more_than_it_bid() {
    for (bids, reserve) in every_auction() {
        let highest = *bids.iter().max().unwrap();
        let sales = [Rule::First, Rule::Second].map(|rule| sold(rule, reserve, &bids));
        assert_eq!(sales[0].is_some(), highest >= reserve);
        assert_eq!(sales[0].as_ref().map(|sale| sale.winner), sales[1].as_ref().map(|sale| sale.winner));
        let [Some(first), Some(second)] = sales else { continue };
        assert_eq!(Some(first.winner), bids.iter().position(|bid| *bid == highest), "the first in the declared order");
        let mut sorted = bids;
        sorted.sort_unstable();
        assert_eq!((first.payment, second.payment), (highest, reserve.max(sorted[1])), "{bids:?}, reserve {reserve}");
        assert_eq!(first.tie_broken, sorted[1] == highest);
    }
}

/// First price is not truthful, and nobody should think it is.
#[test]
fn first_price_rewards_a_bid_below_the_value() {
    let truth = sold(Rule::First, 0, &[6, 3, 0]);
    let lower = sold(Rule::First, 0, &[4, 3, 0]);
    assert_eq!((utility(truth.as_ref(), 0, 6), utility(lower.as_ref(), 0, 6)), (0, 2));
}

/// The outcome names one winner and one payment: there is nothing that a loser could owe. And the order in which bids
/// come changes nothing of it.
#[test]
fn a_loser_pays_nothing_and_the_order_of_bids_does_not_matter() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (bids, reserve) in every_auction().step_by(7) {
        let run = |order: &[usize; 3]| {
            let mut trial = trial(&json!({"rule": "second", "reserve": reserve, "bid_by_ms": 9}), 3);
            for bidder in order {
                trial.answer(1, &format!("m{bidder}"), &json!({"bid": bids[*bidder]}));
            }
            trial.ended().unwrap().body.clone()
        };
        let body = run(&orders[0]);
        assert_eq!(body["winner"].is_null(), body["payment"].is_null());
        assert!(orders.iter().all(|order| run(order) == body), "{bids:?}, reserve {reserve}");
    }
}
