//! A terminal: two pixels per character cell, in 24-bit colours, or sixel graphics.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use color_quant::NeuQuant;

use super::{Display, DisplayError, Panel, Picture};
use crate::preprocess::Rgb8Image;

/// Width and height of the picture where standard output is no terminal.
const DEFAULT_SIZE: (u32, u32) = (160, 96);

/// Width and height of a sixel picture without the option `size`.
pub const SIXEL_SIZE: (u32, u32) = (480, 320);

/// The terminal at standard output.
pub struct Terminal {
    pub panel: Panel,
    /// Whether it draws sixel graphics.
    pub is_sixel: bool,
}

/// Width and height of the largest picture that the terminal shows with a line left for the prompt, at most twice as
/// wide as high. A cell is about twice as high as wide, so that half of it is a square pixel.
pub fn size() -> (u32, u32) {
    let Some((terminal_size::Width(columns), terminal_size::Height(lines))) = terminal_size::terminal_size() else {
        return DEFAULT_SIZE;
    };
    let height = 2 * u32::from(lines.saturating_sub(1));
    (u32::from(columns).min(2 * height), height)
}

impl Display for Terminal {
    fn panel(&self) -> Panel {
        self.panel
    }

    fn show(&mut self, picture: &Picture) -> Result<(), DisplayError> {
        let text = if self.is_sixel { sixels(picture.pixels()) } else { half_blocks(picture) };
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // The reader of a pipe has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|cause| DisplayError::unusable(Path::new("terminal"), cause)),
        }
    }
}

