//! The program `runtime` as a user calls it.

#![cfg(feature = "cli")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn fixture(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.display().to_string()
}

fn runtime(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runtime")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn exit_status_and_message() {
    struct Case<'a> {
        arguments: &'a [&'a str],
        status: i32,
        message: &'a str,
    }
    let good = fixture("posters/space-baseline.jpg");
    let broken = |name: &str| fixture(&format!("broken/{name}"));
    let (empty, truncated, text_file, huge) =
        (broken("empty.jpg"), broken("truncated.jpg"), broken("text.jpg"), broken("huge.png"));
    let (corrupt, no_card) = (broken("corrupt.onnx"), broken("no-card.onnx"));
    let (missing, cell, none, empty_csv, ragged) = (
        broken("missing-images.csv"),
        broken("bad-cell.csv"),
        broken("no-genres.csv"),
        broken("empty.csv"),
        broken("ragged.csv"),
    );
    let cases = [
        Case { arguments: &["classify", &good], status: 0, message: "" },
        Case { arguments: &["classify", &empty], status: 1, message: "empty.jpg: is empty" },
        Case { arguments: &["classify", &truncated, &good], status: 1, message: "truncated.jpg: cannot be decoded" },
        Case { arguments: &["classify", &good, &text_file], status: 1, message: "text.jpg: is not a JPEG" },
        Case { arguments: &["classify", &huge], status: 1, message: "huge.png: claims 60000 x 60000" },
        Case { arguments: &["classify", "nowhere.jpg"], status: 1, message: "nowhere.jpg: cannot be read" },
        Case {
            arguments: &["classify", &good, "--model", &corrupt],
            status: 2,
            message: "corrupt.onnx: is not an ONNX",
        },
        Case { arguments: &["classify", &good, "--model", &no_card], status: 2, message: "no-card.onnx: has no card" },
        Case { arguments: &["inspect", &no_card], status: 2, message: "no-card.onnx: has no card" },
        Case { arguments: &["inspect", &good], status: 2, message: "space-baseline.jpg: is not an ONNX" },
        Case {
            arguments: &["classify", &good, "--operating-point", "bold"],
            status: 2,
            message: "no operating point \"bold\"; choose one of: balanced, precise, recall, uniform",
        },
        Case { arguments: &["bench", "nowhere.jpg"], status: 2, message: "nowhere.jpg: cannot be read" },
        Case { arguments: &["bench", &truncated], status: 2, message: "truncated.jpg: cannot be decoded" },
        Case { arguments: &["bench", "--model", &no_card], status: 2, message: "no-card.onnx: has no card" },
        Case { arguments: &["bench", "--seconds", "0"], status: 2, message: "--seconds 0: must be over 0" },
        Case { arguments: &["evaluate", &missing], status: 1, message: "gone-1.jpg: cannot be read" },
        Case {
            arguments: &["evaluate", &cell],
            status: 2,
            message: "bad-cell.csv, line 3: the cell of Horror is \"maybe\"",
        },
        Case { arguments: &["evaluate", &none], status: 2, message: "no-genres.csv: names no genres" },
        Case { arguments: &["evaluate", &empty_csv], status: 2, message: "empty.csv: holds no poster" },
        Case { arguments: &["evaluate", &ragged], status: 2, message: "ragged.csv: cannot be read as CSV" },
    ];
    let mut problems = Vec::new();
    for Case { arguments, status, message } in cases {
        let output = runtime(arguments);
        let errors = text(&output.stderr);
        let named = if message.is_empty() { errors.is_empty() } else { errors.contains(message) };
        let one_line_each = errors.lines().all(|line| line.starts_with("error: "));
        if output.status.code() != Some(status) || !named || !one_line_each {
            problems.push(format!("{arguments:?}: {:?}, {errors}", output.status));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_broken_poster_does_not_keep_the_others_from_their_genres() {
    let (good, bad) = (fixture("posters/space-baseline.jpg"), fixture("broken/empty.jpg"));
    let lines = json_lines(&runtime(&["classify", "--json", &bad, &good]));
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["path"], bad);
    assert!(lines[0]["error"].as_str().unwrap().contains("is empty") && lines[0].get("genres").is_none());
    assert_eq!(lines[1]["path"], good);
    assert!(lines[1]["genres"].is_array() && lines[1].get("error").is_none());
}

#[test]
fn json_holds_what_was_asked_for() {
    let poster = fixture("posters/horror-progressive.jpg");
    let genres = |options: &[&str]| {
        let arguments = [&["classify", "--json", &poster], options].concat();
        let lines = json_lines(&runtime(&arguments));
        assert_eq!(lines.len(), 1, "{arguments:?}");
        assert!(lines[0]["elapsed_ms"].as_f64().unwrap() > 0.0);
        assert!(lines[0]["model"].as_str().unwrap().contains('@'));
        lines[0]["genres"].as_array().unwrap().clone()
    };
    let value = |genre: &Value, key: &str| genre[key].as_f64().unwrap();

    let all = genres(&["--all"]);
    assert!(all.len() > 20, "{all:?}");
    assert!(all.windows(2).all(|pair| value(&pair[0], "probability") >= value(&pair[1], "probability")));
    let above: Vec<Value> =
        all.iter().filter(|genre| value(genre, "probability") >= value(genre, "threshold")).cloned().collect();
    assert_eq!(genres(&[]), above);
    assert_eq!(genres(&["--top", "3"]), all[..3]);
    let recall = genres(&["--all", "--operating-point", "recall"]);
    assert_ne!(recall, all);
    assert_eq!(recall.len(), all.len());
}

#[test]
fn standard_input_is_a_poster_like_any_other() {
    let path = fixture("posters/western-exif-6.jpg");
    let mut child = Command::new(env!("CARGO_BIN_EXE_runtime"))
        .args(["classify", "--json", "--all", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&path).unwrap()).unwrap();
    let piped = json_lines(&child.wait_with_output().unwrap());
    let named = json_lines(&runtime(&["classify", "--json", "--all", &path]));
    assert_eq!(piped[0]["path"], "-");
    assert_eq!(piped[0]["genres"], named[0]["genres"]);
}

#[test]
fn both_layouts_of_the_same_labels_give_the_same_figures() {
    let figures = |name: &str| {
        let output = runtime(&["evaluate", "--json", &fixture(name)]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (columns, list) = (figures("tiny/test.csv"), figures("tiny/list.csv"));
    assert_eq!(columns, list);
    assert_eq!(columns["posters"], 32);
}

#[test]
fn the_shipped_model_explains_itself() {
    let output = runtime(&["inspect"]);
    assert_eq!(output.status.code(), Some(0));
    let card = text(&output.stdout);
    for expected in ["input", "balanced", "precise", "recall", "uniform", "Drama", "trained on", "figures on"] {
        assert!(card.contains(expected), "{expected} is missing in\n{card}");
    }
}

#[test]
fn bench_measures_every_stage() {
    let poster = fixture("posters/horror-progressive.jpg");
    let output = runtime(&["bench", &poster, "--json", "--seconds", "0.02"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = &json_lines(&output)[0];
    assert_eq!(report["poster"], poster);
    assert_eq!((&report["width"], &report["height"]), (&600.into(), &900.into()));
    assert_eq!(report["file_bytes"], std::fs::metadata(&poster).unwrap().len());

    let stages = report["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["read", "decode", "resize and normalise", "infer", "threshold", "whole path"]);
    let p50 = |stage: &Value| stage["p50_ms"].as_f64().unwrap();
    for stage in stages {
        let [p95, p99] = ["p95_ms", "p99_ms"].map(|key| stage[key].as_f64().unwrap());
        assert!(0.0 < p50(stage) && p50(stage) <= p95 && p95 <= p99, "{stage}");
        assert!(p50(stage) <= p50(&stages[5]), "{stage} takes longer than the whole path, {}", stages[5]);
    }
    if cfg!(target_os = "linux") {
        let pixels = 600 * 900 * 3;
        assert!(report["peak_memory_bytes"].as_u64().unwrap() > pixels, "{report}");
    }
    let threads: Vec<_> = report["throughput"].as_array().unwrap().iter().map(|record| &record["threads"]).collect();
    assert_eq!(threads[0], 1);
    assert_eq!(**threads.last().unwrap(), std::thread::available_parallelism().unwrap().get());
}

#[test]
fn bench_has_a_poster_of_its_own() {
    let output = runtime(&["bench", "--seconds", "0.02"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for expected in ["a drawn poster, 1000 x 1500 pixels", "loaded in", "whole path", "posters a second"] {
        assert!(table.contains(expected), "{expected} is missing in\n{table}");
    }
}

#[test]
fn completions_and_manual_pages_tell_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = runtime(&["install-files", &folder.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for command in ["classify", "tag", "watch", "evaluate", "inspect", "bench"] {
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(read(&format!("man/runtime-{command}.1")).contains("Print version"), "{command}");
        for shell in ["runtime.bash", "_runtime", "runtime.fish"] {
            assert!(read(&format!("completions/{shell}")).contains(command), "{shell} does not know {command}");
        }
    }
    assert!(!text(&runtime(&["--help"]).stdout).contains("install-files"));
}
