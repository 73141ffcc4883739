//! A server and hosts for the tests, and waiting for what they hear. Never sleeps: what is waited for is heard or the test
//! fails with all that was heard in its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use skep_bus::nats::{Ears, Frame, Lane, Managed, Nats, Options, Word};
use skep_core::Name;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long anything may take: a frame that is not done comes again after 10 s, on a machine that is busy.
const WITHIN: Duration = Duration::from_secs(40);

/// A server with a folder that outlives it.
pub(crate) struct Server {
    pub(crate) dir: TempDir,
    managed: Option<Managed>,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let managed = start(dir.path());
        let url = managed.url().to_owned();
        Self { dir, managed: Some(managed), url }
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.managed = None;
    }

    /// On the same port and store.
    pub(crate) fn start_again(&mut self) {
        let managed = start(self.dir.path());
        assert_eq!(managed.url(), self.url, "the port was taken meanwhile");
        self.managed = Some(managed);
    }

    /// As if it had never run, but for its port.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.dir.path().join("jetstream")).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.managed.as_ref().unwrap().pid()
    }

    pub(crate) fn options(&self, host: &str) -> Options {
        Options { url: self.url.clone(), hive: name("test.hive"), host: name(host), instance: None, lease_s: 2 }
    }

    /// A host whose lanes are both connected.
    pub(crate) async fn host(&self, host: &str) -> Host {
        let mut host = self.host_away(host).await;
        host.connected().await;
        host
    }

    pub(crate) async fn host_away(&self, host: &str) -> Host {
        Host::join(self.options(host)).await
    }
}

fn start(dir: &Path) -> Managed {
    Managed::start_program(&program(), dir).unwrap()
}

/// The server that the tests run against.
pub(crate) fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("SKEP_NATS_SERVER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/venv/bin");
    std::env::split_paths(&path)
        .chain([built])
        .map(|dir| dir.join("nats-server"))
        .find(|file| file.is_file())
        .expect("there is no nats-server in SKEP_NATS_SERVER, PATH or target/guests/venv/bin: make setup brings it")
}

pub(crate) struct Host {
    pub(crate) name: Name,
    pub(crate) nats: Nats,
    pub(crate) ears: Ears,
    /// What was heard while something else was waited for.
    heard: Vec<Word>,
}

impl Host {
    pub(crate) async fn join(options: Options) -> Self {
        let name = options.host.clone();
        let (nats, ears) = Nats::connect(options).await.unwrap();
        Self { name, nats, ears, heard: Vec::new() }
    }

    /// Waits for a word, or takes it out of what was heard before; all others are kept.
    pub(crate) async fn hears(&mut self, mut wanted: impl FnMut(&Word) -> bool) -> Word {
        if let Some(place) = self.heard.iter().position(&mut wanted) {
            return self.heard.remove(place);
        }
        let found = timeout(WITHIN, async {
            loop {
                let word = self.ears.words.recv().await.expect("the room has ended");
                if wanted(&word) {
                    return word;
                }
                self.heard.push(word);
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("{} has heard in vain: {:#?}", self.name, self.heard))
    }

    /// Waits for exactly this word.
    pub(crate) async fn hears_that(&mut self, expected: Word) {
        self.hears(|word| *word == expected).await;
    }

    pub(crate) async fn connected(&mut self) {
        self.both(|word| matches!(word, Word::Connected { .. })).await;
        assert!(self.nats.is_connected());
    }

    pub(crate) async fn lost(&mut self) {
        self.both(|word| matches!(word, Word::Lost { .. })).await;
        assert!(!self.nats.is_connected());
    }

    async fn both(&mut self, mut of: impl FnMut(&Word) -> bool) {
        for _ in Lane::ALL {
            self.hears(&mut of).await;
        }
    }

    pub(crate) async fn frame(&mut self, lane: Lane) -> Frame {
        next(match lane {
            Lane::Control => &mut self.ears.control,
            Lane::Data => &mut self.ears.data,
        })
        .await
    }

    pub(crate) async fn send(&self, to: &str, lane: Lane, text: &str) {
        self.nats.publish(&name(to), lane, Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    }
}

pub(crate) async fn next(frames: &mut mpsc::Receiver<Frame>) -> Frame {
    timeout(WITHIN, frames.recv()).await.expect("no frame comes").expect("the room has ended")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
