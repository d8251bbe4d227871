//! A tagging session: one or several passes over a collection with one model and one state file.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use std::{fs, mem};

use anyhow::{Context, Result};
use cli_support::notice;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::super::slideshow::Slideshow;
use super::Args;
use super::report::{Report, not_written};
use runtime::atomic_file;
use runtime::collection::results::Tagger;
use runtime::collection::scan::{Globs, Item, ScanOptions, scan};
use runtime::collection::state::State;
use runtime::collection::tag::{self, TagOptions};
use runtime::collection::watch::{Debouncer, LibraryWatcher};
use runtime::{Model, OperatingPoint};

/// Default name of the state file, in the collection's folder.
const STATE_FILE: &str = ".poster-genres.sqlite";

/// Time between two lines of progress if standard error is no terminal.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Memory of the budget for each thread: a poster of ordinary size, with the network's buffers.
const THREAD_MEMORY: u64 = 32 << 20;

/// The options, model and state file of one or several passes.
pub struct Session<'a> {
    args: &'a Args,
    folder: PathBuf,
    scan: ScanOptions,
    model: Model,
    point: OperatingPoint,
    state: State,
    pool: rayon::ThreadPool,
    interrupted: Arc<AtomicBool>,
    /// Messages of the previous pass; `None` before the first.
    messages: Option<HashSet<String>>,
    /// Shows each newly tagged poster.
    pub slideshow: Option<Slideshow>,
}

impl<'a> Session<'a> {
    /// Opens the model and the state file, and checks that result files can be written. Setting `interrupted` ends a
    /// pass early.
    ///
    /// # Errors
    /// If the model, the collection, the state file or a result file cannot be used.
    pub fn open(args: &'a Args, interrupted: Arc<AtomicBool>) -> Result<Self> {
        #[cfg(unix)]
        rustix::process::nice(args.nice).context("the system does not take --nice")?;
        let model = super::super::open(
            &args.model.options().lazy(true).max_pixels(args.max_pixels),
            args.model.model.as_deref(),
        )?;
        let point = args.model.choose(&model)?.clone();
        let folder = readable(&args.library)?;
        args.check_result_files()?;
        if !args.dry_run {
            // A result file that cannot be written is reported before the work, not after it.
            args.result_files().try_for_each(|path| atomic_file::check(path).with_context(|| not_written(path)))?;
        }
        let state = State::open(&args.state.clone().unwrap_or_else(|| folder.join(STATE_FILE)), !args.dry_run)?;
        let cores = available_parallelism().map_or(1, usize::from);
        let fitting = usize::try_from(args.memory.budget().limit() / THREAD_MEMORY).unwrap_or(usize::MAX).max(1);
        let threads = args.threads.map_or(cores.min(fitting), usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("threads cannot be started")?;
        let mut scan = ScanOptions::default();
        scan.all_images = args.all_images;
        scan.explain = args.explain;
        scan.include = Globs::new(&args.include)?;
        scan.exclude = Globs::new(&args.exclude)?;
        let folder = folder.to_path_buf();
        Ok(Self { args, folder, scan, model, point, state, pool, interrupted, messages: None, slideshow: None })
    }

    /// Folder of the collection, or of the single image.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The model and the operating point.
    pub fn tagger(&self) -> Tagger<'_> {
        Tagger { model: &self.model, point: &self.point }
    }

    /// Classifies new and changed posters and writes the results. Returns `None`, and writes no results, if it was
    /// interrupted. With a `debouncer`, posters that may still be being written are deferred to a later pass, and
    /// messages of the previous pass are not printed again. The `watcher` gets to know each folder.
    ///
    /// # Errors
    /// If the collection, the state file or a result file cannot be used.
    pub fn pass(
        &mut self,
        debouncer: Option<&mut Debouncer>,
        mut watcher: Option<&mut LibraryWatcher>,
    ) -> Result<Option<Report<'a>>> {
        readable(&self.args.library)?;
        let is_first = self.messages.is_none();
        let mut report = Report::new(self.args, debouncer.is_some(), mem::take(&mut self.messages));
        let explain = |item: &Item| {
            if self.args.explain && is_first {
                self.args.say(item);
            }
        };
        watcher.iter_mut().for_each(|watcher| watcher.begin_pass());
        let items = scan(&self.args.library, &self.scan)
            .before_each_folder(|folder| watcher.iter_mut().for_each(|watcher| watcher.add(folder)))
            .take_while(|_| !self.interrupted.load(Ordering::Relaxed));
        tag::record_scan(items, &self.state, explain, |error| report.fail(&error.to_string()))?;
        let model = self.model.fingerprint();
        report.has_deferred = debouncer.map_or(Ok(false), |debouncer| debouncer.defer_unsettled(&self.state, model))?;

        let options = TagOptions {
            max_pixels: self.args.max_pixels,
            memory: self.args.memory.budget(),
            force: self.args.force && is_first,
        };
        let start = Instant::now();
        let total = if options.force { self.state.scanned_count()? } else { self.state.unknown_count(model)? };
        let progress = Progress::new(total, self.args.quiet);
        report.stats =
            tag::classify_unknown(&self.state, &self.model, &self.pool, &options, &self.interrupted, || {
                progress.step()
            })?;
        progress.finish();
        report.elapsed = start.elapsed();
        let is_interrupted = self.interrupted.load(Ordering::Relaxed);
        if is_interrupted || !report.write(self.tagger(), &self.state, self.slideshow.as_ref(), &self.interrupted)? {
            let read = report.stats.read.len();
            notice(format_args!("interrupted; {read} posters of {total} are done and remembered, run again to go on"));
            return Ok(None);
        }
        self.messages = Some(report.messages.clone());
        Ok(Some(report))
    }
}

/// Checks that a collection can be read, and returns its folder, or the folder of a single image. A network share that
/// is not mounted must not pass for an empty collection.
fn readable(library: &Path) -> Result<&Path> {
    let failed = || format!("{}: cannot be read; name a library's folder", library.display());
    if fs::metadata(library).with_context(failed)?.is_dir() {
        fs::read_dir(library).with_context(failed)?;
        return Ok(library);
    }
    Ok(library.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Progress of a pass: a bar on a terminal, otherwise a line every few seconds.
struct Progress {
    bar: ProgressBar,
    /// Time of the last line; `None` if no lines are printed.
    last: Option<Mutex<Instant>>,
}

impl Progress {
    fn new(total: usize, quiet: bool) -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {per_sec}, {eta} left")
            .expect("the template names only what there is");
        let is_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(total as u64).with_style(style);
        if quiet {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Self { bar, last: (!quiet && !is_terminal).then(|| Mutex::new(Instant::now())) }
    }

    fn step(&self) {
        self.bar.inc(1);
        // If another thread holds the lock, it prints the line.
        let Some(Ok(mut last)) = self.last.as_ref().map(Mutex::try_lock) else { return };
        if last.elapsed() >= PROGRESS_INTERVAL {
            *last = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            notice(format_args!("{done} of {total} posters, {} left", HumanDuration(self.bar.eta())));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
