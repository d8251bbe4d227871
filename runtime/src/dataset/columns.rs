//! Kinds of columns in a label file: the picture's name, a list of genres, one genre's labels, or nothing that is
//! used.

use std::collections::BTreeSet;

use super::cells::{label, number};
use super::genre_list::genre_lists;
use super::same;

/// Names, in lower case, of the column of a film's title.
pub const TITLE_COLUMNS: [&str; 3] = ["title", "primarytitle", "movie_title"];

/// Names, in lower case, of the column of the year in which a film came out.
pub const YEAR_COLUMNS: [&str; 4] = ["year", "startyear", "release_year", "title_year"];

const ID_COLUMNS: [&str; 7] = ["id", "imdbid", "imdb_id", "tconst", "imdb_title_id", "movieid", "movie_id"];
const PATH_COLUMNS: [&str; 10] =
    ["path", "image", "file", "filename", "filepath", "image_path", "img_path", "file_path", "image_name", "file_name"];
const LIST_COLUMNS: [&str; 2] = ["genres", "genre"];

/// Names, in lower case, that programs give to the column of the rows' numbers.
const INDEX_COLUMNS: [&str; 7] = ["index", "unnamed: 0", "unnamed: 0.1", "#", "no", "no.", "row"];

/// The number of different numbers besides 0, 1 and -1 from which on a column measures or counts something.
const MANY_NUMBERS: usize = 3;

/// A column that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name, as trimmed text.
    pub column: String,
    /// Why it is not a genre's, as the end of a sentence that begins with its name.
    pub reason: String,
}

/// The columns that are read.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The column of the posters' ids.
    pub id: Option<usize>,
    /// The column of the pictures' paths.
    pub path: Option<usize>,
    /// The column of lists of genres.
    pub list: Option<usize>,
    /// The columns of labels, each with its genre.
    pub genres: Vec<(usize, String)>,
    /// The other columns, apart from blank ones.
    pub passed_over: Vec<PassedOver>,
}

/// The cells of a column, each with its line.
type Cells<'a> = &'a [(u64, &'a str)];

impl Columns {
    /// Finds the columns by their names and by what is in them. Where `wanted` names genres, the columns of these names
    /// are the genres', in whatever case they are written; `cells` gives a column's cells.
    pub fn find<'a>(names: &[String], cells: impl Fn(usize) -> Vec<(u64, &'a str)>, wanted: &[String]) -> Self {
        let mut columns = Self {
            id: position(names, &ID_COLUMNS),
            path: position(names, &PATH_COLUMNS).filter(|&index| !holds_addresses(&cells(index))),
            list: position(names, &LIST_COLUMNS),
            ..Self::default()
        };
        let of_the_film = [(&TITLE_COLUMNS[..], "is the film's title"), (&YEAR_COLUMNS[..], "is the film's year")]
            .map(|(own, reason)| (position(names, own), reason));
        for (index, name) in names.iter().enumerate() {
            let place = Some(index);
            if let Some(genre) = wanted.iter().find(|genre| same(genre, name)) {
                columns.genres.push((index, genre.clone()));
                continue;
            }
            if [columns.id, columns.path, columns.list].contains(&place) {
                continue;
            }
            let cells = cells(index);
            let reason = if let Some((_, reason)) = of_the_film.iter().find(|(film, _)| *film == place) {
                Some(reason.to_string())
            } else if !wanted.is_empty() {
                Some("is not among the genres named".into())
            } else if columns.genres.iter().any(|(_, genre)| genre == name) {
                Some("has the name of a column before it".into())
            } else {
                why_no_genre(name, &cells)
            };
            let is_blank = name.is_empty() && cells.iter().all(|(_, cell)| cell.is_empty());
            match reason {
                Some(reason) if !is_blank => columns.passed_over.push(PassedOver { column: name.clone(), reason }),
                Some(_) => {}
                None => columns.genres.push((index, name.clone())),
            }
        }
        if let Some(list) = columns.list
            && wanted.is_empty()
        {
            columns.prefer_lists(&names[list], &cells(list));
        }
        columns
    }

    /// Passes over columns of yes and no that tell something else (`adult`, `video`) beside a column of lists: no list
    /// names one of them, and the lists name as many genres as there are such columns, or more.
    fn prefer_lists(&mut self, list: &str, cells: Cells) {
        let lists = genre_lists(cells.iter().map(|(_, cell)| *cell));
        let named: BTreeSet<String> = lists.iter().flatten().map(|genre| genre.to_lowercase()).collect();
        // `Action_Adventure` names two.
        let is_named =
            |genre: &str| named.iter().flat_map(|name| name.split('_').chain([&**name])).any(|it| it == genre);
        if named.len() >= self.genres.len() && !self.genres.iter().any(|(_, genre)| is_named(&genre.to_lowercase())) {
            let reason = format!("is named by no list in \"{list}\"");
            let genres = self.genres.drain(..);
            self.passed_over.extend(genres.map(|(_, column)| PassedOver { column, reason: reason.clone() }));
        }
    }
}

