//! The books by themselves, with a protocol that is played by hand.

use super::*;

fn manifest() -> Manifest {
    Manifest {
        name: "test".into(),
        version: "1.0.0".into(),
        state_version: 1,
        config_schema: "true".into(),
        outcome_schema: "true".into(),
        ask_schemas: vec![("q".into(), "true".into())],
        roles: Vec::new(),
        order_sensitive: false,
        allows_join: false,
        properties: Vec::new(),
        timing: Timing { default_deadline_ms: 1_000, members_min: 0, members_max: None },
        limits: Limits { state_bytes_max: 1_000, effects_per_step_max: 10, fuel_per_step: 1 },
    }
}

fn members(names: &[&str]) -> Vec<Member> {
    let member = |name: &&str| Member { id: (*name).into(), role: String::new(), weight: 1, capabilities: Vec::new() };
    names.iter().map(member).collect()
}

fn session(names: &[&str]) -> Session {
    let info = Info {
        session: "s".into(),
        config: "{}".into(),
        members: members(names),
        seed: 0,
        deadline_ms: 1_000,
        opened_ns: 0,
    };
    Session::open(info, &manifest())
}

fn ask(to: &str, answer_by_ms: Option<u64>) -> Effect {
    Effect::Ask { to: to.into(), body: "1".into(), schema: "q".into(), answer_by_ms }
}

fn end() -> Effect {
    let outcome = Outcome { kind: EndKind::Decided, code: "done".into(), body: "1".into(), evidence: Vec::new() };
    Effect::End(outcome)
}

/// One step, with these effects; gives what the protocol was told.
fn step(session: &mut Session, effects: Vec<Effect>) -> Envelope {
    let envelope = session.next_envelope().expect("a step");
    session.stepped(&envelope, 1, effects);
    envelope
}

fn answer(ask: AskId, member: &str, body: &str) -> Input {
    Input::Answer { ask, member: member.into(), msg_id: "m".into(), body: Ok(body.into()) }
}

const FIRST: AskId = AskId { seq: 0, index: 0 };

fn code(session: &Session) -> &str {
    session.record().map_or("none", |record| record.outcome.code.as_str())
}

#[test]
fn it_starts_once_and_nothing_follows_the_outcome() {
    let mut session = session(&["a"]);
    assert_eq!(step(&mut session, vec![ask("a", None)]), Envelope { seq: 0, at_ms: 0, event: Event::Start });
    assert_eq!(session.next_envelope(), None);
    session.happen(5, answer(FIRST, "a", "7"));
    let said = step(&mut session, vec![end()]);
    assert_eq!((said.seq, said.at_ms, said.event.word()), (1, 5, "message"));
    session.happen(6, Input::Cancel("late".into()));
    assert_eq!(session.next_envelope(), None);
    let orders = session.take_orders();
    assert_eq!(orders.iter().filter(|order| matches!(order, Order::End(_))).count(), 1);
    assert_eq!(session.due_ms(), None);
}

#[test]
fn what_is_due_comes_before_what_arrives_then_and_after_what_arrived_before() {
    let mut session = session(&["a"]);
    let timer = |name: &str, at_ms| Effect::SetTimer { timer: name.into(), at_ms };
    step(&mut session, vec![timer("b", 10), timer("a", 10), ask("a", Some(10)), timer("late", 20)]);
    assert_eq!(session.due_ms(), Some(10));
    session.happen(9, Input::Told { member: "a".into(), msg_id: "1".into(), body: "1".into() });
    session.happen(10, Input::Told { member: "a".into(), msg_id: "2".into(), body: "2".into() });
    session.happen(15, Input::Time);
    let mut seen = Vec::new();
    while let Some(envelope) = session.next_envelope() {
        session.stepped(&envelope, 1, Vec::new());
        seen.push((envelope.at_ms, envelope.event.word()));
    }
    let expected = [(9, "message"), (10, "timer-fired"), (10, "timer-fired"), (10, "ask-closed"), (10, "message")];
    assert_eq!(seen, expected);
    assert_eq!(session.due_ms(), Some(20));
}

