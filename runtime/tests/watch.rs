//! `runtime watch` on a collection that grows.

#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fixtures::path as fixture;
use tempfile::TempDir;

/// Longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A collection and a process that watches it. The process is killed on drop.
struct Watch {
    folder: TempDir,
    child: Child,
}

impl Watch {
    fn start(arguments: &[&str]) -> Self {
        Self::start_by(&mut Command::new(env!("CARGO_BIN_EXE_runtime")), TempDir::new().unwrap(), arguments)
    }

    /// Starts it by a command that lacks the arguments of the program.
    fn start_by(command: &mut Command, folder: TempDir, arguments: &[&str]) -> Self {
        fs::create_dir(folder.path().join("films")).unwrap();
        let log = |name: &str| File::create(folder.path().join(name)).unwrap();
        let child = command
            .arg("watch")
            .arg(folder.path().join("films"))
            .args(arguments)
            .stdout(log("out"))
            .stderr(log("err"))
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    /// The path of a film's poster, in a folder that is made.
    fn poster(&self, film: &str) -> PathBuf {
        let folder = self.folder.path().join("films").join(film);
        fs::create_dir_all(&folder).unwrap();
        folder.join("poster.jpg")
    }

    /// Lines with that text on standard output or standard error, which is `out` or `err`.
    fn lines(&self, stream: &str, text: &str) -> Vec<String> {
        let said = fs::read_to_string(self.folder.path().join(stream)).unwrap();
        said.lines().filter(|line| line.contains(text)).map(String::from).collect()
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            let said = self.lines("out", "").join("\n") + &self.lines("err", "").join("\n");
            assert!(start.elapsed() < TIMEOUT, "{what}: not in {TIMEOUT:?}, but: {said}");
            sleep(Duration::from_millis(20));
        }
    }

    fn wait_for_line(&self, stream: &str, text: &str) {
        self.wait(text, || !self.lines(stream, text).is_empty());
    }