/// Index of the first of the columns with one of these names, which are in lower case.
pub fn position(names: &[String], wanted: &[&str]) -> Option<usize> {
    names.iter().position(|name| wanted.contains(&name.to_lowercase().as_str()))
}

/// Whether the first cell that is not empty is a web address, which names no file.
fn holds_addresses(cells: Cells) -> bool {
    cells.iter().find(|(_, cell)| !cell.is_empty()).is_some_and(|(_, cell)| cell.contains("://"))
}

/// Why a column does not hold a genre's labels. A column that mostly does is a genre's: the other cells are errors.
fn why_no_genre(name: &str, cells: Cells) -> Option<String> {
    if name.is_empty() {
        return Some("has no name".into());
    }
    if INDEX_COLUMNS.contains(&name.to_lowercase().as_str()) || counts_rows(cells) {
        return Some("numbers the rows".into());
    }
    let others: Vec<&(u64, &str)> = cells.iter().filter(|(_, cell)| label(cell).is_none()).collect();
    let (line, other) = others.first()?;
    let known = cells.iter().filter(|(_, cell)| label(cell).is_some_and(|label| label.is_some())).count();
    let numbers: BTreeSet<&str> = others.iter().map(|(_, cell)| *cell).filter(|cell| number(cell).is_some()).collect();
    let shortened: String = other.chars().take(40).collect();
    (others.len() > known || numbers.len() >= MANY_NUMBERS).then(|| format!("holds \"{shortened}\" (line {line})"))
}

