//! A library of films and the genres of their posters.
//!
//! [`scan`] finds the posters, [`state`] remembers what is known of them, [`tag`] reads and classifies what is new or
//! changed, and [`results`] writes what came of it: tables, a gallery, files beside the posters, genres in NFO files.
//! [`watch`] tells when it is time to do so again.

pub mod gallery;
pub mod naming;
pub mod nfo;
pub mod poster_selection;
pub mod results;
pub mod scan;
pub mod state;
pub mod tag;
pub mod thumbnail;
pub mod watch;
