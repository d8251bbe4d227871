//! Genre lists that were cut: detection of lists that stop at N genres in alphabetical order, and masking of the labels
//! that may be missing from them.
//!
//! Widely used poster data sets give a film at most three genres, and take the first three in alphabetical order. A
//! film with the genres Action, Crime, Drama and Thriller is listed as Action, Crime, Drama, and its Thriller column
//! wrongly holds 0. In a list of N genres nothing is known of the genres that come after the last listed one; [`mask`]
//! makes them unknown.
//!
//! # Detection
//!
//! [`detect`] reports a limit N only if all of these hold:
//!
//! 1. **The lengths stop abruptly.** No list is longer than N, at least 3, and lists of N genres are at least a tenth
//!    of all lists and at least 100. Of lists that were never cut, the longest are few.
//! 2. **Late genres are too rare in lists of N genres.** Let r(g) be the log of a genre's frequency in lists of N
//!    divided by its frequency in lists of N - 1. The correlation of -r(g) with the genre's alphabetical rank is
//!    larger than in 90 % of random orders of the genres. By itself this is weak evidence: some genres go with many
//!    others by nature, and several of these (Action, Adventure, Animation) happen to come early in the alphabet.
//! 3. **Lists of N genres end too early.** Lists of N that are the first part of longer lists are as many times more
//!    frequent as there are genres left to come after their last one. The statistic is the mean, over lists of N, of
//!    the number of genres that would come after the last one (the sum of these genres' frequencies in shorter lists),
//!    minus its expectation under a model in which lists were not cut. In the model the probability of a set of N
//!    genres is proportional to a weight for each genre, fitted so that each genre is exactly as frequent as it is in
//!    the lists of N, times, for each pair in the set, how many times more often the pair occurs in shorter lists than
//!    chance would have it. So neither a genre's frequency nor its affinities count as evidence, only the place at
//!    which lists end. The difference is larger than in 98 % of random orders of the genres.
//!
//! The criterion was tried on whole lists of films from three sources, cut at 3 or 4 genres, by conditions 2 and 3.
//! Of 1008 sets that were cut at random or by frequency, or left without their longer lists, 5 met both. Of the sets
//! cut at 3 in the true alphabetical order, every full one (2,350 to 3,066 lists of 3) met both, three quarters of
//! random parts of 2,500 films and over half of parts of 1,200; with the genres in a random order for an alphabet it
//! was a third of the full sets. Sets cut at 4 were missed in the true alphabetical order, apart from a few small
//! parts. The test is made to be silent rather than wrong: `None` is no proof that lists are whole. A limit of 1 or 2
//! cannot be detected, since pairs in shorter lists are needed.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

/// The fewest lists of N genres that are tested.
const MIN_LISTS: usize = 100;

/// The smallest share of all lists that the lists of N genres have in a set that was cut.
const MIN_SHARE: f64 = 0.1;

/// Genres that occur less often in the lists of N genres are left out of the tests, with the lists that name them.
const MIN_GENRE: usize = 5;

/// The smallest number of genres whose order is tested.
const MIN_GENRES: usize = 6;

/// The largest number of sets of N genres that the model goes over.
const MAX_SUBSETS: usize = 100_000;

/// The number of random orders of the genres that alphabetical order is compared with.
const ORDERS: usize = 499;

/// The largest share of random orders with rarer late genres than alphabetical order has (condition 2).
const RATE_LEVEL: f64 = 0.1;

/// The largest share of random orders in which lists end earlier than in alphabetical order (condition 3).
const END_LEVEL: f64 = 0.02;

/// Pairs that are added to the observed and to the expected number before they are compared, since few are noise.
const PAIR_PRIOR: f64 = 2.0;

/// What [`detect`] found: no list is longer than `limit` genres, and lists were cut in alphabetical order.
#[derive(Clone, Debug, PartialEq)]
pub struct CutLists {
    /// The largest number of genres in a list, N.
    pub limit: usize,
    /// Posters with exactly N genres.
    pub at_limit: usize,
    /// Posters with at least one genre.
    pub posters: usize,
    /// Negative labels that [`mask`] makes unknown, because they come after the last genre of a list of N.
    pub unknown: usize,
    /// The share of random orders of the genres in which late genres are as rare in lists of N as in alphabetical
    /// order, at least (condition 2).
    pub as_rare: f64,
    /// The share of random orders of the genres in which lists of N end as early as in alphabetical order, at least
    /// (condition 3).
    pub as_early: f64,
    /// The late genres with the most labels that become unknown, up to five, most first.
    pub late_genres: Vec<String>,
}

