//! Displays on an I2C or SPI bus: small OLED, LCD and e-paper panels, as they are wired to a Raspberry Pi.
//!
//! [`Device`] is the wiring that a target names. [`linux`] opens bus and GPIO lines, [`wires`] are what a driver of the
//! ecosystem talks to, and [`oled`], [`lcd`] and [`paper`] send a picture through it. The picture is turned here, so
//! that drivers see a panel in its own orientation.

mod lcd;
mod linux;
mod oled;
mod paper;
#[cfg(test)]
mod tests;
mod wires;

use std::path::PathBuf;

use self::wires::{Broken, Link, Wires};
use super::target::Options;
use super::{Colors, Display, DisplayError, Panel, Picture};
use crate::preprocess::Rgb8Image;

/// The chip that drives a panel, or the panel of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Ssd1306,
    St7789,
    Ili9341,
    Epd2in13,
    Epd7in5,
}

impl Controller {
    /// The controller of a target's name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ssd1306" => Self::Ssd1306,
            "st7789" => Self::St7789,
            "ili9341" => Self::Ili9341,
            "epd2in13" => Self::Epd2in13,
            "epd7in5" => Self::Epd7in5,
            _ => return None,
        })
    }

    /// A device of it, for messages.
    pub fn example(self) -> &'static str {
        match self {
            Self::Ssd1306 => "ssd1306:/dev/i2c-1",
            Self::St7789 => "st7789:/dev/spidev0.0,dc=25",
            Self::Ili9341 => "ili9341:/dev/spidev0.0,dc=25",
            Self::Epd2in13 => "epd2in13:/dev/spidev0.0",
            Self::Epd7in5 => "epd7in5:/dev/spidev0.0",
        }
    }

    fn colors(self) -> Colors {
        match self {
            Self::Ssd1306 => Colors::WhiteOnBlack,
            Self::St7789 | Self::Ili9341 => Colors::Rgb,
            Self::Epd2in13 | Self::Epd7in5 => Colors::BlackOnWhite,
        }
    }

    /// Width and height in pixels and the rotation in degrees of the usual panel.
    fn usual_panel(self) -> ((u32, u32), u32) {
        match self {
            Self::Ssd1306 => (oled::SIZE, 0),
            Self::St7789 => ((240, 240), 0),
            Self::Ili9341 => (lcd::MEMORY, 90),
            Self::Epd2in13 => (paper::SIZE_2IN13, 90),
            Self::Epd7in5 => (paper::SIZE_7IN5, 0),
        }
    }
}

/// A display and its wiring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    controller: Controller,
    /// The I2C or SPI device.
    path: PathBuf,
    /// Width and height in pixels of the panel in its own orientation.
    size: (u32, u32),
    /// Column and row of the controller's memory that the first pixel of the panel shows.
    offset: (u32, u32),
    /// Degrees by which the picture is turned clockwise: 0, 90, 180 or 270.
    rotation: u32,
    /// Whether the panel takes inverted colours, other than most of its kind.
    is_inverted: bool,
    /// Whether red and blue are exchanged, other than in most of its kind.
    is_swapped: bool,
    /// I2C address.
    address: u8,
    /// SPI clock in MHz.
    megahertz: u32,
    /// SPI mode, 0 or 3.
    mode: u32,
    /// The GPIO chip with the lines below.
    chip: PathBuf,
    /// Data or command. Not of I2C displays.
    dc: u32,
    reset: Option<u32>,
    backlight: Option<u32>,
    /// Of e-paper.
    busy: u32,
}

