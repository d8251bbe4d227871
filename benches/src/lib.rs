//! Inputs that the benchmarks share, posters and models, and the other libraries that are measured beside this project.

#[cfg(feature = "baselines")]
pub mod baselines;

use std::path::{Path, PathBuf};

use runtime::Model;

/// Widths and heights of posters as they are found: a thumbnail of a media database, a small one, a usual one, a large
/// one.
pub const SIZES: [(u32, u32); 4] = [(182, 268), (300, 444), (1000, 1500), (2000, 3000)];

/// A poster file.
pub struct Poster {
    /// Its size and kind, such as `1000x1500-baseline`.
    pub name: String,
    /// A JPEG with the detail of a real poster, see [`fixtures::photographic`].
    pub jpeg: Vec<u8>,
}

/// A baseline and a progressive poster of each size.
///
/// # Panics
/// If one cannot be drawn.
pub fn posters() -> Vec<Poster> {
    let kinds = [("baseline", false), ("progressive", true)];
    let each = SIZES.into_iter().flat_map(|size| kinds.map(|kind| (size, kind)));
    each.map(|((width, height), (kind, progressive))| Poster {
        name: format!("{width}x{height}-{kind}"),
        jpeg: fixtures::photographic::jpeg(width, height, progressive).expect("the sizes are those of posters"),
    })
    .collect()
}

/// Every model in `models/`, or in the folder that the environment variable `MODELS` names, by its file.
///
/// # Panics
/// If the folder cannot be read or a model in it cannot be used.
pub fn models() -> Vec<(PathBuf, Model)> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let folder = std::env::var_os("MODELS").map_or(shipped, PathBuf::from);
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: cannot be read ({error})", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    let open = |path: PathBuf| {
        let model = Model::open(&path).unwrap_or_else(|error| panic!("{error}"));
        (path, model)
    };
    paths.into_iter().map(open).collect()
}

/// Keeps this thread, and those it starts from now on, on the last processor that it may use, so that the scheduler's
/// moves are not part of a figure. Where the system does not let it, nothing happens.
pub fn pin() {
    if let Some(last) = core_affinity::get_core_ids().and_then(|cores| cores.last().copied()) {
        core_affinity::set_for_current(last);
    }
}
