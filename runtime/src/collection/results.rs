//! What came of a library's posters: tables, a gallery, files beside the posters, genres in NFO files.
//!
//! Tables and gallery are written anew from all that is known, whole, and stay untouched if they would say the same.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::gallery::{self, Gallery};
use super::nfo::{self, Change, NfoError, Place};
use super::poster_selection::Kind;
use super::state::{Found, Verdict};
use crate::atomic_file::{self, AtomicFile};
use crate::model::Model;
use crate::operating_point::OperatingPoint;

/// Genres below their threshold that the gallery shows of a poster that reaches none.
const LIKELIEST: usize = 2;

/// The model's part in a result.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The model.
    pub model: &'a Model,
    /// The thresholds that decide.
    pub point: &'a OperatingPoint,
}

/// A poster and its genres.
pub struct Tagged<'a> {
    /// The poster.
    pub found: &'a Found,
    /// What the model makes of it.
    pub verdict: &'a Verdict,
    /// Places of the genres that reach their threshold, the most probable first.
    pub genres: Vec<usize>,
}

impl Judge<'_> {
    /// Decides on a poster's genres.
    pub fn decide<'a>(&self, found: &'a Found, verdict: &'a Verdict) -> Tagged<'a> {
        let probabilities = &verdict.probabilities;
        let mut genres = self.point.decide(probabilities);
        genres.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        Tagged { found, verdict, genres }
    }

    /// The names of a poster's genres.
    pub fn names(&self, tagged: &Tagged) -> Vec<&str> {
        tagged.genres.iter().map(|genre| self.model.card().genres[*genre].as_str()).collect()
    }

    fn model(&self) -> String {
        self.model.id()
    }

    fn record<'a>(&'a self, tagged: &'a Tagged) -> Record<'a> {
        let all = self.model.card().genres.iter().zip(&tagged.verdict.probabilities);
        Record {
            path: tagged.found.path.to_string_lossy().into_owned(),
            title: &tagged.found.title.title,
            year: tagged.found.title.year,
            genres: self.names(tagged),
            probabilities: all.map(|(genre, probability)| (genre.clone(), (*probability).into())).collect(),
            operating_point: &self.point.name,
            model: self.model(),
            size: tagged.found.size,
            mtime: tagged.found.mtime as f64 / 1e9,
        }
    }
}

/// A line of JSON.
#[derive(Serialize)]
struct Record<'a> {
    path: String,
    title: &'a str,
    year: Option<u16>,
    genres: Vec<&'a str>,
    probabilities: serde_json::Map<String, serde_json::Value>,
    operating_point: &'a str,
    model: String,
    /// Bytes.
    size: i64,
    /// Seconds since 1970.
    mtime: f64,
}

/// A file that has something of every poster.
pub enum Output {
    /// An object a line.
    Jsonl(AtomicFile),
    /// A row a poster.
    Csv(Box<csv::Writer<AtomicFile>>),
    /// A page to look at.
    Html {
        /// The page.
        page: Box<Gallery<AtomicFile>>,
        /// Its folder; addresses of posters are relative to it.
        folder: PathBuf,
    },
}

impl Output {
    /// Begins a file of objects, one a line.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn jsonl(path: &Path) -> io::Result<Self> {
        Ok(Self::Jsonl(AtomicFile::create(path)?))
    }

    /// Begins a table.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn csv(path: &Path, judge: Judge) -> io::Result<Self> {
        let mut csv = csv::Writer::from_writer(AtomicFile::create(path)?);
        let own = ["path", "title", "year", "genres", "operating_point", "model", "size", "mtime"];
        csv.write_record(own.into_iter().chain(judge.model.card().genres.iter().map(String::as_str)))?;
        Ok(Self::Csv(Box::new(csv)))
    }

    /// Begins a gallery.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn html(path: &Path, library: &Path, judge: Judge) -> io::Result<Self> {
        let card = judge.model.card();
        let header = gallery::Header {
            library: &library.to_string_lossy(),
            genres: &card.genres,
            model: &judge.model(),
            operating_point: &judge.point.name,
        };
        let page = Box::new(Gallery::begin(AtomicFile::create(path)?, &header)?);
        Ok(Self::Html { page, folder: path.parent().unwrap_or(Path::new("")).to_path_buf() })
    }

    /// Adds a poster.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn add(&mut self, judge: Judge, tagged: &Tagged) -> io::Result<()> {
        match self {
            Self::Jsonl(file) => {
                serde_json::to_writer(&mut *file, &judge.record(tagged))?;
                writeln!(file)
            }
            Self::Csv(csv) => {
                let Record { path, title, year, genres, operating_point, model, size, mtime, .. } =
                    judge.record(tagged);
                let year = year.map(|year| year.to_string()).unwrap_or_default();
                let (size, mtime) = (size.to_string(), mtime.to_string());
                let own = [&path, title, &year, &genres.join("|"), operating_point, &model, &size, &mtime];
                let all = tagged.verdict.probabilities.iter().map(f32::to_string);
                Ok(csv.write_record(own.into_iter().map(ToString::to_string).chain(all))?)
            }
            Self::Html { page, folder } => {
                let probabilities = &tagged.verdict.probabilities;
                let mut shown: Vec<usize> = tagged.genres.clone();
                if shown.is_empty() {
                    shown = (0..probabilities.len()).collect();
                    shown.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
                    shown.truncate(LIKELIEST);
                }
                let genres: Vec<_> = (shown.iter())
                    .map(|&genre| (genre as u8, probabilities[genre], tagged.genres.contains(&genre)))
                    .collect();
                page.add(&gallery::Entry {
                    href: &gallery::href(folder, &tagged.found.path),
                    title: &tagged.found.title.title,
                    year: tagged.found.title.year,
                    genres: &genres,
                    thumbnail: &tagged.verdict.thumbnail,
                })
            }
        }
    }

    /// Puts the file in its place. Returns whether it says something new.
    ///
    /// # Errors
    /// If it cannot be written whole; then the one that was there stays.
    pub fn finish(self) -> io::Result<bool> {
        match self {
            Self::Jsonl(file) => file.finish(),
            Self::Csv(csv) => csv.into_inner().map_err(|error| error.into_error())?.finish(),
            Self::Html { page, .. } => page.finish()?.finish(),
        }
    }
}

