//! A library of 300 films and 60 series, named as servers' documentation, forums and release groups name them: each has
//! its poster, kind, title, year and NFO file.

#![cfg(feature = "collection")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use fixtures::forms::{self, Truth};
use runtime::collection::nfo::{NfoLocation, nfo_paths};
use runtime::collection::poster_selection::Kind;
use runtime::collection::scan::{Item, Poster, ScanOptions, scan};
use tempfile::TempDir;

/// Forms that are not read as they are meant, and why.
const KNOWN: &[(&str, &str)] = &[];

#[test]
fn films_and_series_are_found_as_they_are_named() {
    let folder = TempDir::new().unwrap();
    let truths = forms::build(folder.path()).unwrap();
    // Three libraries, as the servers have them.
    let mut found: BTreeMap<PathBuf, Poster> = BTreeMap::new();
    for library in ["Films", "Mixed", "Series"] {
        for item in scan(&folder.path().join(library), &ScanOptions::default()) {
            let Item::Poster(poster) = item.unwrap() else { panic!("nobody asked for it") };
            let path = poster.path.strip_prefix(folder.path()).unwrap().to_path_buf();
            found.insert(path, poster);
        }
    }
    let mut wrong: Vec<(&str, String)> = Vec::new();
    let count = truths.len();
    for truth in truths {
        let Some(poster) = found.remove(&truth.poster) else {
            wrong.push((truth.by, format!("{}: no poster", truth.poster.display())));
            continue;
        };
        let problems = problems(folder.path(), &truth, &poster);
        if !problems.is_empty() {
            wrong.push((truth.by, format!("{}: {problems:?}", truth.poster.display())));
        }
    }
    wrong.extend(found.into_keys().map(|path| ("nobody", format!("{}: is no poster", path.display()))));
    let is_known = |by: &str| KNOWN.iter().any(|(known, _)| *known == by);
    let unexplained: Vec<_> = wrong.iter().filter(|(by, _)| !is_known(by)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(100 * wrong.len() <= 2 * count, "{} of {count} are wrong: {wrong:#?}", wrong.len());
}

/// Differences from the expected result.
fn problems(library: &std::path::Path, truth: &Truth, poster: &Poster) -> Vec<String> {
    let mut problems = Vec::new();
    if (poster.kind == Kind::Show) != truth.is_show {
        problems.push(format!("is a {:?}", poster.kind));
    }
    if (&poster.title.title, poster.title.year) != (&truth.title, truth.year) {
        problems.push(format!("{:?} and not {:?} of {:?}", poster.title, truth.title, truth.year));
    }
    let Poster { kind, path, video, common_name, has_own_folder, .. } = poster;
    let location = NfoLocation::new(*kind, path, video.as_deref(), common_name.as_deref(), *has_own_folder);
    let nfo = location.map(nfo_paths).unwrap_or_default();
    // If there are several, the one that Kodi and Jellyfin prefer is among them.
    let is_right = match &truth.nfo {
        Some(expected) => nfo.contains(&library.join(expected)) && (truth.has_nfo || nfo.len() == 1),
        None => nfo.is_empty(),
    };
    if !is_right {
        problems.push(format!("{nfo:?} and not {:?}", truth.nfo));
    }
    problems
}
