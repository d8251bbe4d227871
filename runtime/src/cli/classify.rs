//! `runtime classify`: predicts the genres of poster files.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use cli_support::{Outcome, complain};
use runtime::{Error, Genre, Model, OperatingPoint, Prediction};
use serde::Serialize;

use super::{MemoryArgs, ModelArgs};

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

    #[command(flatten)]
    memory: MemoryArgs,
}

/// The line of JSON of one poster.
#[derive(Serialize)]
struct Record<'a> {
    path: String,
    genres: Vec<GenreRecord<'a>>,
    model: &'a str,
    elapsed_ms: f64,
}

/// The line of JSON of a poster that failed.
#[derive(Serialize)]
struct FailureRecord {
    path: String,
    error: String,
}

/// [`Genre`] as JSON.
#[derive(Serialize)]
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
    let options = args.model.options().max_memory(args.memory.budget().limit());
    let model = super::open(&options, args.model.model.as_deref())?;
    let point = args.model.choose(&model)?;
    // Only JSON has it: to hash the model file is a good part of the time that one poster takes.
    let id = if args.json { model.id() } else { String::new() };
    let mut out = cli_support::stdout();
    let mut outcome = Outcome::Complete;
    for path in &args.posters {
        let start = Instant::now();
        let result = classify(path, &model);
        let elapsed_ms = (start.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        match result {
            Ok(prediction) if args.json => {
                let genres = args.select(&prediction, point).into_iter().map(GenreRecord::from).collect();
                let record = Record { path: path.display().to_string(), genres, model: &id, elapsed_ms };
                serde_json::to_writer(&mut out, &record)?;
                writeln!(out)?;
            }
            Ok(prediction) => print(&mut out, path, &prediction, point, args)?,
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

fn classify(path: &Path, model: &Model) -> anyhow::Result<Prediction> {
    if path != Path::new("-") {
        return Ok(model.classify_file(path)?);
    }
    let mut bytes = Vec::new();
    let name = "standard input";
    std::io::stdin().read_to_end(&mut bytes).map_err(|cause| Error::Unreadable { name: name.into(), cause })?;
    Ok(model.classify_image(model.decode(&bytes, name)?)?)
}

impl Args {
    /// The genres to show.
    fn select<'a>(&self, prediction: &'a Prediction, point: &OperatingPoint) -> Vec<Genre<'a>> {
        match self.top {
            None if !self.all => prediction.genres(point),
            count => prediction.ranked(point).into_iter().take(count.unwrap_or(usize::MAX)).collect(),
        }
    }
}

impl<'a> From<Genre<'a>> for GenreRecord<'a> {
    fn from(Genre { name, probability, threshold, .. }: Genre<'a>) -> Self {
        Self { genre: name, probability, threshold }
    }
}

fn print(
    out: &mut impl Write,
    path: &Path,
    prediction: &Prediction,
    point: &OperatingPoint,
    args: &Args,
) -> std::io::Result<()> {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let green = AnsiColor::Green.on_default();
    writeln!(out, "{bold}{}{bold:#}", path.display())?;

    let ranked = prediction.ranked(point);
    let longest = ranked.iter().map(|genre| genre.name.chars().count()).max().unwrap_or(0);
    let genres = args.select(prediction, point);
    for genre in &genres {
        let Genre { name, probability, threshold, .. } = genre;
        let (style, mark) = if genre.is_predicted() { (green, "✓") } else { (dim, " ") };
        write!(out, "  {style}{mark} {name:longest$}  {:5.1} %{style:#}", probability * 100.0)?;
        writeln!(out, "  {dim}threshold {:.1} %{dim:#}", threshold * 100.0)?;
    }
    let nearest = ranked.iter().max_by(|a, b| (a.probability / a.threshold).total_cmp(&(b.probability / b.threshold)));
    if let (true, Some(Genre { name, probability, threshold, .. })) = (genres.is_empty(), nearest) {
        let (probability, threshold) = (probability * 100.0, threshold * 100.0);
        writeln!(
            out,
            "  {dim}no genre reaches its threshold; nearest: {name} {probability:.1} % of {threshold:.1} %{dim:#}"
        )?;
    }
    Ok(())
}
