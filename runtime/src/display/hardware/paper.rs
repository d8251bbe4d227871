//! E-paper panels of Waveshare, 2.13 and 7.5 inches, on SPI.
//!
//! A panel sleeps between two pictures: the high voltage of its refresh would damage it in the long run.

use std::marker::PhantomData;

use epd_waveshare::epd2in13_v2::{self, Epd2in13};
use epd_waveshare::epd7in5_v2::{self, Epd7in5};
use epd_waveshare::prelude::WaveshareDisplay;

use super::Driver;
use super::wires::{Broken, Bus, Busy, Line, Pause, Wires};
use crate::preprocess::Rgb8Image;

/// Width and height in pixels of the panel of 2.13 inches.
pub const SIZE_2IN13: (u32, u32) = (epd2in13_v2::WIDTH, epd2in13_v2::HEIGHT);

/// Width and height in pixels of the panel of 7.5 inches.
pub const SIZE_7IN5: (u32, u32) = (epd7in5_v2::WIDTH, epd7in5_v2::HEIGHT);

/// A panel and its driver `E`.
pub struct Paper<E> {
    epd: E,
    bus: Bus,
    pause: Pause,
    /// The bit of a white pixel.
    white: bool,
    lines: PhantomData<(Busy, Line)>,
}

impl Paper<Epd2in13<Bus, Busy, Line, Line, Pause>> {
    pub fn epd2in13(wires: Wires) -> Result<Self, Broken> {
        Self::new(wires, true)
    }
}

impl Paper<Epd7in5<Bus, Busy, Line, Line, Pause>> {
    /// White is 0, contrary to the driver's own buffer (epd-waveshare, issue 256).
    pub fn epd7in5(wires: Wires) -> Result<Self, Broken> {
        Self::new(wires, false)
    }
}

impl<E: WaveshareDisplay<Bus, Busy, Line, Line, Pause>> Paper<E> {
    fn new(wires: Wires, white: bool) -> Result<Self, Broken> {
        let Wires { mut bus, dc: Some(dc), reset: Some(reset), busy: Some(busy), mut pause } = wires else {
            return Err(Broken);
        };
        let mut epd = E::new(&mut bus, busy, dc, reset, &mut pause, None)?;
        epd.sleep(&mut bus, &mut pause)?;
        Ok(Self { epd, bus, pause, white, lines: PhantomData })
    }
}

impl<E: WaveshareDisplay<Bus, Busy, Line, Line, Pause> + Send> Driver for Paper<E> {
    fn show(&mut self, pixels: &Rgb8Image) -> Result<(), Broken> {
        let Self { epd, bus, pause, white, .. } = self;
        epd.wake_up(bus, pause)?;
        epd.update_frame(bus, &packed(pixels, *white), pause)?;
        epd.display_frame(bus, pause)?;
        epd.sleep(bus, pause)
    }
}

/// A bit for each pixel, rows filled up to whole bytes, the leftmost pixel in the highest bit.
fn packed(pixels: &Rgb8Image, white: bool) -> Vec<u8> {
    let width = pixels.width() as usize;
    let rows = pixels.as_raw().as_chunks::<3>().0.chunks(width);
    let byte = |pixels: &[[u8; 3]]| {
        let bits = pixels.iter().zip([0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1_u8]);
        bits.fold(0, |byte, (pixel, bit)| if (*pixel == [255; 3]) == white { byte | bit } else { byte })
    };
    rows.flat_map(|row| row.chunks(8).map(byte)).collect()
}
