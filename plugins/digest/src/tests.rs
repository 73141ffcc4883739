//! The digest in a `Testbed`.

use skep_sdk::Refusal;
use skep_sdk::serde_json::{Value, from_slice};
use skep_sdk::testing::{Effect, Testbed, asked};

use super::{Digest, File, Part};

fn digest() -> Testbed<Digest> {
    Testbed::start(r#"{"ledger": "ledger"}"#).unwrap()
}

fn part(digest: &mut Testbed<Digest>, path: &str, part: u32, parts: u32, bytes: &[u8]) -> Result<Value, Refusal> {
    let message = asked(&Part(bytes.to_vec())).header("path", path);
    let message = message.header("part", &part.to_string()).header("parts", &parts.to_string());
    digest.one(message).map(|reply| from_slice(&reply.unwrap()).unwrap())
}

fn records(digest: &mut Testbed<Digest>) -> Vec<Value> {
    let record = |effect| match effect {
        Effect::Send { to, kind, body, .. } if to == "ledger" && kind == "record" => from_slice(&body).unwrap(),
        other => panic!("{other:?}"),
    };
    digest.effects().into_iter().map(record).collect()
}

#[test]
fn a_file_is_recorded_once_and_its_asker_gets_the_same() {
    let mut digest = digest();
    let reply = digest.one(asked(&File(b"a b\n".to_vec())).header("path", "x")).unwrap().unwrap();
    let reply: Value = from_slice(&reply).unwrap();
    assert_eq!((&reply["path"], &reply["bytes"], &reply["words"]), (&"x".into(), &4.into(), &2.into()));
    assert_eq!(records(&mut digest), [reply]);
    assert!(digest.keys().is_empty());
}

#[test]
fn parts_come_in_order_over_instances_and_count_once() {
    let mut digest = digest();
    assert_eq!(part(&mut digest, "x", 0, 3, b"one t"), Ok(Value::Null));
    assert!(matches!(part(&mut digest, "x", 2, 3, b"!"), Err(Refusal::Unavailable(_))));
    digest.restart().unwrap();
    assert_eq!(part(&mut digest, "x", 0, 3, b"one t"), Ok(Value::Null));
    assert_eq!(part(&mut digest, "y", 0, 2, b"other"), Ok(Value::Null));
    assert_eq!(part(&mut digest, "x", 1, 3, b"wo"), Ok(Value::Null));
    assert_eq!(records(&mut digest), Vec::<Value>::new());
    let last = part(&mut digest, "x", 2, 3, b" three\n").unwrap();
    assert_eq!((&last["bytes"], &last["words"], &last["lines"]), (&14.into(), &3.into(), &1.into()));
    assert_eq!(records(&mut digest), [last]);
    assert_eq!(digest.keys().len(), 1);
}

#[test]
fn headers_that_are_missing_or_wrong_are_invalid() {
    let mut digest = digest();
    let refusals = [
        digest.one(asked(&File(Vec::new()))).map(drop),
        digest.one(asked(&Part(Vec::new())).header("path", "x")).map(drop),
        digest.one(asked(&Part(Vec::new())).header("path", "x").header("part", "one").header("parts", "2")).map(drop),
        part(&mut digest, "x", 2, 2, b"").map(drop),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Err(Refusal::Invalid(_))), "{refusal:?}");
    }
}

#[test]
fn a_ledger_that_is_not_there_refuses_the_file() {
    let mut digest = digest();
    digest.remove("ledger");
    let refusal = digest.one(asked(&File(Vec::new())).header("path", "x"));
    assert_eq!(refusal, Err(Refusal::Failed("there is no such agent".to_owned())));
}

#[test]
fn a_second_attempt_does_not_trap() {
    let mut digest = Testbed::<Digest>::start(r#"{"trap_on": "x"}"#).unwrap();
    let file = |path: &str, attempt| asked(&File(Vec::new())).header("path", path).attempt(attempt);
    assert!(digest.one(file("x", 2)).is_ok());
    assert!(digest.one(file("y", 1)).is_ok());
    assert!(digest.one(file("y", 2).header("trap", "once")).is_ok());
}
