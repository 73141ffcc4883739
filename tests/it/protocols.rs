//! Every protocol keeps the common rules, and those of its cases that need the host's part: schemas, asking again, crashes.

use std::sync::OnceLock;

use serde_json::{Value, json};
use skep_runtime::Rehearsed;
use skep_tests::guests::component;
use skep_tests::protocols::{Subject, answers};

fn sealed_bid(rule: &'static str) -> Subject {
    Subject {
        file: component("auction-sealed-bid"),
        config: json!({"rule": rule, "reserve": 1, "bid_by_ms": 1_000}),
        answer_by_ms: 1_000,
        answer: |place| json!({"bid": ([10, 15, 12][place])}),
        other: |place| json!({"bid": ([20, 25, 22][place])}),
        invalid: vec![
            json!({"bid": "lots"}),
            json!({"bid": -1}),
            json!({"bid": 1.5}),
            // Above 2^53-1, where not every language has whole numbers any more.
            json!({"bid": 9_007_199_254_740_992_u64}),
            json!({"bid": 1, "pass": true}),
            json!([]),
        ],
        early: None,
        protocol: OnceLock::new(),
    }
}

/// With as many options as members, so that the last one decides.
fn threshold(rule: &'static str) -> Subject {
    Subject {
        file: component("vote-threshold"),
        config: json!({"rule": rule, "options": ["a", "b", "c"], "vote_by_ms": 1_000}),
        answer_by_ms: 1_000,
        answer: |place| json!({"vote": (["a", "b", "c"][place])}),
        other: |place| json!({"vote": (["b", "c", "a"][place])}),
        invalid: vec![json!({"vote": 1}), json!({"abstain": false}), json!("a"), json!({})],
        early: Some(json!({"rule": ">1/2", "options": ["a", "b"], "vote_by_ms": 1_000})),
        protocol: OnceLock::new(),
    }
}

#[tokio::test]
async fn the_sealed_bid_auction_keeps_the_common_rules() {
    for rule in ["first", "second"] {
        sealed_bid(rule).keeps_the_rules().await;
    }
}

#[tokio::test]
async fn the_threshold_vote_keeps_the_common_rules() {
    threshold("plurality").keeps_the_rules().await;
}

async fn outcome(subject: &Subject, members: Vec<Value>) -> Value {
    of(&subject.play(members).await)
}

/// The outcome's body, and when it was recorded.
fn of(played: &Rehearsed) -> Value {
    let mut body: Value = serde_json::from_str(&played.record.outcome.body).expect("a body");
    body["ended_at_ms"] = json!(played.record.ended_ms);
    body
}

fn says(found: &Value, expected: &Value) {
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&found[key], value, "{key} of {found}");
    }
}

/// An invalid answer gives one more try before the deadline; a bid binds who ends after it.
#[tokio::test]
async fn a_sealed_bid_is_read_once_more_and_binds() {
    let subject = Subject { config: json!({"rule": "second", "bid_by_ms": 1_000}), ..sealed_bid("second") };
    let bid = |amount: u64, after_ms: u64| json!([answers(json!({ "bid": amount }), after_ms)]);
    let mended = json!([answers(json!({"bid": "lots"}), 1), answers(json!({"bid": 10}), 1)]);
    let played = subject.play(vec![mended, bid(12, 3)]).await;
    says(&of(&played), &json!({"winner": "m1", "payment": 10, "ended_at_ms": 3}));
    assert_eq!(played.not_understood.get("m0"), Some(&1), "it was asked again");
    assert_eq!(played.record.invalid, ["m0"]);
    assert!(played.record.no_answer.is_empty());
    let last = [bid(10, 1), bid(15, 2), bid(12, 4)];
    let down = json!({"members": [
        {"id": "m0", "answers": last[0]}, {"id": "m1", "answers": last[1], "down_at_ms": 3}, {"id": "m2", "answers": last[2]},
    ]});
    let played = subject.play_with(Vec::new(), down).await;
    says(&of(&played), &json!({"status": "sold", "winner": "m1", "payment": 12, "winner_down": true}));
}

