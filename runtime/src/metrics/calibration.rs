//! Calibration metrics: expected calibration error, and reliability bands per genre.

/// Bins of [`expected_calibration_error`] and of reliability diagrams.
pub(super) const BINS: usize = 15;

/// Groups of [`is_reliable`].
const GROUPS: usize = 5;

/// How many standard deviations a group may be off. All of [`GROUPS`] stay within it in 95 % of all cases, if the
/// probabilities are right.
const DEVIATIONS: f64 = 2.57;

/// The bin of a probability: [`BINS`] of equal width.
pub(super) fn bin(probability: f32) -> usize {
    ((f64::from(probability) * BINS as f64) as usize).min(BINS - 1)
}

/// The mean distance between probability and frequency: over bins of equal width, weighted with what they hold (Guo et
/// al., "On calibration of modern neural networks", 2017). Each pair is a probability and whether it came true; 0 if
/// there is none.
pub(super) fn expected_calibration_error(pairs: impl Iterator<Item = (f32, bool)>) -> f64 {
    let mut gaps = [0.0; BINS];
    let mut count = 0;
    for (probability, positive) in pairs {
        gaps[bin(probability)] += f64::from(probability) - f64::from(u8::from(positive));
        count += 1;
    }
    if count == 0 { 0.0 } else { gaps.iter().map(|gap| gap.abs()).sum::<f64>() / f64::from(count) }
}

/// Whether frequencies lie within the band around their probabilities that chance explains: in each of five groups of
/// equally many posters, by probability, the number of positives is compared with its expectation (consistency bars:
/// Bröcker and Smith, "Increasing the reliability of reliability diagrams", 2007).
pub(super) fn is_reliable(mut pairs: Vec<(f32, bool)>) -> bool {
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs.chunks(pairs.len().div_ceil(GROUPS).max(1)).all(|group| {
        let probabilities = || group.iter().map(|(probability, _)| f64::from(*probability));
        let expected: f64 = probabilities().sum();
        let variance: f64 = probabilities().map(|probability| probability * (1.0 - probability)).sum();
        let positives = group.iter().filter(|(_, positive)| *positive).count() as f64;
        // Half a poster more, since posters are whole and the bell is not.
        (positives - expected).abs() <= DEVIATIONS * variance.sqrt() + 0.5
    })
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn errors_worked_out_by_hand() {
        let cases: [(&[(f32, bool)], f64); 5] = [
            (&[], 0.0),
            (&[(1.0, true), (0.0, false)], 0.0),
            (&[(0.51, true), (0.51, false)], 0.01),
            (&[(0.9, false)], 0.9),
            // Bins do not make up for each other.
            (&[(0.75, true), (0.25, false)], 0.25),
        ];
        for (pairs, expected) in cases {
            let found = expected_calibration_error(pairs.iter().copied());
            assert!((found - expected).abs() < 1e-6, "{pairs:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn right_probabilities_are_reliable_and_shifted_ones_are_not() {
        let mut rng = Pcg64::new(1, 0);
        let mut reliable = |shift: f64| {
            let runs = (0..200).filter(|_| {
                let pairs = (0..600).map(|_| {
                    let probability = 0.1 + 0.6 * rng.random::<f64>();
                    (probability as f32, rng.random::<f64>() < probability + shift)
                });
                is_reliable(pairs.collect())
            });
            runs.count()
        };
        assert!(reliable(0.0) >= 180, "of 200 right ones");
        assert!(reliable(0.15) <= 20, "of 200 shifted ones");
        assert!(is_reliable(Vec::new()));
    }
}
