//! The report of training runs and models: one HTML page with every figure, the figures as SVG and PNG files, and their
//! numbers as JSON.
//!
//! | module | content |
//! |---|---|
//! | `training` | loss, metrics and learning rate over the epochs |
//! | `genres` | class balance with F1 over it, comparison of runs, heat maps |
//! | `scores` | precision-recall, F1 against the threshold, reliability, score distributions |
//! | `decisions` | counts of right and wrong decisions, missed genres, co-occurrence |
//! | `tables` | averages, genres, settings; Markdown |
//! | `examples` | posters that the network is most sure of, rightly and wrongly |
//! | `page` | HTML |
//! | `svg`, `axes`, `png` | drawing |
//!
//! Every metric comes from [`runtime::metrics`]; nothing here knows burn, so that a model file without a run is reported
//! on as well.

mod axes;
mod decisions;
mod examples;
mod genres;
mod page;
mod png;
mod scores;
mod svg;
mod tables;
mod training;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use runtime::atomic_file::AtomicFile;
use runtime::dataset::Dataset;
use runtime::metrics::{Bootstrap, Evaluation};
use runtime::operating_point::OperatingPoint;

pub use self::examples::Explain;
use self::page::{Block, Section};
use crate::history::RunState;
use crate::scored::ScoredPosters;

/// The most subjects of one report: so many colours can be told apart.
pub const MAX_SUBJECTS: usize = svg::SERIES.len();

/// A run or a model that is reported on.
#[derive(Default)]
pub struct Subject {
    /// A name that no other subject has.
    pub name: String,
    /// Training history, if it is a run with an epoch done.
    pub training: Option<Training>,
    /// Key and value of each setting.
    pub settings: Vec<(String, String)>,
    /// Labels of its training and validation posters, as far as they are at hand.
    pub parts: Vec<Part>,
    /// Evaluations, one per data set.
    pub evaluated: Vec<Evaluated>,
    /// Sentences on missing data and their reasons.
    pub remarks: Vec<String>,
}

/// The course of a training.
pub struct Training {
    /// Epochs done, and which was best.
    pub state: RunState,
    /// Epochs that were asked for.
    pub epochs: usize,
}

/// Class balance of a part of the data.
#[derive(Clone)]
pub struct Part {
    /// "training", "validation", or the name of a data set.
    pub name: String,
    /// The genres, `[G]`.
    pub genres: Vec<String>,
    /// Counts of each genre, `[G]`.
    pub counts: Vec<Tally>,
}

/// Posters with each label of a genre.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// The genre is known to hold.
    pub yes: usize,
    /// It is known not to hold.
    pub no: usize,
    /// It is not known.
    pub unknown: usize,
}

/// The measurement of a network on one data set.
pub struct Evaluated {
    /// Name of the data set.
    pub data: String,
    /// Name of the operating point whose thresholds were applied.
    pub operating_point: String,
    /// The metrics.
    pub evaluation: Evaluation,
    /// All operating points of the network, if they are known.
    pub points: Vec<OperatingPoint>,
    /// The posters with labels and probabilities, if they are at hand.
    pub scored: Option<ScoredPosters>,
}

/// A picture of the report.
pub struct Figure {
    /// Stem of its files.
    name: String,
    title: String,
    /// Caption: how to read it.
    caption: String,
    /// With the page's variables for colours.
    svg: String,
    /// The numbers that it shows.
    numbers: serde_json::Value,
}

impl Tally {
    fn total(&self) -> usize {
        self.yes + self.no + self.unknown
    }
}

impl Part {
    /// Counts the labels of a dataset.
    pub fn new(name: &str, dataset: &Dataset) -> Self {
        let [yes, no, unknown] = [Some(true), Some(false), None].map(|label| dataset.count(label));
        let counts = (0..dataset.genres.len())
            .map(|genre| Tally { yes: yes[genre], no: no[genre], unknown: unknown[genre] })
            .collect();
        Self { name: name.into(), genres: dataset.genres.clone(), counts }
    }

    /// The labels behind an evaluation.
    fn of_evaluation(evaluated: &Evaluated) -> Self {
        let figures = &evaluated.evaluation.genres;
        let counts = figures.iter().map(|it| Tally {
            yes: it.support,
            no: it.known - it.support,
            unknown: evaluated.evaluation.posters - it.known,
        });
        Self {
            name: evaluated.data.clone(),
            genres: figures.iter().map(|it| it.genre.clone()).collect(),
            counts: counts.collect(),
        }
    }

