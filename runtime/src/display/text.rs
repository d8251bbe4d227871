//! Text in bitmap fonts: choice of a font for the script, width, line breaks and ellipsis.
//!
//! Fonts, whose licences are in `docs/display.md`: Helvetica for Latin; ttyp0 and Misc Fixed for Greek and Cyrillic in two
//! of the sizes (all from U8g2); GNU Unifont for everything else of the Basic Multilingual Plane, such as CJK. Text
//! runs from left to right, and marks are not placed upon letters: Arabic and Indic scripts are legible at best.

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::{DrawTarget, DrawTargetExt};
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::primitives::Rectangle;
use u8g2_fonts::types::{FontColor, VerticalPosition};
use u8g2_fonts::{FontRenderer, fonts};
use unicode_linebreak::linebreaks;
use unicode_normalization::UnicodeNormalization;

/// Three dots, because the fonts for Latin have no character `…`.
const ELLIPSIS: &str = "...";

/// A size of text: a step of the fonts, and the factor by which every pixel of it is enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextSize {
    step: usize,
    is_bold: bool,
    scale: u32,
}

/// The fonts of one step.
struct Step {
    regular: [FontRenderer; 1],
    bold: [FontRenderer; 1],
    /// Height of capital letters above the baseline, in pixels.
    cap_height: u32,
    /// Distance of two baselines in pixels.
    line_height: u32,
    /// Fonts that together have Latin, Greek and Cyrillic.
    european: &'static [FontRenderer],
    /// Factor by which Unifont is enlarged, to be about as high as the other fonts.
    unifont_scale: u32,
}

macro_rules! renderers {
    ($($font:ident),*) => { [$(FontRenderer::new::<fonts::$font>()),*] };
}

static TTYP0_11: [FontRenderer; 1] = renderers![u8g2_font_t0_11_t_all];
static MISC_FIXED_20: [FontRenderer; 3] =
    renderers![u8g2_font_10x20_te, u8g2_font_10x20_t_cyrillic, u8g2_font_10x20_t_greek];

static STEPS: [Step; 6] = [
    Step {
        regular: renderers![u8g2_font_helvR08_te],
        bold: renderers![u8g2_font_helvB08_te],
        cap_height: 8,
        line_height: 11,
        european: &TTYP0_11,
        unifont_scale: 1,
    },
    Step {
        regular: renderers![u8g2_font_helvR10_te],
        bold: renderers![u8g2_font_helvB10_te],
        cap_height: 11,
        line_height: 15,
        european: &[],
        unifont_scale: 1,
    },
    Step {
        regular: renderers![u8g2_font_helvR12_te],
        bold: renderers![u8g2_font_helvB12_te],
        cap_height: 12,
        line_height: 17,
        european: &[],
        unifont_scale: 1,
    },
    Step {
        regular: renderers![u8g2_font_helvR14_te],
        bold: renderers![u8g2_font_helvB14_te],
        cap_height: 14,
        line_height: 20,
        european: &MISC_FIXED_20,
        unifont_scale: 1,
    },
    Step {
        regular: renderers![u8g2_font_helvR18_te],
        bold: renderers![u8g2_font_helvB18_te],
        cap_height: 19,
        line_height: 26,
        european: &[],
        unifont_scale: 2,
    },
    Step {
        regular: renderers![u8g2_font_helvR24_te],
        bold: renderers![u8g2_font_helvB24_te],
        cap_height: 25,
        line_height: 33,
        european: &[],
        unifont_scale: 2,
    },
];

impl TextSize {
    /// Step 0 to 5 (capital letters of 8, 11, 12, 14, 19, 25 pixels), enlarged by an integer factor.
    pub(super) fn regular(step: usize, scale: u32) -> Self {
        Self { step, is_bold: false, scale }
    }

    /// As [`TextSize::regular`], in bold.
    pub(super) fn bold(step: usize, scale: u32) -> Self {
        Self { step, is_bold: true, scale }
    }

