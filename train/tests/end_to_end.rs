//! The program `train` as a user calls it, from a CSV of drawn posters to an ONNX file that other tools can read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rten_tensor::prelude::*;
use runtime::dataset::Dataset;
use runtime::metrics::{Bootstrap, Evaluation};
use runtime::{Model as OnnxModel, ModelOptions, operating_point, preprocess};
use tempfile::TempDir;
use train::model::exported;
use train::predict;

fn fixture(name: &str) -> String {
    fixtures::path(name).display().to_string()
}

/// A temporary directory for runs and cache, in which commands run.
struct Workspace(TempDir);

impl Workspace {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fit(&self, run: &str, epochs: &str) -> Vec<String> {
        let arguments = ["fit", &fixture("tiny/train.csv"), "--validation", &fixture("tiny/val.csv"), "--run", run];
        let settings = ["--epochs", epochs, "--batch-size", "16", "--seed", "7"];
        arguments.into_iter().chain(settings).map(str::to_string).collect()
    }

    /// The history of a run without what depends on the clock.
    fn history(&self, run: &str) -> Vec<Vec<String>> {
        let mut csv = csv::Reader::from_path(self.path(run) + "/history.csv").unwrap();
        let kept: Vec<usize> = (csv.headers().unwrap().iter().enumerate())
            .filter(|(_, name)| !["seconds", "posters_per_second", "data_wait_fraction"].contains(name))
            .map(|(column, _)| column)
            .collect();
        csv.records()
            .map(|row| kept.iter().map(|&column| row.as_ref().unwrap()[column].to_string()).collect())
            .collect()
    }
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn fit_evaluate_and_export_give_a_model_that_every_runtime_reads() {
    let workspace = Workspace::new();
    workspace.must(&strs(&workspace.fit("run", "10")));
    let validation: Evaluation =
        serde_json::from_slice(&fs::read(workspace.path("run/figures/validation.json")).unwrap()).unwrap();
    // Chance is the mean prevalence, about 0.36.
    let learned = validation.averages.mean_average_precision;
    assert!(learned > 0.7, "the network learned nothing: mAP {learned}");

    let test = fixture("tiny/test.csv");
    let by_burn = workspace.must(&["evaluate", &test, "--run", "run"]);
    let printed = workspace.must(&["export", "model.onnx", "--run", "run"]);
    assert!(printed.contains("burn and tract agree on 256 posters"), "{printed}");

    let network = OnnxModel::open(Path::new(&workspace.path("model.onnx"))).unwrap();
    let card = network.card();
    assert_eq!(card.genres, ["Comedy", "Horror", "Romance", "Sci-Fi", "Western"]);
    assert_eq!(card.figures.keys().collect::<Vec<_>>(), ["tiny-test", "validation"]);
    assert!(!serde_json::to_string(&card.training).unwrap().contains(&fixture("")), "the card tells of this machine");

    let manifest = Dataset::read(&[test.parse().unwrap()]).unwrap();
    let inputs: Vec<Vec<f32>> = (manifest.posters.iter())
        .map(|labelled| {
            preprocess::tensor(&preprocess::open_for(&labelled.path, card.input.size()).unwrap(), &card.input)
        })
        .collect();
    let by_tract: Vec<f32> = inputs.iter().flat_map(|input| network.probabilities(input).unwrap()).collect();
    let point = operating_point::find(&card.operating_points, None).unwrap();
    let figures = manifest.evaluate(&by_tract, &point.thresholds, Some(Bootstrap::default()));
    assert_eq!(by_burn.trim_end(), figures.table().trim_end(), "burn and tract print other figures");

    runtimes_agree(Path::new(&workspace.path("model.onnx")), manifest.posters.iter().map(|poster| &*poster.path));

    workspace.must(&["report", "run", "--out", "of-run"]);
    workspace.must(&["report", "--model", "model.onnx", "--labels", &test, "--out", "of-model"]);
    let read = |name: &str| fs::read_to_string(workspace.path(name)).unwrap();
    let saved = ["of-run/metrics/run-tiny-test.json", "of-run/metrics/run-validation.json"].map(read);
    assert_eq!(saved, ["run/figures/tiny-test.json", "run/figures/validation.json"].map(read));
    let by_model: Evaluation = serde_json::from_str(&read("of-model/metrics/model-tiny-test.json")).unwrap();
    assert_eq!(by_model, figures, "the report of a model has other figures than its evaluation");
    for name in ["of-run/index.html", "of-run/examples.html", "of-model/index.html", "of-model/examples.html"] {
        assert!(read(name).ends_with("</html>\n"), "{name}");
    }
    assert!(read("of-run/metrics.md").contains(by_burn.trim_end()), "the tables are not those of evaluate");
}

/// A MobileNet from random weights, from a run with other genres, from an exported model, and a CNN with a teacher.
#[test]
fn a_mobilenet_is_trained_fine_tuned_and_distilled() {
    let workspace = Workspace::new();
    let mut first = workspace.fit("first", "1");
    first.extend(["--architecture", "mobilenet", "--width", "48", "--height", "70"].map(str::to_string));
    workspace.must(&strs(&first));
    workspace.must(&["export", "first.onnx", "--run", "first"]);

    let text = fs::read_to_string(fixture("tiny/train.csv")).unwrap().replacen("Western", "Noir", 1);
    fs::write(workspace.path("train.csv"), text).unwrap();
    let images = format!("train.csv={}", fixture("tiny/Images"));
    let validation = fixture("tiny/val.csv");
    let second =
        ["fit", &images, "--validation", &validation, "--run", "second", "--epochs", "1", "--batch-size", "16"];
    let from =
        ["--architecture", "mobilenet", "--width", "48", "--height", "70", "--pretrained", "first", "--freeze", "7"];
    let rest = [
        "--backbone-lr-scale",
        "0.1",
        "--loss",
        "asl",
        "--mix",
        "cutmix",
        "--color-jitter",
        "0.1",
        "--sampling",
        "0.5",
    ];
    workspace.must(&[&second[..], &from, &rest].concat());
    let onwards = [
        "--pretrained",
        "first.onnx",
        "--learning-rate",
        "1e-6",
        "--warmup",
        "0",
        "--no-flip",
        "--random-resized-crop",
        "0",
    ];
    let mut again = workspace.fit("again", "1");
    again.extend(first[first.len() - 6..].iter().cloned().chain(onwards.map(str::to_string)));
    workspace.must(&strs(&again));
    let loss = |run: &str| workspace.history(run)[0][3].parse::<f64>().unwrap();
    assert!((loss("again") - loss("first")).abs() < 0.02, "{} is not where {} was", loss("again"), loss("first"));
    let settings = fs::read_to_string(workspace.path("again/settings.json")).unwrap();
    assert!(settings.contains("tiny-train"), "the run does not know what it started from: {settings}");
    let third = ["fit", &images, "--validation", &validation, "--run", "third", "--teacher", "first.onnx"];
    let output = workspace.run(&third);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("first.onnx: does not know every genre"), "{errors}");

