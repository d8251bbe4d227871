//! `runtime`: film genres from posters, on the command line.

mod cli;

use std::panic;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use cli_support::Outcome;
use mimalloc::MiMalloc;

use crate::cli::{bench, classify, evaluate, inspect, install, show, tag, watch};

/// glibc's allocator keeps a megabyte more for every poster when several threads run a model. (Without its feature
/// `no_thp`, mimalloc asks for pages of 2 MB: a model then takes twice the memory that it needs.)
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Film genres from posters.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Tag(tag::Args),
    Watch(watch::Args),
    Show(show::Args),
    Evaluate(evaluate::Args),
    Inspect(inspect::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    InstallFiles(install::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let print_panic = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !runtime::catches_panics() {
            print_panic(panic);
        }
    }));
    cli_support::exit(run(cli.command))
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Classify(args) => classify::run(&args),
        Command::Tag(args) => tag::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::InstallFiles(args) => install::run(&args, Cli::command()),
    }
}
