//! Ends of long commands before their time: signals, kill -9, a closed pipe, a limit of time. Nothing that they have started
//! goes on, and nothing of theirs is left over.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use skep_tests::guests::component;
use skep_tests::hives::cache_dir;
use skep_tests::kit::LIMIT;
use skep_tests::process::binary;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Files of a folder that is indexed: enough that half of them are still to come when the plugin is swapped.
const FILES: usize = 64;
/// So many that a demo is far from its end when it is told to end, however late that is.
const MANY_FILES: usize = 10_000;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a folder") };
        for folder in ["indexed", "temporary"] {
            std::fs::create_dir(place.at(folder)).expect("a folder");
        }
        place.fill(FILES);
        place
    }

    fn fill(&self, files: usize) {
        (0..files).for_each(|at| std::fs::write(self.at(&format!("indexed/{at}")), "some words\n").expect("a file"));
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A demo of the folder, with what it makes in a place of its own.
    fn demo(&self, more: &[&str]) -> Command {
        let components = component("digest").parent().map(Path::to_owned).expect("a folder");
        let mut demo = Command::new(binary());
        demo.arg("demo").arg(self.at("indexed")).arg("--components").arg(components).args(more);
        demo.env("TMPDIR", self.at("temporary")).env("XDG_CACHE_HOME", cache_dir()).env_remove("XDG_RUNTIME_DIR");
        demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        demo
    }

    /// What is left in the place for temporary files, but for the folder of sockets.
    fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for entry in std::fs::read_dir(self.at("temporary")).expect("a folder") {
            let path = entry.expect("an entry").path();
            match std::fs::read_dir(&path) {
                Ok(sockets) if !path.to_string_lossy().contains("skep-demo") => {
                    left.extend(sockets.map(|entry| entry.expect("an entry").path()));
                }
                _ => left.push(path),
            }
        }
        left
    }
}

fn signal(id: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &id.to_string()]).status().expect("kill");
    assert!(sent.success());
}

/// Waits until a demo has a host that works.
async fn has_host(demo: &mut Child) {
    let mut lines = BufReader::new(demo.stderr.take().expect("a pipe")).lines();
    let found = async {
        while let Some(line) = lines.next_line().await.expect("a line") {
            if line.starts_with("swapping the plugin") {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(LIMIT, found).await.expect("a host"), "the demo ended before");
}

async fn ended(mut child: Child) -> ExitStatus {
    tokio::time::timeout(LIMIT, child.wait()).await.expect("an end").expect("a status")
}

/// Waits until no host has a data directory. One that does not go is killed, so that the test leaves none.
async fn no_host(data: &Path) {
    let lock = File::open(data.join("lock")).expect("a host was here");
    let freed = tokio::task::spawn_blocking(move || lock.lock());
    if tokio::time::timeout(LIMIT, freed).await.is_err() {
        signal(holder(data).expect("a host"), "-KILL");
        panic!("the host goes on");
    }
}

/// Who has a data directory, in the words of its lock.
fn holder(data: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(data.join("lock")).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_of_a_demo_that_is_killed_ends_with_it() {
    let place = Place::new();
    let data = place.at("data");
    let mut demo = place.demo(&["--data", &data.display().to_string()]).spawn().expect("a process");
    has_host(&mut demo).await;
    demo.kill().await.expect("a kill");
    no_host(&data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_that_is_told_to_end_leaves_nothing() {
    for (name, code) in [("-HUP", 129), ("-INT", 130), ("-TERM", 143)] {
        let place = Place::new();
        place.fill(MANY_FILES);
        let mut demo = place.demo(&[]).spawn().expect("a process");
        has_host(&mut demo).await;
        signal(demo.id().expect("a process"), name);
        assert_eq!(ended(demo).await.code(), Some(code));
        assert_eq!(place.left(), Vec::<PathBuf>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_whose_reader_has_gone_leaves_nothing() {
    let place = Place::new();
    let mut demo = place.demo(&["-q"]).spawn().expect("a process");
    drop(demo.stdout.take());
    assert_eq!(ended(demo).await.code(), Some(0));
    assert_eq!(place.left(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_of_two_hosts_is_verified_and_leaves_nothing() {
    let place = Place::new();
    let mut demo = place.demo(&["--cluster"]);
    let ends = demo.env("SKEP_NATS_SERVER", skep_tests::nats::binary()).output();
    let output = tokio::time::timeout(2 * LIMIT, ends).await.expect("an end").expect("a process");
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let bytes = FILES * "some words\n".len();
    let line = format!("verified: {FILES} files, {bytes} bytes, lost 0, duplicated 0");
    assert_eq!(out.lines().last(), Some(line.as_str()), "{out}");
    assert!(told.contains("kill -9 of host b"), "{told}");
    assert_eq!(place.left(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_take_two_agents_and_a_server() {
    let place = Place::new();
    let mut no_server = place.demo(&["--cluster"]);
    no_server.env("SKEP_NATS_SERVER", place.at("nowhere"));
    for (mut demo, code, word) in
        [(place.demo(&["--cluster", "--agents", "1"]), 2, "E_USAGE"), (no_server, 1, "E_NATS_SERVER_MISSING")]
    {
        let output = demo.output().await.expect("a process");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && told.contains(word), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listing_of_a_demo_ends_with_its_time_and_leaves_nothing() {
    let place = Place::new();
    // Of nothing, but it takes hours to read.
    File::create(place.at("indexed/large")).and_then(|file| file.set_len(1 << 42)).expect("a file");
    let demo = place.demo(&["--timeout", "200ms"]).spawn().expect("a process");
    assert_eq!(ended(demo).await.code(), Some(9));
    assert_eq!(place.left(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_keeps_away_from_a_folder_that_is_not_its_own() {
    let place = Place::new();
    let data = place.at("indexed").display().to_string();
    let output = place.demo(&["--data", &data]).output().await.expect("a process");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("E_DEMO_FAILED") && !told.contains("remove"), "{told}");
    assert_eq!(std::fs::read_dir(place.at("indexed")).expect("a folder").count(), FILES);
}

/// Waits for what no event tells.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("what was waited for")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bench_that_is_told_to_end_removes_its_directory() {
    // On the disk of the build, for the bench takes no other.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut bench = Command::new(binary());
    bench.arg("bench").arg("--component").arg(component("bench")).arg("--data").arg(dir.path());
    let bench = bench.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("a process");
    let entries = || std::fs::read_dir(dir.path()).expect("a folder").count();
    until(|| (entries() > 0).then_some(())).await;
    signal(bench.id().expect("a process"), "-INT");
    assert_eq!(ended(bench).await.code(), Some(130));
    assert_eq!(entries(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_not_ready_yet_ends_with_the_command_that_starts_it() {
    let place = Place::new();
    let (manifest, data) = (place.at("hive.toml"), place.at("data"));
    let text = format!("[hive]\nname = \"x\"\n[plugin.p]\npath = {:?}\n", component("puppet").display().to_string());
    std::fs::write(&manifest, text).expect("a manifest");
    let mut up = Command::new(binary());
    up.arg("up").arg("-d").arg(&manifest).arg("--data").arg(&data).arg("--cache").arg(place.at("cache"));
    let up = up.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("a process");
    // It has its lock before it compiles, and stops there.
    signal(until(|| holder(&data)).await, "-STOP");
    signal(up.id().expect("a process"), "-INT");
    assert_eq!(ended(up).await.code(), Some(130));
    no_host(&data).await;
}
