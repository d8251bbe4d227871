//! `runtime tag` on generated collections.

#![cfg(feature = "cli")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use fixtures::library::{self, Broken};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use runtime::collection::scan::{Item, ScanError, ScanOptions, scan};
use serde_json::Value;
use tempfile::TempDir;

fn tag(library: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runtime"));
    command.arg("tag").arg(library).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The command with a limit on the size of every file, in blocks of 512 bytes, as if the disk were full.
#[cfg(unix)]
fn on_a_full_disk(blocks: usize, command: &Command) -> Command {
    let mut full = Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\""]).arg(blocks.to_string());
    full.arg(command.get_program()).args(command.get_args());
    full
}

fn has_temp_file(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".unfinished"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Content, inode number (0 on systems without one) and modification time of a file.
type Version = (Vec<u8>, u64, SystemTime);

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

/// The version of every file below a folder, except the state file.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Version> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                waiting.push(path);
            } else if !path.file_name().unwrap().to_string_lossy().starts_with(".poster-genres.") {
                let bytes = fs::read(&path).unwrap_or_default();
                files.insert(path, (bytes, inode(&metadata), metadata.modified().unwrap()));
            }
        }
    }
    files
}

#[test]
fn a_scan_finds_every_poster_and_no_decoy() {
    let folder = TempDir::new().unwrap();
    let truth = library::build(folder.path(), 600, 3).unwrap();
    let (mut found, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for item in scan(folder.path(), &ScanOptions::default()) {
        match item {
            Ok(Item::Poster(poster)) => assert!(found.insert(poster.path)),
            Ok(Item::PassedOver(_)) => panic!("nobody asked for it"),
            Err(ScanError::Unreadable { path, .. }) => assert!(failed.insert(path)),
            Err(error) => panic!("{error}"),
        }
    }
    let inside = |path: &PathBuf| folder.path().join(path);
    let is_dangling = |kind: &Broken| *kind == Broken::Dangling;
    let dangling = truth.broken.iter().filter(|(_, kind)| is_dangling(kind)).map(|(path, _)| inside(path));
    assert_eq!(failed, dangling.collect());
    let broken = truth.broken.iter().filter(|(_, kind)| !is_dangling(kind)).map(|(path, _)| inside(path));
    let expected: BTreeSet<_> = truth.posters.iter().map(inside).chain(broken).collect();
    let missed: Vec<_> = expected.difference(&found).collect();
    let wrong: Vec<_> = found.difference(&expected).collect();
    assert!(missed.is_empty() && wrong.is_empty(), "missed {missed:#?}, wrong {wrong:#?}");
}

#[test]
fn a_library_is_tagged_once_and_then_left_alone() {
    let folder = TempDir::new().unwrap();
    let films = folder.path().join("films");
    let truth = library::build(&films, 120, 5).unwrap();
    let before = snapshot(&films);
    let out = |name: &str| folder.path().join(name).display().to_string();
    let (jsonl, csv, html) = (out("all.jsonl"), out("all.csv"), out("all.html"));
    let arguments = ["--jsonl", &jsonl, "--csv", &csv, "--html", &html, "--sidecar", "txt", "--nfo", "--threads", "2"];

    let first: Output = tag(&films, &arguments).output().unwrap();
    let errors = text(&first.stderr);
    assert_eq!(first.status.code(), Some(1), "{errors}");
    for (path, kind) in &truth.broken {
        let name = text(path.file_name().unwrap().as_encoded_bytes());
        let folder = text(path.parent().unwrap().file_name().unwrap().as_encoded_bytes());
        // Control characters may be written another way.
        if !(name + &folder).contains(char::is_control) {
            let path = films.join(path).display().to_string();
            let named = errors.matches(&format!("{path}: ")).count();
            assert_eq!(named, 1, "{kind:?}: {path} is named {named} times in {errors}");
        }
    }
    let records = lines(Path::new(&jsonl));
    let expected: BTreeSet<String> =
        truth.posters.iter().map(|path| films.join(path).to_string_lossy().into_owned()).collect();
    let found: BTreeSet<String> = records.iter().map(|record| record["path"].as_str().unwrap().into()).collect();
    assert_eq!((found, records.len()), (expected, truth.posters.len()));
    assert_eq!(csv::Reader::from_path(&csv).unwrap().records().map(Result::unwrap).count(), records.len());
    assert!(fs::read_to_string(&html).unwrap().contains("<script"));

    let after = snapshot(folder.path());
    let again = tag(&films, &arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("0 files written"), "{}", text(&again.stderr));
    assert!(after == snapshot(folder.path()), "the second run wrote something");

    let genres = tag(&films, &["--nfo-undo", "--quiet"]).output().unwrap();
    assert_eq!(genres.status.code(), Some(1), "broken posters are still broken");
    let content = |files: BTreeMap<PathBuf, Version>| -> BTreeMap<PathBuf, Vec<u8>> {
        let kept = files.into_iter().filter(|(path, _)| path.extension().is_none_or(|extension| extension != "txt"));
        kept.map(|(path, (bytes, ..))| (path, bytes)).collect()
    };
    assert!(content(before) == content(snapshot(&films)), "an NFO file is not what it was");
}

#[test]
fn a_run_that_is_killed_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let films = folder.path().join("films");
    library::build(&films, 30, 9).unwrap();
    let run = |state: &str, jsonl: &str| {
        let path = |name: &str| folder.path().join(name).display().to_string();
        tag(&films, &["--state", &path(state), "--jsonl", &path(jsonl), "--threads", "2", "--quiet"])
    };
    let start = Instant::now();
    assert_eq!(run("undisturbed", "expected.jsonl").output().unwrap().status.code(), Some(1));
    let undisturbed = start.elapsed();
    let expected = fs::read(folder.path().join("expected.jsonl")).unwrap();

    let rng = &mut Pcg32::seed_from_u64(4);
    // In emulation a run takes twenty seconds.
    let rounds = if undisturbed < Duration::from_secs(5) { 50 } else { 5 };
    for round in 0..rounds {
        for file in ["state", "state-wal", "state-shm", "found.jsonl"] {
            let _ = fs::remove_file(folder.path().join(file));
        }
        let mut killed = run("state", "found.jsonl").spawn().unwrap();
        std::thread::sleep(undisturbed.mul_f64(rng.random_range(0.0..1.0)));
        killed.kill().unwrap();
        killed.wait().unwrap();
        if let Ok(torn) = fs::read(folder.path().join("found.jsonl")) {
            assert!(torn == expected, "round {round}: a torn file");
        }
        assert_eq!(run("state", "found.jsonl").output().unwrap().status.code(), Some(1));
        assert!(fs::read(folder.path().join("found.jsonl")).unwrap() == expected, "round {round}");
        assert!(!has_temp_file(folder.path()), "round {round}: the killed run's file is left");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_tears_no_file() {
    let folder = TempDir::new().unwrap();
    let films = folder.path().join("films");
    library::build(&films, 40, 8).unwrap();
    let [state, html] = ["state", "all.html"].map(|name| folder.path().join(name).display().to_string());
    let run = |more: &[&str]| tag(&films, &[&["--state", &state, "--html", &html, "--quiet"], more].concat());
    let says = |output: Output, words: &str| {
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(words), "{words:?} is not in: {errors}");
        assert!(!has_temp_file(folder.path()));
    };

    // The state does not fit.
    says(on_a_full_disk(64, &run(&[])).output().unwrap(), &format!("{state}: cannot be used"));
    assert!(!Path::new(&html).exists());
    assert_eq!(run(&[]).output().unwrap().status.code(), Some(1), "some posters are broken");
    let before = fs::read(&html).unwrap();

    // The state does, the results do not.
    let recall = run(&["--operating-point", "recall"]);
    says(on_a_full_disk(64, &recall).output().unwrap(), &format!("{html}: cannot be written"));
    assert!(fs::read(&html).unwrap() == before);

    // There is room again.
    assert_eq!(run(&["--operating-point", "recall"]).output().unwrap().status.code(), Some(1));
    assert!(fs::read(&html).unwrap() != before);
    assert_eq!(run(&[]).output().unwrap().status.code(), Some(1));
    assert!(fs::read(&html).unwrap() == before);
}

#[cfg(unix)]
#[test]
fn a_library_that_may_only_be_read_is_tagged_with_its_state_elsewhere() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let folder = TempDir::new().unwrap();
    let [films, elsewhere] = ["films", "elsewhere"].map(|name| folder.path().join(name));
    let own = ["The Summit (1999)", "The Valley (2001)"].map(|name| films.join(name));
    let fixtures = fixtures::path("posters");
    for (film, poster) in own.iter().zip(["adventure-large.jpg", "space-baseline.jpg"]) {
        fs::create_dir_all(film).unwrap();
        fs::copy(fixtures.join(poster), film.join("poster.jpg")).unwrap();
    }
    fs::create_dir(&elsewhere).unwrap();
    let allow = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(folder.path(), 0o755);
    allow(&elsewhere, 0o777);
    own.iter().chain([&films]).for_each(|folder| allow(folder, 0o555));
    let run = |arguments: &[&str]| {
        let mut command = tag(&films, arguments);
        // Root may write whatever the permissions say, and so becomes nobody.
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.output().expect("the program must lie where everybody may run it")
    };

    let without = run(&[]);
    let errors = text(&without.stderr);
    assert_eq!(without.status.code(), Some(2), "{errors}");
    assert!(errors.contains("films/.poster-genres.sqlite: ") && errors.contains("with --state"), "{errors}");

    let [state, jsonl] = ["state", "all.jsonl"].map(|name| elsewhere.join(name).display().to_string());
    let sidecars = run(&["--state", &state, "--sidecar", "txt"]);
    let errors = text(&sidecars.stderr);
    assert_eq!(sidecars.status.code(), Some(1), "{errors}");
    for film in &own {
        let sidecar = film.join("poster.txt");
        assert_eq!(errors.matches(&format!("{}: cannot be written", sidecar.display())).count(), 1, "{errors}");
    }
    assert!(errors.contains("2 failures"), "{errors}");

    let elsewhere = run(&["--state", &state, "--jsonl", &jsonl]);
    assert_eq!(elsewhere.status.code(), Some(0), "{}", text(&elsewhere.stderr));
    assert_eq!(lines(Path::new(&jsonl)).len(), 2);
    own.iter().chain([&films]).for_each(|folder| allow(folder, 0o755));
}

