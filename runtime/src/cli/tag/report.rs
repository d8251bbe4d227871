//! Results and messages of a pass: writes all result files, counts failures, and prints the summary.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::slideshow::Slideshow;
use super::Args;
use anyhow::{Context, Result};
use cli_support::{complain, notice};
use indicatif::HumanDuration;
use runtime::atomic_file::{self, AtomicFile};
use runtime::collection::naming;
use runtime::collection::nfo::Change;
use runtime::collection::results::{self, NfoAction, Output, Sidecar, TaggedPoster, Tagger};
use runtime::collection::state::{Known, State};
use runtime::collection::tag::PassStats;

/// Posters that are read from the state file at a time.
const PAGE: usize = 256;

/// The report of one pass.
pub struct Report<'a> {
    args: &'a Args,
    /// Whether the program watches the collection, so that only new results and messages are printed.
    is_watch: bool,
    /// Messages of the previous pass; `None` if this is the first.
    before: Option<HashSet<String>>,
    /// Messages of this pass, whether printed by it or by the previous one.
    pub(super) messages: HashSet<String>,
    /// Counts of the posters that were read.
    pub(super) stats: PassStats,
    /// Duration of reading and classifying.
    pub(super) elapsed: Duration,
    /// Whether posters were deferred that may still be being written.
    pub has_deferred: bool,
    /// Number of posters with a prediction.
    tagged: usize,
    /// Number of posters with a prediction that were read in this pass.
    new: usize,
    /// Number of posters with a prediction or a cached failure.
    known: usize,
    /// Number of failures, whether printed or not.
    pub(super) failed: usize,
    /// Number of files that were written or removed.
    written: usize,
    /// Folder whose stale temporary files were removed last.
    cleaned: Option<PathBuf>,
    /// The folder of the last poster, and the keys of the files that belong to one of its posters.
    claimed: (PathBuf, HashSet<String>),
    /// Number of posters of each genre, `[G]`.
    support: Vec<usize>,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a Args, is_watch: bool, before: Option<HashSet<String>>) -> Self {
        Self {
            args,
            is_watch,
            before,
            messages: HashSet::new(),
            stats: PassStats::default(),
            elapsed: Duration::ZERO,
            has_deferred: false,
            tagged: 0,
            new: 0,
            known: 0,
            failed: 0,
            written: 0,
            cleaned: None,
            claimed: (PathBuf::new(), HashSet::new()),
            support: Vec::new(),
        }
    }

    /// Notes a message. Returns whether neither this pass nor the previous one has printed it.
    fn is_new(&mut self, message: &str) -> bool {
        let was_printed = self.before.as_ref().is_some_and(|before| before.contains(message));
        self.messages.insert(message.to_string()) && !was_printed
    }

    /// Counts a failure, and prints it if it is new.
    pub(super) fn fail(&mut self, message: &str) {
        self.failed += 1;
        if self.is_new(message) {
            complain(message);
        }
    }

    /// Prints what is passed over, if it is new. It is no failure.
    fn note(&mut self, message: &str) {
        if self.is_new(message) && !self.args.quiet {
            notice(format_args!("note: {message}"));
        }
    }

    /// Whether a file beside a poster belongs to no other poster of the same folder: `a.jpg` and `a.png` cannot both
    /// have `a.txt`. Posters come folder by folder.
    fn claim(&mut self, poster: &Path, path: &Path) -> bool {
        let folder = poster.parent().unwrap_or(Path::new(""));
        if self.claimed.0 != folder {
            self.claimed = (folder.to_path_buf(), HashSet::new());
        }
        self.claimed.1.insert(naming::key(path.as_os_str()))
    }

    /// Prints a step of a dry run.
    fn print_dry_run(&mut self, step: &str) {
        if self.is_new(step) {
            self.args.say(format_args!("would {step}"));
        }
    }

    /// Writes all results of the posters in the state file, and shows those that were read in this pass. Returns false,
    /// and writes none, if it is interrupted before.
    pub(super) fn write(
        &mut self,
        tagger: Tagger,
        state: &State,
        slideshow: Option<&Slideshow>,
        interrupted: &AtomicBool,
    ) -> Result<bool> {
        self.support = vec![0; tagger.model.card().genres.len()];
        let mut outputs = match self.outputs(tagger, interrupted) {
            Err(_) if interrupted.load(Ordering::Relaxed) => return Ok(false),
            outputs => outputs?,
        };
        let mut after = 0;
        loop {
            let page = state.next_known(tagger.model.fingerprint(), after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.poster.ordinal;
            self.known += page.len();
            for Known { poster, outcome } in &page {
                match outcome {
                    Err(failure) => self.fail(&failure.to_string()),
                    Ok(prediction) => {
                        self.tagged += 1;
                        let tagged = tagger.tag(poster, prediction);
                        if self.stats.read.contains(&poster.ordinal) {
                            self.new += 1;
                            if let Some(slideshow) = slideshow {
                                slideshow.add(tagger, &tagged);
                            }
                        }
                        tagged.genres.iter().for_each(|genre| self.support[*genre] += 1);
                        for (path, output) in &mut outputs {
                            output.add(tagger, &tagged).with_context(|| not_written(path))?;
                        }
                        self.write_beside(tagger, &tagged)?;
                    }
                }
            }
        }
        for (path, output) in outputs {
            self.written += usize::from(output.finish().with_context(|| not_written(&path))?);
        }
        if self.args.dry_run {
            for path in self.args.result_files() {
                self.print_dry_run(&format!("write {} with {} posters", path.display(), self.tagged));
            }
        }
        Ok(true)
    }

    /// Begins the result files that hold all posters; none in a dry run. While the program watches, a pass that has read
    /// no poster writes nothing into pipes and devices.
    fn outputs(&self, tagger: Tagger, interrupted: &AtomicBool) -> Result<Vec<(PathBuf, Output)>> {
        let Args { jsonl, csv, html, library, dry_run, .. } = self.args;
        let has_news = !self.is_watch || self.before.is_none() || !self.stats.read.is_empty();
        let mut outputs = Vec::new();
        let mut begin =
            |path: &Option<PathBuf>, output: &dyn Fn(AtomicFile, &Path) -> io::Result<Output>| -> Result<()> {
                let Some(path) = path.as_ref().filter(|_| !dry_run) else { return Ok(()) };
                let is_stream = atomic_file::is_stream(path);
                if is_stream && !has_news {
                    return Ok(());
                }
                // Whoever reads a pipe reads the page from the current folder.
                let folder = path.parent().filter(|_| !is_stream).unwrap_or(Path::new(""));
                let output = create(path, interrupted).and_then(|file| output(file, folder));
                outputs.push((path.clone(), output.with_context(|| not_written(path))?));
                Ok(())
            };
        begin(jsonl, &|file, _| Ok(Output::jsonl(file)))?;
        begin(csv, &|file, _| Output::csv(file, tagger))?;
        begin(html, &|file, folder| Output::html(file, folder, library, tagger))?;
        Ok(outputs)
    }

    /// Writes the sidecar and NFO files of one poster, or prints its genres if no result file was asked for.
    fn write_beside(&mut self, tagger: Tagger, tagged: &TaggedPoster) -> Result<()> {
        let Args { sidecar, nfo, nfo_existing, replace, nfo_undo, quiet, .. } = self.args;
        if let Some(sidecar) = sidecar.map(Sidecar::from) {
            let (mut path, text) = sidecar.render(tagger, tagged);
            let poster = &tagged.poster.path;
            while !self.claim(poster, &path) {
                // The second of two pictures of one name has its own extension in the sidecar's name, too.
                let extension = path.extension().unwrap_or_default().to_owned();
                let own = if path.file_stem() == poster.file_stem() { poster.clone() } else { path.clone() };
                path = own.with_added_extension(extension);
            }
            let is_own = |path: &Path| {
                path.is_file() && std::fs::read(path).is_ok_and(|bytes| sidecar.may_overwrite(tagger, &bytes))
            };
            if path.exists() && !is_own(&path) {
                self.fail(&format!(
                    "{}: was not written by `runtime tag` and is left alone; rename or remove it",
                    path.display()
                ));
            } else {
                self.change(&path, &Change::Write(text));
            }
        }
        let action = match (nfo, replace, nfo_undo) {
            (true, true, _) => Some(NfoAction::Replace),
            (true, false, _) => Some(NfoAction::Add),
            (false, _, true) => Some(NfoAction::Undo),
            (false, _, false) => None,
        };
        let changes = action.into_iter().flat_map(|action| results::nfo_changes(action, tagger, tagged));
        for (path, change) in changes.filter(|(path, _)| !nfo_existing || path.exists()) {
            match change {
                _ if !self.claim(&tagged.poster.path, &path) => {}
                Ok(change) => self.change(&path, &change),
                Err(error) if error.is_passed_over() => self.note(&error.to_string()),
                Err(error) => self.fail(&error.to_string()),
            }
        }
        let is_new = !self.is_watch || self.stats.read.contains(&tagged.poster.ordinal);
        if is_new && !self.args.writes_results() && !quiet {
            let genres = tagger.genre_names(tagged).join(", ");
            writeln!(cli_support::stdout(), "{}: {genres}", tagged.poster.path.display())?;
        }
        Ok(())
    }

    /// Applies a change to a sidecar or NFO file, or prints it in a dry run.
    fn change(&mut self, path: &Path, change: &Change) {
        if !self.args.dry_run {
            match results::apply_change(path, change) {
                Ok(true) => {
                    self.written += 1;
                    // Posters come folder by folder, so that each folder is cleaned once.
                    let folder = path.parent();
                    if self.cleaned.as_deref() != folder {
                        atomic_file::remove_stale_temp_files(path);
                        self.cleaned = folder.map(Path::to_path_buf);
                    }
                }
                Ok(false) => {}
                Err(error) => self.fail(&format!("{} ({error})", not_written(path))),
            }
            return;
        }
        match change {
            Change::Write(bytes) if std::fs::read(path).ok().as_ref() != Some(bytes) => {
                self.print_dry_run(&format!("write {}", path.display()));
            }
            Change::Delete => self.print_dry_run(&format!("remove {}", path.display())),
            Change::Write(_) | Change::Unchanged => {}
        }
    }

    /// Prints the summary of a single pass.
    pub(super) fn print_summary(&self, tagger: Tagger) {
        let (read, cache_hits, elapsed) = (self.stats.read.len(), self.stats.cache_hits, self.elapsed);
        let rate = read as f64 / elapsed.as_secs_f64().max(1e-9);
        let genres = tagger.model.card().genres.iter().zip(&self.support).filter(|(_, support)| **support > 0);
        let genres: Vec<String> = genres.map(|(genre, support)| format!("{genre} {support}")).collect();
        let genres = if genres.is_empty() { "no genres".into() } else { genres.join(", ") };
        notice(format_args!("{} posters: {genres}", self.tagged));
        notice(format_args!(
            "{read} read in {} ({rate:.1} a second), {cache_hits} of them known by another name, {} unchanged, {} files \
             written, {} failures",
            HumanDuration(elapsed),
            self.known - read,
            self.written,
            self.failed
        ));
    }

    /// Prints one line about a pass while watching, unless nothing has changed.
    pub fn print_news(&self) {
        if self.args.writes_results() && !self.args.quiet && self.new + self.written > 0 {
            notice(format_args!("{} posters tagged, {} files written", self.new, self.written));
        }
    }
}

/// Creates a result file. The wait for the reader of a named pipe is announced, and ends with an interruption.
fn create(path: &Path, interrupted: &AtomicBool) -> io::Result<AtomicFile> {
    let mut is_announced = false;
    AtomicFile::create_while(path, || {
        if !is_announced {
            notice(format_args!("{}: waiting for a reader of this pipe; end with Ctrl-C", path.display()));
            is_announced = true;
        }
        !interrupted.load(Ordering::Relaxed)
    })
}

/// The message of a result file that cannot be written.
pub(super) fn not_written(path: &Path) -> String {
    if atomic_file::is_standard_output(path) {
        return "standard output: cannot be written; check what it is redirected to".into();
    }
    format!(
        "{}: cannot be written; check that its folder exists and may be written, or name another file",
        path.display()
    )
}
