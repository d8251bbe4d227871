//! `train labels complete`: completes genre lists that were cut, with a second table of the same films.

mod complete;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anstyle::Style;
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use cli_support::Outcome;
use runtime::atomic_file::{is_standard_output, is_stream};
use runtime::dataset::Table;
use runtime::dataset::list_limit::detect;
use train::files::write_atomically;

use complete::{Completed, Joined, Options, complete};

/// The most examples of one kind that are printed.
const EXAMPLES: usize = 10;

/// From this share of the joined rows on, contradictions make one doubt that the ids are of the same kind.
const DOUBTFUL: f64 = 0.25;

/// Edit the labels of a dataset
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: LabelsCommand,
}

#[derive(Subcommand, Debug)]
enum LabelsCommand {
    Complete(CompleteArgs),
}

/// Complete the genres of a dataset with a second table of the same films
///
/// Rows are joined by IMDb id (tt0102315, 102315 and tt0102315.jpg are the same), or by title and year if both tables
/// have them. A joined row takes the labels of the second table; a genre that only the first table lists stays. The
/// file written has the rows of the first table in their order, with a column for each genre.
#[derive(clap::Args, Debug)]
struct CompleteArgs {
    /// CSV file of labelled posters to complete
    #[arg(value_name = "CSV")]
    posters: PathBuf,

    /// CSV file with whole genre lists: a column `genres` like Action|Drama, or a column of 0 and 1 for each genre
    #[arg(long, value_name = "CSV")]
    with: PathBuf,

    /// The CSV file to write; `-` is standard output
    #[arg(long, value_name = "CSV")]
    out: PathBuf,

    /// Genre lists of the first file were cut after this many genres in alphabetical order: make unknown what may be
    /// missing from them in rows that the second file does not complete
    #[arg(long, value_name = "N")]
    list_limit: Option<NonZeroUsize>,

    /// The genres of both files, where their cells do not tell which columns are genres
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    genres: Vec<String>,

    /// Replace the file to write if it exists
    #[arg(long)]
    force: bool,
}

/// Runs a subcommand of `train labels`.
///
/// # Errors
/// If a table cannot be used, or the file exists already or cannot be written.
pub fn run(args: &Args) -> Result<Outcome> {
    match &args.command {
        LabelsCommand::Complete(args) => run_complete(args),
    }
}

fn run_complete(args: &CompleteArgs) -> Result<Outcome> {
    let out = args.out.display();
    ensure!(
        args.force || !args.out.exists() || is_stream(&args.out),
        "{out}: exists already; name another file, or replace it with --force"
    );
    let (posters, with) = (Table::read(&args.posters, &args.genres)?, Table::read(&args.with, &args.genres)?);
    let options = Options { list_limit: args.list_limit.map(NonZeroUsize::get) };
    let completed = complete(&posters, &with, options)?;
    write_atomically(&args.out, |file| {
        let mut csv = csv::Writer::from_writer(file);
        completed.records.iter().try_for_each(|record| csv.write_record(record))?;
        Ok(csv.flush()?)
    })
    .with_context(|| format!("{out}: cannot be written; name another file with --out"))?;
    print(args, &completed, &with)?;
    Ok(Outcome::Complete)
}

