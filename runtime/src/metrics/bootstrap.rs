//! Percentile bootstrap over posters (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

use rand::RngExt;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::evaluation::{Averages, Bootstrap, Intervals};

impl Bootstrap {
    /// The statistic `of` for each resample, given how often each of the `posters` counts.
    pub(super) fn resample<T: Send>(self, posters: usize, of: impl Fn(&[usize]) -> T + Sync) -> Vec<T> {
        assert!(self.resamples > 0, "a bootstrap needs at least one resample");
        (0..self.resamples)
            .into_par_iter()
            .map(|resample| {
                // A stream of its own for each resample, so that the threads may take them in any order.
                let mut rng = Pcg64::new(self.seed.into(), resample as u128);
                let mut weights = vec![0; posters];
                for _ in 0..posters {
                    weights[rng.random_range(0..posters)] += 1;
                }
                of(&weights)
            })
            .collect()
    }

    /// `averages` is given how often each of the `posters` counts.
    pub(super) fn intervals(self, posters: usize, averages: impl Fn(&[usize]) -> Averages + Sync) -> Intervals {
        let mut resampled: Vec<Averages> = self.resample(posters, averages);
        let (mut low, mut high) = (Averages::default(), Averages::default());
        for figure in figures() {
            let values = resampled.iter_mut().map(|it| *figure(it)).collect();
            [*figure(&mut low), *figure(&mut high)] = interval(values);
        }
        Intervals { bootstrap: self, low, high }
    }
}

pub(super) type Figure = fn(&mut Averages) -> &mut f64;

/// Every number in [`Averages`].
pub(super) fn figures() -> [Figure; 20] {
    [
        |it| &mut it.micro.precision,
        |it| &mut it.micro.recall,
        |it| &mut it.micro.f1,
        |it| &mut it.macro_.precision,
        |it| &mut it.macro_.recall,
        |it| &mut it.macro_.f1,
        |it| &mut it.weighted.precision,
        |it| &mut it.weighted.recall,
        |it| &mut it.weighted.f1,
        |it| &mut it.samples.precision,
        |it| &mut it.samples.recall,
        |it| &mut it.samples.f1,
        |it| &mut it.mean_average_precision,
        |it| &mut it.mean_roc_auc,
        |it| &mut it.micro_average_precision,
        |it| &mut it.recall_at_baseline_precision,
        |it| &mut it.hamming_loss,
        |it| &mut it.subset_accuracy,
        |it| &mut it.one_error,
        |it| &mut it.coverage,
    ]
}

/// The 2.5th and the 97.5th percentile of values, of which there is at least one.
pub(super) fn interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [percentile(&values, 0.025), percentile(&values, 0.975)]
}

/// Of ascending values, with linear interpolation between neighbours (numpy's default).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::super::predictions::tests::{Drawn, PREVALENCES};
    use super::*;

    #[test]
    fn intervals_enclose_the_figures_and_narrow_with_more_posters() {
        let bootstrap = Some(Bootstrap { resamples: 200, seed: 5 });
        let [mut few, mut many] = [150, 2400]
            .map(|posters| evaluate(&Drawn::new(posters, &PREVALENCES[..5], 4).predictions(), &[0.3; 5], bootstrap));
        let width =
            |intervals: &mut Intervals, figure: Figure| *figure(&mut intervals.high) - *figure(&mut intervals.low);
        for (number, figure) in figures().into_iter().enumerate() {
            for evaluation in [&mut few, &mut many] {
                let value = *figure(&mut evaluation.averages);
                let intervals = evaluation.intervals.as_mut().unwrap();
                let (low, high) = (*figure(&mut intervals.low), *figure(&mut intervals.high));
                assert!(low <= value && value <= high, "figure {number}: {value} [{low}, {high}]");
            }
            let few = width(few.intervals.as_mut().unwrap(), figure);
            let many = width(many.intervals.as_mut().unwrap(), figure);
            // Sixteen times the posters: a quarter of the width.
            assert!((2.0..8.0).contains(&(few / many)), "figure {number}: {few} {many}");
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        let drawn = Drawn::new(60, &PREVALENCES, 6);
        let intervals = |seed, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let bootstrap = Some(Bootstrap { resamples: 50, seed });
            pool.install(|| evaluate(&drawn.predictions(), &[0.3; 7], bootstrap).intervals)
        };
        assert_eq!(intervals(1, 1), intervals(1, 3));
        assert_ne!(intervals(1, 1), intervals(2, 1));
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let cases: [(&[f64], f64, f64); 5] = [
            (&[7.0], 0.975, 7.0),
            (&[1.0, 2.0], 0.0, 1.0),
            (&[1.0, 2.0], 0.25, 1.25),
            (&[1.0, 2.0, 4.0], 0.75, 3.0),
            (&[1.0, 2.0, 4.0], 1.0, 4.0),
        ];
        for (sorted, share, expected) in cases {
            assert_eq!(percentile(sorted, share), expected, "{sorted:?} at {share}");
        }
    }
}
