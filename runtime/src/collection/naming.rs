//! Naming conventions of media libraries: extensions, artwork, extras, seasons, parts and versions of a film, and the
//! title and year in a name. Nothing here accesses the file system.
//!
//! The conventions are those of three programs and one tool:
//!
//! * Jellyfin: <https://jellyfin.org/docs/general/server/media/movies/> and, because it is more precise, its source:
//!   `LocalImageProvider.cs` (names of posters), `BaseItem.cs` (extensions of images), `NamingOptions.cs` (extensions
//!   of videos, parts, extras), `VideoListResolver.cs` (versions), `SeasonPathParser.cs`, `IgnorePatterns.cs`.
//! * Kodi: <https://kodi.wiki/view/Artwork> and `CVideoInfoScanner::AddLocalItemArtwork` in its source.
//! * Plex: <https://support.plex.tv/articles/200220677-local-media-assets-movies/>.
//! * Kometa: <https://kometa.wiki/en/latest/kometa/guides/assets/>.
//!
//! Functions whose argument is called `key` want what [`key`] returns, or a part of it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::error::one_line;

/// A regular expression that is compiled once.
macro_rules! pattern {
    ($pattern:expr) => {{
        static PATTERN: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("the pattern is valid"));
        &*PATTERN
    }};
}

pub mod series;

/// Extensions of the pictures that can be read, in Jellyfin's order: of two posters of one name the earlier is taken.
/// `.tbn` is what old versions of Kodi call a JPEG or PNG; all three programs still read it.
pub const IMAGE_EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "tbn"];

/// Names of posters that are not named after their film, in Jellyfin's order. Kodi knows the first two, Plex all.
pub const POSTER_WORDS: [&str; 5] = ["poster", "folder", "cover", "default", "movie"];

/// Names of posters of a series that are not named after it, in Jellyfin's order.
pub const SHOW_POSTER_WORDS: [&str; 5] = ["poster", "folder", "cover", "default", "show"];

/// Jellyfin's list but for `ogg`, which is a film's theme music rather than a film, and with `disc`, the stub that
/// stands for a disc on a shelf.
const VIDEO_EXTENSIONS: &[&str] = &[
    "001", "3g2", "3gp", "amv", "asf", "asx", "avi", "bin", "bivx", "disc", "divx", "dv", "dvr-ms", "f4v", "fli",
    "flv", "ifo", "img", "iso", "m2t", "m2ts", "m2v", "m4v", "mk3d", "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts",
    "mxf", "nrg", "nsv", "nuv", "ogm", "ogv", "pva", "qt", "rec", "rm", "rmvb", "strm", "svq3", "tp", "ts", "ty",
    "viv", "vob", "vp3", "webm", "wmv", "wtv", "xvid",
];

/// Kodi's and Jellyfin's kinds of artwork that are no posters.
const ARTWORK: &[&str] = &[
    "fanart",
    "backdrop",
    "background",
    "art",
    "banner",
    "landscape",
    "thumb",
    "logo",
    "clearlogo",
    "clearart",
    "disc",
    "discart",
    "cdart",
    "keyart",
    "characterart",
    "extrafanart",
    "back",
    "spine",
];

/// Folders of a file system, a recycle bin, a NAS or a program that is not done with them; those that begin with a dot
/// are hidden anyway. Sources: the manuals of Synology, QNAP, NetApp, Samba's `vfs_shadow_copy2`, Apple, SABnzbd.
const SYSTEM_FOLDERS: &[&str] = &[
    "@eadir",
    "eadir",
    "@tmp",
    "@recycle",
    "@recently-snapshot",
    "@snapshot",
    "@snapshots",
    "@transcode",
    "@sharebin",
    "@sharesnap",
    "@upload_cache",
    "@download",
    "@appstore",
    "@database",
    "@__thumb",
    "#recycle",
    "#snapshot",
    "#snapshots",
    "~snapshot",
    "$recycle.bin",
    "recycler",
    "recycled",
    "$extend",
    "lost+found",
    "lost.dir",
    "system volume information",
    "network trash folder",
    "temporary items",
    "thevolumesettingsfolder",
    "__macosx",
    "__admin__",
];

/// Beginnings of such folders' names.
const SYSTEM_PREFIXES: &[&str] = &["@syno", "@gmt-", "_unpack_", "_failed_", "found.0", "recycle bin - "];

