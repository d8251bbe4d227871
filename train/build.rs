//! With the feature `reimport`, turns the shipped model back into burn code, for the test that holds it against tract.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "reimport")]
    burn_onnx::ModelGen::new().input("../models/poster-genres.onnx").out_dir("model/").run_from_script();
}
