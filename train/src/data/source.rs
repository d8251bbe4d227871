//! Short names of datasets, for people and for the model card.

use std::ffi::OsStr;
use std::path::Path;

use runtime::dataset::Source;

/// A dataset's name without the path that leads to it: the stem of the CSV file, behind the name of its directory.
pub fn short_name(source: &Source) -> String {
    let text = |name: Option<&OsStr>| name.map(|name| name.to_string_lossy().into_owned());
    let file = text(source.csv.file_stem()).unwrap_or_default();
    match text(source.csv.parent().and_then(Path::file_name)) {
        Some(folder) => format!("{folder}-{file}"),
        None => file,
    }
}

/// The names of several datasets in one.
pub fn short_names(sources: &[Source], separator: &str) -> String {
    sources.iter().map(short_name).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_the_last_directory_only() {
        for (csv, expected) in
            [("train.csv", "train"), ("tiny/train.csv", "tiny-train"), ("/home/me/tiny/val.csv=Images", "tiny-val")]
        {
            assert_eq!(short_name(&csv.parse().unwrap()), expected);
        }
        let sources = ["a.csv", "b/c.csv"].map(|csv| csv.parse().unwrap());
        assert_eq!(short_names(&sources, " + "), "a + b-c");
    }
}
