//! The shortest paths: an ask, a durable agent that comes back.

use bytes::Bytes;
use skep_core::spec::Durability;
use skep_runtime::AskOptions;
use skep_tests::hives::Draft;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_answers() {
    let host = Draft::new().agent("echo", "bench", Durability::None).start().await;
    let reply = host.ask("echo", "echo", Bytes::from_static(b"hello"), AskOptions::default()).await;
    assert_eq!(reply.expect("a reply").as_ref(), b"hello");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_agent_comes_back_with_its_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let draft = Draft::new().agent("counter", "counter", Durability::Full);
    for round in 1..=3u64 {
        let host = draft.start_in(dir.path()).await;
        let reply = host.ask("counter", "add", Bytes::from_static(b"{\"by\":2}"), AskOptions::default()).await;
        assert_eq!(reply.expect("a reply").as_ref(), (round * 2).to_string().as_bytes());
        host.shutdown().await;
    }
}
