//! `runtime watch`: tags a media collection whenever it changes.

use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Result;
use cli_support::{Outcome, on_ctrl_c};
use runtime::collection::watch::{Debouncer, wait, watch};
use runtime::display::Target;

use super::slideshow::Slideshow;
use super::tag;

/// Seconds between two scans if the operating system reports no changes.
const POLL: u64 = 60;

/// The largest delay and scan interval, in seconds.
const DAY: u64 = 24 * 60 * 60;

/// Classify the posters of a folder, and new and changed posters as they appear
///
/// Runs until Ctrl-C or SIGTERM. Prints the genres of each new poster, unless an option names a file to write.
#[derive(clap::Args, Debug)]
// Two groups of arguments may not have the same name.
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    tag: tag::Args,

    /// Read a new poster only after it has not changed for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=DAY))]
    // `--settle` is the former name.
    #[arg(alias = "settle", help_heading = "Watching")]
    debounce: u64,

    /// Scan at this interval instead of waiting for notifications of the system [default: 60 if there are none]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=DAY))]
    #[arg(help_heading = "Watching")]
    poll: Option<u64>,

    /// Show each newly tagged poster on a display, named as for `runtime show`
    #[arg(long, value_name = "TARGET", help_heading = "Watching")]
    display: Option<Target>,
}

/// Tags a collection whenever it changes. Each failure is printed to standard error when it is new.
///
/// # Errors
/// If the model, the collection, the state file or a result file cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let (wake, woken) = sync_channel(1);
    let stop = wake.clone();
    let stopped = on_ctrl_c(move || {
        // If the channel is full, the loop wakes up anyway.
        let _ = stop.try_send(());
    })?;
    let mut session = tag::Session::open(&args.tag, stopped.clone())?;
    session.slideshow = args.display.clone().map(Slideshow::start);
    let mut debouncer = Debouncer::new(Duration::from_secs(args.debounce));

    let name = args.tag.library.display();
    // Watching begins before the first pass, so that no change is missed.
    let (_watcher, timeout, notice) = match args.poll {
        Some(seconds) => (None, Duration::from_secs(seconds), format!("{name}: looked at every {seconds} s")),
        None => match watch(session.folder(), wake) {
            Ok(watcher) => (Some(watcher), Duration::MAX, format!("{name}: watched")),
            Err(reason) => {
                (None, Duration::from_secs(POLL), format!("{reason}; looked at every {POLL} s instead, see --poll"))
            }
        },
    };
    if !args.tag.quiet {
        anstream::eprintln!("{notice}; end with Ctrl-C");
    }
    while let Some(report) = session.pass(Some(&mut debouncer))? {
        report.print_news();
        let timeout = if report.has_deferred { timeout.min(debouncer.delay()) } else { timeout };
        wait(&woken, timeout, &stopped);
        if stopped.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(Outcome::Complete)
}
