//! What a pass over a library writes, and what it says of it.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Args;
use anyhow::{Context, Result};
use cli_support::complain;
use indicatif::HumanDuration;
use runtime::atomic_file;
use runtime::collection::nfo::Change;
use runtime::collection::results::{self, Judge, NfoWish, Output, Sidecar};
use runtime::collection::state::State;
use runtime::collection::tag::Done;

/// Posters that are taken from the state file at a time.
const PAGE: usize = 256;

/// What a pass has written and what it could not.
pub struct Report<'a> {
    args: &'a Args,
    /// Whether another pass follows, so that only what is new is worth a line.
    is_watch: bool,
    /// Lines that the pass before has printed.
    before: HashSet<String>,
    /// Lines that this pass has printed, or the pass before already.
    pub(super) said: HashSet<String>,
    /// Posters that were read.
    pub(super) done: Done,
    /// The time that it took.
    pub(super) took: Duration,
    /// Whether posters were left out that may still be being written.
    pub is_unsettled: bool,
    /// Posters that the model has looked at.
    tagged: usize,
    /// Of those, the ones that were read in this pass.
    new: usize,
    /// Posters that the model has looked at, and posters that cannot be used.
    known: usize,
    pub(super) failed: usize,
    written: usize,
    /// The folder of the file that was written last beside a poster.
    swept: Option<PathBuf>,
    /// Posters of each genre.
    support: Vec<usize>,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a Args, is_watch: bool, before: HashSet<String>) -> Self {
        Self {
            args,
            is_watch,
            before,
            said: HashSet::new(),
            done: Done::default(),
            took: Duration::ZERO,
            is_unsettled: false,
            tagged: 0,
            new: 0,
            known: 0,
            failed: 0,
            written: 0,
            swept: None,
            support: Vec::new(),
        }
    }

    /// Whether a line says what neither this pass nor the one before has said.
    fn is_new(&mut self, line: &str) -> bool {
        self.said.insert(line.to_string()) && !self.before.contains(line)
    }

    pub(super) fn fail(&mut self, reason: &str) {
        self.failed += 1;
        if self.is_new(reason) {
            complain(reason);
        }
    }

    fn would(&mut self, what: &str) {
        if self.is_new(what) {
            anstream::println!("would {what}");
        }
    }

    /// Writes all results.
    pub(super) fn write(&mut self, judge: Judge, state: &State) -> Result<()> {
        self.support = vec![0; judge.model.card().genres.len()];
        let mut outputs = if self.args.dry_run { Vec::new() } else { self.outputs(judge)? };
        let mut after = 0;
        loop {
            let page = state.next_known(judge.model.fingerprint(), after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = last.ordinal;
            self.known += page.len();
            for (found, verdict) in &page {
                match verdict {
                    Err(reason) => self.fail(reason),
                    Ok(verdict) => {
                        self.tagged += 1;
                        self.new += usize::from(self.done.read.contains(&found.ordinal));
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
                self.would(&format!("write {} with {} posters", path.display(), self.tagged));
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
        let Args { sidecar, nfo, nfo_existing, replace, nfo_undo, quiet, .. } = self.args;
        if let Some(sidecar) = sidecar.map(Sidecar::from) {
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
        let changes = wish.into_iter().flat_map(|wish| results::nfo_changes(wish, judge, poster));
        for (path, change) in changes.filter(|(path, _)| !nfo_existing || path.exists()) {
            match change {
                Ok(change) => self.change(&path, &change),
                Err(error) => self.fail(&error.to_string()),
            }
        }
        let is_news = !self.is_watch || self.done.read.contains(&poster.found.ordinal);
        if is_news && !self.args.is_written() && !quiet {
            let genres = judge.names(poster).join(", ");
            writeln!(anstream::stdout(), "{}: {genres}", poster.found.path.display())?;
        }
        Ok(())
    }

    fn change(&mut self, path: &Path, change: &Change) {
        if !self.args.dry_run {
            match results::carry_out(path, change) {
                Ok(true) => {
                    self.written += 1;
                    // Posters come folder by folder, so that each is swept once.
                    let folder = path.parent();
                    if self.swept.as_deref() != folder {
                        atomic_file::remove_stale_temp_files(path);
                        self.swept = folder.map(Path::to_path_buf);
                    }
                }
                Ok(false) => {}
                Err(error) => self.fail(&format!("{} ({error})", not_written(path))),
            }
            return;
        }
        match change {
            Change::Write(bytes) if std::fs::read(path).ok().as_ref() != Some(bytes) => {
                self.would(&format!("write {}", path.display()));
            }
            Change::Delete => self.would(&format!("remove {}", path.display())),
            Change::Write(_) | Change::Unchanged => {}
        }
    }

    /// Prints what a single pass came to.
    pub(super) fn summary(&self, judge: Judge) -> Result<()> {
        let (read, recalled, took) = (self.done.read.len(), self.done.recalled, self.took);
        let rate = read as f64 / took.as_secs_f64().max(1e-9);
        let mut out = anstream::stderr().lock();
        let genres = judge.model.card().genres.iter().zip(&self.support).filter(|(_, support)| **support > 0);
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

    /// Prints what one pass of many came to, if that is anything.
    pub fn news(&self) {
        if self.args.is_written() && !self.args.quiet && self.new + self.written > 0 {
            anstream::eprintln!("{} posters tagged, {} files written", self.new, self.written);
        }
    }
}

pub(super) fn not_written(path: &Path) -> String {
    format!(
        "{}: cannot be written; check that its folder exists and may be written, or name another file",
        path.display()
    )
}
