//! The state file: an SQLite cache of predictions, so that a run reads only posters that are new or changed, and a run
//! that was killed resumes.
//!
//! A poster is *known* to a model if the cache has a result (a prediction, or why there is none) for the poster's path,
//! size and modification time and for the model's fingerprint. Why there is none counts for one version of the program
//! only: another one may decode what this one cannot.
//!
//! SQLite commits every finished poster in a transaction of its own, needs no memory however large the collection is,
//! and can be inspected with any SQLite client. Table `known` is the cache, with a row for each path that was ever
//! read; the rows of deleted posters stay, because a renamed poster is recognised by its hash. The temporary table
//! `scan` lists the posters of the current pass.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use thiserror::Error;

use super::failure::PosterFailure;
use super::naming::Title;
use super::poster_selection::Kind;

/// SQLite's `application_id` in the file's header, which tells a state file from another program's database.
const APPLICATION_ID: i32 = 0x506f_5374;

/// SQLite's `user_version`; it increases with every change of the persistent tables.
const VERSION: i32 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS known (
        path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, hash BLOB NOT NULL, model TEXT NOT NULL,
        error TEXT, probabilities BLOB, thumbnail BLOB
    ) STRICT;
    CREATE INDEX IF NOT EXISTS known_hash ON known (hash);
    CREATE TEMP TABLE scan (
        ordinal INTEGER PRIMARY KEY, path BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
        kind INTEGER NOT NULL, title TEXT NOT NULL, year INTEGER, video BLOB, common_name TEXT,
        has_own_folder INTEGER NOT NULL
    ) STRICT;";

const SCAN_COLUMNS: &str = "scan.ordinal, scan.path, scan.size, scan.mtime, scan.kind, scan.title, scan.year, \
                            scan.video, scan.common_name, scan.has_own_folder";

/// Joins the cached results of model `?1` to the posters of the scan that have not changed since. Column `model` of a
/// failure is what [`failed_model`] makes.
const IS_CURRENT: &str = concat!(
    "known.path = scan.path AND known.size = scan.size AND known.mtime = scan.mtime \
     AND known.model = CASE WHEN known.error IS NULL THEN ?1 ELSE ?1 || ' ",
    env!("CARGO_PKG_VERSION"),
    "' END"
);

/// A poster that the current pass has found.
#[derive(Clone, Debug, PartialEq)]
pub struct ScannedPoster {
    /// Position in the order of the scan, counted from 1.
    pub ordinal: i64,
    /// Path of the image file.
    pub path: PathBuf,
    /// Size of the image file in bytes.
    pub size: i64,
    /// Modification time of the image file, in nanoseconds since 1970.
    pub mtime: i64,
    /// Film or series.
    pub kind: Kind,
    /// Title and year.
    pub title: Title,
    /// Path of the film's video file, if there is one.
    pub video: Option<PathBuf>,
    /// Common part of the names of the film's files, if it is in several.
    pub common_name: Option<String>,
    /// Whether the folder holds this film or series alone.
    pub has_own_folder: bool,
}

/// A model's prediction for one poster, as the state file keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedPrediction {
    /// Calibrated probability of each genre, `[G]` in card order, each in 0..=1.
    pub probabilities: Vec<f32>,
    /// JPEG file of the poster's thumbnail; see [`thumbnail`](crate::thumbnail::thumbnail).
    pub thumbnail: Vec<u8>,
}

/// A poster of the current pass and its cached result.
#[derive(Debug)]
pub struct Known {
    /// The poster.
    pub poster: ScannedPoster,
    /// The prediction, or [`PosterFailure::Recorded`].
    pub outcome: Result<CachedPrediction, PosterFailure>,
}

