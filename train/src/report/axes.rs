//! Scales, ticks, grids and legends of the figures.

use super::svg::{Anchor, GRID, INK, MUTED, Svg, WIDTH, text_width};

/// Size of tick labels.
pub const SMALL: f64 = 10.0;

/// A scale from values to places, 0 to 1, and its ticks.
#[derive(Clone)]
pub struct Axis {
    scale: Scale,
    range: [f64; 2],
    ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy)]
enum Scale {
    Linear,
    /// Log-odds of a probability: small ones are as far apart as their ratio.
    Logit,
}

/// The probabilities at the ends of a log-odds axis.
const LOGIT_ENDS: [f64; 2] = [0.001, 0.99];

impl Axis {
    /// From at most the lowest to at least the highest of the values, in about `steps` round steps.
    pub fn around(values: impl IntoIterator<Item = f64>, steps: usize) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match (low <= high, high - low > 1e-12) {
            (false, _) => (0.0, 1.0),
            (true, false) => (low - low.abs().max(0.1) * 0.1, low + low.abs().max(0.1) * 0.1),
            (true, true) => (low, high),
        };
        let step = round_step((high - low) / steps as f64);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let decimals = (-step.log10()).ceil().max(0.0) as usize;
        let ticks = (0..=(last - first) as usize).map(|index| {
            let value = (first + index as f64) * step;
            (value, format!("{value:.decimals$}"))
        });
        Self { scale: Scale::Linear, range: [first * step, last * step], ticks: ticks.collect() }
    }

    /// No scale: for rows of things instead of values.
    pub fn none() -> Self {
        Self { scale: Scale::Linear, range: [0.0, 1.0], ticks: Vec::new() }
    }

    /// A share from 0 to 1.
    pub fn share() -> Self {
        let ticks = [(0.0, "0"), (0.5, "0.5"), (1.0, "1")].map(|(value, text)| (value, text.to_string()));
        Self { scale: Scale::Linear, range: [0.0, 1.0], ticks: ticks.to_vec() }
    }

    /// A share from 0 to 1 in tenths.
    pub fn tenths() -> Self {
        let ticks = (0..=10).map(|tenth| (f64::from(tenth) / 10.0, format!("{:.1}", f64::from(tenth) / 10.0)));
        Self { ticks: ticks.collect(), ..Self::share() }
    }

    /// Epochs from 1 on; a single one lies in the middle.
    pub fn epochs(epochs: usize) -> Self {
        let step = round_step(epochs as f64 / 8.0).max(1.0) as usize;
        let ticks = (1..=epochs).filter(|epoch| epoch % step == 0 || (*epoch == 1 && step > 1));
        Self {
            scale: Scale::Linear,
            range: if epochs > 1 { [1.0, epochs as f64] } else { [0.0, 2.0] },
            ticks: ticks.map(|epoch| (epoch as f64, epoch.to_string())).collect(),
        }
    }

    /// Log-odds of probabilities, with ticks in per cent.
    pub fn logit(ticks: &[f64]) -> Self {
        let label = |value: &f64| (*value, ((value * 1000.0).round() / 10.0).to_string());
        Self { scale: Scale::Logit, range: LOGIT_ENDS, ticks: ticks.iter().map(label).collect() }
    }

    /// The position of a value, 0 to 1, clamped to the ends.
    pub fn place(&self, value: f64) -> f64 {
        let along = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Logit => {
                let value = value.clamp(LOGIT_ENDS[0], LOGIT_ENDS[1]);
                (value / (1.0 - value)).ln()
            }
        };
        let [begin, end] = self.range.map(along);
        ((along(value) - begin) / (end - begin)).clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-12).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|it| it * power).find(|it| *it >= step * (1.0 - 1e-9)).unwrap_or(power)
}

/// A rectangle in which values are drawn.
pub struct Plot {
    /// Upper left corner.
    pub origin: [f64; 2],
    /// Width and height.
    pub size: [f64; 2],
    pub x: Axis,
    pub y: Axis,
}

impl Plot {
    /// The point of two values.
    pub fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let [left, top] = self.origin;
        let [width, height] = self.size;
        [left + width * self.x.place(x), top + height * (1.0 - self.y.place(y))]
    }

    /// Grid and ticks; tick labels below and to the left where they are asked for.
    pub fn grid(&self, svg: &mut Svg, labels_x: bool, labels_y: bool) {
        let [left, top] = self.origin;
        let [right, bottom] = [left + self.size[0], top + self.size[1]];
        for (value, text) in &self.y.ticks {
            let [_, y] = self.at(self.x.range[0], *value);
            svg.line([left, y], [right, y], GRID, 0.8);
            if labels_y {
                svg.text([left - 5.0, y + 3.5], text, Anchor::End, SMALL, MUTED);
            }
        }
        for (value, text) in &self.x.ticks {
            let [x, _] = self.at(*value, self.y.range[0]);
            svg.line([x, top], [x, bottom], GRID, 0.8);
            if labels_x {
                svg.text([x, bottom + 13.0], text, Anchor::Middle, SMALL, MUTED);
            }
        }
    }

    /// Draws the axis titles; `below` is the distance of the lower text from the plot.
    pub fn titles(&self, svg: &mut Svg, x: &str, y: &str, left_of: f64, below: f64) {
        let [left, top] = self.origin;
        let [width, height] = self.size;
        svg.text([left + width / 2.0, top + height + below], x, Anchor::Middle, 11.0, INK);
        svg.upright([left - left_of, top + height / 2.0], y, Anchor::Middle, 11.0, INK);
    }

    /// A line through values, with a dot at each if there are few.
    pub fn line(&self, svg: &mut Svg, values: &[[f64; 2]], stroke: &str, dash: &str) {
        svg.path(values.iter().map(|[x, y]| self.at(*x, *y)), stroke, 1.8, dash);
        if values.len() <= 12 {
            values.iter().for_each(|[x, y]| svg.dot(self.at(*x, *y), 2.6, stroke, ""));
        }
    }
}