/// Whether the cells are 0, 1, 2 … or 1, 2, 3 …; of fewer than three one cannot tell.
fn counts_rows(cells: Cells) -> bool {
    let first = cells.first().and_then(|(_, cell)| number(cell));
    let counts = |(index, (_, cell)): (usize, &(u64, &str))| number(cell) == first.map(|first| first + index as f64);
    cells.len() >= 3 && matches!(first, Some(0.0 | 1.0)) && cells.iter().enumerate().all(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Genres and columns that are passed over, of a table given row by row with its header.
    fn found(rows: &[&[&str]], wanted: &[&str]) -> (Vec<String>, Vec<(String, String)>) {
        let names: Vec<String> = rows[0].iter().map(ToString::to_string).collect();
        let cells = |column: usize| (2..).zip(&rows[1..]).map(|(line, row)| (line, row[column])).collect();
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let columns = Columns::find(&names, cells, &wanted);
        (
            columns.genres.into_iter().map(|(_, genre)| genre).collect(),
            columns.passed_over.into_iter().map(|it| (it.column, it.reason)).collect(),
        )
    }

    #[test]
    fn genres_are_told_from_other_columns() {
        type Case<'a> = (&'a str, &'a [&'a [&'a str]], &'a [&'a str], &'a [(&'a str, &'a str)]);
        let cases: [Case; 14] = [
            ("labels", &[&["Id", "Drama"], &["a", "1"], &["b", "0"]], &["Drama"], &[]),
            ("NA first", &[&["Id", "Drama"], &["a", "NA"], &["b", "0"], &["c", "-1"]], &["Drama"], &[]),
            ("words", &[&["Id", "Drama", "War"], &["a", "True", "yes"], &["b", "f", "N"]], &["Drama", "War"], &[]),
            ("all unknown", &[&["Id", "Drama", "News"], &["a", "1", ""]], &["Drama", "News"], &[]),
            (
                "index without a name",
                &[&["", "Id", "Drama"], &["0", "a", "1"], &["1", "b", "0"]],
                &["Drama"],
                &[("", "has no name")],
            ),
            (
                "index with a name",
                &[&["n", "Id", "War"], &["0", "a", "1"], &["1", "b", "0"], &["2", "c", "0"]],
                &["War"],
                &[("n", "numbers the rows")],
            ),
            (
                "shuffled index",
                &[&["n", "Id", "War"], &["7", "a", "1"], &["1", "b", "0"], &["2", "c", "0"]],
                &["War"],
                &[("n", "holds \"7\" (line 2)")],
            ),
            (
                "counts, many of them 0",
                &[&["budget", "War"], &["0", "1"], &["0", "1"], &["0", "1"], &["8", "0"], &["9", "0"], &["7", "0"]],
                &["War"],
                &[("budget", "holds \"8\" (line 5)")],
            ),
            (
                "title, year, link",
                &[&["Id", "Title", "Year", "Link", "War"], &["a", "1", "1999", "http://x/", "0"]],
                &["War"],
                &[
                    ("Title", "is the film's title"),
                    ("Year", "is the film's year"),
                    ("Link", "holds \"http://x/\" (line 2)"),
                ],
            ),
            ("a typing error is no reason", &[&["Id", "War"], &["a", "1"], &["b", "maybe"]], &["War"], &[]),
            (
                "two columns of one name",
                &[&["Id", "War", "War"], &["a", "1", "0"]],
                &["War"],
                &[("War", "has the name of a column before it")],
            ),
            (
                "yes and no beside lists",
                &[&["id", "adult", "genres"], &["a", "False", "Drama|War"]],
                &[],
                &[("adult", "is named by no list in \"genres\"")],
            ),
            (
                "IMDb's columns beside lists of few genres",
                &[&["tconst", "isAdult", "endYear", "genres"], &["a", "0", "\\N", "Drama,War"]],
                &[],
                &[("isAdult", "is named by no list in \"genres\""), ("endYear", "is named by no list in \"genres\"")],
            ),
            (
                "genres beside lists",
                &[&["Id", "Genre", "Drama", "News"], &["a", "Drama_War|Western", "", "0"]],
                &["Drama", "News"],
                &[],
            ),
        ];
        for (name, rows, genres, passed_over) in cases {
            let found = found(rows, &[]);
            assert_eq!(found.0, genres, "{name}");
            let expected: Vec<_> =
                passed_over.iter().map(|(column, why)| (column.to_string(), why.to_string())).collect();
            assert_eq!(found.1, expected, "{name}");
        }
    }

    #[test]
    fn genres_that_are_named_are_the_genres() {
        let rows: &[&[&str]] = &[&["Id", "drama", "title", "hit"], &["a", "1", "1", "1"]];
        let (genres, passed_over) = found(rows, &["Drama", "Title", "War"]);
        assert_eq!(genres, ["Drama", "Title"]);
        assert_eq!(passed_over, [("hit".into(), "is not among the genres named".into())]);
    }

    #[test]
    fn pictures_are_named_by_columns_of_usual_names() {
        let cases = [
            ("Id", (Some(0), None)),
            ("imdbID", (Some(0), None)),
            ("movieId", (Some(0), None)),
            ("imdb_title_id", (Some(0), None)),
            ("Image_Path", (None, Some(0))),
            ("file_name", (None, Some(0))),
            ("budget", (None, None)),
        ];
        for (name, expected) in cases {
            let columns = Columns::find(&[name.into()], |_| vec![(2, "1")], &[]);
            assert_eq!((columns.id, columns.path), expected, "{name}");
        }
    }

    #[test]
    fn a_column_of_addresses_names_no_file() {
        let names = ["imdbId", "image"].map(String::from);
        let cells = |column: usize| vec![(2, ["114709", "http://x/y.jpg"][column])];
        let columns = Columns::find(&names, cells, &[]);
        assert_eq!((columns.id, columns.path), (Some(0), None));
    }
}
