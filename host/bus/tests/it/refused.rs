//! What is refused: addresses, servers that cannot start, servers that refuse a host.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use skep_bus::nats::{Lane, Managed, Nats, Options, Word};

use crate::support::{Host, Server, name, program};

fn options(url: &str) -> Options {
    Options { url: url.to_owned(), hive: name("h"), host: name("a"), instance: None, lease_s: 5 }
}

#[tokio::test]
async fn an_address_that_can_never_work_is_refused_without_its_password() {
    for url in ["", "http://x", "nats://", "nats://me:secret@:bad", "nats://ok,ws://x", "nats://me:secret@[::1"] {
        let error = Nats::connect(options(url)).await.unwrap_err();
        assert_eq!(error.code(), "E_NATS_URL", "{url}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let short = Options { instance: None, lease_s: 1, ..options("nats://x") };
    assert_eq!(Nats::connect(short).await.unwrap_err().code(), "E_NATS_URL");
}

#[tokio::test]
async fn a_server_that_refuses_the_host_is_told_apart_from_one_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let info = "INFO {\"server_id\":\"x\",\"auth_required\":true,\"max_payload\":1048576}\r\n";
            let _ = stream.write_all(format!("{info}-ERR 'Authorization Violation'\r\n").as_bytes());
        }
    });
    let mut host = Host::join(options(&url)).await;
    host.hears(|word| matches!(word, Word::Trouble { what } if what.starts_with("E_NATS_AUTH"))).await;
    let error = host.nats.publish(&name("b"), Lane::Control, "x".into()).await.unwrap_err();
    assert_eq!(error.code(), "E_NATS_AUTH");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let error = Managed::start_program(Path::new("/nowhere/nats-server"), dir.path()).unwrap_err();
    assert_eq!(error.code(), "E_NATS_SERVER_START");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(Managed::start_program(&program(), &file).unwrap_err().code(), "E_NATS_SERVER_START");
    std::fs::write(dir.path().join("jetstream"), "no folder").unwrap();
    let error = Managed::start_program(&program(), dir.path()).unwrap_err();
    assert!(error.to_string().contains("storage directory"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_ends_when_it_is_dropped() {
    let server = Server::start();
    let process = format!("/proc/{}", server.pid());
    assert!(Path::new(&process).exists());
    drop(server);
    assert!(!Path::new(&process).exists());
}
