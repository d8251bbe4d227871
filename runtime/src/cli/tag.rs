//! `runtime tag`: classifies every poster of a media collection and writes the genres.

mod report;
mod session;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use cli_support::{Outcome, on_ctrl_c};
use runtime::atomic_file::is_standard_output;
use runtime::collection::results::Sidecar;
use runtime::preprocess::MAX_PIXELS;

use super::{MemoryArgs, ModelArgs};

pub use session::Session;

/// Classify every poster of a folder of films and series
///
/// Prints the genres of each poster, unless an option names a file to write. A later run reads only new and changed
/// posters.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the collection, or a single image
    pub(super) library: PathBuf,

    #[command(flatten)]
    model: ModelArgs,

    /// Write JSON Lines: an object per poster; here and below `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    jsonl: Option<PathBuf>,

    /// Write CSV: a row per poster, a column per genre
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    csv: Option<PathBuf>,

    /// Write an HTML gallery: every poster with its genres, searchable, with filters and sorting
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    html: Option<PathBuf>,

    /// Write a sidecar file beside each poster
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Results")]
    sidecar: Option<SidecarArg>,

    /// Add the genres to NFO files, for Kodi, Jellyfin and others; create one for each film that has none
    #[arg(long, help_heading = "Results")]
    nfo: bool,

    /// With --nfo: create no NFO files, so that Kodi still looks up films without one
    #[arg(long, requires = "nfo", help_heading = "Results")]
    nfo_existing: bool,

    /// With --nfo: replace the existing genres. --nfo-undo restores them, unless another program has rewritten the file
    /// since
    #[arg(long, requires = "nfo", help_heading = "Results")]
    replace: bool,

    /// Remove the added genres from NFO files
    #[arg(long, conflicts_with = "nfo", help_heading = "Results")]
    nfo_undo: bool,

    /// Print the files that would be written, and write none
    #[arg(long, help_heading = "Results")]
    dry_run: bool,

    /// Classify every image, whatever its name
    #[arg(long, help_heading = "Posters")]
    all_images: bool,

    /// Classify only images that match the glob, relative to the collection, such as `Movies/**`; repeatable
    #[arg(long, value_name = "GLOB", help_heading = "Posters")]
    include: Vec<String>,

    /// Skip images and folders that match the glob; repeatable
    #[arg(long, value_name = "GLOB", help_heading = "Posters")]
    exclude: Vec<String>,

    /// Print for each image whether it is taken for a poster, and why
    #[arg(long, help_heading = "Posters")]
    explain: bool,

    /// Reject posters with more than N pixels
    #[arg(long, value_name = "N", default_value_t = MAX_PIXELS, help_heading = "Posters")]
    max_pixels: u64,

    #[command(flatten)]
    memory: MemoryArgs,

    /// State file, an SQLite cache of the predictions [default: .poster-genres.sqlite in the collection]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Ignore the cache and classify every poster again
    #[arg(long)]
    force: bool,

    /// Number of threads [default: one per CPU core, fewer where memory is short]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    /// Scheduling priority, as of nice(1): 0 is normal, 19 the lowest
    #[cfg(unix)]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=19))]
    nice: i32,

    /// Print only errors
    #[arg(long)]
    pub(super) quiet: bool,
}

/// [`Sidecar`] as an option's value.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SidecarArg {
    /// `poster.txt`: the genres, separated by a comma and a space
    Txt,
    /// `poster.json`: the poster's object of `--jsonl`
    Json,
}

impl From<SidecarArg> for Sidecar {
    fn from(arg: SidecarArg) -> Self {
        match arg {
            SidecarArg::Txt => Self::Txt,
            SidecarArg::Json => Self::Json,
        }
    }
}

impl Args {
    /// The files that hold all posters.
    fn result_files(&self) -> impl Iterator<Item = &Path> {
        [&self.jsonl, &self.csv, &self.html].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Checks that no two options name one file.
    fn check_result_files(&self) -> Result<()> {
        let files: Vec<&Path> = self.result_files().collect();
        for (index, file) in files.iter().enumerate() {
            ensure!(!files[..index].contains(file), "{}: is named by two options; name a file each", file.display());
        }
        Ok(())
    }

    /// Whether an option names result files, so that the genres are not printed.
    fn writes_results(&self) -> bool {
        self.result_files().next().is_some() || self.sidecar.is_some() || self.nfo || self.nfo_undo
    }

    /// Prints a line for people: to standard output, or to standard error where results go to standard output.
    fn say(&self, line: impl std::fmt::Display) {
        if self.result_files().any(is_standard_output) {
            cli_support::notice(line);
        } else {
            cli_support::say(line);
        }
    }
}

/// Tags a collection in one pass. Each failure is printed to standard error.
///
/// # Errors
/// If the model, the collection, the state file or a result file cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let mut session = Session::open(args, on_ctrl_c(|| {})?)?;
    let Some(report) = session.pass(None, None)? else { return Ok(Outcome::Interrupted) };
    if !args.quiet {
        report.print_summary(session.tagger());
    }
    Ok(if report.failed > 0 { Outcome::SomeFailed } else { Outcome::Complete })
}
