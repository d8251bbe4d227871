//! Labelled posters: CSV files and the folders that hold their pictures.
//!
//! Two layouts are read. Both need a column that says where the picture is: `path`, `image`, `file` or `filename` (a
//! path below the image folder, usually the CSV file's own), or `Id`, `imdbId`, `imdb_id` or `tconst` (the picture is
//! `<Id>.jpg` in the image folder, usually `Images` beside the CSV file).
//!
//! * **A column a genre**: cells are `1`, `0`, or empty for *unknown*. A column `Genre` beside them is for people and
//!   is read for one thing only: a name in it such as `Action_Adventure`, made of genres that are unknown one by one,
//!   says that at least one of them holds.
//! * **A list of genres**: one column `genres` or `genre` holds `Action|Drama`, `Action, Drama` or
//!   `['Action', 'Drama']`. Genres that other rows of the file name and this one does not are `no`; an empty cell makes
//!   every genre of the row unknown.
//!
//! A column is a genre's if its first cell is `1`, `0` or empty; others (title, link, year) are passed over. Bytes that
//! are not UTF-8 (the set "Movie Genre from its Poster" is Latin-1) do no harm there.
//!
//! Published lists of genres may stop after a number of genres, in alphabetical order: [`list_limit`] recognises such a
//! set, and [`Dataset::with_list_limit`] turns the labels that may be missing from it into unknown ones.

pub mod list_limit;
mod table;

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use table::Table;

use crate::dataset::list_limit::CutLists;
use crate::metrics::{self, Bootstrap, Evaluation, Predictions};

/// Names, in lower case, of the column of a film's title.
pub const TITLE_COLUMNS: [&str; 3] = ["title", "primarytitle", "movie_title"];

/// Names, in lower case, of the column of the year in which a film came out.
pub const YEAR_COLUMNS: [&str; 4] = ["year", "startyear", "release_year", "title_year"];

/// Posters with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Genres, in the order of the labels.
    pub genres: Vec<String>,
    /// The posters.
    pub posters: Vec<LabelledPoster>,
}

/// A poster and what is known of its genres.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledPoster {
    /// The row's own name for the poster: its `Id` or its path as written.
    pub id: String,
    /// The picture.
    pub path: PathBuf,
    /// One label a genre, `[G]`: yes, no, or unknown.
    pub labels: Vec<Option<bool>>,
    /// Groups of genres, by their places in the labels, that are unknown one by one; of each, at least one holds.
    pub any_of: Vec<Vec<usize>>,
}

/// A CSV file and the folder of its pictures, written `data.csv=FOLDER`, or `data.csv` where the pictures lie where
/// they usually do: paths are relative to the CSV file's own folder, `<Id>.jpg` is in `Images` beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The CSV file.
    pub csv: PathBuf,
    /// The folder that holds the pictures, if it is not the usual one.
    pub images: Option<PathBuf>,
}

impl Source {
    fn read(&self) -> Result<Dataset, DatasetError> {
        Table::read(&self.csv)?.dataset(self.images.as_deref())
    }
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.rsplit_once('=') {
            Some((csv, images)) => Self { csv: csv.into(), images: Some(images.into()) },
            None => Self { csv: text.into(), images: None },
        })
    }
}

/// Why a CSV file cannot be used. Each message names the file.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The file cannot be read, or is not CSV.
    #[error("{csv}: cannot be read as CSV ({cause})")]
    Csv {
        /// The file.
        csv: PathBuf,
        /// The error of the CSV reader.
        cause: csv::Error,
    },
    /// The header does not tell where the pictures are, or what their genres are.
    #[error("{csv}: {problem}")]
    Header {
        /// The file.
        csv: PathBuf,
        /// What is missing, and what would do.
        problem: &'static str,
    },
    /// A cell is neither yes, nor no, nor unknown.
    #[error("{csv}, line {line}: the cell of {genre} is \"{cell}\"; it must be 1, 0, or empty for unknown")]
    Cell {
        /// The file.
        csv: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The genre whose column it is.
        genre: String,
        /// What stands there.
        cell: String,
    },
    /// There is no row.
    #[error("{csv}: holds no poster; it must have a row for each")]
    Empty {
        /// The file.
        csv: PathBuf,
    },
}

impl Dataset {
    /// Reads one or several CSV files as one set. Its genres are those of all files in order of appearance; a genre
    /// that a file does not know is unknown for that file's posters.
    ///
    /// # Errors
    /// If a file cannot be read or holds no poster. Whether the pictures exist is not looked at.
    ///
    /// # Panics
    /// If there is no source.
    pub fn read(sources: &[Source]) -> Result<Self, DatasetError> {
        let mut parts = sources.iter().map(Source::read).collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut whole = parts.next().expect("there must be a CSV file");
        for part in parts {
            let mut genres = whole.genres.clone();
            genres.extend(part.genres.iter().filter(|genre| !whole.genres.contains(genre)).cloned());
            whole = whole.with_genres(&genres);
            whole.posters.extend(part.with_genres(&genres).posters);
        }
        Ok(whole)
    }

