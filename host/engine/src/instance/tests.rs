//! Turns of a guest made by hand: how they end, and that limits hold.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use skep_core::event::What;

use super::*;
use crate::limits::Limits;
use crate::testing::{Guest, turn};

const TURN: &str = r#"(import "skep:agent/turn@0.1.0" (instance $turn (export "begin" (func (param "index" u32)))))
    (core func $begin (canon lower (func $turn "begin")))"#;
const WITH_TURN: &str = r#"(with "turn" (instance (export "begin" (func $begin))))"#;
const BEGIN: &str = r#"(import "turn" "begin" (func $begin (param i32)))"#;
const NAMES: &str = r#"(core module $l (memory (export "m") 17))
    (core instance $l (instantiate $l))
    (import "skep:agent/names@0.1.0" (instance $names (export "number-of" (func (param "name" string) (result u32)))))
    (core func $number-of (canon lower (func $names "number-of") (memory $l "m")))"#;
const WITH_NAMES: &str = r#"(with "names" (instance (export "number-of" (func $number-of)))) (with "l" (instance $l))"#;
const NUMBER_OF: &str = r#"(import "names" "number-of" (func $number-of (param i32 i32) (result i32)))
    (import "l" "m" (memory $l 17))"#;

fn small() -> Limits {
    Limits { cpu_ms_max: 20, ..Limits::default() }
}

async fn handled(guest: Guest, messages: u128) -> Ended {
    let mut instance = guest.instance(small()).await.unwrap();
    instance.handle(turn(messages)).await
}

async fn failure(guest: Guest) -> Failure {
    handled(guest, 2).await.outcome.unwrap_err()
}

#[tokio::test]
async fn a_turn_enters_the_guest_and_comes_back() {
    let mut instance = Guest::default().instance(small()).await.unwrap();
    assert_eq!(instance.sdk(), "by hand");
    assert_eq!(instance.memory_bytes(), 65_536);
    let started = instance.start(turn(0), "{}", StartReason::Fresh).await;
    assert_eq!(started.outcome.unwrap(), 0);
    let ended = instance.handle(turn(3)).await;
    assert_eq!(ended.outcome.unwrap(), 3);
    assert_eq!(ended.turn.batch().len(), 3);
    assert_eq!(instance.stop(turn(0), &ExitReason::Killed).await.outcome.unwrap(), 0);
}

#[tokio::test]
async fn names_are_told_once() {
    let mut instance = Guest::handling("(call $done (local.get $names))").instance(small()).await.unwrap();
    // The sender and the kind.
    assert_eq!(instance.handle(turn(3)).await.outcome.unwrap(), 2);
    assert_eq!(instance.handle(turn(3)).await.outcome.unwrap(), 0);
}

#[tokio::test]
async fn a_guest_that_runs_for_ever_is_stopped_and_lets_others_run() {
    let ended = handled(Guest::handling("(loop $l (br $l)) unreachable"), 1).await;
    assert!(matches!(ended.outcome, Err(Failure::Deadline { ms: 20 })), "{:?}", ended.outcome);
    assert_eq!(ended.cpu_ticks, 20);
    assert!(ended.yielded);
}

#[tokio::test]
async fn a_start_function_that_runs_for_ever_is_stopped() {
    let module = "(func $forever (loop $l (br $l))) (start $forever)".to_owned();
    let failure = Guest { module, ..Guest::default() }.instance(small()).await.err().unwrap();
    assert_eq!((failure.code(), failure.word()), ("E_INIT_TIMEOUT", "deadline"));
}

#[tokio::test]
async fn a_turn_that_is_given_up_can_be_had_back() {
    let guest = Guest::handling("(loop $l (br $l)) unreachable");
    let mut instance = guest.instance(Limits { cpu_ms_max: 60_000, ..Limits::default() }).await.unwrap();
    {
        let mut call = pin!(instance.handle(turn(2)));
        // It yields after its first tick.
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending));
    }
    assert_eq!(instance.abandon().unwrap().batch().len(), 2);
}

#[tokio::test]
async fn a_recursion_without_end_is_a_trap() {
    let guest = Guest::handling(
        "(call $handle (local.get 0) (local.get 1) (local.get 2) (i32.add (local.get 3) (i32.const 1)))
         (i32.load) (call $done)",
    );
    assert!(matches!(failure(guest).await, Failure::Trap { kind: "stack-overflow", .. }));
}

