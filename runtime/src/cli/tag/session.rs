//! Passes over a library.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use std::{fs, mem};

use anyhow::{Context, Result};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::Args;
use super::report::{Report, not_written};
use runtime::atomic_file::{self, AtomicFile};
use runtime::collection::results::Judge;
use runtime::collection::scan::{self, Globs, scan};
use runtime::collection::state::State;
use runtime::collection::tag;
use runtime::collection::watch::Settling;
use runtime::{Model, OperatingPoint};

/// The state file of a library, in it.
const STATE: &str = ".poster-genres.sqlite";

/// Time between two lines of progress where there is no terminal.
const SILENCE: Duration = Duration::from_secs(5);

/// What stays the same from one pass over a library to the next.
pub struct Session<'a> {
    args: &'a Args,
    folder: PathBuf,
    scan: scan::Options,
    model: Model,
    point: OperatingPoint,
    state: State,
    pool: rayon::ThreadPool,
    interrupted: Arc<AtomicBool>,
    /// Lines that the last pass printed; none before the first.
    said: Option<HashSet<String>>,
}

impl<'a> Session<'a> {
    /// Makes everything ready. A pass ends early when `interrupted`.
    ///
    /// # Errors
    /// If the model, the library, the state file or a file of results cannot be used.
    pub fn open(args: &'a Args, interrupted: Arc<AtomicBool>) -> Result<Self> {
        #[cfg(unix)]
        rustix::process::nice(args.nice).context("the system does not take --nice")?;
        let model = super::super::open(
            &args.model.options().lazy(true).max_pixels(args.max_pixels),
            args.model.model.as_deref(),
        )?;
        let point = args.model.choose(&model)?.clone();
        let folder = readable(&args.library)?;
        if !args.dry_run {
            // A bad path should fail in the first second, not after the work.
            for path in [&args.jsonl, &args.csv, &args.html].into_iter().flatten() {
                AtomicFile::create(path).with_context(|| not_written(path))?;
                atomic_file::remove_stale_temp_files(path);
            }
        }
        let state = State::open(&args.state.clone().unwrap_or_else(|| folder.join(STATE)), !args.dry_run)?;
        let threads = args.threads.or(available_parallelism().ok()).map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("threads cannot be started")?;
        let scan = scan::Options {
            all_images: args.all_images,
            explain: args.explain,
            include: Globs::new(&args.include)?,
            exclude: Globs::new(&args.exclude)?,
        };
        let folder = folder.to_path_buf();
        Ok(Self { args, folder, scan, model, point, state, pool, interrupted, said: None })
    }

    /// The library's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The model and its thresholds.
    pub fn judge(&self) -> Judge<'_> {
        Judge { model: &self.model, point: &self.point }
    }

    /// Tags what is new or changed and writes the results; `None` if it was interrupted, and then nothing is written. With
    /// `settling`, posters that may still be being written are left to a later pass, and what the pass before has printed
    /// is not printed again.
    ///
    /// # Errors
    /// If the library, the state file or a file of results cannot be used.
    pub fn pass(&mut self, settling: Option<&mut Settling>) -> Result<Option<Report<'a>>> {
        readable(&self.args.library)?;
        let is_first = self.said.is_none();
        let mut report = Report::new(self.args, settling.is_some(), mem::take(&mut self.said).unwrap_or_default());
        let explain = |item: &scan::Item| {
            if self.args.explain && is_first {
                anstream::println!("{item}");
            }
        };
        let items = scan(&self.args.library, &self.scan).take_while(|_| !self.interrupted.load(Ordering::Relaxed));
        tag::find(items, &self.state, explain, |error| report.fail(&error.to_string()))?;
        let model = self.model.fingerprint();
        report.is_unsettled = settling.map_or(Ok(false), |settling| settling.leave_out(&self.state, model))?;

        let options = tag::Options { max_pixels: self.args.max_pixels, force: self.args.force && is_first };
        let start = Instant::now();
        let total = if options.force { self.state.found()? } else { self.state.unknown(model)? };
        let progress = Progress::new(total, self.args.quiet);
        report.done = tag::tag(&self.state, &self.model, &self.pool, options, &self.interrupted, || progress.step())?;
        progress.finish();
        report.took = start.elapsed();
        if self.interrupted.load(Ordering::Relaxed) {
            let read = report.done.read.len();
            anstream::eprintln!("interrupted; {read} posters of {total} are done and remembered, run again to go on");
            return Ok(None);
        }
        report.write(self.judge(), &self.state)?;
        self.said = Some(report.said.clone());
        Ok(Some(report))
    }
}

/// The folder of a library, or of the one picture that is meant. A share that is gone must not pass for an empty library.
fn readable(library: &Path) -> Result<&Path> {
    let failed = || format!("{}: cannot be read; name a library's folder", library.display());
    if fs::metadata(library).with_context(failed)?.is_dir() {
        fs::read_dir(library).with_context(failed)?;
        return Ok(library);
    }
    Ok(library.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// A bar on a terminal, a line every few seconds elsewhere.
struct Progress {
    bar: ProgressBar,
    /// When the last line was printed; nothing if there are no lines.
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
        // Whoever finds the lock taken leaves the line to the other.
        let Some(Ok(mut last)) = self.last.as_ref().map(Mutex::try_lock) else { return };
        if last.elapsed() >= SILENCE {
            *last = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            anstream::eprintln!("{done} of {total} posters, {} left", HumanDuration(self.bar.eta()));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
