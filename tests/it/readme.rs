//! The README's first agent as a stranger meets it: its files are written as they stand there, and its commands are typed as
//! they stand there. What a line says behind a # is what the command prints.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use skep_tests::process::binary;
use tokio::process::Command;

/// The longest that a line may take: the first one compiles a crate.
const LINE_TIME_MAX: Duration = Duration::from_secs(300);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// The block of this language that comes first after these words.
fn block<'a>(readme: &'a str, after: &str, language: &str) -> &'a str {
    let (_, rest) = readme.split_once(after).unwrap_or_else(|| panic!("the README has no {after:?}"));
    let (_, rest) = rest.split_once(&format!("```{language}\n")).expect("a block");
    rest.split("```").next().expect("its end")
}

/// A folder beside the repository, with the files of the README in it.
fn folder() -> (tempfile::TempDir, String) {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    std::fs::create_dir_all(dir.path().join("counter/src")).expect("a folder");
    std::fs::create_dir(dir.path().join("bin")).expect("a folder");
    symlink(root(), dir.path().join("skep")).expect("a link");
    symlink(binary(), dir.path().join("bin/skep")).expect("a link");
    write("counter/Cargo.toml", block(&readme, "`counter/Cargo.toml`", "toml"));
    write("counter/src/lib.rs", block(&readme, "`counter/src/lib.rs`", "rust"));
    write("hive.toml", block(&readme, "`hive.toml`", "toml"));
    // So that the versions are those that are there already.
    std::fs::copy(root().join("guest-sdk/rust/Cargo.lock"), dir.path().join("counter/Cargo.lock")).expect("a copy");
    let commands = block(&readme, "`hive.toml`", "sh").to_owned();
    (dir, commands)
}

/// A line in a shell. What is compiled is kept for the next run, and apart from the other guests: one of them has the same
/// name.
async fn typed(dir: &Path, line: &str) -> Output {
    let line = match line.starts_with("skep build") {
        true => format!("{line} --target-dir '{}'", root().join("target/guests/readme").display()),
        false => line.to_owned(),
    };
    let path = std::env::join_paths(
        std::iter::once(dir.join("bin")).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(dir).env("PATH", path.expect("a path")).env_remove("SKEP_DATA");
    shell.stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(LINE_TIME_MAX, shell.output()).await.expect("an end").expect("a shell")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_agent_of_the_readme_works_as_it_stands_there() {
    let (dir, commands) = folder();
    let mut failed = None;
    for line in commands.lines() {
        let (command, expected) =
            line.split_once('#').map_or((line, None), |(command, text)| (command, Some(text.trim())));
        let output = typed(dir.path(), command.trim()).await;
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || expected.is_some_and(|expected| expected != printed) {
            failed = Some(format!("{line}: {printed} {}", String::from_utf8_lossy(&output.stderr)));
            break;
        }
    }
    if failed.is_some() {
        // The host is no child of this process.
        typed(dir.path(), "skep down").await;
    }
    assert_eq!(failed, None);
    assert!(!dir.path().join(".skep/socket").exists(), "the host has stopped");
}
