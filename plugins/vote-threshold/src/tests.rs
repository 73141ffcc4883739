//! Sessions of the vote in a `Trial`. Its properties over all small electorates are in `every`.

mod every;

use skep_protocol::serde_json::{Value, json};
use skep_protocol::testing::{Trial, asked};
use skep_protocol::{AskId, Closed, DownReason, Effect, EndKind, Event, Inbound, Reject};

use super::Threshold;

fn trial(config: &Value, members: usize) -> Trial<Threshold> {
    let ids: Vec<String> = (0..members).map(|place| format!("m{place}")).collect();
    let members: Vec<(&str, u32)> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    let mut trial = Trial::new(config, &members).unwrap();
    trial.start();
    trial
}

fn majority() -> Value {
    json!({"rule": ">1/2", "vote_by_ms": 1000})
}

#[test]
fn sessions_end_as_they_are_written_down() {
    skep_protocol::testing::cases::<Threshold>(include_str!("../tests/cases.json"));
}

#[test]
fn each_member_is_asked_once_and_all_at_once() {
    let config = json!({"question": {"motion": 3}, "rule": ">=2/3", "quorum": "1/2", "vote_by_ms": 1000});
    let trial = trial(&config, 3);
    let open = trial.open();
    for (place, (id, ask)) in (0..).zip(&open) {
        assert_eq!((*id, ask.to.as_str()), (AskId { seq: 0, index: place }, format!("m{place}").as_str()));
        assert_eq!((ask.schema.as_str(), ask.answer_by), ("ballot", Some(1000)));
        let body: Value = asked(ask).unwrap();
        let expect = json!({
            "question": {"motion": 3}, "options": ["yes", "no"], "rule": ">=2/3", "base": "electorate",
            "quorum": "1/2", "vote_by": 1000,
        });
        assert_eq!(body, expect);
    }
    let timer = Effect::SetTimer(("vote-by".to_owned(), 1000));
    assert_eq!(trial.effects().get(3..), Some([timer].as_slice()));
}

#[test]
fn a_vote_for_what_is_no_option_gets_one_more_chance() {
    let mut trial_one = trial(&majority(), 1);
    trial_one.answer(1, "m0", &json!({"vote": "Yes"}));
    let open = trial_one.open();
    let [(id, ask)] = open.as_slice() else { panic!("{open:?}") };
    let body: Value = asked(ask).unwrap();
    assert_eq!((*id, &body["not_understood"]), (AskId { seq: 1, index: 0 }, &json!("\"Yes\" is none of the options")));
    // The first ask is over: an answer to it comes too late.
    trial_one.event(2, message("m0", Some(AskId { seq: 0, index: 0 }), &json!({"vote": "no"})));
    trial_one.answer(3, "m0", &json!({"vote": "yes"}));
    assert_eq!(trial_one.ended().unwrap().body["decision"], "yes");

    let mut trial_other = trial(&majority(), 1);
    trial_other.answer(1, "m0", &json!({"vote": "Yes"}));
    trial_other.answer(2, "m0", &json!({"vote": "YES"}));
    let ended = trial_other.ended().unwrap();
    assert_eq!((ended.code.as_str(), &ended.body["missing"]), ("no-majority", &json!(1)));
}

fn message(from: &str, in_reply_to: Option<AskId>, body: &Value) -> Event {
    let body = body.to_string().into_bytes();
    Event::Message(Inbound { sender: from.to_owned(), msg_id: "x".to_owned(), in_reply_to, body })
}

#[test]
fn the_first_answer_stands_and_only_to_its_own_ask() {
    let mut trial = trial(&majority(), 3);
    let ask = |index| Some(AskId { seq: 0, index });
    trial.event(1, message("m0", None, &json!({"vote": "no"})));
    trial.event(1, message("m0", ask(1), &json!({"vote": "no"})));
    trial.event(1, message("stranger", ask(1), &json!({"vote": "no"})));
    trial.event(1, message("m0", ask(0), &json!({"vote": "yes"})));
    trial.event(1, message("m0", ask(0), &json!({"vote": "no"})));
    trial.answer(2, "m1", &json!({"vote": "yes"}));
    let ended = trial.ended().unwrap();
    assert_eq!((&ended.body["decision"], &ended.body["scores"]["no"]), (&json!("yes"), &json!(0)));
    assert_eq!(ended.evidence, [4, 6]);
}

#[test]
fn nothing_of_a_vote_is_seen_before_the_end() {
    let mut trial_one = trial(&majority(), 3);
    let mut trial_other = trial(&majority(), 3);
    trial_one.answer(1, "m0", &json!({"vote": "yes"}));
    trial_other.answer(1, "m0", &json!({"abstain": true}));
    assert_eq!(trial_one.view(), json!({"phase": "voting", "answered": 1, "members": 3}));
    assert_eq!(trial_one.view(), trial_other.view());
}

#[test]
fn an_answer_goes_with_its_member_only_if_the_config_says_so() {
    for (drop_on_crash, scores, abstained) in
        [(false, json!({"yes": 2, "no": 1}), 1), (true, json!({"yes": 0, "no": 1}), 0)]
    {
        let config = json!({"rule": "plurality", "vote_by_ms": 1000, "drop_on_crash": drop_on_crash});
        let mut trial = trial(&config, 5);
        trial.answer(1, "m0", &json!({"vote": "yes"}));
        trial.answer(1, "m1", &json!({"vote": "yes"}));
        trial.answer(1, "m2", &json!({"abstain": true}));
        for (place, reason) in [(0, DownReason::Crashed), (1, DownReason::Left), (2, DownReason::Unreachable)] {
            trial.event(2, Event::MemberDown((format!("m{place}"), reason)));
        }
        trial.answer(3, "m3", &json!({"vote": "no"}));
        trial.fire(1000, "vote-by");
        let body = &trial.ended().unwrap().body;
        assert_eq!((&body["scores"], &body["abstained"]), (&scores, &json!(abstained)));
        assert_eq!(body["missing"], if drop_on_crash { 4 } else { 1 });
    }
}

