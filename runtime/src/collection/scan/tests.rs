//! Scans of collections of empty files, in a table of naming conventions.

use super::*;
use std::fs::File;
use tempfile::TempDir;

/// A collection and the posters in it.
struct Case {
    what: &'static str,
    /// Files, and folders if they end in `/`.
    paths: &'static [&'static str],
    /// Path, title and year (0 if there is none) of each poster, in order.
    posters: &'static [(&'static str, &'static str, u16)],
}

const CASES: &[Case] = &[
    // One film in a folder.
    Case {
        what: "the video's name comes before words (Jellyfin)",
        paths: &[
            "A (2001)/A (2001).mkv",
            "A (2001)/A (2001).jpg",
            "A (2001)/A (2001)-poster.jpg",
            "A (2001)/poster.jpg",
        ],
        posters: &[("A (2001)/A (2001).jpg", "A", 2001)],
    },
    Case {
        what: "the video's name with a word comes before the word (Jellyfin, Kodi)",
        paths: &["A (2001)/A.mkv", "A (2001)/A-poster.jpg", "A (2001)/A-folder.jpg", "A (2001)/poster.jpg"],
        posters: &[("A (2001)/A-poster.jpg", "A", 2001)],
    },
    Case {
        what: "poster before folder before cover before default before movie",
        paths: &[
            "A (2001)/a.mkv",
            "A (2001)/poster.jpg",
            "A (2001)/folder.jpg",
            "B (2002)/b.mkv",
            "B (2002)/folder.jpg",
            "B (2002)/cover.jpg",
            "C (2003)/c.mkv",
            "C (2003)/default.jpg",
            "C (2003)/cover.jpg",
            "D (2004)/d.mkv",
            "D (2004)/default.jpg",
            "D (2004)/movie.jpg",
            "E (2005)/e.mkv",
            "E (2005)/movie.jpg",
        ],
        posters: &[
            ("A (2001)/poster.jpg", "A", 2001),
            ("B (2002)/folder.jpg", "B", 2002),
            ("C (2003)/cover.jpg", "C", 2003),
            ("D (2004)/default.jpg", "D", 2004),
            ("E (2005)/movie.jpg", "E", 2005),
        ],
    },
    Case {
        what: "PNG before JPEG before WebP before .tbn (Jellyfin)",
        paths: &[
            "A/a.mkv",
            "A/poster.jpg",
            "A/poster.png",
            "B/b.mkv",
            "B/poster.webp",
            "B/poster.jpeg",
            "C/c.mkv",
            "C/c.tbn",
            "D/d.mkv",
            "D/poster.gif",
            "D/poster.svg",
        ],
        posters: &[("A/poster.png", "A", 0), ("B/poster.jpeg", "B", 0), ("C/c.tbn", "C", 0)],
    },
    Case {
        what: "upper and lower case do not matter",
        paths: &[
            "A (2001)/Film.MKV",
            "A (2001)/FILM-Poster.JPG",
            "Ä/ÄRGER.mp4",
            "Ä/ärger.Jpg",
            "B/b.mkv",
            "B/POSTER.PNG",
        ],
        posters: &[("A (2001)/FILM-Poster.JPG", "A", 2001), ("B/POSTER.PNG", "B", 0), ("Ä/ärger.Jpg", "Ä", 0)],
    },
    Case {
        what: "the folder's name comes last (Plex)",
        paths: &[
            "A (2001)/a.mkv",
            "A (2001)/A (2001).jpg",
            "B (2002)/b.mkv",
            "B (2002)/B (2002).jpg",
            "B (2002)/movie.jpg",
        ],
        posters: &[("A (2001)/A (2001).jpg", "A", 2001), ("B (2002)/movie.jpg", "B", 2002)],
    },
    Case {
        what: "a numbered alternate only where the plain name is missing (Plex)",
        paths: &[
            "A/a.mkv",
            "A/poster.jpg",
            "A/poster2.jpg",
            "B/b.mkv",
            "B/poster-2.jpg",
            "B/poster-1.png",
            "B/b-3.jpg",
            "C/c.mkv",
            "C/folder.jpg",
            "C/poster1.jpg",
        ],
        posters: &[("A/poster.jpg", "A", 0), ("B/poster-1.png", "B", 0), ("C/folder.jpg", "C", 0)],
    },
    Case {
        what: "artwork is no poster",
        paths: &[
            "A (2001)/A (2001).mkv",
            "A (2001)/A (2001)-fanart.jpg",
            "A (2001)/A (2001)-thumb.jpg",
            "A (2001)/A (2001).nfo",
            "A (2001)/backdrop1.jpg",
            "A (2001)/background.jpg",
            "A (2001)/banner.jpg",
            "A (2001)/clearart.png",
            "A (2001)/clearlogo.png",
            "A (2001)/disc.png",
            "A (2001)/fanart.jpg",
            "A (2001)/fanart2.jpg",
            "A (2001)/keyart.jpg",
            "A (2001)/landscape.jpg",
            "A (2001)/logo.png",
            "A (2001)/thumb.jpg",
        ],
        posters: &[],
    },
    Case {
        what: "the video's name has the year if the folder's has none",
        paths: &["films/alien/Alien.1979.1080p.mkv", "films/alien/poster.jpg"],
        posters: &[("films/alien/poster.jpg", "Alien", 1979)],
    },
    // Folders in a film's folder.
    Case {
        what: "a film's folder may hold other folders if it is named after the film",
        paths: &["Alien (1979)/alien.1979.mkv", "Alien (1979)/poster.jpg", "Alien (1979)/Soundtrack/cover.jpg"],
        posters: &[("Alien (1979)/poster.jpg", "Alien", 1979)],
    },
    Case {
        what: "a folder with a film and folders of others is mixed",
        paths: &[
            "Horror/folder.jpg",
            "Horror/Alien (1979).mkv",
            "Horror/Ring (1998)/r.mkv",
            "Horror/Ring (1998)/poster.jpg",
        ],
        posters: &[("Horror/Ring (1998)/poster.jpg", "Ring", 1998)],
    },
    Case {
        what: "extras are not visited",
        paths: &[
            "A (2001)/a.mkv",
            "A (2001)/poster.jpg",
            "A (2001)/Behind The Scenes/poster.jpg",
            "A (2001)/Trailers/trailer.mkv",
            "A (2001)/Trailers/trailer.jpg",
            "A (2001)/extrafanart/poster.jpg",
            "A (2001)/Other/x/poster.jpg",
            "A (2001)/a-trailer.mp4",
            "A (2001)/a-trailer.jpg",
        ],
        posters: &[("A (2001)/poster.jpg", "A", 2001)],
    },
    Case {
        what: "in the library itself, names of extras are those of films (Jellyfin)",
        paths: &["Other/A (2001)/poster.jpg", "Shorts/poster.jpg", "Films/Shorts/B (2002)/poster.jpg"],
        posters: &[
            ("Films/Shorts/B (2002)/poster.jpg", "B", 2002),
            ("Other/A (2001)/poster.jpg", "A", 2001),
            ("Shorts/poster.jpg", "Shorts", 0),
        ],
    },
    Case {
        what: "a library that is one film's folder has extras",
        paths: &["a.2001.mkv", "poster.jpg", "Extras/poster.jpg", "Subs/x.srt", "a.2001.trickplay/320 - 10x10/0.jpg"],
        posters: &[("poster.jpg", "a", 2001)],
    },
    Case {
        what: "a folder beside a film that holds no film",
        paths: &[
            "A (2001)/a.hill.1080p.mkv",
            "A (2001)/a.hill.1080p.trickplay/320 - 10x10/0.jpg",
            "A (2001)/poster.jpg",
            "B (2002)/b.b.mkv",
            "B (2002)/Covers/front.jpg",
            "B (2002)/Proof/poster.jpg",
            "B (2002)/Whatever/deep/cover.jpg",
            "B (2002)/poster.jpg",
            "C/hill.2003.mkv",
            "C/Sample/hill-sample.mkv",
            "C/Screens/poster.jpg",
            "C/poster.jpg",
            "D (2004)/d.d.mkv",
            "D (2004)/Making Of/x.mkv",
            "D (2004)/Making Of/poster.jpg",
            "D (2004)/Weekend/holiday.mkv",
            "D (2004)/poster.jpg",
        ],
        posters: &[
            ("A (2001)/poster.jpg", "A", 2001),
            ("B (2002)/poster.jpg", "B", 2002),
            ("C/poster.jpg", "hill", 2003),
            ("D (2004)/poster.jpg", "D", 2004),
        ],
    },
    Case {
        what: "the folders of a film's parts (Kodi)",
        paths: &[
            "A (2001)/CD1/a.avi",
            "A (2001)/CD2/a.avi",
            "A (2001)/folder.jpg",
            "B (2002)/DVD 1/b.avi",
            "B (2002)/DVD 2/b.avi",
            "B (2002)/DVD 2/poster.jpg",
            "B (2002)/poster.jpg",
        ],
        posters: &[("A (2001)/folder.jpg", "A", 2001), ("B (2002)/poster.jpg", "B", 2002)],
    },
    Case {
        what: "discs belong to the folder above",
        paths: &[
            "A (2001)/VIDEO_TS/VTS_01_1.VOB",
            "A (2001)/VIDEO_TS/poster.jpg",
            "A (2001)/poster.jpg",
            "B (2002)/BDMV/META/poster.jpg",
            "B (2002)/CERTIFICATE/",
            "B (2002)/folder.jpg",
            "C (2003)/Disc 1/VIDEO_TS/x.vob",
            "C (2003)/Disc 1/folder.jpg",
            "C (2003)/Disc 2/VIDEO_TS/x.vob",
            "C (2003)/C (2003).jpg",
            "D (2004)/VIDEO_TS.IFO",
            "D (2004)/VTS_01_1.VOB",
            "D (2004)/VTS_01_2.VOB",
            "D (2004)/cover.jpg",
        ],
        posters: &[
            ("A (2001)/poster.jpg", "A", 2001),
            ("B (2002)/folder.jpg", "B", 2002),
            ("C (2003)/C (2003).jpg", "C", 2003),
            ("D (2004)/cover.jpg", "D", 2004),
        ],
    },
    Case {
        what: "hard disks are no discs",
        paths: &[
            "disk1/A (2001)/poster.jpg",
            "disk2/films/B (2002)/b.mkv",
            "disk2/films/B (2002)/poster.jpg",
            "folder.jpg",
        ],
        posters: &[("disk1/A (2001)/poster.jpg", "A", 2001), ("disk2/films/B (2002)/poster.jpg", "B", 2002)],
    },
    // Several videos in a folder.
    Case {
        what: "in a mixed folder only the videos' names count",
        paths: &[
            "mixed/A (2001).mkv",
            "mixed/A (2001)-poster.jpg",
            "mixed/A (2001)-fanart.jpg",
            "mixed/B.2002.1080p.mp4",
            "mixed/B.2002.1080p.jpg",
            "mixed/C.avi",
            "mixed/C-folder.png",
            "mixed/D (2004).mkv",
            "mixed/D (2004)-2.jpg",
            "mixed/mixed.jpg",
            "mixed/movie.jpg",
            "mixed/poster.jpg",
            "mixed/unknown.jpg",
        ],
        posters: &[
            ("mixed/A (2001)-poster.jpg", "A", 2001),
            ("mixed/B.2002.1080p.jpg", "B", 2002),
            ("mixed/C-folder.png", "C", 0),
            ("mixed/D (2004)-2.jpg", "D", 2004),
        ],
    },
    Case {
        what: "a sequel's poster is not an alternate of the first film's",
        paths: &["A.mkv", "A-2.mkv", "A-2.jpg", "A-poster.jpg", "A2.mkv", "A2.jpg"],
        posters: &[("A-2.jpg", "A-2", 0), ("A-poster.jpg", "A", 0), ("A2.jpg", "A2", 0)],
    },
    Case {
        what: "a video called like artwork",
        paths: &["x/Art.mkv", "x/art.jpg", "x/Banner.mkv", "x/Poster.mkv", "x/poster.jpg"],
        posters: &[("x/art.jpg", "Art", 0), ("x/poster.jpg", "Poster", 0)],
    },
    Case {
        what: "parts are one film",
        paths: &[
            "A (2001)/A-cd1.avi",
            "A (2001)/A-cd2.avi",
            "A (2001)/folder.jpg",
            "B/B (2002) part1.mkv",
            "B/B (2002) part2.mkv",
            "B/B (2002)-poster.jpg",
            "C/cd1.avi",
            "C/cd2.avi",
            "C/poster.jpg",
            "mixed/D.disc1.mkv",
            "mixed/D.disc2.mkv",
            "mixed/D-poster.jpg",
            "mixed/E.pt1.mkv",
            "mixed/E.pt1.jpg",
            "mixed/poster.jpg",
        ],
        posters: &[
            ("A (2001)/folder.jpg", "A", 2001),
            ("B/B (2002)-poster.jpg", "B", 2002),
            ("C/poster.jpg", "C", 0),
            ("mixed/D-poster.jpg", "D", 0),
            ("mixed/E.pt1.jpg", "E pt1", 0),
        ],
    },
    Case {
        what: "versions are one film if they are named after the folder (Jellyfin)",
        paths: &[
            "A (2001)/A (2001) - 1080p.mkv",
            "A (2001)/A (2001) - 4K.mkv",
            "A (2001)/A (2001) - 4K-poster.jpg",
            "A (2001)/poster.jpg",
            "B (2002) [tmdbid-1]/B (2002) {edition-X}.mkv",
            "B (2002) [tmdbid-1]/B (2002).mkv",
            "B (2002) [tmdbid-1]/poster.jpg",
            "C/C - One (2001).mkv",
            "C/C - Two (2002).mkv",
            "C/poster.jpg",
            "D/D 2.mkv",
            "D/D.mkv",
            "D/poster.jpg",
        ],
        posters: &[("A (2001)/A (2001) - 4K-poster.jpg", "A", 2001), ("B (2002) [tmdbid-1]/poster.jpg", "B", 2002)],
    },
    // No video.
    Case {
        what: "a folder without a video is a film (Kometa's folders)",
        paths: &[
            "assets/A (2001)/background.jpg",
            "assets/A (2001)/poster.png",
            "assets/B (2002)/B (2002).jpg",
            "assets/B (2002)/poster.jpg",
            "assets/C/folder.jpg",
            "assets/D (2004)/Soundtrack/track.mp3",
            "assets/D (2004)/poster.jpg",
        ],
        posters: &[
            ("assets/A (2001)/poster.png", "A", 2001),
            ("assets/B (2002)/B (2002).jpg", "B", 2002),
            ("assets/C/folder.jpg", "C", 0),
            ("assets/D (2004)/poster.jpg", "D", 2004),
        ],
    },
    Case {
        what: "a flat folder of pictures with years (Kometa)",
        paths: &[
            "assets/2012 (2009).jpg",
            "assets/A (2001).jpg",
            "assets/A (2001).png",
            "assets/A (2001)_background.jpg",
            "assets/B (2002) {tmdb-1}.webp",
            "assets/No Year.jpg",
            "assets/S (2003)_Season01.jpg",
            "assets/poster.jpg",
        ],
        posters: &[
            ("assets/2012 (2009).jpg", "2012", 2009),
            ("assets/A (2001).png", "A", 2001),
            ("assets/B (2002) {tmdb-1}.webp", "B", 2002),
        ],
    },
    Case {
        what: "the picture of a collection or category is no film's",
        paths: &[
            "Horror/folder.jpg",
            "Horror/A (2001)/poster.jpg",
            "Horror/Alien Collection/poster.jpg",
            "Horror/Alien Collection/B/b.mkv",
            "folder.jpg",
        ],
        posters: &[("Horror/A (2001)/poster.jpg", "A", 2001)],
    },
    Case {
        what: "a folder that is called like artwork or a picture",
        paths: &["a/Logo/logo.png", "a/b.mkv", "a/poster.jpg/poster.jpg", "c/fanart.jpg", "d/d (2001)/poster.jpg/"],
        posters: &[],
    },
    Case {
        what: "pictures alone, music and photographs are no films",
        paths: &["Photos/img1.jpg", "Photos/img2.jpg", "Music/song.mp3", "Music/back.jpg", "readme.txt"],
        posters: &[],
    },
    // Series.
    Case {
        what: "a series has one poster, seasons and episodes have none",
        paths: &[
            "Show (2010)/Season 01/Show S01E01-thumb.jpg",
            "Show (2010)/Season 01/Show S01E01.jpg",
            "Show (2010)/Season 01/Show S01E01.mkv",
            "Show (2010)/Season 01/poster.jpg",
            "Show (2010)/Specials/folder.jpg",
            "Show (2010)/folder.jpg",
            "Show (2010)/poster.jpg",
            "Show (2010)/season-all-poster.jpg",
            "Show (2010)/season-specials-poster.jpg",
            "Show (2010)/season01-poster.jpg",
        ],
        posters: &[("Show (2010)/poster.jpg", "Show", 2010)],
    },
    Case {
        what: "folders of seasons as people call them",
        paths: &[
            "A/Season 01 - The Beginning/A S01E01.mkv",
            "A/Season 01 - The Beginning/poster.jpg",
            "A/poster.jpg",
            "B (2010)/B.S01.1080p.WEB-GRP/B.S01E01.mkv",
            "B (2010)/B.S01.1080p.WEB-GRP/poster.jpg",
            "B (2010)/poster.jpg",
            "C/1/1.mkv",
            "C/1/2.mkv",
            "C/1/poster.jpg",
            "C/2/1.mkv",
            "C/2/2.mkv",
            "C/poster.jpg",
            "D/Specials/D S00E01.mkv",
            "D/Specials/poster.jpg",
            "D/poster.jpg",
            "E/Saison 1/x.mkv",
            "E/Saison 1/poster.jpg",
            "E/poster.jpg",
            "F/シーズン1/x.mkv",
            "F/poster.jpg",
            "G/Book 2 - Earth/G - 21 - X.mkv",
            "G/Book 2 - Earth/G - 22 - Y.mkv",
            "G/Book 2 - Earth/poster.jpg",
            "G/poster.jpg",
        ],
        posters: &[
            ("A/poster.jpg", "A", 0),
            ("B (2010)/poster.jpg", "B", 2010),
            ("C/poster.jpg", "C", 0),
            ("D/poster.jpg", "D", 0),
            ("E/poster.jpg", "E", 0),
            ("F/poster.jpg", "F", 0),
            ("G/poster.jpg", "G", 0),
        ],
    },
    Case {
        what: "a season that does not lie in its series' folder is the series",
        paths: &[
            "A.Show.S01.1080p.WEB-GRP/A.Show.S01E01.mkv",
            "A.Show.S01.1080p.WEB-GRP/A.Show.S01E02.mkv",
            "A.Show.S01.1080p.WEB-GRP/poster.jpg",
            "B (2002)/b.mkv",
            "B (2002)/poster.jpg",
        ],
        posters: &[("A.Show.S01.1080p.WEB-GRP/poster.jpg", "A Show", 0), ("B (2002)/poster.jpg", "B", 2002)],
    },
    Case {
        what: "a film that is called like a season makes no series of the films beside it",
        paths: &[
            "A (2001)/a.mkv",
            "A (2001)/poster.jpg",
            "B (2002)/b.mkv",
            "B (2002)/poster.jpg",
            "S21 (2003)/s21.mkv",
            "S21 (2003)/poster.jpg",
        ],
        posters: &[
            ("A (2001)/poster.jpg", "A", 2001),
            ("B (2002)/poster.jpg", "B", 2002),
            ("S21 (2003)/poster.jpg", "S21", 2003),
        ],
    },
    Case {
        what: "episodes that are numbered through or dated",
        paths: &[
            "A Hill/A Hill - 001.mkv",
            "A Hill/A Hill - 002.mkv",
            "A Hill/folder.jpg",
            "B/B - 2011-11-10.mkv",
            "B/B - 2011-11-11.mkv",
            "B/poster.jpg",
            "C/[Group] C - 11 [1080p].mkv",
            "C/[Group] C - 12 [1080p].mkv",
            "C/[Group] C - 12 [1080p].jpg",
            "C/cover.jpg",
            "D/D S01E01E02.mkv",
            "D/Extras/poster.jpg",
            "D/Subs/",
            "D/poster.jpg",
            "E/E Part 1 The Start.mkv",
            "E/E Part 2 The End.mkv",
            "E/poster.jpg",
            "D/[Group] D - NCOP [1080p].mkv",
            "F Hill 01.mkv",
            "F Hill 01-poster.jpg",
            "F Hill 02.mkv",
            "F Hill 02-poster.jpg",
        ],
        posters: &[
            ("A Hill/folder.jpg", "A Hill", 0),
            ("B/poster.jpg", "B", 0),
            ("C/cover.jpg", "C", 0),
            ("D/poster.jpg", "D", 0),
            ("E/poster.jpg", "E", 0),
            ("F Hill 01-poster.jpg", "F Hill 01", 0),
            ("F Hill 02-poster.jpg", "F Hill 02", 0),
        ],
    },
    Case {
        what: "episodes of several series make no series of their folder",
        paths: &["x/A S01E01.mkv", "x/B S01E01.mkv", "x/poster.jpg"],
        posters: &[],
    },
    Case {
        what: "tvshow.nfo makes a series, whatever its folders are called",
        paths: &[
            "Show/tvshow.nfo",
            "Show/show.jpg",
            "Show/Erste/1.mkv",
            "Show/Erste/poster.jpg",
            "Show/Erste/A (2001).jpg",
        ],
        posters: &[("Show/show.jpg", "Show", 0)],
    },
    Case {
        what: "a folder of episodes is a series",
        paths: &["Show/Show.S01E01.mkv", "Show/Show.S01E01.jpg", "Show/Show.S01E02.mkv", "Show/poster.jpg"],
        posters: &[("Show/poster.jpg", "Show", 0)],
    },
    Case {
        what: "seasons named after the series, with ordinals and words",
        paths: &[
            "Show/Show 2nd Season/[G] Show 2nd Season - 01.mkv",
            "Show/Show 2nd Season/[G] Show 2nd Season - 02.mkv",
            "Show/Show 2nd Season/poster.jpg",
            "Show/poster.jpg",
            "Hill (2010)/Book One/Hill 1x01.mkv",
            "Hill (2010)/Book One/poster.jpg",
            "Hill (2010)/Season 1 Extras/poster.jpg",
            "Hill (2010)/poster.jpg",
        ],
        posters: &[("Hill (2010)/poster.jpg", "Hill", 2010), ("Show/poster.jpg", "Show", 0)],
    },
    Case {
        what: "a version in 3D (Jellyfin)",
        paths: &["A (2001)/A (2001).mkv", "A (2001)/A (2001).3D.HSBS.mkv", "A (2001)/poster.jpg"],
        posters: &[("A (2001)/poster.jpg", "A", 2001)],
    },
    Case {
        what: "a stray episode makes no series of the folders beside it",
        paths: &["Show S01E01.mkv", "Films/10x10 (2018)/10x10 (2018).mkv", "Films/10x10 (2018)/poster.jpg"],
        posters: &[("Films/10x10 (2018)/poster.jpg", "10x10", 2018)],
    },
    Case {
        what: "an episode among films",
        paths: &["x/A (2001).mkv", "x/A (2001).jpg", "x/B.mkv", "x/Show 1x02.mkv", "x/Show 1x02.jpg"],
        posters: &[("x/A (2001).jpg", "A", 2001)],
    },
    // What is never seen.
    Case {
        what: "hidden things and the system's folders",
        paths: &[
            ".Trash-1000/A (2001)/poster.jpg",
            ".hidden/poster.jpg",
            "#recycle/A/poster.jpg",
            "$RECYCLE.BIN/A/poster.jpg",
            "@eaDir/A/poster.jpg",
            "A (2001)/.poster.jpg",
            "A (2001)/@eaDir/poster.jpg",
            "A (2001)/._a.mkv",
            "A (2001)/a.mkv",
            "A (2001)/folder.jpg",
            "@Recently-Snapshot/GMT+01_2024-01-01/A (2001)/A (2001).mkv",
            "@Recently-Snapshot/GMT+01_2024-01-01/A (2001)/poster.jpg",
            "#snapshot/A/poster.jpg",
            ".zfs/snapshot/A/poster.jpg",
            ".stversions/A/poster.jpg",
            "__MACOSX/A (2001)/poster.jpg",
            "_UNPACK_B (2002)/poster.jpg",
            "System Volume Information/poster.jpg",
            "lost+found/A/poster.jpg",
        ],
        posters: &[("A (2001)/folder.jpg", "A", 2001)],
    },
    Case {
        what: "folders that are left out by a file in them (Jellyfin, Kodi)",
        paths: &[
            "A (2001)/a.mkv",
            "A (2001)/poster.jpg",
            "B (2002)/.ignore",
            "B (2002)/b.mkv",
            "B (2002)/poster.jpg",
            "Home/.nomedia",
            "Home/C (2003)/poster.jpg",
        ],
        posters: &[("A (2001)/poster.jpg", "A", 2001)],
    },
    // The library itself.
    Case {
        what: "a library of loose films",
        paths: &["A (2001).mkv", "A (2001).jpg", "B (2002).mkv", "B (2002).png", "poster.jpg"],
        posters: &[("A (2001).jpg", "A", 2001), ("B (2002).png", "B", 2002)],
    },
    Case {
        what: "a library that is one film's folder",
        paths: &["alien.1979.mkv", "poster.jpg"],
        posters: &[("poster.jpg", "alien", 1979)],
    },
    Case {
        what: "odd names",
        paths: &[
            "-rf (2001)/-rf (2001).mkv",
            "-rf (2001)/-rf (2001)-poster.jpg",
            "100% \"quoted\" 'film' (2002)/poster.jpg",
            "A\nB (2003)/poster.jpg",
            "[REC] (2007)/[REC] (2007).mkv",
            "[REC] (2007)/[REC] (2007).jpg",
            "七人の侍 (1954)/poster.jpg",
            "🎬 (2004)/poster.jpg",
        ],
        posters: &[
            ("-rf (2001)/-rf (2001)-poster.jpg", "-rf", 2001),
            ("100% \"quoted\" 'film' (2002)/poster.jpg", "100% \"quoted\" 'film'", 2002),
            ("A\nB (2003)/poster.jpg", "A B", 2003),
            ("[REC] (2007)/[REC] (2007).jpg", "[REC]", 2007),
            ("七人の侍 (1954)/poster.jpg", "七人の侍", 1954),
            ("🎬 (2004)/poster.jpg", "🎬", 2004),
        ],
    },
    Case {
        what: "names that a Mac has written (NFD) beside names of others (NFC)",
        paths: &["Am\u{e9}lie (2001).mkv", "Ame\u{301}lie (2001)-poster.jpg", "B (2002).mkv", "B (2002).jpg"],
        posters: &[("Ame\u{301}lie (2001)-poster.jpg", "Am\u{e9}lie", 2001), ("B (2002).jpg", "B", 2002)],
    },
    Case { what: "an empty library", paths: &["empty/"], posters: &[] },
];