/// Makes the labels `[G]` of one poster unknown that a list of at most `limit` genres in alphabetical order does not
/// tell: see [`Dataset::with_list_limit`](super::Dataset::with_list_limit).
///
/// # Panics
/// If the numbers of genres and labels differ.
pub fn mask(genres: &[String], labels: &mut [Option<bool>], limit: usize) {
    assert_eq!(genres.len(), labels.len(), "there must be one label per genre");
    if let Some(last) = last_listed(genres, labels, limit) {
        for (genre, label) in genres.iter().zip(labels) {
            if *label == Some(false) && *genre > genres[last] {
                *label = None;
            }
        }
    }
}

/// Index of the last positive genre in alphabetical order, if there are exactly `limit` positive genres: a list of more
/// was not cut at the limit.
fn last_listed(genres: &[String], labels: &[Option<bool>], limit: usize) -> Option<usize> {
    let positive = || (0..labels.len()).filter(|&genre| labels[genre] == Some(true));
    if positive().count() == limit { positive().max_by_key(|&genre| &genres[genre]) } else { None }
}

/// Tells whether the labels `[N, G]` come from lists that were cut in alphabetical order; see the [module](self) for
/// the criterion. Posters with an unknown label are left out, because [`mask`] or a person has dealt with them.
///
/// # Panics
/// If a poster has not one label per genre.
pub fn detect<'a>(genres: &[String], labels: impl Iterator<Item = &'a [Option<bool>]>) -> Option<CutLists> {
    let mut alphabetical: Vec<usize> = (0..genres.len()).collect();
    alphabetical.sort_by_key(|&genre| &genres[genre]);
    let mut lists: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for labels in labels {
        assert_eq!(genres.len(), labels.len(), "there must be one label per genre");
        let list: Vec<usize> =
            (0..alphabetical.len()).filter(|&rank| labels[alphabetical[rank]] == Some(true)).collect();
        longest = longest.max(list.len());
        if !list.is_empty() && labels.iter().all(Option::is_some) {
            lists.push(list);
        }
    }
    let limit = longest;
    let at_limit = lists.iter().filter(|list| list.len() == limit).count();
    if limit < 3 || at_limit < MIN_LISTS || (at_limit as f64) < MIN_SHARE * lists.len() as f64 {
        return None;
    }

    let evidence = Evidence::new(genres.len(), &lists, limit)?;
    let mut order: Vec<usize> = (0..evidence.genres).collect();
    let (rates, ends) = (evidence.rates(&order), evidence.ends(&order));
    let mut rng = Pcg64::seed_from_u64(0);
    let (mut rates_beaten, mut ends_beaten) = (0, 0);
    for _ in 0..ORDERS {
        order.shuffle(&mut rng);
        rates_beaten += usize::from(evidence.rates(&order) >= rates);
        ends_beaten += usize::from(evidence.ends(&order) >= ends);
    }
    let share = |beaten: usize| (beaten + 1) as f64 / (ORDERS + 1) as f64;
    let (as_rare, as_early) = (share(rates_beaten), share(ends_beaten));
    if as_rare > RATE_LEVEL || as_early > END_LEVEL {
        return None;
    }

    // What masking changes.
    let names: Vec<&String> = alphabetical.iter().map(|&genre| &genres[genre]).collect();
    let mut unknown = vec![0; names.len()];
    for list in lists.iter().filter(|list| list.len() == limit) {
        (list[limit - 1] + 1..names.len()).for_each(|rank| unknown[rank] += 1);
    }
    // Of the labels that become unknown, the wrong ones are of frequent genres most of all.
    let frequent = |rank: usize| lists.iter().flatten().filter(|&&other| other == rank).count() * unknown[rank];
    let mut late: Vec<usize> = (names.len() / 2..names.len()).filter(|&rank| frequent(rank) > 0).collect();
    late.sort_by_key(|&rank| std::cmp::Reverse(frequent(rank)));
    Some(CutLists {
        limit,
        at_limit,
        posters: lists.len(),
        unknown: unknown.iter().sum(),
        as_rare,
        as_early,
        late_genres: late.into_iter().take(5).map(|rank| names[rank].clone()).collect(),
    })
}