#[test]
fn what_changed_is_read_and_what_moved_is_recognised() {
    let folder = TempDir::new().unwrap();
    let films = folder.path().join("films");
    let truth = library::build(&films, 40, 2).unwrap();
    let summary = |arguments: &[&str]| text(&tag(&films, arguments).output().unwrap().stderr);
    let says = |text: String, words: &[&str]| {
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
    };
    summary(&[]);
    let total = truth.posters.len();
    says(summary(&[]), &["0 read", "0 files written"]);
    says(summary(&["--operating-point", "recall"]), &["0 read"]);
    let flat: Vec<_> = truth.posters.iter().filter(|path| path.starts_with("Flat")).collect();
    let old = films.join(flat[0]);
    fs::rename(&old, old.with_file_name("The Renamed (1999).jpg")).unwrap();
    says(summary(&[]), &["1 read", "1 of them known by another name"]);
    fs::copy(films.join(flat[1]), old.with_file_name("The Renamed (1999).jpg")).unwrap();
    says(summary(&[]), &["1 read"]);
    says(summary(&["--force", "--exclude", "Flat"]), &[&format!("{} posters", total - flat.len()), "0 of them known"]);
}

#[test]
fn exit_status_and_message() {
    struct Case<'a> {
        arguments: &'a [&'a str],
        status: i32,
        /// A part of the output.
        message: &'a str,
    }
    let folder = TempDir::new().unwrap();
    let films = folder.path().join("films");
    let sound = films.join("The Summit (1999)/poster.jpg");
    fs::create_dir_all(sound.parent().unwrap()).unwrap();
    fs::copy(fixtures::path("posters/adventure-large.jpg"), &sound).unwrap();
    let cases = [
        Case { arguments: &[], status: 0, message: "The Summit (1999)/poster.jpg: " },
        #[cfg(unix)]
        Case { arguments: &["--quiet", "--nice", "19"], status: 0, message: "" },
        #[cfg(unix)]
        Case { arguments: &["--nice", "20"], status: 2, message: "0..=19" },
        Case { arguments: &["--explain"], status: 0, message: "poster.jpg: taken: " },
        Case { arguments: &["--dry-run", "--sidecar", "json"], status: 0, message: "would write" },
        Case { arguments: &["--include", "Series/**"], status: 0, message: "0 posters" },
        Case { arguments: &["--replace"], status: 2, message: "--nfo" },
    ];
    for Case { arguments, status, message } in cases {
        let output = tag(&films, arguments).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {message:?} is not in: {said}");
    }
    assert!(!sound.with_extension("json").exists(), "a dry run wrote");
}

