//! The NATS server that tests bring along does what they ask of it.

use std::time::Duration;

use skep_tests::kit;
use skep_tests::nats::NatsServer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long a server that is stopped in its tracks is given for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(200);

async fn connect(server: &NatsServer) -> std::io::Result<BufReader<TcpStream>> {
    TcpStream::connect(server.url().trim_start_matches("nats://")).await.map(BufReader::new)
}

/// The next line that the server says.
async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    kit::within("a line of the server", stream.read_line(&mut line)).await.expect("a line");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_comes_back_at_the_same_place() {
    let mut server = NatsServer::start().await;
    let url = server.url();
    assert!(line(&mut connect(&server).await.expect("a connection")).await.contains("\"jetstream\":true"));
    server.kill().await;
    assert!(connect(&server).await.is_err());
    server.start_again().await;
    assert!(line(&mut connect(&server).await.expect("a connection")).await.starts_with("INFO "));
    assert_eq!(server.url(), url);
    let other = NatsServer::start().await;
    assert_ne!(other.url(), url);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_in_its_tracks_is_silent_until_it_goes_on() {
    let server = NatsServer::start().await;
    let mut stream = connect(&server).await.expect("a connection");
    assert!(line(&mut stream).await.starts_with("INFO "));
    server.pause();
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.expect("room in a buffer");
    let mut answer = String::new();
    assert!(tokio::time::timeout(SILENCE, stream.read_line(&mut answer)).await.is_err(), "{answer}");
    server.go_on();
    assert_eq!(line(&mut stream).await, "PONG\r\n");
}
