//! `runtime tag`: the genres of a whole library.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::{ModelArgs, Outcome, complain, on_ctrl_c};
use crate::library::nfo::Change;
use crate::library::results::{self, Judge, NfoWish, Output, Sidecar};
use crate::library::scan::{self, Globs, scan};
use crate::library::state::State;
use crate::library::tag;
use crate::library::whole::Whole;
use crate::poster::MAX_PIXELS;

/// The state file of a library, in it.
const STATE: &str = ".poster-genres.sqlite";

/// Posters that are taken from the state file at a time.
const PAGE: usize = 256;

/// Time between two lines of progress where there is no terminal.
const SILENCE: Duration = Duration::from_secs(5);

/// Tag the posters of a library of films and series.
///
/// Without an option that says where to, the genres are printed. A second run reads only what is new or changed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The library's folder
    library: PathBuf,

    #[command(flatten)]
    model: ModelArgs,

    /// Write an object a poster, each on a line
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    jsonl: Option<PathBuf>,

    /// Write a table
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    csv: Option<PathBuf>,

    /// Write a page to look at: every poster with its genres, to be searched, filtered and sorted
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    html: Option<PathBuf>,

    /// Write a file beside each poster
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Results")]
    sidecar: Option<Sidecar>,

    /// Add the genres to the films' NFO files, for Kodi, Jellyfin and others; a film without one gets a small one
    #[arg(long, help_heading = "Results")]
    nfo: bool,

    /// With --nfo: set aside the genres that are there. They come back with --nfo-undo, unless another program has
    /// written the file since
    #[arg(long, requires = "nfo", help_heading = "Results")]
    replace: bool,

    /// Take out of NFO files what was added to them
    #[arg(long, conflicts_with = "nfo", help_heading = "Results")]
    nfo_undo: bool,

    /// Print what would be written, and write nothing
    #[arg(long, help_heading = "Results")]
    dry_run: bool,

    /// Take every picture, whatever its name
    #[arg(long, help_heading = "Posters")]
    all_images: bool,

    /// Take only what matches, relative to the library: `Movies/**`
    #[arg(long, value_name = "GLOB", help_heading = "Posters")]
    include: Vec<String>,

    /// Leave out what matches
    #[arg(long, value_name = "GLOB", help_heading = "Posters")]
    exclude: Vec<String>,

    /// Print which pictures are taken or passed over, and why
    #[arg(long, help_heading = "Posters")]
    explain: bool,

    /// Refuse posters of more pixels
    #[arg(long, value_name = "N", default_value_t = MAX_PIXELS, help_heading = "Posters")]
    max_pixels: u64,

    /// Where to remember what is done [default: .poster-genres.sqlite in the library]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Read every poster anew
    #[arg(long)]
    force: bool,

    /// Posters read at a time [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    /// Leave the processor to other programs: 0 is no different from them, 19 the politest
    #[cfg(unix)]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=19))]
    nice: i32,

    /// Print errors only
    #[arg(long)]
    quiet: bool,
}

/// Tags a library. Failures are printed to standard error, each once.
///
/// # Errors
/// If the model, the library, the state file or a file of results cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    #[cfg(unix)]
    rustix::process::nice(args.nice).context("the system does not take --nice")?;
    let network = args.model.network()?;
    let judge = Judge { network: &network, point: args.model.choose(network.card())? };
    let folder = if args.library.is_dir() { &*args.library } else { args.library.parent().unwrap_or(Path::new("")) };
    std::fs::metadata(&args.library)
        .with_context(|| format!("{}: cannot be read; name a library's folder", args.library.display()))?;
    if !args.dry_run {
        // A bad path should fail in the first second, not after the work.
        for path in [&args.jsonl, &args.csv, &args.html].into_iter().flatten() {
            Whole::create(path).with_context(|| not_written(path))?;
        }
    }
    let state = State::open(&args.state.clone().unwrap_or_else(|| folder.join(STATE)), !args.dry_run)?;
    let interrupted = on_ctrl_c()?;
    let threads = args.threads.or(available_parallelism().ok()).map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("threads cannot be started")?;
    let mut report =
        Report { args, tagged: 0, known: 0, failed: 0, written: 0, support: vec![0; network.card().genres.len()] };

    let options = scan::Options {
        all_images: args.all_images,
        explain: args.explain,
        include: Globs::new(&args.include)?,
        exclude: Globs::new(&args.exclude)?,
    };
    let explain = |item: &scan::Item| {
        if args.explain {
            anstream::println!("{item}");
        }
    };
    tag::find(scan(&args.library, &options), &state, explain, |error| report.fail(&error.to_string()))?;

    let start = Instant::now();
    let total = if args.force { state.found()? } else { state.unknown(network.fingerprint())? };
    let progress = Progress::new(total, args.quiet);
    let options = tag::Options { max_pixels: args.max_pixels, force: args.force };
    let done = tag::tag(&state, &network, &pool, options, &interrupted, || progress.step())?;
    progress.finish();
    let took = start.elapsed();
    if interrupted.load(Ordering::Relaxed) {
        let read = done.read.load(Ordering::Relaxed);
        anstream::eprintln!("interrupted; {read} posters of {total} are done and remembered, run again to go on");
        return Ok(Outcome::Interrupted);
    }
    report.write(judge, &state)?;
    if !args.quiet {
        report.summary(judge, done, took)?;
    }
    Ok(if report.failed > 0 { Outcome::SomeFailed } else { Outcome::Complete })
}

