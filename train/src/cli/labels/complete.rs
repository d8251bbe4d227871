//! The join of two label tables: by IMDb id, or by title and year.
//!
//! A joined row takes each label that the second table knows. A genre that the first table lists and the second does
//! not stays positive and counts as a contradiction: people disagree about genres, and a listed genre was listed by
//! someone. A label that the second table does not know, for instance because none of its lists names that genre, is
//! that of the first table, or unknown if the first table's list may have been cut before it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};
use csv::StringRecord;
use runtime::dataset::list_limit::mask;
use runtime::dataset::{TITLE_COLUMNS, Table, YEAR_COLUMNS};

/// Names, in lower case, of the columns that hold an id. Columns of IMDb ids come first: beside one, a column `id` is
/// often the row's number or the id of another site.
const ID_COLUMNS: [&[&str]; 3] =
    [&["imdbid", "imdb_id", "tconst", "imdb"], &["id"], &["path", "image", "file", "filename"]];

/// Options of the join with the second table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The number of genres, in alphabetical order, after which lists of the first table were cut.
    pub list_limit: Option<usize>,
}

/// Join key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The second table has a row of the same id.
    ById,
    /// The second table has a row of the same title and year.
    ByTitle,
    /// The second table has no such row, or knows none of its genres.
    No,
}

/// Join result of a row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The row's id as written, or its title.
    pub id: String,
    /// Join key.
    pub joined: Joined,
    /// Genres that the first table did not list.
    pub added: Vec<String>,
    /// Genres that the first table lists and the second does not.
    pub contradicted: Vec<String>,
    /// The number of labels that were 0 and are unknown.
    pub forgotten: usize,
}

/// The completed table.
#[derive(Debug)]
pub struct Completed {
    /// Header and rows.
    pub records: Vec<StringRecord>,
    /// Join result of each row.
    pub rows: Vec<Row>,
    /// Labels of joined rows that were unknown and are 0.
    pub settled: usize,
    /// Ids and titles of the second table that are not used, because their rows disagree.
    pub ambiguous: usize,
    /// Genres of joined rows that the first table has no column for, and the number of rows.
    pub without_column: BTreeMap<String, usize>,
}

/// An IMDb id without its letters and leading zeros, or another id as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Id {
    Imdb(u64),
    Other(String),
}

