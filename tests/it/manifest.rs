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
    let words = ["E_MANIFEST_SYNTAX", "hive.toml:5:15", " 5 │ [agent.counter", "unclosed table, expected `]`"];
    refused("[agent.counter\nplugin = 1\n", &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_an_error_with_a_guess() {
    refused("[agent.counter]\nplugin = \"counter\"\ndurabilty = \"full\"\n", &["durabilty", "durability", "7"]).await;
}

/// An agent with a key that there is not, and one line more.
fn misspelt(more: &str) -> (TempDir, PathBuf) {
    written(&format!("{GOOD}[agent.counter]\nplugin = \"counter\"\ndurabilty = \"full\"\n{more}"))
}

/// What is said of it: the same whether it is an error or a warning.
fn is_told_of_misspelt(said: &str) {
    let words = ["E_MANIFEST_UNKNOWN_KEY", "agent counter has no key `durabilty`", "hive.toml:7:1"];
    for word in words.into_iter().chain(["did you mean `durability`?"]) {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_a_warning_with_lenient_and_nothing_else_is() {
    let (_dir, path) = misspelt("");
    let path = path.display().to_string();
    let strict = skep(&["check", &path]).await;
    assert_eq!((strict.code, strict.out.as_str()), (Some(7), ""), "{strict:?}");
    is_told_of_misspelt(&strict.err);
    let ran = skep(&["check", "--lenient", "-o", "json", &path]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    is_told_of_misspelt(&ran.err);
    assert!(strict.err.contains('\u{d7}') && !ran.err.contains('\u{d7}') && ran.err.contains('\u{26a0}'), "{ran:?}");
    let checked: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let warning = &checked["warnings"][0];
    assert_eq!((&warning["severity"], &warning["code"]), (&"warning".into(), &"E_MANIFEST_UNKNOWN_KEY".into()));
    assert_eq!((&warning["line"], &warning["column"]), (&7.into(), &1.into()), "{warning}");
    assert_eq!(warning["help"], "did you mean `durability`?");
    assert_eq!((checked["agents"].as_u64(), checked["warnings"].as_array().map(Vec::len)), (Some(1), Some(1)));

    let (_dir, path) = misspelt("restart = 1\n");
    let wrong = skep(&["check", "--lenient", &path.display().to_string()]).await;
    assert_eq!(wrong.code, Some(7), "{wrong:?}");
    is_told_of_misspelt(&wrong.err);
    assert!(wrong.err.contains("E_MANIFEST_TYPE") && wrong.err.contains("has 1 error"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_starts_with_lenient_from_a_manifest_with_an_unknown_key_also_detached() {
    let (dir, path) = misspelt("");
    let (path, data) = (path.display().to_string(), dir.path().join("data").display().to_string());
    let cache = skep_tests::hives::cache_dir().display().to_string();
    let up = ["up", "-d", &path, "--data", &data, "--cache", &cache];
    let strict = skep(&up).await;
    assert_eq!(strict.code, Some(7), "{strict:?}");
    let ran = skep(&[&up[..], &["--lenient"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    is_told_of_misspelt(&ran.err);
    let counted = skep(&["call", "--data", &data, "counter", "{\"by\": 2}", "--kind", "add"]).await;
    let down = skep(&["down", "--data", &data]).await;
    assert_eq!((counted.code, counted.out.trim(), down.code), (Some(0), "2", Some(0)), "{counted:?} {down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_or_an_agent_that_is_there_twice_is_an_error_with_its_line_and_column() {
    let words =
        ["E_MANIFEST_DUPLICATE", "hive.toml:5:9", "duplicate key `counter`", "a table or a key is written once"];
    refused("[plugin.counter]\npath = \"other.wasm\"\n", &words).await;
    let agent = "[agent.counter]\nplugin = \"counter\"\n";
    refused(&format!("{agent}{agent}"), &["E_MANIFEST_DUPLICATE", "hive.toml:7:8", "a table or a key"]).await;
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
    let (value, accepted) = ("E_MANIFEST_VALUE", "accepted: a number and a unit: \"200ms\", \"5s\"");
    let span = " 6 │ period = \"5 minuts\"\n   ·          ─────┬────\n   ·               ╰── not accepted";
    refused("[supervisor.team]\nperiod = \"5 minuts\"\n", &[value, "hive.toml:6:10", span, accepted]).await;
    let accepted = "OTP: invalid_intensity";
    let span = " 6 │ intensity = -1\n   ·             ─┬\n   ·              ╰── not accepted";
    refused("[supervisor.team]\nintensity = -1\n", &[value, "hive.toml:6:13", span, accepted]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_errors_of_a_file_are_told_at_once() {
    let more = "[agent.a]\nplugin = \"contour\"\n[agent.b]\nplugin = \"counter\"\nsupervisor = \"nobody\"\n\
                [supervisor.x]\nparent = \"y\"\n[supervisor.y]\nparent = \"x\"\n[supervisor.a]\nintensity = 1\n";
    let texts = ["the name a is taken by another supervisor", "there is no plugin contour", "x -> y -> x", "nobody"];
    refused(more, &texts).await;
    let (_dir, path) = written(&format!("{GOOD}{more}"));
    let ran = skep(&["check", "-o", "json", &path.display().to_string()]).await;
    let error: serde_json::Value = serde_json::from_str(&ran.err).expect("JSON");
    let problems = error["problems"].as_array().expect("a list").iter();
    let places: Vec<_> =
        problems.map(|one| (one["code"].as_str(), one["line"].as_u64(), one["column"].as_u64())).collect();
    let at = |code, line, column| (Some(code), Some(line), Some(column));
    let expected = [
        at("E_MANIFEST_DUPLICATE", 5, 8),
        at("E_MANIFEST_REFERENCE", 6, 10),
        at("E_MANIFEST_REFERENCE", 9, 14),
        at("E_MANIFEST_CYCLE", 11, 10),
    ];
    assert_eq!(places, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contradiction_is_told_with_the_rule_of_otp() {
    let permanent = "a significant child is transient or temporary";
    refused("[agent.a]\nplugin = \"counter\"\nsignificant = true\n", &["OTP (bad_combination)", permanent]).await;
    let never_ends = "a significant child needs a supervisor with";
    let more = "[agent.a]\nplugin = \"counter\"\nrestart = \"transient\"\nsignificant = true\n";
    refused(more, &["OTP (bad_combination)", never_ends]).await;
    let more = "[supervisor.s]\nstrategy = \"dynamic\"\n[agent.a]\nplugin = \"counter\"\nsupervisor = \"s\"\n";
    refused(more, &["OTP (simple_one_for_one)", "a dynamic supervisor starts without children"]).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_plugins_that_cannot_be_used_are_told_in_one_document() {
    let (dir, path) = written(&format!("{GOOD}[plugin.one]\npath = \"one.wasm\"\n[plugin.two]\npath = \"two.wasm\"\n"));
    for name in ["one", "two"] {
        std::fs::write(dir.path().join(format!("{name}.wasm")), "no component").expect("a file");
    }
    let ran = skep(&["check", "-o", "json", &path.display().to_string()]).await;
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_else(|_| panic!("{ran:?}"));
    let problems = error["problems"].as_array().expect("problems");
    assert_eq!((ran.code, problems.len()), (Some(7), 2), "{error}");
    assert!(problems.iter().zip(["one", "two"]).all(|(problem, name)| problem.to_string().contains(name)), "{error}");
    let places: Vec<_> =
        problems.iter().map(|problem| (problem["line"].as_u64(), problem["column"].as_u64())).collect();
    assert_eq!(places, [(Some(6), Some(8)), (Some(8), Some(8))], "{error}");
    let mut process = Process::spawn(&path, &dir.path().join("data"));
    let told = format!("{:?}", process.ready().await.expect_err("a failure"));
    assert!(told.contains("plugin one:") && told.contains("plugin two:"), "{told}");
    assert!(told.contains("hive.toml:6:8") && told.contains("hive.toml:8:8"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_cannot_be_used_is_shown_where_the_manifest_names_it_also_detached() {
    let zeros = "0".repeat(64);
    let more =
        format!("[plugin.pinned]\npath = COUNTER\ndigest = \"sha256:{zeros}\"\n[plugin.none]\npath = \"no.wasm\"\n");
    let (dir, path) = written(&format!("{GOOD}{more}"));
    let (path, data) = (path.display().to_string(), dir.path().join("data").display().to_string());
    for command in [&["check"][..], &["up", "--data", &data], &["up", "-d", "--data", &data]] {
        let ran = skep(&[command, &[&path]].concat()).await;
        assert_eq!(ran.code, Some(7), "{command:?}: {ran:?}");
        for word in ["E_PLUGIN_DIGEST", "hive.toml:7:10", "E_PLUGIN_IO", "hive.toml:9:8", "no.wasm", "has 2 errors"] {
            assert!(ran.err.contains(word), "{command:?}: {word:?} is not in\n{}", ran.err);
        }
    }
}