/// The statistics of conditions 2 and 3, for any order of the genres.
struct Evidence {
    /// Number of the genres that are frequent enough, V.
    genres: usize,
    /// Log of a genre's frequency in lists of N genres divided by that in lists of N - 1, `[V]`.
    log_ratio: Vec<f64>,
    /// A genre's frequency in lists shorter than N, `[V]`.
    shorter: Vec<f64>,
    /// All sets of N genres.
    subsets: Vec<Vec<usize>>,
    /// The probability of each set where lists are not cut.
    expected: Vec<f64>,
    /// The share of the lists of N genres that are each set, in the order of [`Evidence::subsets`].
    observed: Vec<f64>,
}

impl Evidence {
    /// `lists` are ascending indices of `genres` genres, none longer than `limit`. `None` if too few genres are
    /// frequent or the sets of genres are too many.
    fn new(genres: usize, lists: &[Vec<usize>], limit: usize) -> Option<Self> {
        let count = |len: usize| {
            let mut counts = vec![0; genres];
            lists.iter().filter(|list| list.len() == len).flatten().for_each(|&genre| counts[genre] += 1);
            counts
        };
        let at_limit = count(limit);
        let frequent: Vec<usize> = (0..genres).filter(|&genre| at_limit[genre] >= MIN_GENRE).collect();
        let genres = frequent.len();
        let subset_count = (0..limit).try_fold(1_usize, |product, index| {
            let product = product * genres.checked_sub(index)? / (index + 1);
            (product <= MAX_SUBSETS).then_some(product)
        })?;
        if genres < MIN_GENRES || subset_count == 0 {
            return None;
        }
        let renumbered = |list: &Vec<usize>| -> Vec<usize> {
            list.iter().filter_map(|genre| frequent.iter().position(|own| own == genre)).collect()
        };
        let (longest, shorter): (Vec<_>, Vec<_>) = lists.iter().partition(|list| list.len() == limit);
        let (longest, shorter): (Vec<Vec<usize>>, Vec<Vec<usize>>) =
            (longest.into_iter().map(renumbered).collect(), shorter.into_iter().map(renumbered).collect());
        let longest: Vec<Vec<usize>> = longest.into_iter().filter(|list| list.len() == limit).collect();
        if longest.is_empty() {
            return None;
        }

        let before = count(limit - 1);
        let log_ratio = frequent
            .iter()
            .map(|&genre| ((at_limit[genre] as f64 + 0.5) / (before[genre] as f64 + 0.5)).ln())
            .collect();
        let mut frequency = vec![0.0; genres];
        shorter.iter().flatten().for_each(|&genre| frequency[genre] += 1.0 / shorter.len() as f64);

        let subsets = subsets(genres, limit);
        let mut observed = vec![0.0; subsets.len()];
        for list in &longest {
            let index = subsets.binary_search(list).expect("every list of frequent genres is one of the sets");
            observed[index] += 1.0 / longest.len() as f64;
        }
        let expected = fit(&subsets, &affinities(genres, &shorter), &observed, genres);
        Some(Self { genres, log_ratio, shorter: frequency, subsets, expected, observed })
    }

    /// Condition 2: the correlation of -r(g) with the rank of g in `order`, which lists genres by rank.
    fn rates(&self, order: &[usize]) -> f64 {
        let mean = self.log_ratio.iter().sum::<f64>() / self.genres as f64;
        let middle = (self.genres - 1) as f64 / 2.0;
        let covariance = |(rank, &genre): (usize, &usize)| (middle - rank as f64) * (self.log_ratio[genre] - mean);
        // The deviations do not depend on the order, so that the covariance ranks orders as the correlation does.
        order.iter().enumerate().map(covariance).sum()
    }