/// Completes the labels of `posters` with those of `with`. If `posters` has only a list of genres, a column is added
/// for each genre of its lists.
///
/// # Errors
/// If a label is malformed, or the tables have no column in common to join by.
pub fn complete(posters: &Table, with: &Table, options: Options) -> Result<Completed> {
    let ids = [posters, with].map(|table| ID_COLUMNS.iter().find_map(|names| table.column(names)));
    let titles = [posters, with].map(|table| table.column(&TITLE_COLUMNS));
    let joins_by = |columns: [Option<usize>; 2]| columns.iter().all(Option::is_some);
    ensure!(
        joins_by(ids) || joins_by(titles),
        "{}: has no column to join {} by; both must have an id (\"imdbId\", \"Id\" or \"path\"), or \"title\" and \
         \"year\"",
        with.csv.display(),
        posters.csv.display()
    );
    let (genres, mut labels) = posters.labels()?;
    let (with_genres, with_labels) = with.labels()?;
    let by_id = Index::new(&with_labels, |row| ids[1].and_then(|column| id(with.cell(row, column))));
    let by_title = Index::new(&with_labels, |row| title_and_year(with, row));
    // A title of which the first table has two rows may be of two films.
    let title_rows = Index::new(&vec![Vec::new(); labels.len()], |row| title_and_year(posters, row));
    // The index in the second table of each genre.
    let indices: Vec<Option<usize>> =
        genres.iter().map(|genre| with_genres.iter().position(|other| other == genre)).collect();

    let has_columns = posters.genre_columns().next().is_some();
    let mut header = posters.header.clone();
    if !has_columns {
        genres.iter().for_each(|genre| header.push_field(genre));
    }
    let mut completed = Completed {
        records: vec![header],
        rows: Vec::with_capacity(labels.len()),
        settled: 0,
        ambiguous: by_id.ambiguous + by_title.ambiguous,
        without_column: BTreeMap::new(),
    };
    for (row, labels) in labels.iter_mut().enumerate() {
        let found = ids[0]
            .and_then(|column| by_id.get(&id(posters.cell(row, column))?))
            .map(|found| (found, Joined::ById))
            .or_else(|| {
                let key = title_and_year(posters, row)?;
                (title_rows.counts[&key] == 1).then(|| by_title.get(&key))?.map(|found| (found, Joined::ByTitle))
            });
        let before = labels.clone();
        if let Some(limit) = options.list_limit {
            mask(&genres, labels, limit);
        }
        let mut report = Row {
            id: ids[0].or(titles[0]).map_or(String::new(), |column| posters.cell(row, column).to_string()),
            joined: found.map_or(Joined::No, |(_, joined)| joined),
            added: Vec::new(),
            contradicted: Vec::new(),
            forgotten: 0,
        };
        if let Some((found, _)) = found {
            for (genre, index) in indices.iter().enumerate() {
                match (before[genre], index.and_then(|index| with_labels[found][index])) {
                    (Some(true), Some(false)) => report.contradicted.push(genres[genre].clone()),
                    (old, Some(new)) => {
                        labels[genre] = Some(new);
                        if new && old != Some(true) {
                            report.added.push(genres[genre].clone());
                        }
                        completed.settled += usize::from(!new && old.is_none());
                    }
                    (_, None) => {}
                }
            }
            for (genre, label) in with_genres.iter().zip(&with_labels[found]) {
                if *label == Some(true) && !genres.contains(genre) {
                    *completed.without_column.entry(genre.clone()).or_insert(0) += 1;
                }
            }
        }
        report.forgotten = before.iter().zip(labels.iter()).filter(|(old, new)| old.is_some() && new.is_none()).count();
        completed.records.push(record(posters, row, labels, has_columns));
        completed.rows.push(report);
    }
    Ok(completed)
}

/// A row of the first table with other labels. Cells whose label does not change stay as written.
fn record(posters: &Table, row: usize, labels: &[Option<bool>], has_columns: bool) -> StringRecord {
    let cell = |label: Option<bool>| label.map_or("", |yes| if yes { "1" } else { "0" });
    let old = &posters.rows[row].1;
    if !has_columns {
        let mut record = old.clone();
        labels.iter().for_each(|label| record.push_field(cell(*label)));
        return record;
    }
    let columns: HashMap<usize, Option<bool>> =
        posters.genre_columns().map(|(column, _)| column).zip(labels.iter().copied()).collect();
    let fields = old.iter().enumerate().map(|(column, field)| match columns.get(&column) {
        Some(label) => cell(*label),
        None => field,
    });
    fields.collect()
}

/// Rows of the second table by a key. Rows that know no genre are left out, and keys whose rows disagree.
struct Index<K> {
    rows: HashMap<K, Option<usize>>,
    /// The number of rows of each key.
    counts: HashMap<K, usize>,
    /// The number of keys whose rows disagree.
    ambiguous: usize,
}

impl<K: std::hash::Hash + Eq + Clone> Index<K> {
    fn new(labels: &[Vec<Option<bool>>], key: impl Fn(usize) -> Option<K>) -> Self {
        let mut rows: HashMap<K, Option<usize>> = HashMap::new();
        let mut counts = HashMap::new();
        for (row, own) in labels.iter().enumerate() {
            let Some(key) = key(row) else { continue };
            *counts.entry(key.clone()).or_insert(0) += 1;
            if own.iter().any(Option::is_some) {
                let found = rows.entry(key).or_insert(Some(row));
                *found = found.filter(|found| labels[*found] == *own);
            }
        }
        let ambiguous = rows.values().filter(|row| row.is_none()).count();
        Self { rows, counts, ambiguous }
    }

