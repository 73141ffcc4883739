//! The rules that every protocol keeps (D1 to D11), as one harness: rehearsals of a protocol's component, with members that
//! answer, are silent, crash, repeat and contradict themselves. What a protocol decides is its own tests' business.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};
use skep_core::session::{Effect, Notice, Record};
use skep_runtime::{Cast, Protocol, Rehearsed};

use crate::hives::cache_dir;

/// The longest session that a rule is tried on, in milliseconds.
const DEADLINE_MS: u64 = 10_000;

/// A protocol, and what it takes to play it. It asks each member once, at its start.
pub struct Subject {
    /// Its component.
    pub file: PathBuf,
    /// A config under which answers count until `answer_by_ms`.
    pub config: Value,
    /// Session time up to which answers count.
    pub answer_by_ms: u64,
    /// The answer of a member, by its place. No two decide the session before all have answered.
    pub answer: fn(usize) -> Value,
    /// Another one that is allowed too.
    pub other: fn(usize) -> Value,
    /// Answers that are none.
    pub invalid: Vec<Value>,
    /// A config by which the first two answers decide, of however many members; none: all of them always count.
    pub early: Option<Value>,
    /// Compiled once.
    pub protocol: OnceLock<Protocol>,
}

/// What a member does; see `docs/sessions.md`.
pub fn answers(body: Value, after_ms: u64) -> Value {
    json!({"answer": {"body": body, "after_ms": after_ms}})
}

impl Subject {
    /// Runs a session with members that do these things: their answers, or more of what a members file says of one.
    pub async fn play(&self, members: Vec<Value>) -> Rehearsed {
        self.play_with(members, json!({})).await
    }

    /// As `play`, with more that happens to the session.
    pub async fn play_with(&self, members: Vec<Value>, more: Value) -> Rehearsed {
        let members: Vec<Value> = members
            .into_iter()
            .enumerate()
            .map(|(place, does)| match does {
                Value::Object(mut does) => {
                    does.insert("id".to_owned(), json!(format!("m{place}")));
                    Value::Object(does)
                }
                answers => json!({"id": format!("m{place}"), "answers": answers}),
            })
            .collect();
        let mut cast = json!({"members": members, "deadline_ms": DEADLINE_MS});
        let fields = cast.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        let cast: Cast = serde_json::from_value(cast).expect("a cast");
        self.rehearse(self.config.clone(), &cast).await
    }

    async fn rehearse(&self, config: Value, cast: &Cast) -> Rehearsed {
        self.protocol().rehearse(config, cast).await.expect("a session")
    }

    fn protocol(&self) -> &Protocol {
        self.protocol.get_or_init(|| Protocol::open(&self.file, Some(&cache_dir())).expect("a protocol"))
    }

    fn honest(&self, place: usize) -> Value {
        json!([answers((self.answer)(place), 5 + place as u64)])
    }

    async fn all_honest(&self, count: usize) -> Rehearsed {
        self.play((0..count).map(|place| self.honest(place)).collect()).await
    }

    /// Each rule, one after the other.
    pub async fn keeps_the_rules(&self) {
        self.waits_for_answers_and_no_longer().await;
        self.takes_no_answer_for_one().await;
        self.does_not_wait_for_the_dead().await;
        self.lets_the_first_answer_stand().await;
        self.hears_no_strangers().await;
        self.depends_on_no_order_of_arrival().await;
        self.ends_once_whatever_happens().await;
    }

    /// D1, D2: silence is waited for until the time is up; who has all answers waits no longer.
    async fn waits_for_answers_and_no_longer(&self) {
        let silent = self.play(vec![json!(["silence"]); 3]).await;
        assert_eq!(silent.record.ended_ms, self.answer_by_ms, "D1");
        assert_eq!(silent.record.no_answer, ["m0", "m1", "m2"], "D1");
        let told_all = ["m0", "m1", "m2"].iter().all(|member| silent.told.get(*member).map(Vec::len) == Some(1));
        assert!(told_all, "D1 {:?}", silent.told);
        let answered = self.all_honest(3).await;
        assert!(answered.record.ended_ms < self.answer_by_ms, "D2");
        assert!(answered.record.no_answer.is_empty(), "D1");
        if let Some(early) = &self.early {
            self.does_not_wait_for_what_changes_nothing(early.clone()).await;
        }
    }

