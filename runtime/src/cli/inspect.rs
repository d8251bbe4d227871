//! `runtime inspect`: prints the model card.

use std::io::Write;
use std::path::PathBuf;

use cli_support::Outcome;
use runtime::ModelOptions;
use runtime::model::card::{Output, Training};

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
    let mut out = cli_support::stdout();
    let bold = anstyle::Style::new().bold();

    writeln!(out, "{bold}{}{bold:#}  {}", card.name, model.fingerprint())?;
    writeln!(out, "{}\n", card.description)?;
    let input = &card.input;
    writeln!(
        out,
        "input         {} x {} pixels, RGB, stretched, mean {:?}, std {:?}",
        input.width, input.height, input.mean, input.std
    )?;
    if card.output == Output::Logits {
        writeln!(out, "output        logits, of which the sigmoid is taken")?;
    }
    writeln!(out, "architecture  {}", card.training.architecture)?;
    writeln!(out)?;
    print_training(&mut out, &card.training)?;
    writeln!(out)?;
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

/// Prints how a model was trained: its data, and a table with a row for each setting and a column for each training step,
/// the first step first.
fn print_training(out: &mut impl Write, training: &Training) -> std::io::Result<()> {
    let mut steps = vec![training.clone()];
    while let Some(earlier) = steps[0].settings.started_from() {
        steps.insert(0, earlier);
    }
    let bold = anstyle::Style::new().bold();
    let name = |step: usize| if steps.len() == 1 { "value".into() } else { format!("step {}", step + 1) };
    writeln!(out, "{bold}training{bold:#}")?;
    for (index, step) in steps.iter().enumerate() {
        let data: Vec<String> = step.data.iter().map(|(data, posters)| format!("{data}: {posters} posters")).collect();
        let label = if steps.len() == 1 { String::new() } else { format!("{}  ", name(index)) };
        writeln!(out, "  {label}{}", data.join(", "))?;
    }

    let columns: Vec<Vec<(String, String)>> = steps.iter().map(|step| step.settings.entries()).collect();
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in columns.iter().flatten() {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let cell = |column: &[(String, String)], key: &str| {
        column.iter().find(|(own, _)| own == key).map_or("-".to_string(), |(_, value)| value.clone())
    };
    let mut rows = vec![vec!["setting".to_string()]];
    rows[0].extend((0..steps.len()).map(name));
    for key in keys {
        let cells = columns.iter().map(|column| cell(column, key));
        rows.push(std::iter::once(key.to_string()).chain(cells).collect());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let line: String = row.iter().zip(&widths).map(|(cell, &width)| format!("  {cell:width$}")).collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
