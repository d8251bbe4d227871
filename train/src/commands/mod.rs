//! The subcommands of `train`, one file each, and what they share.

pub mod evaluate;
pub mod export;
pub mod fit;
pub mod inspect;
pub mod labels;
pub mod split;
pub mod tune;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cli_support::complain;
use indicatif::{ProgressBar, ProgressStyle};
use runtime::dataset::{Dataset, Source};
use runtime::preprocess::InputSpec;

use crate::data::PosterSet;
use crate::run::Run;

/// Which run a command works on.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// The run's directory [default: the newest in --runs]
    #[arg(long, value_name = "FOLDER")]
    pub run: Option<PathBuf>,

    /// The directory of all runs
    #[arg(long, value_name = "FOLDER", default_value = "runs")]
    pub runs: PathBuf,
}

impl RunArgs {
    /// The run named, or the newest.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self) -> Result<Run> {
        Run::find(&self.runs, self.run.as_deref())
    }
}

/// How labels are read.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct LabelArgs {
    /// Genre lists were cut after this many genres in alphabetical order: make unknown what may be missing from them;
    /// `train inspect` recognises such lists
    #[arg(long, value_name = "N")]
    list_limit: Option<NonZeroUsize>,
}

impl LabelArgs {
    /// The number of genres after which lists were cut.
    pub fn list_limit(self) -> Option<usize> {
        self.list_limit.map(NonZeroUsize::get)
    }
}

/// Reads CSV files whose lists were cut after `list_limit` genres, if it is given.
///
/// # Errors
/// If a CSV file cannot be used.
pub fn read_labels(sources: &[Source], list_limit: Option<usize>) -> Result<Dataset> {
    let dataset = Dataset::read(sources)?;
    Ok(match list_limit {
        Some(limit) => dataset.with_list_limit(limit),
        None => dataset,
    })
}

/// How posters are read.
#[derive(clap::Args, Debug)]
pub struct DataArgs {
    /// The directory of decoded posters
    #[arg(long, value_name = "FOLDER", default_value = "cache")]
    pub cache: PathBuf,

    /// Threads that prepare batches
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
}

impl DataArgs {
    /// Reads posters for a network with these genres, or with those that the files have. Posters that cannot be read
    /// are named and left out. Labels that lists cut after `list_limit` genres do not tell are unknown.
    ///
    /// # Errors
    /// If a CSV file cannot be used or no poster can be read.
    pub fn load(
        &self,
        sources: &[Source],
        list_limit: Option<usize>,
        genres: Option<&[String]>,
        input: &InputSpec,
    ) -> Result<Arc<PosterSet>> {
        let mut manifest = read_labels(sources, list_limit)?;
        if let Some(genres) = genres {
            manifest = manifest.with_genres(genres);
        }
        let set = PosterSet::load(manifest, input, &self.cache)?;
        set.unreadable.iter().for_each(|reason| complain(reason));
        Ok(Arc::new(set))
    }
}

/// A data set's name for people: the CSV file's, behind its folder's.
pub fn data_name(source: &Source) -> String {
    let name = |path: Option<&std::ffi::OsStr>| path.map(|name| name.to_string_lossy().into_owned());
    let file = name(source.csv.file_stem()).unwrap_or_default();
    match name(source.csv.parent().and_then(Path::file_name)) {
        Some(folder) => format!("{folder}-{file}"),
        None => file,
    }
}

/// A progress bar with rate and time left; silent where standard error is not a terminal.
pub fn progress_bar(len: u64, name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}, {eta} left {msg}")
        .expect("the template names only what there is");
    ProgressBar::new(len).with_style(style).with_prefix(name.to_string())
}

/// A duration as `1:02:03` or `2:03`.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
