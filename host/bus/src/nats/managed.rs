//! A NATS server of one's own: for tests, and for a hive on one machine that nobody runs a server for. Never restarts it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::Error;

/// The variable that names the server's program.
const PROGRAM: &str = "SKEP_NATS_SERVER";
/// How long a server has to accept connections, in looks of [`LOOK_EVERY`]: a large store is read first.
const LOOKS_MAX: u32 = 200;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The largest message the server takes, in bytes.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// A running server: it ends when this is dropped, and, on Linux, when this process ends in any way.
#[derive(Debug)]
pub struct Managed {
    url: String,
    pid: u32,
    /// Its thread kills the server once this is gone, and then ends too.
    stop: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Managed {
    /// Starts a server that keeps everything in `dir`, on the port of its last run there if that is still free. Blocks
    /// until it accepts connections, at most 10 s.
    pub fn start(dir: &Path) -> Result<Self, Error> {
        Self::start_program(&program()?, dir)
    }

    /// As [`Managed::start`], with a program that the caller has found.
    pub fn start_program(program: &Path, dir: &Path) -> Result<Self, Error> {
        let failed = |why: String| Error::NatsServerStart { dir: dir.display().to_string(), why };
        fs::create_dir_all(dir).map_err(|error| failed(error.to_string()))?;
        let dir = fs::canonicalize(dir).map_err(|error| failed(error.to_string()))?;
        match remembered_port(&dir) {
            // Another process may take the port between the look and the start.
            Some(port) => Self::start_on(program, &dir, port).or_else(|_| Self::start_on(program, &dir, -1)),
            None => Self::start_on(program, &dir, -1),
        }
        .map_err(|error| failed(error.to_string()))
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn start_on(program: &Path, dir: &Path, port: i32) -> io::Result<Self> {
        forget_ports(dir)?;
        let config = dir.join("nats-server.conf");
        fs::write(&config, configuration(dir, port))?;
        let log = dir.join("nats-server.log");
        let mut command = Command::new(program);
        command.arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        die_with_parent(&mut command);
        let (stop, stopped) = channel();
        let (started, start) = channel();
        // A thread of its own, as Linux ends a child with the thread that started it, not with the process.
        let thread = std::thread::Builder::new()
            .name("nats-server".to_owned())
            .spawn(move || guard(command.spawn(), &started, &stopped))?;
        let ended = || io::Error::other("it has ended");
        let pid = start.recv().map_err(|_| ended())??;
        let mut server = Self { url: String::new(), pid, stop: Some(stop), thread: Some(thread) };
        for _ in 0..LOOKS_MAX {
            if let Some(port) = listens(dir, pid) {
                server.url = format!("nats://127.0.0.1:{port}");
                fs::write(dir.join("port"), port.to_string())?;
                return Ok(server);
            }
            // The channel is closed when the server has ended by itself.
            if let Err(RecvTimeoutError::Disconnected) = start.recv_timeout(LOOK_EVERY) {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "it has ended: {}",
                    said.lines().last().unwrap_or("it says nothing")
                )));
            }
        }
        Err(io::Error::other("it accepts no connections within 10 s"))
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells the process's number, and waits for its end or for the word to end it.
fn guard(child: io::Result<Child>, started: &Sender<io::Result<u32>>, stopped: &Receiver<()>) {
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(child.id()));
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn program() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os(PROGRAM).map(PathBuf::from) {
        if named.is_file() {
            return Ok(named);
        }
        return Err(Error::NatsServerMissing {
            looked_at: format!("{PROGRAM} is {}, which is no file", named.display()),
        });
    }
    std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file()))
        .ok_or_else(|| Error::NatsServerMissing { looked_at: format!("none in PATH, and {PROGRAM} is not set") })
}

/// Nothing here has to survive a power failure: what was not taken by another host's journal is in that of its sender,
/// which sends it again.
fn configuration(dir: &Path, port: i32) -> String {
    let text = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
    let (store, ports) = (text(&dir.join("jetstream")), text(dir));
    format!(
        "# Written at each start.\nlisten: \"127.0.0.1:{port}\"\nmax_payload: {MESSAGE_BYTES_MAX}\n\
         ports_file_dir: {ports}\njetstream {{\n  store_dir: {store}\n}}\n"
    )
}

fn remembered_port(dir: &Path) -> Option<i32> {
    let port: u16 = fs::read_to_string(dir.join("port")).ok()?.trim().parse().ok()?;
    TcpListener::bind(("127.0.0.1", port)).ok().map(|_| i32::from(port))
}

/// Removes what a server that was killed left behind: the number of its process may come again.
fn forget_ports(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ports") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The port of a server that greets whoever connects.
fn listens(dir: &Path, pid: u32) -> Option<u16> {
    let end = format!("_{pid}.ports");
    let file = fs::read_dir(dir).ok()?.flatten().find(|entry| entry.file_name().to_string_lossy().ends_with(&end))?;
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(file.path()).ok()?).ok()?;
    let port = ports.get("nats")?.get(0)?.as_str()?.rsplit(':').next()?.parse().ok()?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(LOOK_EVERY)).ok()?;
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).ok()?;
    (&greeting == b"INFO").then_some(port)
}

/// The server is killed when this process ends, however it does.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std has no safe way to do something in a child before its program runs")]
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let parent = std::process::id();
    let ask = move || {
        // SAFETY: both calls are async-signal-safe, take and give numbers, and touch no memory of this process.
        let (done, now) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong), libc::getppid()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have ended before the call.
        if u32::try_from(now).is_ok_and(|now| now == parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: the closure allocates nothing and takes no lock between fork and exec.
    unsafe { command.pre_exec(ask) };
}

/// Elsewhere the server ends when [`Managed`] is dropped, and outlives a process that is killed.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}
