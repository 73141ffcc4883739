//! From a message to its handler and back.

use skep_sdk::prelude::*;
use skep_sdk::testing::{Effect, Testbed, asked, told};

#[data]
struct Settings {
    greeting: String,
    peer: Option<Address>,
}

#[agent]
#[derive(Default)]
struct Plain {
    greeting: String,
    peer: Option<Address>,
    ticks: u32,
    downs: Vec<String>,
    stopped: bool,
}

#[message(reply = String)]
struct Greet {
    name: String,
}

#[message(reply = u32)]
struct Ticks;

#[message(raw, reply = Bytes)]
struct Blob(Vec<u8>);

#[message(kind = "two words", reply = u32)]
enum Choice {
    A,
    B { by: u32 },
}

#[message]
struct Forward {
    text: String,
}

#[message(reply = (Option<String>, u32, Option<String>))]
struct Who;

#[message]
struct Break;

#[handlers]
impl Plain {
    fn start(&mut self, settings: Settings) {
        self.greeting = settings.greeting;
        self.peer = settings.peer;
    }

    fn greet(&self, m: Greet) -> String {
        format!("{} {}", self.greeting, m.name)
    }

    fn ticks(&self, _: Ticks) -> u32 {
        self.ticks
    }

    fn blob(&self, Blob(mut bytes): Blob) -> Bytes {
        bytes.reverse();
        Bytes(bytes)
    }

    fn choice(&self, choice: Choice) -> Result<u32> {
        match choice {
            Choice::A => Err(Refusal::Denied("not A".to_owned())),
            Choice::B { by } => Ok(by),
        }
    }

    fn forward(&self, ctx: &mut Context, m: Forward) -> Result<()> {
        let peer = self.peer.as_ref().ok_or("there is no peer")?;
        ctx.send(peer, &m)?;
        ctx.once_with("later", Duration::from_secs(2), &m.text)?;
        if m.text == "no" {
            Err("changed my mind")?
        }
        Ok(())
    }

    fn who(&self, ctx: &mut Context, _: Who) -> (Option<String>, u32, Option<String>) {
        (ctx.sender().map(|sender| sender.to_string()), ctx.attempt(), ctx.header("h"))
    }

    #[fallback]
    fn other(&self, m: Envelope) -> Result<Bytes> {
        if m.kind == "odd" { Ok(Bytes(m.body)) } else { Err(Refusal::UnknownKind(m.kind)) }
    }

    #[timer("tick")]
    fn tick(&mut self, t: Timer) {
        self.ticks += 1 + t.missed();
    }

    #[timer]
    fn any_timer(&mut self, t: Timer) -> Result<()> {
        self.greeting = format!("{}:{}", t.name().to_owned(), t.read::<String>()?);
        Ok(())
    }

    #[down]
    fn down(&mut self, down: Down) {
        self.downs.push(format!("{} {}", down.agent, down.reason));
        self.greeting = self.downs.join(",");
    }

    fn stop(&mut self, ctx: &mut Context, reason: ExitReason) {
        self.stopped = true;
        info!(reason = format!("{reason:?}"), "stopping after {} ticks", self.ticks);
        let _ = ctx;
    }
}

