//! `skep up`: the host of a hive, in this process. Never a decision about agents: it starts a [`skep_runtime::Host`],
//! serves its API, and stops it when a signal or `skep down` says so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use skep_core::{ExitReason, Name};
use skep_runtime::{Builder, Host, Progress};
use tokio::sync::watch;

use super::cluster::Said;
use super::logging::{self, LogFormat};
use super::{Context, check, cluster, detach};
use crate::api::types::HostStatus;
use crate::api::{self, Api, socket};
use crate::client::{data_dir, data_dir_origin};
use crate::failure::{Failure, Outcome};
use crate::manifest::Manifest;
use crate::output::Bar;
use crate::process::{Told, make_data_dir};
use crate::signals::Signals;
use crate::sys;

/// Threads of the API; the host has its own.
const API_THREADS: usize = 2;

/// Start a hive and run it until a signal or `skep down` stops it
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep up                        the hive of ./hive.toml, until Ctrl-C
  skep up -d                     in the background; `skep down` stops it
  skep up --host a --nats nats://10.0.0.1:4222    one of many hosts of the hive
  skep up demo/hive.toml --data /var/lib/demo --log-format json")]
pub struct Args {
    /// The manifest, or a folder with a hive.toml
    #[arg(default_value = "hive.toml")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) leniency: check::Leniency,
    /// Run in the background; returns when the hive is ready, or with its error
    #[arg(short, long)]
    pub(super) detach: bool,
    /// How the log is written
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// Where the log goes, 2 x 16 MiB at most [default: stderr; host.log in the data directory with --detach]
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) cluster: cluster::Args,
    /// The host's name in events [default: that of --host, else the hive's]
    #[arg(long, value_name = "NAME", value_parser = cluster::name)]
    name: Option<Name>,
    /// The folder of compiled components [default: skep in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Threads that run turns [default: one for each core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// For tests: drop the instance of every durable agent after every turn
    #[arg(long)]
    drop_instances: bool,
    /// Neither log events nor keep them for `skep events` and `skep logs`
    #[arg(long)]
    no_telemetry: bool,
    /// Tell the parent when it is ready
    #[arg(long, hide = true)]
    ready_lines: bool,
    /// Go on when the terminal closes
    #[arg(long, hide = true)]
    own_session: bool,
    /// What the parent has taken the data directory from
    #[arg(long, hide = true, value_name = "WORDS", allow_hyphen_values = true)]
    data_origin: Option<String>,
    /// End when this process, which is the parent, does
    #[arg(long, hide = true, value_name = "PID")]
    ends_with: Option<u32>,
}

/// The options of a detached host that are those of this one.
pub(super) fn forwarded(args: &Args) -> Vec<OsString> {
    let mut options = args.cluster.forwarded();
    let mut push = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            options.extend([name.into(), value]);
        }
    };
    push("--log-format", (args.log_format == LogFormat::Json).then(|| "json".into()));
    push("--name", args.name.as_ref().map(|name| name.as_str().into()));
    push("--cache", args.cache.as_ref().map(|path| path.clone().into_os_string()));
    push("--threads", args.threads.map(|count| count.to_string().into()));
    options.extend(args.leniency.lenient.then(|| "--lenient".into()));
    options.extend(args.drop_instances.then(|| "--drop-instances".into()));
    options.extend(args.no_telemetry.then(|| "--no-telemetry".into()));
    options
}

pub(super) fn run(context: &Context, args: Args) -> Outcome<u8> {
    if args.detach {
        return detach::run(context, &args);
    }
    if args.own_session {
        sys::leave_session();
    }
    if let Some(parent) = args.ends_with {
        end_with(parent)?;
    }
    let outcome = foreground(context, &args);
    if let (true, Err(failure)) = (args.ready_lines, &outcome) {
        Told::failed(failure).tell();
    }
    outcome
}

/// A parent that has gone before it could be tied to leaves this process to another one.
fn end_with(parent: u32) -> Outcome {
    sys::end_with_parent().map_err(|error| Failure::io("the tie to the parent", &error))?;
    if std::os::unix::process::parent_id() == parent {
        return Ok(());
    }
    Err(Failure::new("E_IO", format!("the process {parent}, which was to be the parent, has ended")))
}

fn foreground(context: &Context, args: &Args) -> Outcome<u8> {
    let manifest = check::load(context, &args.file, args.leniency)?;
    let said = args.cluster.said(&manifest, context.output.talk_color)?;
    let data = data_dir(context.data.as_deref(), manifest.folder());
    make_data_dir(&data)?;
    let output = &context.output;
    let _log =
        logging::start(args.log_format, args.log_file.as_deref(), output.talk_color, output.quiet, output.verbose)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(API_THREADS).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime of the API", &error))?;
    runtime.block_on(serve(context, args, &manifest, &data, said))
}

