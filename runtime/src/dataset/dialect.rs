//! Header and rows of a label file, whatever its delimiter and line ends.

use std::borrow::Cow;

use csv::StringRecord;

/// Delimiters that are recognised; of equally frequent ones in the header the first is taken.
pub const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Fields of a file.
#[derive(Clone, Debug)]
pub struct Records {
    /// The names of the columns, as written.
    pub header: StringRecord,
    /// The rows that are not blank, each with its line, counted from 1, and as many fields as the header.
    pub rows: Vec<(u64, StringRecord)>,
}

/// Why text is no table.
#[derive(Debug)]
pub enum Problem {
    /// The error of the CSV reader.
    Csv(csv::Error),
    /// A row has another number of fields than the header.
    Fields {
        /// Its line, counted from 1.
        line: u64,
        /// The number of its fields.
        found: usize,
        /// The number of the header's fields.
        expected: usize,
        /// The delimiter that the header has.
        delimiter: char,
    },
}

/// Reads a table. Lines end in CR, LF or both. Rows of empty fields are left out, and empty fields behind a row's end.
///
/// # Errors
/// If a row has another number of fields than the header.
pub fn records(text: &str) -> Result<Records, Problem> {
    // The CSV reader ends lines at a lone CR, but does not count it.
    let text = if text.contains('\n') { Cow::Borrowed(text) } else { Cow::Owned(text.replace('\r', "\n")) };
    let (delimiter, text) = delimiter(&text);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(Problem::Csv)?;
        if record.iter().any(|field| !field.trim().is_empty()) {
            rows.push((line(text, &record), record));
        }
    }
    let mut header = if rows.is_empty() { StringRecord::new() } else { rows.remove(0).1 };
    // R leaves out the name of the column that numbers the rows.
    let is_one_more = |row: &StringRecord| row.len() == header.len() + 1;
    if rows.iter().all(|(_, row)| is_one_more(row)) && rows.iter().any(|(_, row)| !row[header.len()].is_empty()) {
        header = [""].into_iter().chain(header.iter()).collect();
    }
    for (line, row) in &mut rows {
        if row.iter().skip(header.len()).all(|field| field.trim().is_empty()) {
            row.truncate(header.len());
        }
        if row.len() != header.len() {
            let delimiter = delimiter.into();
            return Err(Problem::Fields { line: *line, found: row.len(), expected: header.len(), delimiter });
        }
    }
    Ok(Records { header, rows })
}

/// The delimiter of a table, and its text without Excel's first line `sep=;`, which names it.
fn delimiter(text: &str) -> (u8, &str) {
    let start = text.find(|char: char| char.is_alphanumeric()).unwrap_or(0);
    let start = text[..start].rfind('\n').map_or(0, |end| end + 1);
    let first = text[start..].lines().next().unwrap_or_default();
    if let Some(&[delimiter]) = first.trim_matches('"').strip_prefix("sep=").map(str::as_bytes) {
        // The line's end stays, so that lines keep their numbers.
        return (delimiter, &text[start + first.len()..]);
    }

    let mut counts = [0; DELIMITERS.len()];
    let mut quoted = false;
    for byte in text[start..].bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if quoted => {}
            _ => counts.iter_mut().zip(DELIMITERS).for_each(|(count, own)| *count += usize::from(own == byte)),
        }
    }
    let most = counts.iter().max().expect("there are delimiters");
    let found = counts.iter().position(|count| count == most).expect("the largest count is one of the counts");
    (DELIMITERS[found], text)
}

/// The line of a record, counted from 1: the reader's own number is that of the blank lines before it.
fn line(text: &str, record: &StringRecord) -> u64 {
    let position = record.position().expect("the reader sets a record's position");
    let before = text.as_bytes()[position.byte() as usize..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + before.filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(record: &StringRecord) -> Vec<&str> {
        record.iter().collect()
    }

    #[test]
    fn every_dialect_gives_the_same_records() {
        let table = "Id,Title,Action\ntt1,\"A, B; or C\",1\ntt2,D,0\n";
        let spoken = |delimiter: &str| {
            let quoted = table.replace("\"A, B; or C\"", "\0").replace(',', delimiter);
            quoted.replace('\0', "\"A, B; or C\"")
        };
        let cases = [
            ("comma", b',', table.to_string()),
            ("semicolon", b';', spoken(";")),
            ("tab", b'\t', spoken("\t")),
            ("bar", b'|', spoken("|")),
            ("CRLF", b',', table.replace('\n', "\r\n")),
            ("CR", b';', spoken(";").replace('\n', "\r")),
            ("no end of the last line", b',', table.trim_end().to_string()),
            ("blank rows", b',', table.replace('\n', "\n\n,,\n , ,\n")),
            ("blank lines first", b',', format!("\n,,\n{table}")),
            ("empty fields at the ends", b';', spoken(";").replace("1\n", "1;;\n").replace("0\n", "0;\n")),
            ("Excel's first line", b';', format!("sep=;\n{}", spoken(";"))),
        ];
        for (name, expected, text) in cases {
            assert_eq!(delimiter(&text).0, expected, "{name}");
            let records = records(&text).unwrap_or_else(|problem| panic!("{name}: {problem:?}"));
            assert_eq!(fields(&records.header), ["Id", "Title", "Action"], "{name}");
            assert_eq!(fields(&records.rows[0].1), ["tt1", "A, B; or C", "1"], "{name}");
            assert_eq!(fields(&records.rows[1].1), ["tt2", "D", "0"], "{name}");
            assert_eq!(records.rows.len(), 2, "{name}");
        }
        assert_eq!(fields(&records("Action Drama\n1 2\n").unwrap().header), ["Action Drama"]);
        assert!(records("").unwrap().header.is_empty());
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones() {
        for text in ["a,b\n\n,\n1,2\n\n\n3,4\n", "sep=,\na,b\n\n1,2\n\n\n3,4\n", "\ra,b\r\r1,2\r\r\r3,4\r"] {
            let lines: Vec<u64> = records(text).unwrap().rows.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, [4, 7], "{text:?}");
        }
    }

    #[test]
    fn a_column_of_row_names_may_be_without_a_name() {
        let records = records("Id,Action\n1,tt1,1\n2,tt2,0\n").unwrap();
        assert_eq!(fields(&records.header), ["", "Id", "Action"]);
    }

    #[test]
    fn rows_with_too_many_or_too_few_fields_are_named() {
        for (text, expected) in [("a;b\n1;2\n3\n", (3, 1)), ("a;b\n1;2\n3;4;5\n", (3, 3))] {
            match records(text) {
                Err(Problem::Fields { line, found, expected: 2, delimiter: ';' }) => {
                    assert_eq!((line, found), expected, "{text:?}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