    /// D2: an answer that can change nothing is not waited for, and its member is told so.
    async fn does_not_wait_for_what_changes_nothing(&self, config: Value) {
        let same = json!([answers((self.answer)(0), 5)]);
        let members = json!([
            {"id": "m0", "answers": same}, {"id": "m1", "answers": same}, {"id": "m2", "answers": ["silence"]},
        ]);
        let cast = serde_json::from_value(json!({"members": members, "deadline_ms": DEADLINE_MS})).expect("a cast");
        let cut_off = self.rehearse(config, &cast).await;
        assert_eq!((cut_off.record.ended_ms, &*cut_off.record.no_answer), (5, &[][..]), "D2");
        assert_eq!(cut_off.told.get("m2"), Some(&vec![Notice::Cancelled]), "D2");
    }

    /// D3, D9: what is no answer is asked for once more, and then is silence.
    async fn takes_no_answer_for_one(&self) {
        let honest = self.all_honest(3).await;
        for wrong in &self.invalid {
            let once = json!([answers(wrong.clone(), 1), answers((self.answer)(0), 2)]);
            let mended = self.play(vec![once, self.honest(1), self.honest(2)]).await;
            assert_eq!(result(&mended.record), result(&honest.record), "D3 {wrong}");
            assert_eq!(mended.record.invalid, ["m0"], "D3 {wrong}");
            assert_eq!(mended.not_understood.get("m0"), Some(&1), "D3 {wrong}");
            let twice = json!([answers(wrong.clone(), 1), {"malformed": {"text": "{", "after_ms": 1}}]);
            let never = self.play(vec![twice, self.honest(1), self.honest(2)]).await;
            let silent = self.play(vec![json!(["silence"]), self.honest(1), self.honest(2)]).await;
            assert_eq!(result(&never.record), result(&silent.record), "D3 {wrong}");
            assert_eq!(never.record.no_answer, ["m0"], "D3 {wrong}");
        }
    }

    /// D4: an ask of who ends is over at once; who has answered before has answered.
    async fn does_not_wait_for_the_dead(&self) {
        let crash = json!([{"crash": {"after_ms": 1}}]);
        let dead = self.play(vec![crash, self.honest(1), self.honest(2)]).await;
        assert!(dead.record.ended_ms < self.answer_by_ms, "D4");
        let silent = self.play(vec![json!(["silence"]), self.honest(1), self.honest(2)]).await;
        assert_eq!(result(&dead.record), result(&silent.record), "D4");
        // An answer that is given before is one that counts.
        let honest = self.all_honest(3).await;
        let given = json!({"answers": [answers((self.answer)(0), 1)], "down_at_ms": 2});
        let given = self.play(vec![given, self.honest(1), self.honest(2)]).await;
        assert_eq!(result(&given.record), result(&honest.record), "D4");
        assert!(given.record.no_answer.is_empty() && given.record.late.is_empty(), "D4 {:?}", given.record);
        let refused = self.play(vec![json!([{"refuse": {}}]), self.honest(1), self.honest(2)]).await;
        assert_eq!(result(&refused.record), result(&silent.record), "D4");
    }

