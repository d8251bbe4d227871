//! `train inspect`: statistics of a dataset.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use cli_support::{Outcome, complain};
use indicatif::ParallelProgressIterator;
use rayon::prelude::*;
use runtime::dataset::{Dataset, Source};
use runtime::preprocess;
use train::progress::progress_bar;

/// Genres with fewer positives are reported as rare: too few to learn from, and to measure a metric on.
const RARE: usize = 50;

/// Width of the longest bar in columns.
const BAR_WIDTH: usize = 40;

/// Show statistics of a dataset: posters, unreadable images, and how often each genre occurs
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of labelled posters
    #[arg(required = true, value_name = "CSV[=DIR]")]
    data: Vec<Source>,
}

/// Prints the statistics to standard output, and each image that cannot be read to standard error.
///
/// # Errors
/// If a CSV file cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let dataset = Dataset::read(&args.data)?;
    let bar = progress_bar(dataset.posters.len() as u64, "reading posters");
    let problems: Vec<Option<String>> = dataset
        .posters
        .par_iter()
        .progress_with(bar.clone())
        .map(|labelled| preprocess::open(&labelled.path).err().map(|error| error.to_string()))
        .collect();
    bar.finish_and_clear();
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    problems.iter().for_each(|problem| complain(problem));
    print(&dataset, problems.len())?;
    Ok(if problems.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}

fn print(dataset: &Dataset, unreadable: usize) -> Result<()> {
    let (bold, green) = (Style::new().bold(), AnsiColor::Green.on_default());
    let (support, unknown) = (dataset.support(), dataset.count(None));
    let posters = dataset.posters.len();
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{bold}{posters}{bold:#} posters, {unreadable} of them cannot be read, {} genres\n",
        dataset.genres.len()
    )?;

    let longest = dataset.genres.iter().map(|genre| genre.chars().count()).max().unwrap_or(0).max(5);
    writeln!(out, "{bold}{:longest$}  {:>7}  {:>7}  {:>7}  share of known{bold:#}", "genre", "yes", "no", "unknown")?;
    let mut order: Vec<usize> = (0..dataset.genres.len()).collect();
    let share = |genre: usize| support[genre] as f64 / (posters - unknown[genre]).max(1) as f64;
    order.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
    let largest = order.first().map_or(1.0, |&genre| share(genre)).max(f64::MIN_POSITIVE);
    for genre in order {
        let (yes, unknown) = (support[genre], unknown[genre]);
        let bar = "█".repeat((share(genre) / largest * BAR_WIDTH as f64).ceil() as usize);
        let name = &dataset.genres[genre];
        let percent = share(genre) * 100.0;
        writeln!(
            out,
            "{name:longest$}  {yes:>7}  {:>7}  {unknown:>7}  {percent:5.1} % {green}{bar}{green:#}",
            posters - yes - unknown
        )?;
    }

    let known = |labels: &[Option<bool>], wanted| labels.iter().filter(|label| **label == wanted).count();
    let mut per_poster = std::collections::BTreeMap::new();
    for poster in &dataset.posters {
        *per_poster.entry(known(&poster.labels, Some(true))).or_insert(0_usize) += 1;
    }
    writeln!(out, "\n{bold}genres a poster{bold:#}")?;
    for (count, posters) in per_poster {
        writeln!(out, "{count:>longest$}  {posters:>7}")?;
    }
    let rare: Vec<String> = (dataset.genres.iter().zip(&support))
        .filter(|(_, support)| **support < RARE)
        .map(|(genre, support)| format!("{genre} ({support})"))
        .collect();
    if !rare.is_empty() {
        writeln!(out, "\n{bold}too rare to learn well{bold:#} (under {RARE} posters): {}", rare.join(", "))?;
    }
    Ok(())
}
