//! Names of displays: `KIND[:PATH][,OPTION]…`, where an option is `NAME` or `NAME=VALUE`.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Colors, Display, DisplayError, Panel, PngFile, terminal};

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
    },
    #[cfg(target_os = "linux")]
    Framebuffer {
        path: PathBuf,
        colors: Colors,
    },
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
            Kind::Terminal { size, colors } => {
                let (width, height) = size.unwrap_or_else(terminal::size);
                Box::new(terminal::Terminal { panel: Panel { width, height, colors: *colors }.checked("terminal")? })
            }
            #[cfg(target_os = "linux")]
            Kind::Framebuffer { path, colors } => Box::new(super::framebuffer::Framebuffer::open(path, *colors)?),
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
    let mut options = Options(parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect());
    let kind = match name {
        "png" => {
            let path = path("png:card.png")?;
            let (width, height) = options.size()?.unwrap_or(PNG_SIZE);
            Kind::Png { path, panel: Panel { width, height, colors: options.colors() } }
        }
        "terminal" => Kind::Terminal { size: options.size()?, colors: options.colors() },
        #[cfg(target_os = "linux")]
        "fb" => Kind::Framebuffer { path: path("fb:/dev/fb0")?, colors: options.colors() },
        _ => return Err(format!("`{name}` is no kind of display")),
    };
    match options.0.first() {
        None => Ok(kind),
        Some((option, _)) => Err(format!("`{name}` has no option `{option}`")),
    }
}

/// The options that are not yet parsed: names and values.
struct Options<'a>(Vec<(&'a str, &'a str)>);

impl Options<'_> {
    /// Takes `size=WIDTHxHEIGHT`.
    fn size(&mut self) -> Result<Option<(u32, u32)>, String> {
        let Some(index) = self.0.iter().position(|(name, _)| *name == "size") else { return Ok(None) };
        let (_, text) = self.0.remove(index);
        let size = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        size.map(Some).ok_or_else(|| format!("`{text}` is no size such as 240x240"))
    }

    /// Takes an option without a value.
    fn has(&mut self, name: &str) -> bool {
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
            ("terminal", "Terminal { size: None, colors: Rgb }"),
            ("terminal,size=160x96", "Terminal { size: Some((160, 96)), colors: Rgb }"),
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
                        terminal, see docs/display.md";
        assert_eq!(error, expected);
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