    /// Sends SIGTERM and waits for the end.
    fn stop(mut self) {
        let start = Instant::now();
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        while start.elapsed() < TIMEOUT {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0), "{:?}", self.lines("err", ""));
                return;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("it does not stop");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended already if all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tags_whatever_comes(arguments: &[&str]) {
    let watch = Watch::start(arguments);
    watch.wait_for_line("err", "end with Ctrl-C");

    // Slowly, but never so slowly that it might be whole.
    let bytes = fs::read(fixture("posters/western-progressive.jpg")).unwrap();
    let mut file = File::create(watch.poster("Slow (1999)")).unwrap();
    for part in bytes.chunks(bytes.len().div_ceil(24)) {
        file.write_all(part).unwrap();
        sleep(Duration::from_millis(250));
    }
    drop(file);
    watch.wait_for_line("out", "Slow (1999)/poster.jpg: ");

    // By another name first, as programs do that download.
    let hidden = watch.poster("Moved (1999)").with_file_name(".poster.jpg.tmp");
    fs::copy(fixture("posters/space-baseline.jpg"), &hidden).unwrap();
    fs::rename(&hidden, watch.poster("Moved (1999)")).unwrap();
    watch.wait_for_line("out", "Moved (1999)/poster.jpg: ");

    fs::copy(fixture("broken/text.jpg"), watch.poster("Broken (1999)")).unwrap();
    watch.wait_for_line("err", "Broken (1999)/poster.jpg: is not a JPEG");
    let broken = watch.poster("Broken (1999)").display().to_string();
    let message = format!("error: {broken}: is not a JPEG, PNG or WebP picture; convert it to one of these");
    assert_eq!(watch.lines("err", "Broken"), [message]);

    let [old, new] = ["Moved (1999)", "Renamed (2001)"].map(|film| watch.folder.path().join("films").join(film));
    fs::rename(old, new).unwrap();
    watch.wait_for_line("out", "Renamed (2001)/poster.jpg: ");

    // By now there were many passes.
    fs::copy(fixture("posters/noir-grey.jpg"), watch.poster("Last (1999)")).unwrap();
    watch.wait_for_line("out", "Last (1999)/poster.jpg: ");
    for film in ["Slow", "Moved", "Renamed", "Last"] {
        assert_eq!(watch.lines("out", film).len(), 1, "{film}: {:?}", watch.lines("out", ""));
    }
    let errors = watch.lines("err", "error:");
    assert!(errors.len() == 1 && errors[0].contains("Broken"), "{errors:?}");
    watch.stop();
}

#[test]
fn whatever_comes_is_tagged_once_and_when_it_is_whole() {
    tags_whatever_comes(&[]);
}

#[test]
fn whatever_comes_is_tagged_where_the_system_does_not_tell() {
    tags_whatever_comes(&["--poll", "1"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_later_link_leads_to_is_watched() {
    let watch = Watch::start(&[]);
    watch.wait_for_line("err", "watched; end with Ctrl-C");
    let elsewhere = TempDir::new().unwrap();
    let put = |film: &str, picture: &str| {
        fs::create_dir(elsewhere.path().join(film)).unwrap();
        fs::copy(fixture(picture), elsewhere.path().join(film).join("poster.jpg")).unwrap();
    };
    put("First (1999)", "posters/noir-grey.jpg");
    std::os::unix::fs::symlink(elsewhere.path(), watch.folder.path().join("films/link")).unwrap();
    watch.wait_for_line("out", "link/First (1999)/poster.jpg: ");
    put("Second (1999)", "posters/space-baseline.jpg");
    watch.wait_for_line("out", "link/Second (1999)/poster.jpg: ");
    watch.stop();
}

/// In a mount namespace of its own, where the system lets this user have one.
#[cfg(target_os = "linux")]
#[test]
fn what_comes_below_a_mount_is_seen_and_its_snapshots_are_not() {
    let (folder, share) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c"]);
        command.arg(r#"mkdir -p "$1" && mount --bind "$0" "$1" && shift && exec "$@""#).arg(share.path());
        command
    };
    let probe = unshare().arg(folder.path().join("probe")).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: this user may not mount");
        return;
    }
    let put = |film: &str, picture: &str| {
        fs::create_dir_all(share.path().join(film)).unwrap();
        fs::copy(fixture(picture), share.path().join(film).join("poster.jpg")).unwrap();
    };
    put("First (1999)", "posters/noir-grey.jpg");
    put("#snapshot/daily/First (1999)", "posters/space-baseline.jpg");
    let bind = folder.path().join("films/bind");
    let watch = Watch::start_by(unshare().arg(bind).arg(env!("CARGO_BIN_EXE_runtime")), folder, &[]);
    watch.wait_for_line("out", "bind/First (1999)/poster.jpg: ");
    put("Second (1999)", "posters/space-baseline.jpg");
    put(".snapshot/Second (1999)", "posters/noir-grey.jpg");
    watch.wait_for_line("out", "bind/Second (1999)/poster.jpg: ");
    assert_eq!(watch.lines("out", "").len(), 2, "{:?}", watch.lines("out", ""));
    watch.stop();
}

#[test]
fn results_follow_the_library() {
    let results = TempDir::new().unwrap();
    let jsonl = results.path().join("all.jsonl").display().to_string();
    let watch = Watch::start(&["--jsonl", &jsonl, "--sidecar", "txt", "--debounce", "0", "--force"]);
    watch.wait_for_line("err", "0 posters tagged, 1 files written");
    let poster = watch.poster("The Summit (1999)");
    fs::copy(fixture("posters/adventure-large.jpg"), &poster).unwrap();
    watch.wait_for_line("err", "1 posters tagged, 2 files written");
    assert_eq!(fs::read_to_string(&jsonl).unwrap().lines().count(), 1);
    assert!(poster.with_extension("txt").exists());
    fs::remove_dir_all(poster.parent().unwrap()).unwrap();
    watch.wait("no record", || watch.lines("err", "0 posters tagged, 1 files written").len() == 2);
    assert_eq!(fs::read_to_string(&jsonl).unwrap(), "");
    assert_eq!(watch.lines("err", "").len(), 4, "{:?}", watch.lines("err", ""));
    watch.stop();
}

#[test]
fn a_dry_run_says_what_it_would_write_once_and_writes_nothing() {
    let watch = Watch::start(&["--dry-run", "--sidecar", "json", "--poll", "1"]);
    for film in ["First (1999)", "Second (1999)", "Third (1999)"] {
        fs::copy(fixture("posters/western-baseline.jpg"), watch.poster(film)).unwrap();
        watch.wait_for_line("out", &format!("{film}/poster.json"));
    }
    assert_eq!(watch.lines("out", "").len(), 3, "{:?}", watch.lines("out", ""));
    let films = walkdir::WalkDir::new(watch.folder.path().join("films"));
    assert_eq!(films.into_iter().filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count(), 3);
    watch.stop();
}

#[test]
fn new_posters_are_shown_and_a_display_that_fails_stops_nothing() {
    let folder = TempDir::new().unwrap();
    let card = folder.path().join("card.png");
    let watch = Watch::start(&["--display", &format!("png:{},size=128x64,mono", card.display())]);
    fs::copy(fixture("posters/western.png"), watch.poster("Red Mesa (1962)")).unwrap();
    watch.wait("a card", || card.exists());
    watch.stop();

    // It fails when it is opened, and again with each poster.
    let watch = Watch::start(&["--display", "terminal,size=40x20"]);
    for film in ["First (1999)", "Second (1999)"] {
        fs::copy(fixture("posters/western.png"), watch.poster(film)).unwrap();
        watch.wait_for_line("out", film);
    }
    let errors = watch.lines("err", "error:");
    assert!(errors.len() == 1 && errors[0].contains("terminal: has 40 x 20 pixels"), "{errors:?}");
    watch.stop();
}

#[test]
fn exit_status_and_message() {
    struct Case<'a> {
        arguments: &'a [&'a str],
        /// Standard error, whole.
        message: &'a str,
    }
    let nowhere = "error: nowhere: cannot be read; name a library's folder: No such file or directory (os error 2)\n";
    let cases = [
        Case { arguments: &["nowhere"], message: nowhere },
        // The former name of --debounce.
        Case { arguments: &["nowhere", "--settle", "1"], message: nowhere },
        Case {
            arguments: &["nowhere", "--debounce", "90000"],
            message: "error: invalid value '90000' for '--debounce <SECONDS>': 90000 is not in 0..=86400\n\n\
                      For more information, try '--help'.\n",
        },
    ];
    for Case { arguments, message } in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_runtime")).arg("watch").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), message, "{arguments:?}");
    }
}
