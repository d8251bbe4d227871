//! Outputs of the program: files, links, devices, pipes and standard output, and readers that close a pipe.

#![cfg(all(feature = "cli", unix))]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with the library `films` of two films, and with `expected`, the genres of these as JSON Lines.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (film, poster) in [("The Valley (2001)", "noir-grey.jpg"), ("The Summit (1999)", "space-baseline.jpg")] {
        let name = format!("{film}.mkv");
        let film = folder.path().join("films").join(film);
        fs::create_dir_all(&film).unwrap();
        fs::write(film.join(name), "").unwrap();
        fs::copy(fixtures::path("posters").join(poster), film.join("poster.jpg")).unwrap();
    }
    let output = shell(folder.path(), "tag --jsonl expected");
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder
}

/// Runs a shell script in a folder. `$PROGRAM` is the program, and `tag` the program and its library.
fn shell(folder: &Path, script: &str) -> Output {
    let script = format!("tag() {{ \"$PROGRAM\" tag films \"$@\"; }}\n{script}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("PROGRAM", env!("CARGO_BIN_EXE_runtime"));
    shell.current_dir(folder).output().unwrap()
}

fn is_root() -> bool {
    // Only root's processes have a folder in /proc that is root's.
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

#[test]
fn outputs_go_where_the_path_leads() {
    struct Case {
        what: &'static str,
        /// Leaves in `found` what was written.
        script: &'static str,
    }
    let cases = [
        Case { what: "a new file", script: "tag --jsonl found" },
        Case { what: "an old file", script: "echo old > found; tag --jsonl found" },
        Case { what: "a link", script: "echo old > file; ln -s file a; tag --jsonl a; test -L a && cp file found" },
        Case { what: "a link to nothing yet", script: "ln -s file a; tag --jsonl a; test -L a && cp file found" },
        Case { what: "standard output", script: "tag --jsonl - > found" },
        Case { what: "standard output as a pipe", script: "tag --jsonl - | cat > found" },
        Case { what: "/dev/stdout as a file", script: "tag --jsonl /dev/stdout > found" },
        Case { what: "/dev/stdout as a pipe", script: "tag --jsonl /dev/stdout | cat > found" },
        Case { what: "a link to /dev/stdout", script: "ln -s /dev/stdout a; tag --jsonl a | cat > found; test -L a" },
        Case {
            what: "/dev/stdout that appends",
            script: "echo old > a; tag --jsonl /dev/stdout >> a; head -n 1 a | grep -q old && tail -n +2 a > found",
        },
        Case { what: "another descriptor", script: "tag --jsonl /proc/self/fd/3 3> found" },
        Case { what: "people's lines beside standard output", script: "tag --explain --jsonl - > found" },
        Case { what: "a named pipe", script: "mkfifo a; cat a > found & tag --jsonl a; wait; test -p a" },
        Case {
            what: "a named pipe whose reader comes later",
            script: "mkfifo a; { sleep 0.5; cat a > found; } & tag --jsonl a; wait; test -p a",
        },
        Case {
            what: "a link to a pipe",
            script: "mkfifo b; ln -s b a; cat b > found & tag --jsonl a; wait; test -L a",
        },
        Case {
            what: "two pipes",
            script: "mkfifo a b; cat a > found & cat b > c & tag --jsonl a --csv b; wait; test -s c",
        },
        Case { what: "a device", script: "tag --jsonl /dev/null && test -c /dev/null && cp expected found" },
        Case {
            what: "a link to a device",
            script: "ln -s /dev/null a; tag --jsonl a && test -L a && test -c /dev/null && cp expected found",
        },
        Case {
            what: "a pipe that is closed while other files are written",
            script: "tag --csv - --jsonl found --nfo | true; ls films/*Valley*/*.nfo > list",
        },
    ];
    let mut problems = Vec::new();
    for Case { what, script } in cases {
        let folder = folder();
        let output = shell(folder.path(), script);
        let [found, expected] = ["found", "expected"].map(|name| fs::read_to_string(folder.path().join(name)));
        let is_right = found.as_ref().is_ok_and(|found| *found == expected.unwrap());
        let errors = text(&output.stderr);
        if !output.status.success() || !is_right || errors.contains("error") || errors.contains("panicked") {
            problems.push(format!("{what}: {:?}\n{errors}{found:?}", output.status));
        }
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn an_output_that_cannot_be_written_is_one_sentence_and_nothing_is_lost() {
    struct Case {
        what: &'static str,
        /// Leaves the status of the program; `old` holds what is to stay.
        script: &'static str,
        /// Whether root is stopped, too.
        stops_root: bool,
        error: &'static str,
    }
    let cases = [
        Case {
            what: "a full device",
            script: "tag --jsonl /dev/full",
            stops_root: true,
            error: "error: /dev/full: cannot be written; check that its folder exists and may be written, or name \
                    another file: No space left on device (os error 28)\n",
        },
        Case {
            what: "standard output on a full device",
            script: "tag --quiet --jsonl - > /dev/full",
            stops_root: true,
            error: "error: standard output: cannot be written; check what it is redirected to: No space left on device (os \
                    error 28)\n",
        },
        Case {
            what: "genres on a full device",
            script: "tag > /dev/full",
            stops_root: true,
            error: "error: standard output: cannot be written (No space left on device (os error 28)); check what it is \
                    redirected to\n",
        },
        Case {
            what: "a folder",
            script: "mkdir a; tag --jsonl a",
            stops_root: true,
            error: "error: a: cannot be written; check that its folder exists and may be written, or name another file: \
                    is a directory\n",
        },
        Case {
            what: "a folder that is not there",
            script: "tag --jsonl no/a",
            stops_root: true,
            error: "error: no/a: cannot be written; check that its folder exists and may be written, or name another \
                    file: No such file or directory (os error 2)\n",
        },
        Case {
            what: "a closed descriptor",
            script: "tag --jsonl /dev/fd/77",
            stops_root: true,
            error: "error: /dev/fd/77: cannot be written; check that its folder exists and may be written, or name \
                    another file: Bad file descriptor (os error 9)\n",
        },
        Case {
            what: "one file for two options",
            script: "tag --jsonl - --csv -",
            stops_root: true,
            error: "error: -: is named by two options; name a file each\n",
        },
        Case {
            what: "a folder that may not be written",
            script: "mkdir a; cp old a/b; chmod 500 a; tag --jsonl a/b; s=$?; chmod 700 a; cmp a/b old && exit $s",
            stops_root: false,
            error: "error: a/b: cannot be written; check that its folder exists and may be written, or name another \
                    file: Permission denied (os error 13)\n",
        },
        Case {
            what: "a file that may not be written",
            script: "chmod 400 old; tag --jsonl old",
            stops_root: false,
            error: "error: old: cannot be written; check that its folder exists and may be written, or name another \
                    file: Permission denied (os error 13)\n",
        },
    ];
    let mut problems = Vec::new();
    for Case { what, script, stops_root, error } in cases {
        if is_root() && !stops_root {
            eprintln!("skipped for root, who may write it: {what}");
            continue;
        }
        let folder = folder();
        fs::write(folder.path().join("old"), "old").unwrap();
        let output = shell(folder.path(), script);
        let errors = text(&output.stderr);
        let is_kept = fs::read_to_string(folder.path().join("old")).unwrap() == "old";
        let left =
            fs::read_dir(folder.path()).unwrap().map(|entry| text(entry.unwrap().file_name().as_encoded_bytes()));
        let has_rest = left.into_iter().any(|name| name.starts_with(".unfinished"));
        if output.status.code() != Some(2) || errors != error || !is_kept || has_rest {
            problems.push(format!("{what}: {:?}, kept {is_kept}, rest {has_rest}\n{errors}", output.status));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_pipe_that_nobody_reads_is_announced_and_can_be_interrupted() {
    let folder = folder();
    let script = "mkfifo a; \"$PROGRAM\" tag films --jsonl a 2> errors & \
                  until grep -q waiting errors; do sleep 0.1; done; kill -TERM $!; wait $!";
    let output = shell(folder.path(), script);
    let errors = fs::read_to_string(folder.path().join("errors")).unwrap();
    assert_eq!(output.status.code(), Some(130), "{errors}");
    let expected = "a: waiting for a reader of this pipe; end with Ctrl-C\ninterrupted; 0 posters of 0 are done";
    assert!(errors.starts_with(expected), "{errors}");
    assert!(fs::metadata(folder.path().join("a")).unwrap().file_type().is_fifo());
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let folder = folder();
    let films = folder.path().join("films").display().to_string();
    let (poster, data) = (fixtures::path("posters/space-baseline.jpg"), fixtures::path("tiny/test.csv"));
    let (poster, data) = (poster.to_str().unwrap(), data.to_str().unwrap());
    let cases: [&[&str]; 17] = [
        &["--help"],
        &["--version"],
        &["classify", poster, poster],
        &["classify", "--all", poster],
        &["classify", "--json", poster, poster],
        &["evaluate", data],
        &["evaluate", "--json", data],
        &["evaluate", "--confusion", data],
        &["inspect"],
        &["bench", "--seconds", "0.01", poster],
        &["bench", "--json", "--seconds", "0.01", poster],
        &["tag", &films],
        &["tag", "--explain", &films],
        &["tag", "--dry-run", "--nfo", &films],
        &["tag", "--jsonl", "-", &films],
        &["tag", "--csv", "/dev/stdout", &films],
        &["tag", "--html", "-", &films],
    ];
    let mut problems = Vec::new();
    for arguments in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runtime"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = text(&output.stderr);
        // `tag` prints a summary there, and `evaluate` which genres have no labels.
        let has_notes = arguments[0] == "tag" || errors.lines().all(|line| line.starts_with("note: "));
        let is_silent = errors.is_empty() || (has_notes && !errors.contains("rror"));
        if output.status.code() != Some(0) || !is_silent {
            problems.push(format!("{arguments:?}: {:?}\n{errors}", output.status));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
