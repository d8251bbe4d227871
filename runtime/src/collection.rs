//! Media collections: finds the posters in a folder of films and series, classifies them, and writes their genres.
//!
//! [`scan`] finds the posters, [`state`] caches predictions in SQLite, [`tag`] classifies posters that are new or
//! changed, and [`results`] writes tables, an HTML [`gallery`], sidecar files and genres in [NFO files](nfo). [`watch`]
//! tells when the next pass is due.

pub mod failure;
pub mod gallery;
pub mod naming;
pub mod nfo;
pub mod poster_selection;
pub mod results;
pub mod scan;
pub mod state;
pub mod tag;
pub mod watch;
