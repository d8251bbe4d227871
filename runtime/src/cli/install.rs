//! `runtime install-files`: shell completions and manual pages, for packages.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap_complete::{Shell, generate_to};
use cli_support::Outcome;

/// Write shell completions and manual pages, for those who make packages.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder to write to
    folder: PathBuf,
}

/// Writes `completions/` for every shell and `man/` with a page for each subcommand.
///
/// # Errors
/// If the folder cannot be written.
pub fn run(args: &Args, mut program: clap::Command) -> Result<Outcome> {
    let [completions, man] = ["completions", "man"].map(|name| args.folder.join(name));
    let failed = || format!("{}: cannot be written; name another folder", args.folder.display());
    for folder in [&completions, &man] {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    // Each page says what the page of `help` would.
    let pages = program.clone().disable_help_subcommand(true);
    for shell in Shell::value_variants() {
        generate_to(*shell, &mut program, "runtime", &completions).with_context(failed)?;
    }
    clap_mangen::generate_to(pages, &man).with_context(failed)?;
    Ok(Outcome::Complete)
}
