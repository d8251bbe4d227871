//! An evaluation as text for the terminal.

use super::evaluation::{Averages, BASELINE_PRECISION, Evaluation, MIN_SUPPORT, PrecisionRecall};

impl Evaluation {
    /// The figures as aligned text with three decimals: a row per genre, then the averages with their intervals.
    /// A figure that is not defined is shown as `-`. Where labels are unknown, each genre's row has their number.
    pub fn table(&self) -> String {
        let blocks =
            [align(&self.genre_rows()), align(&self.average_rows()), align(&self.summary_rows()), self.notes()];
        blocks.join("\n")
    }

    /// [`Evaluation::confused_with`] as aligned text. Columns carry the genres' numbers, rows numbers and names.
    pub fn confusion_table(&self) -> String {
        let mut head = vec!["missed genre".to_owned(), "times".to_owned()];
        head.extend((1..=self.genres.len()).map(|number| number.to_string()));
        let mut rows = vec![head];
        for (index, (figures, counts)) in self.genres.iter().zip(&self.confused_with).enumerate() {
            let mut row =
                vec![format!("{:2} {}", index + 1, figures.genre), figures.confusion.false_negatives.to_string()];
            row.extend(counts.iter().enumerate().map(|(other, count)| match count {
                _ if other == index => "-".to_owned(),
                0 => ".".to_owned(),
                _ => count.to_string(),
            }));
            rows.push(row);
        }
        align(&rows)
    }

    /// A row per genre. The column of unknown labels is there only if there are any.
    fn genre_rows(&self) -> Vec<Vec<String>> {
        let shows_unknown = self.unknown_labels() > 0;
        let mut head = vec!["genre", "support"];
        head.extend(shows_unknown.then_some("unknown"));
        head.extend(["prevalence", "threshold", "precision", "recall", "F1", "AP", "AUC", "TP", "FP", "FN", "TN"]);
        let mut rows = vec![head.into_iter().map(String::from).collect()];
        rows.extend(self.genres.iter().map(|it| {
            let mut row = vec![it.genre.clone(), it.support.to_string()];
            row.extend(shows_unknown.then(|| (self.posters - it.known).to_string()));
            row.extend([
                decimals(it.prevalence),
                decimals(it.threshold.into()),
                decimals(it.precision),
                decimals(it.recall),
                decimals(it.f1),
                it.average_precision.map_or("-".to_owned(), decimals),
                it.roc_auc.map_or("-".to_owned(), decimals),
                it.confusion.true_positives.to_string(),
                it.confusion.false_positives.to_string(),
                it.confusion.false_negatives.to_string(),
                it.confusion.true_negatives.to_string(),
            ]);
            row
        }));
        rows
    }

    fn unknown_labels(&self) -> usize {
        self.genres.iter().map(|it| self.posters - it.known).sum()
    }

    fn average_rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, of: fn(&Averages) -> PrecisionRecall| {
            vec![
                name.to_owned(),
                self.with_interval(|it| of(it).precision),
                self.with_interval(|it| of(it).recall),
                self.with_interval(|it| of(it).f1),
            ]
        };
        vec![
            ["average", "precision", "recall", "F1"].map(String::from).to_vec(),
            row("micro", |it| it.micro),
            row("macro", |it| it.macro_),
            row("weighted", |it| it.weighted),
            row("samples", |it| it.samples),
        ]
    }

    fn summary_rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, of: fn(&Averages) -> f64| vec![name.to_owned(), self.with_interval(of)];
        let at_precision = format!("recall at precision {BASELINE_PRECISION}");
        vec![
            row("mean average precision", |it| it.mean_average_precision),
            row("mean ROC AUC", |it| it.mean_roc_auc),
            row("micro average precision", |it| it.micro_average_precision),
            row(&at_precision, |it| it.recall_at_baseline_precision),
            row("Hamming loss", |it| it.hamming_loss),
            row("subset accuracy", |it| it.subset_accuracy),
            row("one-error", |it| it.one_error),
            row("coverage", |it| it.coverage),
            vec!["calibration error".to_owned(), decimals(self.calibration_error)],
        ]
    }

    fn notes(&self) -> String {
        let mut notes = format!(
            "Macro and mean figures go over the genres with a support of at least {MIN_SUPPORT} ({} of {}): {}.\n",
            self.macro_genres.len(),
            self.genres.len(),
            if self.macro_genres.is_empty() { "none".to_owned() } else { self.macro_genres.join(", ") },
        );
        let (unknown, labels) = (self.unknown_labels(), self.posters * self.genres.len());
        if unknown > 0 {
            notes += &format!(
                "{unknown} of {labels} labels are unknown ({:.1} %); every figure is over the known ones.\n",
                100.0 * unknown as f64 / labels as f64,
            );
        }
        let tested: Vec<_> = self.genres.iter().filter_map(|it| Some((&it.genre, it.reliable?))).collect();
        let unreliable: Vec<&str> =
            tested.iter().filter(|(_, reliable)| !reliable).map(|(it, _)| it.as_str()).collect();
        notes += &format!(
            "Frequencies lie within the 95 % band around their probabilities for {} of {} genres{}{}.\n",
            tested.len() - unreliable.len(),
            tested.len(),
            if unreliable.is_empty() { "" } else { "; not for " },
            unreliable.join(", "),
        );
        if let Some(intervals) = &self.intervals {
            notes += &format!(
                "In brackets: 95 % percentile bootstrap over the {} posters, {} resamples.\n",
                self.posters, intervals.bootstrap.resamples,
            );
        }
        notes
    }

    fn with_interval(&self, of: impl Fn(&Averages) -> f64) -> String {
        let value = decimals(of(&self.averages));
        match &self.intervals {
            Some(it) => format!("{value} [{}, {}]", decimals(of(&it.low)), decimals(of(&it.high))),
            None => value,
        }
    }
}

