//! Examples: the posters of which the network is most sure, rightly and wrongly, and those of the rarest genres.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use quick_xml::escape::escape;
use rayon::prelude::*;
use runtime::operating_point::reaches;
use runtime::{preprocess, thumbnail};

use super::{Evaluated, Subject, page};
use crate::scored::{ScoredPoster, ScoredPosters};

/// Lays the activation map of a genre, by its index, over a poster: a JPEG file of a thumbnail's size, or none where a
/// model cannot be explained. The first argument is the subject's index.
pub type Explain<'a> = dyn Fn(usize, &Path, usize) -> Option<Vec<u8>> + Sync + 'a;

/// Posters in a group.
const GROUP: usize = 12;
/// The most posters that a genre has in a group, so that no genre fills it.
const PER_GENRE: usize = 2;
/// The rarest genres that are shown, and the posters of each.
const RAREST: usize = 4;
const PER_RARE_GENRE: usize = 3;

/// A poster and the genre for which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Example {
    poster: usize,
    genre: usize,
}

/// The page of examples; none if no picture can be read.
pub fn page(subjects: &[Subject], explain: Option<&Explain>) -> Option<String> {
    let mut html = String::from(
        "<h1>Examples</h1><p><a href=\"index.html\">Report</a>. Posters on which the network is most sure. \
         <span class=\"right\">✓ predicted rightly</span>, <span class=\"wrong\">✗ predicted wrongly</span>, \
         <span class=\"wrong\">○ missed</span>, <span class=\"open\">? predicted, label unknown</span>. \
         Numbers are probabilities; the threshold is behind the stroke. Where there is a second picture, it is the \
         activation map of the bold genre: bright places speak for it.</p>",
    );
    let mut has_pictures = false;
    for (index, subject) in subjects.iter().enumerate() {
        for evaluated in &subject.evaluated {
            let sections = evaluated.scored.as_ref().map_or(String::new(), |scored| {
                let overlay = |poster: &Path, genre| explain.and_then(|explain| explain(index, poster, genre));
                groups_html(evaluated, scored, &overlay)
            });
            if !sections.is_empty() {
                has_pictures = true;
                let (name, data) = (escape(&subject.name), escape(&evaluated.data));
                html += &format!("<section><h2>{name} on {data}</h2>{sections}</section>");
            }
        }
    }
    has_pictures.then(|| page::page("Poster genres: examples", &html, ""))
}

/// The groups of examples; empty if no picture can be read.
fn groups_html(
    evaluated: &Evaluated,
    scored: &ScoredPosters,
    overlay: &(dyn Fn(&Path, usize) -> Option<Vec<u8>> + Sync),
) -> String {
    let group = |(title, examples): (String, Vec<Example>)| {
        let cards: Vec<String> = examples
            .par_iter()
            .filter_map(|example| {
                let poster = &scored.posters[example.poster];
                card(evaluated, poster, *example, || overlay(&poster.path, example.genre))
            })
            .collect();
        (!cards.is_empty())
            .then(|| format!("<h3>{}</h3><div class=\"posters\">{}</div>", escape(&title), cards.join("\n")))
    };
    groups(evaluated, scored).into_iter().filter_map(group).collect()
}

