//! `train split`: stratified train, validation and test parts of a dataset.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use cli_support::{Outcome, complain_of_posters, say};
use indicatif::ParallelProgressIterator;
use rayon::prelude::*;
use runtime::dataset::{Dataset, LabelledPoster, Source};
use runtime::preprocess;

use train::data::duplicates::{self, Hash, MAX_DISTANCE};
use train::data::split::stratify;
use train::files::write_atomically;
use train::progress::progress_bar;

use super::{LabelArgs, read_labels};

/// Split a dataset into parts, stratified by genre; near-duplicates stay together
///
/// Posters that cannot be read are left out. The parts are CSV files that refer to the images where they are.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of labelled posters
    #[arg(required = true, value_name = "CSV[=DIR]")]
    data: Vec<Source>,

    #[command(flatten)]
    labels: LabelArgs,

    /// Name and relative size of each part
    #[arg(long, value_name = "NAME=SHARE,…", value_delimiter = ',', default_value = "train=80,val=10,test=10")]
    parts: Vec<Part>,

    /// Directory for the CSV files of the parts
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// Random seed of the split
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Do not split: take each CSV file as a part, and list the near-duplicates in different parts
    #[arg(long, conflicts_with_all = ["parts", "out", "seed"])]
    check: bool,
}

/// Name and relative size of a part.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    share: f64,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, share) = text.split_once('=').ok_or("a part is NAME=SHARE, such as train=80")?;
        let share = share.parse().ok().filter(|share: &f64| share.is_finite() && *share > 0.0);
        let share = share.ok_or_else(|| format!("the share of \"{name}\" must be a positive number"))?;
        Ok(Self { name: name.into(), share })
    }
}

/// Writes the parts, or checks existing ones.
///
/// # Errors
/// If a CSV file cannot be used, a part exists already or cannot be written, or `--check` finds parts that overlap.
pub fn run(args: &Args) -> Result<Outcome> {
    if args.check { check(&args.labels.sources(&args.data)) } else { split(args) }
}

fn split(args: &Args) -> Result<Outcome> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}: cannot be created", args.out.display()))?;
    let paths: Vec<PathBuf> = args.parts.iter().map(|part| args.out.join(format!("{}.csv", part.name))).collect();
    for path in &paths {
        ensure!(!path.exists(), "{}: exists already; remove it or name another directory with --out", path.display());
    }
    let dataset = read_labels(&args.labels.sources(&args.data), args.labels.list_limit())?;
    let total = dataset.posters.len();
    let (posters, hashes) = hashed(dataset.posters)?;
    let groups = duplicates::groups(&hashes);
    let twins = groups.iter().enumerate().filter(|(poster, group)| poster != *group).count();
    let shares: Vec<f64> = args.parts.iter().map(|part| part.share).collect();
    let parts = stratify(&posters, &groups, &shares, args.seed);

    for (part, path) in paths.iter().enumerate() {
        let own: Vec<&LabelledPoster> =
            posters.iter().zip(&parts).filter(|(_, p)| **p == part).map(|(poster, _)| poster).collect();
        write(path, &args.out, &dataset.genres, &own)
            .with_context(|| format!("{}: cannot be written", path.display()))?;
        say(format_args!("{}: {} posters", path.display(), own.len()));
    }
    say(format_args!("{twins} posters are near-identical to another one and were kept in its part"));
    Ok(if posters.len() == total { Outcome::Complete } else { Outcome::SomeFailed })
}

fn check(sources: &[Source]) -> Result<Outcome> {
    ensure!(sources.len() > 1, "--check compares parts; name at least two CSV files");
    let mut parts = Vec::new();
    let mut outcome = Outcome::Complete;
    for source in sources {
        let dataset = Dataset::read(std::slice::from_ref(source))?;
        let total = dataset.posters.len();
        let (posters, hashes) = hashed(dataset.posters)?;
        if posters.len() < total {
            outcome = Outcome::SomeFailed;
        }
        parts.push((posters, hashes));
    }
    let mut pairs = 0;
    for (index, (posters, hashes)) in parts.iter().enumerate() {
        for (others, other_hashes) in &parts[index + 1..] {
            for (poster, hash) in posters.iter().zip(hashes) {
                for (other, other_hash) in others.iter().zip(other_hashes) {
                    let distance = duplicates::distance(hash, other_hash);
                    if distance <= MAX_DISTANCE {
                        pairs += 1;
                        say(format_args!(
                            "{} and {}: {distance} of 256 bits differ",
                            poster.path.display(),
                            other.path.display()
                        ));
                    }
                }
            }
        }
    }
    if pairs > 0 {
        bail!(
            "{pairs} pairs of near-identical posters lie in different parts; remove one of each, or split again with \
             `train split`"
        );
    }
    say("no poster of a part is near-identical to one of another part");
    Ok(outcome)
}

/// The posters that can be read, with their perceptual hashes; the others are named on standard error.
///
/// # Errors
/// If none can be read.
fn hashed(posters: Vec<LabelledPoster>) -> Result<(Vec<LabelledPoster>, Vec<Hash>)> {
    let total = posters.len();
    let bar = progress_bar(total as u64, "reading posters");
    let hashes: Vec<_> = posters
        .par_iter()
        .progress_with(bar.clone())
        .map(|labelled| preprocess::open(&labelled.path).map(duplicates::hash))
        .collect();
    bar.finish_and_clear();
    let mut failures = Vec::new();
    let read = posters.into_iter().zip(hashes).filter_map(|(poster, hash)| match hash {
        Ok(hash) => Some((poster, hash)),
        Err(error) => {
            failures.push(error);
            None
        }
    });
    let read = read.unzip();
    complain_of_posters(total, &failures)?;
    Ok(read)
}

/// Writes a part as a CSV file with a column for the path, one for the names of genres and of groups of genres, and
/// one for each genre. Paths are relative to the CSV file's directory where the images lie below it.
fn write(path: &Path, folder: &Path, genres: &[String], posters: &[&LabelledPoster]) -> Result<()> {
    let folder = folder.canonicalize()?;
    write_atomically(path, |file| {
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(["path", "Genre"].into_iter().chain(genres.iter().map(String::as_str)))?;
        for poster in posters {
            let picture = poster.path.canonicalize()?;
            csv.write_field(picture.strip_prefix(&folder).unwrap_or(&picture).to_string_lossy().as_ref())?;
            let known = genres.iter().zip(&poster.labels).filter(|(_, label)| **label == Some(true));
            let mut names: Vec<String> = known.map(|(genre, _)| genre.clone()).collect();
            for group in &poster.any_of {
                let members: Vec<&str> = group.iter().map(|member| genres[*member].as_str()).collect();
                names.push(members.join("_"));
            }
            csv.write_field(names.join("|"))?;
            csv.write_record(poster.labels.iter().map(|label| label.map_or("", |yes| if yes { "1" } else { "0" })))?;
        }
        Ok(csv.flush()?)
    })?;
    Ok(())
}