/// Three of five are a majority, which a vote that is dropped undoes as long as others may still vote.
#[test]
fn where_answers_may_be_dropped_a_majority_waits_for_the_others() {
    let config = json!({"rule": ">1/2", "vote_by_ms": 1000, "drop_on_crash": true});
    let three_of_five = || {
        let mut trial = trial(&config, 5);
        (0..3).for_each(|place| trial.answer(1, &format!("m{place}"), &json!({"vote": "yes"})));
        assert_eq!(trial.ended(), None);
        trial
    };
    let mut trial_one = three_of_five();
    trial_one.close(2, "m3", Closed::Refused);
    trial_one.answer(3, "m4", &json!({"abstain": true}));
    assert_eq!(trial_one.ended().unwrap().body["decision"], "yes");
    // Nothing can be decided any more: that stands at once, whoever goes down.
    let mut trial_other = three_of_five();
    trial_other.crash(2, "m0");
    trial_other.answer(3, "m3", &json!({"vote": "no"}));
    let ended = trial_other.ended();
    assert_eq!(ended, None, "m4 can still make it three");
    trial_other.crash(4, "m1");
    assert_eq!(trial_other.ended().map(|ended| (ended.code.as_str(), ended.at_ms)), Some(("no-majority", 4)));
}

#[test]
fn ends_without_figures_when_cancelled_and_with_what_there_is_at_the_deadline() {
    let mut trial_one = trial(&majority(), 3);
    trial_one.answer(1, "m0", &json!({"vote": "yes"}));
    trial_one.event(2, Event::Cancel("enough".to_owned()));
    let ended = trial_one.ended().unwrap();
    assert_eq!((ended.kind, &ended.evidence), (EndKind::Cancelled, &vec![2]));
    assert_eq!(ended.body, json!({"status": "cancelled", "decision": null, "tie_broken": false}));

    let mut trial_other = trial(&json!({"rule": ">1/2", "base": "answered", "vote_by_ms": 1000}), 3);
    trial_other.answer(1, "m0", &json!({"vote": "yes"}));
    trial_other.event(2, Event::Deadline);
    assert_eq!(trial_other.ended().unwrap().body["decision"], "yes");
    // A Trial fails if anything is done after the end.
    trial_other.fire(3, "vote-by");
    trial_other.event(4, Event::Cancel("late".to_owned()));
}

#[test]
fn ties_are_drawn_from_the_seed_alone() {
    let mut won = [0; 2];
    for seed in 0..200 {
        let config = json!({"rule": "plurality", "vote_by_ms": 1000, "tie": "seeded"});
        let mut trial = Trial::<Threshold>::seeded(&config, &[("a", 1), ("b", 1)], seed).unwrap();
        trial.start();
        trial.answer(1, "a", &json!({"vote": "yes"}));
        trial.answer(2, "b", &json!({"vote": "no"}));
        won[usize::from(trial.ended().unwrap().body["decision"] == "no")] += 1;
    }
    assert!(won.iter().all(|times| *times > 70), "{won:?}");
}

#[test]
fn refuses_a_config_that_makes_no_sense() {
    let configs = [
        json!({"vote_by_ms": 9}),
        json!({"vote_by_ms": 9, "rule": ">1/2", "quota": 3}),
        json!({"vote_by_ms": 9, "rule": "majority"}),
        json!({"vote_by_ms": 9, "rule": ">1"}),
        json!({"vote_by_ms": 9, "rule": ">=0/2"}),
        json!({"vote_by_ms": 9, "rule": "> 1/2"}),
        json!({"vote_by_ms": 9, "rule": "=1/2"}),
        json!({"vote_by_ms": 9, "rule": "plurality", "base": "answered"}),
        json!({"vote_by_ms": 9, "quota": 3, "base": "electorate"}),
        json!({"vote_by_ms": 9, "quota": 3, "quorum": "3/2"}),
        json!({"vote_by_ms": 9, "quota": 3, "quorum": "half"}),
    ];
    for config in configs {
        assert!(matches!(Trial::<Threshold>::new(&config, &[]), Err(Reject::BadConfig(_))), "{config}");
    }
    for rule in ["plurality", "=1", ">=1", ">=1/1", ">1/2", ">=2/3", ">999999/1000000"] {
        assert!(Trial::<Threshold>::new(&json!({"vote_by_ms": 9, "rule": rule}), &[]).is_ok(), "{rule}");
    }
}

#[test]
fn refuses_a_state_that_is_not_its_own() {
    let trial = trial(&majority(), 1);
    let states = ["", "{}", r#"{"ended":false,"seats":[]}"#, r#"{"ended":false,"seats":[{"vote":[2,1]}]}"#];
    for state in states {
        assert!(matches!(trial.reject(state.as_bytes()), Some(Reject::BadState(_))), "{state}");
    }
    assert_eq!(trial.reject(trial.state()), None);
}

#[test]
fn a_thousand_members_stay_within_the_limits() {
    let mut trial = trial(&json!({"rule": "=1", "base": "answered", "vote_by_ms": 1000}), 1_000);
    for place in 0..999 {
        trial.answer(1, &format!("m{place}"), &json!({"vote": "no"}));
    }
    let bytes = trial.state().len();
    assert!(bytes < 32_000, "{bytes} bytes");
    trial.close(2, "m999", Closed::Expired);
    let ended = trial.ended().unwrap();
    assert_eq!((&ended.body["decision"], ended.evidence.len()), (&json!("no"), 999));
}
