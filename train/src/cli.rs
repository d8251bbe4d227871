//! The subcommands of `train`, one file each, and the options that several of them share.

pub mod evaluate;
pub mod export;
pub mod fit;
pub mod inspect;
pub mod labels;
mod live;
pub mod report;
pub mod split;
pub mod tune;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use cli_support::{complain, say};
use runtime::dataset::{Dataset, Source};
use runtime::preprocess::InputSpec;
use train::data::PosterSet;
use train::run_dir::RunDir;
use train::tune::Tuned;

/// Which run a command works on.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Directory of the run [default: the newest run in --runs]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,

    /// Directory that holds all runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
}

impl RunArgs {
    /// Opens the run.
    fn find(&self) -> Result<RunDir> {
        RunDir::find(&self.runs, self.run.as_deref())
    }
}

/// Options for reading labels.
#[derive(clap::Args, Clone, Debug)]
pub struct LabelArgs {
    /// Genre lists were cut after N genres in alphabetical order: make unknown what may be missing from them; `train
    /// inspect` recognises such lists
    #[arg(long, value_name = "N")]
    list_limit: Option<NonZeroUsize>,

    /// The genres of the label files, where their cells do not tell which columns are genres
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    genres: Vec<String>,
}

impl LabelArgs {
    /// The number of genres after which lists were cut.
    fn list_limit(&self) -> Option<usize> {
        self.list_limit.map(NonZeroUsize::get)
    }

    /// The label files with the genres that the options name.
    fn sources(&self, sources: &[Source]) -> Vec<Source> {
        sources.iter().map(|source| source.clone().with_genres(&self.genres)).collect()
    }
}

/// Reads CSV files whose lists were cut after `list_limit` genres, if it is given.
fn read_labels(sources: &[Source], list_limit: Option<usize>) -> Result<Dataset> {
    let dataset = Dataset::read(sources)?;
    Ok(match list_limit {
        Some(limit) => dataset.with_list_limit(limit),
        None => dataset,
    })
}

/// Options of the poster cache and the data loader.
#[derive(clap::Args, Debug)]
pub struct DataArgs {
    /// Directory of the cache: decoded posters, features of a frozen backbone, probabilities of teachers
    #[arg(long, value_name = "DIR", default_value = "cache")]
    pub cache: PathBuf,

    /// Worker threads of the data loader
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
}

impl DataArgs {
    /// Loads posters with their labels for these genres, or for those of the CSV files. Differences between the two, and
    /// posters that cannot be read, are named on standard error; these posters are left out. Labels that lists cut after `list_limit` genres do not tell are unknown.
    fn load(
        &self,
        sources: &[Source],
        list_limit: Option<usize>,
        genres: Option<&[String]>,
        input: &InputSpec,
    ) -> Result<Arc<PosterSet>> {
        let mut dataset = read_labels(sources, list_limit)?;
        if let Some(genres) = genres {
            dataset.remarks(genres).iter().for_each(|remark| cli_support::notice(format_args!("note: {remark}")));
            dataset = dataset.with_genres(genres);
        }
        let set = PosterSet::load(dataset, input, &self.cache)?;
        set.unreadable.iter().for_each(|reason| complain(reason));
        Ok(Arc::new(set))
    }
}

/// Prints the validation metrics of a run that has just been tuned.
fn print_tuned(Tuned { state, operating_point, evaluation }: &Tuned) {
    say(format_args!(
        "\nepoch {} of {} on validation, operating point \"{operating_point}\":",
        state.best_epoch,
        state.epochs_done()
    ));
    say(evaluation.table());
}
