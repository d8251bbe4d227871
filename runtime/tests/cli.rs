//! The program `runtime` as a user calls it.

#![cfg(feature = "cli")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn fixture(name: &str) -> String {
    fixtures::path(name).display().to_string()
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
fn explain_writes_the_poster_with_the_map_of_a_genre_and_predicts_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let poster = fixture("posters/space-baseline.jpg");
    let plain = json_lines(&runtime(&["classify", "--json", "--all", &poster]));
    let draw = |name: &str, genre: &[&str]| {
        let path = folder.path().join(name).display().to_string();
        let arguments = [&["classify", "--json", "--all", &poster, "--explain", &path], genre].concat();
        let output = runtime(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let found = json_lines(&output);
        let genres = [&found, &plain].map(|lines| lines[0]["genres"].as_array().unwrap());
        for (ours, expected) in genres[0].iter().zip(genres[1]) {
            let difference = ours["probability"].as_f64().unwrap() - expected["probability"].as_f64().unwrap();
            assert!(ours["genre"] == expected["genre"] && difference.abs() < 1e-4, "{ours} {expected}");
        }
        image::open(path).unwrap().into_rgb8()
    };
    let [horror, western] = [("a.png", "horror"), ("b.png", "Western")].map(|(name, it)| draw(name, &["--genre", it]));
    assert_eq!(horror.dimensions(), western.dimensions());
    assert_ne!(horror, western, "the genre does not matter");
}

