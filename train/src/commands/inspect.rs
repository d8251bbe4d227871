//! `train inspect`: posters, unreadable pictures and genre counts of a data set, and genre lists that were cut.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use cli_support::{Outcome, complain};
use rayon::prelude::*;
use runtime::dataset::list_limit::CutLists;
use runtime::dataset::{Dataset, Source};
use runtime::preprocess;

use super::{LabelArgs, progress_bar, read_labels};
use indicatif::ParallelProgressIterator;

/// Fewer positives than this teach a network little, and a figure over them says little.
const RARE: usize = 50;

/// Columns of the longest bar.
const BAR: usize = 40;

/// Show a data set: posters, pictures that cannot be read, how often each genre occurs.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of labelled posters
    #[arg(required = true, value_name = "CSV[=FOLDER]")]
    data: Vec<Source>,

    #[command(flatten)]
    labels: LabelArgs,
}

/// Prints the overview to standard output, and each picture that cannot be read to standard error.
///
/// # Errors
/// If a CSV file cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let manifest = read_labels(&args.data, args.labels.list_limit())?;
    let bar = progress_bar(manifest.posters.len() as u64, "reading posters");
    let problems: Vec<Option<String>> = manifest
        .posters
        .par_iter()
        .progress_with(bar.clone())
        .map(|labelled| preprocess::open(&labelled.path).err().map(|error| error.to_string()))
        .collect();
    bar.finish_and_clear();
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    problems.iter().for_each(|problem| complain(problem));
    print(&manifest, problems.len())?;
    for source in &args.data {
        // Files are tested one by one, since one with whole lists would hide the limit of another.
        let manifest = read_labels(std::slice::from_ref(source), args.labels.list_limit())?;
        if let Some(cut) = manifest.cut_lists() {
            print_cut_lists(source, &cut)?;
        }
    }
    Ok(if problems.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}

fn print(manifest: &Dataset, unreadable: usize) -> Result<()> {
    let (bold, green) = (Style::new().bold(), AnsiColor::Green.on_default());
    let (support, unknown) = (manifest.support(), manifest.count(None));
    let posters = manifest.posters.len();
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{bold}{posters}{bold:#} posters, {unreadable} of them cannot be read, {} genres\n",
        manifest.genres.len()
    )?;

    let longest = manifest.genres.iter().map(|genre| genre.chars().count()).max().unwrap_or(0).max(5);
    writeln!(out, "{bold}{:longest$}  {:>7}  {:>7}  {:>7}  share of known{bold:#}", "genre", "yes", "no", "unknown")?;
    let mut order: Vec<usize> = (0..manifest.genres.len()).collect();
    let share = |genre: usize| support[genre] as f64 / (posters - unknown[genre]).max(1) as f64;
    order.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
    let largest = order.first().map_or(1.0, |&genre| share(genre)).max(f64::MIN_POSITIVE);
    for genre in order {
        let (yes, unknown) = (support[genre], unknown[genre]);
        let bar = "█".repeat((share(genre) / largest * BAR as f64).ceil() as usize);
        let name = &manifest.genres[genre];
        let percent = share(genre) * 100.0;
        writeln!(
            out,
            "{name:longest$}  {yes:>7}  {:>7}  {unknown:>7}  {percent:5.1} % {green}{bar}{green:#}",
            posters - yes - unknown
        )?;
    }

    let known = |labels: &[Option<bool>], wanted| labels.iter().filter(|label| **label == wanted).count();
    let mut per_poster = std::collections::BTreeMap::new();
    for poster in &manifest.posters {
        *per_poster.entry(known(&poster.labels, Some(true))).or_insert(0_usize) += 1;
    }
    writeln!(out, "\n{bold}genres a poster{bold:#}")?;
    for (count, posters) in per_poster {
        writeln!(out, "{count:>longest$}  {posters:>7}")?;
    }
    let rare: Vec<String> = (manifest.genres.iter().zip(&support))
        .filter(|(_, support)| **support < RARE)
        .map(|(genre, support)| format!("{genre} ({support})"))
        .collect();
    if !rare.is_empty() {
        writeln!(out, "\n{bold}too rare to learn well{bold:#} (under {RARE} posters): {}", rare.join(", "))?;
    }
    Ok(())
}

fn print_cut_lists(source: &Source, cut: &CutLists) -> Result<()> {
    let CutLists { limit, at_limit, posters, unknown, .. } = cut;
    let bold = Style::new().bold();
    writeln!(
        anstream::stdout().lock(),
        "\n{bold}cut lists{bold:#}: in {}, no list is longer than {limit} genres; {at_limit} of {posters} posters ({:.1} %) have \
         exactly {limit}. Compared with shorter lists, genres of the alphabet's first half are {:.1} times as frequent in \
         them, those of the second half only {:.1} times, and lists end earlier in the alphabet than in random orders of \
         the genres. Genres late in the alphabet are missing from them ({} above all): lists were probably cut at {limit} \
         in alphabetical order. Use --list-limit {limit} to make the {unknown} labels unknown that come after the last \
         genre of such a list, or `train labels complete` to complete them from a table of whole lists.",
        source.csv.display(),
        100.0 * *at_limit as f64 / *posters as f64,
        cut.early_ratio,
        cut.late_ratio,
        cut.late_genres.join(", "),
    )?;
    Ok(())
}
