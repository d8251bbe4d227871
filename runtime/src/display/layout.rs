//! Layout of a card: the place of the thumbnail, the lines of the title and the rows of genres on a panel of any size.
//!
//! On wide panels all text is beside the thumbnail; on square and tall ones the genres are below it:
//!
//! ```text
//! +-------+----------------+      +-------+--------+
//! |       | Title          |      |       | Title  |
//! |       | Year           |      |       | Year   |
//! |       |                |      |       |        |
//! |       | Comedy    92 % |      +-------+--------+
//! |       | ===========--- |      | Comedy    92 % |
//! |       | Drama     31 % |      | ===========--- |
//! |       | ====---------- |      | Drama     31 % |
//! +-------+----------------+      | ====---------- |
//!                                 +----------------+
//! ```

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

use super::text::{Font, TextSize, drawable};
use super::{Card, GenreBar, Panel};

/// The most genres that are shown.
const MAX_ROWS: usize = 5;

/// A genre with a long name, by which it is decided whether there is room for the number beside the names.
const LONG_NAME: &str = "Science Fiction";

/// A number beside a name.
const PERCENT: &str = "99 %";

/// The places of all parts of a card, in pixels from the upper left corner of the panel.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Area of the thumbnail; a poster of another shape is centred in it.
    pub thumbnail: Rectangle,
    /// Lines of the title.
    pub title: Vec<TextLine>,
    /// The year below the title, if there is room.
    pub year: Option<TextLine>,
    /// The genres, from top to bottom: as many as there is room for.
    pub rows: Vec<Row>,
}

/// A line of text.
#[derive(Clone, Debug)]
pub struct TextLine {
    /// The text.
    pub text: String,
    /// The font.
    pub font: Font,
    /// Left end of the baseline.
    pub origin: Point,
}

/// One genre.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the genre.
    pub name: TextLine,
    /// The probability in percent, unless the row is too narrow for it.
    pub percent: Option<TextLine>,
    /// The whole bar, which is filled in proportion to the probability.
    pub bar: Rectangle,
}

impl Layout {
    /// Lays out a card.
    pub fn new(panel: Panel, card: &Card) -> Self {
        let style = Style::of(panel, card);
        let margin = style.margin;
        let inner = Rectangle::new(
            Point::new_equal(margin as i32),
            Size::new(panel.width - 2 * margin, panel.height - 2 * margin),
        );
        if panel.width * 4 >= panel.height * 5 {
            Self::beside(inner, &style, card)
        } else {
            Self::stacked(inner, &style, card)
        }
    }

    fn beside(inner: Rectangle, style: &Style, card: &Card) -> Self {
        let width = (inner.size.height * 2 / 3).min(inner.size.width * 7 / 16);
        // The text is as high as a poster of the usual shape, so that their edges are in line.
        let height = inner.size.height.min(width * 3 / 2 + 1);
        let top_left = inner.top_left + Point::new(0, (inner.size.height - height) as i32 / 2);
        let thumbnail = Rectangle::new(top_left, Size::new(width, height));
        let column = style.right_of(thumbnail, inner.size.width);
        let title_font = style.title_font(&card.title, column.size.width);
        // Up to three genres have precedence over a third line of the title, but not over the second.
        let mut count = card.genres.len().min(3);
        while count > 1 && style.rows_height(count) + style.row_gap + style.text_height(title_font, 2) > height {
            count -= 1;
        }
        let title_height = height.saturating_sub(style.rows_height(count) + style.row_gap);
        let (title, year, end) = style.place_title(card, title_font, column, title_height, 3);
        let room = (column.top_left.y + height as i32 - end - style.row_gap as i32).max(0) as u32;
        Self { thumbnail, title, year, rows: style.place_rows(card, column, room) }
    }

    fn stacked(inner: Rectangle, style: &Style, card: &Card) -> Self {
        let Size { width, height } = inner.size;
        let gap = style.row_gap * 3 / 2;
        let rows_height = style.rows_height(card.genres.len().min(3)) + gap;
        let thumbnail_height = height.saturating_sub(rows_height).max(height / 3).min(width * 3 / 4);
        let thumbnail = Rectangle::new(inner.top_left, Size::new(thumbnail_height * 2 / 3, thumbnail_height));
        let column = style.right_of(thumbnail, width);
        let title_font = style.title_font(&card.title, column.size.width);
        let (title, year, _) = style.place_title(card, title_font, column, thumbnail_height, 6);
        let room = height.saturating_sub(thumbnail_height + gap);
        Self { thumbnail, title, year, rows: style.place_rows(card, inner, room) }
    }
}

/// Sizes and distances, by the shorter side of the panel.
struct Style {
    margin: u32,
    /// Distance between the thumbnail and the text beside it.
    gutter: u32,
    title: TextSize,
    /// Font of the genres and numbers.
    font: Font,
    bar_height: u32,
    /// Distance between the bar of a row and the next row.
    row_gap: u32,
}

