//! Runs a model of one's own: `cargo run --release -p runtime --example custom_model -- model.onnx poster.jpg`
//!
//! The model is any file that `train export` wrote. With the feature `tract` it may be any other ONNX graph, too, if its
//! metadata holds a model card (see `runtime::model::card`).

use std::error::Error;

use runtime::{Engine, ModelOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(poster)) = (arguments.next(), arguments.next()) else {
        return Err("usage: custom_model MODEL POSTER".into());
    };
    let model = ModelOptions::new().engine(Engine::Auto).max_pixels(50_000_000).open(model)?;
    println!("{} by {:?}, {} genres", model.id(), model.engine()?, model.card().genres.len());

    let bytes = std::fs::read(poster)?;
    let prediction = model.classify(&bytes)?;
    for genre in prediction.ranked(model.default_operating_point()).iter().take(5) {
        let mark = if genre.is_predicted() { '*' } else { ' ' };
        println!(
            "{mark} {:12} {:5.1} %, threshold {:.1} %",
            genre.name,
            100.0 * genre.probability,
            100.0 * genre.threshold
        );
    }
    Ok(())
}
