//! A finished picture: the draw target of embedded-graphics that every display shows.

use std::convert::Infallible;
use std::io::Cursor;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use image::{ExtendedColorType, ImageFormat};

use super::Panel;
use crate::preprocess::Rgb8Image;

/// The picture of one panel. On panels of two colours every pixel is black or white.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    panel: Panel,
    pixels: Rgb8Image,
}

impl Picture {
    /// A black picture.
    pub fn new(panel: Panel) -> Self {
        Self { panel, pixels: Rgb8Image::new(panel.width, panel.height) }
    }

    /// Size and colours of the panel that it was drawn for.
    pub fn panel(&self) -> Panel {
        self.panel
    }

    /// The pixels.
    pub fn pixels(&self) -> &Rgb8Image {
        &self.pixels
    }

    /// A PNG file of the picture.
    pub fn to_png(&self) -> Vec<u8> {
        let mut png = Cursor::new(Vec::new());
        let Panel { width, height, .. } = self.panel;
        image::write_buffer_with_format(
            &mut png,
            self.pixels.as_raw(),
            width,
            height,
            ExtendedColorType::Rgb8,
            ImageFormat::Png,
        )
        .expect("RGB pixels can be encoded into memory");
        png.into_inner()
    }
}

impl OriginDimensions for Picture {
    fn size(&self) -> Size {
        Size::new(self.panel.width, self.panel.height)
    }
}

impl DrawTarget for Picture {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let (width, height) = self.pixels.dimensions();
        let samples = self.pixels.as_raw_mut().as_chunks_mut::<3>().0;
        for Pixel(point, color) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y))
                && x < width
                && y < height
            {
                samples[y as usize * width as usize + x as usize] = [color.r(), color.g(), color.b()];
            }
        }
        Ok(())
    }
}