    /// Share of the known labels that are positive, 0 to 1.
    fn prevalence(&self, genre: usize) -> f64 {
        let Tally { yes, no, .. } = self.counts[genre];
        yes as f64 / (yes + no).max(1) as f64
    }
}

impl Evaluated {
    /// Measures scored posters at an operating point, with bootstrap intervals.
    pub fn new(data: &str, scored: ScoredPosters, point: &OperatingPoint, points: &[OperatingPoint]) -> Self {
        let (probabilities, labels) = (scored.probabilities(), scored.labels());
        let evaluation = runtime::metrics::evaluate(
            &scored.predictions(&probabilities, &labels),
            &point.thresholds,
            Some(Bootstrap::default()),
        );
        Self {
            data: data.into(),
            operating_point: point.name.clone(),
            evaluation,
            points: points.to_vec(),
            scored: Some(scored),
        }
    }

    fn thresholds(&self) -> Vec<f32> {
        self.evaluation.genres.iter().map(|it| it.threshold).collect()
    }

    /// The genres without a known positive.
    fn without_positives(&self) -> Vec<&str> {
        let genres = self.evaluation.genres.iter().filter(|it| it.support == 0);
        genres.map(|it| it.genre.as_str()).collect()
    }
}

/// Writes the report into a folder, which is made if there is none: `index.html`, `examples.html` where posters are at
/// hand, `metrics.md`, and the folders `figures` and `metrics`. `explain` lays activation maps over the examples. Returns
/// the page.
///
/// # Errors
/// If a file cannot be written.
pub fn write(subjects: &[Subject], folder: &Path, explain: Option<&Explain>) -> Result<PathBuf> {
    let examples = examples::page(subjects, explain);
    let sections = sections(subjects, examples.is_some());
    for part in ["figures", "metrics"] {
        let path = folder.join(part);
        fs::create_dir_all(&path).with_context(|| format!("{}: cannot be created", path.display()))?;
    }
    let figures: Vec<&Figure> = sections.iter().flat_map(|section| section.figures()).collect();
    figures.par_iter().try_for_each(|figure| {
        let path = folder.join("figures").join(&figure.name);
        let svg = svg::standalone(&figure.svg);
        write_file(&path.with_extension("svg"), svg.as_bytes())?;
        write_file(&path.with_extension("png"), &png::png(&svg)?)?;
        write_file(&path.with_extension("json"), &json(&figure.numbers)?)
    })?;
    for (subject, evaluated) in measured(subjects) {
        let path = folder.join("metrics").join(format!("{}.json", slug_of(subject, evaluated)));
        write_file(&path, &json(&evaluated.evaluation)?)?;
    }
    write_file(&folder.join("metrics.md"), tables::markdown(subjects).as_bytes())?;
    let examples_path = folder.join("examples.html");
    match examples {
        Some(page) => write_file(&examples_path, page.as_bytes())?,
        // One of an earlier report would not belong to this one.
        None if examples_path.exists() => {
            fs::remove_file(&examples_path)
                .with_context(|| format!("{}: cannot be removed", examples_path.display()))?;
        }
        None => {}
    }
    let page = folder.join("index.html");
    write_file(&page, page::page("Poster genres: report", &page::index(&sections), page::SCRIPT).as_bytes())?;
    Ok(page)
}

/// Every measurement with the subject it is of.
fn measured(subjects: &[Subject]) -> impl Iterator<Item = (&Subject, &Evaluated)> {
    subjects.iter().flat_map(|subject| subject.evaluated.iter().map(move |evaluated| (subject, evaluated)))
}

fn sections(subjects: &[Subject], has_examples: bool) -> Vec<Section> {
    let mut sections = vec![overview(subjects, has_examples)];
    sections.extend(tables::settings(subjects).map(|html| Section::new("Settings", vec![Block::Html(html)])));
    let training = training::figures(subjects);
    if training.is_empty() {
        let text = "There is no history of epochs: a model file does not hold one, and a run has it from its first \
                    whole epoch on.";
        sections.push(Section::new("Training", vec![Block::Notes(vec![text.into()])]));
    } else {
        sections.push(Section::new("Training", vec![Block::Figures(training)]));
    }
    let comparisons = comparisons(subjects);
    if !comparisons.is_empty() {
        sections.push(Section::new("Comparison", vec![Block::Figures(comparisons)]));
    }
    let is_alone = measured(subjects).count() == 1;
    for (subject, evaluated) in measured(subjects) {
        let mut section = measurement(subject, evaluated);
        if !is_alone {
            section.prefix(&slug_of(subject, evaluated));
        }
        sections.push(section);
    }
    sections
}