fn decimals(value: f64) -> String {
    format!("{value:.3}")
}

/// One line per row: the first column left-aligned, the others right-aligned, two spaces between them.
fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        text += &format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Predictions, evaluate};

    /// The tables of six posters, the third of which has this label of Science fiction.
    fn tables(third: Option<bool>) -> [String; 2] {
        let evaluation = evaluate(
            &Predictions {
                genres: &["Drama".to_owned(), "Science fiction".to_owned()],
                probabilities: &[0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.6, 0.2, 0.9, 0.1, 0.7],
                labels: &[
                    [Some(true), Some(false)],
                    [Some(true), Some(false)],
                    [Some(true), third],
                    [Some(true), Some(false)],
                    [Some(true), Some(false)],
                    [Some(false), Some(false)],
                ]
                .concat(),
            },
            &[0.5, 0.65],
            None,
        );
        [evaluation.table(), evaluation.confusion_table()]
    }

    #[test]
    fn columns_line_up() {
        let [table, confusion_table] = tables(None);
        assert_eq!(table, TABLE);
        assert_eq!(confusion_table, CONFUSION_TABLE);
    }

    #[test]
    fn a_set_without_unknown_labels_has_no_column_for_them() {
        let [table, _] = tables(Some(false));
        assert!(table.starts_with(COMPLETE), "{table}");
        assert!(!table.contains("unknown"), "{table}");
    }

    const COMPLETE: &str = "\
genre            support  prevalence  threshold  precision  recall     F1     AP    AUC  TP  FP  FN  TN
Drama                  5       0.833      0.500      1.000   0.800  0.889  1.000  1.000   4   0   1   1
Science fiction        0       0.000      0.650      0.000   0.000  0.000      -      -   0   2   0   4
";
    const TABLE: &str = "\
genre            support  unknown  prevalence  threshold  precision  recall     F1     AP    AUC  TP  FP  FN  TN
Drama                  5        0       0.833      0.500      1.000   0.800  0.889  1.000  1.000   4   0   1   1
Science fiction        0        1       0.000      0.650      0.000   0.000  0.000      -      -   0   2   0   3

average   precision  recall     F1
micro         0.667   0.800  0.727
macro         1.000   0.800  0.889
weighted      1.000   0.800  0.889
samples       0.667   0.667  0.667

mean average precision     1.000
mean ROC AUC               1.000
micro average precision    0.579
recall at precision 0.579  0.600
Hamming loss               0.273
subset accuracy            0.667
one-error                  0.200
coverage                   1.167
calibration error          0.218

Macro and mean figures go over the genres with a support of at least 5 (1 of 2): Drama.
1 of 12 labels are unknown (8.3 %); every figure is over the known ones.
Frequencies lie within the 95 % band around their probabilities for 1 of 1 genres.
";
    const CONFUSION_TABLE: &str = "\
missed genre        times  1  2
 1 Drama                1  -  1
 2 Science fiction      0  .  -
";
}
