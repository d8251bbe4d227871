//! Edits of NFO files: every file below `fixtures/nfo`, and generated files (proptest).

#![cfg(feature = "collection")]

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use runtime::collection::nfo::{
    Change, NewNfo, NfoError, NfoLocation, Root, add, apply, minimal, nfo_paths, revert, undo,
};

const PREDICTED: [&str; 4] = ["Horror", "Sci-Fi", " drama", "Horror"];
const OTHERS: [&str; 4] = ["Comédie noire", "--> R&B <--", "a|b\\--", "Action"];

fn folder() -> PathBuf {
    fixtures::path("nfo")
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// The bytes of a file after a change to it.
fn after(before: &[u8], change: Result<Change, NfoError>) -> Vec<u8> {
    match change.unwrap() {
        Change::Unchanged => before.to_vec(),
        Change::Write(bytes) => bytes,
        Change::Delete => Vec::new(),
    }
}

fn added(bytes: &[u8], genres: &[&str], replace: bool) -> Vec<u8> {
    after(bytes, add(bytes, Path::new("film.nfo"), genres, replace))
}

fn undone(bytes: &[u8]) -> Vec<u8> {
    after(bytes, undo(bytes, Path::new("film.nfo")))
}

/// A file as text, by its byte order mark, as UTF-8 or else as Latin-1.
fn text(bytes: &[u8]) -> String {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks(2).map(|pair| unit(pair.try_into().unwrap())).collect();
        String::from_utf16(&units).unwrap()
    };
    match bytes {
        [0xFF, 0xFE, ..] => utf16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => utf16(u16::from_be_bytes),
        _ => String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.iter().copied().map(char::from).collect()),
    }
}

/// The genres that Jellyfin reads (`BaseNfoParser`): it cuts the file behind the last closing tag, takes the elements
/// below the root that are called `genre`, and splits what they say at `/`.
fn read_genres(bytes: &[u8]) -> Vec<String> {
    let text = text(bytes);
    let text = text.trim_start_matches('\u{FEFF}');
    let Some(last) = text.rfind("</") else { return Vec::new() };
    let text = &text[..last + text[last..].find('>').unwrap() + 1];
    let mut reader = Reader::from_str(text);
    let (mut depth, mut genre, mut genres) = (0, None, Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                depth += 1;
                if depth == 2 && tag.name().as_ref() == "genre" {
                    genre = Some(String::new());
                }
            }
            Event::End(_) => {
                depth -= 1;
                if depth == 1
                    && let Some(value) = genre.take()
                {
                    genres.extend(value.split('/').map(str::trim).filter(|part| !part.is_empty()).map(String::from));
                }
            }
            Event::Text(words) => genre.iter_mut().for_each(|genre| genre.push_str(&words)),
            Event::CData(words) => genre.iter_mut().for_each(|genre| genre.push_str(&words)),
            Event::GeneralRef(reference) => {
                let name = reference.to_string();
                let letter = reference.resolve_char_ref().unwrap().map(String::from);
                let known = letter.or(resolve_predefined_entity(&name).map(String::from));
                let resolved = known.unwrap_or(format!("&{name};"));
                genre.iter_mut().for_each(|genre| genre.push_str(&resolved));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "{text}");
    genres
}

/// A genre in the form in which two names of one genre are equal.
fn plain(genre: &str) -> String {
    let letters: String = genre.to_lowercase().chars().filter(|sign| sign.is_alphanumeric()).collect();
    match letters.as_str() {
        "" => genre.to_lowercase(),
        "sciencefiction" => "scifi".to_string(),
        _ => letters,
    }
}

/// The genres that a file must have after `genres` were added to `before`.
fn union(before: &[String], genres: &[&str]) -> Vec<String> {
    let mut all = before.to_vec();
    for genre in genres.iter().map(|genre| genre.trim()).filter(|genre| !genre.is_empty()) {
        // Several genres may stand in one element.
        if !all.iter().flat_map(|old| old.split('|')).any(|old| plain(old.trim()) == plain(genre)) {
            all.push(genre.to_string());
        }
    }
    all
}

