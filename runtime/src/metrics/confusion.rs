//! Counts of right and wrong decisions, and the ratios of them.

use super::evaluation::{Confusion, PrecisionRecall};

impl Confusion {
    pub(super) fn add(&mut self, positive: bool, predicted: bool, weight: usize) {
        *match (positive, predicted) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (true, false) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        } += weight;
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            true_positives: self.true_positives + other.true_positives,
            false_positives: self.false_positives + other.false_positives,
            false_negatives: self.false_negatives + other.false_negatives,
            true_negatives: self.true_negatives + other.true_negatives,
        }
    }

    pub(super) fn support(&self) -> usize {
        self.true_positives + self.false_negatives
    }

    pub(super) fn wrong(&self) -> usize {
        self.false_positives + self.false_negatives
    }

    pub(super) fn known(&self) -> usize {
        self.true_positives + self.true_negatives + self.wrong()
    }

    pub(super) fn precision_recall(&self) -> PrecisionRecall {
        let hits = self.true_positives;
        PrecisionRecall {
            precision: ratio(hits, hits + self.false_positives),
            recall: ratio(hits, hits + self.false_negatives),
            f1: ratio(2 * hits, 2 * hits + self.wrong()),
        }
    }
}

pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