/// The picture in lines of `▀`, whose foreground is the upper and whose background the lower pixel.
fn half_blocks(picture: &Picture) -> String {
    let pixels = picture.pixels();
    let (rows, width) = (pixels.as_raw().as_chunks::<3>().0, pixels.width() as usize);
    let mut text = String::new();
    for pair in rows.chunks(2 * width) {
        let (upper, lower) = pair.split_at(width);
        let mut before = None;
        for (x, upper) in upper.iter().enumerate() {
            let colors = (*upper, lower.get(x).copied());
            if before != Some(colors) {
                let ([red, green, blue], lower) = colors;
                let _ = write!(text, "\x1b[38;2;{red};{green};{blue}m");
                let _ = match lower {
                    Some([red, green, blue]) => write!(text, "\x1b[48;2;{red};{green};{blue}m"),
                    None => write!(text, "\x1b[49m"),
                };
                before = Some(colors);
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

/// The picture as sixel graphics of 256 colours (DEC STD 070, Video Systems Reference Manual, chapter 9): for each band
/// of six rows and each colour in it, a character for each column, whose six bits are the pixels of that colour.
fn sixels(pixels: &Rgb8Image) -> String {
    let (width, height) = pixels.dimensions();
    let rgba: Vec<u8> = pixels.pixels().flat_map(|[red, green, blue]| [red, green, blue, 255]).collect();
    // Every third pixel chooses the colours.
    let quantiser = NeuQuant::new(3, 256, &rgba);
    let indices: Vec<usize> = rgba.chunks_exact(4).map(|pixel| quantiser.index_of(pixel)).collect();
    let mut text = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    for (index, color) in quantiser.color_map_rgb().as_chunks::<3>().0.iter().enumerate() {
        let [red, green, blue] = color.map(|value| (u32::from(value) * 100 + 127) / 255);
        let _ = write!(text, "#{index};2;{red};{green};{blue}");
    }
    for band in indices.chunks(6 * width as usize) {
        let mut colors: Vec<usize> = band.to_vec();
        colors.sort_unstable();
        colors.dedup();
        for color in colors {
            let _ = write!(text, "#{color}");
            let sixel = |x: usize| {
                let rows = band[x..].iter().step_by(width as usize).zip(0..);
                rows.fold(63_u8, |bits, (index, row)| bits + (u8::from(*index == color) << row))
            };
            let row: Vec<u8> = (0..width as usize).map(sixel).collect();
            for run in row.chunk_by(|a, b| a == b) {
                let _ = write!(text, "!{}{}", run.len(), char::from(run[0]));
            }
            // Back to the start of the band.
            text.push('$');
        }
        text.push('-');
    }
    text + "\x1b\\\n"
}

#[cfg(test)]
mod tests {
    use embedded_graphics::Pixel;
    use embedded_graphics::draw_target::DrawTarget;
    use embedded_graphics::geometry::Point;
    use embedded_graphics::pixelcolor::Rgb888;

    use super::*;
    use crate::display::Colors;

    #[test]
    fn a_cell_has_the_colours_of_two_pixels() {
        let mut picture = Picture::new(Panel { width: 2, height: 3, colors: Colors::Rgb });
        let pixels = [(0, 0, [1, 2, 3]), (0, 1, [4, 5, 6]), (1, 0, [1, 2, 3]), (1, 1, [4, 5, 6]), (1, 2, [7, 8, 9])];
        let pixels = pixels.map(|(x, y, [red, green, blue])| Pixel(Point::new(x, y), Rgb888::new(red, green, blue)));
        let Ok(()) = picture.draw_iter(pixels);
        let expected = "\x1b[38;2;1;2;3m\x1b[48;2;4;5;6m▀▀\x1b[0m\n\
                        \x1b[38;2;0;0;0m\x1b[49m▀\x1b[38;2;7;8;9m\x1b[49m▀\x1b[0m\n";
        assert_eq!(half_blocks(&picture), expected);
    }

    /// Decodes what [`sixels`] writes.
    fn decoded(text: &str, (width, height): (u32, u32)) -> Rgb8Image {
        let body = text.strip_prefix(&format!("\x1bP0;1;0q\"1;1;{width};{height}")).unwrap();
        let body = body.strip_suffix("\x1b\\\n").unwrap();
        let mut palette = vec![[0; 3]; 256];
        let mut image = Rgb8Image::new(width, height);
        let (mut color, mut x, mut band) = (0, 0, 0);
        let mut rest = body;
        while let Some(command) = rest.chars().next() {
            let end = rest[1..]
                .find(|letter: char| !letter.is_ascii_digit() && letter != ';')
                .map_or(rest.len(), |end| end + 1);
            let numbers: Vec<u32> = rest[1..end].split(';').filter_map(|number| number.parse().ok()).collect();
            rest = &rest[end..];
            match (command, &numbers[..]) {
                ('#', [index, 2, red, green, blue]) => {
                    palette[*index as usize] = [red, green, blue].map(|percent| (percent * 255 / 100) as u8);
                }
                ('#', [index]) => color = *index as usize,
                ('!', [count]) => {
                    let bits = rest.as_bytes()[0] - 63;
                    rest = &rest[1..];
                    for (column, row) in (x..x + count).flat_map(|column| (0..6).map(move |row| (column, row))) {
                        if bits >> row & 1 == 1 {
                            let pixel = ((6 * band + row) * width + column) as usize;
                            image.as_raw_mut().as_chunks_mut::<3>().0[pixel] = palette[color];
                        }
                    }
                    x += count;
                }
                ('$', []) => x = 0,
                ('-', []) => band += 1,
                _ => panic!("{command}{numbers:?}"),
            }
        }
        image
    }

    #[test]
    fn sixels_show_the_picture_in_256_colours() {
        for (name, width, height) in [("whole bands", 240, 96), ("a part of a band", 241, 100)] {
            let color = |x: u32, y: u32| [(x / 61 * 60) as u8, (y / 34 * 100) as u8, 40];
            let image = Rgb8Image::from_fn(width, height, color);
            let shown = decoded(&sixels(&image), (width, height));
            let differences = image.as_raw().iter().zip(shown.as_raw()).map(|(a, b)| a.abs_diff(*b));
            assert!(differences.max().unwrap() <= 4, "{name}");
        }
    }
}
