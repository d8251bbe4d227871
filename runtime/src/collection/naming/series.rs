//! Names of seasons and episodes of series.
//!
//! Sources besides those of [`naming`](super): Jellyfin's `SeasonPathParser` and `NamingOptions.EpisodeExpressions`,
//! <https://kodi.wiki/view/Naming_video_files/TV_shows>, Kodi's `tvshowmatching`,
//! <https://support.plex.tv/articles/naming-and-organizing-your-tv-show-files/>, Sonarr's naming formats, and the
//! release names of the Scene and of anime groups. Words for "season" are those of the servers' translations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use regex::Regex;

use super::{QUALITY, title, without_tags};

/// The certainty with which a folder's name says that it holds a season of the series above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeasonName {
    /// `Season 1`, `Show S01`: it does.
    Certain,
    /// `01`, `Specials`, `Book 2`: it does if there are episodes in it.
    Possible,
}

/// The word for "season" in many languages, in lower case.
const SEASON: &str = concat!(
    "season|series|staffel|saison|temporada|stagione|sæson|saeson|säsong|sasong|sesong|seizoen|sezonul|sezonas|sezona",
    "|sezóna|sezoni|sezon|sezóny|série|serie|séria|seria|kausi|tuotantokausi|évad|evad|hooaeg|þáttaröð|musim|mùa",
    "|сезона|сезон|σεζόν|κύκλος|עונה|الموسم|موسم|فصل|ซีซั่น|ซีซัน|시즌|シーズン",
);

/// A number that is written out, in the languages in which folders are called so.
const NUMBER_WORD: &str = concat!(
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[ivx]{1,5}",
    "|eins|zwei|drei|uno|due|tre|dos|tres|un|deux|trois",
);

const ORDINAL_WORD: &str = concat!(
    "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|erste|zweite|dritte|vierte|fünfte|sechste",
    "|première|deuxième|troisième|primera|segunda|tercera|prima|seconda|terza",
);

/// A season at the beginning of a name; what follows it is the group `rest`.
static SEASON_AT_START: LazyLock<Regex> = LazyLock::new(|| {
    let word_first = format!(r"(?:{SEASON})(?:[ ._\-]*\d{{1,4}}|[ ._\-]+(?:{NUMBER_WORD})\b)");
    let number = format!(r"(?:\d{{1,4}}(?:st|nd|rd|th|e|ème|er|ª|º|°|-?я|-?й)?\.?|{ORDINAL_WORD})");
    let chinese = "第 ?(?:[0-9]+|[一二三四五六七八九十]+) ?(?:季|期|シーズン)";
    let any = format!(r"{word_first}|s\d{{1,4}}\b|{number}[ ._\-]*(?:{SEASON})\b|{chinese}");
    Regex::new(&format!("(?s)^(?:{any})(?P<rest>.*)$")).expect("the pattern is valid")
});

/// A season behind the name of the series.
static SEASON_BEHIND_SHOW: LazyLock<Regex> = LazyLock::new(|| {
    let word_first = format!(r"(?:{SEASON})(?:[ ._\-]*\d{{1,4}}|[ ._\-]+(?:{NUMBER_WORD}))");
    // *The Fifth Season (2012)* is a film.
    let season = format!(r"(?:{word_first}|s\d{{1,4}}|\d{{1,2}}(?:st|nd|rd|th)[ ._\-]+(?:{SEASON}))\b.*");
    Regex::new(&format!(r"(?s)^(?P<show>.*?\S)[ ._\-–(\[]+(?P<season>{season})$")).expect("the pattern is valid")
});

/// A name of a season, or of a part of a film or of anything else.
static POSSIBLE_SEASON: LazyLock<Regex> = LazyLock::new(|| {
    let word = "book|volume|vol|part|chapter|arc|cour|year|dis[ck]|dvd|teil|buch|livre|libro|tome|cycle";
    Regex::new(&format!(
        r"^(?:\d{{1,2}}|(?:19|20)\d{{2}}|specials?|extra episodes|mini-? ?series|ovas?|onas?|{}.*)$",
        format_args!(r"(?:{word})(?:[ ._\-]*\d{{1,3}}|[ ._\-]+(?:{NUMBER_WORD}))\b"),
    ))
    .expect("the pattern is valid")
});

