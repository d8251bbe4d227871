//! `train`: from a CSV file of labelled posters to one ONNX file, on the command line.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli_support::Outcome;

use crate::cli::{evaluate, export, fit, inspect, labels, report, split, tune};

/// A training step frees and allocates gigabytes in blocks of the same sizes again and again. The system's allocator
/// maps and zeroes their pages anew each time, which takes a quarter of the training time; mimalloc keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train, evaluate and export a poster-genre classifier
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
    Report(report::Args),
    Export(export::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli_support::exit(run(cli.command))
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Labels(args) => labels::run(&args),
        Command::Split(args) => split::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(&args),
    }
}
