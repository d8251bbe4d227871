//! A CSV file of labels as it is written: columns, rows, genre lists and 0/1 cells.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, StringRecord};

use super::{Dataset, DatasetError, LabelledPoster};

/// The label of each genre, `[G]`; `None` is unknown.
pub type Labels = Vec<Option<bool>>;

/// A CSV file of labels. [`Dataset`] is made from one; a program that writes a file in the same layout reads the table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file.
    pub csv: PathBuf,
    /// The header as written.
    pub header: ByteRecord,
    /// The rows as written, each with its line, counted from 1.
    pub rows: Vec<(u64, ByteRecord)>,
    /// Names of the columns, trimmed.
    names: Vec<String>,
    /// Index of the column with the poster's id, if there is one.
    id: Option<usize>,
    /// Index of the column with the poster's path, if there is one.
    path: Option<usize>,
    /// Index of the column with a list of genres, if there is one.
    list: Option<usize>,
    /// Indices of the columns that hold 0 and 1.
    genre_columns: Vec<usize>,
}

impl Table {
    /// Reads a CSV file.
    ///
    /// # Errors
    /// If the file cannot be read as CSV, has no row, or names no genres.
    pub fn read(csv: &Path) -> Result<Self, DatasetError> {
        let csv_error = |cause| DatasetError::Csv { csv: csv.into(), cause };
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(csv).map_err(csv_error)?;
        let mut rows = Vec::new();
        for record in reader.byte_records() {
            let record = record.map_err(csv_error)?;
            rows.push((record.position().map_or(0, csv::Position::line), record));
        }
        if rows.len() < 2 {
            return Err(DatasetError::Empty { csv: csv.into() });
        }
        let (_, header) = rows.remove(0);
        let text = StringRecord::from_byte_record_lossy(header.clone());
        let names: Vec<String> = text.iter().map(|name| name.trim_start_matches('\u{feff}').trim().into()).collect();
        let first = StringRecord::from_byte_record_lossy(rows[0].1.clone());

        let mut table =
            Self { csv: csv.into(), header, rows, names, id: None, path: None, list: None, genre_columns: Vec::new() };
        table.id = table.column(&["id", "imdbid", "imdb_id", "tconst"]);
        table.path = table.column(&["path", "image", "file", "filename"]);
        table.list = table.column(&["genres", "genre"]);
        let not_genres =
            [table.id, table.path, table.list, table.column(&super::TITLE_COLUMNS), table.column(&super::YEAR_COLUMNS)];
        table.genre_columns = (0..table.names.len())
            .filter(|&index| !not_genres.contains(&Some(index)))
            .filter(|&index| !table.names[index].is_empty() && label(&first[index]).is_ok())
            .collect();
        if table.genre_columns.is_empty() && table.list.is_none() {
            let problem =
                "names no genres; add a column of 0 and 1 for each, or a column \"genres\" of lists like Action|Drama";
            return Err(DatasetError::Header { csv: csv.into(), problem });
        }
        Ok(table)
    }

    /// Index of the first of the columns with one of these names, which are in lower case.
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        self.names.iter().position(|name| names.contains(&name.to_lowercase().as_str()))
    }

    /// A cell as trimmed text; bytes that are not UTF-8 are replaced.
    pub fn cell(&self, row: usize, column: usize) -> String {
        String::from_utf8_lossy(&self.rows[row].1[column]).trim().to_string()
    }

    /// The columns that hold 0 and 1: the index of each, and its genre.
    pub fn genre_columns(&self) -> impl Iterator<Item = (usize, &str)> {
        self.genre_columns.iter().map(|&index| (index, self.names[index].as_str()))
    }

    /// The genres, and the labels of each row: of the 0/1 columns, or of the list where there are none.
    ///
    /// # Errors
    /// If a cell of a genre's column is neither 1, 0 nor empty.
    pub fn labels(&self) -> Result<(Vec<String>, Vec<Labels>), DatasetError> {
        if self.genre_columns.is_empty() {
            let lists: Vec<Vec<String>> = (0..self.rows.len()).map(|row| self.list(row)).collect();
            let genres: BTreeSet<&String> = lists.iter().flatten().collect();
            let labels = |list: &Vec<String>| {
                genres.iter().map(|genre| (!list.is_empty()).then(|| list.contains(genre))).collect()
            };
            return Ok((genres.iter().map(ToString::to_string).collect(), lists.iter().map(labels).collect()));
        }
        let genres = self.genre_columns().map(|(_, genre)| genre.to_string()).collect();
        let labels = (0..self.rows.len()).map(|row| {
            let cells = self.genre_columns().map(|(column, genre)| {
                label(&self.cell(row, column)).map_err(|cell| DatasetError::Cell {
                    csv: self.csv.clone(),
                    line: self.rows[row].0,
                    genre: genre.into(),
                    cell,
                })
            });
            cells.collect()
        });
        Ok((genres, labels.collect::<Result<_, _>>()?))
    }

    /// The names in the list of genres of a row.
    fn list(&self, row: usize) -> Vec<String> {
        self.list.map(|column| genre_list(&self.cell(row, column))).unwrap_or_default()
    }

    /// The posters, whose pictures are in `images`, or where they usually are.
    pub(super) fn dataset(&self, images: Option<&Path>) -> Result<Dataset, DatasetError> {
        let Some(name_column) = self.path.or(self.id) else {
            let problem = "has neither a column \"Id\" nor a column \"path\"; add one that says where each picture is";
            return Err(DatasetError::Header { csv: self.csv.clone(), problem });
        };
        let folder = self.csv.parent().unwrap_or(Path::new(""));
        let usual = if self.path.is_some() { folder.to_path_buf() } else { folder.join("Images") };
        let images = images.unwrap_or(&usual);

        let (genres, labels) = self.labels()?;
        let poster = |(row, labels): (usize, Vec<Option<bool>>)| {
            let id = self.cell(row, name_column);
            let name = if self.path.is_some() { id.clone() } else { format!("{id}.jpg") };
            let group = |name: &String| {
                let members = name.split('_').map(|member| genres.iter().position(|genre| genre == member));
                let group: Vec<usize> = members.collect::<Option<_>>()?;
                (group.len() > 1 && group.iter().all(|member| labels[*member].is_none())).then_some(group)
            };
            let any_of = if self.genre_columns.is_empty() { vec![] } else { self.list(row) };
            LabelledPoster { path: images.join(name), id, any_of: any_of.iter().filter_map(group).collect(), labels }
        };
        let posters = labels.into_iter().enumerate().map(poster).collect();
        Ok(Dataset { genres, posters })
    }
}

fn label(cell: &str) -> Result<Option<bool>, String> {
    match cell.trim() {
        "" => Ok(None),
        "1" | "1.0" => Ok(Some(true)),
        "0" | "0.0" => Ok(Some(false)),
        other => Err(other.into()),
    }
}

/// The genres of `Action|Drama`, `Action, Drama` or `['Action', 'Drama']`.
fn genre_list(cell: &str) -> Vec<String> {
    let cell = cell.trim().trim_start_matches('[').trim_end_matches(']');
    cell.split(['|', ',', ';'])
        .map(|genre| genre.trim().trim_matches(['\'', '"']).trim().to_string())
        .filter(|genre| !genre.is_empty())
        .collect()
}