/// Whether a folder holds a season of the series that the folder above, `parent`, is called after.
pub fn season_folder(key: &str, parent: &str) -> Option<SeasonName> {
    if is_season(key) || behind_show(key).is_some_and(|show| is_related(show, parent)) {
        return Some(SeasonName::Certain);
    }
    POSSIBLE_SEASON.is_match(key).then_some(SeasonName::Possible)
}

/// Whether a name is that of a season and of nothing else: `Season 1`, `S01 - The Beginning`, `2. Staffel (2010)`.
fn is_season(key: &str) -> bool {
    SEASON_AT_START.captures(key).is_some_and(|found| {
        let rest = found.name("rest").map_or("", |rest| rest.as_str());
        let is_titled = rest.starts_with(" - ") || rest.starts_with(": ");
        rest.trim().is_empty()
            || pattern!(r"^[ ._\-]*[(\[{]").is_match(rest)
            || pattern!(r"^[ ._]*[-–&+,][ ._]*s?\d{1,4}$").is_match(rest)
            || pattern!(r"^[ ._\-]+(?:complete|proper|repack|multi|extras?|specials?|bonus)\b").is_match(rest)
            || (rest.starts_with([' ', '.', '_', '-']) && QUALITY.is_match(rest))
            // *Series 7 - The Contenders (2001)* is a film.
            || (is_titled && title(rest).year.is_none())
    })
}

/// The name of the series in front of a season: `Show` of `Show.S01.1080p`.
fn behind_show(key: &str) -> Option<&str> {
    let found = SEASON_BEHIND_SHOW.captures(key)?;
    let (show, season) = (found.name("show")?.as_str(), found.name("season")?.as_str());
    is_season(season.trim_end_matches([')', ']'])).then_some(show)
}

/// A name without the season behind it: the name of a series for `Show.Name.S01.1080p.WEB-GRP`.
pub fn without_season(name: &str) -> &str {
    let lower = name.to_lowercase();
    // Where the lower case has another length, the name stays as it is.
    behind_show(&lower).filter(|_| lower.len() == name.len()).and_then(|show| name.get(..show.len())).unwrap_or(name)
}

/// Whether a picture, named without extension, is a season's: `season01-poster`, `season-all-poster`, `Show_Season01`.
pub fn is_season_picture(key: &str) -> bool {
    pattern!(r"(?:^|[ _\-])season(?:[ _\-]?\d{1,4}[a-z]?|-all|-specials)(?:[_\-]|$)").is_match(key)
}

/// Whether two names may be those of one series: the words of one begin with all words of the other.
pub fn is_related(one: &str, other: &str) -> bool {
    let (one, other) = (words(one), words(other));
    let count = one.len().min(other.len());
    count > 0 && one[..count] == other[..count]
}

/// The words of a series' name, without tags and the year.
fn words(name: &str) -> Vec<String> {
    let title = title(without_season(name)).title.to_lowercase();
    title.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty()).map(String::from).collect()
}

/// Whether a file, named without extension, belongs to an episode, whatever lies beside it: `S01E02`, `1x02`.
pub fn is_episode(key: &str) -> bool {
    certain_episode(key).is_some()
}

/// The name of the series in front of the number of an episode that cannot be anything else.
fn certain_episode(key: &str) -> Option<&str> {
    let pattern = pattern!(concat!(
        r"(?s)^(?P<show>.*?)(?:(?:^|[ ._\-\[(])s\d{1,4}[ ._\-]*(?:e|ep|episode|x)[ ._\-]*\d{1,4}",
        r"|(?:^|[ ._\-\[(])season[ ._\-]*\d{1,4}[ ._\-,]*(?:episode|ep|e)[ ._\-]*\d{1,4}",
        // The film *10x10* has a larger number in front.
        r"|(?:^0?\d|[ ._\-\[(]\d{1,2})x\d{2,3}|第\d{1,4}[話集回])(?:\D|$)",
    ));
    pattern.captures(key).and_then(|found| found.name("show")).map(|show| show.as_str())
}

