//! Bytes on a recorded bus, decoded as the panel does, show the picture.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use embedded_graphics::pixelcolor::{IntoStorage, Rgb565, Rgb888};

use super::wires::{Bus, Busy, Line, Link, Pause, Wires};
use super::*;
use crate::display::Card;
use crate::preprocess;

/// A recorded event on the bus of a display.
#[derive(Default)]
struct Recording {
    is_data: bool,
    /// Each transfer, and whether it was data.
    transfers: Vec<(bool, Vec<u8>)>,
    resets: usize,
    /// Transfers after which the bus fails.
    breaks_after: Option<usize>,
    is_busy_high: bool,
    lines_fail: bool,
}

type Recorder = Arc<Mutex<Recording>>;

fn wires(recorder: &Recorder, link: &Link) -> Wires {
    let line = |set: fn(&mut Recording, bool)| {
        let recorder = recorder.clone();
        Some(Line {
            path: PathBuf::from("/dev/gpiochip0"),
            link: link.clone(),
            set: Box::new(move |is_high| {
                let mut recording = recorder.lock().unwrap();
                set(&mut recording, is_high);
                if recording.lines_fail { Err(io::Error::other("line 25: gone")) } else { Ok(()) }
            }),
        })
    };
    let (written, asked) = (recorder.clone(), recorder.clone());
    Wires {
        bus: Bus {
            path: PathBuf::from("/dev/bus"),
            link: link.clone(),
            write: Box::new(move |bytes| {
                let mut recording = written.lock().unwrap();
                if recording.breaks_after.is_some_and(|most| recording.transfers.len() >= most) {
                    return Err(io::Error::other("Remote I/O error"));
                }
                assert!((1..=4096).contains(&bytes.len()), "a transfer of {} bytes", bytes.len());
                let is_data = recording.is_data;
                recording.transfers.push((is_data, bytes.to_vec()));
                Ok(())
            }),
        },
        dc: line(|recording, is_high| recording.is_data = is_high),
        reset: line(|recording, is_high| recording.resets += usize::from(!is_high)),
        busy: Some(Busy {
            path: PathBuf::from("/dev/gpiochip0"),
            link: link.clone(),
            get: Box::new(move || Ok(asked.lock().unwrap().is_busy_high)),
        }),
        pause: Pause(|_| ()),
    }
}

fn device(target: &str) -> Device {
    let mut parts = target.split(',');
    let (name, path) = parts.next().unwrap().split_once(':').unwrap();
    let mut options = Options::new(parts);
    Device::parse(Controller::of(name).unwrap(), PathBuf::from(path), &mut options).unwrap()
}

fn picture(panel: Panel) -> Picture {
    let poster = preprocess::open(&fixtures::path("posters/western.png")).unwrap().into();
    Card { title: "Red Mesa".to_string(), year: Some(1962), genres: Vec::new() }.draw(panel, &poster)
}

/// Commands with their data, from a bus with a D/C line.
fn commands(recording: &Recording) -> Vec<(u8, Vec<u8>)> {
    let mut commands: Vec<(u8, Vec<u8>)> = Vec::new();
    for (is_data, bytes) in &recording.transfers {
        match (is_data, commands.last_mut()) {
            (true, Some((_, data))) => data.extend(bytes),
            (true, None) => panic!("data without a command"),
            (false, _) => commands.extend(bytes.iter().map(|command| (*command, Vec::new()))),
        }
    }
    commands
}

/// The picture on an SSD1306 with horizontal addressing, `None` where nothing was written.
fn oled_memory(recording: &Recording) -> Vec<Option<bool>> {
    let mut memory = vec![None; 128 * 64];
    let (mut columns, mut pages) = ((0, 127), (0, 7));
    let (mut column, mut page) = (0, 0);
    for (_, bytes) in &recording.transfers {
        match (bytes[0], &bytes[1..]) {
            (0, [0x21, start, end]) => {
                columns = (usize::from(*start), usize::from(*end));
                column = columns.0;
            }
            (0, [0x22, start, end]) => {
                pages = (usize::from(*start), usize::from(*end));
                page = pages.0;
            }
            (0x40, data) => {
                for byte in data {
                    for bit in 0..8 {
                        memory[(page * 8 + bit) * 128 + column] = Some(byte >> bit & 1 == 1);
                    }
                    column += 1;
                    if column > columns.1 {
                        column = columns.0;
                        page = if page == pages.1 { pages.0 } else { page + 1 };
                    }
                }
            }
            _ => {}
        }
    }
    memory
}

