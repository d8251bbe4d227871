//! `runtime classify`: the genres of posters.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;

use super::{ModelArgs, Outcome, complain};
use crate::network::Network;
use crate::poster;
use crate::threshold::OperatingPoint;

/// Print the genres of posters.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// JPEG, PNG or WebP files; `-` is standard input
    #[arg(required = true, value_name = "POSTER")]
    posters: Vec<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    /// Show every genre, also those under their threshold
    #[arg(long)]
    all: bool,

    /// Show the N most probable genres, also those under their threshold
    #[arg(long, value_name = "N", conflicts_with = "all")]
    top: Option<usize>,

    /// Print one JSON object a poster, each on a line
    #[arg(long)]
    json: bool,
}

/// What is said of one poster.
#[derive(Serialize)]
struct Record<'a> {
    path: String,
    genres: Vec<GenreRecord<'a>>,
    model: &'a str,
    elapsed_ms: f64,
}

/// What is said of one poster that failed.
#[derive(Serialize)]
struct FailureRecord {
    path: String,
    error: String,
}

/// One genre of a poster.
#[derive(Clone, Serialize)]
struct GenreRecord<'a> {
    genre: &'a str,
    probability: f32,
    threshold: f32,
}

/// Prints the genres of each poster to standard output, and each poster that cannot be read to standard error.
///
/// # Errors
/// If the model cannot be used.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let network = args.model.network()?;
    let point = args.model.choose(network.card())?;
    // Only JSON has it: to take the fingerprint is a good part of the time that one poster takes.
    let model = if args.json { format!("{}@{}", network.card().name, network.fingerprint()) } else { String::new() };
    let mut out = anstream::stdout().lock();
    let mut outcome = Outcome::Complete;
    for path in &args.posters {
        match classify(path, &network, point, &model) {
            Ok(mut record) if args.json => {
                select(&mut record.genres, args);
                serde_json::to_writer(&mut out, &record)?;
                writeln!(out)?;
            }
            Ok(record) => print(&mut out, record, args)?,
            Err(error) => {
                outcome = Outcome::SomeFailed;
                let error = format!("{error:#}");
                if args.json {
                    serde_json::to_writer(&mut out, &FailureRecord { path: path.display().to_string(), error })?;
                    writeln!(out)?;
                } else {
                    complain(&error);
                }
            }
        }
    }
    Ok(outcome)
}

/// Every genre of a poster, most probable first.
fn classify<'a>(
    path: &Path,
    network: &'a Network,
    point: &OperatingPoint,
    model: &'a str,
) -> anyhow::Result<Record<'a>> {
    let start = Instant::now();
    let size = network.card().input.size();
    let picture = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("standard input: cannot be read")?;
        poster::decode_for(&bytes, "standard input", poster::MAX_PIXELS, size)?
    } else {
        poster::open_for(path, size)?
    };
    let probabilities = network.classify(picture)?;
    let elapsed_ms = start.elapsed().as_secs_f64() * 1e3;

    let card = network.card();
    let mut genres: Vec<GenreRecord> = (card.genres.iter().zip(probabilities).zip(&point.thresholds))
        .map(|((genre, probability), &threshold)| GenreRecord { genre, probability, threshold })
        .collect();
    genres.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    Ok(Record { path: path.display().to_string(), genres, model, elapsed_ms: (elapsed_ms * 1e3).round() / 1e3 })
}

/// Keeps the genres that the arguments ask for.
fn select(genres: &mut Vec<GenreRecord>, args: &Args) {
    match args.top {
        Some(count) => genres.truncate(count),
        None if args.all => {}
        None => genres.retain(|genre| genre.probability >= genre.threshold),
    }
}

fn print(out: &mut impl Write, record: Record, args: &Args) -> std::io::Result<()> {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let green = AnsiColor::Green.on_default();
    writeln!(out, "{bold}{}{bold:#}", record.path)?;

    let longest = record.genres.iter().map(|genre| genre.genre.chars().count()).max().unwrap_or(0);
    let nearest =
        record.genres.iter().max_by(|a, b| (a.probability / a.threshold).total_cmp(&(b.probability / b.threshold)));
    let nearest = nearest.cloned();
    let mut genres = record.genres;
    select(&mut genres, args);
    for GenreRecord { genre, probability, threshold } in &genres {
        let chosen = probability >= threshold;
        let (style, mark) = if chosen { (green, "✓") } else { (dim, " ") };
        write!(out, "  {style}{mark} {genre:longest$}  {:5.1} %{style:#}", probability * 100.0)?;
        writeln!(out, "  {dim}threshold {:.1} %{dim:#}", threshold * 100.0)?;
    }
    if let (true, Some(nearest)) = (genres.is_empty(), nearest) {
        let GenreRecord { genre, probability, threshold } = nearest;
        let (probability, threshold) = (probability * 100.0, threshold * 100.0);
        writeln!(
            out,
            "  {dim}no genre reaches its threshold; nearest: {genre} {probability:.1} % of {threshold:.1} %{dim:#}"
        )?;
    }
    Ok(())
}