    /// This size and the smaller ones, in descending order.
    pub(super) fn smaller(self) -> impl Iterator<Item = Self> {
        (0..=self.step).rev().map(move |step| Self { step, ..self })
    }

    /// The font of this size for a text: the first one that has all its characters, so that no word is patched together
    /// from two fonts.
    pub fn font(self, text: &str) -> Font {
        let Self { step, is_bold, scale } = self;
        let step: &'static Step = &STEPS[step];
        let &Step { cap_height, line_height, european, unifont_scale, .. } = step;
        let own: &'static [FontRenderer] = if is_bold { &step.bold } else { &step.regular };
        let has_text = |fonts: &[FontRenderer]| text.chars().all(|character| advance(fonts, character).is_some());
        let font = |fonts, is_emboldened| Font {
            face: Face::U8g2(fonts),
            is_emboldened,
            scale,
            // The accents of capital letters are three pixels high, or a quarter of the letter.
            ascent: (cap_height + (cap_height / 4).max(3)) * scale,
            cap_height: cap_height * scale,
            line_height: line_height * scale,
        };
        if has_text(own) {
            return font(own, false);
        }
        if has_text(european) {
            // The letters of the smallest size would touch each other.
            return font(european, is_bold && cap_height > 8);
        }
        let scale = scale * unifont_scale;
        Font {
            face: Face::Unifont,
            is_emboldened: is_bold,
            scale,
            ascent: 14 * scale,
            // Ideographs are higher than letters.
            cap_height: scale
                * if text.chars().any(|character| unifont_glyph(character).is_fullwidth()) { 13 } else { 10 },
            line_height: 16 * scale,
        }
    }
}

/// A font for one text. All measures are in pixels of the panel.
#[derive(Clone, Copy, Debug)]
pub struct Font {
    face: Face,
    /// Whether each glyph is drawn twice, one pixel apart.
    is_emboldened: bool,
    /// Factor by which every pixel is enlarged.
    scale: u32,
    /// Height of accented capital letters above the baseline.
    pub ascent: u32,
    /// Height of capital letters above the baseline.
    pub cap_height: u32,
    /// Distance of two baselines.
    pub line_height: u32,
}

#[derive(Clone, Copy, Debug)]
enum Face {
    /// Fonts that together have all characters of the text.
    U8g2(&'static [FontRenderer]),
    Unifont,
}

/// The distance from a character to the next one in the first of the fonts that has it.
fn advance(fonts: &[FontRenderer], character: char) -> Option<u32> {
    fonts.iter().find_map(|font| {
        let dimensions = font.get_rendered_dimensions(character, Point::zero(), VerticalPosition::Baseline).ok()?;
        u32::try_from(dimensions.advance.x).ok()
    })
}

fn unifont_glyph(character: char) -> &'static unifont::Glyph {
    unifont::get_glyph(character)
        .or_else(|| unifont::get_glyph(char::REPLACEMENT_CHARACTER))
        .expect("Unifont has the replacement character")
}

impl Font {
    /// Depth of letters below the baseline.
    pub fn descent(&self) -> u32 {
        (self.line_height - self.cap_height) * 2 / 3
    }

    /// Width of a line of text.
    pub fn width(&self, text: &str) -> u32 {
        self.scale * text.chars().map(|character| self.advance(character)).sum::<u32>()
    }

    /// The distance from a character to the next one, before it is enlarged.
    fn advance(&self, character: char) -> u32 {
        match self.face {
            Face::U8g2(fonts) => advance(fonts, character).unwrap_or(0),
            Face::Unifont => unifont_glyph(character).get_width() as u32,
        }
    }

