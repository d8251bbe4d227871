//! A label file as it is written: columns, rows, genre lists and cells of labels.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::cells::{label, number};
use super::columns::{Columns, PassedOver, position};
use super::dialect::{Problem, Records, records};
use super::genre_list::genre_lists;
use super::pictures::Pictures;
use super::text::decode;
use super::{Dataset, DatasetError, LabelledPoster, same};

/// The label of each genre, `[G]`; `None` is unknown.
pub type Labels = Vec<Option<bool>>;

/// A label file. [`Dataset`] is made from one; a program that writes a file in the same layout reads the table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file.
    pub csv: PathBuf,
    /// The header as written.
    pub header: StringRecord,
    /// The rows as written, without blank ones, each with its line, counted from 1.
    pub rows: Vec<(u64, StringRecord)>,
    /// Names of the columns, trimmed.
    names: Vec<String>,
    columns: Columns,
    /// The genres of the column of lists, of each row; empty lists are unknown.
    lists: Vec<Vec<String>>,
    /// The genres to read, if they were named.
    wanted: Vec<String>,
}

impl Table {
    /// Reads a label file. `genres` names its genres where its cells do not tell them; it may be empty.
    ///
    /// # Errors
    /// If the file cannot be read as a table, has no row, or tells no genres.
    pub fn read(csv: &Path, genres: &[String]) -> Result<Self, DatasetError> {
        let csv: PathBuf = csv.into();
        let bytes = std::fs::read(&csv).map_err(|cause| DatasetError::Io { csv: csv.clone(), cause })?;
        let text = decode(&bytes).map_err(|found| DatasetError::NotText { csv: csv.clone(), found })?;
        let Records { header, rows } = records(&text).map_err(|problem| match problem {
            Problem::Csv(cause) => DatasetError::Csv { csv: csv.clone(), cause },
            Problem::Fields { line, found, expected, delimiter } => {
                DatasetError::Fields { csv: csv.clone(), line, found, expected, delimiter }
            }
        })?;
        if rows.is_empty() {
            return Err(DatasetError::Empty { csv });
        }
        let names: Vec<String> = header.iter().map(|name| name.trim().into()).collect();
        let cells = |column: usize| rows.iter().map(|(line, row)| (*line, row[column].trim())).collect();
        let columns = Columns::find(&names, cells, genres);
        let lists = match columns.list {
            Some(list) => genre_lists(rows.iter().map(|(_, row)| &row[list])),
            None => vec![Vec::new(); rows.len()],
        };
        let has_lists = lists.iter().any(|list| !list.is_empty()) || (columns.list.is_some() && !genres.is_empty());
        if columns.genres.is_empty() && !has_lists {
            return Err(DatasetError::Header { csv, problem: no_genres(&columns.passed_over, genres) });
        }
        Ok(Self { csv, header, rows, names, columns, lists, wanted: genres.to_vec() })
    }

