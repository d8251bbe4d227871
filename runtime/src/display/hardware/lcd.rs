//! LCD panels with an ST7789 or ILI9341, on SPI.

use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_hal::spi::SpiDevice;
use mipidsi::interface::{Interface, InterfaceKind};
use mipidsi::models::{ILI9341Rgb565, Model, ST7789};
use mipidsi::options::{ColorInversion, ColorOrder};
use mipidsi::{Builder, Display, NoResetPin};

use super::wires::{Broken, Bus, Line, Wires};
use super::{Device, Driver};
use crate::preprocess::Rgb8Image;

/// Columns and rows of either controller's memory.
pub const MEMORY: (u32, u32) = (240, 320);

/// Bytes of one transfer: more than 4096 are refused by Linux, unless `spidev.bufsiz` says otherwise.
const TRANSFER: usize = 4096;

/// Checks that a panel is within the controller's memory; the error is the part that is wrong.
pub fn check_area((width, height): (u32, u32), (left, top): (u32, u32)) -> Result<(), String> {
    let fits = |offset: u32, length: u32, most: u32| offset.checked_add(length).is_some_and(|end| end <= most);
    if fits(left, width, MEMORY.0) && fits(top, height, MEMORY.1) {
        return Ok(());
    }
    Err(format!("size and offset exceed {} x {}; `rotate=90` turns the picture", MEMORY.0, MEMORY.1))
}

pub struct Lcd<M: Model<ColorFormat = Rgb565>>(Display<Spi, M, NoResetPin>);

impl Lcd<ST7789> {
    /// Nearly all of these panels are IPS panels, which take inverted colours.
    pub fn st7789(device: &Device, wires: Wires) -> Result<Self, Broken> {
        Self::new(ST7789, device, wires, !device.is_inverted, device.is_swapped)
    }
}

impl Lcd<ILI9341Rgb565> {
    /// Nearly all of these panels have blue first.
    pub fn ili9341(device: &Device, wires: Wires) -> Result<Self, Broken> {
        Self::new(ILI9341Rgb565, device, wires, device.is_inverted, !device.is_swapped)
    }
}

impl<M: Model<ColorFormat = Rgb565>> Lcd<M> {
    fn new(model: M, device: &Device, wires: Wires, is_inverted: bool, is_bgr: bool) -> Result<Self, Broken> {
        let Wires { bus, dc, reset, mut pause, .. } = wires;
        if let Some(mut reset) = reset {
            reset.set_low()?;
            pause.delay_ms(10);
            reset.set_high()?;
            pause.delay_ms(120);
        }
        let spi = Spi { bus, dc: dc.ok_or(Broken)?, buffer: Vec::with_capacity(TRANSFER) };
        let (size, offset) = (device.size, device.offset);
        let builder = Builder::new(model, spi)
            .display_size(size.0 as u16, size.1 as u16)
            .display_offset(offset.0 as u16, offset.1 as u16)
            .invert_colors(if is_inverted { ColorInversion::Inverted } else { ColorInversion::Normal })
            .color_order(if is_bgr { ColorOrder::Bgr } else { ColorOrder::Rgb });
        builder.init(&mut pause).map(Self).map_err(|_| Broken)
    }
}

impl<M: Model<ColorFormat = Rgb565> + Send> Driver for Lcd<M> {
    fn show(&mut self, pixels: &Rgb8Image) -> Result<(), Broken> {
        let colors = pixels.pixels().map(|[red, green, blue]| Rgb565::from(Rgb888::new(red, green, blue)));
        self.0.set_pixels(0, 0, pixels.width() as u16 - 1, pixels.height() as u16 - 1, colors)
    }
}

/// The bus and the line that tells commands from data. (That of mipidsi borrows its buffer.)
struct Spi {
    bus: Bus,
    dc: Line,
    buffer: Vec<u8>,
}

impl Interface for Spi {
    type Word = u8;
    type Error = Broken;

    const KIND: InterfaceKind = InterfaceKind::Serial4Line;

    fn send_command(&mut self, command: u8, arguments: &[u8]) -> Result<(), Broken> {
        self.dc.set_low()?;
        self.bus.write(&[command])?;
        self.dc.set_high()?;
        if arguments.is_empty() { Ok(()) } else { self.bus.write(arguments) }
    }

    fn send_pixels<const N: usize>(&mut self, pixels: impl IntoIterator<Item = [u8; N]>) -> Result<(), Broken> {
        self.buffer.clear();
        for pixel in pixels {
            if self.buffer.len() + N > TRANSFER {
                self.bus.write(&self.buffer)?;
                self.buffer.clear();
            }
            self.buffer.extend(pixel);
        }
        self.bus.write(&self.buffer)
    }

    fn send_repeated_pixel<const N: usize>(&mut self, pixel: [u8; N], count: u32) -> Result<(), Broken> {
        self.send_pixels((0..count).map(|_| pixel))
    }
}
