//! `skep demo`: a folder is indexed by sandboxed agents while one of them traps, their plugin is swapped and their host is
//! killed; at the end their figures are held against native ones. With `--cluster` they are spread over two hosts, of which
//! one is killed. Never a result that is not compared.
//!
//! Reading order: `list` (the files, natively), `stage` (manifests and data directory), `traffic` (the client), `acts`
//! (trap, swap, kill), `ledger` and `verify` (the comparison), `report`.

mod acts;
mod figures;
mod gate;
mod ledger;
mod list;
mod report;
mod stage;
mod traffic;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use skep_bus::nats::Managed;
use tokio::process::Child;

use crate::api::types::Done;
use crate::client::Connection;
use crate::command::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::{Bar, Format};
use crate::signals::Signals;
use ledger::Ledger;
use list::{Listed, Listing};
use stage::Stage;
use traffic::{PART_BYTES, Traffic};
use verify::{Expected, Verifier};

/// Threads of the client.
const THREADS: usize = 2;
/// The most names of changed files that are told.
const CHANGED_TOLD_MAX: usize = 10;

/// What the demo is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that is indexed.
    pub dir: PathBuf,
    /// How many digest agents there are.
    pub agents: u32,
    /// Whether two hosts share the work.
    pub cluster: bool,
    /// Where the components are, if not in a usual place.
    pub components: Option<PathBuf>,
    /// The data directory, if it is to be kept.
    pub data: Option<PathBuf>,
}

/// Runs the demo; the exit code is 0 only if everything was verified.
pub fn run(context: &Context, options: &Options) -> Outcome<u8> {
    if options.cluster && options.agents < 2 {
        return Err(Failure::usage("two hosts take two agents: --agents 2"));
    }
    let folder = list::folder(&options.dir)?;
    let stage = Stage::choose(&folder, options.data.as_deref(), options.components.as_deref(), options.cluster)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime of the demo", &error))?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            outcome = whole(context, options, &folder, &stage) => outcome,
            code = signals.next() => Ok(code),
            () = after(context.timeout) => Err(Failure::new("E_COMMAND_TIMEOUT", "the demo was not done in time")),
        }
    });
    // A host that still ran was killed with its future. The listing of a large folder is not waited for.
    runtime.shutdown_background();
    stage.clear();
    match &outcome {
        // Whoever closed the pipe has seen what it wanted: that is a good end.
        Err(failure) if failure.exit != Exit::Ok && stage.is_used() => {
            context.output.note(&format!("the data directory is kept: {}", stage.data.display()))
        }
        _ => stage.strike(),
    }
    outcome
}

async fn after(limit: Option<std::time::Duration>) {
    match limit {
        Some(limit) => drop(tokio::time::timeout(limit, std::future::pending::<()>()).await),
        None => std::future::pending().await,
    }
}

async fn whole(context: &Context, options: &Options, folder: &Path, stage: &Stage) -> Outcome<u8> {
    let began = Instant::now();
    let output = &context.output;
    let bar = Bar::new(output, "listing", 0);
    let (root, counted) = (folder.to_owned(), bar.clone());
    let listing = tokio::task::spawn_blocking(move || list::take(&root, &counted)).await;
    let Listing { files, skipped } = listing.map_err(|error| Failure::new("E_INTERNAL", error.to_string()))??;
    let (files, bytes) = (Arc::new(files), 0u64);
    let bytes = files.iter().fold(bytes, |sum, file| sum + file.figures.bytes);
    bar.note(
        output,
        &format!("{} files, {bytes} bytes; {skipped} links, special and unreadable files skipped", files.len()),
    );
    bar.label("indexing");
    bar.restart(files.len() as u64);
    // It ends with this function.
    let server = server(stage).await?;
    let trap_on = trap_on(&files).map(|file| file.name.as_str());
    let players = stage.players(options.agents, trap_on, server.as_ref().map(Managed::url))?;
    let workers = players.iter().flat_map(|player| player.workers.clone()).collect();
    let traffic = Arc::new(Traffic::new(Arc::clone(&files), workers, bar.clone()));
    let shown = acts::play(&traffic, stage, &players, output, &bar).await?;
    bar.clear();
    let expected = Expected::new(&files, &shown.unlike);
    let mut ledger = Ledger::open(&stage.ledger()).await?;
    let totals = ledger.totals_of(expected.count()).await?;
    let extensions = ledger.extensions().await?;
    let mut verifier = Verifier::new(&expected);
    ledger.files(|row| verifier.row(&row)).await?;
    let verdict = verifier.finish(&totals, &extensions);
    let parts = report::Parts {
        verdict: &verdict,
        totals: &totals,
        extensions,
        shown: &shown,
        changed: &expected.changed,
        skipped,
        sent_again: traffic.sent_again(),
        seconds: began.elapsed().as_secs_f64(),
    };
    output.print(&report::document(parts))?;
    tell(context, &expected, &verdict.differences);
    check_acts(&files, &shown)?;
    for (player, host) in players.iter().zip(shown.hosts).rev() {
        down(&player.launch.data, host).await?;
    }
    if !verdict.is_good() {
        return Err(Failure::new("E_DEMO_DIFFERS", verdict.line()));
    }
    if output.format == Format::Table {
        output.write(format!("{}\n", verdict.line()).as_bytes())?;
    }
    Ok(0)
}

/// The server between two hosts; none for one.
async fn server(stage: &Stage) -> Outcome<Option<Managed>> {
    let Some(dir) = stage.server_dir()? else { return Ok(None) };
    let started = tokio::task::spawn_blocking(move || Managed::start(&dir)).await;
    Ok(Some(started.map_err(|error| Failure::new("E_INTERNAL", error.to_string()))??))
}

/// The file that an agent traps on: an early one, in one part, so that it traps once.
fn trap_on(files: &[Listed]) -> Option<&Listed> {
    let whole = |file: &&Listed| file.figures.bytes <= PART_BYTES as u64;
    let early = files.iter().skip(files.len() / 10);
    early.clone().find(whole).or_else(|| files.first())
}

fn tell(context: &Context, expected: &Expected<'_>, differences: &[String]) {
    let changed = &expected.changed;
    for name in changed.iter().take(CHANGED_TOLD_MAX) {
        context.output.note(&format!("changed while the demo ran: {}", skep_core::name::shown(name, 200)));
    }
    if changed.len() > CHANGED_TOLD_MAX {
        context.output.note(&format!("and {} more changed", changed.len() - CHANGED_TOLD_MAX));
    }
    differences.iter().for_each(|difference| context.output.note(difference));
}

/// A demo in which nothing went wrong on purpose shows nothing.
fn check_acts(files: &[Listed], shown: &acts::Shown) -> Outcome {
    let failed = |what: &str| Err(Failure::new("E_DEMO_FAILED", what.to_owned()));
    if !files.is_empty() && shown.traps == 0 && shown.unlike.is_empty() {
        return failed("no agent trapped on purpose");
    }
    if shown.receipt.lost != 0 || shown.receipt.from == shown.receipt.to {
        return failed("the swap lost messages or changed nothing");
    }
    Ok(())
}

/// Stops a host in order.
async fn down(data: &Path, mut host: Child) -> Outcome {
    let _: Done = Connection::open(data).await?.request(hyper::Method::POST, "/v1/shutdown").await?;
    let status = host.wait().await.map_err(|error| Failure::io("the host", &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new("E_DEMO_FAILED", format!("the host did not stop in order: {status}")))
}
