//! Progress bars for long steps, and durations for people.

use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Everything that is drawn on standard error while a command works: progress bars, and what a command puts above them.
/// Lines for people are printed within [`MultiProgress::suspend`], so that they do not mix.
pub fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

/// A progress bar over `len` steps with the estimated time left, drawn on standard error; invisible where standard
/// error is not a terminal.
pub fn progress_bar(len: u64, name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}, {eta} left {msg}")
        .expect("the template is a constant that indicatif accepts");
    bars().add(ProgressBar::new(len).with_style(style).with_prefix(name.to_string()))
}

/// A duration in whole seconds as `1:02:03` or `2:03`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_as_clock_times() {
        for (milliseconds, expected) in [(0, "0:00"), (59_999, "0:59"), (123_000, "2:03"), (3_723_000, "1:02:03")] {
            assert_eq!(format_duration(Duration::from_millis(milliseconds)), expected);
        }
    }
}
