//! `runtime inspect`: what a model file says of itself.

use std::io::Write;
use std::path::PathBuf;

use cli_support::Outcome;
use runtime::ModelOptions;

/// Print a model's card: genres, input, thresholds, training and figures.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model file made by `train export` [default: the shipped model]
    model: Option<PathBuf>,
}

/// Prints the card to standard output.
///
/// # Errors
/// If the model cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let model = super::open(&ModelOptions::new(), args.model.as_deref())?;
    let card = model.card();
    let mut out = anstream::stdout().lock();
    let bold = anstyle::Style::new().bold();

    writeln!(out, "{bold}{}{bold:#}  {}", card.name, model.fingerprint())?;
    writeln!(out, "{}\n", card.description)?;
    let input = &card.input;
    writeln!(
        out,
        "input         {} x {} pixels, RGB, stretched, mean {:?}, std {:?}",
        input.width, input.height, input.mean, input.std
    )?;
    writeln!(out, "architecture  {}", card.training.architecture)?;
    for (data, posters) in &card.training.data {
        writeln!(out, "trained on    {data}: {posters} posters")?;
    }
    writeln!(out, "settings      {}\n", card.training.settings)?;

    writeln!(out, "{bold}operating points{bold:#}, the first is the default")?;
    for point in &card.operating_points {
        writeln!(out, "  {:<10} {}", point.name, point.description)?;
    }
    let longest = card.genres.iter().map(|genre| genre.chars().count()).max().unwrap_or(0);
    write!(out, "\n{bold}{:longest$}", "threshold")?;
    for point in &card.operating_points {
        write!(out, "  {:>9}", point.name)?;
    }
    writeln!(out, "{bold:#}")?;
    for (index, genre) in card.genres.iter().enumerate() {
        write!(out, "{genre:longest$}")?;
        for point in &card.operating_points {
            write!(out, "  {:>9.3}", point.thresholds[index])?;
        }
        writeln!(out)?;
    }
    for (data, figures) in &card.figures {
        writeln!(out, "\n{bold}figures on {data}{bold:#}\n{}", figures.table())?;
    }
    Ok(Outcome::Complete)
}
