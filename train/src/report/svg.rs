//! SVG figures: primitives, colours, and the two forms in which a figure is used.
//!
//! Why not a plotting library: a figure here takes its colours from CSS variables of the page, so that one drawing
//! serves light, dark and print; it has text that can be searched, a tooltip for each mark, and panels for 24 genres.
//! `plotters` draws with fixed colours and measures text with fonts of the system, `charming` needs a JavaScript engine.
//! Without that, all that is left of them are the few primitives of this file and the scales of [`axes`](super::axes).

use std::fmt::Write;

use quick_xml::escape::escape;

/// Width of every figure in its own units, chosen so that text of 10 units is readable on a phone 360 pixels wide.
pub const WIDTH: f64 = 440.0;

/// Text and marks.
pub const INK: &str = "var(--ink)";
/// Text and marks of less weight.
pub const MUTED: &str = "var(--muted)";
/// Grid lines.
pub const GRID: &str = "var(--grid)";
/// The background.
pub const PAPER: &str = "var(--paper)";
/// Colours of series, which people with colour blindness can tell apart: Okabe and Ito, "Color universal design", 2008.
pub const SERIES: [&str; 7] =
    ["var(--s1)", "var(--s2)", "var(--s3)", "var(--s4)", "var(--s5)", "var(--s6)", "var(--s7)"];

/// Each variable on a light and on a dark background. The yellow of the palette is too light for paper, its blue too
/// dark for the night: the two change places with each other's neighbours.
const PALETTE: [(&str, &str, &str); 11] = [
    ("--ink", "#1b1f24", "#e8eaed"),
    ("--muted", "#59616b", "#a3abb5"),
    ("--grid", "#dde1e6", "#343b44"),
    ("--paper", "#ffffff", "#14181d"),
    ("--s1", "#0072b2", "#56b4e9"),
    ("--s2", "#d55e00", "#e69f00"),
    ("--s3", "#009e73", "#1fbf92"),
    ("--s4", "#cc79a7", "#cc79a7"),
    ("--s5", "#e69f00", "#d55e00"),
    ("--s6", "#56b4e9", "#4a8fd0"),
    ("--s7", "#1b1f24", "#f0e442"),
];

/// The variables of the palette as CSS declarations, for a light and for a dark background.
pub fn palette() -> [String; 2] {
    let declare = |value: fn(&(&str, &str, &str)) -> String| PALETTE.iter().map(value).collect();
    [declare(|(name, light, _)| format!("{name}:{light};")), declare(|(name, _, dark)| format!("{name}:{dark};"))]
}

/// Anchor of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing.
pub struct Svg {
    body: String,
    height: f64,
}

impl Svg {
    /// An empty drawing, [`WIDTH`] by `height`.
    pub fn new(height: f64) -> Self {
        Self { body: String::new(), height }
    }

    pub fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], stroke: &str, width: f64) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
        self.push(format_args!(
            r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{stroke}" stroke-width="{width}"/>"#
        ));
    }

    /// A line through points; `dash` is a pattern as SVG has it, or empty.
    pub fn path(&mut self, points: impl IntoIterator<Item = [f64; 2]>, stroke: &str, width: f64, dash: &str) {
        let mut data = String::new();
        for [x, y] in points {
            let command = if data.is_empty() { 'M' } else { 'L' };
            write!(data, "{command}{} {}", short(x), short(y)).expect("a string can be written to");
        }
        let dash = if dash.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dash}""#) };
        self.push(format_args!(
            r#"<path d="{data}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round"{dash}/>"#
        ));
    }

    /// A filled rectangle with a tooltip, which may be empty.
    pub fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str, opacity: f64, tip: &str) {
        let [x, y, width, height] = [x, y, width, height].map(short);
        let opacity = if opacity < 1.0 { format!(r#" fill-opacity="{opacity:.2}""#) } else { String::new() };
        let shape = format!(r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"{opacity}"#);
        self.with_tip("rect", &shape, tip);
    }

    /// A disc with a tooltip, which may be empty.
    pub fn dot(&mut self, [x, y]: [f64; 2], radius: f64, fill: &str, tip: &str) {
        let [x, y] = [x, y].map(short);
        let shape =
            format!(r#"<circle cx="{x}" cy="{y}" r="{radius}" fill="{fill}" stroke="{PAPER}" stroke-width="0.7""#);
        self.with_tip("circle", &shape, tip);
    }

    pub fn text(&mut self, [x, y]: [f64; 2], text: &str, anchor: Anchor, size: f64, fill: &str) {
        let (x, y) = (short(x), short(y));
        self.push(format_args!(
            r#"<text x="{x}" y="{y}" font-size="{size}" fill="{fill}"{}>{}</text>"#,
            anchor.attribute(),
            escape(text)
        ));
    }

    /// A text that reads from the bottom up.
    pub fn upright(&mut self, [x, y]: [f64; 2], text: &str, anchor: Anchor, size: f64, fill: &str) {
        let (x, y) = (short(x), short(y));
        self.push(format_args!(
            r#"<text transform="translate({x} {y}) rotate(-90)" font-size="{size}" fill="{fill}"{}>{}</text>"#,
            anchor.attribute(),
            escape(text)
        ));
    }

    /// The `svg` element for a page that defines the palette; `label` is read out in place of the drawing.
    pub fn finish(self, label: &str) -> String {
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}" font-family="Noto Sans, system-ui, sans-serif">{body}</svg>"#,
            height = short(self.height),
            label = escape(label),
            body = self.body
        )
    }

    fn with_tip(&mut self, element: &str, shape: &str, tip: &str) {
        if tip.is_empty() {
            self.push(format_args!("{shape}/>"));
        } else {
            self.push(format_args!("{shape}><title>{}</title></{element}>", escape(tip)));
        }
    }

    fn push(&mut self, element: std::fmt::Arguments) {
        self.body.write_fmt(element).expect("a string can be written to");
    }
}

impl Anchor {
    fn attribute(self) -> &'static str {
        match self {
            Self::Start => "",
            Self::Middle => r#" text-anchor="middle""#,
            Self::End => r#" text-anchor="end""#,
        }
    }
}

/// A finished drawing as a file of its own: in the colours of a light background, which it has.
pub fn standalone(svg: &str) -> String {
    let begin = svg.find('>').map_or(0, |end| end + 1);
    let (head, body) = svg.split_at(begin);
    let head = head.replacen("<svg ", &format!(r#"<svg width="{}" "#, 2.0 * WIDTH), 1);
    let text = format!(r#"{head}<rect width="100%" height="100%" fill="{PAPER}"/>{body}"#);
    PALETTE.iter().fold(text, |text, (name, light, _)| text.replace(&format!("var({name})"), light))
}

/// Width of a text in the font of the figures, roughly and rather too much than too little.
pub fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.63
}

/// A coordinate with one decimal, without a needless zero.
fn short(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