/// What a run has written and what it could not.
struct Report<'a> {
    args: &'a Args,
    /// Posters that the model has looked at.
    tagged: usize,
    /// Those, and posters that cannot be used.
    known: usize,
    failed: usize,
    written: usize,
    /// Posters of each genre.
    support: Vec<usize>,
}

impl Report<'_> {
    fn fail(&mut self, reason: &str) {
        self.failed += 1;
        complain(reason);
    }

    /// Writes all results.
    fn write(&mut self, judge: Judge, state: &State) -> Result<()> {
        let mut outputs = if self.args.dry_run { Vec::new() } else { self.outputs(judge)? };
        let mut after = 0;
        loop {
            let page = state.next_known(judge.network.fingerprint(), after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = last.ordinal;
            self.known += page.len();
            for (found, verdict) in &page {
                match verdict {
                    Err(reason) => self.fail(reason),
                    Ok(verdict) => {
                        self.tagged += 1;
                        let poster = judge.decide(found, verdict);
                        poster.genres.iter().for_each(|genre| self.support[*genre] += 1);
                        for (path, output) in &mut outputs {
                            output.add(judge, &poster).with_context(|| not_written(path))?;
                        }
                        self.beside(judge, &poster)?;
                    }
                }
            }
        }
        for (path, output) in outputs {
            self.written += usize::from(output.finish().with_context(|| not_written(&path))?);
        }
        if self.args.dry_run {
            for path in [&self.args.jsonl, &self.args.csv, &self.args.html].into_iter().flatten() {
                anstream::println!("would write {} with {} posters", path.display(), self.tagged);
            }
        }
        Ok(())
    }

    fn outputs(&self, judge: Judge) -> Result<Vec<(PathBuf, Output)>> {
        let Args { jsonl, csv, html, library, .. } = self.args;
        let mut outputs = Vec::new();
        let mut begin = |path: &Option<PathBuf>, output: &dyn Fn(&Path) -> std::io::Result<Output>| -> Result<()> {
            if let Some(path) = path {
                outputs.push((path.clone(), output(path).with_context(|| not_written(path))?));
            }
            Ok(())
        };
        begin(jsonl, &|path| Output::jsonl(path))?;
        begin(csv, &|path| Output::csv(path, judge))?;
        begin(html, &|path| Output::html(path, library, judge))?;
        Ok(outputs)
    }

    /// Writes what goes beside one poster, or prints its genres if nothing was asked for.
    fn beside(&mut self, judge: Judge, poster: &results::Tagged) -> Result<()> {
        let Args { jsonl, csv, html, sidecar, nfo, replace, nfo_undo, quiet, .. } = self.args;
        if let Some(sidecar) = sidecar {
            let (path, text) = sidecar.of(judge, poster);
            match std::fs::read(&path) {
                Ok(bytes) if !sidecar.is_ours(judge, &bytes) => self.fail(&format!(
                    "{}: was not written by `runtime tag` and is left alone; rename or remove it",
                    path.display()
                )),
                _ => self.change(&path, &Change::Write(text)),
            }
        }
        let wish = match (nfo, replace, nfo_undo) {
            (true, true, _) => Some(NfoWish::Replace),
            (true, false, _) => Some(NfoWish::Add),
            (false, _, true) => Some(NfoWish::Undo),
            (false, _, false) => None,
        };
        for (path, change) in wish.into_iter().flat_map(|wish| results::nfo_changes(wish, judge, poster)) {
            match change {
                Ok(change) => self.change(&path, &change),
                Err(error) => self.fail(&error.to_string()),
            }
        }
        let is_asked = jsonl.is_some() || csv.is_some() || html.is_some() || sidecar.is_some() || wish.is_some();
        if !is_asked && !quiet {
            let genres = judge.names(poster).join(", ");
            writeln!(anstream::stdout(), "{}: {genres}", poster.found.path.display())?;
        }
        Ok(())
    }

    fn change(&mut self, path: &Path, change: &Change) {
        if !self.args.dry_run {
            match results::carry_out(path, change) {
                Ok(changed) => self.written += usize::from(changed),
                Err(error) => self.fail(&format!("{} ({error})", not_written(path))),
            }
            return;
        }
        match change {
            Change::Write(bytes) if std::fs::read(path).ok().as_ref() != Some(bytes) => {
                anstream::println!("would write {}", path.display());
            }
            Change::Delete => anstream::println!("would remove {}", path.display()),
            Change::Write(_) | Change::Unchanged => {}
        }
    }

    fn summary(&self, judge: Judge, done: tag::Done, took: Duration) -> Result<()> {
        let (read, recalled) = (done.read.into_inner(), done.recalled.into_inner());
        let rate = read as f64 / took.as_secs_f64().max(1e-9);
        let mut out = anstream::stderr().lock();
        let genres = judge.network.card().genres.iter().zip(&self.support).filter(|(_, support)| **support > 0);
        let genres: Vec<String> = genres.map(|(genre, support)| format!("{genre} {support}")).collect();
        writeln!(
            out,
            "{} posters: {}",
            self.tagged,
            if genres.is_empty() { "no genres".into() } else { genres.join(", ") }
        )?;
        write!(out, "{read} read in {} ({rate:.1} a second)", HumanDuration(took))?;
        write!(out, ", {recalled} of them known by another name, {} unchanged", self.known - read)?;
        writeln!(out, ", {} files written, {} failures", self.written, self.failed)?;
        Ok(())
    }
}

fn not_written(path: &Path) -> String {
    format!(
        "{}: cannot be written; check that its folder exists and may be written, or name another file",
        path.display()
    )
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
