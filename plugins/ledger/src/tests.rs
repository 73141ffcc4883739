//! The ledger in a `Testbed`.

use skep_sdk::serde_json::{Value, from_slice, json};
use skep_sdk::testing::{Effect, Testbed, asked};
use skep_sdk::{Bytes, Envelope, Refusal};

use super::Ledger;

fn ledger() -> Testbed<Ledger> {
    Testbed::start("{}").unwrap()
}

fn ask(ledger: &mut Testbed<Ledger>, kind: &str, body: Value) -> Result<Value, Refusal> {
    let envelope = Envelope::new(kind, &body)?;
    ledger.ask(&envelope).map(|Bytes(reply)| from_slice(&reply).unwrap())
}

fn record(ledger: &mut Testbed<Ledger>, path: &str, bytes: u64) {
    let body = json!({"path": path, "sha256": "0", "bytes": bytes, "lines": 1, "words": 2, "version": 1});
    ask(ledger, "record", body).unwrap();
}

#[test]
fn what_comes_twice_is_counted_twice_and_survives_the_instance() {
    let mut ledger = ledger();
    record(&mut ledger, "a.rs", 10);
    record(&mut ledger, "b.txt", 5);
    ledger.restart().unwrap();
    record(&mut ledger, "a.rs", 10);
    let totals = json!({"files": 2, "bytes": 15, "lines": 2, "words": 4, "deliveries": 3, "versions": [[1, 3]]});
    assert_eq!(ask(&mut ledger, "totals", Value::Null), Ok(totals));
    assert_eq!(ask(&mut ledger, "file", json!({"path": "a.rs"})).unwrap()["deliveries"], 2);
    assert_eq!(ask(&mut ledger, "file", json!({"path": "c"})), Ok(Value::Null));
}

/// Follows `next` to the end and gives the rows' names.
fn walk(ledger: &mut Testbed<Ledger>, kind: &str, field: &str, limit: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = ask(ledger, kind, json!({"after": after, "limit": limit})).unwrap();
        let rows = page["rows"].as_array().unwrap();
        assert!(rows.len() <= limit);
        names.extend(rows.iter().map(|row| row[field].as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            return names;
        }
    }
}

#[test]
fn pages_bring_every_row_once_in_order() {
    let mut ledger = ledger();
    let long = "d".repeat(500);
    let paths = ["Makefile", "a.rs", "b.rs", "c.TXT", long.as_str()];
    for path in paths {
        record(&mut ledger, path, 1);
    }
    for limit in 1..=6 {
        assert_eq!(walk(&mut ledger, "files", "path", limit), paths, "{limit}");
        assert_eq!(walk(&mut ledger, "report", "extension", limit), ["", "rs", "txt"], "{limit}");
    }
    let report = ask(&mut ledger, "report", Value::Null).unwrap();
    assert_eq!((&report["totals"]["files"], &report["rows"][1]["files"]), (&5.into(), &2.into()));
    assert!(matches!(ask(&mut ledger, "files", json!({"limt": 1})), Err(Refusal::Invalid(_))));
}

#[test]
fn who_waits_is_told_when_so_much_has_come() {
    let mut ledger = ledger();
    let wait = |deliveries: u64| asked(&Envelope::new("wait", &json!({ "deliveries": deliveries })).unwrap());
    assert!(ledger.one(wait(0)).unwrap().is_some());
    assert_eq!(ledger.one(wait(2)), Ok(None));
    record(&mut ledger, "a", 1);
    assert_eq!(ledger.effects(), []);
    ledger.restart().unwrap();
    record(&mut ledger, "b", 1);
    let effects = ledger.effects();
    let [Effect::Reply { body, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(from_slice::<Value>(body).unwrap()["deliveries"], 2);
    record(&mut ledger, "c", 1);
    assert_eq!(ledger.effects(), []);
}
