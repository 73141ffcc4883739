//! `skep bench` as a command: the numbers of two hosts, with a NATS server and without. Never whether a figure is good.

use std::path::Path;

use serde_json::Value;
use skep_tests::guests::component;
use skep_tests::kit::within;
use skep_tests::process::binary;
use tokio::process::Command;

/// The items of a quick bench of two hosts, and what it says beside them.
async fn bench_with(server: &Path) -> (Vec<Value>, String) {
    // On the disk of the build, for the bench takes no other.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut bench = Command::new(binary());
    bench.args(["bench", "--quick", "--only", "host_ask_us", "-o", "json", "--component"]).arg(component("bench"));
    bench.arg("--data").arg(dir.path()).env("SKEP_NATS_SERVER", server).kill_on_drop(true);
    let output = within("a quick bench", bench.output()).await.expect("a process");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{said}");
    let list: Value = serde_json::from_slice(&output.stdout).expect("a list");
    (list["items"].as_array().expect("items").clone(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_are_measured_beside_the_client_library() {
    let (items, said) = bench_with(&skep_tests::nats::binary()).await;
    let names: Vec<_> = items.iter().map(|item| item["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["raw_nats_request_us", "host_ask_us"], "{said}");
    assert!(items[1]["ratio"].as_f64().is_some_and(f64::is_finite), "{items:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_the_numbers_of_two_hosts_are_left_out() {
    let (items, said) = bench_with(Path::new("/nowhere/nats-server")).await;
    assert!(items.is_empty(), "{items:?}");
    let told: Vec<&str> = said.lines().filter(|line| line.contains("left out")).collect();
    assert!(matches!(told[..], [line] if line.contains("/nowhere/nats-server")), "{said}");
}