/// Folders of things that come with a film, as Jellyfin, Emby, Kodi and Plex call them, and as release groups do.
const EXTRAS_FOLDERS: &[&str] = &[
    "extras",
    "extra",
    "featurettes",
    "featurette",
    "behind the scenes",
    "making of",
    "deleted scenes",
    "deleted",
    "interviews",
    "interview",
    "scenes",
    "scene",
    "shorts",
    "specials",
    "trailers",
    "trailer",
    "teasers",
    "clips",
    "other",
    "bonus",
    "bonus disc",
    "samples",
    "sample",
    "proof",
    "proofs",
    "covers",
    "cover",
    "screens",
    "screenshots",
    "screencaps",
    "scans",
    "artwork",
    "posters",
    "fanart",
    "images",
    "metadata",
    "nfo",
    "subs",
    "sub",
    "subtitles",
    "vobsub",
    "vobsubs",
    "soundtrack",
    "ost",
    "featurettes and extras",
];

/// Folders among them that no film and no shelf is called.
const PURE_EXTRAS_FOLDERS: &[&str] = &[
    "extrafanart",
    "extrathumbs",
    "backdrops",
    "theme-music",
    "certificate",
    "audio_ts",
    "jacket_p",
    "plex versions",
    "trickplay",
];

/// A film's title and, if the name tells it, the year of its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// One line, without tags, separators and words about the file's quality.
    pub title: String,
    /// 1888 to 2039.
    pub year: Option<u16>,
}

/// One part of a film that is spread over several files.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// The common beginning of the parts' names.
    pub base: String,
    /// `cd`, `dvd`, `part`, `pt`, `disc` or `disk`; the parts of one film agree in it.
    pub kind: String,
}

/// A name as it is compared: composed (NFC; a Mac decomposes what others do not) and in lower case. Bytes that are not
/// UTF-8 are written as `\xff`, so that names that differ in them stay different.
pub fn key(name: &OsStr) -> String {
    match name.to_str() {
        Some(name) => composed(name).to_lowercase(),
        None => name.as_encoded_bytes().escape_ascii().to_string().to_lowercase(),
    }
}

/// A text in Unicode's composed form, NFC.
pub fn composed(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { text.into() } else { text.nfc().collect::<String>().into() }
}

/// A text in Unicode's decomposed form, NFD, as a Mac writes names.
pub fn decomposed(text: &str) -> String {
    text.nfd().collect()
}

/// A file name without its extension, and the extension.
pub fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or((name, ""))
}

/// The rank of a picture's extension in [`IMAGE_EXTENSIONS`]; `None` if the file is no picture.
pub fn image_rank(key: &str) -> Option<usize> {
    IMAGE_EXTENSIONS.iter().position(|&extension| extension == split(key).1)
}

/// Whether a file is a video, whatever it shows.
pub fn is_video(key: &str) -> bool {
    VIDEO_EXTENSIONS.contains(&split(key).1)
}

/// Whether a video, named without extension, is a trailer, a sample, an anime's creditless opening or the like.
pub fn is_extra(key: &str) -> bool {
    const SUFFIXES: &[&str] = &[
        "-scene",
        "-clip",
        "-interview",
        "-behindthescenes",
        "-deleted",
        "-deletedscene",
        "-featurette",
        "-short",
        "-extra",
        "-other",
    ];
    pattern!(r"(?:^|[-._ ])(?:trailer|sample|nc(?:op|ed))\d*[a-z]?$").is_match(without_tags(key).trim())
        || SUFFIXES.iter().any(|suffix| key.ends_with(suffix))
}

/// Whether a folder's or file's name says that it is not to be seen.
pub fn is_hidden(key: &str) -> bool {
    key.starts_with('.')
}

