//! `train`: from a CSV of posters to one ONNX file, on the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use runtime::commands::{Outcome, exit};
use train::commands::{evaluate, export, fit, inspect, split, tune};

/// Trains a poster genre classifier.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Split(split::Args),
    Fit(fit::Args),
    Tune(tune::Args),
    Evaluate(evaluate::Args),
    Export(export::Args),
}

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = Cli::parse();
    exit(run(cli.command))
}

/// Lets the allocator keep large buffers. A training step frees and asks for gigabytes of the same sizes again; with
/// glibc's defaults the system maps and clears each of them anew, a quarter of the whole time.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets numbers of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 256 << 20);
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Split(args) => split::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Export(args) => export::run(&args),
    }
}
