//! Results of a pass: JSON Lines, CSV, the HTML gallery, sidecar files, and changes of NFO files.
//!
//! JSON Lines, CSV and the gallery hold every classified poster of the collection. As files they are written
//! atomically, and only if their content has changed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::gallery::{self, Gallery};
use super::nfo::{self, Change, NfoError, NfoLocation};
use super::poster_selection::Kind;
use super::state::{CachedPrediction, ScannedPoster};
use crate::atomic_file::{self, AtomicFile};
use crate::model::Model;
use crate::operating_point::OperatingPoint;

/// Number of genres that the gallery shows for a poster without any genre at or above its threshold.
const LIKELIEST: usize = 2;

/// A model and one of its operating points.
#[derive(Clone, Copy)]
pub struct Tagger<'a> {
    /// The model whose predictions are cached.
    pub model: &'a Model,
    /// The thresholds to apply.
    pub point: &'a OperatingPoint,
}

/// A poster and its genres at an operating point.
#[derive(Clone, Debug)]
pub struct TaggedPoster<'a> {
    /// The poster.
    pub poster: &'a ScannedPoster,
    /// The probabilities and the thumbnail.
    pub prediction: &'a CachedPrediction,
    /// Indices, in card order, of the genres at or above their threshold, the most probable first.
    pub genres: Vec<usize>,
}

impl Tagger<'_> {
    /// Applies the operating point to a prediction.
    ///
    /// # Panics
    /// If the prediction is that of a model with another number of genres.
    pub fn tag<'a>(&self, poster: &'a ScannedPoster, prediction: &'a CachedPrediction) -> TaggedPoster<'a> {
        let probabilities = &prediction.probabilities;
        let mut genres = self.point.decide(probabilities);
        genres.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        TaggedPoster { poster, prediction, genres }
    }

    /// The names of a poster's genres, the most probable first.
    pub fn genre_names(&self, tagged: &TaggedPoster) -> Vec<&str> {
        tagged.genres.iter().map(|genre| self.model.card().genres[*genre].as_str()).collect()
    }

    fn record<'a>(&'a self, tagged: &'a TaggedPoster) -> Record<'a> {
        let all = self.model.card().genres.iter().zip(&tagged.prediction.probabilities);
        Record {
            path: tagged.poster.path.to_string_lossy().into_owned(),
            title: &tagged.poster.title.title,
            year: tagged.poster.title.year,
            genres: self.genre_names(tagged),
            probabilities: all.map(|(genre, probability)| (genre.clone(), (*probability).into())).collect(),
            operating_point: &self.point.name,
            model: self.model.id(),
            size: tagged.poster.size,
            mtime: tagged.poster.mtime as f64 / 1e9,
        }
    }
}

/// The JSON object of a poster.
#[derive(Serialize)]
struct Record<'a> {
    path: String,
    title: &'a str,
    year: Option<u16>,
    genres: Vec<&'a str>,
    probabilities: serde_json::Map<String, serde_json::Value>,
    operating_point: &'a str,
    model: String,
    /// Size of the image file in bytes.
    size: i64,
    /// Modification time of the image file, in seconds since 1970.
    mtime: f64,
}

/// A file with an entry for every poster, written one poster at a time.
pub enum Output {
    /// JSON Lines: an object per poster.
    Jsonl(AtomicFile),
    /// CSV: a row per poster, a column per genre.
    Csv(Box<csv::Writer<AtomicFile>>),
    /// The HTML gallery.
    Html {
        /// The gallery's writer.
        page: Box<Gallery<AtomicFile>>,
        /// Folder of the page, to which the addresses of posters are relative.
        folder: PathBuf,
    },
}

impl Output {
    /// Begins a JSON Lines file.
    pub fn jsonl(file: AtomicFile) -> Self {
        Self::Jsonl(file)
    }

