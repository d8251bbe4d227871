//! I2C, SPI and GPIO devices of Linux.

use std::io;
use std::path::Path;
use std::thread;

use embedded_hal::digital::{InputPin, OutputPin};
use embedded_hal::i2c::I2c;
use embedded_hal::spi::SpiDevice;
use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags};
use linux_embedded_hal::spidev::{SpiModeFlags, SpidevOptions};
use linux_embedded_hal::{CdevPin, I2cdev, SpidevDevice};

use super::wires::{Bus, Busy, Line, Link, Pause, Wires, Write};
use super::{Controller, Device};
use crate::display::DisplayError;

/// The name under which `gpioinfo` shows the lines.
const CONSUMER: &str = "runtime";

/// Opens the bus and the GPIO lines of a display.
pub fn open(device: &Device, link: &Link) -> Result<Wires, DisplayError> {
    let path = device.path.as_path();
    let pause = Pause(thread::sleep);
    let failed = |cause: io::Error| DisplayError::unusable(path, cause);
    if device.controller == Controller::Ssd1306 {
        let write = i2c(path, device.address).map_err(failed)?;
        let bus = Bus { path: path.to_path_buf(), link: link.clone(), write };
        return Ok(Wires { bus, dc: None, reset: None, busy: None, pause });
    }
    let write = spi(path, device.megahertz, device.mode).map_err(failed)?;
    let bus = Bus { path: path.to_path_buf(), link: link.clone(), write };
    let chip = device.chip.as_path();
    let line = |number: u32, is_high: bool| -> Result<Line, DisplayError> {
        let mut pin = pin(chip, number, LineRequestFlags::OUTPUT, is_high)?;
        let set = move |is_high: bool| pin.set_state(is_high.into()).map_err(|error| on_line(number, error));
        Ok(Line { path: chip.to_path_buf(), link: link.clone(), set: Box::new(set) })
    };
    if let Some(number) = device.backlight {
        // The line stays high when it is closed: nothing else drives it.
        line(number, true)?;
    }
    let busy = |number: u32| -> Result<Busy, DisplayError> {
        let mut pin = pin(chip, number, LineRequestFlags::INPUT, false)?;
        let get = move || pin.is_high().map_err(|error| on_line(number, error));
        Ok(Busy { path: chip.to_path_buf(), link: link.clone(), get: Box::new(get) })
    };
    let is_paper = matches!(device.controller, Controller::Epd2in13 | Controller::Epd7in5);
    Ok(Wires {
        bus,
        dc: Some(line(device.dc, false)?),
        reset: device.reset.map(|number| line(number, true)).transpose()?,
        busy: is_paper.then(|| busy(device.busy)).transpose()?,
        pause,
    })
}

fn i2c(path: &Path, address: u8) -> io::Result<Write> {
    let mut i2c = I2cdev::new(path).map_err(io::Error::from)?;
    let write = move |bytes: &[u8]| {
        let failed = |error| io::Error::other(format!("nothing at address {address:#x}: {error}"));
        I2c::<u8>::write(&mut i2c, address, bytes).map_err(failed)
    };
    Ok(Box::new(write))
}

fn spi(path: &Path, megahertz: u32, mode: u32) -> io::Result<Write> {
    let kept = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
    let mut spi = SpidevDevice::open(path).map_err(|error| kept(error.inner()))?;
    let mode = if mode == 3 { SpiModeFlags::SPI_MODE_3 } else { SpiModeFlags::SPI_MODE_0 };
    let options = SpidevOptions::new().bits_per_word(8).max_speed_hz(megahertz * 1_000_000).mode(mode).build();
    spi.configure(&options)?;
    Ok(Box::new(move |bytes: &[u8]| spi.write(bytes).map_err(|error| kept(error.inner()))))
}

fn pin(chip: &Path, number: u32, flags: LineRequestFlags, is_high: bool) -> Result<CdevPin, DisplayError> {
    let opened = Chip::new(chip).map_err(io::Error::other);
    // `Chip::new` hides the kind of the error.
    let opened = opened.map_err(|error| std::fs::File::open(chip).err().unwrap_or(error));
    let pin = opened.and_then(|mut chip| {
        let line = chip.get_line(number).and_then(|line| line.request(flags, is_high.into(), CONSUMER));
        line.and_then(CdevPin::new).map_err(|error| on_line(number, error))
    });
    pin.map_err(|cause| DisplayError::unusable(chip, cause))
}

fn on_line(number: u32, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("line {number}: {error}"))
}
