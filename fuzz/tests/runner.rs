//! The runner on a fixed number of inputs of each target.

use std::process::Command;

#[test]
fn no_target_fails_on_a_fixed_number_of_inputs() {
    let cases = [("jpeg png webp nfo table card", "3000"), ("state onnx native", "500")];
    for (targets, inputs) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_fuzz"))
            .args(targets.split(' '))
            .args(["--inputs", inputs])
            .output()
            .expect("the runner starts");
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{}{}", printed[0], printed[1]);
    }
}

#[test]
fn an_unknown_target_is_refused_with_the_names_of_the_known_ones() {
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz")).arg("gif").output().expect("the runner starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("\"gif\"") && error.contains("jpeg"), "{error}");
}
