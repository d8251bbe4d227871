//! Lists of genres in one cell: `Action|Drama`, `['Action', 'Drama']`, `[{"id": 18, "name": "Drama"}]`.

use super::cells::{is_unknown, number};

/// MovieLens's word for an empty list.
const NO_GENRES: &str = "(no genres listed)";

/// Delimiters between the names in lists of JSON and Python.
const PUNCTUATION: [char; 8] = ['[', ']', '{', '}', '(', ')', ',', ':'];

/// The genres of each cell of a column. Cells are separated by `|`, `,` or `;`, or by `/` if none of the column has
/// another separator, since `Action/Adventure` may be the name of one genre; or they are lists of JSON or Python, of
/// names or of objects with a name. A list is empty if nothing is known.
pub fn genre_lists<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> Vec<Vec<String>> {
    let by_slash = !cells.clone().any(|cell| !is_structured(cell) && cell.contains(['|', ',', ';']));
    cells.map(|cell| genre_list(cell, by_slash)).collect()
}

fn genre_list(cell: &str, by_slash: bool) -> Vec<String> {
    let cell = cell.trim();
    if is_unknown(cell) || cell.eq_ignore_ascii_case(NO_GENRES) {
        return Vec::new();
    }
    let names = if is_structured(cell) {
        structured(cell)
    } else {
        let separates = |char| matches!(char, '|' | ',' | ';' | '\n') || (by_slash && char == '/');
        let cell = cell.trim_start_matches('[').trim_end_matches(']');
        cell.split(separates).map(|name| name.trim().trim_matches(['\'', '"']).trim().to_string()).collect()
    };
    let mut genres: Vec<String> = Vec::new();
    for name in names {
        if !is_unknown(&name) && !genres.contains(&name) {
            genres.push(name);
        }
    }
    genres
}

/// Whether a cell is a list or an object in the syntax of JSON or Python.
fn is_structured(cell: &str) -> bool {
    cell.trim_start().starts_with(['[', '{', '(']) && cell.contains(['\'', '"'])
}

/// The names in a list of JSON or Python. Of objects the value of `name` counts, or, if none has one, each value that
/// is no number (Freebase: `{"/m/0lsxr": "Crime Fiction"}`).
fn structured(cell: &str) -> Vec<String> {
    let mut entries: Vec<(Option<String>, String)> = Vec::new();
    let mut key = None;
    let mut rest = cell;
    while let Some(first) = rest.chars().next() {
        let token;
        (token, rest) = match first {
            '\'' | '"' => quoted(rest),
            _ if first.is_whitespace() || PUNCTUATION.contains(&first) => {
                rest = &rest[first.len_utf8()..];
                continue;
            }
            // A string of Python 2.
            'u' if rest[1..].starts_with(['\'', '"']) => quoted(&rest[1..]),
            _ => {
                let end = rest.find(PUNCTUATION).unwrap_or(rest.len());
                (rest[..end].trim().to_string(), &rest[end..])
            }
        };
        if rest.trim_start().starts_with(':') {
            key = Some(token);
        } else if !token.is_empty() {
            entries.push((key.take(), token));
        }
    }
    let is_name = |key: &Option<String>| key.as_deref() == Some("name");
    let have_names = entries.iter().any(|(key, _)| is_name(key));
    let counts = |(key, value): &(Option<String>, String)| {
        if have_names { is_name(key) } else { key.is_none() || number(value).is_none() }
    };
    entries.into_iter().filter(counts).map(|(_, value)| value).collect()
}

