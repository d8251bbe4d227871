//! A card: the title and the genres of one poster, and its drawing.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::{PointsIter, Primitive, PrimitiveStyle, Rectangle};
use embedded_graphics::{Drawable, Pixel};

use super::dither::dither;
use super::layout::{Layout, Row, TextLine};
use super::{Colors, Panel, Picture};
use crate::Genre;
use crate::preprocess::DecodedImage;

/// Content shown of a poster, beside its thumbnail.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Title of the film.
    pub title: String,
    /// Year of its release.
    pub year: Option<u16>,
    /// Genres, the most probable first; as many are drawn as the panel has room for.
    pub genres: Vec<GenreBar>,
}

/// A genre of a card.
#[derive(Clone, Debug, PartialEq)]
pub struct GenreBar {
    /// Name of the genre.
    pub name: String,
    /// Probability, in 0..=1.
    pub probability: f32,
    /// Whether it is at or above its threshold; others are drawn paler.
    pub is_predicted: bool,
}

/// Colours of the parts of a card.
struct Palette {
    ground: Rgb888,
    text: Rgb888,
    pale_text: Rgb888,
    bar: Rgb888,
    pale_bar: Rgb888,
    track: Rgb888,
}

const BLACK: Rgb888 = Rgb888::new(0, 0, 0);
const WHITE: Rgb888 = Rgb888::new(255, 255, 255);

impl Palette {
    fn of(colors: Colors) -> Self {
        let two = |ink, ground| Self { ground, text: ink, pale_text: ink, bar: ink, pale_bar: ink, track: ink };
        match colors {
            Colors::Rgb => Self {
                ground: Rgb888::new(14, 17, 22),
                text: Rgb888::new(240, 240, 236),
                pale_text: Rgb888::new(146, 154, 164),
                bar: Rgb888::new(255, 178, 44),
                pale_bar: Rgb888::new(104, 114, 126),
                track: Rgb888::new(38, 44, 53),
            },
            Colors::WhiteOnBlack => two(WHITE, BLACK),
            Colors::BlackOnWhite => two(BLACK, WHITE),
        }
    }
}

impl Card {
    /// A card of a prediction; `genres` as from [`Prediction::ranked`](crate::Prediction::ranked).
    pub fn new(title: &str, year: Option<u16>, genres: &[Genre]) -> Self {
        let bar = |genre: &Genre| GenreBar {
            name: genre.name.to_string(),
            probability: genre.probability,
            is_predicted: genre.is_predicted(),
        };
        Self { title: title.to_string(), year, genres: genres.iter().map(bar).collect() }
    }

    /// Draws the card for a panel.
    pub fn draw(&self, panel: Panel, poster: &DecodedImage) -> Picture {
        let mut picture = Picture::new(panel);
        let Ok(()) = self.draw_to(&mut picture, panel, poster);
        picture
    }

    /// Draws the card to the upper left `panel.width` x `panel.height` pixels of any target of embedded-graphics.
    ///
    /// # Errors
    /// As those of the target.
    ///
    /// # Panics
    /// If the poster has no pixels.
    pub fn draw_to<D: DrawTarget<Color = Rgb888>>(
        &self,
        target: &mut D,
        panel: Panel,
        poster: &DecodedImage,
    ) -> Result<(), D::Error> {
        let layout = Layout::new(panel, self);
        let palette = Palette::of(panel.colors);
        target.fill_solid(&Rectangle::new(Point::zero(), Size::new(panel.width, panel.height)), palette.ground)?;
        draw_thumbnail(target, layout.thumbnail, panel.colors, poster)?;
        let mut line = |line: &TextLine, color| line.font.draw(&line.text, line.origin, color, target);
        layout.title.iter().try_for_each(|title| line(title, palette.text))?;
        layout.year.iter().try_for_each(|year| line(year, palette.pale_text))?;
        for (row, genre) in layout.rows.iter().zip(&self.genres) {
            draw_row(target, row, genre, panel.colors, &palette)?;
        }
        Ok(())
    }
}

/// Draws the poster as large as it fits into an area, in its centre.
fn draw_thumbnail<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    area: Rectangle,
    colors: Colors,
    poster: &DecodedImage,
) -> Result<(), D::Error> {
    let (width, height) = poster.dimensions();
    let (width, height) = (f64::from(width), f64::from(height));
    let scale = (f64::from(area.size.width) / width).min(f64::from(area.size.height) / height);
    let side = |length: f64, most: u32| ((length * scale).round() as u32).clamp(1, most);
    let size = Size::new(side(width, area.size.width), side(height, area.size.height));
    let mut thumbnail = poster.resize(size.width, size.height);
    if colors != Colors::Rgb {
        thumbnail = dither(&thumbnail);
    }
    let top_left = area.top_left + (area.size - size).component_div(Size::new_equal(2));
    let place = Rectangle::new(top_left, size);
    target.fill_contiguous(&place, thumbnail.pixels().map(|[red, green, blue]| Rgb888::new(red, green, blue)))?;
    if colors == Colors::BlackOnWhite {
        // A poster with a white edge would have none on paper.
        place.into_styled(PrimitiveStyle::with_stroke(BLACK, 1)).draw(target)?;
    }
    Ok(())
}

/// Draws a genre. Where there are no colours to tell what is predicted, bars of other genres are hatched.
fn draw_row<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    row: &Row,
    genre: &super::GenreBar,
    colors: Colors,
    palette: &Palette,
) -> Result<(), D::Error> {
    let (text, fill) =
        if genre.is_predicted { (palette.text, palette.bar) } else { (palette.pale_text, palette.pale_bar) };
    for line in [Some(&row.name), row.percent.as_ref()].into_iter().flatten() {
        line.font.draw(&line.text, line.origin, text, target)?;
    }
    let Rectangle { top_left, size } = row.bar;
    let length = (size.width as f32 * genre.probability.clamp(0.0, 1.0)).round() as u32;
    let filled = Rectangle::new(top_left, Size::new(length, size.height));
    if colors == Colors::Rgb {
        target.fill_solid(&row.bar, palette.track)?;
        return target.fill_solid(&filled, fill);
    }
    let line = Rectangle::new(top_left + Point::new(0, size.height as i32 - 1), Size::new(size.width, 1));
    target.fill_solid(&line, palette.track)?;
    if genre.is_predicted {
        return target.fill_solid(&filled, fill);
    }
    let hatch = |point: &Point| (point.x + point.y).rem_euclid(2) == 0;
    target.draw_iter(filled.points().filter(hatch).map(|point| Pixel(point, fill)))
}