impl Style {
    fn of(panel: Panel, card: &Card) -> Self {
        let short = panel.width.min(panel.height);
        let scale = (short / 440).max(1);
        let (title, text, bar_height, row_gap) = match short {
            0..100 => (0, 0, 3, 3),
            100..180 => (2, 1, 5, 6),
            180..320 => (3, 2, 6, 10),
            320..440 => (4, 3, 8, 13),
            440.. => (5, 4, 12 * scale, 20 * scale),
        };
        let text = TextSize::regular(text, scale);
        let names: String = card.genres.iter().map(|genre| drawable(&genre.name)).collect();
        let margin = if short < 72 { 0 } else { short / 24 };
        Self {
            margin,
            gutter: (margin * 3 / 2).max(5),
            title: TextSize::bold(title, scale),
            font: text.font(&(names + LONG_NAME + PERCENT)),
            bar_height,
            row_gap,
        }
    }

    /// The column beside a thumbnail, in a card of `width` pixels.
    fn right_of(&self, thumbnail: Rectangle, width: u32) -> Rectangle {
        let left = thumbnail.size.width + self.gutter;
        Rectangle::new(
            thumbnail.top_left + Point::new(left as i32, 0),
            Size::new(width.saturating_sub(left), thumbnail.size.height),
        )
    }

    /// The font of a title: up to three steps smaller if a word would have to be broken otherwise.
    fn title_font(&self, title: &str, width: u32) -> Font {
        let title = drawable(title);
        let mut fonts = self.title.smaller().take(4).map(|size| size.font(&title));
        fonts.find(|font| font.has_room_for_words(&title, width)).unwrap_or_else(|| self.title.font(&title))
    }

    /// Distance of the first baseline from the top of a column. Accents reach into the margin if there is one.
    fn first_baseline(&self, font: Font) -> u32 {
        if self.margin < 4 { font.ascent } else { font.cap_height }
    }

    /// Height of some lines of text.
    fn text_height(&self, font: Font, lines: u32) -> u32 {
        self.first_baseline(font) + (lines - 1) * font.line_height + font.descent()
    }

    /// The lines of the title from the top of a column, at least one and at most as many as fit into `height` pixels;
    /// the year, if it fits as well; and the lower end of both.
    fn place_title(
        &self,
        card: &Card,
        font: Font,
        column: Rectangle,
        height: u32,
        max_lines: usize,
    ) -> (Vec<TextLine>, Option<TextLine>, i32) {
        let Point { x, y: top } = column.top_left;
        let mut baseline = top + self.first_baseline(font) as i32;
        let fitting = (2..=max_lines).rev().find(|lines| self.text_height(font, *lines as u32) <= height);
        let max_lines = fitting.unwrap_or(1);
        let mut title = Vec::new();
        for text in font.wrap(&drawable(&card.title), column.size.width, max_lines) {
            title.push(TextLine { text, font, origin: Point::new(x, baseline) });
            baseline += font.line_height as i32;
        }
        let last = title.last().map_or(top, |line: &TextLine| line.origin.y);
        let end = last + font.descent() as i32;
        if let (true, Some(year)) = (self.margin > 0, card.year) {
            let origin = Point::new(x, last + self.font.line_height as i32 * 5 / 4);
            let year_end = origin.y + self.font.descent() as i32;
            if year_end <= top + height as i32 {
                return (title, Some(TextLine { text: year.to_string(), font: self.font, origin }), year_end);
            }
        }
        (title, None, end)
    }

    fn row_height(&self) -> u32 {
        self.font.line_height + self.bar_height
    }

    /// Height of `count` rows with the gaps between them.
    fn rows_height(&self, count: usize) -> u32 {
        count as u32 * (self.row_height() + self.row_gap) - if count > 0 { self.row_gap } else { 0 }
    }

    /// Places as many rows as fit into the lower `room` pixels of a column; the last bar ends with the column.
    fn place_rows(&self, card: &Card, column: Rectangle, room: u32) -> Vec<Row> {
        let most = card.genres.len().min(MAX_ROWS);
        let count = (1..=most).rev().find(|count| self.rows_height(*count) <= room).unwrap_or(0);
        let mut pitch = self.row_height() + self.row_gap;
        if count > 1 {
            // Rows spread, but not so far that they fall apart.
            pitch = ((room - self.row_height()) / (count as u32 - 1)).clamp(pitch, pitch * 5 / 4);
        }
        let end = column.top_left.y + column.size.height as i32;
        let top = |row: usize| end - (self.row_height() + (count - 1 - row) as u32 * pitch) as i32;
        let genres = card.genres[..count].iter().enumerate();
        genres.map(|(row, genre)| self.row(genre, Point::new(column.top_left.x, top(row)), column.size.width)).collect()
    }

    fn row(&self, genre: &GenreBar, top_left: Point, width: u32) -> Row {
        let gap = self.gutter / 4;
        let has_percent = width >= self.font.width(LONG_NAME) + gap + self.font.width(PERCENT);
        let percent = format!("{:.0} %", 100.0 * genre.probability);
        let percent_width = self.font.width(&percent);
        let name_width = if has_percent { width - percent_width - gap } else { width };
        let baseline = top_left + Point::new(0, self.font.cap_height as i32);
        Row {
            name: TextLine {
                text: self.font.shorten(&drawable(&genre.name), name_width),
                font: self.font,
                origin: baseline,
            },
            percent: has_percent.then(|| TextLine {
                text: percent,
                font: self.font,
                origin: baseline + Point::new((width - percent_width) as i32, 0),
            }),
            bar: Rectangle::new(
                top_left + Point::new(0, self.font.line_height as i32),
                Size::new(width, self.bar_height),
            ),
        }
    }
}