/// Why the state file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// SQLite cannot read or write the file, or another run has locked it.
    #[error(
        "{}: cannot be used to remember what is done ({cause}); \
         if no other run uses it, make room and see that it may be written, or name another file with --state",
        path.display()
    )]
    Sqlite {
        /// Path of the state file.
        path: PathBuf,
        /// The error of SQLite.
        cause: rusqlite::Error,
    },
    /// Another program made the file, or another version of this one.
    #[error(
        "{}: was not made by this version of `runtime tag`; remove it or name another file with --state",
        path.display()
    )]
    Foreign {
        /// Path of the state file.
        path: PathBuf,
    },
}

/// An open state file, shared by all threads.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl State {
    /// Opens or creates a state file and locks it. If it is not `persistent`, nothing is written to the file (it is not
    /// created either), and all new results are lost when the `State` is dropped.
    ///
    /// # Errors
    /// [`StateError::Sqlite`] if SQLite fails or another run uses the file, [`StateError::Foreign`] if it is not a
    /// state file of this version.
    pub fn open(path: &Path, persistent: bool) -> Result<Self, StateError> {
        let sqlite = |cause| StateError::Sqlite { path: path.to_path_buf(), cause };
        let in_memory = !persistent && !path.exists();
        let connection =
            if in_memory { Connection::open_in_memory() } else { Connection::open(path) }.map_err(sqlite)?;
        let prepare = || -> rusqlite::Result<bool> {
            // Two runs over one collection would write the same result files.
            connection.execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL; PRAGMA cell_size_check = ON;
                 BEGIN IMMEDIATE",
            )?;
            let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
            // A view, a trigger or a column that is computed would run in every query.
            let (schema, own) = (schema(&connection)?, without_spaces(TABLES));
            let has_own_schema = schema.iter().all(|sql| own.contains(&(without_spaces(sql) + ";")));
            let is_own =
                has_own_schema && (number("application_id")?, number("user_version")?) == (APPLICATION_ID, VERSION);
            if !schema.is_empty() && !is_own {
                return Ok(false);
            }
            connection.execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {TABLES}"
            ))?;
            if persistent {
                connection.execute_batch("COMMIT")?;
                // Only now: it changes the file, and that of another program stays as it is.
                connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
            }
            Ok(true)
        };
        if !prepare().map_err(sqlite)? {
            return Err(StateError::Foreign { path: path.to_path_buf() });
        }
        Ok(Self { path: path.to_path_buf(), connection: Mutex::new(connection) })
    }

    /// Begins a pass: empties the scan, and forgets the failures that may not occur again, such as a file that was
    /// unreadable.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn begin(&self) -> Result<(), StateError> {
        self.with(|sqlite| sqlite.execute_batch("DELETE FROM scan; DELETE FROM known WHERE hash = x''"))
    }

    /// Forgets the predictions of a model that are not for `genres` genres, or lack a part. No run writes such rows,
    /// but the file may come from anywhere.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn forget_misfits(&self, model: &str, genres: usize) -> Result<(), StateError> {
        let delete = "DELETE FROM known WHERE model = ?1 AND error IS NULL
                      AND (length(probabilities) IS NOT 4 * ?2 OR thumbnail IS NULL)";
        self.with(|sqlite| sqlite.execute(delete, params![model, genres]).map(drop))
    }

    /// Adds posters to the scan: all of them or, on an error, none.
    ///
    /// # Errors
    /// If SQLite fails, or an ordinal is in the scan already.
    pub fn add(&self, posters: &[ScannedPoster]) -> Result<(), StateError> {
        self.with(|sqlite| {
            // A savepoint and no transaction: if the state is not persistent, a transaction is open already. It is
            // rolled back when it is dropped without a commit.
            let savepoint = sqlite.savepoint()?;
            let mut insert =
                savepoint.prepare_cached("INSERT INTO scan VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
            for poster in posters {
                let ScannedPoster { ordinal, size, mtime, title, common_name, has_own_folder, .. } = poster;
                let video = poster.video.as_deref().map(path_bytes);
                let is_show = poster.kind == Kind::Show;
                let path = path_bytes(&poster.path);
                let (title, year) = (&title.title, title.year);
                insert.execute(params![
                    ordinal,
                    path,
                    size,
                    mtime,
                    is_show,
                    title,
                    year,
                    video,
                    common_name,
                    has_own_folder
                ])?;
            }
            drop(insert);
            savepoint.commit()
        })
    }

    /// The number of posters in the scan.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn scanned_count(&self) -> Result<usize, StateError> {
        self.with(|sqlite| sqlite.query_row("SELECT count(*) FROM scan", [], |row| row.get(0)))
    }

    /// The number of posters in the scan that are not known to the model of that fingerprint.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn unknown_count(&self, model: &str) -> Result<usize, StateError> {
        let query = format!("SELECT count(*) FROM scan WHERE NOT EXISTS (SELECT 1 FROM known WHERE {IS_CURRENT})");
        self.with(|sqlite| sqlite.query_row(&query, [model], |row| row.get(0)))
    }

    /// The first `limit` posters behind the ordinal `after` that are not known to the model; with `all`, known ones,
    /// too.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn next_unknown(
        &self,
        model: &str,
        after: i64,
        limit: usize,
        all: bool,
    ) -> Result<Vec<ScannedPoster>, StateError> {
        let query = format!(
            "SELECT {SCAN_COLUMNS} FROM scan WHERE ordinal > ?2
             AND (?4 OR NOT EXISTS (SELECT 1 FROM known WHERE {IS_CURRENT})) ORDER BY ordinal LIMIT ?3"
        );
        self.with(|sqlite| {
            let mut query = sqlite.prepare_cached(&query)?;
            query.query_map(params![model, after, limit, all], scanned_poster)?.collect()
        })
    }

    /// The posters in the scan that are not known to the model and were modified after `since`, in nanoseconds since
    /// 1970.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn unknown_since(&self, model: &str, since: i64) -> Result<Vec<ScannedPoster>, StateError> {
        let query = format!(
            "SELECT {SCAN_COLUMNS} FROM scan WHERE mtime > ?2 AND NOT EXISTS (SELECT 1 FROM known WHERE {IS_CURRENT})"
        );
        self.with(|sqlite| sqlite.prepare_cached(&query)?.query_map(params![model, since], scanned_poster)?.collect())
    }

    /// Removes a poster from the scan, so that the current pass skips it.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn remove(&self, poster: &ScannedPoster) -> Result<(), StateError> {
        self.with(|sqlite| sqlite.execute("DELETE FROM scan WHERE ordinal = ?1", [poster.ordinal]).map(drop))
    }

    /// Looks up the prediction for a file of the same bytes, whatever its path. `hash` is the SHA-256 of the bytes.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn look_up(&self, hash: &[u8], model: &str) -> Result<Option<CachedPrediction>, StateError> {
        let query = "SELECT error, probabilities, thumbnail FROM known
                     WHERE hash = ?1 AND model = ?2 AND error IS NULL LIMIT 1";
        let cached = self.with(|sqlite| {
            sqlite.prepare_cached(query)?.query_row(params![hash, model], |row| cached_outcome(row, 0)).optional()
        })?;
        Ok(cached.and_then(Result::ok))
    }

    /// Caches a poster's prediction, or the message of its failure. A failure without a `hash` is forgotten by the next
    /// [`begin`](Self::begin).
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn record(
        &self,
        poster: &ScannedPoster,
        hash: &[u8],
        model: &str,
        outcome: &Result<CachedPrediction, PosterFailure>,
    ) -> Result<(), StateError> {
        let error = outcome.as_ref().err().map(PosterFailure::to_string);
        let prediction = outcome.as_ref().ok();
        let probabilities: Option<Vec<u8>> = prediction
            .map(|prediction| prediction.probabilities.iter().flat_map(|value| value.to_le_bytes()).collect());
        let thumbnail = prediction.map(|prediction| &prediction.thumbnail);
        let model = if error.is_some() { failed_model(model) } else { model.into() };
        self.with(|sqlite| {
            let mut insert =
                sqlite.prepare_cached("INSERT OR REPLACE INTO known VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
            let path = path_bytes(&poster.path);
            insert.execute(params![path, poster.size, poster.mtime, hash, model, error, probabilities, thumbnail])?;
            Ok(())
        })
    }

    /// The first `limit` posters behind the ordinal `after` that are known to the model, with their results.
    ///
    /// # Errors
    /// If SQLite fails.
    pub fn next_known(&self, model: &str, after: i64, limit: usize) -> Result<Vec<Known>, StateError> {
        let query = format!(
            "SELECT {SCAN_COLUMNS}, error, probabilities, thumbnail FROM scan JOIN known ON {IS_CURRENT}
             WHERE ordinal > ?2 ORDER BY ordinal LIMIT ?3"
        );
        self.with(|sqlite| {
            let mut query = sqlite.prepare_cached(&query)?;
            let known = |row: &Row| Ok(Known { poster: scanned_poster(row)?, outcome: cached_outcome(row, 10)? });
            query.query_map(params![model, after, limit], known)?.collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        // A thread that panicked while it held the lock left SQLite consistent: every statement is atomic.
        let mut connection: MutexGuard<Connection> = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|cause| StateError::Sqlite { path: self.path.clone(), cause })
    }
}

/// The statements that made what is in the file: tables, indices, views and triggers.
fn schema(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    query.query_map([], |row| row.get(0))?.collect()
}

/// A statement as it is compared: versions of this program have written it with other line breaks.
fn without_spaces(sql: &str) -> String {
    sql.replace("IF NOT EXISTS", "").split_whitespace().collect()
}

/// The key of a failure's model: its fingerprint, and the version of the program that could not read
/// the poster.
fn failed_model(model: &str) -> String {
    format!("{model} {}", env!("CARGO_PKG_VERSION"))
}

/// Reads the first columns of a row, [`SCAN_COLUMNS`].
fn scanned_poster(row: &Row) -> rusqlite::Result<ScannedPoster> {
    Ok(ScannedPoster {
        ordinal: row.get(0)?,
        path: path_from(row.get(1)?),
        size: row.get(2)?,
        mtime: row.get(3)?,
        kind: if row.get(4)? { Kind::Show } else { Kind::Film },
        title: Title { title: row.get(5)?, year: row.get(6)? },
        video: row.get::<_, Option<Vec<u8>>>(7)?.map(path_from),
        common_name: row.get(8)?,
        has_own_folder: row.get(9)?,
    })
}

/// Reads the error, probabilities and thumbnail in three columns, of which `first` is the index of the first.
fn cached_outcome(row: &Row, first: usize) -> rusqlite::Result<Result<CachedPrediction, PosterFailure>> {
    if let Some(message) = row.get(first)? {
        return Ok(Err(PosterFailure::Recorded { message }));
    }
    let probabilities: Vec<u8> = row.get(first + 1)?;
    let probabilities = probabilities.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Ok(CachedPrediction { probabilities, thumbnail: row.get(first + 2)? }))
}

