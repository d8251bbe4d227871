//! With the feature `reimport`, generates burn code from the shipped ONNX model, for `tests/reimport.rs`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "reimport")]
    burn_onnx::ModelGen::new().input("../models/poster-genres-f32.onnx").out_dir("model/").run_from_script();
}