    /// Draws a line of text from `origin`, the left end of its baseline.
    ///
    /// # Errors
    /// As those of the target.
    pub fn draw<D: DrawTarget>(
        &self,
        text: &str,
        origin: Point,
        color: D::Color,
        target: &mut D,
    ) -> Result<(), D::Error> {
        let mut target = Enlarged { target: &mut target.translated(origin), scale: self.scale };
        let mut position = Point::zero();
        for character in text.chars() {
            let copies = if self.is_emboldened { 2 } else { 1 };
            for copy in 0..copies {
                self.draw_glyph(character, position + Point::new(copy, 0), color, &mut target)?;
            }
            position.x += self.advance(character) as i32;
        }
        Ok(())
    }

    fn draw_glyph<D: DrawTarget>(
        &self,
        character: char,
        position: Point,
        color: D::Color,
        target: &mut D,
    ) -> Result<(), D::Error> {
        match self.face {
            Face::U8g2(fonts) => {
                for font in fonts {
                    let color = FontColor::Transparent(color);
                    match font.render(character, position, VerticalPosition::Baseline, color, target) {
                        Ok(_) => break,
                        Err(u8g2_fonts::Error::DisplayError(error)) => return Err(error),
                        // The next font has the character.
                        Err(_) => {}
                    }
                }
                Ok(())
            }
            Face::Unifont => {
                let glyph = unifont_glyph(character);
                let points = (0..16).flat_map(|y| (0..glyph.get_width()).map(move |x| (x, y)));
                let set = points.filter(|(x, y)| glyph.get_pixel(*x, *y));
                // The baseline is below the 14th of 16 rows.
                target.draw_iter(set.map(|(x, y)| Pixel(position + Point::new(x as i32, y as i32 - 14), color)))
            }
        }
    }

    /// Whether no word of a text is wider than a line.
    pub fn has_room_for_words(&self, text: &str, width: u32) -> bool {
        let mut start = 0;
        linebreaks(text).all(|(end, _)| {
            let word = &text[start..end];
            start = end;
            self.width(word.trim_end()) <= width
        })
    }

    /// Breaks a text into at most `max_lines` lines of at most `width` pixels. What does not fit is replaced by an
    /// ellipsis; a word that is wider than a line is broken within.
    pub fn wrap(&self, text: &str, width: u32, max_lines: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if lines.len() + 1 == max_lines {
                lines.push(self.shorten(rest, width));
                break;
            }
            let ends = linebreaks(rest).map(|(end, _)| end);
            let end = ends.take_while(|end| self.width(rest[..*end].trim_end()) <= width).last();
            let (line, after) = rest.split_at(end.unwrap_or_else(|| self.fitting(rest, width)));
            lines.push(line.trim_end().to_string());
            rest = after.trim_start();
        }
        lines
    }

    /// The text if it is at most `width` pixels wide, else as much of it as fits before an ellipsis.
    pub fn shorten(&self, text: &str, width: u32) -> String {
        if self.width(text) <= width {
            return text.to_string();
        }
        let dots = self.width(ELLIPSIS);
        let end = self.fitting(text, width.saturating_sub(dots));
        if self.width(&text[..end]) + dots > width {
            return text[..self.fitting(text, width)].to_string();
        }
        text[..end].trim_end_matches(|character: char| !character.is_alphanumeric()).to_string() + ELLIPSIS
    }

    /// Length in bytes of the longest beginning of `text`, at least one character, that is at most `width` pixels wide.
    fn fitting(&self, text: &str, width: u32) -> usize {
        let mut ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
        let first = ends.next().unwrap_or(0);
        ends.take_while(|end| self.width(&text[..*end]) <= width).last().unwrap_or(first)
    }
}