/// Pixels in the window of an LCD controller's memory that was written last.
fn lcd_window(recording: &Recording) -> ([u16; 4], Vec<u16>) {
    let mut window = [0; 4];
    let mut pixels = Vec::new();
    let word = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    for (command, data) in commands(recording) {
        match command {
            0x2a => [window[0], window[1]] = [word(&data), word(&data[2..])],
            0x2b => [window[2], window[3]] = [word(&data), word(&data[2..])],
            0x2c => pixels = data.chunks(2).map(word).collect(),
            _ => {}
        }
    }
    (window, pixels)
}

/// Shows a picture, and returns it as the panel has to have it.
fn show(target: &str, recorder: &Recorder) -> Result<Rgb8Image, DisplayError> {
    let device = device(target);
    let link = Link::default();
    let mut display = Hardware::start(device.clone(), link.clone(), wires(recorder, &link))?;
    let picture = picture(display.panel());
    display.show(&picture)?;
    Ok(turned(picture.pixels(), device.rotation))
}

#[test]
fn an_oled_shows_the_picture() {
    for target in ["ssd1306:/dev/i2c-1", "ssd1306:/dev/i2c-1,rotate=180,address=0x3d"] {
        let recorder = Recorder::default();
        let expected = show(target, &recorder).unwrap();
        let shown = oled_memory(&recorder.lock().unwrap());
        let expected: Vec<_> = expected.pixels().map(|pixel| Some(pixel == [255; 3])).collect();
        assert!(shown == expected, "{target}: another picture");
        assert!(recorder.lock().unwrap().transfers.contains(&(false, vec![0, 0xaf])), "{target}: is not switched on");
    }
}

#[test]
fn an_lcd_shows_the_picture() {
    struct Case {
        target: &'static str,
        /// First and last column, first and last row.
        window: [u16; 4],
        is_inverted: bool,
        /// The bit of MADCTL that puts blue first.
        is_bgr: bool,
    }
    let cases = [
        Case { target: "st7789:/dev/s,dc=25", window: [0, 239, 0, 239], is_inverted: true, is_bgr: false },
        Case {
            target: "st7789:/dev/s,dc=25,reset=27,size=135x240,offset=52x40,rotate=90,invert",
            window: [52, 186, 40, 279],
            is_inverted: false,
            is_bgr: false,
        },
        Case { target: "ili9341:/dev/s,dc=25", window: [0, 239, 0, 319], is_inverted: false, is_bgr: true },
        Case {
            target: "ili9341:/dev/s,dc=25,rotate=0,bgr",
            window: [0, 239, 0, 319],
            is_inverted: false,
            is_bgr: false,
        },
    ];
    for Case { target, window, is_inverted, is_bgr } in cases {
        let recorder = Recorder::default();
        let expected = show(target, &recorder).unwrap();
        let recording = recorder.lock().unwrap();
        let expected: Vec<u16> = expected
            .pixels()
            .map(|[red, green, blue]| Rgb565::from(Rgb888::new(red, green, blue)).into_storage())
            .collect();
        assert!(lcd_window(&recording) == (window, expected), "{target}: another picture");
        let commands = commands(&recording);
        let has = |code: u8| commands.iter().any(|(command, _)| *command == code);
        assert_eq!((has(0x21), has(0x29)), (is_inverted, true), "{target}: inverted, on");
        let order = commands.iter().find(|(command, _)| *command == 0x36).unwrap().1[0];
        assert_eq!(order & 8 != 0, is_bgr, "{target}: order of colours");
    }
}