fn plain() -> Testbed<Plain> {
    Testbed::start(r#"{"greeting": "hello", "peer": "other"}"#).unwrap()
}

#[test]
fn a_message_meets_its_handler_and_the_return_value_is_the_reply() {
    let mut plain = plain();
    assert_eq!(plain.ask(&Greet { name: "you".to_owned() }), Ok("hello you".to_owned()));
    assert_eq!(plain.ask(&Choice::B { by: 7 }), Ok(7));
    assert_eq!(plain.ask(&Blob(vec![0xff, 0, 1])), Ok(Bytes(vec![1, 0, 0xff])));
}

#[test]
fn a_message_without_fields_may_be_nothing_null_or_an_empty_object() {
    let mut plain = plain();
    for body in ["", "null", "{}", " { } "] {
        let envelope = Envelope { kind: "ticks".to_owned(), body: body.into() };
        assert_eq!(plain.ask(&envelope), Ok(Bytes(b"0".to_vec())), "{body:?}");
    }
    for body in ["{\"a\":1}", "1", "[]", "null 1", "\"x\""] {
        let envelope = Envelope { kind: "ticks".to_owned(), body: body.into() };
        assert!(matches!(plain.ask(&envelope), Err(Refusal::Invalid(_))), "{body:?}");
    }
}

#[test]
fn no_body_is_an_object_without_fields_where_null_will_not_do() {
    let Err(Refusal::Invalid(text)) = plain().ask(&Envelope { kind: "greet".to_owned(), body: Vec::new() }) else {
        panic!("it was taken")
    };
    assert!(text.contains("missing field `name`"), "{text}");
}

#[test]
fn nobody_is_replied_to_who_does_not_wait() {
    let mut plain = plain();
    plain.tell(&Greet { name: "you".to_owned() }).unwrap();
    assert_eq!(plain.effects(), []);
}

#[test]
fn a_body_that_does_not_parse_is_invalid_and_says_what_is_missing() {
    let envelope = Envelope { kind: "greet".to_owned(), body: b"{\"nome\": 1}".to_vec() };
    let Err(Refusal::Invalid(text)) = plain().ask(&envelope) else { panic!("it was taken") };
    assert!(text.contains("greet") && text.contains("`name`"), "{text}");
}

#[test]
fn what_no_handler_knows_goes_to_the_fallback() {
    let mut plain = plain();
    let odd = |kind: &str| Envelope { kind: kind.to_owned(), body: b"x".to_vec() };
    assert_eq!(plain.ask(&odd("odd")), Ok(Bytes(b"x".to_vec())));
    assert_eq!(plain.ask(&odd("even")), Err(Refusal::UnknownKind("even".to_owned())));
}

#[test]
fn an_error_takes_back_what_its_message_asked_for_and_nothing_else() {
    let mut plain = plain();
    let forward = |text: &str| told(&Forward { text: text.to_owned() });
    let results = plain.batch(vec![forward("yes"), forward("no"), forward("yes")]).unwrap();
    assert_eq!(results, [Ok(None), Err(Refusal::Failed("changed my mind".to_owned())), Ok(None)]);
    let effects = plain.effects();
    assert_eq!(effects.len(), 4);
    assert!(effects.iter().all(|effect| match effect {
        Effect::Send { to, kind, body, .. } =>
            (to.as_str(), kind.as_str(), body.as_slice()) == ("other", "forward", br#"{"text":"yes"}"#),
        Effect::Timer { name, after_ms, every, body } =>
            (name.as_str(), after_ms, every, body.as_slice()) == ("later", &2_000, &false, b"\"yes\""),
        _ => false,
    }));
}

#[test]
fn a_send_that_is_not_taken_refuses_with_its_reason() {
    let mut plain = plain();
    plain.remove("other");
    let refusal = plain.tell(&Forward { text: "yes".to_owned() });
    assert_eq!(refusal, Err(Refusal::Failed("there is no such agent".to_owned())));
}

#[test]
fn who_sent_it_and_what_is_rare_can_be_asked() {
    let mut plain = plain();
    let reply = plain.one(asked(&Who).from("them").attempt(2).header("h", "v"));
    assert_eq!(reply, Ok(Some(br#"["them",2,"v"]"#.to_vec())));
    assert_eq!(plain.ask(&Who), Ok((None, 1, None)));
}

#[test]
fn timers_are_told_apart_by_name_and_tell_what_was_missed() {
    let mut plain = plain();
    plain.fire("tick", &(), 0).unwrap();
    plain.fire("tick", &(), 3).unwrap();
    assert_eq!(plain.ask(&Ticks), Ok(5));
    plain.fire("tock", &"now".to_owned(), 0).unwrap();
    assert_eq!(plain.ask(&Greet { name: "x".to_owned() }), Ok("tock:now x".to_owned()));
    assert!(matches!(plain.fire("tock", &1, 0), Err(Refusal::Invalid(_))));
}

#[test]
fn an_end_of_another_agent_says_who_and_why() {
    let mut plain = plain();
    plain.down("child", "normal").unwrap();
    assert_eq!(plain.ask(&Greet { name: "x".to_owned() }), Ok("child normal x".to_owned()));
}

#[test]
fn a_configuration_that_does_not_fit_is_for_the_operator() {
    let Err(skep_sdk::testing::Failed::Unusable(text)) = Testbed::<Plain>::start("{}").map(drop) else {
        panic!("it started")
    };
    assert!(text.contains("config") && text.contains("greeting"), "{text}");
}

#[test]
fn stop_runs_and_log_lines_have_their_fields_beside_them() {
    let mut plain = plain();
    plain.log();
    plain.stop(&ExitReason::Normal).unwrap();
    assert_eq!(plain.log(), ["stopping after 0 ticks"]);
}

#[agent(batch_max = 1)]
#[derive(Default)]
struct Strict;

#[handlers]
impl Strict {
    fn broken(&self, _: Break) -> Result<()> {
        Err(Refusal::Unavailable("closed".to_owned()))
    }
}

#[test]
fn a_kind_that_nobody_knows_is_refused_with_those_that_are_known() {
    let mut strict = Testbed::<Strict>::start("{}").unwrap();
    let long = "x".repeat(1_000);
    let Err(Refusal::UnknownKind(text)) = strict.ask(&Envelope { kind: long, body: Vec::new() }) else {
        panic!("it was taken")
    };
    assert!(text.contains("break") && text.len() < 150, "{text}");
    let closed = Envelope { kind: "session.closed".to_owned(), body: b"\"late\"".to_vec() };
    assert_eq!(strict.tell(&closed), Ok(()));
    let Err(Refusal::UnknownKind(text)) = strict.fire("tick", &(), 0) else { panic!("it was taken") };
    assert!(text.contains("expected: none"), "{text}");
}

#[test]
fn batches_of_one_need_no_begin() {
    let mut strict = Testbed::<Strict>::start("{}").unwrap();
    assert_eq!(strict.tell(&Break), Err(Refusal::Unavailable("closed".to_owned())));
}
