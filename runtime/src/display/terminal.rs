//! A terminal: two pixels per character cell, in 24-bit colours.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use super::{Display, DisplayError, Panel, Picture};

/// Width and height of the picture where standard output is no terminal.
const DEFAULT_SIZE: (u32, u32) = (160, 96);

/// The terminal at standard output.
pub struct Terminal {
    pub panel: Panel,
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
        let mut out = io::stdout().lock();
        match out.write_all(half_blocks(picture).as_bytes()).and_then(|()| out.flush()) {
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
}
