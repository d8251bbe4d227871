//! OLED panels of 128 x 64 pixels with an SSD1306, on I2C.

use ssd1306::mode::{BufferedGraphicsMode, DisplayConfig};
use ssd1306::prelude::I2CInterface;
use ssd1306::rotation::DisplayRotation;
use ssd1306::size::DisplaySize128x64;
use ssd1306::{I2CDisplayInterface, Ssd1306};

use super::Driver;
use super::wires::{Broken, Bus, Wires};
use crate::preprocess::Rgb8Image;

/// Width and height in pixels.
pub const SIZE: (u32, u32) = (128, 64);

pub struct Oled(Ssd1306<I2CInterface<Bus>, DisplaySize128x64, BufferedGraphicsMode<DisplaySize128x64>>);

impl Oled {
    pub fn new(wires: Wires) -> Result<Self, Broken> {
        let interface = I2CDisplayInterface::new(wires.bus);
        let display = Ssd1306::new(interface, DisplaySize128x64, DisplayRotation::Rotate0);
        let mut display = display.into_buffered_graphics_mode();
        display.init().map_err(|_| Broken)?;
        Ok(Self(display))
    }
}

impl Driver for Oled {
    fn show(&mut self, pixels: &Rgb8Image) -> Result<(), Broken> {
        for (pixel, index) in pixels.pixels().zip(0..) {
            self.0.set_pixel(index % SIZE.0, index / SIZE.0, pixel != [0; 3]);
        }
        self.0.flush().map_err(|_| Broken)
    }
}
