//! `train`: from a CSV of posters to one ONNX file, on the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli_support::{Outcome, exit};
use train::commands::{evaluate, export, fit, inspect, labels, split, tune};

/// A training step frees and asks for gigabytes of the same sizes again; the system's allocator has them mapped and cleared
/// anew each time, a quarter of the whole time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    Labels(labels::Args),
    Split(split::Args),
    Fit(fit::Args),
    Tune(tune::Args),
    Evaluate(evaluate::Args),
    Export(export::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    exit(run(cli.command))
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Labels(args) => labels::run(&args),
        Command::Split(args) => split::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Export(args) => export::run(&args),
    }
}