/// Whether a folder is the system's, a NAS's, or of a download that is not done.
pub fn is_system_folder(key: &str) -> bool {
    SYSTEM_FOLDERS.contains(&key) || SYSTEM_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Files by whose name a folder is left out: Kodi's of any content, Jellyfin's if it is empty. Otherwise the latter holds
/// globs, which are those of other programs, too.
pub const IGNORE_FILES: [(&str, bool); 2] = [(".nomedia", false), (".ignore", true)];

/// Whether a folder may hold extras of the film above it. Some of these names are titles or shelves, too.
pub fn is_extras_folder(key: &str) -> bool {
    EXTRAS_FOLDERS.contains(&key) || is_pure_extras_folder(key)
}

/// Whether a folder holds extras wherever it lies. `NAME.trickplay` holds Jellyfin's preview pictures.
pub fn is_pure_extras_folder(key: &str) -> bool {
    PURE_EXTRAS_FOLDERS.contains(&key) || key.ends_with(".trickplay")
}

/// Whether a folder or file is a disc's structure, and with everything in it belongs to the film above it.
pub fn is_disc(key: &str) -> bool {
    ["video_ts", "bdmv", "hvdvd_ts", "video_ts.ifo"].contains(&key)
}

/// Whether a folder may hold one of a film's discs. It may be a hard disk just as well.
pub fn is_part_folder(key: &str) -> bool {
    pattern!(r"^(?:cd|dvd|part|pt|dis[ck])[ _.\-]*\d+$").is_match(key)
}

/// The kind of artwork that a picture, named without extension, is by its name: `fanart2` and `Alien-fanart` are
/// `fanart`. `None` for posters and anything else.
pub fn artwork(key: &str) -> Option<&'static str> {
    let word = key.rsplit(['-', '_', '.']).find(|part| !part.bytes().all(|byte| byte.is_ascii_digit()))?;
    let word = word.trim_end_matches(|digit: char| digit.is_ascii_digit());
    ARTWORK.iter().copied().find(|&kind| kind == word)
}

/// Whether a picture, named without extension, is called by its kind alone: `poster`, `folder2`, `show`.
pub fn is_poster_word(key: &str) -> bool {
    let key = numbered(key).map_or(key, |(name, _)| name);
    POSTER_WORDS.contains(&key) || SHOW_POSTER_WORDS.contains(&key)
}

/// A name without the number of an alternate poster, and the number: `poster2`, `poster-2` and `Alien-2`, as Plex
/// counts them. Not `Alien2`, which is another film.
pub fn numbered(key: &str) -> Option<(&str, u8)> {
    let name = key.trim_end_matches(|digit: char| digit.is_ascii_digit());
    // More than two digits do not fit or are a year.
    let number = Some(&key[name.len()..]).filter(|digits| digits.len() < 3)?.parse().ok()?;
    let ends_with_word = || POSTER_WORDS.iter().chain(&SHOW_POSTER_WORDS).any(|word| name.ends_with(word));
    match name.strip_suffix('-') {
        Some(name) => Some((name, number)),
        None => ends_with_word().then_some((name, number)),
    }
}

/// The part of a picture's name, without extension, that may be a title: `Alien` of `Alien-poster`, none of `fanart`.
pub fn named_after(stem: &str) -> Option<&str> {
    let plain = numbered(stem).map_or(stem, |(name, _)| name);
    let (name, word) = plain.rsplit_once(['-', '_']).unwrap_or(("", plain));
    let word = word.to_lowercase();
    match is_poster_word(&word) || artwork(&word).is_some() {
        true => Some(name).filter(|name| !name.is_empty()),
        false => Some(stem),
    }
}

/// Takes a video's name, without extension, apart into film and part (Jellyfin's stacking rule): `Alien-cd1`,
/// `Alien (1979) part 2`, `Alien.disc.a`. One such name alone proves nothing: *Dune: Part 2* is a film.
pub fn part(stem: &str) -> Option<Part> {
    let pattern =
        pattern!(r"(?is)^(?:(.*?)(?:([\])}])|[ _.\-]+))?[(\[]?(cd|dvd|part|pt|dis[ck])[ _.\-]*(?:\d+|[a-d])[)\]]?$");
    let found = pattern.captures(stem)?;
    let text = |group| found.get(group).map_or("", |text| text.as_str());
    Some(Part { base: format!("{}{}", text(1), text(2)), kind: text(3).to_lowercase() })
}

