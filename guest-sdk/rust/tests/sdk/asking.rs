//! Asks, calls, answers and replies that come later.

use std::collections::BTreeMap;

use skep_sdk::prelude::*;
use skep_sdk::testing::{Effect, Testbed, asked};

#[agent(persist)]
#[derive(Default)]
struct Broker {
    /// For whom each ask is.
    open: BTreeMap<AskId, ReplyTo>,
    lost: Vec<String>,
}

#[message(reply = u64)]
struct Price {
    of: String,
}

#[message(reply = u64)]
struct PriceNow {
    of: String,
}

#[message(reply = Vec<String>)]
struct Lost;

#[handlers]
impl Broker {
    fn price(&mut self, ctx: &mut Context, m: Price) -> Result<Later> {
        let ask = ctx.ask_within(&"market".into(), &m, Duration::from_millis(250))?;
        self.open.extend(ctx.asker().map(|asker| (ask, asker)));
        Ok(Later)
    }

    fn price_now(&self, ctx: &mut Context, m: PriceNow) -> Result<u64> {
        Ok(ctx.call(&ctx.address("market"), &Price { of: m.of })? + 1)
    }

    fn lost(&self, _: Lost) -> Vec<String> {
        self.lost.clone()
    }

    #[answer]
    fn answered(&mut self, ctx: &mut Context, answer: Answer) -> Result<()> {
        let asker = self.open.remove(&answer.ask);
        match (asker, answer.read::<Price>()) {
            (Some(asker), Ok(price)) => ctx.reply(&asker, &(price * 2))?,
            (_, result) => self.lost.push(format!("{result:?}")),
        }
        Ok(())
    }
}

fn broker() -> Testbed<Broker> {
    Testbed::start("{}").unwrap()
}

fn price() -> Price {
    Price { of: "tea".to_owned() }
}

#[test]
fn a_reply_may_come_in_a_later_turn_of_another_instance() {
    let mut broker = broker();
    assert_eq!(broker.one(asked(&price())), Ok(None));
    let effects = broker.effects();
    let [Effect::Ask { id, to, kind, body, deadline_ms: 250 }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((to.as_str(), kind.as_str(), body.as_slice()), ("market", "price", br#"{"of":"tea"}"#.as_slice()));
    broker.restart().unwrap();
    let ask: AskId = skep_sdk::serde_json::from_str(&format!("\"{id}\"")).unwrap();
    broker.answer(ask, &21_u64).unwrap();
    assert!(matches!(&broker.effects()[..], [Effect::Reply { body, .. }] if body == b"42"));
}

#[test]
fn an_ask_that_fails_says_why_and_a_reply_that_does_not_fit_is_a_bad_one() {
    let mut broker = broker();
    let mut ask = || {
        broker.one(asked(&price())).unwrap();
        broker.asks()[0]
    };
    let asks = [ask(), ask(), ask()];
    broker.fail(asks[0], &AskError::Timeout).unwrap();
    broker.fail(asks[1], &AskError::Refused(Refusal::Denied("no".to_owned()))).unwrap();
    broker.answer(asks[2], &"text".to_owned()).unwrap();
    let lost = broker.ask(&Lost).unwrap();
    assert_eq!(lost[..2], ["Err(Timeout)", "Err(Refused(Denied(\"no\")))"]);
    assert!(lost[2].starts_with("Err(BadReply("), "{lost:?}");
}

#[test]
fn a_call_waits_and_its_failure_refuses() {
    let mut broker = broker();
    let now = PriceNow { of: "tea".to_owned() };
    assert_eq!(broker.ask(&now), Err(Refusal::Failed("not sent: there is no such agent".to_owned())));
    broker.on_call(|to, kind, body| {
        assert_eq!((to, kind, body), ("market", "price", br#"{"of":"tea"}"#.as_slice()));
        Ok(b"4".to_vec())
    });
    assert_eq!(broker.ask(&now), Ok(5));
    broker.on_call(|_, _, _| Err(AskError::Cycle("a, b, a".to_owned())));
    assert_eq!(broker.ask(&now), Err(Refusal::Failed("a cycle of calls: a, b, a".to_owned())));
}

#[test]
fn addresses_and_ids_serialise_as_text() {
    let address = Address::new("a/b");
    assert_eq!(skep_sdk::serde_json::to_string(&address).unwrap(), "\"a/b\"");
    assert_eq!(skep_sdk::serde_json::from_str::<Address>("\"a/b\"").unwrap(), address);
    let id: Id = "0000000000000001ffffffffffffffff".parse().unwrap();
    assert_eq!(id.to_string(), "0000000000000001ffffffffffffffff");
    for bad in [
        "",
        "1",
        "+000000000000001ffffffffffffffff",
        "g000000000000001ffffffffffffffff",
        "\u{e9}00000000000000001ffffffffffffff",
    ] {
        assert!(bad.parse::<Id>().is_err(), "{bad:?}");
    }
}
