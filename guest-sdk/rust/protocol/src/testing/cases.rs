//! Sessions written down: who takes part, what happens, and what must come of it.

use serde::Deserialize;
use serde_json::Value;

use super::Trial;
use crate::{Closed, Protocol};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Where the expectation comes from.
    source: String,
    config: Value,
    /// With their weights, in the declared order.
    members: Vec<(String, u32)>,
    events: Vec<Happening>,
    expect: Expectation,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Happening {
    /// When, who, what.
    Answer(u64, String, Value),
    /// The same, of what has to be refused.
    Wrong(u64, String, Value),
    /// The same, of who is no member.
    Stranger(u64, String, Value),
    /// When an ask ends without an answer, and whose.
    Expire(u64, String),
    /// When, who.
    Crash(u64, String),
    /// When, which timer.
    Fire(u64, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    code: String,
    at_ms: u64,
    /// These fields of the body; there may be others.
    body: Value,
    evidence: Option<Vec<u64>>,
}

/// Runs each session of a list, as JSON, and panics with the name of the first that ends otherwise. An entry:
///
/// ```json
/// {"name": "a lone bidder", "source": "Vickrey 1961", "config": {"rule": "second", "bid_by_ms": 9}, "members": [["a", 1]],
///  "events": [{"answer": [3, "a", {"bid": 40}]}], "expect": {"code": "sold", "at_ms": 3, "body": {"winner": "a"}}}
/// ```
///
/// Beside `answer` (when, who, what) there are `wrong`, an answer that the ask's schema has to refuse, `stranger`, one of who
/// is no member, `crash` and `expire` (when, who) and `fire` (when, which timer). The body that is expected may leave fields
/// out, and so may the expectation its `evidence`.
pub fn cases<P: Protocol>(json: &str) {
    let cases: Vec<Case> = serde_json::from_str(json).unwrap_or_else(|error| panic!("the cases: {error}"));
    assert!(!cases.is_empty(), "there is no case");
    for case in cases {
        assert!(!case.source.is_empty(), "{}: no source", case.name);
        run::<P>(&case);
    }
}

fn run<P: Protocol>(case: &Case) {
    let name = &case.name;
    let members: Vec<(&str, u32)> = case.members.iter().map(|(id, weight)| (id.as_str(), *weight)).collect();
    let mut trial = Trial::<P>::new(&case.config, &members).unwrap_or_else(|reject| panic!("{name}: {reject:?}"));
    trial.start();
    for happening in &case.events {
        match happening {
            Happening::Answer(at_ms, from, body) => trial.answer(*at_ms, from, body),
            Happening::Wrong(at_ms, from, body) => trial.answer_wrongly(*at_ms, from, body),
            Happening::Stranger(at_ms, from, body) => trial.intrude(*at_ms, from, body),
            Happening::Expire(at_ms, member) => trial.close(*at_ms, member, Closed::Expired),
            Happening::Crash(at_ms, member) => trial.crash(*at_ms, member),
            Happening::Fire(at_ms, timer) => trial.fire(*at_ms, timer),
        }
    }
    let Some(ended) = trial.ended() else { panic!("{name}: it has not ended") };
    assert_eq!((ended.code.as_str(), ended.at_ms), (case.expect.code.as_str(), case.expect.at_ms), "{name}: {ended:?}");
    for (field, expect) in case.expect.body.as_object().into_iter().flatten() {
        assert_eq!(ended.body.get(field), Some(expect), "{name}: {field}");
    }
    if let Some(evidence) = &case.expect.evidence {
        assert_eq!(ended.evidence, *evidence, "{name}: evidence");
    }
}
