//! Classifies every picture of a folder on all cores: `cargo run --release -p runtime --example folder -- FOLDER`
//!
//! One model serves all threads. A picture that cannot be used costs a line on standard error and nothing else.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Mutex;
use std::{fs, thread};

use runtime::Model;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: folder FOLDER")?;
    let model = Model::shipped()?;
    let point = model.operating_point("precise")?;
    let paths: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let queue = Mutex::new(paths.into_iter());
    let work = || {
        loop {
            let next = queue.lock().expect("no thread panics while it holds the lock").next();
            let Some(path) = next else { break };
            match model.classify_file(&path) {
                Ok(prediction) => {
                    let genres: Vec<&str> = prediction.genres(point).iter().map(|genre| genre.name).collect();
                    println!("{}: {}", path.display(), genres.join(", "));
                }
                Err(error) => eprintln!("{error}"),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    Ok(())
}