    let mut taught = workspace.fit("taught", "1");
    taught.extend(["--teacher", "first.onnx"].map(str::to_string));
    workspace.must(&strs(&taught));

    let manifest = Dataset::read(&[fixture("tiny/test.csv").parse().unwrap()]).unwrap();
    let posters = manifest.posters.iter().take(8).map(|poster| &*poster.path);
    runtimes_agree(Path::new(&workspace.path("first.onnx")), posters);
}

#[test]
fn the_shipped_models_give_the_same_probabilities_in_every_runtime() {
    let files = |folder: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let posters = files(fixtures::path("posters"));
    let mut models = files(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models"));
    models.retain(|path| path.extension().is_some_and(|kind| kind == "onnx"));
    assert_eq!(models.len(), 4);
    for model in models {
        runtimes_agree(&model, posters.iter().map(|path| &**path));
    }
}

/// Asserts that the runtime, rten, burn with the network read back and, where Python has it, ONNX Runtime give the same
/// probabilities: within 1e-4, or 0.05 in int8, where a code between two integers may be rounded either way. (burn has the
/// weights of the integers, not their activations.)
fn runtimes_agree<'a>(model: &Path, posters: impl Iterator<Item = &'a Path>) {
    let network = ModelOptions::new().from_bytes(&fs::read(model).unwrap(), "the model").unwrap();
    let input = &network.card().input;
    let inputs: Vec<Vec<f32>> =
        posters.map(|path| preprocess::tensor(&preprocess::open_for(path, input.size()).unwrap(), input)).collect();
    let by_tract: Vec<f32> = inputs.iter().flat_map(|input| network.probabilities(input).unwrap()).collect();
    let is_int8 = network.kernels().unwrap().starts_with("int8");
    let tolerance = if is_int8 { 0.05 } else { 1e-4 };
    rten_agrees(model, &inputs, &by_tract, [input.height, input.width], tolerance);
    burn_agrees(model, &inputs, &by_tract, if is_int8 { 0.3 } else { 1e-4 });
    python_agrees(model, &inputs, &by_tract, [input.height, input.width], tolerance);
}