/// The string that `text` begins with, and what follows it. A quotation mark before a letter is an apostrophe; a string
/// that does not end goes to the end of the text.
fn quoted(text: &str) -> (String, &str) {
    let mut chars = text.chars();
    let quote = chars.next();
    let mut string = String::new();
    while let Some(char) = chars.next() {
        let rest = chars.as_str();
        match char {
            '\\' => match chars.next() {
                Some('u') => {
                    let code = rest.get(1..5).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                    string.push(code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER));
                    chars = rest.get(5..).unwrap_or_default().chars();
                }
                Some(escaped) => string.push(escaped),
                None => {}
            },
            _ if Some(char) == quote && !rest.starts_with(char::is_alphanumeric) => return (string, rest),
            _ => string.push(char),
        }
    }
    (string, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(cell: &str) -> Vec<String> {
        genre_lists([cell].into_iter()).remove(0)
    }

    #[test]
    fn lists() {
        let cases: [(&str, &[&str]); 32] = [
            ("Drama", &["Drama"]),
            ("Drama|Comedy", &["Drama", "Comedy"]),
            ("Drama, Comedy", &["Drama", "Comedy"]),
            (" Drama ;Comedy; ", &["Drama", "Comedy"]),
            ("Drama/Comedy", &["Drama", "Comedy"]),
            ("Action/Adventure|Drama", &["Action/Adventure", "Drama"]),
            ("Science Fiction|Children's", &["Science Fiction", "Children's"]),
            ("'Drama', 'Comedy'", &["Drama", "Comedy"]),
            ("[Drama, Comedy]", &["Drama", "Comedy"]),
            ("['Drama', 'Comedy']", &["Drama", "Comedy"]),
            ("['Drama' 'Comedy']", &["Drama", "Comedy"]),
            ("[u'Drama', u'Comedy']", &["Drama", "Comedy"]),
            ("('Drama', 'Comedy')", &["Drama", "Comedy"]),
            ("{'Drama', 'Comedy'}", &["Drama", "Comedy"]),
            (r#"["Drama", "Children's"]"#, &["Drama", "Children's"]),
            (r"['Children\'s', 'Com\u00e9die']", &["Children's", "Comédie"]),
            ("['Children's', 'Drama']", &["Children's", "Drama"]),
            (r#"["Action, Adventure", "Film/Noir"]"#, &["Action, Adventure", "Film/Noir"]),
            (r#"[{"id": 18, "name": "Drama"}, {"id": 35, "name": "Comedy"}]"#, &["Drama", "Comedy"]),
            ("[{'id': 18, 'name': 'Drama'}, {'id': 35, 'name': 'Comedy'}]", &["Drama", "Comedy"]),
            ("[{'name': 'TV: Drama', 'id': 18}]", &["TV: Drama"]),
            ("{'id': 18, 'name': 'Drama'}", &["Drama"]),
            (r#"{"/m/0lsxr": "Crime Fiction", "/m/07s9rl0": "Drama"}"#, &["Crime Fiction", "Drama"]),
            ("[{'id': 18, 'slug': 'drama'}]", &["drama"]),
            ("Drama|None|Drama", &["Drama"]),
            ("['Drama', None, nan]", &["Drama"]),
            ("[None]", &[]),
            ("[]", &[]),
            ("(no genres listed)", &[]),
            ("N/A", &[]),
            ("\\N", &[]),
            ("[{'id': 18, 'name': 'Dra", &["Dra"]),
        ];
        for (cell, expected) in cases {
            assert_eq!(list(cell), expected, "{cell}");
        }
    }

    #[test]
    fn a_slash_separates_only_where_no_other_separator_does() {
        let lists = |cells: &[&str]| genre_lists(cells.iter().copied());
        assert_eq!(lists(&["Action/Adventure", "Drama/War"]), [["Action", "Adventure"], ["Drama", "War"]]);
        let expected: [&[&str]; 2] = [&["Action/Adventure"], &["Drama", "War"]];
        assert_eq!(lists(&["Action/Adventure", "Drama|War"]), expected);
    }

    proptest! {
        #[test]
        fn no_cell_is_too_odd(cell in r#"[\[\]{}()'":,\\u0-9a-cé ]{0,24}"#) {
            prop_assert!(list(&cell).iter().all(|genre| !genre.trim().is_empty()));
        }

        #[test]
        fn json_lists_are_read_as_json(names in prop::collection::btree_set("[A-Z][a-zé'\"\\\\, /-]{0,8}[a-z]{3}", 1..5)) {
            let names: Vec<String> = names.into_iter().collect();
            // An apostrophe-like quotation mark inside a string is escaped by every JSON writer.
            prop_assert_eq!(list(&serde_json::to_string(&names).unwrap()), names);
        }
    }
}