    /// Condition 3: the mean number of genres after a list's last one, minus its expectation.
    fn ends(&self, order: &[usize]) -> f64 {
        let mut after = vec![0.0; self.genres];
        let mut sum = 0.0;
        for &genre in order.iter().rev() {
            after[genre] = sum;
            sum += self.shorter[genre];
        }
        let differences = self.subsets.iter().zip(self.observed.iter().zip(&self.expected));
        let last = |subset: &[usize]| subset.iter().map(|&genre| after[genre]).fold(f64::INFINITY, f64::min);
        differences.map(|(subset, (observed, expected))| (observed - expected) * last(subset)).sum()
    }
}

/// How many times more often than by chance each pair of genres occurs in lists of at least two, `[V, V]`.
fn affinities(genres: usize, lists: &[Vec<usize>]) -> Vec<f64> {
    let mut pairs = vec![0.0; genres * genres];
    for list in lists {
        for &a in list {
            list.iter().filter(|&&b| a != b).for_each(|&b| pairs[a * genres + b] += 1.0);
        }
    }
    let total: f64 = pairs.iter().sum();
    let sums: Vec<f64> = pairs.chunks_exact(genres).map(|row| row.iter().sum()).collect();
    let chance = |index: usize| sums[index / genres] * sums[index % genres] / total.max(1.0);
    (0..pairs.len()).map(|index| (pairs[index] + PAIR_PRIOR) / (chance(index) + PAIR_PRIOR)).collect()
}

/// The probability of each set of genres if it is proportional to the product of its genres' weights and its pairs'
/// affinities, with the weights at which each genre is as frequent as it is observed (iterative proportional fitting).
fn fit(subsets: &[Vec<usize>], affinities: &[f64], observed: &[f64], genres: usize) -> Vec<f64> {
    let frequencies = |shares: &[f64]| {
        let mut frequencies = vec![0.0; genres];
        for (subset, share) in subsets.iter().zip(shares) {
            subset.iter().for_each(|&genre| frequencies[genre] += share);
        }
        frequencies
    };
    let wanted = frequencies(observed);
    let pairs: Vec<f64> = subsets
        .iter()
        .map(|subset| {
            let pairs = subset.iter().enumerate().flat_map(|(index, a)| subset[..index].iter().map(move |b| (a, b)));
            pairs.map(|(a, b)| affinities[a * genres + b]).product()
        })
        .collect();
    let mut weights = wanted.clone();
    let mut expected = Vec::new();
    for _ in 0..500 {
        let product =
            |(subset, pairs): (&Vec<usize>, &f64)| pairs * subset.iter().map(|&genre| weights[genre]).product::<f64>();
        expected = subsets.iter().zip(&pairs).map(product).collect();
        let total: f64 = expected.iter().sum();
        expected.iter_mut().for_each(|share| *share /= total);
        let found = frequencies(&expected);
        if found.iter().zip(&wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6) {
            break;
        }
        // A genre's weight counts in each of the N factors of a set, so that a full step would overshoot.
        let step = 1.0 / subsets[0].len() as f64;
        for ((weight, found), wanted) in weights.iter_mut().zip(found).zip(&wanted) {
            *weight *= (wanted / found).powf(step);
        }
    }
    expected
}

