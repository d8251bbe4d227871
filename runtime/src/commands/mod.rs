//! The subcommands of `runtime`, one file each, and what they share: the model they use, and how a run ends.

pub mod bench;
pub mod classify;
pub mod evaluate;
pub mod inspect;
pub mod install;
pub mod tag;
pub mod watch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::card::Card;
use crate::network::{Network, NetworkError};
use crate::threshold::{self, OperatingPoint, UnknownOperatingPoint};

/// How a run ended that could be made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well: exit status 0.
    Complete,
    /// Some files failed and were named, the others are done: exit status 1.
    SomeFailed,
    /// The user wished to stop, and what was done is kept: exit status 130.
    Interrupted,
}

/// The exit status of a run: 0 all well, 1 some files failed, 2 the run could not be made, for the reason printed, 130
/// interrupted. A
/// reader that has seen enough and closes the pipe, such as `head`, is no failure.
pub fn exit(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Prints an error to standard error, in one line.
pub fn complain(message: &str) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {message}");
}

/// A flag that the first Ctrl-C or request to terminate raises before it calls `then`; the second one ends the program at
/// once.
///
/// # Errors
/// If the system does not let it.
pub fn on_ctrl_c(then: impl Fn() + Send + 'static) -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        then();
    })
    .context("Ctrl-C cannot be handled")?;
    Ok(interrupted)
}

/// The model to use and what to make of its probabilities.
#[derive(clap::Args, Debug)]
pub struct ModelArgs {
    /// Model file made by `train export` [default: the shipped model]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,

    /// Thresholds to decide by, one of those in the model's card [default: the first of them]
    #[arg(long, value_name = "NAME")]
    pub operating_point: Option<String>,
}

impl ModelArgs {
    fn network(&self) -> Result<Network, NetworkError> {
        self.model.as_deref().map_or_else(Network::shipped, Network::open)
    }

    fn choose<'a>(&self, card: &'a Card) -> Result<&'a OperatingPoint, UnknownOperatingPoint> {
        threshold::find(&card.operating_points, self.operating_point.as_deref())
    }
}
