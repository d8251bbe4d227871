//! Bus and GPIO lines as drivers see them. The first failure is noted: drivers ignore errors of lines and hide causes.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{InputPin, OutputPin};
use embedded_hal::i2c::{self, I2c};
use embedded_hal::spi::{self, SpiDevice};
use embedded_hal::{digital, i2c::Operation as I2cOperation, spi::Operation as SpiOperation};

use crate::display::DisplayError;

/// The most questions, 10 ms apart, whether an e-paper panel is still busy: a minute. The slowest refresh takes 30 s.
pub const MAX_POLLS: u32 = 6000;

/// Bus and GPIO lines of one display.
pub struct Wires {
    pub bus: Bus,
    /// Data (high) or command (low). Not of I2C displays.
    pub dc: Option<Line>,
    /// Low resets the panel.
    pub reset: Option<Line>,
    /// Of e-paper panels.
    pub busy: Option<Busy>,
    pub pause: Pause,
}

/// The failure of the wires of one display, which they share.
#[derive(Clone, Default)]
pub struct Link(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Path of the device that failed, and its error.
    fault: Option<(PathBuf, io::Error)>,
    polls: u32,
}

/// The error that drivers see; its cause is kept beside the wires.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

impl Link {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a driver. `path` is the display in messages, if the driver fails for another reason than its wires.
    pub fn run<T, E: Debug>(&self, path: &Path, work: impl FnOnce() -> Result<T, E>) -> Result<T, DisplayError> {
        *self.state() = State::default();
        let result = work();
        match (self.state().fault.take(), result) {
            (Some((path, cause)), _) => Err(DisplayError::unusable(&path, cause)),
            (None, Err(error)) => Err(DisplayError::unusable(path, io::Error::other(format!("{error:?}")))),
            (None, Ok(value)) => Ok(value),
        }
    }

    /// Uses a wire, unless one has failed before.
    fn using<T>(&self, path: &Path, work: impl FnOnce() -> io::Result<T>) -> Result<T, Broken> {
        if self.state().fault.is_some() {
            return Err(Broken);
        }
        work().map_err(|error| {
            self.state().fault.get_or_insert_with(|| (path.to_path_buf(), error));
            Broken
        })
    }
}

/// Writes bytes to a device.
pub type Write = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// A device of an I2C or SPI bus, which is only written to.
pub struct Bus {
    pub path: PathBuf,
    pub link: Link,
    pub write: Write,
}

impl Bus {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.link.using(&self.path, || (self.write)(bytes))
    }
}

impl SpiDevice for Bus {
    fn transaction(&mut self, operations: &mut [SpiOperation<u8>]) -> Result<(), Broken> {
        operations.iter().try_for_each(|operation| match operation {
            SpiOperation::Write(bytes) => self.send(bytes),
            _ => Err(Broken),
        })
    }
}

impl I2c for Bus {
    /// The address is that of the device.
    fn transaction(&mut self, _: u8, operations: &mut [I2cOperation]) -> Result<(), Broken> {
        operations.iter().try_for_each(|operation| match operation {
            I2cOperation::Write(bytes) => self.send(bytes),
            I2cOperation::Read(_) => Err(Broken),
        })
    }
}

/// A GPIO line that is set.
pub struct Line {
    /// The GPIO chip.
    pub path: PathBuf,
    pub link: Link,
    pub set: Box<dyn FnMut(bool) -> io::Result<()> + Send>,
}

impl OutputPin for Line {
    fn set_low(&mut self) -> Result<(), Broken> {
        self.link.using(&self.path, || (self.set)(false))
    }

    fn set_high(&mut self) -> Result<(), Broken> {
        self.link.using(&self.path, || (self.set)(true))
    }
}

/// The GPIO line of an e-paper panel that is busy. Drivers ask without end; here a panel that is not connected fails.
pub struct Busy {
    /// The GPIO chip.
    pub path: PathBuf,
    pub link: Link,
    pub get: Box<dyn FnMut() -> io::Result<bool> + Send>,
}

impl InputPin for Busy {
    fn is_high(&mut self) -> Result<bool, Broken> {
        let polls = {
            let mut state = self.link.state();
            state.polls += 1;
            state.polls
        };
        self.link.using(&self.path, || {
            if polls > MAX_POLLS {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the panel stays busy"));
            }
            (self.get)()
        })
    }

    fn is_low(&mut self) -> Result<bool, Broken> {
        self.is_high().map(|is_high| !is_high)
    }
}

/// The time that drivers wait: [`std::thread::sleep`], or nothing in tests.
#[derive(Clone, Copy)]
pub struct Pause(pub fn(Duration));

impl DelayNs for Pause {
    fn delay_ns(&mut self, nanoseconds: u32) {
        (self.0)(Duration::from_nanos(nanoseconds.into()));
    }
}

impl spi::ErrorType for Bus {
    type Error = Broken;
}

impl i2c::ErrorType for Bus {
    type Error = Broken;
}

impl digital::ErrorType for Line {
    type Error = Broken;
}

impl digital::ErrorType for Busy {
    type Error = Broken;
}

impl spi::Error for Broken {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

impl i2c::Error for Broken {
    fn kind(&self) -> i2c::ErrorKind {
        i2c::ErrorKind::Other
    }
}

impl digital::Error for Broken {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}
