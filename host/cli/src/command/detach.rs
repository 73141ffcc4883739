//! `skep up --detach`: a host that goes on without a terminal. Returns when it answers, or with its error.

use std::ffi::OsString;
use std::time::Duration;

use super::{Context, check, up};
use crate::api::types::HostStatus;
use crate::client::{data_dir, data_dir_origin};
use crate::failure::{Failure, Outcome};
use crate::output::{Bar, Document, Table};
use crate::process::{LOG, Launch, Told, make_data_dir};
use crate::signals::Signals;

/// Compiling many large components on one slow core.
const USUAL: Duration = Duration::from_secs(600);

pub(super) fn run(context: &Context, args: &up::Args) -> Outcome<u8> {
    let launch = launch(context, args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime of the command", &error))?;
    let bar = Bar::new(&context.output, "starting", 0);
    let started = runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            started = context.within(USUAL, launch.start(|told| show(&bar, told))) => started.map(Ok),
            // What is not ready yet ends with this command.
            code = signals.next() => Ok(Err(code)),
        }
    });
    bar.clear();
    let (child, status) = match started? {
        Ok(started) => started,
        Err(code) => return Ok(code),
    };
    // It is to go on: dropping would end it.
    std::mem::forget(child);
    context.output.print(&Document::one("HostStatus", &status, status.hive.clone(), table(&status)))?;
    Ok(0)
}

fn launch(context: &Context, args: &up::Args) -> Outcome<Launch> {
    let manifest = check::load(context, &args.file, args.leniency)?;
    // What is wrong with it is told before anything is made.
    args.cluster.said(&manifest, context.output.talk_color)?;
    let data = data_dir(context.data.as_deref(), manifest.folder());
    make_data_dir(&data)?;
    let absolute = |path: &std::path::Path| {
        path.canonicalize().map_err(|error| Failure::io(&crate::api::socket::shown_path(path), &error))
    };
    let mut options: Vec<OsString> = up::forwarded(args);
    options.extend((0..context.output.verbose).map(|_| "-v".into()));
    if context.output.quiet {
        options.push("-q".into());
    }
    options.extend(["--data-origin".into(), data_dir_origin(context.data.as_deref()).into()]);
    let data = absolute(&data)?;
    let log = args.log_file.clone().unwrap_or_else(|| data.join(LOG));
    Ok(Launch { manifest: absolute(&manifest.path)?, data, log, own_session: true, options })
}

/// Moves a bar as a starting host tells.
pub(crate) fn show(bar: &Bar, told: &Told) {
    match told {
        Told::Compiling { plugin, done, total } => {
            bar.label("compiling");
            bar.say(skep_core::name::shown(plugin, 40));
            bar.set(*done, *total);
        }
        Told::Starting { done, total } => {
            bar.label("starting");
            bar.say("agents".to_owned());
            bar.set(*done, *total);
        }
        Told::Ready(_) | Told::Failed { .. } => {}
    }
}

pub(super) fn table(status: &HostStatus) -> Table {
    let host = status.host.iter().map(|host| ("host", host.clone()));
    Table::of_pairs([("hive", status.hive.clone())].into_iter().chain(host).chain([
        ("agents", status.agents.to_string()),
        ("pid", status.pid.to_string()),
        ("data", status.data.clone()),
    ]))
}
