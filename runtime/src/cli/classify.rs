//! `runtime classify`: predicts the genres of poster files.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, ensure};
use cli_support::{Outcome, complain};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use runtime::atomic_file::AtomicFile;
use runtime::{Error, Genre, Model, OperatingPoint, Prediction, preprocess};
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
    /// Also write a PNG file of the poster on which the places that speak for a genre glow; takes one poster
    #[arg(long, value_name = "PNG")]
    explain: Option<PathBuf>,

    /// The genre that --explain explains [default: the most probable one]
    #[arg(long, value_name = "NAME", requires = "explain")]
    genre: Option<String>,
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
    ensure!(
        args.explain.is_none() || args.posters.len() == 1,
        "--explain writes one picture, so that it takes one poster, not {}",
        args.posters.len()
    );
    let genre = args.genre.as_deref().map(|genre| find_genre(&model, genre)).transpose()?;
    // Only JSON has it: to hash the model file is a good part of the time that one poster takes.
    let id = if args.json { model.id() } else { String::new() };
    let mut out = cli_support::stdout();
    let mut outcome = Outcome::Complete;
    for path in &args.posters {
        let start = Instant::now();
        let result = match &args.explain {
            None => classify(path, &model),
            Some(picture) => explain(path, &model, genre, picture),
        };
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

/// The place of a genre in the card; case does not matter.
fn find_genre(model: &Model, genre: &str) -> anyhow::Result<usize> {
    let genres = &model.card().genres;
    let place = genres.iter().position(|it| it.eq_ignore_ascii_case(genre));
    place.with_context(|| format!("the model knows no genre \"{genre}\"; choose one of: {}", genres.join(", ")))
}

fn classify(path: &Path, model: &Model) -> anyhow::Result<Prediction> {
    let (bytes, name) = read(path)?;
    Ok(model.classify_image(model.decode(&bytes, &name)?)?)
}

/// The bytes of a poster, and what it is called in messages.
fn read(path: &Path) -> Result<(Vec<u8>, String), Error> {
    let is_standard_input = path == Path::new("-");
    let name = if is_standard_input { "standard input".into() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if is_standard_input {
        std::io::stdin().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(path).map(|content| bytes = content)
    };
    read.map_err(|cause| Error::Unreadable { name: name.clone(), cause })?;
    Ok((bytes, name))
}

/// As [`classify`], and writes the activation map of a genre, by its place in the card, or else of the most probable one.
fn explain(path: &Path, model: &Model, genre: Option<usize>, picture: &Path) -> anyhow::Result<Prediction> {
    let (bytes, name) = read(path)?;
    let explanation = model.explain(model.decode(&bytes, &name)?)?;
    let prediction = explanation.prediction().clone();
    let probabilities = prediction.probabilities();
    let most_probable = (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let genre = genre.or(most_probable).context("the model has no genre")?;
    let overlay = explanation.map(genre).overlay(&preprocess::decode(&bytes, &name)?);
    let failed = || format!("{}: cannot be written; name another file with --explain", picture.display());
    let mut file = AtomicFile::create(picture).with_context(failed)?;
    let (width, height) = overlay.dimensions();
    PngEncoder::new(&mut file)
        .write_image(overlay.as_raw(), width, height, ExtendedColorType::Rgb8)
        .with_context(failed)?;
    file.finish().with_context(failed)?;
    cli_support::notice(format_args!(
        "{}: bright where the poster speaks for {}",
        picture.display(),
        model.card().genres[genre]
    ));
    Ok(prediction)
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