/// Every error line is asserted: a cause is said once, and the line names the file, the problem and the way out.
#[test]
fn exit_status_and_error_lines() {
    struct Case<'a> {
        /// `FIX` stands for the folder of the fixtures.
        arguments: &'a str,
        status: i32,
        errors: &'a [&'a str],
    }
    let cases = [
        Case { arguments: "classify FIX/posters/space-baseline.jpg", status: 0, errors: &[] },
        Case {
            arguments: "classify FIX/broken/empty.jpg",
            status: 1,
            errors: &["FIX/broken/empty.jpg: is empty; copy or download it again"],
        },
        Case {
            arguments: "classify FIX/broken/truncated.jpg FIX/posters/space-baseline.jpg",
            status: 1,
            errors: &[
                "FIX/broken/truncated.jpg: cannot be decoded (the file ends in the middle of the picture); it is \
                       damaged or cut short, fetch it again",
            ],
        },
        Case {
            arguments: "classify FIX/posters/space-baseline.jpg FIX/broken/text.jpg",
            status: 1,
            errors: &["FIX/broken/text.jpg: is not a JPEG, PNG or WebP picture; convert it to one of these"],
        },
        Case {
            arguments: "classify FIX/broken/html.png",
            status: 1,
            errors: &[
                "FIX/broken/html.png: is an HTML page, not a JPEG, PNG or WebP picture; download the picture itself",
            ],
        },
        Case {
            arguments: "classify FIX/broken/truncated.png",
            status: 1,
            errors: &[
                "FIX/broken/truncated.png: cannot be decoded (the file ends in the middle of the picture); it is \
                       damaged or cut short, fetch it again",
            ],
        },
        Case {
            arguments: "classify FIX/broken/truncated.webp",
            status: 1,
            errors: &[
                "FIX/broken/truncated.webp: cannot be decoded (the file ends in the middle of the picture); it is \
                       damaged or cut short, fetch it again",
            ],
        },
        Case {
            arguments: "classify FIX/broken/huge.png FIX/broken/huge.jpg",
            status: 1,
            errors: &[
                "FIX/broken/huge.png: claims 60000 x 60000 pixels, more than the limit of 100000000; scale it down first",
                "FIX/broken/huge.jpg: claims 65000 x 65000 pixels, more than the limit of 100000000; scale it down first",
            ],
        },
        Case {
            arguments: "classify FIX/posters/western.png --max-memory 1M",
            status: 1,
            errors: &[
                "FIX/posters/western.png: takes 3 MB of memory to decode, more than the limit of 1 MB; scale it down first, \
                       or raise --max-memory",
            ],
        },
        Case {
            arguments: "classify nowhere.jpg",
            status: 1,
            errors: &["nowhere.jpg: cannot be read (No such file or directory (os error 2)); check the path and its \
                       permissions"],
        },
        Case {
            arguments: "classify FIX/posters/space-baseline.jpg --model FIX/broken/corrupt.onnx",
            status: 2,
            errors: &[
                "FIX/broken/corrupt.onnx: is not an ONNX model, or it is damaged (failed to decode Protobuf message: \
                       Model.graph: buffer underflow); copy or export it again",
            ],
        },
        Case {
            arguments: "classify FIX/posters/space-baseline.jpg --model FIX/broken/no-card.onnx",
            status: 2,
            errors: &[NO_CARD],
        },
        Case { arguments: "inspect FIX/broken/no-card.onnx", status: 2, errors: &[NO_CARD] },
        Case { arguments: "bench --model FIX/broken/no-card.onnx", status: 2, errors: &[NO_CARD] },
        Case {
            arguments: "inspect nowhere.onnx",
            status: 2,
            errors: &["nowhere.onnx: cannot be read (No such file or directory (os error 2)); check the path and its \
                       permissions"],
        },
        Case {
            arguments: "inspect FIX/posters/space-baseline.jpg",
            status: 2,
            errors: &[
                "FIX/posters/space-baseline.jpg: is not an ONNX model, or it is damaged (failed to decode Protobuf \
                       message: invalid wire type value: 7); copy or export it again",
            ],
        },
        Case {
            arguments: "classify FIX/posters/space-baseline.jpg FIX/posters/western.png --explain OUT",
            status: 2,
            errors: &["--explain writes one picture, so that it takes one poster, not 2"],
        },
        Case {
            arguments: "classify FIX/posters/space-baseline.jpg --explain OUT --genre Opera",
            status: 2,
            errors: &["the model knows no genre \"Opera\"; choose one of: Action, Adventure, Animation, Biography, \
                       Comedy, Crime, Documentary, Drama, Family, Fantasy, History, Horror, Music, Musical, Mystery, \
                       News, Reality-TV, Romance, Sci-Fi, Short, Sport, Thriller, War, Western"],
        },
        Case {
            arguments: "classify FIX/posters/space-baseline.jpg --operating-point bold",
            status: 2,
            errors: &["there is no operating point \"bold\"; choose one of: balanced, precise, recall, uniform"],
        },
        Case {
            arguments: "bench nowhere.jpg",
            status: 2,
            errors: &["nowhere.jpg: cannot be read (No such file or directory (os error 2)); check the path and its \
                       permissions"],
        },
        Case {
            arguments: "bench FIX/broken/truncated.jpg",
            status: 2,
            errors: &[
                "FIX/broken/truncated.jpg: cannot be decoded (the file ends in the middle of the picture); it is \
                       damaged or cut short, fetch it again",
            ],
        },
        Case { arguments: "bench --seconds 0", status: 2, errors: &["--seconds 0: must be over 0, an hour at most"] },
        Case {
            arguments: "evaluate FIX/broken/missing-images.csv",
            status: 1,
            errors: &[
                "FIX/broken/Images/gone-1.jpg: cannot be read (No such file or directory (os error 2)); check the path and \
                 its permissions",
                "FIX/broken/Images/gone-2.jpg: cannot be read (No such file or directory (os error 2)); check the path and \
                 its permissions",
            ],
        },
        Case {
            arguments: "evaluate FIX/broken/no-images.csv",
            status: 2,
            errors: &[
                "none of the 2 posters can be read (first: FIX/broken/Images/gone-1.jpg: cannot be read (No such file \
                       or directory (os error 2)); check the path and its permissions); check the folder of the images",
            ],
        },
        Case {
            arguments: "evaluate FIX/broken/bad-cell.csv",
            status: 2,
            errors: &[
                "FIX/broken/bad-cell.csv, line 3: the cell of Horror is \"maybe\"; it must be 1, 0, or empty for \
                       unknown (if Horror is no genre, name the genres with --genres)",
            ],
        },
        Case {
            arguments: "evaluate FIX/broken/no-genres.csv",
            status: 2,
            errors: &[
                "FIX/broken/no-genres.csv: names no genres; add a column of 0 and 1 for each, or a column \"genres\" \
                       of lists like Action|Drama, or name the columns with --genres",
            ],
        },
        Case {
            arguments: "evaluate FIX/broken/empty.csv",
            status: 2,
            errors: &["FIX/broken/empty.csv: holds no poster; it must have a row for each"],
        },
        Case {
            arguments: "evaluate FIX/broken/ragged.csv",
            status: 2,
            errors: &[
                "FIX/broken/ragged.csv, line 3: the row has 3 fields, the header 4 (found the delimiter ','); quote \
                       fields that hold the delimiter",
            ],
        },
    ];
    let folder = fixture("");
    let folder = folder.trim_end_matches('/');
    let mut problems = Vec::new();
    for Case { arguments, status, errors } in cases {
        let arguments: Vec<String> = arguments.split(' ').map(|argument| argument.replace("FIX", folder)).collect();
        let output = runtime(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let found = text(&output.stderr);
        let found: String = found.split_inclusive('\n').filter(|line| !line.starts_with("note: ")).collect();
        let expected: String = errors.iter().map(|line| format!("error: {}\n", line.replace("FIX", folder))).collect();
        if output.status.code() != Some(status) || found != expected {
            problems.push(format!("{arguments:?}: {:?}\n{found}instead of\n{expected}", output.status));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

const NO_CARD: &str = "FIX/broken/no-card.onnx: has no card (its metadata lacks the key \"format\" with the value \
                       \"poster-genres/1\"); only models made by `train export` can be used";

#[test]
fn every_engine_classifies_and_is_named_by_bench() {
    let poster = fixture("posters/horror-progressive.jpg");
    let first = |engine: &str| {
        let lines = json_lines(&runtime(&["classify", "--json", "--top", "1", "--engine", engine, &poster]));
        lines[0]["genres"][0]["genre"].as_str().unwrap().to_string()
    };
    let engines = if cfg!(feature = "tract") { &["auto", "native", "tract"][..] } else { &["auto", "native"] };
    for engine in engines {
        assert_eq!(first(engine), first("auto"), "{engine}");
        let bench = runtime(&["bench", &poster, "--json", "--seconds", "0.01", "--engine", engine]);
        let expected = if *engine == "tract" { "tract" } else { "native" };
        assert_eq!(json_lines(&bench)[0]["engine"], expected, "{}", text(&bench.stderr));
    }
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
fn genres_can_be_named_and_differences_to_the_model_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.csv");
    std::fs::write(&path, "Id;action;Heist;hit\ntest-000;1,0;1;1\ntest-001;0,0;0;1\n").unwrap();
    let data = format!("{}={}", path.display(), fixture("tiny/Images"));
    let output = runtime(&["evaluate", "--json", &data, "--genres", "Action,Heist"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(
        errors.contains("note: genres of the labels that the model does not know are left out: Heist\n"),
        "{errors}"
    );
    assert!(
        errors.contains("note: genres of the model that the labels do not know have no metrics: Advent"),
        "{errors}"
    );

    let output = runtime(&["evaluate", &data, "--genres", "Acton,Heist"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("labels.csv: has no column \"Acton\", which --genres names"), "{errors}");
}

#[test]
fn inspect_prints_the_whole_card_of_the_shipped_model() {
    let output = runtime(&["inspect"]);
    assert_eq!(output.status.code(), Some(0));
    let card = text(&output.stdout);
    for expected in ["input", "balanced", "precise", "recall", "uniform", "Drama", "training", "step 3", "figures on"] {
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
    let pages: Vec<_> =
        std::fs::read_dir(folder.path().join("man")).unwrap().map(|page| page.unwrap().path()).collect();
    assert_eq!(pages.len(), 8, "one page for the program and one for each command: {pages:?}");
    for command in ["classify", "tag", "watch", "show", "evaluate", "inspect", "bench"] {
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(read(&format!("man/runtime-{command}.1")).contains("Print version"), "{command}");
        for shell in ["runtime.bash", "_runtime", "runtime.fish"] {
            assert!(read(&format!("completions/{shell}")).contains(command), "{shell} does not know {command}");
        }
    }
    assert!(!text(&runtime(&["--help"]).stdout).contains("install-files"));
}
