//! What is known of a library's posters, kept in an SQLite file, so that a run reads only what is new or changed and a run
//! that was killed goes on where it was.
//!
//! SQLite because every finished poster is one transaction that a kill at any moment leaves whole, because a library of any
//! size needs no memory, and because everybody can look into the file. `known` has a row for each poster that was ever read;
//! what is gone stays known, since it may come back under another name. `found` is what the present pass has found.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use thiserror::Error;

use super::naming::Title;
use super::poster_selection::Kind;

/// Written into the file's header, so that another program's database is told apart.
const APPLICATION_ID: i32 = 0x506f_5374;

/// Raises with every change of the tables.
const VERSION: i32 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS known (
        path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, hash BLOB NOT NULL, model TEXT NOT NULL,
        error TEXT, probabilities BLOB, thumbnail BLOB
    ) STRICT;
    CREATE INDEX IF NOT EXISTS known_hash ON known (hash);
    CREATE TEMP TABLE found (
        ordinal INTEGER PRIMARY KEY, path BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
        kind INTEGER NOT NULL, title TEXT NOT NULL, year INTEGER, video BLOB, is_alone INTEGER NOT NULL
    ) STRICT;";

const FOUND: &str = "found.ordinal, found.path, found.size, found.mtime, found.kind, found.title, found.year, found.video, \
                     found.is_alone";

/// The rows of `known` that hold for what was found.
const IS_CURRENT: &str = "known.path = found.path AND known.size = found.size AND known.mtime = found.mtime \
                          AND known.model = ?1";

/// A poster that the present pass has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its place among all, counted from 1 in the order of the scan.
    pub ordinal: i64,
    /// The picture.
    pub path: PathBuf,
    /// Bytes.
    pub size: i64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// What it is of.
    pub kind: Kind,
    /// Title and year.
    pub title: Title,
    /// The film's video.
    pub video: Option<PathBuf>,
    /// Whether the folder is the film's or series' own.
    pub is_alone: bool,
}

/// What the model makes of a poster.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The probability of each genre, `[G]` in card order.
    pub probabilities: Vec<f32>,
    /// A small JPEG of the poster.
    pub thumbnail: Vec<u8>,
}

/// The state file cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It cannot be read or written, or is in use.
    #[error(
        "{path}: cannot be used to remember what is done ({source}); \
         if no other run uses it, make room and see that it may be written, or name another file with --state"
    )]
    Sqlite {
        /// The file.
        path: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// It is another program's, or of another version of this one.
    #[error("{path}: was not made by this version of `runtime tag`; remove it or name another file with --state")]
    Foreign {
        /// The file.
        path: String,
    },
}

/// An open state file, shared by all threads.
#[derive(Debug)]
pub struct State {
    path: String,
    connection: Mutex<Connection>,
}

