//! Labelled posters: label files and the folders that hold their pictures.
//!
//! A label file is a table, usually CSV, with a row for each poster. Two layouts are read:
//!
//! * **A column per genre**: cells are `1`, `0`, or empty for *unknown*; words like `True`, `no` and `NA` are understood.
//!   A column `Genre` beside them is for people and is read for one thing only: a name in it such as
//!   `Action_Adventure`, made of genres that are unknown one by one, says that at least one of them holds.
//! * **A list of genres**: one column `genres` or `genre` holds `Action|Drama`, `Action, Drama`, `['Action', 'Drama']`
//!   or `[{"id": 18, "name": "Drama"}]`. Genres that other rows of the file name and this one does not are `no`; an
//!   empty cell makes every genre of the row unknown.
//!
//! A column is a genre's if its cells are labels; others (title, link, the rows' numbers) are passed over, and
//! [`Dataset::passed_over`] says why. Where the cells do not tell, [`Source::genres`] names the genres.
//!
//! The picture is named by `path`, `image`, `file` or the like (a path below the image folder, usually the label file's
//! own), or by `Id`, `imdbId`, `movieId` or the like (`<Id>.jpg` in the image folder, usually `Images` beside the label
//! file). Names in another case, with other composed accents, with another extension, with back-slashes or from another
//! machine are understood where a file fits.
//!
//! Fields are separated by `,`, `;`, tab or `|`, whichever is most frequent in the header. Text is UTF-8, UTF-16 or
//! Windows-1252. `docs/reference.md` specifies the format.
//!
//! Published lists of genres may stop after a number of genres, in alphabetical order: [`list_limit`] recognises such a
//! set, and [`Dataset::with_list_limit`] turns the labels that may be missing from it into unknown ones.

mod cells;
mod classify;
mod columns;
mod dialect;
mod genre_list;
pub mod list_limit;
mod pictures;
mod table;
mod text;

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use classify::Classified;
pub use columns::{PassedOver, TITLE_COLUMNS, YEAR_COLUMNS};
pub use table::{Labels, Table};

use crate::dataset::list_limit::CutLists;
use crate::metrics::{self, Bootstrap, Evaluation, Predictions};

/// Posters with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Genres, in the order of the labels.
    pub genres: Vec<String>,
    /// The posters.
    pub posters: Vec<LabelledPoster>,
    /// Columns of the label files that are not read.
    pub passed_over: Vec<PassedOver>,
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

/// A label file and the folder of its pictures, written `data.csv=FOLDER`, or `data.csv` where the pictures lie where
/// they usually do: paths are relative to the label file's own folder, `<Id>.jpg` is in `Images` beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The label file.
    pub csv: PathBuf,
    /// The folder that holds the pictures, if it is not the usual one.
    pub images: Option<PathBuf>,
    /// The genres, where the file's cells do not tell which columns are genres; otherwise empty. Case does not matter
    /// in the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub genres: Vec<String>,
}

impl Source {
    /// This file, of which these columns are the genres; without names as before.
    pub fn with_genres(mut self, genres: &[String]) -> Self {
        if !genres.is_empty() {
            self.genres = genres.iter().map(|genre| genre.trim().to_string()).collect();
        }
        self
    }

    fn read(&self) -> Result<Dataset, DatasetError> {
        Table::read(&self.csv, &self.genres)?.dataset(self.images.as_deref())
    }
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (csv, images) = text.rsplit_once('=').map_or((text, None), |(csv, images)| (csv, Some(images.into())));
        Ok(Self { csv: csv.into(), images, genres: Vec::new() })
    }
}

