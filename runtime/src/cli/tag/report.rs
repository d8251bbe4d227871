//! Results and messages of a pass: writes all result files, counts failures, and prints the summary.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::slideshow::Slideshow;
use super::Args;
use anyhow::{Context, Result};
use cli_support::complain;
use indicatif::HumanDuration;
use runtime::atomic_file;
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
    /// Messages of the previous pass.
    before: HashSet<String>,
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
    /// Number of posters of each genre, `[G]`.
    support: Vec<usize>,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a Args, is_watch: bool, before: HashSet<String>) -> Self {
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
            support: Vec::new(),
        }
    }

    /// Notes a message. Returns whether neither this pass nor the previous one has printed it.
    fn is_new(&mut self, message: &str) -> bool {
        self.messages.insert(message.to_string()) && !self.before.contains(message)
    }

    /// Counts a failure, and prints it if it is new.
    pub(super) fn fail(&mut self, message: &str) {
        self.failed += 1;
        if self.is_new(message) {
            complain(message);
        }
    }

    /// Prints a step of a dry run.
    fn print_dry_run(&mut self, step: &str) {
        if self.is_new(step) {
            anstream::println!("would {step}");
        }
    }

    /// Writes all results of the posters in the state file, and shows those that were read in this pass.
    pub(super) fn write(&mut self, tagger: Tagger, state: &State, slideshow: Option<&Slideshow>) -> Result<()> {
        self.support = vec![0; tagger.model.card().genres.len()];
        let mut outputs = if self.args.dry_run { Vec::new() } else { self.outputs(tagger)? };
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
            for path in [&self.args.jsonl, &self.args.csv, &self.args.html].into_iter().flatten() {
                self.print_dry_run(&format!("write {} with {} posters", path.display(), self.tagged));
            }
        }
        Ok(())
    }

    /// Begins the result files that hold all posters.
    fn outputs(&self, tagger: Tagger) -> Result<Vec<(PathBuf, Output)>> {
        let Args { jsonl, csv, html, library, .. } = self.args;
        let mut outputs = Vec::new();
        let mut begin = |path: &Option<PathBuf>, output: &dyn Fn(&Path) -> std::io::Result<Output>| -> Result<()> {
            if let Some(path) = path {
                outputs.push((path.clone(), output(path).with_context(|| not_written(path))?));
            }
            Ok(())
        };
        begin(jsonl, &|path| Output::jsonl(path))?;
        begin(csv, &|path| Output::csv(path, tagger))?;
        begin(html, &|path| Output::html(path, library, tagger))?;
        Ok(outputs)
    }

    /// Writes the sidecar and NFO files of one poster, or prints its genres if no result file was asked for.
    fn write_beside(&mut self, tagger: Tagger, tagged: &TaggedPoster) -> Result<()> {
        let Args { sidecar, nfo, nfo_existing, replace, nfo_undo, quiet, .. } = self.args;
        if let Some(sidecar) = sidecar.map(Sidecar::from) {
            let (path, text) = sidecar.render(tagger, tagged);
            match std::fs::read(&path) {
                Ok(bytes) if !sidecar.may_overwrite(tagger, &bytes) => self.fail(&format!(
                    "{}: was not written by `runtime tag` and is left alone; rename or remove it",
                    path.display()
                )),
                _ => self.change(&path, &Change::Write(text)),
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
                Ok(change) => self.change(&path, &change),
                Err(error) => self.fail(&error.to_string()),
            }
        }
        let is_new = !self.is_watch || self.stats.read.contains(&tagged.poster.ordinal);
        if is_new && !self.args.writes_results() && !quiet {
            let genres = tagger.genre_names(tagged).join(", ");
            writeln!(anstream::stdout(), "{}: {genres}", tagged.poster.path.display())?;
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
    pub(super) fn print_summary(&self, tagger: Tagger) -> Result<()> {
        let (read, cache_hits, elapsed) = (self.stats.read.len(), self.stats.cache_hits, self.elapsed);
        let rate = read as f64 / elapsed.as_secs_f64().max(1e-9);
        let mut out = anstream::stderr().lock();
        let genres = tagger.model.card().genres.iter().zip(&self.support).filter(|(_, support)| **support > 0);
        let genres: Vec<String> = genres.map(|(genre, support)| format!("{genre} {support}")).collect();
        writeln!(
            out,
            "{} posters: {}",
            self.tagged,
            if genres.is_empty() { "no genres".into() } else { genres.join(", ") }
        )?;
        write!(out, "{read} read in {} ({rate:.1} a second)", HumanDuration(elapsed))?;
        write!(out, ", {cache_hits} of them known by another name, {} unchanged", self.known - read)?;
        writeln!(out, ", {} files written, {} failures", self.written, self.failed)?;
        Ok(())
    }

    /// Prints one line about a pass while watching, unless nothing has changed.
    pub fn print_news(&self) {
        if self.args.writes_results() && !self.args.quiet && self.new + self.written > 0 {
            anstream::eprintln!("{} posters tagged, {} files written", self.new, self.written);
        }
    }
}

/// The message of a result file that cannot be written.
pub(super) fn not_written(path: &Path) -> String {
    format!(
        "{}: cannot be written; check that its folder exists and may be written, or name another file",
        path.display()
    )
}
