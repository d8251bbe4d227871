//! Names of displays: `KIND[:PATH][,OPTION]…`, where an option is `NAME` or `NAME=VALUE`.

use std::path::PathBuf;
use std::str::FromStr;

#[cfg(all(feature = "hardware", target_os = "linux"))]
use super::hardware::{Controller, Device};
use super::{Colors, Display, DisplayError, Panel, PngFile, terminal};

/// Displays on a bus, which need the feature `hardware` and Linux.
const HARDWARE: [&str; 5] = ["ssd1306", "st7789", "ili9341", "epd2in13", "epd7in5"];

/// Size of a PNG file, if no option names one.
const PNG_SIZE: (u32, u32) = (320, 240);

/// A display as the user names it; `docs/display.md` lists the kinds and their options.
#[derive(Clone, Debug)]
pub struct Target(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Png {
        path: PathBuf,
        panel: Panel,
    },
    Terminal {
        size: Option<(u32, u32)>,
        colors: Colors,
        is_sixel: bool,
    },
    #[cfg(target_os = "linux")]
    Framebuffer {
        path: PathBuf,
        colors: Colors,
    },
    #[cfg(all(feature = "hardware", target_os = "linux"))]
    Hardware(Device),
}

impl Target {
    /// Opens the display.
    ///
    /// # Errors
    /// If the device is missing, of another kind, may not be accessed or does not answer.
    pub fn open(&self) -> Result<Box<dyn Display>, DisplayError> {
        Ok(match &self.0 {
            Kind::Png { path, panel } => {
                Box::new(PngFile { path: path.clone(), panel: panel.checked(&path.display().to_string())? })
            }
            Kind::Terminal { size, colors, is_sixel } => {
                let usual = || if *is_sixel { terminal::SIXEL_SIZE } else { terminal::size() };
                let (width, height) = size.unwrap_or_else(usual);
                let panel = Panel { width, height, colors: *colors }.checked("terminal")?;
                Box::new(terminal::Terminal { panel, is_sixel: *is_sixel })
            }
            #[cfg(target_os = "linux")]
            Kind::Framebuffer { path, colors } => Box::new(super::framebuffer::Framebuffer::open(path, *colors)?),
            #[cfg(all(feature = "hardware", target_os = "linux"))]
            Kind::Hardware(device) => device.open()?,
        })
    }
}

impl FromStr for Target {
    type Err = DisplayError;

    fn from_str(text: &str) -> Result<Self, DisplayError> {
        parse(text).map(Self).map_err(|problem| DisplayError::Target { target: text.to_string(), problem })
    }
}

/// Parses a target; the error is the part that is wrong.
fn parse(text: &str) -> Result<Kind, String> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    let (name, path) = name.split_once(':').map_or((name, None), |(name, path)| (name, Some(path)));
    let path = |example: &str| {
        path.filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(|| format!("`{example}` has a path"))
    };
    let mut options = Options::new(parts);
    let kind = match name {
        "png" => {
            let path = path("png:card.png")?;
            let (width, height) = options.size("size")?.unwrap_or(PNG_SIZE);
            Kind::Png { path, panel: Panel { width, height, colors: options.colors() } }
        }
        "terminal" => {
            Kind::Terminal { size: options.size("size")?, colors: options.colors(), is_sixel: options.has("sixel") }
        }
        #[cfg(target_os = "linux")]
        "fb" => Kind::Framebuffer { path: path("fb:/dev/fb0")?, colors: options.colors() },
        _ => hardware(name, path, &mut options)?,
    };
    match options.0.first() {
        None => Ok(kind),
        Some((option, _)) => Err(format!("`{name}` has no option `{option}`")),
    }
}

/// Parses a display on a bus.
#[cfg(all(feature = "hardware", target_os = "linux"))]
fn hardware(name: &str, path: impl Fn(&str) -> Result<PathBuf, String>, options: &mut Options) -> Result<Kind, String> {
    debug_assert_eq!(Controller::of(name).is_some(), HARDWARE.contains(&name));
    let controller = Controller::of(name).ok_or_else(|| unknown(name))?;
    Device::parse(controller, path(controller.example())?, options).map(Kind::Hardware)
}

#[cfg(not(all(feature = "hardware", target_os = "linux")))]
fn hardware(name: &str, _: impl Fn(&str) -> Result<PathBuf, String>, _: &mut Options) -> Result<Kind, String> {
    if HARDWARE.contains(&name) {
        return Err(format!("this build is without `{name}`, build it on Linux with the feature `hardware`"));
    }
    Err(unknown(name))
}

fn unknown(name: &str) -> String {
    format!("`{name}` is no kind of display")
}