    /// Begins a CSV file and writes its header.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn csv(file: AtomicFile, tagger: Tagger) -> io::Result<Self> {
        let mut csv = csv::Writer::from_writer(file);
        let own = ["path", "title", "year", "genres", "operating_point", "model", "size", "mtime"];
        csv.write_record(own.into_iter().chain(tagger.model.card().genres.iter().map(String::as_str)))?;
        Ok(Self::Csv(Box::new(csv)))
    }

    /// Begins an HTML gallery of the collection in folder `library`. The page will be opened in `folder`; the addresses of
    /// posters are relative to it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn html(file: AtomicFile, folder: &Path, library: &Path, tagger: Tagger) -> io::Result<Self> {
        let card = tagger.model.card();
        let header = gallery::Header {
            library: &library.to_string_lossy(),
            genres: &card.genres,
            model: &tagger.model.id(),
            operating_point: &tagger.point.name,
        };
        let page = Box::new(Gallery::begin(file, &header)?);
        Ok(Self::Html { page, folder: folder.to_path_buf() })
    }

    /// Writes a poster.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn add(&mut self, tagger: Tagger, tagged: &TaggedPoster) -> io::Result<()> {
        match self {
            Self::Jsonl(file) => {
                serde_json::to_writer(&mut *file, &tagger.record(tagged))?;
                writeln!(file)
            }
            Self::Csv(csv) => {
                let Record { path, title, year, genres, operating_point, model, size, mtime, .. } =
                    tagger.record(tagged);
                let year = year.map(|year| year.to_string()).unwrap_or_default();
                let (size, mtime) = (size.to_string(), mtime.to_string());
                let own = [&path, title, &year, &genres.join("|"), operating_point, &model, &size, &mtime];
                let all = tagged.prediction.probabilities.iter().map(f32::to_string);
                Ok(csv.write_record(own.into_iter().map(ToString::to_string).chain(all))?)
            }
            Self::Html { page, folder } => {
                let probabilities = &tagged.prediction.probabilities;
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
                    href: &gallery::href(folder, &tagged.poster.path),
                    title: &tagged.poster.title.title,
                    year: tagged.poster.title.year,
                    genres: &genres,
                    thumbnail: &tagged.prediction.thumbnail,
                })
            }
        }
    }

    /// Ends the file, and returns whether its content has changed; see [`AtomicFile::finish`].
    ///
    /// # Errors
    /// If the file cannot be written; then the old one is unchanged.
    pub fn finish(self) -> io::Result<bool> {
        match self {
            Self::Jsonl(file) => file.finish(),
            Self::Csv(csv) => csv.into_inner().map_err(|error| error.into_error())?.finish(),
            Self::Html { page, .. } => page.finish()?.finish(),
        }
    }
}

/// The format of sidecar files: a file beside each poster, with the poster's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sidecar {
    /// `poster.txt`: the genres, separated by a comma and a space.
    Txt,
    /// `poster.json`: the poster's object of the JSON Lines file.
    Json,
}

impl Sidecar {
    /// The path and the content of a poster's sidecar file.
    pub fn render(self, tagger: Tagger, tagged: &TaggedPoster) -> (PathBuf, Vec<u8>) {
        let (extension, mut text) = match self {
            Self::Txt => ("txt", tagger.genre_names(tagged).join(", ")),
            Self::Json => {
                let text = serde_json::to_string_pretty(&tagger.record(tagged)).expect("texts and numbers are JSON");
                ("json", text)
            }
        };
        text.push('\n');
        (tagged.poster.path.with_extension(extension), text.into_bytes())
    }

    /// Whether an existing file may be overwritten: a text of nothing but genre names, or a JSON object with the keys
    /// `probabilities` and `model`.
    pub fn may_overwrite(self, tagger: Tagger, bytes: &[u8]) -> bool {
        let genres = &tagger.model.card().genres;
        match self {
            Self::Txt => str::from_utf8(bytes).is_ok_and(|text| {
                text.trim().split(", ").all(|name| name.is_empty() || genres.iter().any(|genre| genre == name))
            }),
            Self::Json => serde_json::from_slice::<serde_json::Value>(bytes)
                .is_ok_and(|value| value.get("probabilities").is_some() && value.get("model").is_some()),
        }
    }
}

/// An operation on the NFO files of a film or series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NfoAction {
    /// Add genres to the existing ones; see [`nfo::add`].
    Add,
    /// Set aside the existing genres, and add genres.
    Replace,
    /// Remove the genres that were added; see [`nfo::undo`].
    Undo,
}

/// The NFO files of a poster's film or series, and the change that each needs. Nothing is written. There are no NFO
/// files if the film's video is elsewhere.
pub fn nfo_changes(
    action: NfoAction,
    tagger: Tagger,
    tagged: &TaggedPoster,
) -> impl Iterator<Item = (PathBuf, Result<Change, NfoError>)> {
    let ScannedPoster { path, title, kind, video, common_name, has_own_folder, .. } = tagged.poster;
    let location = NfoLocation::new(*kind, path, video.as_deref(), common_name.as_deref(), *has_own_folder);
    let new = nfo::NewNfo {
        root: if *kind == Kind::Show { nfo::Root::TvShow } else { nfo::Root::Movie },
        title: Some(title.title.clone()).filter(|title| !title.is_empty()),
        year: title.year,
    };
    let genres: Vec<String> = tagger.genre_names(tagged).into_iter().map(str::to_string).collect();
    location.map(nfo::nfo_paths).unwrap_or_default().into_iter().map(move |path| {
        let genres: Vec<&str> = genres.iter().map(String::as_str).collect();
        let change = match action {
            NfoAction::Undo => nfo::revert(&path),
            action => nfo::apply(&path, &new, &genres, action == NfoAction::Replace),
        };
        (path, change)
    })
}

/// Applies a change to a file, and returns whether the file has changed.
///
/// # Errors
/// If the file cannot be written or removed.
pub fn apply_change(path: &Path, change: &Change) -> io::Result<bool> {
    match change {
        Change::Unchanged => Ok(false),
        Change::Write(bytes) => atomic_file::write(path, bytes),
        Change::Delete => std::fs::remove_file(path).map(|()| true),
    }
}
