//! Live curves of a training in the terminal, above the progress bar of the epoch.
//!
//! ratatui draws the curves into a buffer; indicatif, which draws the progress bar, puts the buffer's lines above it. So
//! the terminal is neither switched to another screen nor to raw mode: what was printed stays, Ctrl-C works as always,
//! and there is nothing to restore.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr, stdout};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anstream::AutoStream;
use anstream::ColorChoice;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Style};
use ratatui_core::symbols::Marker;
use ratatui_core::widgets::Widget;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType};
use train::history::{EpochMetrics, RunState};
use train::progress::bars;

/// Redraw interval of the curves, so that they fit a terminal whose size has changed.
const TICK: Duration = Duration::from_millis(500);

/// From this width on, in columns, the two charts are side by side.
const WIDE: u16 = 110;

/// Rows of a chart.
const ROWS: u16 = 10;

/// The curves of one training; they disappear when it is dropped.
pub struct LiveView {
    state: Arc<Mutex<RunState>>,
    bar: ProgressBar,
}

impl LiveView {
    /// Curves above the progress bars, which are empty until the first epoch is done; none where standard output or
    /// standard error is not a terminal.
    pub fn new() -> Option<Self> {
        if !stdout().is_terminal() || !stderr().is_terminal() {
            return None;
        }
        let state = Arc::new(Mutex::new(RunState::default()));
        let shown = state.clone();
        let has_colours = AutoStream::choice(&stderr()) != ColorChoice::Never;
        let curves = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let size = terminal_size::terminal_size_of(stderr());
            let (width, height) = size.map_or((80, 24), |(width, height)| (width.0, height.0));
            let state = shown.lock().expect("no thread panics while it holds the state");
            // Without room or epochs nothing is drawn; an error would be that of a string.
            let _ = out.write_str(&draw(&state.history, [width.saturating_sub(1), height], has_colours));
        };
        let style =
            ProgressStyle::with_template("{curves}").expect("the template is a constant that indicatif accepts");
        let bar = bars().insert(0, ProgressBar::new_spinner().with_style(style.with_key("curves", curves)));
        bar.enable_steady_tick(TICK);
        Some(Self { state, bar })
    }

    /// Shows another epoch.
    pub fn update(&self, state: &RunState) {
        self.state.lock().expect("no thread panics while it holds the state").clone_from(state);
        self.bar.tick();
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A name in the legend, its colour, and the figure.
type Curve = (&'static str, Color, fn(&EpochMetrics) -> f64);

const LOSSES: [Curve; 2] = [
    ("training loss", Color::Yellow, |epoch| epoch.train_loss),
    ("validation loss", Color::Cyan, |epoch| epoch.validation_loss),
];

const METRICS: [Curve; 4] = [
    ("precision", Color::Yellow, |epoch| epoch.precision),
    ("F1", Color::Cyan, |epoch| epoch.f1),
    ("recall", Color::Green, |epoch| epoch.recall),
    ("mAP", Color::Magenta, |epoch| epoch.mean_average_precision),
];

/// The charts as lines of text for a terminal of that width and height, in columns and rows.
fn draw(history: &[EpochMetrics], [width, height]: [u16; 2], has_colours: bool) -> String {
    // Half of the screen stays for what was printed.
    if history.is_empty() || width < 30 || height < 2 * ROWS {
        return String::new();
    }
    let is_wide = width >= WIDE;
    let shows_both = is_wide || height >= 4 * ROWS;
    let rows = if shows_both && !is_wide { 2 * ROWS } else { ROWS };
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, rows));
    let half = if is_wide { width / 2 } else { width };
    chart(history, &LOSSES, Rect::new(0, 0, half, ROWS), &mut buffer);
    if shows_both {
        let area = if is_wide { Rect::new(half, 0, width - half, ROWS) } else { Rect::new(0, ROWS, width, ROWS) };
        chart(history, &METRICS, area, &mut buffer);
    }
    text(&buffer, has_colours)
}

/// Draws curves over the epochs into a part of the buffer, below a line with their names and last values.
fn chart(history: &[EpochMetrics], curves: &[Curve], area: Rect, buffer: &mut Buffer) {
    let points: Vec<Vec<(f64, f64)>> =
        curves.iter().map(|(_, _, of)| history.iter().map(|epoch| (epoch.epoch as f64, of(epoch))).collect()).collect();
    let mut x = area.x + 1;
    let mut datasets = Vec::new();
    for ((name, colour, _), points) in curves.iter().zip(&points) {
        let style = Style::new().fg(*colour);
        let label = format!("{name} {:.4}  ", points.last().map_or(0.0, |(_, value)| *value));
        (x, _) = buffer.set_stringn(x, area.y, label, usize::from(area.right().saturating_sub(x)), style);
        datasets.push(
            Dataset::default()
                .marker(if points.len() > 1 { Marker::Braille } else { Marker::Dot })
                .graph_type(GraphType::Line)
                .style(style)
                .data(points),
        );
    }
    let values = points.iter().flatten().map(|(_, value)| *value);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
    let (low, high) = if low < high { (low, high) } else { (low - 0.05, high + 0.05) };
    let last = history.len().max(2) as f64;
    let x = Axis::default().bounds([1.0, last]).labels(["1".to_string(), format!("epoch {last}")]);
    let y = Axis::default().bounds([low, high]).labels([format!("{low:.3}"), format!("{high:.3}")]);
    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    Chart::new(datasets).x_axis(x).y_axis(y).render(below, buffer);
}

/// The lines of a buffer, with the sequences of a terminal for colours.
fn text(buffer: &Buffer, has_colours: bool) -> String {
    let width = usize::from(buffer.area.width);
    let mut text = String::new();
    for (row, cells) in buffer.content.chunks(width).enumerate() {
        if row > 0 {
            text.push('\n');
        }
        for cell in cells {
            if has_colours && cell.fg != Color::Reset {
                let style = anstyle::Style::from(Style::new().fg(cell.fg));
                write!(text, "{style}{}{style:#}", cell.symbol()).expect("a string can be written to");
            } else {
                text.push_str(cell.symbol());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_fit_the_terminal_or_are_left_out() {
        let history = |epochs: usize| -> Vec<EpochMetrics> {
            let epoch = |epoch| EpochMetrics {
                epoch,
                train_loss: 1.0 / epoch as f64,
                validation_loss: 0.5,
                f1: 0.4,
                ..EpochMetrics::default()
            };
            (1..=epochs).map(epoch).collect()
        };
        // Width, height, epochs; rows, and whether metrics are shown.
        let cases = [
            (80, 24, 0, 0, false),
            (80, 24, 5, 10, false),
            (80, 50, 5, 20, true),
            (200, 24, 5, 10, true),
            (200, 50, 1, 10, true),
            (20, 50, 5, 0, false),
            (200, 10, 5, 0, false),
            (0, 0, 5, 0, false),
        ];
        for (width, height, epochs, rows, shows_metrics) in cases {
            let what = format!("{width} x {height}, {epochs} epochs");
            let drawn = draw(&history(epochs), [width, height], false);
            assert_eq!(drawn.lines().count(), rows, "{what}");
            assert!(drawn.lines().all(|line| line.chars().count() <= width.into()), "{what}");
            assert_eq!((drawn.contains("training loss"), drawn.contains("mAP")), (rows > 0, shows_metrics), "{what}");
            let coloured = draw(&history(epochs), [width, height], true);
            assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), drawn, "{what}");
        }
    }
}