/// Why a label file cannot be used. Each message names the file.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The file cannot be read.
    #[error("{csv}: cannot be read ({cause}); check the path and its permissions")]
    Io {
        /// The file.
        csv: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// The file is no text.
    #[error("{csv}: is {found}; save the table as CSV in UTF-8")]
    NotText {
        /// The file.
        csv: PathBuf,
        /// Kind of file.
        found: &'static str,
    },
    /// The file is not CSV.
    #[error("{csv}: cannot be read as CSV ({cause})")]
    Csv {
        /// The file.
        csv: PathBuf,
        /// The error of the CSV reader.
        cause: csv::Error,
    },
    /// A row has another number of fields than the header.
    #[error(
        "{csv}, line {line}: the row has {found} fields, the header {expected} (found the delimiter {delimiter:?}); \
         quote fields that hold the delimiter"
    )]
    Fields {
        /// The file.
        csv: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The number of the row's fields.
        found: usize,
        /// The number of the header's fields.
        expected: usize,
        /// The delimiter.
        delimiter: char,
    },
    /// The header does not tell where the pictures are, or what their genres are.
    #[error("{csv}: {problem}")]
    Header {
        /// The file.
        csv: PathBuf,
        /// What is missing, and what would do.
        problem: String,
    },
    /// A cell is neither yes, nor no, nor unknown.
    #[error(
        "{csv}, line {line}: the cell of {genre} is \"{cell}\"; it must be 1, 0, or empty for unknown (if {genre} is no \
         genre, name the genres with --genres)"
    )]
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
    /// Reads one or several label files as one set. Its genres are those of all files in order of appearance; a genre
    /// that a file does not know is unknown for that file's posters.
    ///
    /// # Errors
    /// If a file cannot be read or holds no poster, or if a named genre is in no file. It is no error if a picture does
    /// not exist.
    ///
    /// # Panics
    /// If there is no source.
    pub fn read(sources: &[Source]) -> Result<Self, DatasetError> {
        let mut parts = sources.iter().map(Source::read).collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut whole = parts.next().expect("there must be a label file");
        for part in parts {
            let mut genres = whole.genres.clone();
            genres.extend(part.genres.iter().filter(|genre| !whole.genres.contains(genre)).cloned());
            whole = whole.with_genres(&genres);
            whole.passed_over.extend(part.passed_over.iter().cloned());
            whole.posters.extend(part.with_genres(&genres).posters);
        }
        let mut wanted = sources.iter().flat_map(|source| source.genres.iter().map(move |genre| (source, genre)));
        match wanted.find(|(_, genre)| !whole.genres.contains(genre)) {
            Some((source, genre)) => Err(DatasetError::Header {
                csv: source.csv.clone(),
                problem: format!("has no column \"{genre}\", which --genres names; check its spelling"),
            }),
            None => Ok(whole),
        }
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
        Self { genres: genres.to_vec(), posters: posters.collect(), passed_over: self.passed_over }
    }

    /// Differences between the genres of the labels and those of a model, in sentences for people.
    pub fn remarks(&self, genres: &[String]) -> Vec<String> {
        let missing = |names: &[String], others: &[String]| {
            let missing: Vec<&str> = names.iter().filter(|name| !others.contains(name)).map(String::as_str).collect();
            (!missing.is_empty()).then(|| missing.join(", "))
        };
        let only_labels = missing(&self.genres, genres)
            .map(|names| format!("genres of the labels that the model does not know are left out: {names}"));
        let only_model = missing(genres, &self.genres)
            .map(|names| format!("genres of the model that the labels do not know have no metrics: {names}"));
        let passed_over = self.passed_over.iter().filter(|it| genres.iter().any(|name| same(name, &it.column)));
        let passed_over =
            passed_over.map(|it| format!("the column \"{}\" is passed over: it {}", it.column, it.reason));
        only_labels.into_iter().chain(only_model).chain(passed_over).collect()
    }

    /// The same posters with labels for lists of genres that were cut after `limit` genres in alphabetical order: in a
    /// poster with exactly `limit` positive genres, each negative label of a genre that comes alphabetically after the
    /// last positive one becomes unknown. A longer list is whole. The order is that of the bytes of the names. Positive
    /// labels stay, and a second call with the same limit changes nothing.
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