#[test]
fn an_answer_that_is_none_is_asked_for_again_and_then_is_silence() {
    let mut session = session(&["a"]);
    step(&mut session, vec![ask("a", None)]);
    session.take_orders();
    let wrong = || Input::Answer { ask: FIRST, member: "a".into(), msg_id: "m".into(), body: Err("no".into()) };
    session.happen(1, wrong());
    assert_eq!(session.next_envelope(), None);
    assert!(matches!(&session.take_orders()[..], [Order::AskAgain { ask: FIRST, why, .. }] if why == "no"));
    session.happen(2, wrong());
    assert_eq!(step(&mut session, vec![end()]).event, Event::AskClosed(FIRST, Closed::Expired));
    let record = session.record().expect("a record");
    assert_eq!((&record.invalid[..], &record.no_answer[..]), (&["a".to_owned()][..], &["a".to_owned()][..]));
}

#[test]
fn the_first_answer_stands_and_strangers_are_not_heard() {
    let mut session = session(&["a", "b"]);
    step(&mut session, vec![ask("a", None), ask("b", Some(3))]);
    session.happen(1, answer(FIRST, "b", "9"));
    session.happen(1, answer(FIRST, "x", "9"));
    session.happen(1, Input::Told { member: "x".into(), msg_id: "1".into(), body: "1".into() });
    assert_eq!(session.next_envelope(), None);
    session.happen(2, answer(FIRST, "a", "7"));
    assert_eq!(step(&mut session, Vec::new()).event.word(), "message");
    session.happen(3, answer(FIRST, "a", "7"));
    assert_eq!(step(&mut session, Vec::new()).event.word(), "ask-closed");
    session.happen(4, answer(FIRST, "a", "8"));
    session.happen(5, answer(AskId { seq: 0, index: 1 }, "b", "8"));
    assert_eq!(session.next_envelope(), None);
    session.happen(6, Input::Cancel("enough".into()));
    step(&mut session, vec![end()]);
    let record = session.record().expect("a record");
    assert_eq!((&record.equivocated[..], &record.late[..]), (&["a".to_owned()][..], &["b".to_owned()][..]));
}

#[test]
fn a_member_that_ends_closes_its_asks_at_once_and_is_told_of_once() {
    let mut session = session(&["a"]);
    step(&mut session, vec![ask("a", None)]);
    for at_ms in [1, 2] {
        session.happen(at_ms, Input::Down { member: "a".into(), reason: DownReason::Crashed });
    }
    assert_eq!(step(&mut session, Vec::new()).event, Event::MemberDown("a".into(), DownReason::Crashed));
    assert_eq!(step(&mut session, vec![ask("a", None)]).event, Event::AskClosed(FIRST, Closed::Down));
    // One that is down already is not waited for.
    let again = AskId { seq: 2, index: 0 };
    assert_eq!(step(&mut session, Vec::new()).event, Event::AskClosed(again, Closed::Down));
    assert_eq!(session.next_envelope(), None);
}

#[test]
fn the_deadline_forces_an_outcome() {
    let mut session = session(&["a"]);
    step(&mut session, vec![ask("a", None)]);
    session.happen(5_000, Input::Time);
    let envelope = step(&mut session, Vec::new());
    assert_eq!((envelope.at_ms, envelope.event), (1_000, Event::Deadline));
    assert_eq!(code(&session), "deadline");
}

#[test]
fn what_a_step_may_not_do_ends_the_session_and_nothing_of_it_is_done() {
    let cases = [
        (vec![ask("a", None), ask("x", None)], "plugin-error"),
        (
            vec![Effect::Ask { to: "a".into(), body: "1".into(), schema: "r".into(), answer_by_ms: None }],
            "plugin-error",
        ),
        (vec![end(), ask("a", None)], "plugin-error"),
        (vec![Effect::Child("c".into())], "plugin-error"),
        (vec![ask("a", None); 11], "budget"),
    ];
    for (effects, expected) in cases {
        let mut session = session(&["a"]);
        step(&mut session, effects.clone());
        assert_eq!(code(&session), expected, "{effects:?}");
        assert!(matches!(&session.take_orders()[..], [Order::End(_)]), "{effects:?}");
    }
    let mut large = session(&["a"]);
    let envelope = large.next_envelope().expect("a step");
    large.stepped(&envelope, 1_001, Vec::new());
    assert_eq!(code(&large), "budget");
}

