//! `runtime watch`: the genres of a library as it grows.

use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Result;
use cli_support::{Outcome, on_ctrl_c};
use runtime::collection::watch::{Settling, wait, watch};

use super::tag;

/// Seconds from one look to the next where the system does not tell of changes.
const POLL: u64 = 60;

/// The most seconds that can be asked for.
const DAY: u64 = 24 * 60 * 60;

/// Tag a library's posters, and from then on whatever is new or changed.
///
/// Ends with Ctrl-C or when it is told to terminate. Without an option that says where to, the genres of new posters are
/// printed.
#[derive(clap::Args, Debug)]
// Two groups of arguments may not have the same name.
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    tag: tag::Args,

    /// Leave a new poster until nothing has been written to it for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=DAY))]
    #[arg(help_heading = "Watching")]
    settle: u64,

    /// Look every so often, without being told of changes [default: 60 where the system does not tell]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=DAY), help_heading = "Watching")]
    poll: Option<u64>,
}

/// Tags a library again and again. Each failure is printed to standard error when it is new.
///
/// # Errors
/// If the model, the library, the state file or a file of results cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let (wake, woken) = sync_channel(1);
    let stop = wake.clone();
    let stopped = on_ctrl_c(move || {
        // Where a message waits already, this one is not needed.
        let _ = stop.try_send(());
    })?;
    let mut session = tag::Session::open(&args.tag, stopped.clone())?;
    let mut settling = Settling::new(Duration::from_secs(args.settle));

    let name = args.tag.library.display();
    // What changes during the first pass is not to be missed.
    let (_watcher, patience, manner) = match args.poll {
        Some(seconds) => (None, Duration::from_secs(seconds), format!("{name}: looked at every {seconds} s")),
        None => match watch(session.folder(), wake) {
            Ok(watcher) => (Some(watcher), Duration::MAX, format!("{name}: watched")),
            Err(reason) => {
                (None, Duration::from_secs(POLL), format!("{reason}; looked at every {POLL} s instead, see --poll"))
            }
        },
    };
    if !args.tag.quiet {
        anstream::eprintln!("{manner}; end with Ctrl-C");
    }
    while let Some(report) = session.pass(Some(&mut settling))? {
        report.news();
        let patience = if report.is_unsettled { patience.min(settling.time()) } else { patience };
        wait(&woken, patience, &stopped);
        if stopped.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(Outcome::Complete)
}