/// The bytes of a path, whether or not it is UTF-8.
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

    fn poster(ordinal: i64, name: &str, mtime: i64) -> ScannedPoster {
        ScannedPoster {
            ordinal,
            path: name.into(),
            size: 7,
            mtime,
            kind: if ordinal == 2 { Kind::Show } else { Kind::Film },
            title: Title { title: name.to_uppercase(), year: (ordinal == 1).then_some(1999) },
            video: (ordinal == 1).then(|| "a.mkv".into()),
            common_name: (ordinal == 1).then(|| "a".into()),
            has_own_folder: ordinal == 1,
        }
    }

    fn prediction(probability: f32) -> CachedPrediction {
        CachedPrediction { probabilities: vec![probability, 0.25], thumbnail: vec![1, 2, 3] }
    }

    fn failure(message: &str) -> Result<CachedPrediction, PosterFailure> {
        Err(PosterFailure::Recorded { message: message.into() })
    }

    #[test]
    fn results_are_cached_for_the_same_file_and_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = State::open(&path, true).unwrap();
        let posters = [poster(1, "a", 5), poster(2, "b", 5), poster(3, "c", 5)];
        first.add(&posters).unwrap();
        assert_eq!(first.next_unknown("m", 0, 9, false).unwrap(), posters);
        first.record(&posters[0], b"hash a", "m", &Ok(prediction(0.5))).unwrap();
        first.record(&posters[1], b"hash b", "m", &failure("is broken")).unwrap();
        assert_eq!(
            (first.scanned_count().unwrap(), first.unknown_count("m").unwrap(), first.unknown_count("n").unwrap()),
            (3, 1, 3)
        );
        assert!(matches!(State::open(&path, true), Err(StateError::Sqlite { .. })), "two runs share a state file");
        drop(first);

        let second = State::open(&path, true).unwrap();
        let changed = [poster(1, "a", 6), poster(2, "b", 5), poster(3, "d", 5)];
        second.add(&changed).unwrap();
        second.record(&changed[2], b"", "m", &failure("may not be read")).unwrap();
        assert_eq!(second.unknown_count("m").unwrap(), 1);
        drop(second);
        let second = State::open(&path, true).unwrap();
        second.begin().unwrap();
        second.add(&changed).unwrap();
        assert_eq!(second.next_unknown("m", 0, 9, false).unwrap(), [changed[0].clone(), changed[2].clone()]);
        assert_eq!(second.next_unknown("m", 1, 1, true).unwrap(), [changed[1].clone()]);
        let known = second.next_known("m", 0, 9).unwrap();
        assert_eq!(known.len(), 1, "{known:?}");
        assert_eq!(known[0].poster, changed[1]);
        assert!(matches!(&known[0].outcome, Err(PosterFailure::Recorded { message }) if message == "is broken"));
        assert_eq!(second.look_up(b"hash a", "m").unwrap(), Some(prediction(0.5)));
        assert_eq!(second.look_up(b"hash a", "n").unwrap(), None);
        assert_eq!(second.look_up(b"hash b", "m").unwrap(), None);
    }

    #[test]
    fn a_state_that_is_not_persistent_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for _ in 0..2 {
            let state = State::open(&path, false).unwrap();
            state.add(&[poster(1, "a", 5)]).unwrap();
            assert_eq!(state.unknown_count("m").unwrap(), 1);
            state.record(&poster(1, "a", 5), b"hash a", "m", &Ok(prediction(0.5))).unwrap();
            assert_eq!(state.unknown_count("m").unwrap(), 0);
        }
        assert!(!path.exists());
        drop(State::open(&path, true).unwrap());
        let before = std::fs::read(&path).unwrap();
        let state = State::open(&path, false).unwrap();
        state.add(&[poster(1, "a", 5)]).unwrap();
        state.record(&poster(1, "a", 5), b"hash a", "m", &Ok(prediction(0.5))).unwrap();
        drop(state);
        assert_eq!(State::open(&path, true).unwrap().look_up(b"hash a", "m").unwrap(), None);
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
            assert_eq!(state.scanned_count().unwrap(), 0, "a part was added");
            assert_eq!(state.with(|sqlite| Ok(sqlite.is_autocommit())).unwrap(), is_persistent, "a savepoint is open");
            state.add(&[poster(1, "a", 5)]).unwrap();
            state.record(&poster(1, "a", 5), b"hash a", "m", &Ok(prediction(0.5))).unwrap();
            drop(state);
            let state = State::open(&path, true).unwrap();
            assert!(state.look_up(b"hash a", "m").unwrap().is_some(), "the result was lost with the open savepoint");
        }
    }

    /// The tables as released versions have written them.
    #[test]
    fn state_files_of_older_versions_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "PRAGMA application_id = 1349473140; PRAGMA user_version = 1;
                 CREATE TABLE known (
                     path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, hash BLOB NOT NULL,
                     model TEXT NOT NULL, error TEXT, probabilities BLOB, thumbnail BLOB
                 ) STRICT;
                 CREATE INDEX known_hash ON known (hash);
                 INSERT INTO known VALUES (x'61', 7, 5, x'0a', 'm', NULL, x'0000003f0000803e', x'010203');
                 INSERT INTO known VALUES (x'62', 7, 5, x'0b', 'm', 'b: is broken', NULL, NULL);
                 INSERT INTO known VALUES (x'63', 7, 5, x'0c', 'm 0.0.1', 'c: is broken', NULL, NULL);",
            )
            .unwrap();
        let posters = [poster(1, "a", 5), poster(2, "b", 5), poster(3, "c", 5)];
        let outcomes = |state: &State| {
            state.begin().unwrap();
            state.add(&posters).unwrap();
            let known = state.next_known("m", 0, 9).unwrap().into_iter();
            known.map(|known| known.outcome.map_err(|error| error.to_string())).collect::<Vec<_>>()
        };
        let state = State::open(&path, true).unwrap();
        assert_eq!(outcomes(&state), [Ok(prediction(0.5))]);
        // This version may read what older ones could not, and tries it once.
        assert_eq!(state.next_unknown("m", 0, 9, false).unwrap(), posters[1..]);
        state.record(&posters[1], b"hash b", "m", &failure("b: is still broken")).unwrap();
        state.record(&posters[2], b"hash c", "m", &Ok(prediction(0.75))).unwrap();
        drop(state);
        let state = State::open(&path, true).unwrap();
        assert_eq!(
            outcomes(&state),
            [Ok(prediction(0.5)), Err("b: is still broken".to_string()), Ok(prediction(0.75))]
        );
        assert_eq!(state.unknown_count("m").unwrap(), 0);
    }

    #[test]
    fn predictions_of_another_number_of_genres_are_forgotten() {
        let state = State::open(Path::new("no/state"), false).unwrap();
        let posters = [poster(1, "a", 5), poster(2, "b", 5)];
        state.add(&posters).unwrap();
        state.record(&posters[0], b"hash a", "m", &Ok(prediction(0.5))).unwrap();
        state.record(&posters[1], b"hash b", "m", &failure("is broken")).unwrap();
        state.forget_misfits("m", 2).unwrap();
        state.forget_misfits("n", 3).unwrap();
        assert_eq!(state.next_known("m", 0, 9).unwrap().len(), 2);
        state.forget_misfits("m", 3).unwrap();
        assert_eq!(state.look_up(b"hash a", "m").unwrap(), None);
        assert_eq!(state.next_known("m", 0, 9).unwrap().len(), 1, "the failure was forgotten, too");
    }

    #[test]
    fn files_of_other_programs_are_refused_and_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("foreign");
        let own = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
        let cases = [
            "CREATE TABLE t (a)".to_string(),
            "CREATE TABLE known (path)".to_string(),
            format!("{own} CREATE TABLE t (a)"),
            format!("{own} CREATE TABLE known (path BLOB PRIMARY KEY, size INTEGER AS (7)) STRICT"),
            format!(
                "{own} CREATE VIEW known AS
                 WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n FROM t) SELECT n FROM t"
            ),
            format!("{own} {TABLES} CREATE TRIGGER t AFTER INSERT ON known BEGIN DELETE FROM known; END"),
        ];
        for sql in cases {
            Connection::open(&foreign).unwrap().execute_batch(&sql).unwrap();
            let before = std::fs::read(&foreign).unwrap();
            for persistent in [true, false] {
                assert!(matches!(State::open(&foreign, persistent), Err(StateError::Foreign { .. })), "{sql}");
                assert!(std::fs::read(&foreign).unwrap() == before, "{sql}: the file has changed");
            }
            std::fs::remove_file(&foreign).unwrap();
        }
        let text = folder.path().join("text");
        std::fs::write(&text, "This is a sentence, and no database at all. ".repeat(99)).unwrap();
        assert!(matches!(State::open(&text, true), Err(StateError::Sqlite { .. })));
        assert!(matches!(State::open(&folder.path().join("no/state"), true), Err(StateError::Sqlite { .. })));
    }
}
