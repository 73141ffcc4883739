//! Manifests through the real command: exit codes, places and guesses. What is wrong with which key is tested beside the
//! parser; here is what reaches a person, and that nothing starts.

use std::path::PathBuf;
use std::time::Duration;

use skep_tests::guests::component;
use skep_tests::process::{Process, Ran, skep};
use tempfile::TempDir;

fn written(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hive.toml");
    let text = text.replace("COUNTER", &format!("{:?}", component("counter").display().to_string()));
    std::fs::write(&path, text).expect("a manifest");
    (dir, path)
}

/// How long a command may take to refuse what it would wait for in vain: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(20);

const GOOD: &str = "[hive]\nname = \"shop\"\n[plugin.counter]\npath = COUNTER\n";

async fn check(text: &str) -> Ran {
    let (_dir, path) = written(text);
    skep(&["check", &path.display().to_string()]).await
}

async fn refused(more: &str, words: &[&str]) {
    let ran = check(&format!("{GOOD}{more}")).await;
    assert_eq!(ran.code, Some(7), "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is not in\n{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_manifest_passes() {
    let ran = check(&format!("{GOOD}[agent.counter]\nplugin = \"counter\"\n")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_toml_is_shown_with_its_line_and_column() {
    refused("[agent.counter\nplugin = 1\n", &["hive.toml:5"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_an_error_with_a_guess() {
    refused("[agent.counter]\nplugin = \"counter\"\ndurabilty = \"full\"\n", &["durabilty", "durability", "7"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_there_twice_is_an_error_with_its_line_and_column() {
    let words = ["E_MANIFEST_DUPLICATE", "hive.toml:5:9", "a table or a key is written once"];
    refused("[plugin.counter]\npath = \"other.wasm\"\n", &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_is_no_manifest_and_nobody_waits_for_it() {
    let (_dir, path) = written("");
    std::fs::remove_file(&path).expect("no file");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let path = path.display().to_string();
    for command in [["check", "-q"], ["up", "-q"], ["up", "-d"]] {
        let ran = tokio::time::timeout(PATIENCE, skep(&[command[0], command[1], &path])).await.expect("an end");
        assert_eq!(ran.code, Some(7), "{ran:?}");
        assert!(ran.err.contains("E_MANIFEST_IO") && ran.err.contains("a pipe, not a regular file"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_unit_is_an_error_that_says_what_is_accepted() {
    refused("[supervisor.team]\nperiod = \"5 minuts\"\n", &["5 minuts", "\"5s\""]).await;
    refused("[supervisor.team]\nintensity = -1\n", &["-1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_errors_of_a_file_are_told_at_once() {
    let more = "[agent.a]\nplugin = \"contour\"\n[agent.b]\nplugin = \"counter\"\nsupervisor = \"nobody\"\n\
                [supervisor.x]\nparent = \"y\"\n[supervisor.y]\nparent = \"x\"\n";
    refused(more, &["contour", "counter", "nobody", "E_MANIFEST_CYCLE"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contradiction_is_told_with_the_rule_of_otp() {
    refused("[agent.a]\nplugin = \"counter\"\nsignificant = true\n", &["significant"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_starts_from_a_broken_manifest() {
    let (dir, path) = written(&format!("{GOOD}[agent.counter]\nplugin = \"nothing\"\n"));
    let data = dir.path().join("data");
    let mut process = Process::spawn(&path, &data);
    let told = process.ready().await.expect_err("a failure");
    assert!(format!("{told:?}").contains("E_MANIFEST_REFERENCE"), "{told:?}");
    assert_eq!(process.ended().await.code(), Some(7));
    assert!(!data.exists(), "no data directory is made for it");
}