impl State {
    /// Opens or makes a state file. If it is not `kept`, the file stays as it is (or does not come to be) and all that is
    /// learned is forgotten in the end.
    ///
    /// # Errors
    /// See [`StateError`]. A file that another run uses is refused.
    pub fn open(path: &Path, kept: bool) -> Result<Self, StateError> {
        let name = path.display().to_string();
        let sqlite = |source| StateError::Sqlite { path: name.clone(), source };
        let in_memory = !kept && !path.exists();
        let connection =
            if in_memory { Connection::open_in_memory() } else { Connection::open(path) }.map_err(sqlite)?;
        let prepare = || -> rusqlite::Result<bool> {
            // Two runs over one library would write the same files.
            connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL;")?;
            if kept {
                connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
            }
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
            let tables: i32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 && (number("application_id")?, number("user_version")?) != (APPLICATION_ID, VERSION) {
                return Ok(false);
            }
            connection.execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {TABLES}"
            ))?;
            if kept {
                connection.execute_batch("COMMIT")?;
            }
            Ok(true)
        };
        if !prepare().map_err(sqlite)? {
            return Err(StateError::Foreign { path: name });
        }
        Ok(Self { path: name, connection: Mutex::new(connection) })
    }

    /// Begins a pass: nothing is found yet, and what could not be read may be readable now.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn begin(&self) -> Result<(), StateError> {
        self.with(|sqlite| sqlite.execute_batch("DELETE FROM found; DELETE FROM known WHERE hash = x''"))
    }

    /// Keeps what the scan has found, in its order.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn add(&self, found: &[Found]) -> Result<(), StateError> {
        self.with(|sqlite| {
            // Rolled back when it is dropped without a commit.
            let savepoint = sqlite.savepoint()?;
            let mut insert = savepoint.prepare_cached("INSERT INTO found VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
            for found in found {
                let Found { ordinal, size, mtime, title, is_alone, .. } = found;
                let video = found.video.as_deref().map(path_bytes);
                let is_show = found.kind == Kind::Show;
                let path = path_bytes(&found.path);
                insert.execute(params![
                    ordinal,
                    path,
                    size,
                    mtime,
                    is_show,
                    title.title,
                    title.year,
                    video,
                    is_alone
                ])?;
            }
            drop(insert);
            savepoint.commit()
        })
    }

    /// The number of posters found.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn found(&self) -> Result<usize, StateError> {
        self.with(|sqlite| sqlite.query_row("SELECT count(*) FROM found", [], |row| row.get(0)))
    }

    /// The number of posters found of which nothing current is known for a model.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unknown(&self, model: &str) -> Result<usize, StateError> {
        let query = format!("SELECT count(*) FROM found WHERE NOT EXISTS (SELECT 1 FROM known WHERE {IS_CURRENT})");
        self.with(|sqlite| sqlite.query_row(&query, [model], |row| row.get(0)))
    }

    /// The next posters, after the one with that ordinal, of which nothing current is known; with `all`, the next ones
    /// whatever is known.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_unknown(&self, model: &str, after: i64, limit: usize, all: bool) -> Result<Vec<Found>, StateError> {
        let query = format!(
            "SELECT {FOUND} FROM found WHERE ordinal > ?2
             AND (?4 OR NOT EXISTS (SELECT 1 FROM known WHERE {IS_CURRENT})) ORDER BY ordinal LIMIT ?3"
        );
        self.with(|sqlite| {
            let mut query = sqlite.prepare_cached(&query)?;
            query.query_map(params![model, after, limit, all], found)?.collect()
        })
    }

    /// The posters found of which nothing current is known and that were modified after `since`, in nanoseconds since 1970.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unknown_since(&self, model: &str, since: i64) -> Result<Vec<Found>, StateError> {
        let query = format!(
            "SELECT {FOUND} FROM found WHERE mtime > ?2 AND NOT EXISTS (SELECT 1 FROM known WHERE {IS_CURRENT})"
        );
        self.with(|sqlite| sqlite.prepare_cached(&query)?.query_map(params![model, since], found)?.collect())
    }

    /// Takes a poster out of what the present pass has found.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn leave_out(&self, found: &Found) -> Result<(), StateError> {
        self.with(|sqlite| sqlite.execute("DELETE FROM found WHERE ordinal = ?1", [found.ordinal]).map(drop))
    }

    /// What is known of the same bytes under another name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn recall(&self, hash: &[u8], model: &str) -> Result<Option<Verdict>, StateError> {
        let query = "SELECT error, probabilities, thumbnail FROM known
                     WHERE hash = ?1 AND model = ?2 AND error IS NULL LIMIT 1";
        let verdict = self.with(|sqlite| {
            sqlite.prepare_cached(query)?.query_row(params![hash, model], |row| verdict(row, 0)).optional()
        })?;
        Ok(verdict.and_then(Result::ok))
    }

    /// Keeps what was made of a poster, or why nothing could be; the latter until the next pass only if there is no `hash`.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn record(
        &self,
        found: &Found,
        hash: &[u8],
        model: &str,
        verdict: &Result<Verdict, String>,
    ) -> Result<(), StateError> {
        let error = verdict.as_ref().err();
        let verdict = verdict.as_ref().ok();
        let probabilities = verdict
            .map(|verdict| verdict.probabilities.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        let thumbnail = verdict.map(|verdict| &verdict.thumbnail);
        self.with(|sqlite| {
            let mut insert =
                sqlite.prepare_cached("INSERT OR REPLACE INTO known VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
            let path = path_bytes(&found.path);
            insert.execute(params![path, found.size, found.mtime, hash, model, error, probabilities, thumbnail])?;
            Ok(())
        })
    }

    /// The next posters, after the one with that ordinal, of which something current is known: what the model makes of
    /// each, or why nothing could be made of it.
    ///
    /// # Errors
    /// If the file cannot be read.
    #[allow(clippy::type_complexity)]
    pub fn next_known(
        &self,
        model: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(Found, Result<Verdict, String>)>, StateError> {
        let query = format!(
            "SELECT {FOUND}, error, probabilities, thumbnail FROM found JOIN known ON {IS_CURRENT}
             WHERE ordinal > ?2 ORDER BY ordinal LIMIT ?3"
        );
        self.with(|sqlite| {
            let mut query = sqlite.prepare_cached(&query)?;
            let rows = query.query_map(params![model, after, limit], |row| Ok((found(row)?, verdict(row, 9)?)))?;
            rows.collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        // A thread that panicked while it held the lock left SQLite in order: every statement is whole.
        let mut connection: MutexGuard<Connection> = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|source| StateError::Sqlite { path: self.path.clone(), source })
    }
}

fn found(row: &Row) -> rusqlite::Result<Found> {
    Ok(Found {
        ordinal: row.get(0)?,
        path: path_from(row.get(1)?),
        size: row.get(2)?,
        mtime: row.get(3)?,
        kind: if row.get(4)? { Kind::Show } else { Kind::Film },
        title: Title { title: row.get(5)?, year: row.get(6)? },
        video: row.get::<_, Option<Vec<u8>>>(7)?.map(path_from),
        is_alone: row.get(8)?,
    })
}

/// The error, probabilities and thumbnail in the columns from `first` on.
fn verdict(row: &Row, first: usize) -> rusqlite::Result<Result<Verdict, String>> {
    if let Some(error) = row.get(first)? {
        return Ok(Err(error));
    }
    let probabilities: Vec<u8> = row.get(first + 1)?;
    let probabilities = probabilities.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Ok(Verdict { probabilities, thumbnail: row.get(first + 2)? }))
}

/// A path as it is, whether or not it is UTF-8.
#[cfg(unix)]
fn path_bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

#[cfg(unix)]
fn path_from(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[cfg(not(unix))]
fn path_from(bytes: Vec<u8>) -> PathBuf {
    OsString::from(String::from_utf8_lossy(&bytes).into_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poster(ordinal: i64, name: &str, mtime: i64) -> Found {
        Found {
            ordinal,
            path: name.into(),
            size: 7,
            mtime,
            kind: if ordinal == 2 { Kind::Show } else { Kind::Film },
            title: Title { title: name.to_uppercase(), year: (ordinal == 1).then_some(1999) },
            video: (ordinal == 1).then(|| "a.mkv".into()),
            is_alone: ordinal == 1,
        }
    }

    fn some(probability: f32) -> Result<Verdict, String> {
        Ok(Verdict { probabilities: vec![probability, 0.25], thumbnail: vec![1, 2, 3] })
    }

    #[test]
    fn what_is_known_is_known_in_the_next_run_for_the_same_file_and_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = State::open(&path, true).unwrap();
        let posters = [poster(1, "a", 5), poster(2, "b", 5), poster(3, "c", 5)];
        first.add(&posters).unwrap();
        assert_eq!(first.next_unknown("m", 0, 9, false).unwrap(), posters);
        first.record(&posters[0], b"hash a", "m", &some(0.5)).unwrap();
        first.record(&posters[1], b"hash b", "m", &Err("is broken".into())).unwrap();
        assert_eq!((first.found().unwrap(), first.unknown("m").unwrap(), first.unknown("n").unwrap()), (3, 1, 3));
        assert!(matches!(State::open(&path, true), Err(StateError::Sqlite { .. })), "two runs share a state file");
        drop(first);

        let second = State::open(&path, true).unwrap();
        let changed = [poster(1, "a", 6), poster(2, "b", 5), poster(3, "d", 5)];
        second.add(&changed).unwrap();
        second.record(&changed[2], b"", "m", &Err("may not be read".into())).unwrap();
        assert_eq!(second.unknown("m").unwrap(), 1);
        drop(second);
        let second = State::open(&path, true).unwrap();
        second.begin().unwrap();
        second.add(&changed).unwrap();
        assert_eq!(second.next_unknown("m", 0, 9, false).unwrap(), [changed[0].clone(), changed[2].clone()]);
        assert_eq!(second.next_unknown("m", 1, 1, true).unwrap(), [changed[1].clone()]);
        assert_eq!(second.next_known("m", 0, 9).unwrap(), [(changed[1].clone(), Err("is broken".to_string()))]);
        assert_eq!(second.recall(b"hash a", "m").unwrap().map(Ok), Some(some(0.5)));
        assert_eq!(second.recall(b"hash a", "n").unwrap(), None);
        assert_eq!(second.recall(b"hash b", "m").unwrap(), None);
    }

    #[test]
    fn what_is_not_kept_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for _ in 0..2 {
            let state = State::open(&path, false).unwrap();
            state.add(&[poster(1, "a", 5)]).unwrap();
            assert_eq!(state.unknown("m").unwrap(), 1);
            state.record(&poster(1, "a", 5), b"hash a", "m", &some(0.5)).unwrap();
            assert_eq!(state.unknown("m").unwrap(), 0);
        }
        assert!(!path.exists());
        drop(State::open(&path, true).unwrap());
        let before = std::fs::read(&path).unwrap();
        let state = State::open(&path, false).unwrap();
        state.add(&[poster(1, "a", 5)]).unwrap();
        state.record(&poster(1, "a", 5), b"hash a", "m", &some(0.5)).unwrap();
        drop(state);
        assert_eq!(State::open(&path, true).unwrap().recall(b"hash a", "m").unwrap(), None);
        assert_eq!(std::fs::read(&path).unwrap().len(), before.len());
    }

    #[test]
    fn posters_are_added_all_or_none_and_what_follows_is_still_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for is_persistent in [true, false] {
            let state = State::open(&path, is_persistent).unwrap();
            // The third repeats an ordinal, which is the primary key.
            let error = state.add(&[poster(1, "a", 5), poster(2, "b", 5), poster(1, "c", 5)]).unwrap_err();
            assert!(error.to_string().contains("UNIQUE constraint failed"), "{error}");
            assert_eq!(state.found().unwrap(), 0, "a part was added");
            assert_eq!(state.with(|sqlite| Ok(sqlite.is_autocommit())).unwrap(), is_persistent, "a savepoint is open");
            state.add(&[poster(1, "a", 5)]).unwrap();
            state.record(&poster(1, "a", 5), b"hash a", "m", &some(0.5)).unwrap();
            drop(state);
            let state = State::open(&path, true).unwrap();
            assert!(state.recall(b"hash a", "m").unwrap().is_some(), "the result was lost with the open savepoint");
        }
    }

    #[test]
    fn files_of_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("foreign");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        assert!(matches!(State::open(&foreign, true), Err(StateError::Foreign { .. })));
        let text = folder.path().join("text");
        std::fs::write(&text, "This is a sentence, and no database at all. ".repeat(99)).unwrap();
        assert!(matches!(State::open(&text, true), Err(StateError::Sqlite { .. })));
        assert!(matches!(State::open(&folder.path().join("no/state"), true), Err(StateError::Sqlite { .. })));
    }
}
