//! Panics of code that handles untrusted bytes, turned into errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! { static CATCHES_PANICS: Cell<bool> = const { Cell::new(false) } }

/// Whether a panic of this thread is caught by this crate and becomes an error. A program's panic hook can stay silent
/// then, because the error is reported anyway.
pub fn catches_panics() -> bool {
    CATCHES_PANICS.get()
}

/// Runs code and catches its panic; the error is the message of that.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CATCHES_PANICS.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHES_PANICS.set(outer);
    outcome.map_err(|payload| message(&*payload))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message").into()
}