/// The date in a name, and the name of the series in front of it: `Show.2019.03.04`, `04-03-2019`.
fn dated(key: &str) -> Option<(&str, &str)> {
    let pattern = pattern!(concat!(
        r"(?s)^(?P<show>.*?)(?:^|[ ._\-\[(])(?P<date>(?:19|20)\d{2}[ ._\-]",
        r"(?:0[1-9]|1[0-2])[ ._\-](?:0[1-9]|[12]\d|3[01])",
        r"|(?:0[1-9]|[12]\d|3[01])[ ._\-](?:0[1-9]|1[0-2])[ ._\-](?:19|20)\d{2})(?:\D|$)",
    ));
    let found = pattern.captures(key)?;
    Some((found.name("show")?.as_str(), found.name("date")?.as_str()))
}

/// A video that may be one of several numbered episodes.
#[derive(Debug, PartialEq)]
struct Numbered<'a> {
    show: &'a str,
    form: Form,
    number: u32,
    /// Whether the number itself looks like an episode's: `001`, `Ep 1`, or behind a group's tag.
    is_marked: bool,
}

/// The position of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// `Show - 01`.
    Behind,
    /// `01 - Title`.
    InFront,
    /// `Show Part 1 Title`. Without a title it may be a film's part.
    Part,
}

/// Reads a number, if the name without tags and words about the file's quality has one at its beginning or end.
fn numbered<'a>(key: &str, plain: &'a str) -> Option<Numbered<'a>> {
    let padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let part = pattern!(
        r"(?s)^(?P<show>.*?\S)[ ._\-]+(?:part|pt|teil|partie|parte)[ ._\-]*(?P<n>\d{1,2})(?P<rest>[ ._\-].*)?$"
    );
    if let Some(found) = part.captures(plain) {
        let number = found["n"].parse().ok()?;
        return Some(Numbered {
            show: found.name("show")?.as_str(),
            form: Form::Part,
            number,
            is_marked: found.name("rest").is_some_and(|rest| title(rest.as_str()).year.is_none()),
        });
    }
    let behind = pattern!(concat!(
        r"(?s)^(?P<show>.*?)(?:^|[ ._]*[-–][ ._]*|[ ._]+|#)",
        r"(?P<mark>(?:episode|ep|e|folge|épisode|episodio|capítulo|серия|#)[ ._\-]*)?",
        r"(?P<n>\d{1,4})(?:v\d)?(?P<rest> - .+)?$",
    ));
    if let Some(found) = behind.captures(plain) {
        let digits = &found["n"];
        let number = digits.parse::<u32>().ok().filter(|number| !(1888..2040).contains(number))?;
        let is_titled = number > 9 && found.name("rest").is_some();
        let is_marked = padded(digits) || is_titled || found.name("mark").is_some() || key.starts_with('[');
        let show = found.name("show")?.as_str();
        let form = if show.is_empty() && found.name("rest").is_some() { Form::InFront } else { Form::Behind };
        return Some(Numbered { show, form, number, is_marked });
    }
    let found = pattern!(r"(?s)^(?P<n>\d{1,3})(?:[ ._]*-[ ._]*|[._] ?| )\D.*$").captures(plain)?;
    let digits = &found["n"];
    Some(Numbered { show: "", form: Form::InFront, number: digits.parse().ok()?, is_marked: padded(digits) })
}

