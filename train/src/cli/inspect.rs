//! `train inspect`: statistics of a dataset, and a warning about genre lists that were cut.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use cli_support::{Outcome, complain, complain_of_posters};
use indicatif::ParallelProgressIterator;
use rayon::prelude::*;
use runtime::dataset::list_limit::CutLists;
use runtime::dataset::{Dataset, PassedOver, Source};
use runtime::preprocess;
use train::progress::progress_bar;

use super::{LabelArgs, read_labels};

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

    #[command(flatten)]
    labels: LabelArgs,
}

/// Prints the statistics to standard output, and the images that cannot be read to standard error.
///
/// # Errors
/// If a CSV file cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let sources = args.labels.sources(&args.data);
    let dataset = read_labels(&sources, args.labels.list_limit())?;
    let bar = progress_bar(dataset.posters.len() as u64, "reading posters");
    let problems: Vec<Option<String>> = dataset
        .posters
        .par_iter()
        .progress_with(bar.clone())
        .map(|labelled| preprocess::open(&labelled.path).err().map(|error| error.to_string()))
        .collect();
    bar.finish_and_clear();
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    // Labels can be looked at without the images.
    if let Err(error) = complain_of_posters(dataset.posters.len(), &problems) {
        complain(&error.to_string());
    }
    print(&dataset, problems.len())?;
    for source in &sources {
        // Each file is tested by itself: one with whole lists would hide that another has none longer than N.
        let dataset = read_labels(std::slice::from_ref(source), args.labels.list_limit())?;
        if let Some(cut) = dataset.cut_lists() {
            print_cut_lists(source, &cut)?;
        }
    }
    Ok(if problems.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}

fn print(dataset: &Dataset, unreadable: usize) -> Result<()> {
    let (bold, green) = (Style::new().bold(), AnsiColor::Green.on_default());
    let (support, unknown) = (dataset.support(), dataset.count(None));
    let posters = dataset.posters.len();
    let mut out = cli_support::stdout();
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
    if !dataset.passed_over.is_empty() {
        writeln!(out, "\n{bold}columns that are not read{bold:#} (name the genres with --genres if one is a genre)")?;
        for PassedOver { column, reason } in &dataset.passed_over {
            writeln!(out, "\"{column}\" {reason}")?;
        }
    }
    Ok(())
}

fn print_cut_lists(source: &Source, cut: &CutLists) -> Result<()> {
    let CutLists { limit, at_limit, posters, unknown, as_rare, as_early, late_genres } = cut;
    let (bold, csv) = (Style::new().bold(), source.csv.display());
    let share = 100.0 * *at_limit as f64 / *posters as f64;
    let mut out = cli_support::stdout();
    writeln!(
        out,
        "\n{bold}cut lists{bold:#} in {csv}: no list is longer than {limit} genres; {at_limit} of {posters} posters \
         ({share:.1} %) have exactly {limit}."
    )?;
    writeln!(
        out,
        "In alphabetical order these lists end earlier than in all but {:.1} % of random orders of the genres, and late \
         genres are rarer in them than in all but {:.1} %.",
        100.0 * as_early,
        100.0 * as_rare
    )?;
    writeln!(
        out,
        "Genres late in the alphabet are missing from them, above all {}: they were probably cut at {limit} in \
         alphabetical order.",
        late_genres.join(", ")
    )?;
    writeln!(
        out,
        "Use --list-limit {limit}: it makes the {unknown} labels unknown that come after the last genre of these lists. \
         Or complete the lists with `train labels complete`."
    )?;
    Ok(())
}