/// A file beside each poster, of the poster's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sidecar {
    /// `poster.txt`: the genres, separated by a comma and a space.
    Txt,
    /// `poster.json`: all that `--jsonl` has of it.
    Json,
}

impl Sidecar {
    /// The sidecar's path and what it says.
    pub fn of(self, judge: Judge, tagged: &Tagged) -> (PathBuf, Vec<u8>) {
        let (extension, mut text) = match self {
            Self::Txt => ("txt", judge.names(tagged).join(", ")),
            Self::Json => {
                let text = serde_json::to_string_pretty(&judge.record(tagged)).expect("texts and numbers are JSON");
                ("json", text)
            }
        };
        text.push('\n');
        (tagged.found.path.with_extension(extension), text.into_bytes())
    }

    /// Whether a file of the sidecar's name may be overwritten: it says nothing but genres, or is an object of ours.
    pub fn is_ours(self, judge: Judge, bytes: &[u8]) -> bool {
        let genres = &judge.model.card().genres;
        match self {
            Self::Txt => str::from_utf8(bytes).is_ok_and(|text| {
                text.trim().split(", ").all(|name| name.is_empty() || genres.iter().any(|genre| genre == name))
            }),
            Self::Json => serde_json::from_slice::<serde_json::Value>(bytes)
                .is_ok_and(|value| value.get("probabilities").is_some() && value.get("model").is_some()),
        }
    }
}

/// What is to happen to a film's NFO files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NfoWish {
    /// Add genres to those there.
    Add,
    /// Put genres in the place of those there, which are set aside.
    Replace,
    /// Take out what was added.
    Undo,
}

/// The NFO files of a poster's film or series, and what is to change in each; none for a poster without a film.
pub fn nfo_changes(
    wish: NfoWish,
    judge: Judge,
    tagged: &Tagged,
) -> impl Iterator<Item = (PathBuf, Result<Change, NfoError>)> {
    let Found { path, title, kind, video, is_alone, .. } = tagged.found;
    let folder = path.parent().unwrap_or(Path::new(""));
    let place = match (kind, video) {
        (Kind::Show, _) => Some(Place::Show { folder }),
        (Kind::Film, video) if *is_alone => Some(Place::Own { folder, video: video.as_deref() }),
        (Kind::Film, Some(video)) => Some(Place::Shared { video }),
        (Kind::Film, None) => None,
    };
    let new = nfo::New {
        root: if *kind == Kind::Show { nfo::Root::TvShow } else { nfo::Root::Movie },
        title: Some(title.title.clone()).filter(|title| !title.is_empty()),
        year: title.year,
    };
    let genres: Vec<String> = judge.names(tagged).into_iter().map(str::to_string).collect();
    place.map(nfo::nfo_paths).unwrap_or_default().into_iter().map(move |path| {
        let genres: Vec<&str> = genres.iter().map(String::as_str).collect();
        let change = match wish {
            NfoWish::Undo => nfo::revert(&path),
            wish => nfo::apply(&path, &new, &genres, wish == NfoWish::Replace),
        };
        (path, change)
    })
}

/// Carries out a change of a file. Returns whether there was one.
///
/// # Errors
/// If the file cannot be written whole or removed.
pub fn carry_out(path: &Path, change: &Change) -> io::Result<bool> {
    match change {
        Change::Unchanged => Ok(false),
        Change::Write(bytes) => atomic_file::write(path, bytes),
        Change::Delete => std::fs::remove_file(path).map(|()| true),
    }
}
