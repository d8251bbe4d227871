//! Cards as they are drawn, compared with the pictures in `tests/display`, and `runtime show`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p runtime --test display` draws the pictures again; look at each of them before it is
//! committed.

#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;
use proptest::prelude::*;
use runtime::display::{Card, Colors, GenreBar, Layout, MIN_SIZE, Panel, TextLine};
use runtime::preprocess::{self, DecodedImage};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/posters").join(name)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/display").join(name)
}

fn card(title: &str, year: Option<u16>, genres: &[(&str, f32)]) -> Card {
    let bar = |&(name, probability): &(&str, f32)| GenreBar {
        name: name.to_string(),
        probability,
        is_predicted: probability >= 0.4,
    };
    Card { title: title.to_string(), year, genres: genres.iter().map(bar).collect() }
}

/// Posters are lossless files, so that their pixels do not depend on a decoder.
#[test]
fn cards_look_as_they_did() {
    struct Case {
        name: &'static str,
        panel: (u32, u32, Colors),
        poster: &'static str,
        card: Card,
    }
    use Colors::{BlackOnWhite, Rgb, WhiteOnBlack};
    let western = card(
        "Red Mesa",
        Some(1962),
        &[("Western", 0.91), ("Drama", 0.42), ("Action", 0.27), ("Adventure", 0.2), ("War", 0.04)],
    );
    let long = card(
        "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb",
        Some(1964),
        &[("Comedy", 1.0), ("War", 0.52), ("Science Fiction", 0.31), ("Documentary", 0.12), ("Drama", 0.04)],
    );
    let accents = card(
        "Le Fabuleux Destin d\u{2019}Ame\u{301}lie Poulain",
        Some(2001),
        &[("Comedy", 0.83), ("Romance", 0.66), ("Drama", 0.2), ("Family", 0.1), ("Music", 0.0)],
    );
    let cyrillic = card("Сталкер", Some(1979), &[("Science Fiction", 0.83), ("Drama", 0.6), ("Mystery", 0.3)]);
    let greek = card("Ταξίδι στα Κύθηρα", Some(1984), &[("Drama", 0.8), ("Romance", 0.3), ("History", 0.1)]);
    let japanese = card("千と千尋の神隠し", Some(2001), &[("Animation", 0.97), ("Family", 0.71), ("Fantasy", 0.7)]);
    let poster = "western.png";
    let cases = [
        Case { name: "oled-128x64", panel: (128, 64, WhiteOnBlack), poster, card: western.clone() },
        Case { name: "oled-long", panel: (128, 64, WhiteOnBlack), poster: "comedy-palette.png", card: long.clone() },
        Case { name: "oled-cyrillic", panel: (128, 64, WhiteOnBlack), poster, card: cyrillic.clone() },
        Case { name: "oled-greek", panel: (128, 64, WhiteOnBlack), poster, card: greek },
        Case { name: "oled-japanese", panel: (128, 64, WhiteOnBlack), poster, card: japanese.clone() },
        Case { name: "lcd-240x240", panel: (240, 240, Rgb), poster, card: western.clone() },
        Case { name: "lcd-240x240-long", panel: (240, 240, Rgb), poster: "comedy-palette.png", card: long.clone() },
        Case { name: "lcd-320x240", panel: (320, 240, Rgb), poster, card: accents.clone() },
        Case { name: "lcd-320x240-cyrillic", panel: (320, 240, Rgb), poster, card: cyrillic },
        Case { name: "lcd-240x320", panel: (240, 320, Rgb), poster, card: long.clone() },
        Case { name: "paper-250x122", panel: (250, 122, BlackOnWhite), poster, card: western.clone() },
        Case {
            name: "paper-250x122-long",
            panel: (250, 122, BlackOnWhite),
            poster: "romance-transparent.png",
            card: accents,
        },
        Case { name: "paper-800x480", panel: (800, 480, BlackOnWhite), poster, card: long },
        Case { name: "paper-800x480-japanese", panel: (800, 480, BlackOnWhite), poster, card: japanese },
        Case { name: "terminal-160x96", panel: (160, 96, Rgb), poster, card: western },
    ];
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for Case { name, panel: (width, height, colors), poster, card } in cases {
        let poster: DecodedImage = preprocess::open(&fixture(poster)).unwrap().into();
        let picture = card.draw(Panel { width, height, colors }, &poster);
        let path = golden(&format!("{name}.png"));
        if is_update {
            fs::write(&path, picture.to_png()).unwrap();
        }
        if preprocess::open(&path).ok().as_ref() != Some(picture.pixels()) {
            changed.push(name);
        }
        let mut pixels = picture.pixels().pixels();
        let is_mono = colors != Rgb;
        assert!(!is_mono || pixels.all(|pixel| pixel == [0; 3] || pixel == [255; 3]), "{name} has other colours");
    }
    assert!(changed.is_empty(), "these cards have changed: {changed:?}; UPDATE_GOLDEN=1 draws them again");
}