/// For each video of a folder, named without extension, the name of the series that it is an episode of; empty if the
/// name has none. `None` for films.
///
/// Numbers and dates make episodes only where several videos differ in nothing else: *Ocean's 11* and *Ocean's 12* are
/// films, `Show - 001` and `Show - 002` are not. `own` is the folder's name, after which a lone dated episode is
/// called.
pub fn episodes(keys: &[&str], own: &str) -> Vec<Option<String>> {
    let mut shows: Vec<Option<String>> = keys.iter().map(|key| certain_episode(key).map(String::from)).collect();
    let plain: Vec<String> = keys.iter().map(|key| plain(key)).collect();
    let mut by_date: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
    type Videos<'a> = Vec<(usize, Numbered<'a>)>;
    let mut by_number: BTreeMap<(Vec<String>, Form), Videos> = BTreeMap::new();
    for (index, key) in keys.iter().enumerate().filter(|(index, _)| shows[*index].is_none()) {
        if let Some((show, _)) = dated(key) {
            by_date.entry(words(show)).or_default().push(index);
        } else if let Some(found) = numbered(key, &plain[index]) {
            by_number.entry((words(found.show), found.form)).or_default().push((index, found));
        }
    }
    for videos in by_date.into_values() {
        let show = |index: usize| dated(keys[index]).map_or("", |(show, _)| show);
        let dates: BTreeSet<_> = videos.iter().filter_map(|index| dated(keys[*index])).map(|(_, date)| date).collect();
        if dates.len() > 1 || is_related(show(videos[0]), own) {
            videos.iter().for_each(|&index| shows[index] = Some(show(index).to_string()));
        }
    }
    for ((_, form), videos) in by_number {
        let numbers: BTreeSet<u32> = videos.iter().map(|(_, video)| video.number).collect();
        let has_mark = videos.iter().any(|(_, video)| video.is_marked);
        let span = numbers.last().unwrap_or(&0) - numbers.first().unwrap_or(&0);
        let is_whole_row = (span as usize) < 2 * numbers.len() && videos.len() == keys.len();
        let has_year = |index: usize| title(keys[index]).year.is_some() && title(own).year != title(keys[index]).year;
        let are_episodes = numbers.len() > 1
            && match form {
                // *9* and *300* are films.
                Form::Behind if videos[0].1.show.is_empty() => is_whole_row,
                Form::Behind => has_mark || numbers.len() > 5,
                Form::InFront => has_mark && numbers.len() > 2 && is_whole_row,
                Form::Part => has_mark || numbers.len() > 4,
            }
            && !videos.iter().any(|(index, _)| has_year(*index));
        if are_episodes {
            videos.iter().for_each(|(index, video)| shows[*index] = Some(video.show.to_string()));
        }
    }
    shows
}