fn print(args: &CompleteArgs, completed: &Completed, with: &Table) -> Result<()> {
    let bold = Style::new().bold();
    let (posters, table) = (args.posters.display(), args.with.display());
    let count = |joined: Joined| completed.rows.iter().filter(|row| row.joined == joined).count();
    let rows = completed.rows.len();
    let unjoined = count(Joined::No);
    let mut out: Box<dyn Write> =
        if is_standard_output(&args.out) { Box::new(anstream::stderr()) } else { Box::new(cli_support::stdout()) };
    writeln!(
        out,
        "{bold}{}{bold:#}: {rows} rows, {} joined by id, {} by title and year, {unjoined} not joined",
        args.out.display(),
        count(Joined::ById),
        count(Joined::ByTitle)
    )?;
    if completed.ambiguous > 0 {
        writeln!(
            out,
            "{} ids or titles of {table} have several rows with different genres and were not used",
            completed.ambiguous
        )?;
    }

    let changed = completed.rows.iter().filter(|row| !row.added.is_empty()).count();
    let added = by_genre(completed.rows.iter().flat_map(|row| &row.added));
    let total: usize = added.iter().map(|(_, count)| count).sum();
    writeln!(out, "{total} genres added in {changed} rows{}", listed(&added))?;
    if completed.settled > 0 {
        writeln!(out, "{} labels that were unknown are 0 now", completed.settled)?;
    }
    if let Some(limit) = args.list_limit {
        let masked = completed.rows.iter().filter(|row| row.forgotten > 0);
        let (rows, labels) = masked.fold((0, 0), |(rows, labels), row| (rows + 1, labels + row.forgotten));
        writeln!(
            out,
            "{labels} labels after the last genre of {rows} lists of {limit} are unknown now (--list-limit {limit})"
        )?;
    }
    if !completed.without_column.is_empty() {
        let named: Vec<_> = completed.without_column.iter().map(|(genre, count)| (genre.as_str(), *count)).collect();
        writeln!(out, "genres of {table} without a column in {posters} are left out{}", listed(&named))?;
    }

    let examples = |out: &mut dyn Write, lines: Vec<String>| -> Result<()> {
        lines.iter().take(EXAMPLES).try_for_each(|line| writeln!(out, "  {line}"))?;
        if lines.len() > EXAMPLES {
            writeln!(out, "  … and {} more", lines.len() - EXAMPLES)?;
        }
        Ok(())
    };
    let contradictions: Vec<_> = completed.rows.iter().filter(|row| !row.contradicted.is_empty()).collect();
    if !contradictions.is_empty() {
        let by_genre = by_genre(contradictions.iter().flat_map(|row| &row.contradicted));
        let total: usize = by_genre.iter().map(|(_, count)| count).sum();
        writeln!(
            out,
            "\n{bold}contradictions{bold:#}: {total} genres in {} rows are in {posters} and not in \
             {table}; they stay 1{}",
            contradictions.len(),
            listed(&by_genre)
        )?;
        examples(
            &mut out,
            contradictions.iter().map(|row| format!("{}: {}", row.id, row.contradicted.join(", "))).collect(),
        )?;
        if contradictions.len() as f64 > DOUBTFUL * (rows - unjoined) as f64 {
            writeln!(
                out,
                "  more than a quarter of the joined rows contradict: check that both tables have ids of the same kind"
            )?;
        }
    }
    if unjoined > 0 {
        writeln!(out, "\n{bold}not joined{bold:#}: {unjoined} rows")?;
        let rows = completed.rows.iter().filter(|row| row.joined == Joined::No);
        examples(&mut out, rows.map(|row| row.id.clone()).collect())?;
    }
    let (genres, labels) = with.labels()?;
    if let Some(cut) = detect(&genres, labels.iter().map(Vec::as_slice)) {
        writeln!(
            out,
            "\n{bold}note{bold:#}: the lists of {table} look cut at {} genres themselves; `train inspect` tells more",
            cut.limit
        )?;
    }
    Ok(())
}

/// The number of times that each genre is named, most first.
fn by_genre<'a>(genres: impl Iterator<Item = &'a String>) -> Vec<(&'a str, usize)> {
    let mut counts = BTreeMap::new();
    genres.for_each(|genre| *counts.entry(genre.as_str()).or_insert(0) += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// `: Thriller 12, War 3`, or nothing.
fn listed(counts: &[(&str, usize)]) -> String {
    let counts: Vec<String> = counts.iter().map(|(genre, count)| format!("{genre} {count}")).collect();
    if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) }
}
