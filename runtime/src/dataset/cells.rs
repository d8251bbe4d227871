//! Labels of cells: yes, no or unknown.

/// Cells, in lower case, that say nothing.
const UNKNOWN: [&str; 13] = ["", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "?", "-", "\\n", "unknown"];

/// Cells, in lower case, that say yes; spreadsheets write the word of the system's language.
const YES: [&str; 9] = ["true", "t", "yes", "y", "wahr", "vrai", "verdadero", "verdadeiro", "vero"];

/// Cells, in lower case, that say no, in the same languages.
const NO: [&str; 7] = ["false", "f", "no", "n", "falsch", "faux", "falso"];

/// Whether a cell says nothing: empty, or a word for that.
pub fn is_unknown(cell: &str) -> bool {
    UNKNOWN.contains(&cell.trim().to_lowercase().as_str())
}

/// The label of a cell: yes, no, or `Some(None)` for unknown; `None` if it is no label. `-1` is unknown, as in sets that
/// mark uncertain labels. Numbers may have a decimal point or comma.
pub fn label(cell: &str) -> Option<Option<bool>> {
    let cell = cell.trim().to_lowercase();
    match cell.as_str() {
        word if UNKNOWN.contains(&word) => Some(None),
        word if YES.contains(&word) => Some(Some(true)),
        word if NO.contains(&word) => Some(Some(false)),
        _ => match number(&cell)? {
            1.0 => Some(Some(true)),
            0.0 => Some(Some(false)),
            -1.0 => Some(None),
            _ => None,
        },
    }
}

/// The number in a cell, with a decimal point or comma.
pub fn number(cell: &str) -> Option<f64> {
    cell.trim().replace(',', ".").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let cases: [(&[&str], Option<Option<bool>>); 4] = [
            (
                &["1", " 1 ", "1.0", "1,0", "1.00", "+1", "True", "TRUE", "t", "yes", "Y", "WAHR", "vrai"],
                Some(Some(true)),
            ),
            (&["0", "0.0", "0,0", "-0", "False", "FALSE", "f", "no", "N", "Falsch", "faux"], Some(Some(false))),
            (
                &["", "  ", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None", "?", "-", "-1", "-1.0", "\\N"],
                Some(None),
            ),
            (&["2", "0.5", "10", "-2", "inf", "maybe", "x", "tt1", "1 0", "yes!"], None),
        ];
        for (cells, expected) in cases {
            for cell in cells {
                assert_eq!(label(cell), expected, "{cell:?}");
            }
        }
    }
}