/// The laws that do not hold for a file without marker comments.
fn broken_laws(original: &[u8], first: &[&str], second: &[&str]) -> Vec<&'static str> {
    let before = read_genres(original);
    let mut laws = vec![
        ("undo of a file that is not marked", undone(original) == original),
        ("no genres are undo", added(original, &[], false) == original),
        ("no genres are undo, with replace", added(original, &["", " / "], true) == original),
    ];
    for replace in [false, true] {
        let once = added(original, first, replace);
        let replaces = replace && !union(&[], first).is_empty();
        let genres = union(if replaces { &[] } else { &before }, first);
        laws.extend([
            ("undo gives the file back", undone(&once) == original),
            ("adding nothing gives the file back", added(&once, &[], replace) == original),
            ("adding twice is adding once", added(&once, first, replace) == once),
            ("what is added is renewed", added(&once, second, false) == added(original, second, false)),
            ("what replaces is renewed", added(&once, second, true) == added(original, second, true)),
            ("the genres are read", read_genres(&once) == genres),
        ]);
    }
    laws.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| law).collect()
}

#[test]
fn every_file_gets_its_genres_and_loses_them_again() {
    struct Case {
        file: &'static str,
        /// The genres that Jellyfin reads in it.
        before: &'static [&'static str],
        /// The predicted genres that it lacks.
        new: &'static [&'static str],
        /// The line break and indentation of each new line.
        line_start: &'static str,
    }
    let all = &["Horror", "Sci-Fi", "drama"];
    let cases = [
        Case { file: "kodi.nfo", before: &["Drama", "Mystery"], new: &["Horror", "Sci-Fi"], line_start: "\n    " },
        Case { file: "jellyfin.nfo", before: &["Comedy"], new: all, line_start: "\n  " },
        Case { file: "emby.nfo", before: &["Western", "Film & Noir"], new: all, line_start: "\r\n  " },
        Case {
            file: "radarr-links.nfo",
            before: &["Science Fiction", "Thriller"],
            new: &["Horror", "drama"],
            line_start: "\r\n  ",
        },
        Case {
            file: "tinymediamanager.nfo",
            before: &["Adventure", "Drama"],
            new: &["Horror", "Sci-Fi"],
            line_start: "\r\n  ",
        },
        Case { file: "tabs.nfo", before: &["Comedy", "Family"], new: all, line_start: "\n\t" },
        Case { file: "one-line.nfo", before: &["Short"], new: all, line_start: "" },
        Case { file: "one-line-no-genre.nfo", before: &[], new: all, line_start: "" },
        Case {
            file: "combined-attributes.nfo",
            before: &["SciFi", "Romance"],
            new: &["Horror", "drama"],
            line_start: "\n ",
        },
        Case {
            file: "slash.nfo",
            before: &["Action", "Adventure", "Horror", "sci-fi"],
            new: &["drama"],
            line_start: "\n  ",
        },
        Case { file: "nested-genre.nfo", before: &[], new: all, line_start: "\n  " },
        Case { file: "empty-genres.nfo", before: &["Crime"], new: all, line_start: "\n  " },
        Case { file: "uppercase.nfo", before: &["HORROR"], new: &["Sci-Fi", "drama"], line_start: "\n  " },
        Case { file: "utf16le.nfo", before: &["драма"], new: all, line_start: "\r\n  " },
        Case { file: "utf16be.nfo", before: &[], new: all, line_start: "\n\t" },
        Case { file: "latin1.nfo", before: &["Komödie"], new: all, line_start: "\r\n  " },
        Case { file: "windows1252.nfo", before: &[], new: all, line_start: "\n    " },
        Case { file: "declared-utf16.nfo", before: &["Drama"], new: &["Horror", "Sci-Fi"], line_start: "\n  " },
        Case { file: "empty-root.nfo", before: &[], new: all, line_start: "\n  " },
        Case { file: "empty-root-one-line.nfo", before: &[], new: all, line_start: "" },
        Case {
            file: "comments.nfo",
            before: &["Drama", "Sport & Spiel"],
            new: &["Horror", "Sci-Fi"],
            line_start: "\n  ",
        },
        Case { file: "doctype.nfo", before: &["&sf;"], new: all, line_start: "\n  " },
        Case { file: "trailing-garbage.nfo", before: &["Comedy"], new: all, line_start: "\n  " },
        Case { file: "huge-plot.nfo", before: &["Documentary"], new: all, line_start: "\n  " },
        Case {
            file: "mixed-indentation.nfo",
            before: &["Drama", "War"],
            new: &["Horror", "Sci-Fi"],
            line_start: "\r\n\t  ",
        },
        Case { file: "old-mac.nfo", before: &[], new: all, line_start: "\r  " },
        Case { file: "self-closing.nfo", before: &[], new: all, line_start: "" },
    ];
    let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.retain(|name| !cases.iter().any(|case| *name == *case.file));
    assert_eq!(files, ["bad"], "a file without a case");

    let mut failures = Vec::new();
    for case in cases {
        let original = fixture(case.file);
        let before = read_genres(&original);
        let marked = text(&added(&original, &PREDICTED, false));
        let elements = case.new.iter().map(|genre| format!("<genre>{genre}</genre>"));
        let listed = case.new.join("|");
        let origin = if case.file == "self-closing.nfo" { "root=\"empty\" " } else { "" };
        let lines: Vec<_> = [format!("<!--poster-genres {origin}added=\"{listed}\"-->")]
            .into_iter()
            .chain(elements)
            .chain(["<!--/poster-genres-->".to_string()])
            .collect();
        let block: String = lines.iter().flat_map(|line| [case.line_start, line]).collect();
        let mut wrong = broken_laws(&original, &PREDICTED, &OTHERS);
        wrong.extend(broken_laws(&original, &OTHERS, &PREDICTED));
        if before != case.before {
            wrong.push("the genres before");
        }
        if marked.replacen(&block, "", 1) != text(&original).replacen(" />\n", " ></movie>\n", origin.len().min(1)) {
            wrong.push("the position or form of what is added");
        }
        if !wrong.is_empty() {
            let shown: String = marked.chars().take(3000).collect();
            failures.push(format!("{}: {wrong:?}, before {before:?}, added {block:?} in\n{shown}", case.file));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn damaged_foreign_and_locked_files_are_refused_by_name() {
    struct Case {
        file: &'static str,
        message: &'static str,
    }
    let cases = [
        Case {
            file: "link-only.nfo",
            message: "holds a link, a release note or nothing, but no XML, and is left alone; put",
        },
        Case { file: "empty.nfo", message: "holds a link, a release note or nothing" },
        Case { file: "scene.nfo", message: "holds a link, a release note or nothing" },
        Case { file: "text-before-root.nfo", message: "put a <movie> element before the text" },
        Case { file: "unclosed-tag.nfo", message: "line 4 (expected `</title>`" },
        Case { file: "cut-in-element.nfo", message: "line 4 (the file ends inside of <plot>); mend it" },
        Case { file: "cut-in-tag.nfo", message: "line 3 (tag not closed" },
        Case { file: "cut-in-comment.nfo", message: "line 3 (comment not closed" },
        Case { file: "episode.nfo", message: "is about <episodedetails>" },
        Case { file: "musicvideo.nfo", message: "is about <musicvideo>" },
        Case { file: "jellyfin-show-locked.nfo", message: "its genres are locked by <lockdata> and are left alone" },
        Case { file: "prefixed-root.nfo", message: "is about <k:movie>" },
        Case { file: "two-roots.nfo", message: "line 4 (a second root, <movie>, follows the first)" },
        Case { file: "ampersand.nfo", message: "line 2 (an `&` that should be `&amp;`); mend" },
        Case { file: "not-utf8.nfo", message: "holds a byte in line 2 that is not UTF-8" },
        Case { file: "utf16-without-bom.nfo", message: "seems to be UTF-16 without a byte order mark" },
        Case { file: "utf16-odd.nfo", message: "holds bytes that are not UTF-16" },
        Case { file: "shift-jis.nfo", message: "is in the encoding shift_jis; save it as UTF-8" },
    ];
    let files = fs::read_dir(folder().join("bad")).unwrap().count();
    assert_eq!(files, cases.len(), "a file without a case");

    let mut failures = Vec::new();
    for case in cases {
        let bytes = fixture(&format!("bad/{}", case.file));
        let path = Path::new("films").join(case.file);
        for replace in [false, true] {
            let message =
                add(&bytes, &path, &PREDICTED, replace).map_or_else(|error| error.to_string(), |_| "none".into());
            if !message.starts_with(&format!("{}: ", path.display())) || !message.contains(case.message) {
                failures.push(format!("{}: {message}", case.file));
            }
        }
        if undo(&bytes, &path).ok() != Some(Change::Unchanged) {
            failures.push(format!("{}: undo of a file that was never marked", case.file));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn locked_genres_and_other_names_of_a_genre_are_respected() {
    struct Case {
        content: &'static str,
        /// The predicted genres that are added; `None` if the file is locked.
        new: Option<&'static [&'static str]>,
    }
    let predicted: &[&str] = &["Sci-Fi", "Fantasy", "Music", "Sport", "Reality-TV"];
    let cases = [
        Case { content: "<lockdata>true</lockdata>", new: None },
        Case { content: "<lockdata> True </lockdata>", new: None },
        Case { content: "<lockedfields>Name|Genres</lockedfields>", new: None },
        Case { content: "<lockedfields>genres</lockedfields>", new: None },
        Case { content: "<lockdata>false</lockdata>", new: Some(predicted) },
        Case { content: "<lockedfields>Name|Cast</lockedfields>", new: Some(predicted) },
        Case { content: "<genre>Science Fiction</genre>", new: Some(&["Fantasy", "Music", "Sport", "Reality-TV"]) },
        Case { content: "<genre>science-fiction</genre>", new: Some(&["Fantasy", "Music", "Sport", "Reality-TV"]) },
        Case { content: "<genre>Sci-Fi &amp; Fantasy</genre>", new: Some(&["Music", "Sport", "Reality-TV"]) },
        Case { content: "<genre>SF, Fantasy</genre>", new: Some(&["Music", "Sport", "Reality-TV"]) },
        Case { content: "<genre>Sci-Fi|Fantasy</genre>", new: Some(&["Music", "Sport", "Reality-TV"]) },
        Case { content: "<genre>Sports</genre><genre>Reality</genre>", new: Some(&["Sci-Fi", "Fantasy", "Music"]) },
        // Two genres of IMDb.
        Case { content: "<genre>Musical</genre>", new: Some(predicted) },
    ];
    let mut failures = Vec::new();
    for Case { content, new } in cases {
        let file = format!("<movie>{content}</movie>");
        let change = add(file.as_bytes(), Path::new("film.nfo"), predicted, false);
        let found = match change {
            Err(NfoError::Locked { .. }) => None,
            change => {
                let genres = read_genres(&after(file.as_bytes(), change));
                Some(genres[read_genres(file.as_bytes()).len()..].to_vec())
            }
        };
        if found != new.map(|new| new.iter().map(ToString::to_string).collect()) {
            failures.push(format!("{content}: {found:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn undo_takes_only_what_is_proven_to_be_ours() {
    struct Case {
        what: &'static str,
        file: &'static str,
        undone: &'static str,
    }
    let cases = [
        Case {
            what: "a program dropped the comments",
            file: "<movie>\n  <genre>War</genre>\n  <genre>Horror</genre>\n</movie>",
            undone: "<movie>\n  <genre>War</genre>\n  <genre>Horror</genre>\n</movie>",
        },
        Case {
            what: "a genre was changed, one added, one deleted",
            file: "<movie>\n  <!--poster-genres added=\"A|B|C\"-->\n  <genre>A</genre>\n  <genre>Mine</genre>\n  \
                   <genre>b</genre>\n  <!--/poster-genres-->\n</movie>",
            undone: "<movie>\n  <genre>Mine</genre>\n  <genre>b</genre>\n</movie>",
        },
        Case {
            what: "a genre was written a second time, one got an attribute",
            file: "<movie>\n  <!--poster-genres added=\"A|B\"-->\n  <genre>A</genre>\n  <genre>A</genre>\n  \
                   <genre clear=\"true\">B</genre>\n  <!--/poster-genres-->\n</movie>",
            undone: "<movie>\n  <genre>A</genre>\n  <genre clear=\"true\">B</genre>\n</movie>",
        },
        Case {
            what: "a comment lists a genre twice",
            file: "<movie><!--poster-genres added=\"A|A\"--><genre>A</genre><!--/poster-genres--></movie>",
            undone: "<movie></movie>",
        },
        Case {
            what: "other elements came between",
            file: "<movie>\n<!--poster-genres added=\"A\"-->\n<year>1</year>\n<set><genre>A</genre></set>\n\n\
                   <genre>A</genre>\n<!--/poster-genres-->\n</movie>",
            undone: "<movie>\n<year>1</year>\n<set><genre>A</genre></set>\n\n</movie>",
        },
        Case {
            what: "the closing comment is gone",
            file: "<movie>\n  <!--poster-genres added=\"A\"-->\n  <genre>A</genre>\n</movie>",
            undone: "<movie>\n  <genre>A</genre>\n</movie>",
        },
        Case {
            what: "the opening comment is gone",
            file: "<movie>\n  <genre>A</genre>\n  <!--/poster-genres-->\n</movie>\n<!--poster-genres-->",
            undone: "<movie>\n  <genre>A</genre>\n</movie>\n<!--poster-genres-->",
        },
        Case {
            what: "the block was pasted a second time",
            file: "<movie><!--poster-genres added=\"A\"--><genre>A</genre><!--poster-genres added=\"A\"-->\
                   <genre>A</genre><!--/poster-genres--></movie>",
            undone: "<movie><genre>A</genre></movie>",
        },
        Case {
            what: "an editor indented the file anew",
            file: "<movie>\r\n\t<!-- poster-genres added=\"A\" -->\r\n\t<genre>A</genre>\r\n\
                   \t<!-- /poster-genres -->\r\n\t<year>1</year>\r\n</movie>",
            undone: "<movie>\r\n\t<year>1</year>\r\n</movie>",
        },
        Case {
            what: "the comments are not directly below the root",
            file: "<movie><set><!--poster-genres added=\"A\"--><genre>A</genre><!--/poster-genres--></set></movie>",
            undone: "<movie><set><!--poster-genres added=\"A\"--><genre>A</genre><!--/poster-genres--></set></movie>",
        },
        Case {
            what: "what was set aside is no genre any more",
            file: "<movie><!--poster-genres kept=\"<genre>A</genre><b/>\"--><!--poster-genres kept=\"<genre>\"-->\
                   <!--poster-genres kept=\"</movie><movie>\"--></movie>",
            undone: "<movie><!--poster-genres kept=\"<genre>A</genre><b/>\"--><!--poster-genres kept=\"<genre>\"-->\
                   <!--poster-genres kept=\"</movie><movie>\"--></movie>",
        },
        Case {
            what: "an empty root was filled",
            file: "<movie><year>1</year><!--poster-genres root=\"empty\" added=\"A\"--><genre>A</genre>\
                   <!--/poster-genres--></movie>",
            undone: "<movie><year>1</year></movie>",
        },
        Case {
            what: "a genre was set aside in what was an empty root",
            file: "<movie><!--poster-genres root=\"empty\" added=\"A\"--><genre>A</genre><!--/poster-genres-->\
                   <!--poster-genres kept=\"<genre>B</genre>\"--></movie>",
            undone: "<movie><genre>B</genre></movie>",
        },
        Case {
            what: "a new file was given a plot",
            file: "<movie>\n  <title>T</title>\n  <plot>P</plot>\n  <!--poster-genres file=\"new\" added=\"A\"-->\n  \
                   <genre>A</genre>\n  <!--/poster-genres-->\n</movie>\n",
            undone: "<movie>\n  <title>T</title>\n  <plot>P</plot>\n</movie>\n",
        },
    ];
    let mut failures = Vec::new();
    for case in cases {
        let undone = text(&undone(case.file.as_bytes()));
        if undone != case.undone {
            failures.push(format!("{}: {undone}", case.what));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn replace_hides_the_genres_of_a_person_in_their_places() {
    let file = "<movie>\n <genre>Sci--Fi</genre>\n <year>1</year>\n <genre><![CDATA[A|B]]></genre>\n</movie>\n";
    let replaced = "<movie>\n <!--poster-genres kept=\"<genre>Sci-\\-Fi</genre>\"-->\n <year>1</year>\n \
                    <!--poster-genres kept=\"<genre><![CDATA[A\\|B]]></genre>\"-->\n \
                    <!--poster-genres added=\"War\"-->\n <genre>War</genre>\n <!--/poster-genres-->\n</movie>\n";
    assert_eq!(text(&added(file.as_bytes(), &["War"], true)), replaced);
}

#[test]
fn letters_beyond_the_encoding_become_references() {
    let marked = text(&added(&fixture("latin1.nfo"), &["Küche & Café", "戦争", "KOMÖDIE"], false));
    assert!(
        marked.contains("<genre>K&#252;che &amp; Caf&#233;</genre>\r\n  <genre>&#25126;&#20105;</genre>"),
        "{marked}"
    );
    assert!(!marked.contains("KOM"), "{marked}");
}

#[test]
fn a_new_file_is_deleted_while_nobody_has_changed_it() {
    let news = [
        NewNfo { root: Root::Movie, title: Some("Salt & <Pepper>\u{7} --".to_string()), year: Some(1987) },
        NewNfo { root: Root::TvShow, title: None, year: None },
        NewNfo { root: Root::Movie, title: Some(String::new()), year: Some(0) },
    ];
    for new in news {
        let file = minimal(&new, &PREDICTED);
        assert_eq!(read_genres(&file), ["Horror", "Sci-Fi", "drama"]);
        assert_eq!(undo(&file, Path::new("")).unwrap(), Change::Delete, "{}", text(&file));
        assert_eq!(add(&file, Path::new(""), &[], true).unwrap(), Change::Delete);
        assert_eq!(add(&file, Path::new(""), &PREDICTED, false).unwrap(), Change::Unchanged);
        for replace in [false, true] {
            assert_eq!(added(&file, &OTHERS, replace), minimal(&new, &OTHERS));
        }

        let changed = text(&file).replace("\n</", "\n  <plot>P</plot>\n</").into_bytes();
        let without = undone(&changed);
        assert_eq!(read_genres(&without), [""; 0]);
        assert!(text(&without).contains("<plot>P</plot>"), "{}", text(&without));
        assert_eq!(broken_laws(&without, &PREDICTED, &OTHERS), [""; 0]);
        assert_eq!(added(&changed, &OTHERS, false), added(&without, &OTHERS, false));
    }
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<movie>\n  <title>T</title>\n  \
                    <year>2001</year>\n  <!--poster-genres file=\"new\" added=\"War\"-->\n  <genre>War</genre>\n  \
                    <!--/poster-genres-->\n</movie>\n";
    let new = NewNfo { root: Root::Movie, title: Some("T".to_string()), year: Some(2001) };
    assert_eq!(text(&minimal(&new, &["War"])), expected);
}

#[test]
fn apply_and_revert_read_and_never_write() {
    let new = NewNfo { root: Root::Movie, title: None, year: Some(2001) };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.nfo");
    assert_eq!(apply(&path, &new, &["War"], false).unwrap(), Change::Write(minimal(&new, &["War"])));
    assert_eq!(apply(&path, &new, &[" "], false).unwrap(), Change::Unchanged);
    assert_eq!(revert(&path).unwrap(), Change::Unchanged);
    assert!(!path.exists());

    let Change::Write(marked) = apply(&self::folder().join("kodi.nfo"), &new, &["War"], true).unwrap() else {
        panic!()
    };
    fs::write(&path, marked).unwrap();
    assert_eq!(revert(&path).unwrap(), Change::Write(fixture("kodi.nfo")));

    let message = apply(folder.path(), &new, &["War"], false).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{}: cannot be read", folder.path().display())), "{message}");
}

#[test]
fn the_files_that_kodi_and_jellyfin_read_are_found() {
    struct Case {
        what: &'static str,
        /// The files in the folder, which is called `Folder`.
        existing: &'static [&'static str],
        video: Option<&'static str>,
        common_name: Option<&'static str>,
        location: for<'a> fn(&'a Path, Option<&'a Path>, Option<&'a str>) -> NfoLocation<'a>,
        found: &'static [&'static str],
    }
    fn own<'a>(folder: &'a Path, video: Option<&'a Path>, common_name: Option<&'a str>) -> NfoLocation<'a> {
        NfoLocation::OwnFolder { folder, video, common_name }
    }
    fn shared<'a>(_: &'a Path, video: Option<&'a Path>, common_name: Option<&'a str>) -> NfoLocation<'a> {
        NfoLocation::SharedFolder { video: video.unwrap(), common_name }
    }
    fn show<'a>(folder: &'a Path, _: Option<&'a Path>, _: Option<&'a str>) -> NfoLocation<'a> {
        NfoLocation::Show { folder }
    }
    let film = Some("A.Film.2001.mkv");
    let case =
        |what, existing, video, location, found| Case { what, existing, video, common_name: None, location, found };
    let parts = |what, existing, location, found| Case {
        common_name: Some("Moon"),
        ..case(what, existing, Some("Moon-cd1.avi"), location, found)
    };
    let cases = [
        case("none", &[], film, own, &["A.Film.2001.nfo"]),
        case("general", &["movie.nfo"], film, own, &["movie.nfo"]),
        case("both", &["movie.nfo", "A.Film.2001.nfo", "other.nfo"], film, own, &["A.Film.2001.nfo", "movie.nfo"]),
        case("in capitals", &["A.FILM.2001.NFO"], film, own, &["A.FILM.2001.NFO"]),
        case("one of any name, which Kodi reads", &["grp-film.nfo"], film, own, &["grp-film.nfo"]),
        case("two of any name, which nobody reads", &["a.nfo", "b.nfo"], film, own, &["A.Film.2001.nfo"]),
        case("a trailer's", &["A.Film.2001-trailer.nfo"], film, own, &["A.Film.2001.nfo"]),
        case("another version's", &["B.mkv", "B.nfo", "x.nfo"], film, own, &["B.nfo"]),
        case("the folder's", &["Folder.nfo", "x.nfo"], film, own, &["A.Film.2001.nfo"]),
        case("shared", &["movie.nfo", "B.nfo"], film, shared, &["A.Film.2001.nfo"]),
        case("shared, in capitals", &["A.Film.2001.NFO"], film, shared, &["A.Film.2001.NFO"]),
        case("composed", &["Am\u{e9}lie.nfo"], Some("Ame\u{301}lie.mkv"), shared, &["Am\u{e9}lie.nfo"]),
        case("decomposed", &["Ame\u{301}lie.nfo"], Some("Am\u{e9}lie.mkv"), own, &["Ame\u{301}lie.nfo"]),
        parts("parts", &[], own, &["Moon-cd1.nfo"]),
        parts("parts with a file", &["Moon.nfo"], own, &["Moon.nfo"]),
        parts("parts with both", &["Moon.nfo", "Moon-cd1.nfo"], own, &["Moon-cd1.nfo", "Moon.nfo"]),
        parts("parts with a file, shared", &["Moon.nfo", "x.nfo"], shared, &["Moon.nfo"]),
        case("disc", &[], None, own, &["movie.nfo"]),
        case("disc with a file", &["VIDEO_TS/VIDEO_TS.nfo"], None, own, &["VIDEO_TS/VIDEO_TS.nfo"]),
        case("disc with the folder's name", &["Folder.nfo", "x.nfo"], None, own, &["Folder.nfo"]),
        case("series", &["tvshow.nfo"], None, show, &["tvshow.nfo"]),
        case("series in capitals", &["tvshow.NFO"], None, show, &["tvshow.NFO"]),
        case("series without one", &["movie.nfo"], None, show, &[]),
    ];
    for case in cases {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("Folder");
        fs::create_dir_all(folder.join("VIDEO_TS")).unwrap();
        for name in case.existing {
            fs::write(folder.join(name), "").unwrap();
        }
        let video = case.video.map(|video| folder.join(video));
        let expected: Vec<_> = case.found.iter().map(|name| folder.join(name)).collect();
        let found = nfo_paths((case.location)(&folder, video.as_deref(), case.common_name));
        assert_eq!(found, expected, "{}", case.what);
    }
}

/// Generated files are the same in every run, so that a failure in CI can be reproduced.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() })
}

/// An NFO file of pieces that the programs write, in any supported encoding.
fn nfo_file() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "<title>T &amp; é</title>",
        "<title/>",
        "<genre>Drama</genre>",
        "<genre>Action / horror</genre>",
        "<genre clear=\"true\">Sci-Fi</genre>",
        "<genre/>",
        "<genre></genre>",
        "<genre> War<!-- -->s </genre>",
        "<genre><![CDATA[A--B|\\]]></genre>",
        "<genre>&#x41;ction&sf;</genre>",
        "<k:genre>No</k:genre>",
        "<set>\n<name>S</name><genre>Horror</genre></set>",
        "<plot><![CDATA[</movie><genre>No</genre>]]></plot>",
        "<plot>x > y\r\n\r\n  z</plot>",
        "<!-- note -->",
        "<!---->",
        "<!-- poster-genres -->",
        "<?pi genre?>",
        "words",
        "&amp;",
    ];
    let layout = (select(vec!["\n", "\r\n", "", "\r"]), select(vec!["", " ", "  ", "    ", "\t"]));
    let head = select(vec!["", "<!-- one -->", "<!DOCTYPE movie [<!ENTITY sf '-'>]>\n"]);
    let root = (select(vec!["movie", "tvshow", "Movie"]), select(vec!["", " ", " a='1 > 2'", " xmlns=\"x:y\""]));
    // `None` is an empty root element. Four of five pieces begin a line.
    let content = proptest::option::weighted(0.9, vec((proptest::bool::weighted(0.8), select(pieces)), 0..8));
    let closing = select(vec!["", " "]);
    let tail = select(vec!["", "\n", "\r\nhttps://example.org/?a=1&b=2", " <!-- end -->\n", " > \0"]);
    (layout, head, root, content, closing, tail, 0..6).prop_map(
        |((newline, indentation), head, (root, attribute), content, closing, tail, encoding)| {
            let line_start = if newline.is_empty() { String::new() } else { format!("{newline}{indentation}") };
            let element = match content {
                None => format!("<{root}{attribute}/>"),
                Some(pieces) => {
                    let line = |(begins_line, piece): (bool, &str)| {
                        format!("{}{piece}", if begins_line { line_start.as_str() } else { "" })
                    };
                    let content: String = pieces.into_iter().map(line).collect();
                    format!("<{root}{attribute}>{content}{newline}</{root}{closing}>")
                }
            };
            let text = format!("{head}{element}{tail}");
            let declared = |encoding: &str| format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>{newline}{text}");
            match encoding {
                0 => text.into_bytes(),
                1 => declared("UTF-8").into_bytes(),
                2 => format!("\u{FEFF}{}", declared("utf-8")).into_bytes(),
                3 => format!("\u{FEFF}{}", declared("utf-16")).encode_utf16().flat_map(u16::to_le_bytes).collect(),
                4 => format!("\u{FEFF}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => declared("iso-8859-1").chars().map(|letter| letter as u8).collect(),
            }
        },
    )
}