/// All ascending sets of `len` of the numbers below `count`, in lexicographic order.
fn subsets(count: usize, len: usize) -> Vec<Vec<usize>> {
    let mut subset: Vec<usize> = (0..len).collect();
    let mut subsets = Vec::new();
    loop {
        subsets.push(subset.clone());
        let Some(index) = (0..len).rev().find(|&index| subset[index] < count - len + index) else { return subsets };
        subset[index] += 1;
        (index + 1..len).for_each(|later| subset[later] = subset[later - 1] + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use rand::RngExt;

    use super::super::{Dataset, LabelledPoster};
    use super::*;

    const GENRES: [&str; 14] = [
        "Action",
        "Adventure",
        "Comedy",
        "Crime",
        "Drama",
        "Family",
        "Fantasy",
        "Horror",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ];

    fn genres() -> Vec<String> {
        GENRES.map(String::from).to_vec()
    }

    /// Whole genre lists of 3,000 films, `[N, 14]`, in which some genres go together.
    fn films() -> Vec<Vec<bool>> {
        const FREQUENCY: [f64; 14] = [0.2, 0.1, 0.4, 0.15, 0.5, 0.1, 0.1, 0.1, 0.12, 0.25, 0.12, 0.3, 0.08, 0.06];
        /// Pairs of genres that go together, by their indices.
        const PAIRS: [(usize, usize); 5] = [(0, 1), (3, 11), (7, 8), (2, 9), (5, 6)];
        let mut rng = Pcg64::seed_from_u64(5);
        let film = |_| {
            let mut film: Vec<bool> = FREQUENCY.iter().map(|frequency| rng.random_bool(*frequency)).collect();
            for (a, b) in PAIRS {
                film[b] |= film[a] && rng.random_bool(0.3);
            }
            film
        };
        (0..3000).map(film).filter(|film: &Vec<bool>| film.contains(&true)).collect()
    }

    /// Keeps the first `limit` genres of a film in the order given.
    fn capped(film: &[bool], order: &[usize], limit: usize) -> Vec<bool> {
        let kept: Vec<usize> = order.iter().copied().filter(|&genre| film[genre]).take(limit).collect();
        (0..film.len()).map(|genre| kept.contains(&genre)).collect()
    }

    fn known(films: &[Vec<bool>]) -> Vec<Vec<Option<bool>>> {
        films.iter().map(|film| film.iter().map(|yes| Some(*yes)).collect()).collect()
    }

    fn found(genres: &[String], labels: &[Vec<Option<bool>>]) -> Option<CutLists> {
        detect(genres, labels.iter().map(Vec::as_slice))
    }

    #[test]
    fn only_lists_that_were_cut_in_alphabetical_order_are_found() {
        let films = films();
        let alphabetical: Vec<usize> = (0..GENRES.len()).collect();
        let backwards: Vec<usize> = alphabetical.iter().copied().rev().collect();
        let mut by_frequency = alphabetical.clone();
        by_frequency.sort_by_key(|&genre| std::cmp::Reverse(films.iter().filter(|film| film[genre]).count()));
        let cut = |order: &[usize], limit| films.iter().map(|film| capped(film, order, limit)).collect::<Vec<_>>();
        let mut rng = Pcg64::seed_from_u64(6);
        let at_random = films.iter().map(|film| {
            let mut order = alphabetical.clone();
            order.shuffle(&mut rng);
            capped(film, &order, 3)
        });
        let count = |film: &&Vec<bool>| film.iter().filter(|yes| **yes).count();
        type Case = (&'static str, Vec<Vec<bool>>, Option<usize>);
        let cases: [Case; 9] = [
            ("cut at 3", cut(&alphabetical, 3), Some(3)),
            ("cut at 4", cut(&alphabetical, 4), Some(4)),
            ("whole", films.clone(), None),
            ("films of at most 3 genres", films.iter().filter(|film| count(film) <= 3).cloned().collect(), None),
            ("the 3 most frequent genres", cut(&by_frequency, 3), None),
            ("the last 3 genres of the alphabet", cut(&backwards, 3), None),
            ("3 genres at random", at_random.collect(), None),
            ("one genre", cut(&alphabetical, 1), None),
            ("few posters", cut(&alphabetical, 3).into_iter().take(100).collect(), None),
        ];
        for (case, films, expected) in cases {
            let labels = known(&films);
            assert_eq!(found(&genres(), &labels).map(|it| it.limit), expected, "{case}");
            // The order of the columns does not matter.
            let turned: Vec<Vec<_>> = labels.iter().map(|row| row.iter().copied().rev().collect()).collect();
            let names: Vec<String> = genres().into_iter().rev().collect();
            assert_eq!(found(&names, &turned).map(|it| it.limit), expected, "{case}, columns turned round");
        }
    }

    #[test]
    fn the_figures_are_those_of_the_set_and_a_masked_set_is_not_reported() {
        let alphabetical: Vec<usize> = (0..GENRES.len()).collect();
        let films: Vec<_> = films().iter().map(|film| capped(film, &alphabetical, 3)).collect();
        let mut labels = known(&films);
        let cut = found(&genres(), &labels).unwrap();
        let at_limit = films.iter().filter(|film| film.iter().filter(|yes| **yes).count() == 3).count();
        assert_eq!((cut.limit, cut.at_limit, cut.posters), (3, at_limit, films.len()));
        assert_eq!(cut.late_genres[0], "Thriller");

        labels.iter_mut().for_each(|labels| mask(&genres(), labels, 3));
        let unknown = labels.iter().flatten().filter(|label| label.is_none()).count();
        assert_eq!(cut.unknown, unknown);
        assert_eq!(found(&genres(), &labels), None);
    }

    #[test]
    fn what_comes_after_the_last_genre_of_a_full_list_becomes_unknown() {
        const Y: Option<bool> = Some(true);
        const N: Option<bool> = Some(false);
        type Case<'a> = (&'a [&'a str], usize, &'a [Option<bool>], &'a [Option<bool>]);
        let cases: [Case; 8] = [
            (&["A", "B", "C", "D", "E"], 2, &[Y, N, Y, N, N], &[Y, N, Y, None, None]),
            (&["A", "B", "C", "D", "E"], 3, &[Y, N, Y, N, N], &[Y, N, Y, N, N]),
            // A list of more genres was not cut.
            (&["A", "B", "C", "D", "E"], 2, &[Y, Y, Y, N, N], &[Y, Y, Y, N, N]),
            (&["A", "B", "C", "D", "E"], 2, &[Y, N, N, N, Y], &[Y, N, N, N, Y]),
            (&["A", "B", "C", "D", "E"], 1, &[N, None, Y, N, None], &[N, None, Y, None, None]),
            // Columns need not be in alphabetical order, and capitals come before small letters.
            (&["War", "Drama", "Action", "anime"], 2, &[N, Y, Y, N], &[None, Y, Y, None]),
            (&["Sport", "Sci-Fi", "Reality-TV"], 1, &[N, Y, N], &[None, Y, N]),
            (&["A", "B"], 1, &[N, N], &[N, N]),
        ];
        for (names, limit, labels, expected) in cases {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let mut masked = labels.to_vec();
            mask(&names, &mut masked, limit);
            assert_eq!(masked, expected, "{names:?}, limit {limit}, {labels:?}");
        }
    }

    proptest! {
        #[test]
        fn masking_only_forgets_negatives_and_masking_twice_is_masking_once(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(any::<bool>()), 6), 1..20),
            names in Just(["Drama", "Action", "War", "Comedy", "Sci-Fi", "Reality-TV"]).prop_shuffle(),
            limit in 1_usize..5,
        ) {
            let poster = |labels| LabelledPoster { id: "1".into(), path: "1.jpg".into(), labels, any_of: Vec::new() };
            let set = Dataset {
                genres: names.map(String::from).to_vec(),
                posters: rows.into_iter().map(poster).collect(),
                passed_over: Vec::new(),
            };
            let masked = set.clone().with_list_limit(limit);
            for (before, after) in set.labels().into_iter().zip(masked.labels()) {
                prop_assert!(before == after || (before == Some(false) && after.is_none()));
            }
            prop_assert_eq!(masked.clone().with_list_limit(limit), masked);
        }
    }

    /// The sets that the criterion was tried on lie outside the project.
    #[test]
    fn published_sets_are_told_from_whole_ones() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let cases = [
            ("posters25/train.csv", Some(3)),
            ("posters25/train-full.csv", None),
            ("posters25/val-full.csv", None),
            ("posters25/test-full.csv", None),
            ("posters7/train.csv", None),
            ("posters7/train-full.csv", None),
            ("posters-more/train-full.csv", None),
            ("posters-more/val-full.csv", None),
        ];
        for (name, expected) in cases {
            let csv = folder.join(name);
            if !csv.exists() {
                eprintln!("skipped: {} is not there", csv.display());
                continue;
            }
            let set = Dataset::read(&[csv.display().to_string().parse().unwrap()]).unwrap();
            assert_eq!(set.cut_lists().map(|it| it.limit), expected, "{name}");
            if let Some(limit) = expected {
                assert_eq!(set.with_list_limit(limit).cut_lists(), None, "{name}, masked");
            }
        }
    }
}
