//! `runtime tag`: the genres of a whole library.

mod report;
mod session;

use std::path::PathBuf;

use anyhow::Result;
use cli_support::{Outcome, on_ctrl_c};
use runtime::collection::results::Sidecar;
use runtime::preprocess::MAX_PIXELS;

use super::ModelArgs;

pub use session::Session;

/// Tag the posters of a library of films and series.
///
/// Without an option that says where to, the genres are printed. A second run reads only what is new or changed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The library's folder
    pub(super) library: PathBuf,

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
    sidecar: Option<SidecarArg>,

    /// Add the genres to the films' NFO files, for Kodi, Jellyfin and others; a film without one gets a small one
    #[arg(long, help_heading = "Results")]
    nfo: bool,

    /// With --nfo: leave films without an NFO file alone, so that Kodi goes on looking them up
    #[arg(long, requires = "nfo", help_heading = "Results")]
    nfo_existing: bool,

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
    pub(super) quiet: bool,
}

/// [`Sidecar`] as an option's value.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SidecarArg {
    /// `poster.txt`: the genres, separated by a comma and a space
    Txt,
    /// `poster.json`: the same object as a line of `--jsonl`
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
    /// Whether results are to be written, and not printed.
    fn is_written(&self) -> bool {
        let files = [&self.jsonl, &self.csv, &self.html];
        files.into_iter().any(Option::is_some) || self.sidecar.is_some() || self.nfo || self.nfo_undo
    }
}

/// Tags a library. Failures are printed to standard error, each once.
///
/// # Errors
/// If the model, the library, the state file or a file of results cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let mut session = Session::open(args, on_ctrl_c(|| {})?)?;
    let Some(report) = session.pass(None)? else { return Ok(Outcome::Interrupted) };
    if !args.quiet {
        report.summary(session.judge())?;
    }
    Ok(if report.failed > 0 { Outcome::SomeFailed } else { Outcome::Complete })
}
