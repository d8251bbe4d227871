//! `runtime show`: shows a poster with its title and genres on a small display.

use std::path::PathBuf;

use cli_support::{Outcome, complain};
use runtime::collection::naming::Title;
use runtime::collection::scan::{Item, ScanOptions, scan};
use runtime::display::{Card, Panel, Target};
use runtime::preprocess;

use super::ModelArgs;

/// Show a poster with its title and its most probable genres on a display.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// JPEG, PNG or WebP file
    poster: PathBuf,

    #[command(flatten)]
    model: ModelArgs,

    /// `terminal`, `png:FILE`, `fb:DEVICE` or a panel such as `ssd1306:/dev/i2c-1`, with options such as
    /// `png:card.png,size=240x240`; docs/display.md has all
    #[arg(long, value_name = "TARGET", default_value = "terminal")]
    display: Target,

    /// Title [default: read from the name of the file or of its folder]
    #[arg(long)]
    title: Option<String>,
}

/// Shows one poster. If the poster cannot be read, that is printed to standard error.
///
/// # Errors
/// If the model or the display cannot be used.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let model = args.model.open()?;
    let mut display = args.display.open()?;
    let Panel { width, height, .. } = display.panel();
    let poster = preprocess::open_for(&args.poster, (width, height));
    match poster.and_then(|poster| Ok((poster, model.classify_file(&args.poster)?))) {
        Ok((poster, prediction)) => {
            let Title { title, year } = args.title();
            let card = Card::new(&title, year, &prediction.ranked(args.model.choose(&model)?));
            display.show(&card.draw(display.panel(), &poster))?;
            Ok(Outcome::Complete)
        }
        Err(error) => {
            complain(&error.to_string());
            Ok(Outcome::SomeFailed)
        }
    }
}

impl Args {
    fn title(&self) -> Title {
        if let Some(title) = &self.title {
            return Title { title: title.clone(), year: None };
        }
        let options = ScanOptions::default();
        let found = scan(&self.poster, &options).find_map(|item| match item {
            Ok(Item::Poster(poster)) => Some(poster.title),
            _ => None,
        });
        found.unwrap_or_else(|| Title { title: self.poster.display().to_string(), year: None })
    }
}
