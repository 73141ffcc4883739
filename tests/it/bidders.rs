//! An auction among members that are written as an author would write them: a handler for the ask, typed, and one for the
//! word that nobody waits any more.

use serde_json::{Value, json};
use skep_core::session::{EndKind, Record};
use skep_core::spec::Durability;
use skep_runtime::{AskOptions, Host, SessionSpec};
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};

const AUCTION: &str = "auction-sealed-bid";

/// More than JSON's whole numbers go in every language, so no bid.
const TOO_MUCH: u64 = 1 << 53;

/// Two bidders with these configs.
fn market(a: &Value, b: &Value) -> Draft {
    let bidder = |draft: Draft, name: &str, config: &Value| {
        draft.agent_with(name, "bidder", Durability::Full, |spec| spec.config_json = config.to_string())
    };
    bidder(bidder(Draft::new().plugin(AUCTION), "a", a), "b", b)
}

async fn open(host: &Host) {
    let config = json!({"item": "lamp", "rule": "second", "reserve": 2, "bid_by_ms": 20_000});
    let spec = json!({"config": config, "members": [{"id": "a"}, {"id": "b"}]});
    let spec: SessionSpec = serde_json::from_value(spec).expect("a declaration");
    host.open_session("s", AUCTION, &spec).await.expect("a session");
}

async fn outcome(host: &Host) -> Record {
    kit::within("an outcome", host.outcome("s", AskOptions::default())).await.expect("an outcome")
}

fn body(record: &Record) -> Value {
    serde_json::from_str(&record.outcome.body).expect("a body")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_bidder_that_is_not_understood_is_told_why_and_bids_again() {
    let host = market(&json!({"bid": 7, "nonsense_first": true}), &json!({"bid": 5})).run().await;
    let mut watch = Watch::on(&host);
    open(&host).await;
    watch.expect(&event("custom").of("a").saying("asked_again")).await;
    let record = outcome(&host).await;
    assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Decided, "sold"));
    assert_eq!((&body(&record)["winner"], &body(&record)["payment"]), (&json!("a"), &json!(5)));
    assert_eq!(record.invalid, ["a"]);
    assert!(record.no_answer.is_empty(), "the second answer was one: {record:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_bidder_hears_that_nobody_waits_for_its_bid() {
    let host = market(&json!({"bid": TOO_MUCH}), &json!({"bid": 1})).run().await;
    let mut watch = Watch::on(&host);
    open(&host).await;
    watch.expect(&event("custom").of("a").saying("asked_again")).await;
    // The header with which it comes names the ask: the first of the first step.
    watch.expect(&event("custom").of("a").saying("ask=0.0").saying("how=expired")).await;
    let record = outcome(&host).await;
    assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::NoDecision, "no-sale"));
    assert_eq!(record.invalid, ["a"]);
    assert_eq!(record.no_answer, ["a"], "b has passed: that is an answer");
}
