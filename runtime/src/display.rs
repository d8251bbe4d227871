//! Small displays: a card with a poster's thumbnail, title and most probable genres, drawn for the size and the colours
//! of a panel, and shown on it.
//!
//! A [`Target`] names the display as the user does. [`Target::open`] gives a [`Display`], which tells the [`Panel`] to
//! draw for. [`Card::draw`] lays the card out for the panel and draws it with embedded-graphics; [`Display::show`] takes
//! the finished [`Picture`]. `docs/display.md` describes the targets.
//!
//! ```no_run
//! use runtime::display::{Card, Target};
//!
//! let target: Target = "png:card.png,size=240x240".parse()?;
//! let mut display = target.open()?;
//! let bytes = std::fs::read("poster.jpg")?;
//! let model = runtime::Model::shipped()?;
//! let prediction = model.classify(&bytes)?;
//! let card = Card::new("Metropolis", Some(1927), &prediction.ranked(model.default_operating_point()));
//! let poster = runtime::preprocess::decode(&bytes, "poster.jpg")?.into();
//! display.show(&card.draw(display.panel(), &poster))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod card;
mod dither;
#[cfg(target_os = "linux")]
mod framebuffer;
#[cfg(all(feature = "hardware", target_os = "linux"))]
mod hardware;
mod layout;
mod picture;
mod target;
mod terminal;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use self::card::{Card, GenreBar};
pub use self::layout::{Layout, Row, TextLine};
pub use self::picture::Picture;
pub use self::target::Target;
pub use self::text::Font;

/// Width and height in pixels of the smallest panel that a card fits on.
pub const MIN_SIZE: (u32, u32) = (80, 40);

/// Width and height in pixels of the largest panel.
pub const MAX_SIZE: (u32, u32) = (8192, 8192);

/// Size and colours of a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panel {
    /// Width in pixels, [`MIN_SIZE`] to [`MAX_SIZE`].
    pub width: u32,
    /// Height in pixels, [`MIN_SIZE`] to [`MAX_SIZE`].
    pub height: u32,
    /// The colours that a pixel can have.
    pub colors: Colors,
}

/// The colours that a pixel can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// 8 bits of red, green and blue, on a dark ground: LCD, terminal. Panels with fewer bits round.
    Rgb,
    /// White on black: OLED.
    WhiteOnBlack,
    /// Black on white: e-paper.
    BlackOnWhite,
}

/// A display that is open.
pub trait Display: Send {
    /// Size and colours of the pictures that it shows.
    fn panel(&self) -> Panel;

    /// Shows a picture until the next one, and returns when it is visible.
    ///
    /// # Errors
    /// If the display does not take it, for example because it was unplugged. A later call may succeed.
    ///
    /// # Panics
    /// If the picture has not the size of the panel.
    fn show(&mut self, picture: &Picture) -> Result<(), DisplayError>;
}

/// Why a display cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DisplayError {
    /// The text does not name a display.
    #[error(
        "{target}: names no display ({problem}); write png:FILE, fb:DEVICE or terminal, see docs/display.md for all"
    )]
    Target {
        /// The text.
        target: String,
        /// The part that is missing or wrong.
        problem: String,
    },
    /// The display is smaller or larger than a card can be.
    #[error(
        "{name}: has {width} x {height} pixels, but a card needs {} x {} to {} x {}; choose another size",
        MIN_SIZE.0, MIN_SIZE.1, MAX_SIZE.0, MAX_SIZE.1
    )]
    Size {
        /// Path of the device, or `terminal`.
        name: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The device or file cannot be opened, read or written.
    #[error("{}: the display cannot be used ({cause}); {}", path.display(), way_out(path, cause))]
    Unusable {
        /// Path of the device or file.
        path: PathBuf,
        /// The error of the operating system or of the bus.
        cause: io::Error,
    },
    /// The device is of another kind, or has a format that is not supported.
    #[error("{}: is no display that can be drawn on ({problem}); name another device", path.display())]
    Unsupported {
        /// Path of the device.
        path: PathBuf,
        /// The property that does not fit.
        problem: String,
    },
}

/// The remedy for an error of the operating system or of a bus.
fn way_out(path: &Path, cause: &io::Error) -> &'static str {
    let path = path.to_string_lossy();
    let is = |start: &str| path.starts_with(start);
    match cause.kind() {
        io::ErrorKind::NotFound if is("/dev/i2c-") => "enable I2C, on a Raspberry Pi with `raspi-config`",
        io::ErrorKind::NotFound if is("/dev/spidev") => "enable SPI, on a Raspberry Pi with `raspi-config`",
        io::ErrorKind::NotFound if is("/dev/gpiochip") => "name another one with `chip=PATH`, `gpiodetect` lists them",
        io::ErrorKind::NotFound => "check its path, connect the display and enable its driver",
        io::ErrorKind::PermissionDenied if is("/dev/i2c-") => "add the user to the group i2c and log in again",
        io::ErrorKind::PermissionDenied if is("/dev/spidev") => "add the user to the group spi and log in again",
        io::ErrorKind::PermissionDenied if is("/dev/gpiochip") => "add the user to the group gpio and log in again",
        io::ErrorKind::PermissionDenied => "add the user to the group that owns it (`ls -l` names the group)",
        _ => "check its power and its cable, and that no other program uses it",
    }
}

impl Panel {
    /// Checks a panel's size. `name` is the device in messages.
    fn checked(self, name: &str) -> Result<Self, DisplayError> {
        let Self { width, height, .. } = self;
        let fits = (MIN_SIZE.0..=MAX_SIZE.0).contains(&width) && (MIN_SIZE.1..=MAX_SIZE.1).contains(&height);
        fits.then_some(self).ok_or_else(|| DisplayError::Size { name: name.to_string(), width, height })
    }
}

impl DisplayError {
    fn unusable(path: &Path, cause: impl Into<io::Error>) -> Self {
        Self::Unusable { path: path.to_path_buf(), cause: cause.into() }
    }
}

/// A picture file that each new picture replaces.
struct PngFile {
    path: PathBuf,
    panel: Panel,
}

impl Display for PngFile {
    fn panel(&self) -> Panel {
        self.panel
    }

    fn show(&mut self, picture: &Picture) -> Result<(), DisplayError> {
        crate::atomic_file::write(&self.path, &picture.to_png())
            .map(drop)
            .map_err(|cause| DisplayError::unusable(&self.path, cause))
    }
}
