//! `runtime watch`: tags a media collection whenever it changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Result;
use cli_support::{Outcome, on_ctrl_c};
use runtime::collection::watch::{Debouncer, LibraryWatcher, wait};
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

    /// Scan at this interval instead of waiting for notifications of the system [default: 60 if there are none, at
    /// least for a part of the collection]
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

    // Watching begins before the first pass, so that no change is missed.
    let mut watching = Watching::begin(args, session.folder(), wake);
    watching.print_news();
    if !args.tag.quiet {
        let is_watched = if watching.is_watched() { "watched; " } else { "" };
        cli_support::notice(format_args!("{}: {is_watched}end with Ctrl-C", args.tag.library.display()));
    }
    while let Some(report) = session.pass(Some(&mut debouncer), watching.watcher.as_mut())? {
        report.print_news();
        watching.print_news();
        let interval = watching.interval();
        let timeout = if report.has_deferred { interval.min(debouncer.delay()) } else { interval };
        wait(&woken, timeout, &stopped);
        if stopped.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(Outcome::Complete)
}

/// The parts of the collection that are watched, and how often the others are looked at.
struct Watching<'a> {
    args: &'a Args,
    /// `None` with `--poll`, or if the system cannot watch at all.
    watcher: Option<LibraryWatcher>,
    /// Why the system cannot watch, if so.
    failure: Option<String>,
    /// The messages that were printed.
    printed: BTreeSet<String>,
    root: PathBuf,
}

impl<'a> Watching<'a> {
    fn begin(args: &'a Args, folder: &Path, wake: SyncSender<()>) -> Self {
        let watcher = args.poll.is_none().then(|| LibraryWatcher::new(folder, wake));
        let (watcher, failure) = match watcher {
            Some(Ok(watcher)) => (Some(watcher), None),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, None),
        };
        let root = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        Self { args, watcher, failure, printed: BTreeSet::new(), root }
    }

    /// Whether changes are seen at once, at least in some parts.
    fn is_watched(&self) -> bool {
        self.watcher.as_ref().is_some_and(|watcher| !watcher.polled().contains_key(&self.root))
    }

    /// The time between two scans without a notification.
    fn interval(&self) -> Duration {
        let is_complete = |watcher: &LibraryWatcher| watcher.polled().is_empty() && watcher.failure().is_none();
        match self.args.poll {
            Some(seconds) => Duration::from_secs(seconds),
            None if self.watcher.as_ref().is_some_and(is_complete) => Duration::MAX,
            None => Duration::from_secs(POLL),
        }
    }

    /// Prints which parts are looked at regularly, each once as long as it is so.
    fn print_news(&mut self) {
        let library = self.args.tag.library.display();
        let mut messages: Vec<String> = match self.args.poll {
            Some(seconds) => vec![format!("{library}: looked at every {seconds} s")],
            None => Vec::new(),
        };
        let watcher = self.watcher.as_ref();
        let failures = [self.failure.clone(), watcher.and_then(|watcher| watcher.failure()).map(ToString::to_string)];
        messages.extend(failures.into_iter().flatten().map(|failure| format!("{failure}; looked at every {POLL} s")));
        messages.extend(watcher.into_iter().flat_map(LibraryWatcher::polled).map(|(part, fs_type)| {
            format!(
                "{}: lies on {fs_type}, where the system does not tell of every change; looked at every {POLL} s, \
                 see --poll",
                part.display()
            )
        }));
        for message in messages.iter().filter(|message| !self.args.tag.quiet && !self.printed.contains(*message)) {
            cli_support::notice(format_args!("{message}"));
        }
        self.printed = messages.into_iter().collect();
    }
}