fn rten_agrees(model: &Path, inputs: &[Vec<f32>], expected: &[f32], [height, width]: [u32; 2], tolerance: f32) {
    let model = rten::Model::load(fs::read(model).unwrap()).unwrap();
    let shape = [inputs.len(), 3, height as usize, width as usize];
    let batch = rten_tensor::NdTensor::from_data(shape, inputs.concat());
    let output: rten_tensor::NdTensor<f32, 2> = model.run_one(batch.into(), None).unwrap().try_into().unwrap();
    let largest = output.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert_eq!(output.len(), expected.len());
    assert!(largest <= tolerance, "rten and tract differ by {largest}");
}

fn burn_agrees(model: &Path, inputs: &[Vec<f32>], expected: &[f32], tolerance: f32) {
    let (model, card) = exported::read(model).unwrap();
    let found = predict::probabilities(&predict::forward(&model, inputs.len(), inputs.concat(), &card.input));
    let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert_eq!(found.len(), expected.len());
    assert!(largest <= tolerance, "burn and tract differ by {largest}");
}

/// Lets Python's `onnx` check the file and ONNX Runtime run it, where Python has both.
fn python_agrees(model: &Path, inputs: &[Vec<f32>], expected: &[f32], [height, width]: [u32; 2], tolerance: f32) {
    let workspace = Workspace::new();
    let write = |name: &str, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(workspace.path(name), bytes).unwrap();
    };
    write("inputs.f32", &inputs.concat());
    write("expected.f32", expected);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_onnx.py");
    let output = Command::new(&python)
        .args([&script, &fs::canonicalize(model).unwrap()])
        .args(["inputs.f32", "expected.f32", &height.to_string(), &width.to_string(), &tolerance.to_string()])
        .current_dir(workspace.0.path())
        .output();
    const MISSING: i32 = 77;
    match output {
        Err(error) => eprintln!("skipped: {python} cannot be started ({error})"),
        Ok(output) if output.status.code() == Some(MISSING) => {
            eprintln!("skipped: {}", String::from_utf8_lossy(&output.stdout).trim());
        }
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            eprint!("{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

#[test]
fn a_run_killed_at_any_moment_resumes_to_the_same_result() {
    let workspace = Workspace::new();
    // A resumed run must take the options for its labels from its configuration.
    let fit = |run: &str| [workspace.fit(run, "5"), ["--list-limit", "2"].map(String::from).to_vec()].concat();
    workspace.must(&strs(&fit("whole")));
    let settings: serde_json::Value =
        serde_json::from_slice(&fs::read(workspace.path("whole/settings.json")).unwrap()).unwrap();
    assert_eq!(settings["list_limit"], 2);
    let undisturbed = workspace.history("whole");
    assert_eq!(undisturbed.len(), 5);

    let start = fit("killed");
    let mut arguments = strs(&start);
    let mut kills = 0;
    // Later and later, so that the run comes to its end; early kills strike before, in and between epochs.
    for delay in [150, 400, 500, 650, 800, 1000] {
        let mut child = workspace.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(delay));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if Path::new(&workspace.path("killed/settings.json")).exists() {
            arguments = vec!["fit", "--resume", "--run", "killed"];
        }
    }
    workspace.must(&arguments);
    assert!(kills > 0, "no kill struck a running process");
    assert_eq!(workspace.history("killed"), undisturbed);
    let figures = |run: &str| fs::read_to_string(workspace.path(run) + "/figures/validation.json").unwrap();
    assert_eq!(figures("killed"), figures("whole"));
    let left: Vec<String> = fs::read_dir(workspace.path("killed"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left.iter().filter(|name| name.starts_with("best-")).count(), 1, "{left:?}");
    assert_eq!(left.iter().filter(|name| name.starts_with("epoch-")).count(), 3, "{left:?}");
}

#[test]
fn ctrl_c_keeps_the_epochs_done() {
    let workspace = Workspace::new();
    let mut child = workspace
        .command(&strs(&workspace.fit("run", "500")))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..600 {
        thread::sleep(Duration::from_millis(100));
        if Path::new(&workspace.path("run/history.csv")).exists() {
            break;
        }
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    workspace.must(&["tune", "--run", "run"]);
    workspace.must(&["export", "model.onnx", "--run", "run"]);
}

#[test]
fn a_reader_that_closes_the_pipe_ends_no_command_before_its_work_is_done() {
    let workspace = Workspace::new();
    let [train, val] = ["tiny/train.csv", "tiny/val.csv"].map(fixture);
    let fit = workspace.fit("run", "2");
    let fit = strs(&fit);
    let cases: [(&[&str], &str); 7] = [
        (fit.as_slice(), "run/operating-points.json"),
        (&["tune", "--run", "run"], "run/calibration.json"),
        (&["evaluate", &val, "--run", "run"], "run/figures/tiny-val.json"),
        (&["evaluate", "--json", &val, "--run", "run"], "run/figures/tiny-val.json"),
        (&["export", "model.onnx", "--run", "run"], "model.onnx"),
        (&["inspect", &train], ""),
        (&["split", &train, "--out", "parts"], "parts/test.csv"),
    ];
    for (arguments, result) in cases {
        let mut command = workspace.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(Path::new(&workspace.path(result)).exists(), "{arguments:?} has not made {result}");
    }
}

#[test]
fn errors_name_the_file_and_the_problem_in_one_line() {
    let workspace = Workspace::new();
    workspace.must(&strs(&workspace.fit("run", "1")));
    let (train, val) = (fixture("tiny/train.csv"), fixture("tiny/val.csv"));
    let (missing, cell) = (fixture("broken/missing-images.csv"), fixture("broken/bad-cell.csv"));
    let (no_card, no_images) = (fixture("broken/no-card.onnx"), fixture("broken/no-images.csv"));
    let cases: [(&[&str], i32, &str); 16] = [
        (&["inspect", &missing], 1, "gone-1.jpg: cannot be read"),
        (&["inspect", &no_images], 1, "none of the 2 posters can be read (first: "),
        (&["split", &no_images, "--out", "parts"], 2, "none of the 2 posters can be read (first: "),
        (&["inspect", &cell], 2, "bad-cell.csv, line 3: the cell of Horror is \"maybe\""),
        (&["inspect", &fixture("broken/empty.csv")], 2, "empty.csv: holds no poster"),
        (&["evaluate", &val], 2, "runs: holds no run"),
        (&["evaluate", &val, "--run", "nowhere"], 2, "nowhere: is not a run's directory"),
        (&["evaluate", &val, "--run", "run", "--operating-point", "bold"], 2, "no operating point \"bold\""),
        (&["export", "/proc/model.onnx", "--run", "run"], 2, "/proc/model.onnx: cannot be written"),
        (&["export", "m.onnx", "--run", "run", "--parity-data", &missing], 2, "only 4 posters to compare"),
        (
            &["export", "m.onnx", "--run", "run", "--int8"],
            2,
            "run: is a cnn, and only a mobilenet can be exported in int8",
        ),
        (&["fit", &train, "--validation", &val, "--run", "run"], 2, "run: holds a run already"),
        (&["fit", &train, "--validation", &val, "--pretrained", "no.onnx"], 2, "no.onnx: cannot be read"),
        (&["fit", &train, "--validation", &val, "--pretrained", &no_card], 2, "no-card.onnx: has no card"),
        (&["split", &train, "--parts", "a=0"], 2, "must be a positive number"),
        (&["split", "--check", &train, &train], 2, "near-identical posters lie in different parts"),
    ];
    let mut problems = Vec::new();
    for (arguments, status, message) in cases {
        let output = workspace.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        if output.status.code() != Some(status) || !errors.contains(message) || errors.contains("panicked") {
            problems.push(format!("{arguments:?}: {:?}, {errors}", output.status));
        }
    }
    assert!(!Path::new(&workspace.path("m.onnx")).exists(), "a model that failed the parity check is left behind");
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_run_does_not_resume_with_other_data() {
    let workspace = Workspace::new();
    fs::create_dir(workspace.path("Images")).unwrap();
    for entry in fs::read_dir(fixture("tiny/Images")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, Path::new(&workspace.path("Images")).join(path.file_name().unwrap())).unwrap();
    }
    let text = fs::read_to_string(fixture("tiny/train.csv")).unwrap();
    fs::write(workspace.path("train.csv"), &text).unwrap();
    fs::copy(fixture("tiny/val.csv"), workspace.path("val.csv")).unwrap();
    workspace.must(&["fit", "train.csv", "--validation", "val.csv", "--epochs", "1"]);
    let row = text.lines().nth(1).unwrap().to_string();
    fs::write(workspace.path("train.csv"), text.replace(&format!("{row}\n"), "")).unwrap();
    let output = workspace.run(&["fit", "--resume"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("have changed since the run began"));
}

#[test]
fn split_makes_parts_that_pass_its_check() {
    let workspace = Workspace::new();
    workspace.must(&[
        "split",
        &fixture("tiny/train.csv"),
        "--parts",
        "train=70,val=30",
        "--out",
        "parts",
        "--seed",
        "3",
    ]);
    let read = |name: &str| Dataset::read(&[workspace.path(name).parse().unwrap()]).unwrap();
    let (train, val) = (read("parts/train.csv"), read("parts/val.csv"));
    assert_eq!(train.posters.len() + val.posters.len(), 100);
    assert!((25..=35).contains(&val.posters.len()), "{}", val.posters.len());
    workspace.must(&["split", "--check", "parts/train.csv", "parts/val.csv"]);
    let again = workspace.run(&["split", &fixture("tiny/train.csv"), "--parts", "train=70,val=30", "--out", "parts"]);
    assert_eq!(again.status.code(), Some(2), "a part was overwritten");
}

#[test]
fn a_split_keeps_genres_that_are_known_as_a_group_only() {
    let workspace = Workspace::new();
    let folder = fixture("tiny/Images");
    let picture = |number: usize| {
        let mut pictures: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        pictures.sort();
        pictures[number].display().to_string()
    };
    let rows: String = (0..8).map(|number| format!("{},Drama|Action_Adventure,,,1\n", picture(number * 20))).collect();
    fs::write(workspace.path("groups.csv"), format!("path,Genre,Action,Adventure,Drama\n{rows}")).unwrap();
    workspace.must(&["split", "groups.csv", "--parts", "all=100", "--out", "parts"]);
    let read = |name: &str| Dataset::read(&[workspace.path(name).parse().unwrap()]).unwrap();
    let known = |manifest: &Dataset| -> Vec<_> {
        manifest.posters.iter().map(|poster| (poster.labels.clone(), poster.any_of.clone())).collect()
    };
    let (before, after) = (read("groups.csv"), read("parts/all.csv"));
    assert_eq!(before.posters[0].any_of, [[0, 1]]);
    assert_eq!(known(&after), known(&before));
}