    /// Index of the first of the columns with one of these names, which are in lower case.
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        position(&self.names, names)
    }

    /// A cell as trimmed text.
    pub fn cell(&self, row: usize, column: usize) -> &str {
        self.rows[row].1[column].trim()
    }

    /// The columns of labels: the index of each, and its genre.
    pub fn genre_columns(&self) -> impl Iterator<Item = (usize, &str)> {
        self.columns.genres.iter().map(|(index, genre)| (*index, genre.as_str()))
    }

    /// The columns that are not read, apart from blank ones.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.columns.passed_over
    }

    /// The genres, and the labels of each row: of the columns of labels, or of the lists where there are none.
    ///
    /// # Errors
    /// If a cell of a genre's column is no label, or if cells are 1 and -1 only.
    pub fn labels(&self) -> Result<(Vec<String>, Vec<Labels>), DatasetError> {
        if self.columns.genres.is_empty() {
            return Ok(self.labels_of_lists());
        }
        let genres = self.genre_columns().map(|(_, genre)| genre.to_string()).collect();
        let labels = (0..self.rows.len()).map(|row| {
            let cells = self.genre_columns().map(|(column, genre)| {
                label(self.cell(row, column)).ok_or_else(|| DatasetError::Cell {
                    csv: self.csv.clone(),
                    line: self.rows[row].0,
                    genre: genre.into(),
                    cell: self.cell(row, column).into(),
                })
            });
            cells.collect()
        });
        let labels: Vec<Labels> = labels.collect::<Result<_, _>>()?;
        let has = |wanted| labels.iter().flatten().any(|label| *label == Some(wanted));
        let is_minus_one = |(column, _)| (0..self.rows.len()).any(|row| number(self.cell(row, column)) == Some(-1.0));
        if has(true) && !has(false) && self.genre_columns().any(is_minus_one) {
            let problem = "holds 1 and -1, but no 0; write 0 for no (-1 is read as unknown)".into();
            return Err(DatasetError::Header { csv: self.csv.clone(), problem });
        }
        Ok((genres, labels))
    }

    /// A table of lists knows the genres that were named, or those that at least one of its lists names.
    fn labels_of_lists(&self) -> (Vec<String>, Vec<Labels>) {
        let listed: BTreeSet<&String> = self.lists.iter().flatten().collect();
        let genres: Vec<String> =
            if self.wanted.is_empty() { listed.into_iter().cloned().collect() } else { self.wanted.clone() };
        let labels = |list: &Vec<String>| {
            // Without named genres, names that differ in case are different genres.
            let is = |name: &str, genre: &str| if self.wanted.is_empty() { name == genre } else { same(name, genre) };
            let has = |genre: &String| list.iter().any(|name| is(name, genre));
            genres.iter().map(|genre| (!list.is_empty()).then(|| has(genre))).collect()
        };
        let labels = self.lists.iter().map(labels).collect();
        (genres, labels)
    }

    /// The posters, whose pictures are in `images`, or where they usually are.
    pub(super) fn dataset(&self, images: Option<&Path>) -> Result<Dataset, DatasetError> {
        let Some(name_column) = self.columns.path.or(self.columns.id) else {
            let problem = "has neither a column \"Id\" nor a column \"path\"; add one that says where each picture is";
            return Err(DatasetError::Header { csv: self.csv.clone(), problem: problem.into() });
        };
        let by_path = self.columns.path.is_some();
        let folder = self.csv.parent().unwrap_or(Path::new(""));
        let usual = if by_path { folder.to_path_buf() } else { folder.join("Images") };
        let mut pictures = Pictures::new(images.unwrap_or(&usual), folder);

        let (genres, labels) = self.labels()?;
        let poster = |(row, labels): (usize, Labels)| {
            let id = self.cell(row, name_column);
            let group = |name: &String| {
                let members = name.split('_').map(|member| genres.iter().position(|genre| genre == member));
                let group: Vec<usize> = members.collect::<Option<_>>()?;
                (group.len() > 1 && group.iter().all(|member| labels[*member].is_none())).then_some(group)
            };
            let any_of: &[String] = if self.columns.genres.is_empty() { &[] } else { &self.lists[row] };
            LabelledPoster {
                path: if by_path { pictures.by_path(id) } else { pictures.by_id(id) },
                id: id.into(),
                any_of: any_of.iter().filter_map(group).collect(),
                labels,
            }
        };
        let posters = labels.into_iter().enumerate().map(poster).collect();
        Ok(Dataset { genres, posters, passed_over: self.columns.passed_over.clone() })
    }
}

/// Why no genres were found, and what would do.
fn no_genres(passed_over: &[PassedOver], wanted: &[String]) -> String {
    const MOST: usize = 5;
    if !wanted.is_empty() {
        let columns: Vec<String> = passed_over.iter().map(|it| format!("\"{}\"", it.column)).collect();
        return format!(
            "has no column of a genre that was named ({}); its other columns are {}",
            wanted.join(", "),
            if columns.is_empty() { "none".into() } else { columns.join(", ") }
        );
    }
    let reasons: Vec<String> =
        passed_over.iter().take(MOST).map(|it| format!("\"{}\" {}", it.column, it.reason)).collect();
    let more = if passed_over.len() > MOST { ", …" } else { "" };
    let found = if reasons.is_empty() { String::new() } else { format!("; {}{more}", reasons.join(", ")) };
    format!(
        "names no genres{found}; add a column of 0 and 1 for each, or a column \"genres\" of lists like Action|Drama, \
         or name the columns with --genres"
    )
}
