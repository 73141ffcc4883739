//! Messages from outside: what a client's own id promises, and what is wrong with a message is said.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::process::Stdio;
use std::task::Poll;

use bytes::Bytes;
use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, Durability};
use skep_core::{Channel, MessageId};
use skep_runtime::{AskOptions, Error, Host, SendOptions};
use skep_tests::guests::component;
use skep_tests::hives::{Draft, Nest, cache_dir};
use skep_tests::kit::{self, Watch, event};
use skep_tests::process::{binary, skep};
use skep_tests::puppet::{ask, came, json_body, noted, send, told};
use tokio::io::{AsyncBufReadExt, BufReader};

const DURABILITIES: [Durability; 3] = [Durability::None, Durability::Process, Durability::Full];

fn options(client_id: &str) -> SendOptions {
    SendOptions { client_id: Some(client_id.to_owned()), ..SendOptions::default() }
}

async fn send_as(host: &Host, client_id: &str, body: u32) -> MessageId {
    host.send("a", "n", json_body(&json!(body)), options(client_id)).await.expect("a message that is taken")
}

async fn ask_as(host: &Host, client_id: &str, kind: &str) -> Result<Bytes, Error> {
    let options = AskOptions { send: options(client_id), ..AskOptions::default() };
    host.ask("a", kind, Bytes::new(), options).await
}

