//! Runs the fuzz targets on mutated files, with a stable toolchain and the same inputs every time.
//!
//! A child process does the work and says which input comes next, so that a panic, a crash, memory over the limit and
//! an input that takes too long are all found the same way, saved, and passed over.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{alloc, env, fs, panic, process, thread};

use anyhow::{Context, Result, bail};
use cap::Cap;
use clap::Parser;
use fuzz::{TARGETS, Target, input};

/// Longest time for one input.
const TIME: Duration = Duration::from_secs(2);

/// Longest time for the corpus, before the first input.
const START: Duration = Duration::from_secs(120);

/// Most memory on the heap while inputs are handled, in bytes.
const MEMORY: usize = 256 << 20;

/// Findings after which a target is given up.
const FINDINGS: usize = 10;

#[global_allocator]
static ALLOCATOR: Cap<alloc::System> = Cap::new(alloc::System, usize::MAX);

/// Fuzz targets on mutated files.
#[derive(Parser)]
struct Args {
    /// Targets; all without any
    targets: Vec<String>,

    /// Inputs for each target
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    inputs: u64,

    /// Another seed gives other inputs
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Only write the corpus of each target to FOLDER/TARGET, for libFuzzer
    #[arg(long, value_name = "FOLDER")]
    write_corpus: Option<PathBuf>,

    /// Be the child process, from this input on
    #[arg(long, hide = true)]
    work_from: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let mut targets = Vec::new();
    for name in &args.targets {
        let known = || TARGETS.each_ref().map(|target| target.name).join(", ");
        let target = TARGETS.iter().find(|target| target.name == name);
        targets.push(target.with_context(|| format!("there is no target \"{name}\"; choose among {}", known()))?);
    }
    if targets.is_empty() {
        targets.extend(&TARGETS);
    }
    let mut findings = 0;
    for target in targets {
        if let Some(folder) = &args.write_corpus {
            write_corpus(target, &folder.join(target.name))?;
        } else if let Some(first) = args.work_from {
            work(target, &args, first);
        } else {
            findings += supervise(target, &args)?;
        }
    }
    Ok(if findings > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs a target on all inputs from `first` on. The number of each is printed before it.
fn work(target: &Target, args: &Args, first: u64) {
    let corpus = target.corpus();
    // The library catches panics of other crates; only those that get through are told of.
    static MESSAGE: Mutex<String> = Mutex::new(String::new());
    panic::set_hook(Box::new(|panic| *MESSAGE.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string()));
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + MEMORY).expect("less is allocated than the limit");
    for index in first..args.inputs {
        println!("{index}");
        if panic::catch_unwind(|| (target.run)(&input(&corpus, args.seed, index))).is_err() {
            eprintln!("{}", MESSAGE.lock().unwrap_or_else(PoisonError::into_inner));
            process::exit(101);
        }
    }
}

/// Has child processes run a target on all inputs, saves those that fail, and returns their number.
fn supervise(target: &Target, args: &Args) -> Result<usize> {
    let start = Instant::now();
    let (mut first, mut findings) = (0, 0);
    while let Some((index, problem)) = run_child(target, args, first)? {
        findings += 1;
        first = index + 1;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target.name);
        fs::create_dir_all(&path)?;
        let path = path.join(format!("{}-{index}", args.seed));
        fs::write(&path, input(&target.corpus(), args.seed, index))?;
        eprintln!("{}: input {index} {problem}; it is {}", target.name, path.display());
        if findings == FINDINGS {
            eprintln!("{}: given up after {FINDINGS} findings", target.name);
            break;
        }
    }
    println!("{}: {} inputs, {findings} findings, {:.1?}", target.name, args.inputs, start.elapsed());
    Ok(findings)
}

/// Runs a child process to its end; returns the input at which it failed, and how.
fn run_child(target: &Target, args: &Args, first: u64) -> Result<Option<(u64, String)>> {
    let mut child = Command::new(env::current_exe()?)
        .args([target.name, "--inputs", &args.inputs.to_string(), "--seed", &args.seed.to_string()])
        .args(["--work-from", &first.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut current = None;
    let is_slow = loop {
        match receiver.recv_timeout(if current.is_none() { START } else { TIME }) {
            Ok(line) => current = Some(line.parse()?),
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if is_slow {
        child.kill()?;
    }
    let status = child.wait()?;
    match current {
        _ if status.success() => Ok(None),
        Some(index) if is_slow => Ok(Some((index, format!("takes more than {TIME:?}")))),
        Some(index) => Ok(Some((index, format!("ends the program ({status})")))),
        None => bail!("{}: the corpus cannot be made ({status})", target.name),
    }
}

fn write_corpus(target: &Target, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (index, file) in target.corpus().iter().enumerate() {
        fs::write(folder.join(index.to_string()), file)?;
    }
    Ok(())
}