#[tokio::test]
async fn a_trap_says_what_and_where_and_hostile_names_are_harmless() {
    let module = r#"(func $"evil\1b]0;\07name" unreachable)"#.to_owned();
    let handle = r#"(call $"evil\1b]0;\07name") unreachable"#.to_owned();
    let Failure::Trap { kind, text } = failure(Guest { module, handle, ..Guest::default() }).await else { panic!() };
    assert_eq!(kind, "unreachable");
    assert!(text.contains("evil\\u{1b}]0;\\u{7}name"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[tokio::test]
async fn memory_beyond_the_budget_is_refused_to_the_guest_and_told_to_the_host() {
    // Dealt with as many as the growth says: -1 would be too many messages.
    let guest = Guest::handling("(call $done (i32.add (memory.grow (i32.const 65000)) (i32.const 2)))");
    let mut instance = guest.instance(small()).await.unwrap();
    let events = instance.host().events.clone();
    assert_eq!(instance.handle(turn(2)).await.outcome.unwrap(), 1);
    assert!(matches!(events.lock().as_slice(), [What::LimitReached { limit: Limit::MemoryBytes, .. }]));
}

#[tokio::test]
async fn a_trap_for_want_of_memory_is_called_so() {
    let guest = Guest::handling("(drop (memory.grow (i32.const 65000))) unreachable");
    assert!(matches!(failure(guest).await, Failure::Memory { .. }));
}

#[tokio::test]
async fn a_component_whose_first_memory_is_over_the_budget_is_refused() {
    let failure = Guest { pages: 65_536, ..Guest::default() }.instance(small()).await.err().unwrap();
    let Failure::Memory { wanted_bytes, max_bytes } = failure else { panic!("{failure:?}") };
    assert_eq!((wanted_bytes, max_bytes), (4 << 30, 64 << 20));
}

#[tokio::test]
async fn the_order_of_begin_is_enforced() {
    let handle = "(call $begin (i32.const 1)) (call $begin (i32.const 0)) (call $done (i32.const 2))".to_owned();
    let guest = Guest { imports: TURN, with: WITH_TURN, module: BEGIN.to_owned(), handle, ..Guest::default() };
    assert!(matches!(failure(guest).await, Failure::OutOfOrder(OutOfOrder::Begin(0))));
}

#[tokio::test]
async fn more_messages_than_there_are_cannot_be_dealt_with() {
    let guest = Guest::handling("(call $done (i32.const 3))");
    assert!(matches!(failure(guest).await, Failure::OutOfOrder(OutOfOrder::Handled(3))));
}

#[tokio::test]
async fn a_turn_error_is_told_with_its_text_made_safe() {
    let guest = Guest {
        module: r#"(data (i32.const 512) "\1b[31mno")"#.to_owned(),
        handle: "(i32.store (i32.const 128) (i32.const 1)) (i32.store (i32.const 132) (i32.const 0))
            (i32.store (i32.const 136) (i32.const 512)) (i32.store (i32.const 140) (i32.const 7)) (i32.const 128)"
            .to_owned(),
        ..Guest::default()
    };
    let Failure::TurnError { unusable, text } = failure(guest).await else { panic!() };
    assert_eq!((unusable, text.as_str()), (true, "\\u{1b}[31mno"));
}

#[tokio::test]
async fn describe_may_not_ask_for_anything() {
    let guest = Guest {
        imports: TURN,
        with: WITH_TURN,
        module: BEGIN.to_owned(),
        describe: "(call $begin (i32.const 0)) i32.const 16",
        ..Guest::default()
    };
    let failure = guest.instance(small()).await.err().unwrap();
    assert!(matches!(&failure, Failure::Trap { kind: "bad-call", text } if text.contains("describe")), "{failure:?}");
}

#[tokio::test]
async fn an_instance_may_hold_so_many_numbers_and_no_more() {
    // Names "A".."P" of five letters: 16 times 16 times … more than 65,536.
    let handle = "(local $n i32) (local $at i32) (local $rest i32)
        (loop $next
          (local.set $at (i32.const 0)) (local.set $rest (local.get $n))
          (loop $letter
            (i32.store8 $l (local.get $at) (i32.add (i32.const 65) (i32.and (local.get $rest) (i32.const 15))))
            (local.set $rest (i32.shr_u (local.get $rest) (i32.const 4)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $letter (i32.lt_u (local.get $at) (i32.const 5))))
          (drop (call $number-of (i32.const 0) (i32.const 5)))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br $next))
        unreachable"
        .to_owned();
    let guest = Guest { imports: NAMES, with: WITH_NAMES, module: NUMBER_OF.to_owned(), handle, ..Guest::default() };
    let limits = Limits { cpu_ms_max: 60_000, ..Limits::default() };
    let mut instance = guest.instance(limits).await.unwrap();
    let outcome = instance.handle(turn(1)).await.outcome;
    assert!(matches!(outcome, Err(Failure::Limit { limit: Limit::Numbers, .. })), "{outcome:?}");
}

#[tokio::test]
async fn one_call_may_carry_so_many_bytes_and_no_more() {
    let imports = Box::leak(NAMES.replace("17", "128").into_boxed_str());
    let handle = "(drop (call $number-of (i32.const 0) (i32.const 8000000))) (call $done (i32.const 1))".to_owned();
    let guest = Guest { imports, with: WITH_NAMES, module: NUMBER_OF.to_owned(), handle, ..Guest::default() };
    let outcome = handled(guest, 1).await.outcome;
    assert!(matches!(outcome, Err(Failure::Limit { limit: Limit::CallBytes, .. })), "{outcome:?}");
}

#[tokio::test]
async fn what_is_no_name_ends_the_turn() {
    let handle = "(drop (call $number-of (i32.const 0) (i32.const 0))) (call $done (i32.const 1))".to_owned();
    let guest = Guest { imports: NAMES, with: WITH_NAMES, module: NUMBER_OF.to_owned(), handle, ..Guest::default() };
    assert!(matches!(failure(guest).await, Failure::Trap { kind: "bad-call", .. }));
}