/// Whether a video is a version of the film that its folder is named after (Jellyfin's rule): the name, without
/// extension, begins with the folder's name, and behind it comes nothing, ` - ` and anything, `[tags]`, `{tags}`,
/// words about the file's quality, or the kind of 3D (`.3D.HSBS`).
pub fn is_version(key: &str, folder_key: &str) -> bool {
    // Identifiers may stand in the folder's name alone.
    [folder_key, without_tags(folder_key).trim()].into_iter().filter(|name| !name.is_empty()).any(|name| {
        key.strip_prefix(name).map(|rest| QUALITY.replace(rest, "")).is_some_and(|rest| {
            let rest = pattern!(r"^[ ._\-]+3d(?:[ ._\-]+(?:(?:half|full|[hf])?[ ._\-]*(?:sbs|tab|ou)|mvc))?$")
                .replace(rest.trim_end(), "");
            let rest = rest.trim();
            // A number alone is that of a part, a sequel or an episode.
            rest.is_empty() || (rest.starts_with(['-', '[', '{']) && !pattern!(r"^[-\s]*\d+$").is_match(rest))
        })
    })
}

/// Whether a picture, named without extension, bears a whole name of a film: `Title (Year)`, with or without tags.
pub fn is_titled(stem: &str) -> bool {
    pattern!(r"(?s)^.*\S ?\((?:18|19|20)\d{2}\)$").is_match(without_tags(stem).trim())
}

/// Reads the title and the year from the name of a folder, or from a video's name without extension.
///
/// `Title (2010) [tmdbid-1] {edition-Final Cut}` and `Title.2010.1080p.BluRay.x264-GRP` both are *Title* of 2010. Of
/// several years the last counts, and one at the very beginning never does: *2012* of 2009, *1917*. Years after 2039
/// are part of the title: *Blade Runner 2049*.
pub fn title(name: &str) -> Title {
    let name = &*composed(name);
    let bracketed = pattern!(r"(?s)^(.*\S.*)[(\[](\d{4})[)\]]").captures(name);
    let untagged = without_tags(name);
    let bare = pattern!(r"(?s)^(.+)[ ._\-]+(\d{4})(?:[ ._,\-(){}]|$)").captures(&untagged);
    for found in [bracketed, bare].into_iter().flatten() {
        let (title, year) = (tidy(&found[1]), found[2].parse().ok().filter(|year| (1888..2040).contains(year)));
        if year.is_some() && !title.is_empty() {
            return Title { title, year };
        }
    }
    Title { title: Some(tidy(name)).filter(|title| !title.is_empty()).unwrap_or_else(|| one_line(name)), year: None }
}

/// Words that release groups and Jellyfin's versions put behind the title, and everything behind them.
static QUALITY: LazyLock<Regex> = LazyLock::new(|| {
    let words = concat!(
        r"(?:2160|1080|720|576|480)[pi]|4k|uhd|hdr(?:10)?|blu-?ray|brrip|bdrip|remux|dvd(?:rip|scr)?|",
        r"web-?(?:dl|rip)|hdtv|hdrip|x26[45]|h\.?26[45]|hevc|xvid|divx",
    );
    Regex::new(&format!(r"(?is)[ ._\-(\[]+(?:{words})(?:[ ._\-)\]].*)?$")).expect("the pattern is valid")
});

fn tidy(name: &str) -> String {
    let untagged = without_tags(name);
    // The film *[REC]* is nothing but a tag.
    let name = if untagged.trim().is_empty() { name } else { &untagged };
    let name = QUALITY.replace(name.trim(), "");
    let is_acronym = name.split('.').all(|letter| letter.chars().count() <= 1);
    let name = if name.contains(' ') || is_acronym { name.into_owned() } else { name.replace(['.', '_'], " ") };
    one_line(&pattern!(r"(?:\s-|[\s_,(\[])+$").replace(&name, ""))
}