/// An entry of a legend.
pub struct Key<'a> {
    pub text: &'a str,
    pub colour: &'a str,
    pub mark: Mark,
}

/// Symbol of a legend entry.
#[derive(Clone, Copy)]
pub enum Mark {
    Line,
    Dashed,
    Dot,
    Bar,
    /// A bar of that opacity.
    Faint,
}

/// Height of a row of a legend.
const ROW: f64 = 16.0;

/// Draws a legend from `top` on, in as many rows as it takes; returns where it ends.
pub fn legend(svg: &mut Svg, left: f64, top: f64, keys: &[Key]) -> f64 {
    let (mut x, mut y) = (left, top + ROW / 2.0);
    for Key { text, colour, mark } in keys {
        let width = 24.0 + text_width(text, SMALL) + 12.0;
        if x > left && x + width > WIDTH {
            (x, y) = (left, y + ROW);
        }
        match mark {
            Mark::Line => svg.line([x, y], [x + 18.0, y], colour, 2.0),
            Mark::Dashed => svg.path([[x, y], [x + 18.0, y]], colour, 1.6, "4 3"),
            Mark::Dot => svg.dot([x + 9.0, y], 4.0, colour, ""),
            Mark::Bar => svg.rect([x + 3.0, y - 4.5], [14.0, 9.0], colour, 1.0, ""),
            Mark::Faint => svg.rect([x + 3.0, y - 4.5], [14.0, 9.0], colour, 0.25, ""),
        }
        svg.text([x + 24.0, y + 3.5], text, Anchor::Start, SMALL, INK);
        x += width;
    }
    y + ROW / 2.0
}

/// Height of the rows that [`legend`] takes.
pub fn legend_height(left: f64, keys: &[Key]) -> f64 {
    legend(&mut Svg::new(0.0), left, 0.0, keys)
}

/// Panels side by side, one for each of `count` things, below `top`.
pub struct Panels {
    pub top: f64,
    pub count: usize,
    pub columns: usize,
    /// Height of a panel's plot.
    pub height: f64,
}

/// Room for the name above a panel.
const NAME: f64 = 17.0;
/// Room between panels.
const GAP: f64 = 12.0;
/// Room for tick labels and title left of the panels, and below them.
const LEFT: f64 = 46.0;
const BELOW: f64 = 34.0;
/// Room for half a tick label right of the panels.
const RIGHT: f64 = 8.0;

impl Panels {
    fn rows(&self) -> usize {
        self.count.div_ceil(self.columns)
    }

    /// Lower edge of the panels with their labels.
    pub fn bottom(&self) -> f64 {
        self.top + self.rows() as f64 * (NAME + self.height + GAP) - GAP + BELOW
    }

    /// Draws grid and name of a panel and returns its plot.
    pub fn draw(&self, svg: &mut Svg, index: usize, name: &str, x: Axis, y: Axis) -> Plot {
        let (row, column) = (index / self.columns, index % self.columns);
        let columns = self.columns as f64;
        let width = (WIDTH - LEFT - RIGHT - (columns - 1.0) * GAP) / columns;
        let origin = [LEFT + column as f64 * (width + GAP), self.top + NAME + row as f64 * (NAME + self.height + GAP)];
        let plot = Plot { origin, size: [width, self.height], x, y };
        plot.grid(svg, index + self.columns >= self.count, column == 0);
        svg.text([origin[0], origin[1] - 5.0], name, Anchor::Start, 11.0, INK);
        plot
    }

    /// Draws the axis titles that all panels share.
    pub fn titles(&self, svg: &mut Svg, x: &str, y: &str) {
        svg.text([LEFT + (WIDTH - LEFT) / 2.0, self.bottom() - 4.0], x, Anchor::Middle, 11.0, INK);
        svg.upright([12.0, (self.top + self.bottom() - BELOW) / 2.0], y, Anchor::Middle, 11.0, INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        let cases: [(&[f64], usize, &[&str]); 6] = [
            (&[0.233, 0.246], 4, &["0.230", "0.235", "0.240", "0.245", "0.250"]),
            (&[0.0, 1.0], 5, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (&[3.0, 97.0], 5, &["0", "20", "40", "60", "80", "100"]),
            (&[0.5], 2, &["0.45", "0.50", "0.55"]),
            (&[], 2, &["0.0", "0.5", "1.0"]),
            (&[f64::NAN, 2.0, 4.0], 2, &["2", "3", "4"]),
        ];
        for (values, steps, expected) in cases {
            let axis = Axis::around(values.iter().copied(), steps);
            let ticks: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(ticks, expected, "{values:?}");
            for value in values.iter().filter(|value| value.is_finite()) {
                assert!((axis.range[0]..=axis.range[1]).contains(value), "{values:?}");
            }
        }
    }

    #[test]
    fn epochs_are_whole_numbers_and_few() {
        for epochs in [1, 2, 8, 9, 40, 400] {
            let axis = Axis::epochs(epochs);
            assert!((1..=10).contains(&axis.ticks.len()), "{epochs}: {}", axis.ticks.len());
            assert!((0.0..=1.0).contains(&axis.place(epochs as f64)));
        }
        assert_eq!(Axis::epochs(1).place(1.0), 0.5);
    }
}