#[test]
fn e_paper_shows_the_picture_and_sleeps() {
    struct Case {
        target: &'static str,
        is_busy_high: bool,
        /// The command that takes the picture, and the bit of white.
        picture: (u8, bool),
        /// The command that refreshes the panel.
        refresh: u8,
        /// The last command.
        sleep: (u8, u8),
    }
    let cases = [
        Case {
            target: "epd2in13:/dev/s",
            is_busy_high: false,
            picture: (0x24, true),
            refresh: 0x20,
            sleep: (0x10, 0x01),
        },
        Case {
            target: "epd7in5:/dev/s,rotate=180",
            is_busy_high: true,
            picture: (0x13, false),
            refresh: 0x12,
            sleep: (0x07, 0xa5),
        },
    ];
    for Case { target, is_busy_high, picture, refresh, sleep } in cases {
        let recorder = Recorder::default();
        recorder.lock().unwrap().is_busy_high = is_busy_high;
        let expected = show(target, &recorder).unwrap();
        let recording = recorder.lock().unwrap();
        let commands = commands(&recording);
        let data = &commands.iter().rfind(|(command, _)| *command == picture.0).unwrap().1;
        let (width, height) = expected.dimensions();
        let stride = width.div_ceil(8);
        assert_eq!(data.len() as u32, stride * height, "{target}");
        let shown = Rgb8Image::from_fn(width, height, |x, y| {
            let bit = data[(y * stride + x / 8) as usize] >> (7 - x % 8) & 1;
            [if (bit == 1) == picture.1 { 255 } else { 0 }; 3]
        });
        assert!(shown == expected, "{target}: another picture");
        assert!(commands.iter().any(|(command, _)| *command == refresh), "{target}: is not refreshed");
        let (command, data) = commands.last().unwrap();
        assert_eq!((*command, data[0]), sleep, "{target}: does not sleep");
        assert_eq!(recording.resets, 2, "{target}: it wakes up from its sleep by a reset only");
    }
}

#[test]
fn a_failure_names_device_problem_and_way_out() {
    struct Case {
        target: &'static str,
        recording: Recording,
        expected: &'static str,
    }
    let breaks = |transfers| Recording { breaks_after: Some(transfers), ..Recording::default() };
    let cases = [
        Case {
            target: "ssd1306:/dev/i2c-1",
            recording: breaks(0),
            expected: "/dev/bus: the display cannot be used (Remote I/O error); check",
        },
        Case {
            target: "ssd1306:/dev/i2c-1",
            recording: breaks(40),
            expected: "/dev/bus: the display cannot be used (Remote I/O error); check",
        },
        Case {
            target: "st7789:/dev/s,dc=25",
            recording: breaks(30),
            expected: "/dev/bus: the display cannot be used (Remote I/O error); check",
        },
        Case {
            target: "epd7in5:/dev/s",
            recording: Recording { is_busy_high: false, ..Recording::default() },
            expected: "/dev/gpiochip0: the display cannot be used (the panel stays busy); check",
        },
        // The driver ignores what becomes of lines.
        Case {
            target: "epd2in13:/dev/s",
            recording: Recording { lines_fail: true, ..Recording::default() },
            expected: "/dev/gpiochip0: the display cannot be used (line 25: gone); check",
        },
    ];
    for Case { target, recording, expected } in cases {
        let message = show(target, &Arc::new(Mutex::new(recording))).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{target}: {message}");
    }
}

#[test]
fn missing_devices_are_named_in_a_sentence() {
    for (target, expected) in [
        (
            "ssd1306:/dev/i2c-99",
            "/dev/i2c-99: the display cannot be used (No such file or directory (os error 2)); enable I2C",
        ),
        (
            "epd2in13:/dev/spidev9.9",
            "/dev/spidev9.9: the display cannot be used (No such file or directory (os error 2)); enable SPI",
        ),
        ("st7789:/dev/null,dc=25", "/dev/null: the display cannot be used (Inappropriate ioctl for device"),
    ] {
        let message = device(target).open().err().unwrap().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn pictures_are_turned_clockwise() {
    // 1 2 3
    // 4 5 6
    let picture = Rgb8Image::from_fn(3, 2, |x, y| [(1 + x + 3 * y) as u8; 3]);
    for (degrees, expected) in [
        (0, [[1, 2, 3], [4, 5, 6]].concat()),
        (90, [[4, 1], [5, 2], [6, 3]].concat()),
        (180, [[6, 5, 4], [3, 2, 1]].concat()),
        (270, [[3, 6], [2, 5], [1, 4]].concat()),
    ] {
        let found: Vec<u8> = turned(&picture, degrees).pixels().map(|pixel| pixel[0]).collect();
        assert_eq!(found, expected, "{degrees}");
    }
}