async fn serve(context: &Context, args: &Args, manifest: &Manifest, data: &Path, said: Said) -> Outcome<u8> {
    let name = said.host.as_ref().map(ToString::to_string);
    let starting = started(context, args, manifest, data, said);
    let host = match context.timeout {
        Some(limit) => context.within(limit, starting).await?,
        None => starting.await?,
    };
    let (listener, bound) = match socket::bind(data).await {
        Ok(bound) => bound,
        Err(failure) => {
            host.shutdown().await;
            return Err(failure);
        }
    };
    let status = HostStatus { host: name, ..status(args, manifest, data, &host) };
    let (api, stop) = Api::new(host.clone(), status.clone(), manifest.spec.body_bytes_max);
    tokio::spawn(api::serve(listener, api));
    let signals = Signals::new()?;
    if args.ready_lines {
        Told::Ready(status).tell();
    } else if args.log_format == LogFormat::Text || args.log_file.is_some() {
        // Among lines of JSON it would be in the way; the event hive.started says the same there.
        let host = status.host.as_ref().map(|host| format!(" as host {host}")).unwrap_or_default();
        let text = format!("hive {} is up{host}: {} agents, data in {}", status.hive, status.agents, status.data);
        let output = context.output.clone();
        // Whoever does not read it keeps nobody waiting.
        drop(std::thread::Builder::new().spawn(move || output.note(&text)));
    }
    let code = until_stopped(&host, stop, signals).await;
    drop(bound);
    code
}

async fn started(context: &Context, args: &Args, manifest: &Manifest, data: &Path, said: Said) -> Outcome<Host> {
    let bar = Bar::new(&context.output, "compiling", 0);
    let (shown, lines) = (bar.clone(), args.ready_lines);
    let mut builder: Builder = Host::builder()
        .hive(manifest.spec.clone())
        .data_dir(data.to_owned())
        .telemetry(!args.no_telemetry)
        .drop_instances(args.drop_instances)
        .progress(move |progress| {
            let told = told(progress);
            if lines { told.tell() } else { detach::show(&shown, &told) }
        });
    let origin = args.data_origin.clone().unwrap_or_else(|| data_dir_origin(context.data.as_deref()).to_owned());
    builder = builder
        .origin("hive.name", manifest.origin("name"))
        .origin("message.body-bytes-max", manifest.origin("body_bytes_max"))
        .origin("client.window-ms", manifest.origin("client_window_ms"))
        .origin("sessions.kept-max", manifest.origin("sessions_kept_max"))
        .origin("store.dir", origin);
    builder = match args.cache.clone().map(|dir| (dir, "--cache")).or_else(cache_dir) {
        Some((dir, origin)) => builder.cache_dir(dir).origin("engine.cache", origin),
        None => builder.origin("engine.cache", "default: compiled in the data directory"),
    };
    if let Some(name) = args.name.clone().or(said.host) {
        builder = builder.name(name);
    }
    if let Some(options) = said.cluster {
        let [host, nats] = said.origins;
        builder = builder.cluster(options).origin("cluster.host", host).origin("cluster.nats", nats);
    }
    if let Some(threads) = args.threads {
        builder = builder.threads(usize::from(threads));
    }
    let host = builder.start().await;
    bar.clear();
    match host {
        Err(skep_runtime::Error::Plugins(errors)) => {
            Err(Failure::of_manifest(manifest.rejected_plugins(&errors), context.output.talk_color))
        }
        host => Ok(host?),
    }
}

fn told(progress: Progress) -> Told {
    match progress {
        Progress::Compiling { plugin, done, total } => {
            Told::Compiling { plugin: plugin.to_string(), done: done as u64, total: total as u64 }
        }
        Progress::Starting { done, total } => Told::Starting { done: done as u64, total: total as u64 },
    }
}

/// `$XDG_CACHE_HOME/skep` or `~/.cache/skep`; none where there is neither.
fn cache_dir() -> Option<(PathBuf, &'static str)> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let named = absolute("XDG_CACHE_HOME").map(|folder| (folder, "XDG_CACHE_HOME"));
    let found = named.or_else(|| Some((absolute("HOME")?.join(".cache"), "default: ~/.cache/skep")));
    found.map(|(folder, origin)| (folder.join("skep"), origin))
}

fn status(args: &Args, manifest: &Manifest, data: &Path, host: &Host) -> HostStatus {
    HostStatus {
        hive: manifest.spec.name.to_string(),
        host: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        manifest: socket::shown_path(&manifest.path),
        data: socket::shown_path(data),
        agents: host.agents().len(),
        telemetry: !args.no_telemetry,
    }
}

/// Runs until the hive ends by itself, a peer asks for it, or a signal comes; a second signal does not wait.
async fn until_stopped(host: &Host, mut stop: watch::Receiver<bool>, mut signals: Signals) -> Outcome<u8> {
    tokio::select! {
        reason = host.ended() => return ended(&reason),
        _ = stop.wait_for(|stop| *stop) => {}
        _ = signals.next() => {}
    }
    tokio::select! {
        () = host.shutdown() => Ok(0),
        code = signals.next() => Ok(code),
    }
}

fn ended(reason: &ExitReason) -> Outcome<u8> {
    if reason.is_ordinary() {
        return Ok(0);
    }
    Err(Failure::new("E_HIVE_DOWN", format!("the hive is down: {reason}")))
}
