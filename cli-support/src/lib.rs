//! The command-line conventions that the programs `runtime` and `train` share: exit status, error messages, Ctrl-C, and
//! the options of an evaluation report.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use serde::Serialize;

/// Outcome of a run that could start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything succeeded: exit status 0.
    Complete,
    /// Some files failed and were named, the others are done: exit status 1.
    SomeFailed,
    /// The user interrupted the run, and what was done is kept: exit status 130.
    Interrupted,
}

/// The exit status of a run: 0 success, 1 some files failed, 2 the run failed for the reason printed, 130 interrupted.
///
/// A reader that closes the pipe, such as `head`, is no failure.
pub fn exit(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// serde_json and csv wrap the error of the writer, so that the whole chain is searched.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        kind.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Prints an error to standard error, in one line.
pub fn complain(message: &str) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {message}");
}

/// Prints why posters could not be read, each in one line.
///
/// # Errors
/// If these are all of the `total` posters: the images are somewhere else, and one sentence says so instead.
pub fn complain_of_posters(total: usize, failures: &[impl Display]) -> anyhow::Result<()> {
    if let Some(first) = failures.first().filter(|_| failures.len() == total) {
        bail!("none of the {total} posters can be read (first: {first}); check the folder of the images");
    }
    failures.iter().for_each(|failure| complain(&failure.to_string()));
    Ok(())
}

/// Standard output, locked, with colours only where they are shown. Its errors say that it is standard output that cannot
/// be written.
pub fn stdout() -> Stdout {
    Stdout(anstream::stdout().lock())
}

/// See [`stdout`].
pub struct Stdout(anstream::AutoStream<StdoutLock<'static>>);

impl Stdout {
    fn named(error: io::Error) -> io::Error {
        let message = format!("standard output: cannot be written ({error}); check what it is redirected to");
        io::Error::new(error.kind(), message)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(Self::named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(Self::named)
    }
}

/// Prints a line about work that goes on whether or not the line is read, such as progress, to standard output. A closed
/// pipe is no failure; another one is said once.
pub fn say(line: impl Display) {
    static HAS_FAILED: AtomicBool = AtomicBool::new(false);
    if let Err(error) = writeln!(stdout(), "{line}")
        && error.kind() != io::ErrorKind::BrokenPipe
        && !HAS_FAILED.swap(true, Ordering::Relaxed)
    {
        complain(&error.to_string());
    }
}

/// Prints a line about work that goes on to standard error.
pub fn notice(line: impl Display) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// A flag that the first Ctrl-C or SIGTERM raises before it calls `then`; the second one ends the program at once.
///
/// # Errors
/// If the system does not let a handler be installed.
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

/// Options of a report of metrics.
#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// Print every metric as JSON
    #[arg(long)]
    pub json: bool,

    /// Also print the confusion table: which genres are predicted in place of each genre that is missed
    #[arg(long)]
    pub confusion: bool,
}

impl ReportArgs {
    /// Prints a report to standard output: `metrics` as JSON, or else its two tables.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn print(
        &self,
        metrics: &impl Serialize,
        table: impl Fn() -> String,
        confusion: impl Fn() -> String,
    ) -> anyhow::Result<()> {
        let mut out = stdout();
        if self.json {
            serde_json::to_writer_pretty(&mut out, metrics)?;
            writeln!(out)?;
            return Ok(());
        }
        let mut section = |text: &dyn Display| writeln!(out, "{text}");
        section(&table())?;
        if self.confusion {
            section(&format_args!("\n{}", confusion()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_found_behind_the_errors_that_wrap_it() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let cases: [(anyhow::Error, bool); 4] = [
            (pipe().into(), true),
            (anyhow::Error::from(serde_json::Error::io(pipe())).context("standard output"), true),
            (io::Error::from(io::ErrorKind::NotFound).into(), false),
            (anyhow::anyhow!("Broken pipe"), false),
        ];
        for (error, expected) in cases {
            assert_eq!(is_broken_pipe(&error), expected, "{error:#}");
        }
    }
}