async fn fence(host: &Host) {
    kit::expect(host, noted("a", "fence 0"), send(host, "a", "fence", json!(0))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_client_sends_twice_is_handled_once() {
    for durability in DURABILITIES {
        let host = Draft::new().puppet("a", durability, json!({})).run().await;
        let first = send_as(&host, "one", 1).await;
        assert_eq!(send_as(&host, "one", 1).await, first);
        assert_ne!(send_as(&host, "two", 2).await, first);
        fence(&host).await;
        assert_eq!(send_as(&host, "one", 1).await, first, "and after it was handled");
        assert_eq!(came(&host, "a").await, ["n 1", "n 2", "fence 0"], "{durability:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_client_sends_again_after_a_restart_is_handled_once() {
    for durability in [Durability::Process, Durability::Full] {
        let host = Draft::new().puppet("a", durability, json!({"busy": [{"do": "spin", "ms": 200}]})).run().await;
        send_as(&host, "handled", 1).await;
        kit::expect(&host, noted("a", "busy 0"), send(&host, "a", "busy", json!(0))).await;
        send_as(&host, "waiting", 2).await;
        let host = host.again().await;
        send_as(&host, "handled", 1).await;
        send_as(&host, "waiting", 2).await;
        fence(&host).await;
        let numbers: Vec<_> = came(&host, "a").await.into_iter().filter(|line| line.starts_with("n ")).collect();
        assert_eq!(numbers, ["n 1", "n 2"], "{durability:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_a_client_repeats_gets_the_same_reply() {
    for durability in DURABILITIES {
        let host = Draft::new().puppet("a", durability, json!({"draw": [{"do": "draw"}]})).run().await;
        let first = ask_as(&host, "one", "draw").await.expect("a reply");
        assert_eq!(ask_as(&host, "one", "draw").await.expect("a reply"), first);
        assert_ne!(ask_as(&host, "two", "draw").await.expect("a reply"), first);
        assert_eq!(came(&host, "a").await.len(), 2, "{durability:?}");
        if durability > Durability::None {
            let host = host.again().await;
            assert_eq!(ask_as(&host, "one", "draw").await.expect("a reply"), first);
            assert_eq!(came(&host, "a").await.len(), 2, "{durability:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_and_a_dead_letter_are_repeated_too() {
    let on = json!({"refuse": [{"do": "refuse", "text": "no"}], "poison": [{"do": "trap"}]});
    let host = Draft::new().puppet("a", Durability::Full, on).run().await;
    let codes = async |host: &Host| {
        let refused = ask_as(host, "one", "refuse").await.expect_err("a refusal").code();
        (refused, ask_as(host, "two", "poison").await.expect_err("a failure").code())
    };
    assert_eq!(codes(&host).await, ("E_REFUSED", "E_DEAD_LETTER"));
    let host = host.again().await;
    assert_eq!(codes(&host).await, ("E_REFUSED", "E_DEAD_LETTER"));
    let detail = host.inspect("a").expect("an agent");
    assert_eq!((detail.refused, detail.turns_failed), (0, 0), "nothing was handled again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_again_while_its_ask_is_under_way_shares_the_reply() {
    let host = Draft::new().puppet("a", Durability::Full, json!({"hold": [{"do": "later"}]})).run().await;
    let mut watch = kit::Watch::on(&host);
    let both = async { tokio::join!(ask_as(&host, "one", "hold"), ask_as(&host, "one", "hold")) };
    let answer = async {
        watch.expect(&noted("a", "hold -")).await;
        told(&host, "a", json!([{"do": "answer", "body": 7}])).await
    };
    let (answers, _) = tokio::join!(both, answer);
    assert_eq!((answers.0.expect("a reply").as_ref(), answers.1.expect("a reply").as_ref()), (&b"7"[..], &b"7"[..]));
    assert_eq!(came(&host, "a").await, ["hold -"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owed_reply_reaches_a_client_that_asks_again_after_a_restart() {
    let host = Draft::new().puppet("a", Durability::Full, json!({"hold": [{"do": "later"}]})).run().await;
    let brief = AskOptions { send: options("one"), timeout: std::time::Duration::from_millis(300) };
    let error = host.ask("a", "hold", Bytes::new(), brief).await.expect_err("a time-out");
    assert_eq!(error.code(), "E_TIMEOUT");
    let host = host.again().await;
    let again = ask_as(&host, "one", "hold");
    let (reply, _) = tokio::join!(again, told(&host, "a", json!([{"do": "answer", "body": 7}])));
    assert_eq!(reply.expect("a reply").as_ref(), b"7");
    assert_eq!(came(&host, "a").await, ["hold -"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_id_is_forgotten_after_its_window() {
    let mut draft = Draft::new().puppet("a", Durability::Full, json!({}));
    draft.spec.client_window_ms = 1;
    let host = draft.run().await;
    send_as(&host, "one", 1).await;
    kit::expect(&host, noted("a", "timer t"), told(&host, "a", json!([{"do": "once", "name": "t", "ms": 20}]))).await;
    send_as(&host, "one", 1).await;
    fence(&host).await;
    assert_eq!(came(&host, "a").await, ["n 1", "timer t", "n 1", "fence 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_content_type_come_with_the_message() {
    let host = Draft::new().puppet("a", Durability::Full, json!({"meta": [{"do": "meta"}]})).run().await;
    let send = SendOptions {
        headers: vec![("path".to_owned(), "a/b".to_owned())],
        content_type: Some("text/plain".to_owned()),
        channel: Some(Channel::Data),
        client_id: None,
    };
    let reply = host.ask("a", "meta", Bytes::new(), AskOptions { send, ..AskOptions::default() }).await;
    let meta: Value = serde_json::from_slice(&reply.expect("a reply")).expect("JSON");
    assert_eq!(meta[0]["headers"], json!([["path", "a/b"]]));
    assert_eq!(meta[0]["content-type"], json!("text/plain"));
    assert_eq!(came(&host, "a").await, ["meta - on data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_agent_is_an_error_that_guesses_who_was_meant() {
    let host = Draft::new().agent("counter", "counter", Durability::None).start().await;
    let error = ask(&host, "countre", "get", json!(null)).await.expect_err("nobody");
    assert_eq!(error.code(), "E_NO_AGENT");
    assert!(error.to_string().contains("did you mean counter?"), "{error}");
    let error = ask(&host, "something-else", "get", json!(null)).await.expect_err("nobody");
    assert!(!error.to_string().contains("did you mean"), "{error}");
    let error = host.stop("nobody", false).await.expect_err("nobody");
    assert_eq!(error.code(), "E_NO_AGENT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_are_refused_and_shown_escaped() {
    let host = Draft::new().agent("counter", "counter", Durability::None).start().await;
    let long = "x".repeat(100_000);
    for hostile in ["\u{1b}[2Jcounter", "\u{202e}retnuoc", "a\u{7}b", "../../etc", "", long.as_str()] {
        let error = ask(&host, hostile, "get", json!(null)).await.expect_err("nobody").to_string();
        assert!(error.len() < 1_000, "{} bytes", error.len());
        assert!(error.chars().all(|char| !char.is_control() && char != '\u{202e}'), "{error:?}");
        let error = ask(&host, "counter", hostile, json!(null)).await.expect_err("no such kind").to_string();
        assert!(error.len() < 2_000 && error.chars().all(|char| !char.is_control() && char != '\u{202e}'), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_what_the_agent_expects_is_refused_with_what_it_expects() {
    let host = Draft::new().agent("counter", "counter", Durability::None).start().await;
    for body in [&b"{\"by\": \"two\"}"[..], b"{}", b"not JSON", b"\xff\xfe", b"{\"by\": -1}", b""] {
        let error = host.ask("counter", "add", Bytes::copy_from_slice(body), AskOptions::default()).await;
        let error = error.expect_err("a refusal");
        assert_eq!(error.code(), "E_REFUSED");
        assert!(error.to_string().contains("the body of \"add\" is not what it should be"), "{error}");
    }
    let error = ask(&host, "counter", "substract", json!(1)).await.expect_err("a refusal").to_string();
    assert!(error.contains("unknown kind") && error.contains("add"), "{error}");
    let refused = event("message.refused").of("counter");
    kit::expect(&host, refused, send(&host, "counter", "add", json!("x"))).await;
    assert_eq!(ask(&host, "counter", "get", json!(null)).await.expect("a reply"), json!(0));
}

/// An `a` that is busy for a while, and whose mailbox has no room left.
async fn full(durability: Durability) -> Nest {
    let narrow = |spec: &mut AgentSpec| spec.budget.mailbox_messages_max = 2;
    let on = json!({"busy": [{"do": "spin", "ms": 500}]});
    let host = Draft::new().puppet_with("a", durability, on, narrow).run().await;
    kit::expect(&host, noted("a", "busy 0"), send(&host, "a", "busy", json!(0))).await;
    for n in 1..=2 {
        send(&host, "a", "n", json!(n)).await;
    }
    host
}

/// Goes on with it once; it has to wait.
async fn waits<T>(mut work: Pin<&mut impl Future<Output = T>>) {
    assert!(poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending())).await, "it did not wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_while_it_waits_for_room_may_come_again() {
    for durability in DURABILITIES {
        let host = full(durability).await;
        let mut watch = kit::Watch::on(&host);
        waits(pin!(send_as(&host, "one", 3))).await;
        waits(pin!(ask_as(&host, "two", "m"))).await;
        watch.expect(&noted("a", "n 2")).await;
        send_as(&host, "one", 3).await;
        ask_as(&host, "two", "m").await.expect("a reply");
        fence(&host).await;
        assert_eq!(came(&host, "a").await, ["busy 0", "n 1", "n 2", "n 3", "m -", "fence 0"], "{durability:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_joined_an_ask_that_was_not_taken_is_told_so() {
    let host = full(Durability::Full).await;
    let mut second = pin!(ask_as(&host, "one", "m"));
    {
        let mut first = pin!(ask_as(&host, "one", "m"));
        waits(first.as_mut()).await;
        waits(second.as_mut()).await;
    }
    assert_eq!(second.await.expect_err("no room").code(), "E_NOT_SENT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_log_is_not_read_goes_on_and_says_what_the_log_lacks() {
    let dir = tempfile::tempdir().expect("a folder");
    let (manifest, data) = (dir.path().join("hive.toml"), dir.path().join("data").display().to_string());
    let puppet = component("puppet").display().to_string();
    let text = format!(
        "[hive]\nname = \"noisy\"\n[plugin.puppet]\npath = {puppet:?}\n[agent.a]\nplugin = \"puppet\"\n\
         config = {{ on = {{}} }}\n[agent.a.budget]\nlog_lines_per_s_max = 1000000\n"
    );
    std::fs::write(&manifest, text).expect("a manifest");
    let mut up = tokio::process::Command::new(binary());
    up.arg("up").arg(&manifest).args(["--data", &data, "--ready-lines", "-vv", "--cache"]).arg(cache_dir());
    up.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut up = up.spawn().expect("a process");
    let mut lines = BufReader::new(up.stdout.take().expect("a pipe")).lines();
    let mut ready = async || while !lines.next_line().await.expect("a line").expect("a host").contains("\"ready\"") {};
    kit::within("a host that starts", ready()).await;
    let flood = json!([{"do": "log", "text": "x".repeat(100), "times": 10_000}]).to_string();
    for _ in 0..5 {
        let ran = skep(&["--data", &data, "call", "a", &flood, "--kind", "do", "--timeout", "30s"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(skep(&["--data", &data, "ps", "-o", "name"]).await.out, "a\n");
    let mut log = BufReader::new(up.stderr.take().expect("a pipe")).lines();
    let mut told = async || while !log.next_line().await.expect("a line").expect("a host").contains("were left out") {};
    kit::within("a log that says what it lacks", told()).await;
}

/// A client has an agent without durability do the same again, after the host was killed: what that asks is the same ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_an_agent_without_durability_repeats_gets_the_same_reply() {
    for later in [false, true] {
        let ask_b = json!({"work": [{"do": "ask", "to": "b", "kind": "draw", "ms": 30_000}]});
        let draws = if later { json!([{"do": "later"}]) } else { json!([{"do": "draw"}]) };
        let draft = Draft::new().puppet("a", Durability::None, ask_b);
        let host = draft.puppet("b", Durability::Full, json!({ "draw": draws })).run().await;
        let work = async |host: &Host| {
            host.send("a", "work", "0".into(), options("w-1")).await.expect("a message that is taken");
        };
        let mut watch = Watch::on(&host);
        work(&host).await;
        watch.expect(&event("turn.committed").of("b")).await;
        if !later {
            watch.expect(&event("custom").of("a").saying("line=answer")).await;
        }
        let before = came(&host, "a").await.pop();
        let host = host.again().await;
        let mut watch = Watch::on(&host);
        work(&host).await;
        if later {
            watch.expect(&event("message.dropped").saying("duplicate")).await;
            told(&host, "b", json!([{"do": "answer", "body": "at last"}])).await;
        }
        watch.expect(&event("custom").of("a").saying("line=answer")).await;
        assert_eq!(came(&host, "b").await, ["draw null from a"], "it was asked once");
        if !later {
            assert_eq!(came(&host, "a").await.pop(), before);
        }
    }
}
