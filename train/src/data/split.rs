//! Stratified split of a multi-label dataset.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use runtime::dataset::LabelledPoster;

/// Assigns posters to parts by iterative stratification, so that each part has its share of every genre (Sechidis,
/// Tsoumakas and Vlahavas, "On the stratification of multi-label data", 2011): the rarest genre is assigned first,
/// each poster to the part that needs it most. Posters of one group stay in one part.
///
/// `groups`, `[N]`, is the group of each poster, `shares`, `[parts]`, the relative size of each part. Returns the
/// index of each poster's part, `[N]`. The result follows from the seed.
///
/// # Panics
/// If there is no part.
pub fn stratify(posters: &[LabelledPoster], groups: &[usize], shares: &[f64], seed: u64) -> Vec<usize> {
    let genres = posters.first().map_or(0, |poster| poster.labels.len());
    let mut units = units(posters, groups, genres);
    units.shuffle(&mut Pcg64::seed_from_u64(seed));

    let total: f64 = shares.iter().sum();
    let mut wanted: Vec<Vec<f64>> = shares
        .iter()
        .map(|share| {
            // The last column counts all posters.
            let counts = (0..=genres).map(|genre| units.iter().map(|unit| unit.counts[genre]).sum::<usize>());
            counts.map(|count| share / total * count as f64).collect()
        })
        .collect();
    let mut parts = vec![0; posters.len()];
    while !units.is_empty() {
        let left = |genre: usize| units.iter().map(|unit| unit.counts[genre]).sum::<usize>();
        let rarest = (0..genres).filter(|&genre| left(genre) > 0).min_by_key(|&genre| left(genre)).unwrap_or(genres);
        let (with_rarest, rest) = units.into_iter().partition(|unit: &Unit| unit.counts[rarest] > 0);
        units = rest;
        for unit in with_rarest {
            let needs = |part: &Vec<f64>| (part[rarest], part[genres]);
            let part = (0..shares.len())
                .max_by(|&a, &b| needs(&wanted[a]).partial_cmp(&needs(&wanted[b])).expect("shares are numbers"))
                .expect("there must be a part");
            for (wanted, count) in wanted[part].iter_mut().zip(&unit.counts) {
                *wanted -= *count as f64;
            }
            for poster in unit.posters {
                parts[poster] = part;
            }
        }
    }
    parts
}

/// Posters of one group, which stay together.
struct Unit {
    /// Indices of the posters.
    posters: Vec<usize>,
    /// The number of posters of each genre, then of all of them, `[G + 1]`.
    counts: Vec<usize>,
}

fn units(posters: &[LabelledPoster], groups: &[usize], genres: usize) -> Vec<Unit> {
    let mut by_group = std::collections::BTreeMap::<usize, Unit>::new();
    for (index, (poster, group)) in posters.iter().zip(groups).enumerate() {
        let unit = by_group.entry(*group).or_insert_with(|| Unit { posters: Vec::new(), counts: vec![0; genres + 1] });
        unit.posters.push(index);
        unit.counts[genres] += 1;
        for (count, label) in unit.counts.iter_mut().zip(&poster.labels) {
            *count += usize::from(*label == Some(true));
        }
    }
    by_group.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// 1,000 posters with four genres of very different frequency, in which every tenth poster has a twin.
    fn posters() -> (Vec<LabelledPoster>, Vec<usize>) {
        let mut rng = Pcg64::seed_from_u64(7);
        let posters = (0..1000).map(|index| LabelledPoster {
            any_of: Vec::new(),
            id: index.to_string(),
            path: index.to_string().into(),
            labels: [0.6, 0.3, 0.05, 0.012].map(|share| Some(rng.random_bool(share))).to_vec(),
        });
        (posters.collect(), (0..1000).map(|index| if index % 10 == 1 { index - 1 } else { index }).collect())
    }

    #[test]
    fn each_part_has_its_share_of_each_genre() {
        let (posters, groups) = posters();
        let shares = [0.8, 0.1, 0.1];
        let parts = stratify(&posters, &groups, &shares, 3);
        for genre in 0..4 {
            let has = |poster: &LabelledPoster| poster.labels[genre] == Some(true);
            let support = posters.iter().filter(|poster| has(poster)).count() as f64;
            for (part, share) in shares.iter().enumerate() {
                let count = posters.iter().zip(&parts).filter(|(poster, own)| has(poster) && **own == part).count();
                let off = (count as f64 - share * support).abs();
                assert!(off <= 2.0, "genre {genre}, part {part}: {count} of {support}");
            }
        }
    }

    #[test]
    fn groups_stay_together_and_the_seed_decides() {
        let (posters, groups) = posters();
        let deal = |seed| stratify(&posters, &groups, &[0.5, 0.5], seed);
        let parts = deal(1);
        assert!(groups.iter().enumerate().all(|(poster, group)| parts[poster] == parts[*group]));
        assert_eq!(parts, deal(1));
        assert_ne!(parts, deal(2));
    }
}
