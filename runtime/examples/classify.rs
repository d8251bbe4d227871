//! Prints the genres of one poster: `cargo run --release -p runtime --example classify -- poster.jpg`

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: classify POSTER")?;
    let model = runtime::Model::shipped()?;
    let prediction = model.classify_file(path)?;
    for genre in prediction.genres(model.operating_point("balanced")?) {
        println!("{:12} {:5.1} %", genre.name, 100.0 * genre.probability);
    }
    Ok(())
}