    /// The same posters with labels for another list of genres; genres that this set does not know become unknown,
    /// genres that are not in the list are dropped.
    pub fn with_genres(self, genres: &[String]) -> Self {
        let places: Vec<Option<usize>> =
            genres.iter().map(|genre| self.genres.iter().position(|own| own == genre)).collect();
        let renumbered = |group: &Vec<usize>| {
            group.iter().map(|member| places.iter().position(|place| *place == Some(*member))).collect::<Option<_>>()
        };
        let posters = self.posters.into_iter().map(|poster| LabelledPoster {
            labels: places.iter().map(|place| place.and_then(|place| poster.labels[place])).collect(),
            // Of a group that has lost a member nothing is known.
            any_of: poster.any_of.iter().filter_map(renumbered).collect(),
            ..poster
        });
        Self { genres: genres.to_vec(), posters: posters.collect() }
    }

    /// The same posters with labels for lists of genres that were cut after `limit` genres in alphabetical order: in a
    /// poster with at least `limit` positive genres, each negative label of a genre that comes alphabetically after the
    /// last positive one becomes unknown. The order is that of the bytes of the names. Positive labels stay, and a
    /// second call with the same limit changes nothing.
    ///
    /// Call this before [`Dataset::with_genres`], which may drop the last positive genre of a poster.
    pub fn with_list_limit(mut self, limit: usize) -> Self {
        for poster in &mut self.posters {
            list_limit::mask(&self.genres, &mut poster.labels, limit);
        }
        self
    }

    /// Whether the genre lists were cut after a number of genres in alphabetical order; see [`list_limit`].
    pub fn cut_lists(&self) -> Option<CutLists> {
        list_limit::detect(&self.genres, self.posters.iter().map(|poster| poster.labels.as_slice()))
    }

    /// Every label, `[N, G]`.
    pub fn labels(&self) -> Vec<Option<bool>> {
        self.posters.iter().flat_map(|poster| poster.labels.iter().copied()).collect()
    }