/// A name without tags, brackets that hold no year, and words about the file's quality.
fn plain(key: &str) -> String {
    let untagged = without_tags(key);
    let unbracketed = pattern!(r"\((?:[^()]{0,3}|[^()]{5,}|[^()]*[^()\d][^()]*)\)").replace_all(&untagged, "");
    QUALITY.replace(unbracketed.trim(), "").trim_matches([' ', '.', '_', '-']).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn season_folders_are_known_by_name() {
        let certain = [
            "season 1",
            "season 01",
            "season01",
            "season.04",
            "season_2",
            "season-3",
            "season 2019",
            "season 00",
            "season 01 - the beginning",
            "season 1 (2010)",
            "season 1 [1080p]",
            "season one",
            "season iv",
            "s1",
            "s01",
            "s2019",
            "s01 - the beginning",
            "s01.1080p.web-dl",
            "series 3",
            "staffel 2",
            "staffel 01",
            "1. staffel",
            "erste staffel",
            "saison 1",
            "saison 01",
            "temporada 1",
            "1ª temporada",
            "stagione 1",
            "sæson 1",
            "säsong 1",
            "sesong 2",
            "seizoen 1",
            "sezon 1",
            "1. sezon",
            "sezona 1",
            "sezóna 1",
            "kausi 1",
            "1. évad",
            "évad 1",
            "сезон 1",
            "1 сезон",
            "シーズン1",
            "시즌 1",
            "第1季",
            "第二季",
            "第1期",
            "1st season",
            "season 1-3",
            "s01-s03",
            "season 1 complete",
            "series 1 - the start",
            "show season 1",
            "show s01",
            "show - season 01",
            "show.s01.1080p.web-grp",
            "show (2010) s02",
            "show.season.1.german.720p",
            "show_season_01",
            "show 2nd season",
            "show - 3rd season [1080p]",
            "show season one",
            "season 1 extras",
        ];
        let possible = [
            "1",
            "01",
            "12",
            "2019",
            "specials",
            "miniseries",
            "ova",
            "book 2 - earth",
            "book one",
            "part ii",
            "disc 1",
            "vol. 2",
        ];
        let neither = [
            "season",
            "seasons",
            "s1mone",
            "series 7 the contenders",
            "series 7 - the contenders (2001)",
            "season of the witch (2011)",
            "the show's fifth season (2012)",
            "bookworm",
            "partisan",
            "other show s01",
            "300",
            "1917 (2019)",
            "se7en",
            "saison",
            "extras",
            "shows",
            "s4 league",
            "staffellauf 2",
        ];
        let groups: [(&[&str], _); 3] =
            [(&certain, Some(SeasonName::Certain)), (&possible, Some(SeasonName::Possible)), (&neither, None)];
        let wrong: Vec<_> = groups
            .iter()
            .flat_map(|(names, expected)| {
                names.iter().map(move |name| (name, *expected, season_folder(name, "show (2010)")))
            })
            .filter(|(_, expected, found)| expected != found)
            .collect();
        assert!(wrong.is_empty(), "name, expected, found: {wrong:#?}");
    }

    #[test]
    fn a_season_is_taken_off_the_name_of_a_series() {
        let cases = [
            ("Show.Name.S01.1080p.WEB-GRP", "Show.Name"),
            ("Show Name Season 1", "Show Name"),
            ("Show Name - S01", "Show Name"),
            ("Show (2010)", "Show (2010)"),
            ("Season 1", "Season 1"),
            ("Season of the Witch (2011)", "Season of the Witch (2011)"),
        ];
        let wrong: Vec<_> = cases.iter().filter(|(name, expected)| without_season(name) != *expected).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn episodes_are_told_from_films_by_all_names_of_a_folder() {
        /// The videos of a folder, and whether they are episodes.
        struct Case {
            names: &'static [&'static str],
            are_episodes: bool,
        }
        let yes = |names| Case { names, are_episodes: true };
        let no = |names| Case { names, are_episodes: false };
        let cases = [
            yes(&["show s01e02"]),
            yes(&["show.s01.e02.x"]),
            yes(&["s1e1"]),
            yes(&["show s01e01e02", "show s01e03-e04", "show.s2019e05"]),
            yes(&["show - 1x02 - name"]),
            yes(&["1x02"]),
            yes(&["show season 1 episode 2"]),
            yes(&["show 第01話"]),
            yes(&["one hill - 001", "one hill - 002"]),
            yes(&["one hill 01", "one hill 02"]),
            yes(&["[group] one hill - 11 [1080p][abcd]", "[group] one hill - 12v2 [1080p][abce]"]),
            yes(&["one hill ep1", "one hill ep2"]),
            yes(&["one hill - episode 1", "one hill - episode 2"]),
            yes(&["1", "2", "3"]),
            yes(&["01 - pilot", "02 - second", "03 - third"]),
            yes(&["one hill part 1 the start", "one hill part 2 the end"]),
            yes(&["one hill part 1", "one hill part 2", "one hill part 3", "one hill part 4", "one hill part 5"]),
            yes(&["dated - 2011-11-10", "dated - 2011-11-11"]),
            yes(&["dated.04.03.2019", "dated.05.03.2019"]),
            yes(&["own.2019.03.04.1080p"]),
            no(&["concert 2019-03-04"]),
            no(&["alien (1979)", "film 1920x1080", "10x10 (2018)", "s01", "se7en", "apollo 13"]),
            no(&["ocean's 11", "ocean's 12", "ocean's 13"]),
            no(&["rocky", "rocky 2", "rocky 3"]),
            no(&["a", "a-2", "a2"]),
            no(&["01 - iron hill (2008)", "02 - the hill (2008)", "03 - iron hill 2 (2010)"]),
            no(&["12 hills", "21 hills", "300 hills"]),
            no(&["9", "21", "300"]),
            no(&["1 - star hill", "2 - the hill", "3 - hills"]),
            no(&["one hill part 1", "one hill part 2"]),
            no(&["blade 2049", "blade 1982"]),
            no(&["one hill (2001) - 1080p", "one hill (2001) - 720p"]),
            no(&["star hill episode 1 - the start (1999)", "star hill episode 2 - the end (2002)"]),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .filter(|case| episodes(case.names, "own (2010)").iter().any(|show| show.is_some() != case.are_episodes))
            .map(|case| (case.names, episodes(case.names, "own (2010)")))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