fn without_tags(name: &str) -> String {
    pattern!(r"\[[^\]]*\]|\{[^}]*\}").replace_all(name, "").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_and_years_are_read_from_names() {
        let cases: &[(&str, &str, Option<u16>)] = &[
            ("Alien (1979)", "Alien", Some(1979)),
            ("Alien 1979", "Alien", Some(1979)),
            ("Alien", "Alien", None),
            ("Alien [1979]", "Alien", Some(1979)),
            ("Alien (1979) [tmdbid-348] {edition-Final Cut}", "Alien", Some(1979)),
            ("Alien {tmdb-2001} (1979) - 2160p", "Alien", Some(1979)),
            ("Alien (1979) - [Director's Cut]", "Alien", Some(1979)),
            ("Alien.1979.1080p.BluRay.x264-GRP", "Alien", Some(1979)),
            ("Alien_1979_720p", "Alien", Some(1979)),
            ("Alien.1080p.x265", "Alien", None),
            ("The.Quiet.Man.1952.DVDRip.XviD", "The Quiet Man", Some(1952)),
            ("2012 (2009)", "2012", Some(2009)),
            ("2012.2009.1080p", "2012", Some(2009)),
            ("1917", "1917", None),
            ("1917 (2019)", "1917", Some(2019)),
            ("1917.2019.2160p.UHD", "1917", Some(2019)),
            ("2001 A Space Odyssey", "2001 A Space Odyssey", None),
            ("2001.A.Space.Odyssey.1968.1080p", "2001 A Space Odyssey", Some(1968)),
            ("Blade Runner 2049", "Blade Runner 2049", None),
            ("Blade Runner 2049 (2017)", "Blade Runner 2049", Some(2017)),
            ("Blade.Runner.2049.2017.1080p.WEB-DL", "Blade Runner 2049", Some(2017)),
            ("Blade.Runner.2049.1080p", "Blade Runner 2049", None),
            ("(500) Days of Summer (2009)", "(500) Days of Summer", Some(2009)),
            ("[REC] (2007)", "[REC]", Some(2007)),
            ("[REC]", "[REC]", None),
            ("[Group] Akira (1988) [1080p]", "Akira", Some(1988)),
            ("S.W.A.T.2003.1080p", "S.W.A.T", Some(2003)),
            ("Mr. Nobody (2009)", "Mr. Nobody", Some(2009)),
            ("Monsters, Inc.", "Monsters, Inc.", None),
            ("Matrix, The (1999)", "Matrix, The", Some(1999)),
            ("Amélie (2001)", "Amélie", Some(2001)),
            ("Ame\u{301}lie (2001)", "Amélie", Some(2001)),
            ("七人の侍 (1954)", "七人の侍", Some(1954)),
            ("A\nB (2010)", "A B", Some(2010)),
            ("-30- (1959)", "-30-", Some(1959)),
            ("(2010)", "(2010)", None),
            ("1080p", "1080p", None),
            ("", "", None),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .map(|&(name, title, year)| (name, Title { title: title.into(), year }, super::title(name)))
            .filter(|(_, expected, read)| expected != read)
            .collect();
        assert!(wrong.is_empty(), "name, expected, read: {wrong:#?}");
    }

    #[test]
    fn names_are_told_apart() {
        type Test = fn(&str) -> bool;
        let cases: &[(&str, Test, &[&str], &[&str])] = &[
            (
                "extras",
                is_extra,
                &[
                    "alien-trailer",
                    "alien.sample",
                    "trailer",
                    "x-behindthescenes",
                    "alien trailer2",
                    "[g] x - ncop1 [1080p]",
                ],
                &["alien", "trailer park", "short", "the other"],
            ),
            (
                "folders of the system",
                is_system_folder,
                &[
                    "@eadir",
                    "#snapshot",
                    "#snapshots",
                    "#recycle",
                    "@recycle",
                    "@recently-snapshot",
                    "$recycle.bin",
                    "lost+found",
                    "__macosx",
                    "@tmp",
                    "@synoeastream",
                    "~snapshot",
                    "@snapshots",
                    "found.001",
                    "recycle bin - volume_1",
                    "_unpack_film.2001",
                    "@gmt-2024.01.01-00.00.00",
                ],
                &["#alive (2020)", "@ (2001)", "snapshot", "found (2012)", "recycle bin", "tmp"],
            ),
            (
                "folders of extras",
                is_extras_folder,
                &["extras", "covers", "proof", "subs", "film (2001).trickplay", "behind the scenes", "trickplay"],
                &["extras (2005)", "the cover", "film", "season 1"],
            ),
            (
                "season pictures",
                series::is_season_picture,
                &[
                    "season01-poster",
                    "season-all-poster",
                    "season-specials-poster",
                    "show_season01",
                    "season01",
                    "season01b",
                ],
                &["season of the witch-poster", "poster", "open season-poster"],
            ),
            (
                "folders of parts",
                is_part_folder,
                &["cd1", "disc 2", "part.2", "disk1"],
                &["cd", "discovery", "part", "party 2"],
            ),
            (
                "artwork",
                |key| artwork(key).is_some(),
                &["fanart", "fanart2", "backdrop-3", "alien-fanart", "alien-thumb1", "clearlogo", "alien_background"],
                &["poster", "alien", "artist", "heart", "2"],
            ),
            (
                "titled pictures",
                is_titled,
                &["Alien (1979)", "Alien(1979)", "2012 (2009) {tmdb-1}", "(500) Days of Summer (2009)"],
                &["Alien", "Alien 1979", "Alien (1979)-fanart", "Alien (1979)_background", "(1979)", "Alien (1080)"],
            ),
            (
                "versions",
                |key| is_version(key, "alien (1979) [tmdbid-348]"),
                &[
                    "alien (1979)",
                    "alien (1979) [tmdbid-348] - 1080p",
                    "alien (1979) - 4k",
                    "alien (1979)-director",
                    "alien (1979) [1080p]",
                    "alien (1979) {edition-x}",
                    "alien (1979) 1080p",
                    "alien (1979).3d",
                    "alien (1979).3d.h-sbs.1080p",
                ],
                &[
                    "alien (1979) 2",
                    "alien (1979) - 2",
                    "alien (1979) 3d ants",
                    "alien",
                    "aliens (1986)",
                    "alien (1979)x",
                ],
            ),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .flat_map(|&(what, test, yes, no)| {
                let yes = yes.iter().filter(move |name| !test(name)).map(move |name| format!("{what}: not {name}"));
                let no = no.iter().filter(move |name| test(name)).map(move |name| format!("{what}: {name}"));
                yes.chain(no)
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn parts_have_a_base_in_common() {
        let cases: &[(&str, Option<(&str, &str)>)] = &[
            ("Alien-cd1", Some(("Alien", "cd"))),
            ("Alien (1979) Part 2", Some(("Alien (1979)", "part"))),
            ("Alien (1979)pt1", Some(("Alien (1979)", "pt"))),
            ("Alien.disc.a", Some(("Alien", "disc"))),
            ("Alien [disk 1]", Some(("Alien", "disk"))),
            ("CD1", Some(("", "cd"))),
            ("Alien 2", None),
            ("Alien compart 2", None),
            ("Descd1", None),
        ];
        let expected = |found: &Option<(&str, &str)>| {
            found.map(|(base, kind)| Part { base: base.to_string(), kind: kind.to_string() })
        };
        let wrong: Vec<_> =
            cases.iter().map(|(name, found)| (name, expected(found), part(name))).filter(|(_, a, b)| a != b).collect();
        assert!(wrong.is_empty(), "name, expected, found: {wrong:#?}");
    }

    #[test]
    fn a_picture_may_be_named_after_a_film() {
        let cases = [
            ("Alien", Some("Alien")),
            ("Alien-2", Some("Alien-2")),
            ("Alien (1979)-Poster2", Some("Alien (1979)")),
            ("Alien_background", Some("Alien")),
            ("fanart-3", None),
            ("Folder", None),
        ];
        let wrong: Vec<_> = cases.iter().filter(|(stem, expected)| named_after(stem) != *expected).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn numbers_of_alternates_are_taken_off() {
        let cases = [
            ("poster2", Some(("poster", 2))),
            ("poster-2", Some(("poster", 2))),
            ("alien-poster12", Some(("alien-poster", 12))),
            ("alien-2", Some(("alien", 2))),
            ("alien2", None),
            ("alien", None),
            ("poster1979", None),
            ("alien-1979", None),
        ];
        let wrong: Vec<_> = cases.iter().filter(|(name, expected)| numbered(name) != *expected).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[cfg(unix)]
    #[test]
    fn keys_of_different_names_differ() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(key(OsStr::new("Ärger.JPG")), "ärger.jpg");
        assert_eq!(key(OsStr::new("A\u{308}rger.JPG")), "ärger.jpg");
        assert_ne!(key(OsStr::from_bytes(b"A\xff.jpg")), key(OsStr::from_bytes(b"A\xfe.jpg")));
        assert_eq!(image_rank(&key(OsStr::from_bytes(b"A\xff.JPG"))), Some(1));
    }
}