fn overview(subjects: &[Subject], has_examples: bool) -> Section {
    let mut notes: Vec<String> = Vec::new();
    for subject in subjects {
        notes.extend(subject.remarks.iter().map(|remark| format!("{}: {remark}", subject.name)));
        for evaluated in &subject.evaluated {
            let genres = evaluated.without_positives();
            if !genres.is_empty() {
                notes.push(format!(
                    "{} on {}: no poster has {}: no average precision, AUC or curve of it.",
                    subject.name,
                    evaluated.data,
                    genres.join(" or ")
                ));
            }
        }
    }
    if !has_examples {
        notes.push("There are no examples: no picture of a measured poster is where its label file names it.".into());
    }
    let mut blocks = vec![Block::Html(tables::overview(subjects))];
    if has_examples {
        blocks.push(Block::Html(
            "<p><a href=\"examples.html\">Examples</a>: posters on which the network is most sure, rightly and wrongly.</p>"
                .into(),
        ));
    }
    if !notes.is_empty() {
        blocks.push(Block::Notes(notes));
    }
    Section::new("Overview", blocks)
}

/// A comparison for each data set on which several subjects were measured.
fn comparisons(subjects: &[Subject]) -> Vec<Figure> {
    let mut names: Vec<&str> = measured(subjects).map(|(_, it)| it.data.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let of = |name: &str| {
        let evaluated: Vec<(&str, &Evaluated)> = measured(subjects)
            .filter(|(_, evaluated)| evaluated.data == name)
            .map(|(subject, evaluated)| (subject.name.as_str(), evaluated))
            .collect();
        genres::comparison(&evaluated)
    };
    names.into_iter().filter_map(of).collect()
}

fn measurement(subject: &Subject, evaluated: &Evaluated) -> Section {
    let mut parts: Vec<Part> = subject.parts.clone();
    if parts.iter().all(|part| part.name != evaluated.data) {
        parts.push(Part::of_evaluation(evaluated));
    }
    let mut blocks = vec![Block::Html(tables::genres(evaluated))];
    let mut figures: Vec<Figure> = genres::balance(&parts, Some(evaluated)).into_iter().collect();
    match &evaluated.scored {
        Some(scored) => {
            let mut curves = scores::figures(evaluated, scored);
            let distributions = curves.pop();
            figures.extend(distributions);
            figures.extend(curves);
            figures.push(decisions::counts(evaluated));
            figures.push(decisions::missed(evaluated));
            figures.extend(decisions::cooccurrences(evaluated, scored));
        }
        None => {
            blocks.push(Block::Notes(vec![
                "The probabilities of these posters were not kept, as earlier versions did not: curves, reliability, \
                 co-occurrence and score distributions are left out. `train tune` and `train evaluate` keep them, or \
                 name label files with --labels."
                    .into(),
            ]));
            figures.push(decisions::counts(evaluated));
            figures.push(decisions::missed(evaluated));
        }
    }
    blocks.push(Block::Figures(figures));
    Section::new(&format!("{} on {}", subject.name, evaluated.data), blocks)
}

/// A file name for a measurement.
fn slug_of(subject: &Subject, evaluated: &Evaluated) -> String {
    format!("{}-{}", slug(&subject.name), slug(&evaluated.data))
}

/// A text as part of a file name.
fn slug(text: &str) -> String {
    let kept = text.chars().map(|it| if it.is_alphanumeric() || "._".contains(it) { it } else { '-' });
    kept.collect::<String>().trim_matches(['-', '.']).to_lowercase()
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("{}: cannot be written; name another folder with --out", path.display());
    let mut file = AtomicFile::create(path).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    file.finish().with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::EpochMetrics;
    use crate::scored::ScoredPoster;

    const GENRES: [&str; 3] = ["Action & <Adventure>", "Drama", "News"];

    /// Posters of which none has the last genre, and of some of which the second is not known.
    fn scored(posters: usize) -> ScoredPosters {
        let poster = |index: usize| ScoredPoster {
            id: format!("tt{index}"),
            path: format!("nowhere/tt{index}.jpg").into(),
            labels: vec![
                Some(index.is_multiple_of(3)),
                (index % 5 != 4).then_some(index.is_multiple_of(2)),
                Some(false),
            ],
            probabilities: vec![(index % 7) as f32 / 7.0, (index % 11) as f32 / 11.0, 0.01],
        };
        ScoredPosters { genres: GENRES.map(String::from).to_vec(), posters: (0..posters).map(poster).collect() }
    }

    fn evaluated(data: &str) -> Evaluated {
        let point = |name: &str, threshold| OperatingPoint {
            name: name.into(),
            description: String::new(),
            thresholds: vec![threshold; GENRES.len()],
        };
        let points = [point("balanced", 0.4), point("precise", 0.99)];
        Evaluated::new(data, scored(60), &points[0], &points)
    }

    fn training(epochs: usize) -> Training {
        let mut state = RunState { genres: GENRES.map(String::from).to_vec(), ..RunState::default() };
        for epoch in 1..=epochs {
            let validation_loss = 0.3 + 0.01 * (epoch as f64 - 3.0).abs();
            state.push(EpochMetrics { epoch, validation_loss, learning_rate: 1e-3, ..EpochMetrics::default() });
        }
        Training { state, epochs: 40 }
    }

    fn named(name: &str) -> Subject {
        Subject { name: name.into(), settings: vec![("seed".into(), name.into())], ..Subject::default() }
    }

    #[test]
    fn a_report_is_whole_whatever_is_missing() {
        let run = |epochs| Subject { training: Some(training(epochs)), ..named("run") };
        struct Case {
            subjects: Vec<Subject>,
            figures: usize,
            says: &'static [&'static str],
        }
        let cases = [
            Case {
                subjects: vec![named("new")],
                figures: 0,
                says: &["Nothing was measured yet", "no history of epochs"],
            },
            Case { subjects: vec![run(1)], figures: 3, says: &["1 of 40", "There are no examples"] },
            Case {
                subjects: vec![Subject { remarks: vec!["was interrupted".into()], ..run(4) }],
                figures: 3,
                says: &["run: was interrupted"],
            },
            Case {
                subjects: vec![Subject { evaluated: vec![evaluated("test")], ..run(4) }],
                figures: 12,
                says: &["no poster has News", "Action &amp; &lt;Adventure&gt;"],
            },
            Case {
                subjects: vec![Subject {
                    evaluated: vec![Evaluated { scored: None, points: Vec::new(), ..evaluated("test") }],
                    ..named("old")
                }],
                figures: 3,
                says: &["were not kept"],
            },
            Case {
                subjects: vec![
                    Subject { evaluated: vec![evaluated("test"), evaluated("validation")], ..run(4) },
                    Subject { evaluated: vec![evaluated("test")], ..named("other") },
                ],
                figures: 3 + 1 + 3 * 9,
                says: &["F1 of each genre on test", "run on validation"],
            },
        ];
        for (number, Case { subjects, figures, says }) in cases.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let page = fs::read_to_string(write(&subjects, folder.path(), None).unwrap()).unwrap();
            for text in says {
                assert!(page.contains(text), "case {number}: it does not say \"{text}\"");
            }
            assert_eq!(page.matches("<figure>").count(), figures, "case {number}");
            for bad in [">NaN", "\"NaN", "NaN,", "inf\"", "<Adventure>"] {
                assert!(!page.contains(bad), "case {number}: {bad}");
            }
            let entries = fs::read_dir(folder.path().join("figures")).unwrap();
            let files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            assert_eq!(files.len(), 3 * figures, "case {number}");
            for svg in files.iter().filter(|path| path.extension().is_some_and(|it| it == "svg")) {
                assert!(!fs::read_to_string(svg).unwrap().contains("var("), "case {number}: {}", svg.display());
            }
            assert_eq!(
                fs::read_dir(folder.path().join("metrics")).unwrap().count(),
                measured(&subjects).count(),
                "case {number}"
            );
            assert!(!folder.path().join("examples.html").exists(), "case {number}: no picture is at hand");
        }
    }

    #[test]
    fn the_metrics_are_those_of_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let subject = Subject { evaluated: vec![evaluated("test")], ..named("run") };
        let scored = scored(60);
        let (probabilities, labels) = (scored.probabilities(), scored.labels());
        let expected = runtime::metrics::evaluate(
            &scored.predictions(&probabilities, &labels),
            &[0.4; GENRES.len()],
            Some(Bootstrap::default()),
        );
        write(&[subject], folder.path(), None).unwrap();
        let found = fs::read_to_string(folder.path().join("metrics/run-test.json")).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&found).unwrap(), expected);
    }
}