/// The groups of examples with their titles.
fn groups(evaluated: &Evaluated, scored: &ScoredPosters) -> Vec<(String, Vec<Example>)> {
    let thresholds = evaluated.thresholds();
    let of = |poster: usize, genre: usize| {
        let it = &scored.posters[poster];
        (it.labels[genre], it.probabilities[genre], reaches(it.probabilities[genre], thresholds[genre]))
    };
    let all = |keep: &dyn Fn((Option<bool>, f32, bool)) -> bool, key: &dyn Fn(usize, f32) -> f32| {
        let mut found: Vec<(f32, Example)> = Vec::new();
        for poster in 0..scored.posters.len() {
            for genre in 0..scored.genres.len() {
                let it = of(poster, genre);
                if keep(it) {
                    found.push((key(genre, it.1), Example { poster, genre }));
                }
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        varied(found.into_iter().map(|(_, example)| example), scored.genres.len())
    };
    let mut groups = vec![
        ("Most confident and right".to_string(), all(&|it| it.0 == Some(true) && it.2, &|_, probability| probability)),
        ("Most confident and wrong".to_string(), all(&|it| it.0 == Some(false) && it.2, &|_, probability| probability)),
        (
            "Missed by the most".to_string(),
            all(&|it| it.0 == Some(true) && !it.2, &|genre, probability| -probability / thresholds[genre]),
        ),
    ];
    let mut rare: Vec<usize> =
        (0..scored.genres.len()).filter(|genre| evaluated.evaluation.genres[*genre].support > 0).collect();
    rare.sort_by_key(|genre| evaluated.evaluation.genres[*genre].support);
    for genre in rare.into_iter().take(RAREST) {
        let mut posters: Vec<usize> =
            (0..scored.posters.len()).filter(|poster| scored.posters[*poster].labels[genre] == Some(true)).collect();
        posters.sort_by(|a, b| of(*b, genre).1.total_cmp(&of(*a, genre).1));
        let examples = posters.into_iter().take(PER_RARE_GENRE).map(|poster| Example { poster, genre });
        let title = format!("{}, {} posters", scored.genres[genre], evaluated.evaluation.genres[genre].support);
        groups.push((title, examples.collect()));
    }
    groups
}

/// The first examples, each poster once and no genre more than [`PER_GENRE`] times.
fn varied(examples: impl Iterator<Item = Example>, genres: usize) -> Vec<Example> {
    let mut times = vec![0; genres];
    let mut kept: Vec<Example> = Vec::new();
    for example in examples {
        let is_new = kept.iter().all(|it| it.poster != example.poster);
        if is_new && times[example.genre] < PER_GENRE && kept.len() < GROUP {
            times[example.genre] += 1;
            kept.push(example);
        }
    }
    kept
}

/// A poster with its genres; none if it cannot be read.
fn card(
    evaluated: &Evaluated,
    poster: &ScoredPoster,
    example: Example,
    overlay: impl Fn() -> Option<Vec<u8>>,
) -> Option<String> {
    let picture = preprocess::open_for(&poster.path, thumbnail::SIZE).ok()?;
    let mut pictures = image(&thumbnail::thumbnail(&picture), "poster");
    if let Some(jpeg) = overlay() {
        pictures += &image(&jpeg, "activation map");
    }
    let genres = &evaluated.evaluation.genres;
    let mut order: Vec<usize> = (0..genres.len()).collect();
    order.sort_by(|a, b| poster.probabilities[*b].total_cmp(&poster.probabilities[*a]));
    let item = |genre: usize| {
        let (probability, threshold) = (poster.probabilities[genre], genres[genre].threshold);
        let (class, mark) = match (poster.labels[genre], reaches(probability, threshold)) {
            (Some(true), true) => ("right", "✓"),
            (Some(false), true) => ("wrong", "✗"),
            (Some(true), false) => ("wrong", "○"),
            (None, true) => ("open", "?"),
            _ => return None,
        };
        let name = escape(&genres[genre].genre);
        let name = if genre == example.genre { format!("<b>{name}</b>") } else { name.into_owned() };
        Some(format!("<li><span class=\"{class}\">{mark}</span> {name} {probability:.2} | {threshold:.2}</li>"))
    };
    let items: String = order.into_iter().filter_map(item).collect();
    Some(format!(
        "<div class=\"poster\"><div class=\"pictures\">{pictures}</div><div><p class=\"id\">{}</p><ul>{items}</ul></div></div>",
        escape(&poster.id)
    ))
}

fn image(jpeg: &[u8], description: &str) -> String {
    format!("<img alt=\"{description}\" src=\"data:image/jpeg;base64,{}\">", BASE64_STANDARD.encode(jpeg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_genre_fills_a_group_and_no_poster_is_in_it_twice() {
        let examples = (0..40).flat_map(|poster| [0, poster % 3].map(|genre| Example { poster, genre }));
        let kept = varied(examples, 20);
        let pairs: Vec<(usize, usize)> = kept.iter().map(|it| (it.poster, it.genre)).collect();
        assert_eq!(pairs, [(0, 0), (1, 0), (2, 2), (4, 1), (5, 2), (7, 1)]);
    }
}