    /// D5, D6: the first answer stands; one that is late changes nothing.
    async fn lets_the_first_answer_stand(&self) {
        let honest = self.all_honest(3).await;
        let twice = |body: Value| json!([{"answer": {"body": (self.answer)(0), "after_ms": 1, "again": [{"body": body, "after_ms": 2}]}}]);
        let same = self.play(vec![twice((self.answer)(0)), self.honest(1), self.honest(2)]).await;
        assert_eq!(result(&same.record), result(&honest.record), "D5");
        assert!(same.record.equivocated.is_empty(), "D5");
        let other = self.play(vec![twice((self.other)(0)), self.honest(1), self.honest(2)]).await;
        assert_eq!(result(&other.record), result(&honest.record), "D5");
        assert_eq!(other.record.equivocated, ["m0"], "D5");
        let late = json!([answers((self.answer)(0), self.answer_by_ms + 1)]);
        let late = self.play(vec![late, self.honest(1), self.honest(2)]).await;
        let silent = self.play(vec![json!(["silence"]), self.honest(1), self.honest(2)]).await;
        assert_eq!(result(&late.record), result(&silent.record), "D6");
        assert_eq!(late.told.get("m0").and_then(|told| told.last()), Some(&Notice::Late), "D6");
        assert_eq!(late.told.get("m1"), None, "D6");
    }

    /// D7: who is no member is not heard.
    async fn hears_no_strangers(&self) {
        let honest = self.all_honest(3).await;
        let strangers = json!({"strangers": [{"id": "x", "at_ms": 1, "body": (self.answer)(0)}]});
        let all = (0..3).map(|place| self.honest(place)).collect();
        let disturbed = self.play_with(all, strangers).await;
        assert_eq!(disturbed.log, honest.log, "D7");
    }

    /// D8: whoever comes first, the result is the same.
    async fn depends_on_no_order_of_arrival(&self) {
        let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
        let honest = result(&self.all_honest(3).await.record);
        for order in orders {
            let member = |place: usize| json!([answers((self.answer)(place), order[place])]);
            let played = self.play((0..3).map(member).collect()).await;
            assert_eq!(result(&played.record), honest, "D8 {order:?}");
        }
    }

    /// D10, D11: one outcome, also of none and of one member, and when it is called off; the same each time.
    async fn ends_once_whatever_happens(&self) {
        for count in [0, 1, 2, 3] {
            let played = self.all_honest(count).await;
            self.ended_once(&played, &format!("D11 {count} members")).await;
            assert_eq!(self.all_honest(count).await.log, played.log, "the same again, {count} members");
        }
        let silent = || vec![json!(["silence"]); 2];
        let cancelled = self.play_with(silent(), json!({"cancel_at_ms": 3})).await;
        self.ended_once(&cancelled, "D10 cancelled").await;
        assert_eq!(cancelled.record.ended_ms, 3);
        let short = self.play_with(silent(), json!({"deadline_ms": 7})).await;
        self.ended_once(&short, "D10 deadline").await;
        assert_eq!(short.record.ended_ms, 7, "D10 deadline");
    }

    /// One outcome, at the very end, which does not come of a failure, and which the log gives again.
    async fn ended_once(&self, played: &Rehearsed, what: &str) {
        let ends = played.log.iter().flat_map(|entry| &entry.effects).filter(|effect| matches!(effect, Effect::End(_)));
        assert_eq!(ends.count(), 1, "{what}");
        let last = played.log.last().expect("an entry");
        assert!(matches!(last.effects.last(), Some(Effect::End(_))), "{what}");
        let evidence = &played.record.outcome.evidence;
        assert!(evidence.iter().all(|seq| *seq < played.record.events), "{what} {evidence:?}");
        let seqs: Vec<u64> = played.log.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, (0..played.record.events).collect::<Vec<u64>>(), "{what}");
        let again = self.protocol().replay(&[], &played.info, &played.log).await;
        assert_eq!(again.expect("the same"), played.record.outcome, "{what}");
    }
}

/// What counts of an outcome: not how its host got there.
fn result(record: &Record) -> Value {
    let body: Value = serde_json::from_str(&record.outcome.body).expect("a body");
    json!([record.outcome.kind, record.outcome.code, body])
}