/// Neither a bid of no member nor one without an amount is a bid, and neither ends the auction for the others.
#[tokio::test]
async fn what_is_no_bid_is_refused_and_the_auction_goes_on() {
    let subject = Subject { config: json!({"rule": "first", "reserve": 0, "bid_by_ms": 1_000}), ..sealed_bid("first") };
    let no_sale = |at_ms: u64| json!({"status": "no-sale", "winner": null, "payment": null, "ended_at_ms": at_ms});
    let stranger = json!({"strangers": [{"id": "non_existent_agent", "at_ms": 1, "body": {"bid": 10}}]});
    let passes = json!([answers(json!({"pass": true}), 2)]);
    let played = subject.play_with(vec![passes], stranger.clone()).await;
    says(&of(&played), &no_sale(2));
    assert_eq!(played.record.events, 2, "the start and the pass");
    let bids = json!([answers(json!({"bid": 3}), 2)]);
    let played = subject.play_with(vec![bids], stranger).await;
    says(&of(&played), &json!({"winner": "m0", "payment": 3}));

    let without = || json!([answers(json!({"value": 0.8}), 1), answers(json!({"value": 0.8}), 1)]);
    let played = subject.play(vec![without()]).await;
    says(&of(&played), &no_sale(2));
    assert_eq!(played.not_understood.get("m0"), Some(&1), "once more, and not again");
    assert_eq!(played.record.invalid, ["m0"]);
    assert_eq!(played.record.no_answer, ["m0"]);
    let bids = json!([answers(json!({"bid": 3}), 5)]);
    let played = subject.play(vec![without(), bids]).await;
    says(&of(&played), &json!({"winner": "m1", "payment": 3, "ended_at_ms": 5}));
    assert_eq!(played.record.invalid, ["m0"]);
}

/// A vote ends when nothing can change its result any more: by votes, or by the end of a voter.
#[tokio::test]
async fn a_vote_ends_when_its_result_stands() {
    let with = |config: Value| Subject { config, ..threshold("=1") };
    let vote = |word: &str, after_ms: u64| json!([answers(json!({ "vote": word }), after_ms)]);
    let silent = || json!(["silence"]);
    let majority = with(json!({"rule": ">1/2", "vote_by_ms": 1_000}));
    let noes = vec![vote("no", 1), vote("no", 2), vote("no", 3), silent(), silent()];
    says(&outcome(&majority, noes).await, &json!({"decision": "no", "ended_at_ms": 3}));
    let answered = with(json!({"rule": ">1/2", "base": "answered", "quorum": "3/5", "vote_by_ms": 1_000}));
    let few = vec![vote("yes", 1), vote("yes", 2), silent(), silent(), silent()];
    says(&outcome(&answered, few).await, &json!({"status": "no-quorum", "answered": 2, "quorum": 3}));
    let unanimity = with(json!({"rule": "=1", "vote_by_ms": 1_000}));
    let crash = vec![vote("yes", 1), vote("yes", 2), json!([{"crash": {"after_ms": 3}}])];
    let expected = json!({"decision": null, "status": "not-unanimous", "missing": 1, "ended_at_ms": 3});
    says(&outcome(&unanimity, crash).await, &expected);
}

/// A vote stands when its voter ends later, unless the config says that it is dropped.
#[tokio::test]
async fn a_vote_is_dropped_with_its_voter_only_if_the_config_says_so() {
    let vote = |word: &str, after_ms: u64| json!([answers(json!({ "vote": word }), after_ms)]);
    for (drops, expected) in [
        (false, json!({"decision": "yes", "missing": 0, "ended_at_ms": 3})),
        (true, json!({"decision": null, "status": "no-majority", "missing": 1, "ended_at_ms": 4})),
    ] {
        let config = json!({"rule": ">1/2", "vote_by_ms": 1_000, "drop_on_crash": drops});
        let subject = Subject { config, ..threshold("plurality") };
        let members = json!({"members": [
            {"id": "m0", "answers": vote("yes", 1), "down_at_ms": 2}, {"id": "m1", "answers": vote("yes", 3)},
            {"id": "m2", "answers": vote("no", 4)},
        ]});
        says(&of(&subject.play_with(Vec::new(), members).await), &expected);
    }
}