impl Device {
    /// Parses the options of a display; the error is the part that is wrong.
    pub fn parse(controller: Controller, path: PathBuf, options: &mut Options) -> Result<Self, String> {
        use Controller::{Epd2in13, Epd7in5, Ili9341, Ssd1306, St7789};
        let (size, rotation) = controller.usual_panel();
        let mut device = Self {
            controller,
            path,
            size,
            offset: (0, 0),
            rotation,
            is_inverted: false,
            is_swapped: false,
            address: 0x3c,
            megahertz: 16,
            mode: 0,
            chip: PathBuf::from("/dev/gpiochip0"),
            // The pins of Waveshare's e-paper HATs.
            dc: 25,
            reset: Some(17),
            backlight: None,
            busy: 24,
        };
        if let Some(rotation) = options.number("rotate", &[0, 90, 180, 270])? {
            device.rotation = rotation;
        }
        if controller == Ssd1306 {
            if let Some(address) = options.number("address", &[0x3c, 0x3d])? {
                device.address = address as u8;
            }
            return Ok(device);
        }
        if let Some(chip) = options.value("chip") {
            device.chip = PathBuf::from(chip);
        }
        let dc = options.number("dc", &[])?;
        let reset = options.number("reset", &[])?;
        match controller {
            Epd2in13 | Epd7in5 => {
                device.megahertz = 4;
                device.dc = dc.unwrap_or(device.dc);
                device.reset = reset.or(device.reset);
                device.busy = options.number("busy", &[])?.unwrap_or(device.busy);
            }
            St7789 | Ili9341 | Ssd1306 => {
                device.dc = dc.ok_or_else(|| format!("`{}` has the GPIO line `dc`", controller.example()))?;
                device.reset = reset;
                device.backlight = options.number("backlight", &[])?;
                device.is_inverted = options.has("invert");
                device.is_swapped = options.has("bgr");
                device.mode = options.number("mode", &[0, 3])?.unwrap_or(device.mode);
            }
        }
        if controller == St7789 {
            device.size = options.size("size")?.unwrap_or(device.size);
            device.offset = options.size("offset")?.unwrap_or(device.offset);
            lcd::check_area(device.size, device.offset)?;
        }
        device.megahertz = options.number("mhz", &[])?.unwrap_or(device.megahertz).clamp(1, 125);
        Ok(device)
    }

    /// Size and colours of the picture that is shown, after it was turned.
    fn panel(&self) -> Panel {
        let (width, height) = self.size;
        let (width, height) = if self.rotation % 180 == 90 { (height, width) } else { (width, height) };
        Panel { width, height, colors: self.controller.colors() }
    }

    /// Opens bus and GPIO lines and initialises the panel.
    ///
    /// # Errors
    /// If one of them is missing or may not be used, or the display does not answer.
    pub fn open(&self) -> Result<Box<dyn Display>, DisplayError> {
        self.panel().checked(&self.path.display().to_string())?;
        let link = Link::default();
        let wires = linux::open(self, &link)?;
        Ok(Box::new(Hardware::start(self.clone(), link, wires)?))
    }
}

/// A driver of one family of panels. A failure of bus or line is noted by the [`Link`], whatever the driver returns.
trait Driver: Send {
    /// Sends a picture of the panel's own size and orientation, and returns when it is visible.
    fn show(&mut self, pixels: &Rgb8Image) -> Result<(), Broken>;
}

/// A display whose driver is initialised.
struct Hardware {
    device: Device,
    link: Link,
    driver: Box<dyn Driver>,
}

impl Hardware {
    /// Initialises the panel.
    fn start(device: Device, link: Link, wires: Wires) -> Result<Self, DisplayError> {
        let driver = link.run(&device.path, || -> Result<Box<dyn Driver>, Broken> {
            Ok(match device.controller {
                Controller::Ssd1306 => Box::new(oled::Oled::new(wires)?),
                Controller::St7789 => Box::new(lcd::Lcd::st7789(&device, wires)?),
                Controller::Ili9341 => Box::new(lcd::Lcd::ili9341(&device, wires)?),
                Controller::Epd2in13 => Box::new(paper::Paper::epd2in13(wires)?),
                Controller::Epd7in5 => Box::new(paper::Paper::epd7in5(wires)?),
            })
        })?;
        Ok(Self { device, link, driver })
    }
}

impl Display for Hardware {
    fn panel(&self) -> Panel {
        self.device.panel()
    }

    fn show(&mut self, picture: &Picture) -> Result<(), DisplayError> {
        assert_eq!(picture.panel(), self.panel(), "the picture must be drawn for this panel");
        let turned = turned(picture.pixels(), self.device.rotation);
        self.link.run(&self.device.path, || self.driver.show(&turned))
    }
}

/// The picture turned clockwise by 0, 90, 180 or 270 degrees.
fn turned(picture: &Rgb8Image, degrees: u32) -> Rgb8Image {
    let (width, height) = picture.dimensions();
    let pixels = picture.as_raw().as_chunks::<3>().0;
    let at = |x: u32, y: u32| pixels[y as usize * width as usize + x as usize];
    match degrees {
        90 => Rgb8Image::from_fn(height, width, |x, y| at(y, height - 1 - x)),
        180 => Rgb8Image::from_fn(width, height, |x, y| at(width - 1 - x, height - 1 - y)),
        270 => Rgb8Image::from_fn(height, width, |x, y| at(width - 1 - y, x)),
        _ => picture.clone(),
    }
}