/// A text as it is drawn: on one line, accents composed with their letters (file names of macOS have them apart),
/// typographic marks that the fonts lack replaced by plain ones, invisible characters removed.
pub fn drawable(text: &str) -> String {
    let mut plain = String::new();
    for character in text.nfc() {
        match character {
            '\u{2018}' | '\u{2019}' | '\u{02bc}' => plain.push('\''),
            '\u{201c}'..='\u{201e}' => plain.push('"'),
            '\u{2010}'..='\u{2015}' => plain.push('-'),
            '\u{2026}' => plain.push_str(ELLIPSIS),
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {}
            '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => {}
            character if character.is_whitespace() || character.is_control() => plain.push(' '),
            character => plain.push(character),
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A draw target that draws each pixel as a square.
struct Enlarged<'a, D> {
    target: &'a mut D,
    scale: u32,
}

impl<D: DrawTarget> OriginDimensions for Enlarged<'_, D> {
    fn size(&self) -> Size {
        self.target.bounding_box().size / self.scale
    }
}

impl<D: DrawTarget> DrawTarget for Enlarged<'_, D> {
    type Color = D::Color;
    type Error = D::Error;

    fn draw_iter<I: IntoIterator<Item = Pixel<D::Color>>>(&mut self, pixels: I) -> Result<(), D::Error> {
        let scale = self.scale as i32;
        pixels.into_iter().try_for_each(|Pixel(point, color)| {
            self.target.fill_solid(&Rectangle::new(point * scale, Size::new_equal(self.scale)), color)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_one_font_with_all_its_characters() {
        // Bold text of step 3: Helvetica has a bold font and capitals of 14 pixels, the others are emboldened.
        let [helvetica, misc_fixed, unifont, ideographs] = [(false, 14), (true, 14), (true, 10), (true, 13)];
        let cases = [
            ("The Grand Budapest Hotel", helvetica),
            ("Amélie, Łódź, Škoda, Şener, Ős", helvetica),
            ("Сталкер", misc_fixed),
            ("Ταξίδι στα Κύθηρα", misc_fixed),
            ("Der Himmel über Берлин", misc_fixed),
            ("千と千尋の神隠し", ideographs),
            ("기생충", ideographs),
            ("Trà Nguyễn", unifont),
            ("\u{1f3ac}", unifont),
        ];
        for (title, expected) in cases {
            let font = TextSize::bold(3, 1).font(title);
            assert_eq!((font.is_emboldened, font.cap_height), expected, "{title}");
            assert!(font.width(title) > 0, "{title}");
        }
    }

    #[test]
    fn titles_are_wrapped_and_shortened() {
        struct Case {
            title: &'static str,
            max_lines: usize,
            lines: &'static [&'static str],
        }
        let cases = [
            Case { title: "", max_lines: 2, lines: &[] },
            Case { title: "Alien", max_lines: 1, lines: &["Alien"] },
            Case { title: "The Grand Budapest Hotel", max_lines: 2, lines: &["The Grand", "Budapest Hotel"] },
            Case { title: "The Grand Budapest Hotel", max_lines: 1, lines: &["The Grand Bu..."] },
            Case { title: "Am I OK? Yes, and so are you.", max_lines: 1, lines: &["Am I OK? Yes..."] },
            Case { title: "千と千尋の神隠し", max_lines: 3, lines: &["千と千尋の", "神隠し"] },
            Case {
                title: "Donaudampfschifffahrtsgesellschaft",
                max_lines: 3,
                lines: &["Donaudampfschi", "fffahrtsgesellsc", "haft"],
            },
        ];
        for Case { title, max_lines, lines } in cases {
            let font = TextSize::bold(0, 1).font(title);
            let wrapped = font.wrap(title, 82, max_lines);
            assert_eq!(wrapped, lines, "{title}");
            assert!(wrapped.iter().all(|line| font.width(line) <= 82), "{title}");
        }
    }

    #[test]
    fn text_is_composed_and_plain() {
        let cases = [
            ("Ame\u{301}lie", "Amélie"),
            ("Don\u{2019}t \u{2013} \u{201c}Look\u{201d} Up\u{2026}", "Don't - \"Look\" Up..."),
            (" a\u{a0}b\n c\u{200b}d\t", "a b cd"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
        ];
        for (text, expected) in cases {
            assert_eq!(drawable(text), expected, "{text:?}");
        }
    }
}