    /// The figures of `probabilities`, `[N, G]`, for these posters, at thresholds `[G]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn evaluate(&self, probabilities: &[f32], thresholds: &[f32], bootstrap: Option<Bootstrap>) -> Evaluation {
        let scored = Predictions { genres: &self.genres, probabilities, labels: &self.labels() };
        metrics::evaluate(&scored, thresholds, bootstrap)
    }

    /// The number of posters that have each genre, `[G]`.
    pub fn support(&self) -> Vec<usize> {
        self.count(Some(true))
    }

    /// The number of posters with that label for each genre, `[G]`.
    pub fn count(&self, label: Option<bool>) -> Vec<usize> {
        (0..self.genres.len())
            .map(|genre| self.posters.iter().filter(|poster| poster.labels[genre] == label).count())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(files: &[&str]) -> Result<Dataset, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let sources: Vec<Source> = (files.iter().enumerate())
            .map(|(index, text)| {
                let csv = folder.path().join(format!("{index}.csv"));
                std::fs::write(&csv, text).unwrap();
                Source { csv, images: Some(format!("folder{index}").into()) }
            })
            .collect();
        Dataset::read(&sources)
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn layouts() {
        struct Case {
            csv: &'static str,
            genres: &'static [&'static str],
            first: (&'static str, &'static [Option<bool>]),
        }
        let cases = [
            Case {
                csv: "Id,Genre,Action,Drama\ntt1,['Drama'],0,1\n",
                genres: &["Action", "Drama"],
                first: ("folder0/tt1.jpg", &[NO, YES]),
            },
            Case {
                csv: "id,Action,Drama\n tt1 ,,1.0\n",
                genres: &["Action", "Drama"],
                first: ("folder0/tt1.jpg", &[None, YES]),
            },
            Case {
                csv: "path,genres\na/b.png,War|Drama\nc.jpg,Action\n",
                genres: &["Action", "Drama", "War"],
                first: ("folder0/a/b.png", &[NO, YES, YES]),
            },
            Case {
                csv: "genre,image\n\"['Sci-Fi', 'War']\",x.webp\n",
                genres: &["Sci-Fi", "War"],
                first: ("folder0/x.webp", &[YES, YES]),
            },
            Case {
                csv: "file,genre\nx.jpg,\ny.jpg,\"War, Drama\"\n",
                genres: &["Drama", "War"],
                first: ("folder0/x.jpg", &[None, None]),
            },
            Case {
                csv: "imdbId,Link,Title,Genre,Poster\n114709,http://x/,Toy Story,Animation|Comedy,http://y/z.jpg\n",
                genres: &["Animation", "Comedy"],
                first: ("folder0/114709.jpg", &[YES, YES]),
            },
            Case { csv: "Id,Genre\ntt1,['News']\n", genres: &["News"], first: ("folder0/tt1.jpg", &[YES]) },
        ];
        for Case { csv, genres, first } in cases {
            let manifest = read(&[csv]).unwrap();
            assert_eq!(manifest.genres, genres, "{csv}");
            assert_eq!(manifest.posters[0].path, Path::new(first.0), "{csv}");
            assert_eq!(manifest.posters[0].labels, first.1, "{csv}");
        }
    }

    #[test]
    fn several_files_become_one_set() {
        let manifest = read(&["Id,Action,Drama\ntt1,1,0\n", "path,genres\nx.jpg,War|Drama\n"]).unwrap();
        assert_eq!(manifest.genres, ["Action", "Drama", "War"]);
        assert_eq!(manifest.posters[0].labels, [YES, NO, None]);
        assert_eq!(manifest.posters[1].labels, [None, YES, YES]);
        assert_eq!(manifest.posters[1].path, Path::new("folder1/x.jpg"));
        assert_eq!(manifest.support(), [1, 1, 1]);
        assert_eq!(manifest.count(None), [1, 0, 1]);
    }

    #[test]
    fn a_group_says_that_at_least_one_of_its_unknown_members_holds() {
        let header = "Id,Genre,Action,Adventure,Drama";
        let cases: [(&str, &[&[usize]]); 5] = [
            ("tt1,\"['Action_Adventure', 'Drama']\",,,1", &[&[0, 1]]),
            ("tt1,['Drama'],0,0,1", &[]),
            ("tt1,['Action_Adventure'],1,,0", &[]),
            ("tt1,['Action_Western'],,,0", &[]),
            ("tt1,['Action'],,,0", &[]),
        ];
        for (row, expected) in cases {
            let manifest = read(&[&format!("{header}\n{row}\n")]).unwrap();
            assert_eq!(manifest.posters[0].any_of, expected, "{row}");
        }
        let manifest = read(&[&format!("{header}\n{}\n", cases[0].0)]).unwrap();
        let genres = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let reordered = manifest.clone().with_genres(&genres(&["Drama", "Adventure", "War", "Action"]));
        assert_eq!(reordered.posters[0].any_of, [[3, 1]]);
        assert!(manifest.with_genres(&genres(&["Action", "Drama"])).posters[0].any_of.is_empty());
    }

    #[test]
    fn titles_in_latin_1_do_not_stop_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("latin1.csv");
        std::fs::write(&csv, b"imdbId,Title,Genre\n1,Am\xe9lie,Comedy|Romance\n").unwrap();
        let manifest = Dataset::read(&[Source { csv, images: None }]).unwrap();
        assert_eq!(manifest.genres, ["Comedy", "Romance"]);
    }

    #[test]
    fn errors_name_the_file_and_the_problem() {
        let cases = [
            ("Id,Action\ntt1,1\ntt2,maybe\n", "0.csv, line 3: the cell of Action is \"maybe\""),
            ("Name,Action\ntt1,1\n", "0.csv: has neither a column \"Id\""),
            ("Id\ntt1\n", "0.csv: names no genres"),
            ("Id,Action\n", "0.csv: holds no poster"),
            ("Id,Action\ntt1,1,1\n", "0.csv: cannot be read as CSV"),
            ("", "0.csv: holds no poster"),
        ];
        for (csv, expected) in cases {
            let error = read(&[csv]).unwrap_err().to_string();
            assert!(error.contains(expected), "{csv:?}: {error}");
        }
    }

    #[test]
    fn pictures_lie_where_they_are_said_or_usually_do() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            ("Id,Action\ntt1,1\n", "", "Images/tt1.jpg"),
            ("path,genres\na/tt1.png,Action\n", "", "a/tt1.png"),
            ("Id,Action\ntt1,1\n", "=elsewhere", "elsewhere/tt1.jpg"),
            ("path,genres\na/tt1.png,Action\n", "=elsewhere", "elsewhere/a/tt1.png"),
        ];
        for (text, suffix, expected) in cases {
            let csv = folder.path().join("data.csv");
            std::fs::write(&csv, text).unwrap();
            let source: Source = format!("{}{suffix}", csv.display()).parse().unwrap();
            let expected = if suffix.is_empty() { folder.path().join(expected) } else { expected.into() };
            assert_eq!(Dataset::read(&[source]).unwrap().posters[0].path, expected, "{text}{suffix}");
        }
    }
}