    fn get(&self, key: &K) -> Option<usize> {
        self.rows.get(key).copied().flatten()
    }
}

/// The id in `tt0102315`, `102315`, `0102315.jpg` or `posters/tt0102315.jpg`.
fn id(cell: &str) -> Option<Id> {
    let name = cell.rsplit(['/', '\\']).next().unwrap_or(cell);
    let name = name.to_lowercase();
    let stem = match name.rsplit_once('.') {
        // The ids of tables that passed through floats end in ".0".
        Some((stem, "jpg" | "jpeg" | "png" | "webp" | "0")) => stem,
        _ => &name,
    };
    let digits = stem.strip_prefix("tt").unwrap_or(stem);
    match digits.parse() {
        Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(Id::Imdb(number)),
        _ => (!stem.is_empty()).then(|| Id::Other(stem.into())),
    }
}

/// Title and year of a row: the letters and digits of the title in lower case, with an article that stands behind it
/// moved to the front. The year may be in its own column, or in brackets behind the title.
fn title_and_year(table: &Table, row: usize) -> Option<(String, u16)> {
    let title = table.cell(row, table.column(&TITLE_COLUMNS)?).to_lowercase();
    let in_title = title.strip_suffix(')').and_then(|title| title.rsplit_once('(')).and_then(|(title, year)| {
        let year: u16 = year.trim().parse().ok().filter(|year| (1870..2200).contains(year))?;
        Some((title.trim().to_string(), year))
    });
    let column = table.column(&YEAR_COLUMNS).map(|column| table.cell(row, column));
    let column = column.and_then(|year| year.trim_end_matches(".0").parse().ok());
    let (title, year) = match (in_title, column) {
        (Some((title, in_title)), year) => (title, year.unwrap_or(in_title)),
        (None, year) => (title, year?),
    };
    let title = match title.rsplit_once(", ") {
        Some((title, article @ ("the" | "a" | "an"))) => format!("{article} {title}"),
        _ => title,
    };
    let letters: String = title.chars().filter(|char| char.is_alphanumeric()).collect();
    (!letters.is_empty()).then_some((letters, year))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(posters: &str, with: &str, list_limit: Option<usize>) -> Result<(String, Completed)> {
        let folder = tempfile::tempdir().unwrap();
        let [posters, with] = [("posters.csv", posters), ("table.csv", with)].map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Table::read(&path, &[]).unwrap()
        });
        let completed = complete(&posters, &with, Options { list_limit })?;
        let mut csv = csv::Writer::from_writer(Vec::new());
        completed.records.iter().for_each(|record| csv.write_record(record).unwrap());
        Ok((String::from_utf8(csv.into_inner().unwrap()).unwrap(), completed))
    }

    #[test]
    fn rows_are_completed() {
        struct Case {
            name: &'static str,
            posters: &'static str,
            with: &'static str,
            list_limit: Option<usize>,
            expected: &'static str,
        }
        let cases = [
            Case {
                name: "by id, with a list",
                posters: "Id,Genre,Action,Drama,War\ntt0000007,['Action'],1,0,0\ntt8,['War'],0,0,1\n",
                with: "imdbId,genres\n7,Action|War\n9,Drama\n",
                list_limit: None,
                expected: "Id,Genre,Action,Drama,War\ntt0000007,['Action'],1,0,1\ntt8,['War'],0,0,1\n",
            },
            Case {
                name: "a list that may be cut and is not joined, and a genre that the second table never names",
                posters: "Id,Genre,Action,Drama,War\ntt1,x,1,1,0\ntt2,x,1,1,0\ntt3,x,1,0,0\n",
                with: "id,genres\n0000001.jpg,Action|Drama\n",
                list_limit: Some(2),
                expected: "Id,Genre,Action,Drama,War\ntt1,x,1,1,\ntt2,x,1,1,\ntt3,x,1,0,0\n",
            },
            Case {
                name: "0/1 columns in another order, unknown cells, columns that are neither",
                posters: "Id,note,Action,Drama,War\ntt1,5 stars,1,,0\n",
                with: "War,Id,Drama,Action\n,tt1,0,1\n",
                list_limit: None,
                expected: "Id,note,Action,Drama,War\ntt1,5 stars,1,0,0\n",
            },
            Case {
                name: "a contradiction stays",
                posters: "Id,Action,Drama,War\ntt1,1,1,0\n",
                with: "Id,Action,Drama,War\ntt1,1,0,1\n",
                list_limit: Some(2),
                expected: "Id,Action,Drama,War\ntt1,1,1,1\n",
            },
            Case {
                name: "lists only: columns are added",
                posters: "path,genres\na/tt1.png,Action|Drama\na/tt2.png,War\n",
                with: "tconst,genres\ntt0000001,\"Action,Drama,War\"\n",
                list_limit: Some(2),
                expected: "path,genres,Action,Drama,War\na/tt1.png,Action|Drama,1,1,1\na/tt2.png,War,0,0,1\n",
            },
            Case {
                name: "by title and year",
                posters: "Id,Title,Year,Action,Drama\nx,The Matrix,1999,1,0\ny,Heat,1986,1,0\n",
                with: "title,genres\n\"Matrix, The (1999)\",Action|Drama\nHeat (1995),Drama\n",
                list_limit: None,
                expected: "Id,Title,Year,Action,Drama\nx,The Matrix,1999,1,1\ny,Heat,1986,1,0\n",
            },
            Case {
                name: "rows that disagree or know nothing are not used",
                posters: "Id,Action,Drama\ntt1,1,0\ntt2,1,0\n",
                with: "Id,Action,Drama\ntt1,1,1\ntt1,0,1\ntt2,,\n",
                list_limit: None,
                expected: "Id,Action,Drama\ntt1,1,0\ntt2,1,0\n",
            },
        ];
        for Case { name, posters, with, list_limit, expected } in cases {
            assert_eq!(completed(posters, with, list_limit).unwrap().0, expected, "{name}");
        }
    }

    #[test]
    fn the_report_says_what_joined_what_was_added_and_what_contradicts() {
        let posters = "Id,Title,Year,Action,Drama,War\n\
                       tt1,A,2001,1,1,0\ntt2,B,2002,1,1,0\nother,C,2003,1,,\ntt4,D,2004,0,0,1\n";
        let with = "imdb_id,title,year,genres\n1,A,2001,Action|War\n99,C,2003,Action|Film-Noir\n5,Z,1990,Drama\n";
        let (_, completed) = completed(posters, with, Some(2)).unwrap();
        let joined: Vec<Joined> = completed.rows.iter().map(|row| row.joined).collect();
        assert_eq!(joined, [Joined::ById, Joined::No, Joined::ByTitle, Joined::No]);
        assert_eq!(completed.rows[0].added, ["War"]);
        assert_eq!(completed.rows[0].contradicted, ["Drama"]);
        assert_eq!(completed.rows.iter().map(|row| row.forgotten).collect::<Vec<_>>(), [0, 1, 0, 0]);
        assert_eq!(completed.settled, 2);
        assert_eq!(completed.without_column, BTreeMap::from([("Film-Noir".to_string(), 1)]));
    }

    #[test]
    fn ids_are_the_same_however_they_are_written() {
        for text in ["tt0102315", "102315", "0102315", "tt0102315.jpg", "Images/tt0102315.JPG", "102315.0"] {
            assert_eq!(id(text), Some(Id::Imdb(102_315)), "{text}");
        }
        assert_eq!(id("tr00010.jpg"), Some(Id::Other("tr00010".into())));
        assert_eq!(id("tt1.5"), Some(Id::Other("tt1.5".into())));
        assert_eq!(id(""), None);
    }

    #[test]
    fn tables_with_nothing_in_common_are_refused() {
        let error = completed("Id,Action\ntt1,1\n", "title,year,genres\nA,2001,Action\n", None).unwrap_err();
        assert!(error.to_string().contains("has no column to join"), "{error}");
    }
}