fn library(paths: &[&str]) -> TempDir {
    let library = TempDir::new().unwrap();
    for path in paths {
        let full = library.path().join(path);
        if path.ends_with('/') {
            fs::create_dir_all(full).unwrap();
        } else {
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            File::create(full).unwrap();
        }
    }
    library
}

fn posters(library: &Path, options: &ScanOptions) -> Vec<Poster> {
    let poster = |item| match item {
        Ok(Item::Poster(poster)) => Some(poster),
        Ok(Item::PassedOver(_)) => None,
        Err(error) => panic!("{error}"),
    };
    scan(library, options).filter_map(poster).collect()
}

/// The paths of posters, relative to the library.
fn paths(library: &Path, options: &ScanOptions) -> Vec<String> {
    let relative = |poster: Poster| poster.path.strip_prefix(library).unwrap().to_string_lossy().into_owned();
    posters(library, options).into_iter().map(relative).collect()
}

/// The explanations of a scan, without the path of the library.
fn explanations(library: &Path, options: ScanOptions) -> Vec<String> {
    let prefix = format!("{}/", library.display());
    let options = ScanOptions { explain: true, ..options };
    scan(library, &options).map(|item| item.unwrap().to_string().replace(&prefix, "")).collect()
}

#[test]
fn posters_are_found_by_the_conventions() {
    let mut wrong = Vec::new();
    for case in CASES {
        let library = library(case.paths);
        let mut found: Vec<_> = posters(library.path(), &ScanOptions::default())
            .into_iter()
            .map(|poster| {
                let path = poster.path.strip_prefix(library.path()).unwrap().to_string_lossy().into_owned();
                (path, poster.title.title, poster.title.year.unwrap_or(0))
            })
            .collect();
        found.sort();
        let expected: Vec<_> =
            case.posters.iter().map(|&(path, title, year)| (path.to_string(), title.to_string(), year)).collect();
        if found != expected {
            wrong.push(format!("{}: expected {expected:#?}, found {found:#?}", case.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_picture_is_taken_or_explained_exactly_once() {
    let mut wrong = Vec::new();
    for case in CASES {
        let library = library(case.paths);
        let options = ScanOptions { explain: true, ..ScanOptions::default() };
        let mut seen = HashSet::new();
        for item in scan(library.path(), &options) {
            let path = match item.unwrap() {
                Item::Poster(Poster { path, .. }) | Item::PassedOver(PassedOver { path, .. }) => path,
            };
            if !seen.insert(path.clone()) {
                wrong.push(format!("{}: {} comes twice", case.what, path.display()));
            }
        }
        for path in case.paths.iter().filter(|path| naming::image_rank(&path.to_lowercase()).is_some()) {
            let path = library.path().join(path);
            if !path.ancestors().any(|path| seen.contains(path)) {
                wrong.push(format!("{}: {} is not mentioned", case.what, path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn items_come_in_order_and_are_explained_in_one_line() {
    let library = library(&[
        "B/.x.jpg",
        "B/@eaDir/",
        "B/Trailers/",
        "B/b.mkv",
        "B/b-thumb.jpg",
        "B/folder.jpg",
        "B/new\nline.jpg",
        "B/poster.jpg",
        "B/poster2.jpg",
        "B/season01-poster.jpg",
        "C/c-1.jpg",
        "C/c.mkv",
        "D (2001).jpg",
        "D (2001)-fanart.jpg",
        "S/s S01E01.jpg",
        "S/s S01E01.mkv",
        "S/show.jpg",
        "poster.jpg",
        "x/y.jpg",
    ]);
    let options = ScanOptions { exclude: Globs::new(&["x"]).unwrap(), ..ScanOptions::default() };
    assert_eq!(
        explanations(library.path(), options),
        [
            "x: passed over: excluded or not included",
            "D (2001)-fanart.jpg: passed over: fanart, not a poster",
            "D (2001).jpg: taken: named after a film, in a folder without videos, rank 1 of 6",
            "poster.jpg: passed over: the folder is not that of one film alone",
            "B/.x.jpg: passed over: hidden",
            "B/@eaDir: passed over: a folder of the system",
            "B/Trailers: passed over: belongs to the film or series above",
            "B/b-thumb.jpg: passed over: thumb, not a poster",
            "B/folder.jpg: passed over: second choice behind poster.jpg",
            "B/new\\nline.jpg: passed over: no film in the folder has this name",
            "B/poster.jpg: taken: the folder is of this title alone, rank 7 of 17",
            "B/poster2.jpg: passed over: second choice behind poster.jpg",
            "B/season01-poster.jpg: passed over: the poster of a season",
            "C/c-1.jpg: taken: named after the video, rank 1 of 17, numbered, where there is no plain name",
            "S/s S01E01.jpg: passed over: belongs to an episode or a season of a series",
            "S/show.jpg: taken: the folder is of this title alone, rank 11 of 11",
        ]
    );
}

#[test]
fn the_video_of_a_poster_is_named() {
    let library = library(&[
        "A (2001)/A (2001) - 4K.mkv",
        "A (2001)/A (2001).mkv",
        "A (2001)/poster.jpg",
        "B/b-cd1.avi",
        "B/b-cd2.avi",
        "B/b.jpg",
        "C/BDMV/",
        "C/poster.jpg",
        "D (2004)/poster.jpg",
        "S/Season 1/",
        "S/poster.jpg",
        "x/E.mkv",
        "x/E.jpg",
        "x/F.mkv",
        "x/F-trailer.mkv",
    ]);
    let videos: Vec<_> = posters(library.path(), &ScanOptions::default())
        .into_iter()
        .map(|poster| (poster.kind, poster.video.map(|video| video.strip_prefix(library.path()).unwrap().to_owned())))
        .collect();
    let film = |video: &str| (Kind::Film, Some(PathBuf::from(video)));
    assert_eq!(
        videos,
        [
            film("A (2001)/A (2001).mkv"),
            film("B/b-cd1.avi"),
            (Kind::Film, None),
            (Kind::Film, None),
            (Kind::Show, None),
            film("x/E.mkv"),
        ]
    );
}

#[test]
fn all_images_are_taken_whatever_their_names() {
    let library = library(&[
        ".hidden/poster.jpg",
        "@eaDir/poster.jpg",
        "A (2001)/BDMV/x.jpg",
        "A (2001)/Extras/y.webp",
        "A (2001)/a.mkv",
        "A (2001)/fanart.jpg",
        "A (2001)/poster.jpg",
        "A (2001)/readme.txt",
        "B.2002.1080p-poster.jpg",
    ]);
    let options = ScanOptions { all_images: true, ..ScanOptions::default() };
    let found: Vec<_> = posters(library.path(), &options)
        .into_iter()
        .map(|poster| (poster.path.strip_prefix(library.path()).unwrap().to_owned(), poster.title.title))
        .collect();
    let expected = [
        ("B.2002.1080p-poster.jpg", "B"),
        ("A (2001)/fanart.jpg", "A"),
        ("A (2001)/poster.jpg", "A"),
        ("A (2001)/BDMV/x.jpg", "x"),
        ("A (2001)/Extras/y.webp", "y"),
    ];
    assert_eq!(found, expected.map(|(path, title)| (PathBuf::from(path), title.to_string())));
}

#[test]
fn globs_choose_and_exclusion_wins() {
    let library = library(&[
        "A/a.mkv",
        "A/poster.jpg",
        "A/folder.jpg",
        "B/b.mkv",
        "B/poster.jpg",
        "Kids/C/c.mkv",
        "Kids/C/poster.png",
    ]);
    let all: &[&str] = &["A/poster.jpg", "B/poster.jpg", "Kids/C/poster.png"];
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &[], all),
        (&["**"], &[], all),
        (&["*"], &[], all),
        (&["Kids"], &[], &["Kids/C/poster.png"]),
        (&["Kids/**"], &[], &["Kids/C/poster.png"]),
        (&["*.png"], &[], &[]),
        (&["**/*.png", "A"], &[], &["A/poster.jpg", "Kids/C/poster.png"]),
        (&["{A,B}/*"], &["B"], &["A/poster.jpg"]),
        (&[], &["Kids", "B/*.jpg"], &["A/poster.jpg"]),
        (&[], &["**/poster.jpg"], &["A/folder.jpg", "Kids/C/poster.png"]),
        (&["A"], &["A"], &[]),
    ];
    let mut wrong = Vec::new();
    for &(include, exclude, expected) in cases {
        let [include_globs, exclude_globs] = [include, exclude].map(|globs| Globs::new(globs).unwrap());
        let options = ScanOptions { include: include_globs, exclude: exclude_globs, ..ScanOptions::default() };
        let found = paths(library.path(), &options);
        if found != expected {
            wrong.push(format!("include {include:?}, exclude {exclude:?}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let globs = Globs::new(&["Am\u{e9}lie"]).unwrap();
    assert!(globs.is_match(Path::new("Ame\u{301}lie/poster.jpg")), "composed and decomposed");
    assert!(Globs::new(&["a", "[b"]).unwrap_err().to_string().contains("[b"));
}

#[test]
fn a_library_may_be_one_picture() {
    let library = library(&["Alien (1979)/fanart.jpg", "Alien (1979)/Aliens (1986)-poster.jpg"]);
    for (name, title, year) in [("fanart.jpg", "Alien", 1979), ("Aliens (1986)-poster.jpg", "Aliens", 1986)] {
        let path = library.path().join("Alien (1979)").join(name);
        let found = posters(&path, &ScanOptions::default());
        let title = Title { title: title.to_string(), year: Some(year) };
        let reason = Reason::unnamed(By::Library);
        assert_eq!(
            found,
            [Poster { path, kind: Kind::Film, title, video: None, common_name: None, has_own_folder: false, reason }]
        );
    }
}

#[test]
fn a_missing_library_is_an_error() {
    let library = library(&[]);
    let items: Vec<_> = scan(&library.path().join("gone"), &ScanOptions::default()).collect();
    let [Err(error)] = items.as_slice() else { panic!("{items:?}") };
    assert!(error.to_string().contains("gone: cannot be read"), "{error}");
}

#[test]
fn a_folder_that_vanishes_is_an_error_and_not_the_end() {
    let library = library(&["A/poster.jpg", "B/poster.jpg", "C/poster.jpg"]);
    let options = ScanOptions::default();
    let mut items = scan(library.path(), &options);
    assert!(matches!(items.next(), Some(Ok(Item::Poster(_)))));
    fs::remove_dir_all(library.path().join("B")).unwrap();
    assert!(matches!(items.next(), Some(Err(ScanError::Unreadable { path, .. })) if path.ends_with("B")));
    assert!(matches!(items.next(), Some(Ok(Item::Poster(_)))));
    assert!(items.next().is_none());
}

#[test]
fn a_folder_of_thousands_of_films_is_sorted_out() {
    let library = TempDir::new().unwrap();
    for film in 0..3000 {
        File::create(library.path().join(format!("Film {film}.mkv"))).unwrap();
        File::create(library.path().join(format!("Film {film}-poster.jpg"))).unwrap();
        File::create(library.path().join(format!("Film {film}-fanart.jpg"))).unwrap();
    }
    assert_eq!(paths(library.path(), &ScanOptions::default()).len(), 3000);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// A library and links in it, each a target and a path.
    fn linked(paths: &[&str], links: &[(&str, &str)]) -> TempDir {
        let library = library(paths);
        for (target, link) in links {
            symlink(target, library.path().join(link)).unwrap();
        }
        library
    }

    #[test]
    fn links_to_folders_repeat_nothing() {
        struct Case {
            what: &'static str,
            paths: &'static [&'static str],
            links: &'static [(&'static str, &'static str)],
            posters: &'static [&'static str],
        }
        let cases = [
            Case {
                what: "to itself and upwards",
                paths: &["A/a.mkv", "A/poster.jpg"],
                links: &[(".", "A/self"), ("..", "A/up")],
                posters: &["A/poster.jpg"],
            },
            Case {
                what: "to one another",
                paths: &["A/poster.jpg", "B/poster.jpg", "C/poster.jpg"],
                links: &[("../B", "A/b"), ("../C", "A/c"), ("../A", "B/a"), ("../C", "B/c"), ("../A", "C/a")],
                posters: &["A/poster.jpg", "B/poster.jpg", "C/poster.jpg"],
            },
            Case {
                what: "a second order of the same films",
                paths: &["all/A (2001)/poster.jpg", "by-genre/Horror/"],
                links: &[("../../all/A (2001)", "by-genre/Horror/A (2001)")],
                posters: &["all/A (2001)/poster.jpg"],
            },
            Case {
                what: "to a hidden pool",
                paths: &[".pool/A (2001)/poster.jpg"],
                links: &[(".pool/A (2001)", "A (2001)"), (".pool/A (2001)", "B"), ("A (2001)", "C")],
                posters: &["A (2001)/poster.jpg"],
            },
        ];
        let mut wrong = Vec::new();
        for case in cases {
            let library = linked(case.paths, case.links);
            let found = paths(library.path(), &ScanOptions::default());
            if found != case.posters {
                wrong.push(format!("{}: {found:?}", case.what));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn links_out_of_the_library_are_followed_once() {
        let disk = library(&["A (2001)/poster.jpg", "B (2002)/poster.jpg"]);
        let library = linked(&["C/poster.jpg"], &[]);
        symlink(disk.path().join("A (2001)"), library.path().join("A (2001)")).unwrap();
        symlink(disk.path(), library.path().join("disk")).unwrap();
        symlink(library.path(), disk.path().join("back")).unwrap();
        let mut found = paths(library.path(), &ScanOptions::default());
        found.sort();
        assert_eq!(found, ["A (2001)/poster.jpg", "C/poster.jpg", "disk/B (2002)/poster.jpg"]);
    }

    #[test]
    fn a_link_to_what_the_library_lies_in_does_not_lead_back() {
        let disk = linked(&["films/A (2001)/poster.jpg", "more/B (2002)/poster.jpg"], &[("..", "films/up")]);
        let found = paths(&disk.path().join("films"), &ScanOptions::default());
        assert_eq!(found, ["A (2001)/poster.jpg", "up/more/B (2002)/poster.jpg"]);
    }

    #[test]
    fn a_link_gives_the_film_its_name() {
        let library = linked(&[".pool/4711/poster.jpg"], &[(".pool/4711", "A (2001)")]);
        let found = posters(library.path(), &ScanOptions::default());
        assert_eq!(found[0].title, Title { title: "A".to_string(), year: Some(2001) });
    }

    #[test]
    fn links_to_files_are_files() {
        let library = linked(&["pictures/x.bin", "A (2001)/a.mkv"], &[("../pictures/x.bin", "A (2001)/poster.jpg")]);
        assert_eq!(paths(library.path(), &ScanOptions::default()), ["A (2001)/poster.jpg"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error_and_the_next_name_counts() {
        let library =
            linked(&["A (2001)/a.mkv", "A (2001)/folder.jpg"], &[("gone", "A (2001)/poster.jpg"), ("b", "a")]);
        symlink("a", library.path().join("b")).unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = scan(library.path(), &ScanOptions::default()).partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (1, 3), "{good:?}, {bad:?}");
    }

    #[test]
    fn a_library_may_be_a_link() {
        let disk = library(&["A (2001)/poster.jpg"]);
        let folder = TempDir::new().unwrap();
        let link = folder.path().join("library");
        symlink(disk.path(), &link).unwrap();
        assert_eq!(paths(&link, &ScanOptions::default()), ["A (2001)/poster.jpg"]);
    }

    #[test]
    fn names_that_are_not_utf_8_are_kept_apart() {
        let library = TempDir::new().unwrap();
        let names: [&[u8]; 6] = [
            b"F\xe9e (2001).mkv",
            b"F\xe9e (2001).jpg",
            b"F\xe8e (2001).mkv",
            b"F\xe8e (2001)-POSTER.jpg",
            b"x.mkv",
            b"\xff.jpg",
        ];
        for name in names {
            File::create(library.path().join(OsStr::from_bytes(name))).unwrap();
        }
        let found = posters(library.path(), &ScanOptions::default());
        let names: Vec<_> = found.iter().map(|poster| poster.path.file_name().unwrap().as_bytes()).collect();
        assert_eq!(names, [b"F\xe8e (2001)-POSTER.jpg".as_slice(), b"F\xe9e (2001).jpg"]);
        for poster in found {
            assert_eq!(poster.title, Title { title: "F\u{fffd}e".to_string(), year: Some(2001) });
            assert_eq!(poster.video.unwrap().extension(), Some(OsStr::new("mkv")));
        }
    }

    #[test]
    fn what_is_no_file_is_no_picture() {
        let library = library(&["A (2001)/folder.jpg"]);
        let _socket = UnixListener::bind(library.path().join("A (2001)/poster.jpg")).unwrap();
        assert_eq!(paths(library.path(), &ScanOptions::default()), ["A (2001)/folder.jpg"]);
    }

    #[test]
    fn an_unreadable_folder_is_an_error_and_not_the_end() {
        use std::os::unix::fs::PermissionsExt;
        let library = library(&["A (2001)/poster.jpg", "B (2002)/poster.jpg"]);
        let closed = library.path().join("A (2001)");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        // Nothing is closed to root.
        let is_readable = fs::read_dir(&closed).is_ok();
        let items: Vec<_> = scan(library.path(), &ScanOptions::default()).map(|item| item.is_ok()).collect();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(items, [is_readable, true]);
    }
}
