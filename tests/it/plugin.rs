//! Files that are no agent, through the command that an operator uses: each has its code, its words and exit code 7.
//! What looks like what is tested beside the code; here is what reaches a person.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use skep_core::spec::{Durability, PluginSpec};
use skep_runtime::Host;
use skep_tests::chance::Chance;
use skep_tests::guests::component;
use skep_tests::hives::Draft;
use skep_tests::process::{Ran, binary, ran, skep};
use skep_tests::puppet::ask;
use tempfile::TempDir;
use tokio::process::Command;

/// How long a command may take to refuse a file that it would wait for in vain: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user who may nothing.
const NOBODY: u32 = 65_534;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

async fn check(path: &Path) -> Ran {
    skep(&["check", "-o", "json", &path.display().to_string()]).await
}

/// Refused with this code and these words; without a panic and without a raw control character.
async fn refused(path: &Path, code: &str, words: &[&str]) -> String {
    let ran = check(path).await;
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.err.contains(&format!("\"code\":\"{code}\"")), "{code} is not in {}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is not in {}", ran.err);
    }
    assert!(ran.err.trim_end().chars().all(|char| !char.is_control()), "{:?}", ran.err);
    ran.err
}

/// A component with a text in place of another one of the same length.
fn patched(dir: &TempDir, name: &str, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(component("puppet")).expect("a component");
    let mut places = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            places += 1;
        }
    }
    assert!(places > 0, "{from} is not in the component");
    file(dir, name, &bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_component_passes_and_says_what_it_is() {
    let ran = check(&component("counter")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("sha256:") && ran.out.contains("skep:agent/state@0.1.0"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_file_and_one_that_is_cut_short_are_corrupt() {
    let dir = folder();
    refused(&file(&dir, "empty.wasm", b""), "E_PLUGIN_CORRUPT", &["offset 0"]).await;
    refused(&file(&dir, "four.wasm", b"\0asm"), "E_PLUGIN_CORRUPT", &["offset 4"]).await;
    let whole = std::fs::read(component("counter")).expect("a component");
    for length in [1, 7, 9, whole.len() / 4, whole.len() / 2, whole.len() / 4 * 3, whole.len() - 1] {
        let words = format!("truncated at offset {length}: ");
        refused(&file(&dir, "cut.wasm", &whole[..length]), "E_PLUGIN_CORRUPT", &[&words]).await;
    }
}

/// In this process, for a process each would take too long.
#[test]
fn a_component_that_is_cut_short_anywhere_is_refused_and_never_a_panic() {
    let dir = folder();
    let whole = std::fs::read(component("counter")).expect("a component");
    let mut chance = Chance::announced("cut short");
    let mut corrupt = 0;
    for _ in 0..150 {
        let length = chance.below(whole.len() as u64) as usize;
        let error = skep_runtime::check_plugin(&file(&dir, "cut.wasm", &whole[..length]), None, None);
        let error = error.err().unwrap_or_else(|| panic!("{length} bytes pass"));
        match error.code() {
            "E_PLUGIN_CORRUPT" => {
                assert!(error.to_string().contains(&format!("truncated at offset {length}: ")), "{error}");
                corrupt += 1;
            }
            // Between two sections it is whole, as far as bytes tell, and lacks what came after.
            code => assert_eq!(code, "E_PLUGIN_WORLD", "{length} bytes: {error}"),
        }
    }
    assert!(corrupt > 140, "only {corrupt} of 150 are said to be cut short");
}

#[test]
fn a_component_with_a_flipped_bit_is_another_one_and_never_a_panic() {
    let dir = folder();
    let whole = std::fs::read(component("counter")).expect("a component");
    let pinned = skep_runtime::check_plugin(&component("counter"), None, None).expect("a component").digest;
    let mut chance = Chance::announced("flipped bit");
    for round in 0..60 {
        let mut flipped = whole.clone();
        let at = chance.below(whole.len() as u64) as usize;
        flipped[at] ^= 1 << chance.below(8);
        let path = file(&dir, "flipped.wasm", &flipped);
        let error = skep_runtime::check_plugin(&path, Some(pinned), None).expect_err("another digest");
        assert_eq!(error.code(), "E_PLUGIN_DIGEST");
        // Without a pin it may be valid by chance; it is told apart or refused.
        if round < 20 {
            match skep_runtime::check_plugin(&path, None, None) {
                Ok(info) => assert_ne!(info.digest, pinned),
                Err(error) => assert!(error.code().starts_with("E_PLUGIN_"), "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_refused_with_a_pin_and_without_one() {
    let dir = folder();
    let pinned = skep_runtime::check_plugin(&component("counter"), None, None).expect("a component").digest;
    let mut flipped = std::fs::read(component("counter")).expect("a component");
    // The number of its first section: there is none of the new one.
    flipped[8] ^= 0x40;
    let path = file(&dir, "flipped.wasm", &flipped);
    refused(&path, "E_PLUGIN_INVALID", &["not a valid component at offset 11"]).await;
    let manifest = format!("[hive]\nname = \"x\"\n[plugin.p]\npath = \"flipped.wasm\"\ndigest = \"{pinned}\"\n");
    let manifest = file(&dir, "hive.toml", manifest.as_bytes());
    refused(&manifest, "E_PLUGIN_DIGEST", &["flipped.wasm", &format!("but {pinned} is pinned")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_wasm_is_named_for_what_it_looks_like() {
    let dir = folder();
    let head = &std::fs::read(binary()).expect("a program")[..4096];
    refused(&file(&dir, "program.wasm", head), "E_PLUGIN_NOT_WASM", &["an ELF program"]).await;
    refused(&file(&dir, "page.wasm", b"<!DOCTYPE html><html>login</html>"), "E_PLUGIN_NOT_WASM", &["an HTML page"])
        .await;
    refused(&file(&dir, "script.wasm", b"#!/bin/sh\nexit\n"), "E_PLUGIN_NOT_WASM", &["a script"]).await;
    refused(&file(&dir, "text.wasm", b"(component)\n"), "E_PLUGIN_TEXT", &["wasm-tools parse"]).await;
    let fix = ["skep build", "wasm32-wasip2", "run `wasm-tools component new`"];
    refused(&file(&dir, "core.wasm", b"\0asm\x01\0\0\0"), "E_PLUGIN_CORE_MODULE", &fix).await;
    let words = ["a WIT package in binary form", "give the component that implements it"];
    refused(&file(&dir, "wit.wasm", WIT_PACKAGE), "E_PLUGIN_WIT_PACKAGE", &words).await;
}

/// A component that has nothing but the type of a component, and exports it as `x`: what a WIT package looks like.
const WIT_PACKAGE: &[u8] = b"\0asm\x0d\0\x01\0\x07\x03\x01\x41\x00\x0b\x07\x01\x00\x01x\x03\x00\x00";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_another_world_is_told_what_is_missing_and_what_was_meant() {
    let dir = folder();
    refused(&file(&dir, "empty.wasm", b"\0asm\x0d\0\x01\0"), "E_PLUGIN_WORLD", &["skep:agent/guest@0.1.0", "nothing"])
        .await;
    let misspelt = patched(&dir, "misspelt.wasm", "skep:agent/guest@0.1.0", "skep:agent/guess@0.1.0");
    let said = refused(&misspelt, "E_PLUGIN_WORLD", &["does not export skep:agent/guest@0.1.0"]).await;
    assert!(said.contains("did you mean skep:agent/guess@0.1.0?"), "{said}");
    let lacking = patched(&dir, "lacking.wasm", "migrate", "migrant");
    let missing = "does not export skep:agent/guest@0.1.0.migrate; it exports describe, handle, migrant, start, stop";
    refused(&lacking, "E_PLUGIN_WORLD", &[missing, "did you mean migrant?"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_of_another_type_is_told_with_both_types() {
    let dir = folder();
    let other = patched(&dir, "other.wasm", "from-digest", "from-digist");
    let words = [
        "export skep:agent/guest@0.1.0.migrate has another signature",
        "expected `func(from-digest: string) -> ",
        "found `func(from-digist: string) -> ",
        "build it against the WIT of this host",
    ];
    refused(&other, "E_PLUGIN_SIGNATURE", &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_unknown_and_one_that_is_not_granted_are_two_errors() {
    let dir = folder();
    let unknown = patched(&dir, "unknown.wasm", "skep:agent/health@0.1.0", "evil:agent/health@0.1.0");
    let words =
        ["imports evil:agent/health@0.1.0, which the host does not offer", "Remove what needs it from the guest"];
    refused(&unknown, "E_PLUGIN_IMPORT_UNKNOWN", &words).await;
    let misspelt = patched(&dir, "misspelt.wasm", "skep:agent/health@0.1.0", "skep:agent/healty@0.1.0");
    refused(&misspelt, "E_PLUGIN_IMPORT_UNKNOWN", &["did you mean skep:agent/health@0.1.0?"]).await;
    let denied = patched(&dir, "denied.wasm", "skep:agent/health@0.1.0", "wasi:http/handler@0.2.0");
    let words =
        ["imports wasi:http/handler@0.2.0, which is not granted: agents get clocks", "send messages to an agent"];
    refused(&denied, "E_PLUGIN_IMPORT_NOT_GRANTED", &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_of_an_interface_is_named_with_the_one_that_is_supported() {
    let dir = folder();
    let rule = "versions 0.x.y are if x is equal, from 1.0.0 on if the first number is";
    for version in ["0.2.0", "0.0.9"] {
        let wanted = format!("skep:agent/guest@{version}");
        let other = patched(&dir, "export.wasm", "skep:agent/guest@0.1.0", &wanted);
        let words = format!("{wanted} is not compatible with skep:agent/guest@0.1.0: {rule}");
        refused(&other, "E_PLUGIN_WIT_VERSION", &[&words]).await;
    }
    let other = patched(&dir, "import.wasm", "skep:agent/health@0.1.0", "skep:agent/health@9.1.0");
    let words = format!("skep:agent/health@9.1.0 is not compatible with skep:agent/health@0.1.0: {rule}");
    refused(&other, "E_PLUGIN_WIT_VERSION", &[&words]).await;
}

/// Files that cannot be read, with what is said of each.
fn unreadable(dir: &TempDir) -> Vec<(PathBuf, &'static str)> {
    let (pipe, folder) = (dir.path().join("pipe.wasm"), dir.path().join("folder"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    std::fs::create_dir(&folder).expect("a folder");
    vec![
        (dir.path().join("missing.wasm"), "No such file or directory"),
        (folder, "a directory"),
        (pipe, "a pipe"),
        (PathBuf::from("/dev/null"), "a device"),
        (file(dir, "no-folder", b"").join("below.wasm"), "Not a directory"),
    ]
}

/// For root no file is secret: then it is another user who asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_be_read_is_refused_with_what_the_system_said() {
    let dir = folder();
    let secret = file(&dir, "secret.wasm", b"\0asm");
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    mode(&secret, 0o0);
    let mut check = Command::new(binary());
    if std::fs::metadata(&secret).expect("a file").uid() == 0 {
        // In a folder that everybody may enter.
        let skep = dir.path().join("skep");
        std::fs::hard_link(binary(), &skep).or_else(|_| std::fs::copy(binary(), &skep).map(drop)).expect("a program");
        mode(dir.path(), 0o755);
        check = Command::new(skep);
        check.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    let ran = ran(check.arg("check").arg(&secret)).await;
    assert_eq!(ran.code, Some(7), "{ran:?}");
    for words in ["E_PLUGIN_IO", &secret.display().to_string(), "Permission denied (os error 13)"] {
        assert!(ran.err.contains(words), "{words:?} is not in {ran:?}");
    }
}

/// Whichever command meets it, and at once: a pipe that nobody writes to is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_named_with_what_the_system_said() {
    let dir = folder();
    let host = Draft::new().agent("counter", "counter", Durability::Full).run().await;
    for (path, words) in unreadable(&dir) {
        let shown = path.display().to_string();
        let manifest = format!("[hive]\nname = \"x\"\n[plugin.p]\npath = {shown:?}\n[agent.a]\nplugin = \"p\"\n");
        let manifest = file(&dir, "hive.toml", manifest.as_bytes()).display().to_string();
        let data = dir.path().join("data").display().to_string();
        let refusals = async {
            refused(Path::new(&manifest), "E_PLUGIN_IO", &[&shown, words]).await;
            if !path.is_dir() {
                refused(&path, "E_PLUGIN_IO", &[&shown, words]).await;
            }
            let up = skep(&["up", &manifest, "--data", &data]).await;
            assert_eq!(up.code, Some(7), "{up:?}");
            assert!(up.err.contains("E_PLUGIN_IO") && up.err.contains(&shown) && up.err.contains(words), "{up:?}");
            host.swap("counter", &path).await.expect_err("no component")
        };
        let error = tokio::time::timeout(PATIENCE, refusals).await.unwrap_or_else(|_| panic!("{shown} is waited for"));
        assert_eq!(error.code(), "E_PLUGIN_IO");
        assert!(error.to_string().contains(&shown) && error.to_string().contains(words), "{error}");
    }
    assert_eq!(add(&host, "counter", 1).await, json!(1), "the old version serves");
}

async fn add(host: &Host, agent: &str, by: u32) -> Value {
    ask(host, agent, "add", json!({ "by": by })).await.expect("a reply")
}

/// The files that a host keeps of its plugins, by name.
fn kept(data: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(data.join("plugins")).expect("a folder of plugins");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_to_a_component_that_is_cut_short_installs_nothing_of_it() {
    let host = Draft::new().agent("one", "counter", Durability::Full).run().await;
    let dir = folder();
    let whole = std::fs::read(component("counter2")).expect("a component");
    let before = kept(host.dir());
    assert_eq!(before.len(), 1, "{before:?}");
    for length in [0, 4, 8, whole.len() / 4, whole.len() / 2, whole.len() - 1] {
        let cut = file(&dir, "cut.wasm", &whole[..length]);
        for target in ["one", "counter"] {
            let error = host.swap(target, &cut).await.expect_err("no component");
            assert!(error.code().starts_with("E_PLUGIN_"), "{error}");
            assert_eq!(kept(host.dir()), before, "{length} bytes, swap of {target}");
        }
    }
    assert_eq!(add(&host, "one", 1).await, json!(1), "the old version serves");
    // The whole one is installed under its digest, and nothing half-written is left beside it.
    let receipt = host.swap("counter", &file(&dir, "whole.wasm", &whole)).await.expect("a swap");
    let mut after = [before, vec![format!("{}.wasm", receipt.to.to_string().trim_start_matches("sha256:"))]].concat();
    after.sort();
    assert_eq!(kept(host.dir()), after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_may_have_two_names_and_one_name_has_one_file() {
    let mut draft = Draft::new().agent("one", "counter", Durability::Full).plugin_at("tally", component("counter"));
    draft = draft.agent_with("two", "counter", Durability::Full, |spec| spec.plugin = skep_tests::hives::name("tally"));
    let host = draft.run().await;
    let digest = |host: &Host, agent: &str| host.inspect(agent).expect("an agent").view.digest;
    let before = digest(&host, "one");
    assert_eq!(digest(&host, "two"), before);
    assert_eq!((add(&host, "one", 5).await, add(&host, "two", 7).await), (json!(5), json!(7)));
    let receipt = host.swap("tally", &component("counter2")).await.expect("a swap");
    let swapped: Vec<_> = receipt.agents.iter().map(|swapped| swapped.agent.as_str()).collect();
    assert_eq!(swapped, ["two"]);
    // Also after a restart, which finds both names with one file again.
    let host = host.again().await;
    assert_eq!((digest(&host, "one"), digest(&host, "two")), (before, receipt.to));
    assert_eq!((add(&host, "one", 1).await, add(&host, "two", 1).await), (json!(6), json!(8)));

    let installed = kept(host.dir());
    let mut twice = Draft::new().agent("one", "counter", Durability::Full);
    let other = PluginSpec { path: component("counter2"), ..twice.spec.plugins[0].clone() };
    twice.spec.plugins.push(other);
    host.shutdown().await;
    let error = twice.builder().data_dir(host.dir()).start().await.err().expect("two files of one name");
    assert_eq!(error.code(), "E_HIVE_INVALID");
    assert!(error.to_string().contains("counter"), "{error}");
    assert_eq!(kept(host.dir()), installed, "nothing is overwritten");
    let host = host.again().await;
    assert_eq!((digest(&host, "one"), digest(&host, "two")), (before, receipt.to));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_over_the_cap_is_refused_before_it_is_read() {
    let dir = folder();
    let path = dir.path().join("huge.wasm");
    let file = std::fs::File::create(&path).expect("a file");
    // Nothing is on the disk: reading it would take a while all the same.
    file.set_len(1 << 40).expect("a long file");
    let began = tokio::time::Instant::now();
    refused(&path, "E_PLUGIN_TOO_LARGE", &[&(1u64 << 40).to_string()]).await;
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_file_names_are_shown_escaped() {
    let dir = folder();
    let path = file(&dir, "\u{1b}[2J\u{202e}evil\u{7}.wasm", b"hello there");
    let said = refused(&path, "E_PLUGIN_NOT_WASM", &["evil"]).await;
    assert!(!said.contains('\u{202e}'), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_digest_must_be_that_of_the_file() {
    let mut draft = Draft::new().agent("a", "counter", Durability::None);
    let digest = skep_runtime::check_plugin(&component("bench"), None, None).expect("a component").digest;
    draft.spec.plugins[0].digest = Some(digest);
    let error = draft.builder().start().await.err().expect("another file");
    assert_eq!(error.code(), "E_PLUGIN_DIGEST");
    assert!(error.to_string().contains("counter.wasm") && error.to_string().contains(&digest.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protocol_that_imports_anything_is_refused_by_its_import() {
    refused(&component("rogue-import"), "E_PLUGIN_PROTOCOL_IMPORTS", &["test:rogue/clock", "imports nothing"]).await;
    assert_eq!(check(&component("auction-sealed-bid")).await.code, Some(0));
    assert_eq!(check(&component("vote-threshold")).await.code, Some(0));
}