/// Each message is one line that says its cause once.
#[cfg(unix)]
#[test]
fn error_messages_are_one_line_with_one_cause() {
    struct Case<'a> {
        arguments: &'a [&'a str],
        status: i32,
        /// The only line on standard error.
        line: &'a str,
    }
    let folder = TempDir::new().unwrap();
    let films = folder.path().join("films");
    let film = films.join("The Summit (1999)");
    fs::create_dir_all(&film).unwrap();
    fs::copy(fixtures::path("posters/adventure-large.jpg"), film.join("poster.jpg")).unwrap();
    fs::write(film.join("film.mkv"), "").unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (text_file, foreign, no_folder, films_text) =
        (path("notes.txt"), path("foreign.sqlite"), path("no/state"), path("films"));
    fs::write(&text_file, "no database ".repeat(99)).unwrap();
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let advice = "if no other run uses it, make room and see that it may be written, or name another file with --state";
    let not_written = "cannot be written; check that its folder exists and may be written, or name another file";
    let nfo = film.join("film.nfo").display().to_string();
    let poster = film.join("poster.jpg").display().to_string();
    let cases = [
        Case {
            arguments: &["--state", &text_file],
            status: 2,
            line: &format!("{text_file}: cannot be used to remember what is done (file is not a database); {advice}"),
        },
        Case {
            arguments: &["--state", &no_folder],
            status: 2,
            line: &format!(
                "{no_folder}: cannot be used to remember what is done \
                 (unable to open database file: {no_folder}); {advice}"
            ),
        },
        Case {
            arguments: &["--state", &foreign],
            status: 2,
            line: &format!(
                "{foreign}: was not made by this version of `runtime tag`; remove it or name another file with --state"
            ),
        },
        Case {
            arguments: &["--jsonl", "/nowhere/a.jsonl"],
            status: 2,
            line: &format!("/nowhere/a.jsonl: {not_written}: No such file or directory (os error 2)"),
        },
        Case {
            arguments: &["--html", &films_text],
            status: 2,
            line: &format!("{films_text}: {not_written}: is a directory"),
        },
        Case {
            arguments: &["--include", "[z-a]"],
            status: 2,
            line: "error parsing glob '[z-a]': invalid range; 'z' > 'a'; see https://docs.rs/globset for the syntax",
        },
        Case {
            arguments: &["--operating-point", "none"],
            status: 2,
            line: "there is no operating point \"none\"; choose one of: balanced, precise, recall, uniform",
        },
        Case {
            arguments: &["--max-pixels", "1000"],
            status: 1,
            line: &format!("{poster}: claims 1000 x 1500 pixels, more than the limit of 1000; scale it down first"),
        },
        Case {
            arguments: &["--nfo"],
            status: 1,
            line: &format!(
                "{nfo}: is not well-formed in line 1 (the file ends inside of <title>); \
                 mend it or have its program write it anew"
            ),
        },
    ];
    fs::write(&nfo, "<movie><title>").unwrap();
    let mut problems = Vec::new();
    for Case { arguments, status, line } in cases {
        let output = tag(&films, &[&["--quiet"], arguments].concat()).output().unwrap();
        let errors = text(&output.stderr);
        if output.status.code() != Some(status) || errors != format!("error: {line}\n") {
            problems.push(format!("{arguments:?}: {:?}\n  {errors}  error: {line}", output.status));
        }
    }
    let nowhere = tag(Path::new("nowhere"), &[]).output().unwrap();
    let line = "error: nowhere: cannot be read; name a library's folder: No such file or directory (os error 2)\n";
    if nowhere.status.code() != Some(2) || text(&nowhere.stderr) != line {
        problems.push(format!("nowhere: {}", text(&nowhere.stderr)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_done() {
    let folder = TempDir::new().unwrap();
    let films = folder.path().join("films");
    library::build(&films, 200, 6).unwrap();
    let child = tag(&films, &["--threads", "1"]).spawn().unwrap();
    let state = films.join(".poster-genres.sqlite-wal");
    let start = Instant::now();
    // The state file grows with the first posters.
    while fs::metadata(&state).map_or(0, |metadata| metadata.len()) < 100_000
        && start.elapsed() < Duration::from_secs(60)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("run again to go on") && !errors.contains("; 0 posters"), "{errors}");
}

#[test]
fn sidecars_do_not_overwrite_files_of_a_person() {
    let folder = TempDir::new().unwrap();
    let film = folder.path().join("The Summit (1999)");
    fs::create_dir(&film).unwrap();
    fs::copy(fixtures::path("posters/adventure-large.jpg"), film.join("poster.jpg")).unwrap();
    for (kind, theirs, ours) in [
        ("txt", "seen twice, lovely", "Drama, War\n"),
        ("json", "{\"seen\": 2}", "{\"model\": \"m\", \"probabilities\": {}}"),
    ] {
        let path = film.join("poster.jpg").with_extension(kind);
        for (text, status) in [(theirs, 1), (ours, 0), ("", i32::from(kind == "json"))] {
            fs::write(&path, text).unwrap();
            let output = tag(folder.path(), &["--sidecar", kind]).output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{kind} {text:?}: {}", self::text(&output.stderr));
            assert_eq!(fs::read_to_string(&path).unwrap() == text, status == 1, "{kind} {text:?}");
        }
    }
}

#[test]
fn a_model_that_cannot_be_run_is_refused_when_a_poster_needs_it() {
    let folder = TempDir::new().unwrap();
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/poster-genres-small.onnx");
    let mut bytes = fs::read(small).unwrap();
    // An operation that nobody knows, as protobuf writes its name.
    let offset = bytes.windows(6).position(|part| part == b"\x22\x04Conv").unwrap();
    bytes[offset + 2..offset + 6].copy_from_slice(b"Vnoc");
    let model = folder.path().join("model.onnx");
    fs::write(&model, bytes).unwrap();
    let run = |command: &str, path: &Path| {
        let mut runtime = Command::new(env!("CARGO_BIN_EXE_runtime"));
        let output = runtime.arg(command).arg(path).arg("--model").arg(&model).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let films = folder.path().join("films");
    fs::create_dir(&films).unwrap();
    assert_eq!(run("tag", &films).0, Some(0), "there is no poster");
    fs::copy(fixtures::path("posters/noir-grey.jpg"), films.join("The Valley (2001).jpg")).unwrap();
    for (command, path) in [("tag", films), ("classify", "nowhere.jpg".into())] {
        let (status, errors) = run(command, &path);
        assert_eq!(status, Some(2), "{command}: {errors}");
        assert!(errors.contains("model.onnx: its graph cannot be run"), "{command}: {errors}");
    }
}

#[test]
fn nfo_files_are_made_unless_only_existing_ones_are_wanted() {
    let folder = TempDir::new().unwrap();
    let [with, without] = ["The Summit (1999)", "The Valley (2001)"].map(|name| folder.path().join(name));
    let fixtures = fixtures::path("posters");
    for film in [&with, &without] {
        fs::create_dir(film).unwrap();
        fs::write(film.join("film.mkv"), "").unwrap();
        fs::copy(fixtures.join("adventure-large.jpg"), film.join("poster.jpg")).unwrap();
    }
    let nfo = |film: &Path| fs::read_to_string(film.join("film.nfo")).unwrap_or_default();
    let before = "<movie>\n  <title>The Summit</title>\n</movie>\n";
    fs::write(with.join("film.nfo"), before).unwrap();
    struct Case<'a> {
        arguments: &'a [&'a str],
        is_added: bool,
        is_made: bool,
    }
    let cases = [
        Case { arguments: &["--nfo", "--nfo-existing"], is_added: true, is_made: false },
        Case { arguments: &["--nfo"], is_added: true, is_made: true },
        Case { arguments: &["--nfo", "--nfo-existing"], is_added: true, is_made: true },
        Case { arguments: &["--nfo-undo"], is_added: false, is_made: false },
    ];
    for Case { arguments, is_added, is_made } in cases {
        let output = tag(folder.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(nfo(&with) != before, is_added, "{arguments:?}: {}", nfo(&with));
        assert_eq!(nfo(&without).contains("<genre>"), is_made, "{arguments:?}: {}", nfo(&without));
    }
    assert_eq!(tag(folder.path(), &["--nfo-existing"]).output().unwrap().status.code(), Some(2));
}

/// A library with one poster per film: paths of films' files and what is in them; posters are drawn.
fn small_library(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let poster = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/posters/adventure-large.jpg");
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match path.extension().is_some_and(|extension| extension == "jpg") {
            true => fs::copy(&poster, &path).map(drop).unwrap(),
            false => fs::write(&path, content).unwrap(),
        }
    }
    folder
}

#[test]
fn links_release_notes_and_locked_files_are_passed_over_with_a_note() {
    let movie = "<movie><title>T</title><lockdata>true</lockdata></movie>";
    let files = [
        ("A (2001)/a.mkv", ""),
        ("A (2001)/poster.jpg", ""),
        ("A (2001)/grp-a.nfo", "\u{2584}\u{2580} proudly presents\r\nhttps://www.imdb.com/title/tt1/"),
        ("B (2002)/b.mkv", ""),
        ("B (2002)/b.nfo", "https://www.themoviedb.org/movie/1"),
        ("B (2002)/poster.jpg", ""),
        ("C (2003)/c.mkv", ""),
        ("C (2003)/c.nfo", movie),
        ("C (2003)/poster.jpg", ""),
        ("D (2004)/d.mkv", ""),
        ("D (2004)/d.nfo", "<movie><title>D</title></movie>\nhttps://www.themoviedb.org/movie/1?a=1&b=2\n"),
        ("D (2004)/poster.jpg", ""),
        // A series has no new file, since Kodi takes it for complete.
        ("S/Season 1/S01E01.mkv", ""),
        ("S/poster.jpg", ""),
    ];
    let library = small_library(&files);
    let before = snapshot(library.path());
    for _ in 0..2 {
        let output = tag(library.path(), &["--nfo"]).output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        let notes: Vec<_> = errors.lines().filter(|line| line.starts_with("note: ")).collect();
        assert_eq!(notes.len(), 3, "{errors}");
        for (note, file) in notes.iter().zip(["A (2001)/grp-a.nfo", "B (2002)/b.nfo", "C (2003)/c.nfo"]) {
            assert!(note.contains(file), "{note}");
        }
    }
    let quiet = tag(library.path(), &["--nfo", "--quiet"]).output().unwrap();
    assert_eq!(text(&quiet.stderr), "");
    let after = snapshot(library.path());
    let changed: Vec<_> = after.iter().filter(|(path, version)| before.get(*path) != Some(*version)).collect();
    assert_eq!(changed.len(), 1, "{:?}", changed.iter().map(|(path, _)| path).collect::<Vec<_>>());
    assert!(changed[0].0.ends_with("d.nfo"));
}

#[test]
fn two_pictures_do_not_share_a_file() {
    let files = [("a.jpg", ""), ("a.jpg.jpg", ""), ("a.x.jpg", "")];
    let library = small_library(&files);
    fs::copy(library.path().join("a.jpg"), library.path().join("a.png")).unwrap();
    let run = || text(&tag(library.path(), &["--all-images", "--sidecar", "json"]).output().unwrap().stderr);
    assert!(run().contains("4 files written"));
    assert!(run().contains("0 files written"));
    for (sidecar, picture) in
        [("a.json", "a.jpg"), ("a.jpg.json", "a.jpg.jpg"), ("a.png.json", "a.png"), ("a.x.json", "a.x.jpg")]
    {
        let text = fs::read_to_string(library.path().join(sidecar)).unwrap();
        let path = library.path().join(picture).display().to_string();
        assert!(text.contains(&format!("\"path\": \"{path}\"")), "{sidecar}: {text}");
    }
}

#[test]
fn the_one_file_of_a_film_in_parts_gets_the_genres() {
    let nfo = "<movie><title>Moon</title><plot>P</plot></movie>\n";
    let files = [
        ("Moon/Moon-cd1.avi", ""),
        ("Moon/Moon-cd2.avi", ""),
        ("Moon/Moon-poster.jpg", ""),
        ("Moon/Moon.nfo", nfo),
        ("x/A.mkv", ""),
        ("x/A.NFO", nfo),
        ("x/A.jpg", ""),
        ("x/B.mkv", ""),
    ];
    let library = small_library(&files);
    let output = tag(library.path(), &["--nfo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let files = snapshot(library.path());
    let nfos = files.iter().filter(|(path, _)| path.extension().is_some_and(|name| name.eq_ignore_ascii_case("nfo")));
    let nfos: Vec<_> = nfos.map(|(path, (bytes, ..))| (path.file_name().unwrap(), text(bytes))).collect();
    assert_eq!(nfos.len(), 2, "{nfos:?}");
    assert!(nfos.iter().all(|(_, text)| text.contains("<genre>") && text.contains("<plot>P")), "{nfos:?}");
}