/// The options that are not yet parsed: names and values.
pub struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    /// Options `NAME` or `NAME=VALUE`.
    pub fn new(parts: impl Iterator<Item = &'a str>) -> Self {
        Self(parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect())
    }

    /// Takes an option with a value.
    pub fn value(&mut self, name: &str) -> Option<&'a str> {
        let index = self.0.iter().position(|option| option.0 == name && !option.1.is_empty());
        index.map(|index| self.0.remove(index).1)
    }

    /// Takes an option whose value is WIDTHxHEIGHT.
    pub fn size(&mut self, name: &str) -> Result<Option<(u32, u32)>, String> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let size = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        size.map(Some).ok_or_else(|| format!("`{text}` is no size such as 240x240"))
    }

    /// Takes an option whose value is a number, hexadecimal if it begins with 0x; one of `allowed`, if there are any.
    #[cfg(all(feature = "hardware", target_os = "linux"))]
    pub fn number(&mut self, name: &str, allowed: &[u32]) -> Result<Option<u32>, String> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let hexadecimal = text.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16));
        let number = hexadecimal.unwrap_or_else(|| text.parse()).ok();
        let number = number.filter(|number| allowed.is_empty() || allowed.contains(number));
        number.map(Some).ok_or_else(|| format!("`{name}={text}` has another value than it can have"))
    }

    /// Takes an option without a value.
    pub fn has(&mut self, name: &str) -> bool {
        let index = self.0.iter().position(|option| *option == (name, ""));
        index.map(|index| self.0.remove(index)).is_some()
    }

    /// Takes `mono` (white on black) or `paper` (black on white).
    fn colors(&mut self) -> Colors {
        if self.has("mono") {
            Colors::WhiteOnBlack
        } else if self.has("paper") {
            Colors::BlackOnWhite
        } else {
            Colors::Rgb
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_parsed_or_the_problem_is_named() {
        let cases = [
            ("png:a.png", "Png { path: \"a.png\", panel: Panel { width: 320, height: 240, colors: Rgb } }"),
            (
                "png:a.png,size=128x64,mono",
                "Png { path: \"a.png\", panel: Panel { width: 128, height: 64, colors: WhiteOnBlack } }",
            ),
            (
                "png:a:b.png,paper,size=250x122",
                "Png { path: \"a:b.png\", panel: Panel { width: 250, height: 122, colors: BlackOnWhite } }",
            ),
            ("terminal", "Terminal { size: None, colors: Rgb, is_sixel: false }"),
            ("terminal,size=160x96,sixel", "Terminal { size: Some((160, 96)), colors: Rgb, is_sixel: true }"),
            #[cfg(target_os = "linux")]
            ("fb:/dev/fb0", "Framebuffer { path: \"/dev/fb0\", colors: Rgb }"),
            ("", "`` is no kind of display"),
            ("screen", "`screen` is no kind of display"),
            ("png", "`png:card.png` has a path"),
            ("png:", "`png:card.png` has a path"),
            ("png:a.png,size=240", "`240` is no size such as 240x240"),
            ("png:a.png,colour", "`png` has no option `colour`"),
            ("png:a.png,mono,paper", "`png` has no option `paper`"),
            ("png:Me, You.png", "`png` has no option ` You.png`"),
            #[cfg(not(all(feature = "hardware", target_os = "linux")))]
            ("ssd1306:/dev/i2c-1", "this build is without `ssd1306`, build it on Linux with the feature `hardware`"),
        ];
        for (text, expected) in cases {
            let result = match parse(text) {
                Ok(kind) => format!("{kind:?}"),
                Err(problem) => problem,
            };
            assert_eq!(result, expected, "{text}");
        }
        let error = Target::from_str("screen").unwrap_err().to_string();
        let expected = "screen: names no display (`screen` is no kind of display); write png:FILE, fb:DEVICE or \
                        terminal, see docs/display.md for all";
        assert_eq!(error, expected);
    }

    #[cfg(all(feature = "hardware", target_os = "linux"))]
    #[test]
    fn wirings_are_parsed_or_the_problem_is_named() {
        let usual = [
            "controller: St7789, path: \"/dev/s\", size: (240, 240), offset: (0, 0), rotation: 0",
            "mode: 0, chip: \"/dev/gpiochip0\", dc: 25, reset: None, backlight: None",
        ];
        let cases: [(&str, &[&str]); 14] = [
            ("ssd1306:/dev/i2c-1", &["path: \"/dev/i2c-1\", size: (128, 64)", "address: 60"]),
            ("ssd1306:/dev/i2c-1,address=0x3d,rotate=180", &["rotation: 180", "address: 61"]),
            ("ssd1306:/dev/i2c-1,address=0x40", &["`address=0x40` has another value than it can have"]),
            ("ssd1306:/dev/i2c-1,0x3d", &["`ssd1306` has no option `0x3d`"]),
            ("ssd1306", &["`ssd1306:/dev/i2c-1` has a path"]),
            ("st7789:/dev/s,dc=25", &usual),
            ("st7789:/dev/s,dc=25,reset=27,mhz=40,mode=3,backlight=18", &["megahertz: 40, mode: 3", "reset: Some(27)"]),
            ("st7789:/dev/s", &["`st7789:/dev/spidev0.0,dc=25` has the GPIO line `dc`"]),
            ("st7789:/dev/s,dc=25,size=320x240", &["size and offset exceed 240 x 320"]),
            ("st7789:/dev/s,dc=25,rotate=45", &["`rotate=45` has another value than it can have"]),
            ("ili9341:/dev/s,dc=24,size=240x240", &["`ili9341` has no option `size`"]),
            (
                "ili9341:/dev/s,dc=24,bgr,invert",
                &["size: (240, 320)", "rotation: 90, is_inverted: true, is_swapped: true"],
            ),
            ("epd2in13:/dev/s,busy=5", &["size: (122, 250)", "dc: 25, reset: Some(17)", "busy: 5"]),
            ("epd7in5:/dev/s,backlight=5", &["`epd7in5` has no option `backlight`"]),
        ];
        for (text, expected) in cases {
            let result = match parse(text) {
                Ok(kind) => format!("{kind:?}"),
                Err(problem) => problem,
            };
            for part in expected {
                assert!(result.contains(part), "{text}: {part} is not in {result}");
            }
        }
    }

    #[test]
    fn sizes_have_limits() {
        for (target, fits) in [
            ("png:a.png,size=80x40", true),
            ("png:a.png,size=79x40", false),
            ("png:a.png,size=80x39", false),
            ("png:a.png,size=9000x100", false),
            ("terminal,size=0x0", false),
        ] {
            let opened = target.parse::<Target>().unwrap().open();
            assert_eq!(opened.is_ok(), fits, "{target}");
        }
    }
}