/// The pixels that a line of text may touch: from the accents to the descenders.
fn extent(line: &TextLine) -> Rectangle {
    let TextLine { text, font, origin } = line;
    let size = Size::new(font.width(text), font.cap_height + font.descent());
    Rectangle::new(*origin - Point::new(0, font.cap_height as i32), size)
}

fn contains(outer: &Rectangle, inner: &Rectangle) -> bool {
    outer.intersection(inner) == *inner
}

proptest! {
    #[test]
    fn nothing_overlaps_or_leaves_the_panel(
        width in MIN_SIZE.0..2000,
        height in MIN_SIZE.1..2000,
        title in "(\\PC{1,12} ?){0,8}",
        year in proptest::option::of(1888u16..2040),
        genres in proptest::collection::vec(("[A-Za-z ]{1,20}", 0.0f32..=1.0), 0..8),
    ) {
        let genres: Vec<(&str, f32)> = genres.iter().map(|(name, probability)| (name.as_str(), *probability)).collect();
        let card = card(&title, year, &genres);
        let layout = Layout::new(Panel { width, height, colors: Colors::Rgb }, &card);
        let panel = Rectangle::new(Point::zero(), Size::new(width, height));
        let mut parts = vec![layout.thumbnail];
        parts.extend(layout.title.iter().map(extent));
        parts.extend(layout.year.iter().map(extent));
        for row in &layout.rows {
            parts.extend([extent(&row.name), row.bar]);
            parts.extend(row.percent.as_ref().map(extent));
        }
        parts.retain(|part| !part.is_zero_sized());
        for (index, part) in parts.iter().enumerate() {
            prop_assert!(contains(&panel, part), "{part:?} leaves the panel");
            for other in &parts[..index] {
                prop_assert!(part.intersection(other).is_zero_sized(), "{part:?} overlaps {other:?}");
            }
        }
        prop_assert!(!layout.thumbnail.is_zero_sized());
        prop_assert!(layout.rows.len() >= genres.len().min(1), "no genre is shown");
    }
}

fn show(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runtime")).arg("show").args(arguments).output().unwrap()
}

#[test]
fn a_poster_is_shown_in_a_file_and_in_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("Red Mesa (1962)");
    fs::create_dir(&film).unwrap();
    let poster = film.join("poster.png");
    fs::copy(fixture("western.png"), &poster).unwrap();
    let poster = poster.display().to_string();

    let file = folder.path().join("card.png");
    let output = show(&[&poster, "--display", &format!("png:{},size=128x64,mono", file.display())]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(preprocess::open(&file).unwrap().dimensions(), (128, 64));

    let output = show(&[&poster, "--display", "terminal,size=80x47"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 24, "{text}");
    assert!(text.lines().all(|line| line.matches('▀').count() == 80), "{text}");

    // The title comes from the folder unless it is given.
    let [own, same, other] = [&[][..], &["--title", "Red Mesa"], &["--title", "Blue Mesa"]].map(|title| {
        let target = ["--display", "terminal,size=128x64"];
        show(&[&[poster.as_str()][..], &target, title].concat()).stdout
    });
    assert_eq!(own, same);
    assert_ne!(own, other);
}

#[test]
fn failures_of_displays_are_one_sentence() {
    struct Case<'a> {
        target: &'a str,
        status: i32,
        error: &'a str,
    }
    let cases = [
        Case { target: "screen", status: 2, error: "`screen` is no kind of display" },
        Case {
            target: "png:/nowhere/card.png",
            status: 2,
            error: "error: /nowhere/card.png: the display cannot be used",
        },
        Case { target: "terminal,size=40x20", status: 2, error: "error: terminal: has 40 x 20 pixels" },
        #[cfg(target_os = "linux")]
        Case { target: "fb:/dev/fb99", status: 2, error: "error: /dev/fb99: the display cannot be used" },
        #[cfg(target_os = "linux")]
        Case { target: "fb:/dev/null", status: 2, error: "error: /dev/null: is no display that can be drawn on" },
    ];
    let poster = fixture("western.png").display().to_string();
    for Case { target, status, error } in cases {
        let output = show(&[&poster, "--display", target]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{target}: {message}");
        assert!(message.contains(error) && message.matches("error:").count() == 1, "{target}: {message}");
    }
    let output = show(&["nowhere.png", "--display", "terminal"]);
    assert_eq!(output.status.code(), Some(1));
}