#[test]
fn a_member_is_told_of_nothing_after_its_ask_is_called_off() {
    let mut session = session(&["a"]);
    step(&mut session, vec![ask("a", None)]);
    session.happen(1, Input::Told { member: "a".into(), msg_id: "1".into(), body: "1".into() });
    step(&mut session, vec![Effect::CancelAsk(FIRST)]);
    assert_eq!(step(&mut session, vec![end()]).event, Event::AskClosed(FIRST, Closed::Cancelled));
    assert!(session.record().expect("a record").no_answer.is_empty());
}

#[test]
fn members_are_held_to_the_manifest() {
    let mut manifest = manifest();
    manifest.timing.members_min = 2;
    assert!(matches!(manifest.check_members(&members(&["a"])), Err(Unfit::Members { found: 1, .. })));
    assert_eq!(manifest.check_members(&members(&["a", "b", "a"])), Err(Unfit::Twice("a".into())));
    let mut with_role = members(&["a", "b"]);
    with_role[1].role = "judge".into();
    assert_eq!(manifest.check_members(&with_role), Err(Unfit::Role("judge".into())));
    manifest.allows_join = true;
    assert!(manifest.check().is_err());
}

#[test]
fn a_timer_that_is_set_for_now_lets_time_go_on() {
    let mut session = session(&[]);
    let now = || Effect::SetTimer { timer: "t".into(), at_ms: 0 };
    step(&mut session, vec![now()]);
    session.happen(5_000, Input::Time);
    let mut last = 0;
    while let Some(envelope) = session.next_envelope() {
        assert!(envelope.at_ms > last || envelope.event == Event::Deadline, "{envelope:?}");
        last = envelope.at_ms;
        session.stepped(&envelope, 1, vec![now()]);
    }
    assert_eq!((code(&session), last), ("deadline", 1_000));
}

#[test]
fn what_follows_from_itself_at_one_instant_has_an_end() {
    let mut session = session(&["a"]);
    step(&mut session, vec![ask("a", None)]);
    session.happen(1, Input::Down { member: "a".into(), reason: DownReason::Crashed });
    let mut count = 0;
    while let Some(envelope) = session.next_envelope() {
        count += 1;
        session.stepped(&envelope, 1, vec![ask("a", None)]);
    }
    assert_eq!((code(&session), count), ("budget", super::books::EVENTS_AT_ONCE_MAX));
}

#[test]
fn what_is_not_dealt_with_is_kept() {
    let mut session = session(&["a"]);
    step(&mut session, vec![ask("a", None)]);
    session.happen(3, answer(FIRST, "a", "7"));
    assert!(session.has_more() && session.due_ms() == Some(0));
    let mut session = Session::resume(session.info.clone(), &manifest(), session.books().clone());
    let envelope = session.next_envelope().unwrap();
    assert!(matches!(envelope, Envelope { seq: 1, at_ms: 3, event: Event::Message(_) }), "{envelope:?}");
}

#[test]
fn whoever_an_early_end_cuts_off_has_not_failed_to_answer() {
    for (ends_ms, no_answer) in [(4, &[][..]), (5, &["a".to_owned()])] {
        let mut session = session(&["a", "b"]);
        step(&mut session, vec![ask("a", Some(5)), Effect::SetTimer { timer: "t".into(), at_ms: ends_ms }]);
        session.happen(ends_ms, Input::Time);
        while let Some(envelope) = session.next_envelope() {
            session.stepped(&envelope, 1, vec![end()]);
        }
        assert_eq!(session.record().unwrap().no_answer, no_answer, "{ends_ms}");
    }
}

#[test]
fn an_ask_of_the_step_that_ends_is_not_asked() {
    let mut session = session(&["a"]);
    step(&mut session, vec![ask("a", None), end()]);
    assert!(session.next_envelope().is_none());
    let orders = session.take_orders();
    assert!(matches!(&orders[..], [Order::End(record)] if record.no_answer.is_empty()), "{orders:?}");
}

#[test]
fn an_outcome_has_a_code_and_evidence_that_there_was() {
    let outcome = |code: &str, seq: u64| {
        let Effect::End(outcome) = end() else { unreachable!() };
        Effect::End(Outcome { code: code.into(), evidence: vec![seq], ..outcome })
    };
    for (code, seq, ends) in [("done", 0, "done"), ("done", 1, "plugin-error"), ("a\nb", 0, "plugin-error")] {
        let mut session = session(&[]);
        step(&mut session, vec![outcome(code, seq)]);
        assert_eq!(self::code(&session), ends);
    }
}