fn genre_list() -> impl Strategy<Value = Vec<&'static str>> {
    let names =
        vec!["Action", "Drama", "HORROR", "Sci-Fi", "War", "--", "-", "<b>", "]]>", "\\", "é", "戦争", " ", "\"--\""];
    vec(select(names), 0..5)
}

#[test]
fn undo_inverts_add_and_add_is_idempotent() {
    let cases = (nfo_file(), genre_list(), genre_list());
    let result = runner(4000).run(&cases, |(file, first, second)| {
        let broken = broken_laws(&file, &first, &second);
        prop_assert!(broken.is_empty(), "{broken:?}, {first:?}, {second:?}, {}", text(&file));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Damage to the bytes of a file.
#[derive(Clone, Debug)]
enum Damage {
    Delete { start: Index, len: usize },
    Duplicate { start: Index, len: usize, target: Index },
    Overwrite { at: Index, byte: u8 },
}

impl Damage {
    fn strategy() -> impl Strategy<Value = Self> {
        prop_oneof![
            (any::<Index>(), 0..40_usize).prop_map(|(start, len)| Self::Delete { start, len }),
            (any::<Index>(), 0..40_usize, any::<Index>()).prop_map(|(start, len, target)| Self::Duplicate {
                start,
                len,
                target
            }),
            (any::<Index>(), select(b"<>!-|\\\"/ A".to_vec())).prop_map(|(at, byte)| Self::Overwrite { at, byte }),
        ]
    }

    fn apply(&self, file: &mut Vec<u8>) {
        if file.is_empty() {
            return;
        }
        let range = |start: &Index, len: usize, file: &[u8]| {
            let start = start.index(file.len());
            start..(start + len).min(file.len())
        };
        match self {
            Self::Delete { start, len } => drop(file.drain(range(start, *len, file))),
            Self::Duplicate { start, len, target } => {
                let range = range(start, *len, file);
                let target = target.index(range.start + 1);
                let piece = file[range].to_vec();
                drop(file.splice(target..target, piece));
            }
            Self::Overwrite { at, byte } => {
                let at = at.index(file.len());
                file[at] = *byte;
            }
        }
    }
}

/// However a marked file was damaged, adding to it is adding to it undone, and undoing it twice is undoing it once.
#[test]
fn the_laws_hold_for_files_with_damaged_marks() {
    let (refused, accepted) = (Cell::new(0), Cell::new(0));
    let damage = vec(Damage::strategy(), 1..4);
    let cases = (nfo_file(), genre_list(), any::<bool>(), damage, genre_list());
    let result = runner(4000).run(&cases, |(original, genres, replace, damage, second)| {
        let mut file = added(&original, &genres, replace);
        damage.iter().for_each(|damage| damage.apply(&mut file));
        match (undo(&file, Path::new("")), add(&file, Path::new(""), &second, false)) {
            (Ok(change), Ok(other)) => {
                accepted.set(accepted.get() + 1);
                let (undone_once, added_once) = (after(&file, Ok(change)), after(&file, Ok(other)));
                let same = added(&undone_once, &second, false) == added_once && undone(&undone_once) == undone_once;
                let again = added(&added_once, &second, false) == added_once && undone(&added_once) == undone_once;
                prop_assert!(same && again, "{second:?}, {}", text(&file));
            }
            _ => refused.set(refused.get() + 1),
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let (refused, accepted) = (refused.get(), accepted.get());
    assert!(refused > 500 && accepted > 500, "{refused} refused, {accepted} accepted");
}