/// Whether two names are the same but for their case.
fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn read(files: &[&str]) -> Result<Dataset, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let sources: Vec<Source> = (files.iter().enumerate())
            .map(|(index, text)| {
                let csv = folder.path().join(format!("{index}.csv"));
                std::fs::write(&csv, text).unwrap();
                Source { csv, images: Some(format!("folder{index}").into()), genres: Vec::new() }
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
            Case {
                csv: ";Id;Action;Drama\n0;tt1.jpg;NA;1,0\n;;;\n1;tt2.jpg;True;no\n",
                genres: &["Action", "Drama"],
                first: ("folder0/tt1.jpg", &[None, YES]),
            },
            Case {
                csv: "id\tadult\tgenres\n862\tFalse\t[{'id': 16, 'name': 'Animation'}, {'id': 35, 'name': 'Comedy'}]\n",
                genres: &["Animation", "Comedy"],
                first: ("folder0/862.jpg", &[YES, YES]),
            },
            Case {
                csv: "path,genres\nsub\\a.jpg,(no genres listed)\nb.jpg,War|None\n",
                genres: &["War"],
                first: ("folder0/sub/a.jpg", &[None]),
            },
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
        let manifest = Dataset::read(&[Source { csv, images: None, genres: Vec::new() }]).unwrap();
        assert_eq!(manifest.genres, ["Comedy", "Romance"]);
    }

    #[test]
    fn errors_name_the_file_and_the_problem() {
        let cases = [
            ("Id,Action\ntt1,1\ntt2,maybe\n", "0.csv, line 3: the cell of Action is \"maybe\""),
            ("Name,Action\ntt1,1\n", "0.csv: has neither a column \"Id\""),
            ("Id\ntt1\n", "0.csv: names no genres"),
            ("path,genres\na.jpg,\n", "0.csv: names no genres"),
            ("Id,Action\n", "0.csv: holds no poster"),
            ("Id,Action\n,\n", "0.csv: holds no poster"),
            (
                "Id,Link,Score\ntt1,http://x/,7.5\n",
                "genres; \"Link\" holds \"http://x/\" (line 2), \"Score\" holds \"7.5\"",
            ),
            ("Id,Action\ntt1,1\ntt2,-1\n", "0.csv: holds 1 and -1, but no 0"),
            ("PK\u{3}\u{4}", "0.csv: is a spreadsheet (.xlsx, .ods) or a ZIP archive; save the table as CSV"),
            ("Id,Action\ntt1,1\ntt2\n", "0.csv, line 3: the row has 1 fields, the header 2 (found the delimiter ',')"),
            ("", "0.csv: holds no poster"),
        ];
        for (csv, expected) in cases {
            let error = read(&[csv]).unwrap_err().to_string();
            assert!(error.contains(expected), "{csv:?}: {error}");
        }
    }

    #[test]
    fn named_genres_are_read_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str, genres: &[&str]| {
            let csv = folder.path().join("data.csv");
            std::fs::write(&csv, text).unwrap();
            let genres: Vec<String> = genres.iter().map(ToString::to_string).collect();
            Dataset::read(&[csv.display().to_string().parse::<Source>().unwrap().with_genres(&genres)])
        };
        let columns = "Id,hit,drama,genres\ntt1,1,0,War\n";
        let set = read(columns, &["Drama"]).unwrap();
        assert_eq!((set.genres, set.posters[0].labels.as_slice()), (vec!["Drama".to_string()], &[NO][..]));
        let set = read("Id,genres\ntt1,drama|War\n", &["Drama", "Western"]).unwrap();
        assert_eq!(set.posters[0].labels, [YES, NO]);
        let cases: [(&str, &[&str], &str); 3] = [
            (columns, &["Drama", "Sport"], "data.csv: has no column \"Sport\", which --genres names"),
            (
                "Id,hit\ntt1,1\n",
                &["Drama"],
                "has no column of a genre that was named (Drama); its other columns are \"hit\"",
            ),
            ("Id,hit\ntt1,x\n", &["hit"], "line 2: the cell of hit is \"x\""),
        ];
        for (text, genres, expected) in cases {
            let error = read(text, genres).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn differences_between_labels_and_a_model_are_said() {
        let set = read(&["Id,Drama,Noir,War\ntt1,1,0,2\ntt2,1,0,3\ntt3,1,0,4\n"]).unwrap();
        let model = ["Drama", "War"].map(String::from);
        assert_eq!(
            set.remarks(&model),
            [
                "genres of the labels that the model does not know are left out: Noir",
                "genres of the model that the labels do not know have no metrics: War",
                "the column \"War\" is passed over: it holds \"2\" (line 2)",
            ]
        );
        assert!(set.remarks(&set.genres).is_empty());
    }

    /// Bytes of `text` in one of five encodings.
    fn encoded(text: &str, encoding: usize) -> Vec<u8> {
        match encoding {
            0 => text.into(),
            1 => format!("\u{feff}{text}").into(),
            2 => format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
            3 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => text.chars().map(|char| u8::try_from(char).unwrap()).collect(),
        }
    }

    /// Yes, no and unknown as programs write them.
    const WORDS: [[&str; 3]; 7] = [
        ["1", "0", ""],
        ["1.0", "0.0", "NA"],
        ["1,0", "0,0", "#N/A"],
        ["True", "False", "nan"],
        ["yes", "no", "?"],
        ["t", "f", "null"],
        ["Y", "N", "\\N"],
    ];

    proptest! {
        #[test]
        fn a_table_reads_the_same_in_every_dialect(
            labels in prop::collection::vec(prop::collection::vec(prop::option::of(any::<bool>()), 3), 1..8),
            words in prop::sample::select(&WORDS),
            delimiter in prop::sample::select(&dialect::DELIMITERS),
            end in prop::sample::select(&["\n", "\r\n", "\r"]),
            encoding in 0_usize..5,
            blank_row in any::<bool>(),
            index in any::<bool>(),
        ) {
            let genres = ["Drama", "Sport", "War"];
            let mut csv = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
            let first = |field: &str| index.then(|| field.to_string());
            csv.write_record(first("").into_iter().chain(["Id", "Title"].into_iter().chain(genres).map(String::from))).unwrap();
            for (row, labels) in labels.iter().enumerate() {
                let cells = labels.iter().map(|label| words[label.map_or(2, |yes| usize::from(!yes))].to_string());
                let film = [format!("tt{row}"), format!("Amélie, \"{row}\"; a|b\tc")];
                csv.write_record(first(&row.to_string()).into_iter().chain(film).chain(cells)).unwrap();
                if blank_row {
                    csv.write_record(vec![""; 5 + usize::from(index)]).unwrap();
                }
            }
            let text = String::from_utf8(csv.into_inner().unwrap()).unwrap().replace('\n', end);
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, encoded(&text, encoding)).unwrap();
            let table = Table::read(file.path(), &[]).unwrap();
            prop_assert_eq!(table.labels().unwrap(), (genres.map(String::from).to_vec(), labels));
        }

        #[test]
        fn lists_read_the_same_in_every_notation(
            lists in prop::collection::vec(prop::sample::subsequence(&["Children's", "Drama", "Film-Noir", "War"][..], 0..4), 1..6),
            notation in 0_usize..8,
        ) {
            // A file whose lists are all empty names no genres.
            prop_assume!(!lists.concat().is_empty());
            let joined = |list: &[&str], each: &dyn Fn(&str) -> String, separator: &str| {
                list.iter().map(|name| each(name)).collect::<Vec<_>>().join(separator)
            };
            let python = |name: &str| {
                if name.contains('\'') { format!("\"{name}\"") } else { format!("'{name}'") }
            };
            let written = |list: &[&str]| match notation {
                0 => list.join("|"),
                1 => list.join(", "),
                2 => list.join(";"),
                3 => list.join("/"),
                4 => serde_json::to_string(list).unwrap(),
                5 => format!("[{}]", joined(list, &python, ", ")),
                6 => format!("[{}]", joined(list, &|name| format!("{{'id': 1, 'name': {}}}", python(name)), ", ")),
                _ => format!("[{}]", joined(list, &|name| format!("{{\"name\": \"{name}\", \"id\": 7}}"), ",")),
            };
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(["Id", "genres"]).unwrap();
            for (row, list) in lists.iter().enumerate() {
                csv.write_record([format!("tt{row}"), written(list)]).unwrap();
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, csv.into_inner().unwrap()).unwrap();
            let (genres, labels) = Table::read(file.path(), &[]).unwrap().labels().unwrap();
            for (list, labels) in lists.iter().zip(labels) {
                let expected = genres.iter().map(|genre| (!list.is_empty()).then(|| list.contains(&genre.as_str())));
                prop_assert_eq!(labels, expected.collect::<Vec<_>>());
            }
            prop_assert!(lists.iter().flatten().all(|name| genres.iter().any(|genre| genre == name)));
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
