//! `train report`: pictures and tables of runs and models.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use cli_support::{Outcome, complain_of_posters, notice, say};
use runtime::dataset::{Classified, Dataset, Source};
use runtime::model::card::Settings;
use runtime::thumbnail::thumbnail;
use runtime::{Model, ModelOptions, preprocess};
use train::data::source::short_name;
use train::export;
use train::report::{self, Evaluated, MAX_SUBJECTS, Part, Subject, Training};
use train::run_dir::RunDir;
use train::scored::ScoredPosters;

use super::{LabelArgs, read_labels};

/// Draw a report of runs and models: one HTML page, and each figure as SVG, PNG and JSON
///
/// A run's report shows what `train fit`, `tune` and `evaluate` kept in its directory. With --labels, runs and models are
/// measured now.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run directories [default: the newest run in --runs, unless --model is given]
    #[arg(value_name = "RUN")]
    named: Vec<PathBuf>,

    /// Directory that holds all runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,

    /// Model files, beside or in place of runs
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "sources")]
    model: Vec<PathBuf>,

    /// CSV files of labelled posters on which to measure now, each a data set of its own
    #[arg(long = "labels", value_name = "CSV[=DIR]", num_args = 1..)]
    sources: Vec<Source>,

    #[command(flatten)]
    labels: LabelArgs,

    /// Folder to write to
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,

    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

/// Writes the report.
///
/// # Errors
/// If a run, a model or a label file cannot be used, or the folder cannot be written.
pub fn run(args: &Args) -> Result<Outcome> {
    let named: Vec<Option<&Path>> = match args.named.as_slice() {
        [] if args.model.is_empty() => vec![None],
        named => named.iter().map(|run| Some(run.as_path())).collect(),
    };
    let count = named.len() + args.model.len();
    ensure!(
        count <= MAX_SUBJECTS,
        "{count} runs and models are more than can be told apart; name at most {MAX_SUBJECTS}"
    );
    let mut has_failed = false;
    let mut subjects = Vec::new();
    // For the activation maps of the examples.
    let mut models = Vec::new();
    for run in named {
        let run = RunDir::find(&args.runs, run)?;
        let mut subject = of_run(&run)?;
        if !args.sources.is_empty() {
            let model = exported(&run)?;
            subject.evaluated = args.measure(&model, &mut has_failed)?;
            models.push(Some(model));
        } else if has_pictures(&subject) {
            let model = exported(&run);
            let remark = |error| subject.remarks.push(format!("activation maps are left out: {error:#}."));
            models.push(model.map_err(remark).ok());
        } else {
            models.push(None);
        }
        subjects.push(subject);
    }
    for path in &args.model {
        let model = Model::open(path)?;
        let evaluated = args.measure(&model, &mut has_failed)?;
        let settings = model.card().training.settings.entries();
        subjects.push(Subject { name: name_of(path), settings, evaluated, ..Subject::default() });
        models.push(Some(model));
    }
    distinguish(&mut subjects);
    let explain = |subject: usize, poster: &Path, genre: usize| overlay(models[subject].as_ref()?, poster, genre);
    let page = report::write(&subjects, &args.out, Some(&explain))?;
    say(page.display());
    if args.open {
        let failed = || format!("{}: cannot be opened; open it in a browser yourself", page.display());
        open::that_detached(&page).with_context(failed)?;
    }
    Ok(if has_failed { Outcome::SomeFailed } else { Outcome::Complete })
}

impl Args {
    /// Measures a model on each label file. Posters that cannot be read are named and left out.
    fn measure(&self, model: &Model, has_failed: &mut bool) -> Result<Vec<Evaluated>> {
        let card = model.card();
        let mut evaluated = Vec::new();
        for source in self.labels.sources(&self.sources) {
            let dataset = read_labels(std::slice::from_ref(&source), self.labels.list_limit())?;
            dataset.remarks(&card.genres).iter().for_each(|remark| notice(format_args!("note: {remark}")));
            let total = dataset.posters.len();
            let Classified { dataset, probabilities, failures } = dataset.classify(model);
            complain_of_posters(total, &failures)?;
            *has_failed |= !failures.is_empty();
            let scored = ScoredPosters::new(&dataset, &probabilities);
            let points = &card.operating_points;
            evaluated.push(Evaluated::new(&short_name(&source), scored, &points[0], points));
        }
        Ok(evaluated)
    }
}

/// The contents of a run's directory, and in sentences what is missing.
fn of_run(run: &RunDir) -> Result<Subject> {
    let folder = run.folder().display();
    let config = run.config()?;
    let mut remarks = Vec::new();
    let training = run.state()?.map(|state| Training { state, epochs: config.schedule.epochs });
    match &training {
        None => remarks.push(format!("no epoch is done yet; go on with `train fit --resume --run {folder}`.")),
        Some(Training { state, epochs }) => {
            let done = state.epochs_done();
            if done < *epochs && !state.should_stop_early(config.patience) {
                remarks.push(format!(
                    "{done} of {epochs} epochs are done: it was interrupted or still goes on; `train fit --resume --run \
                     {folder}` finishes it."
                ));
            }
        }
    }
    let figures = run.figures()?;
    if figures.is_empty() && training.is_some() {
        remarks.push(format!("nothing was measured yet; `train tune --run {folder}` does it on validation."));
    }
    let mut predictions = run.predictions()?;
    let points = if figures.is_empty() { Vec::new() } else { run.operating_points()? };
    let evaluated = figures.into_iter().map(|(data, evaluation)| Evaluated {
        operating_point: points.first().map(|point| point.name.clone()).unwrap_or_default(),
        points: points.clone(),
        scored: predictions.remove(&data),
        data,
        evaluation,
    });
    let evaluated = evaluated.collect();
    let mut parts = Vec::new();
    for (name, sources) in [("training", &config.train), ("validation", &config.validation)] {
        match read_labels(sources, config.list_limit) {
            Ok(dataset) => parts.push(part(name, dataset, training.as_ref())),
            Err(error) => remarks.push(format!("the class balance of {name} is left out: {error:#}.")),
        }
    }
    Ok(Subject {
        name: name_of(run.folder()),
        settings: Settings::new(&config.to_card()?).entries(),
        training,
        parts,
        evaluated,
        remarks,
    })
}

/// The labels of a part, for the genres of the run where they are known.
fn part(name: &str, dataset: Dataset, training: Option<&Training>) -> Part {
    match training {
        Some(Training { state, .. }) => Part::new(name, &dataset.with_genres(&state.genres)),
        None => Part::new(name, &dataset),
    }
}

/// The model that `train export` would write for a run.
fn exported(run: &RunDir) -> Result<Model> {
    let (model, _) = run.calibrated_model(&Device::flex())?;
    let card = run.card(&name_of(run.folder()), String::new())?;
    let bytes = export::to_onnx(model, &card, run.calibration()?.f16_min_size)?;
    Ok(ModelOptions::new().from_bytes(&bytes, &run.folder().display().to_string())?)
}

/// Whether the picture of a poster is where its label file names it.
fn has_pictures(subject: &Subject) -> bool {
    let mut posters = subject.evaluated.iter().filter_map(|it| it.scored.as_ref()).flat_map(|it| &it.posters);
    posters.any(|poster| poster.path.exists())
}

/// A thumbnail of a poster below the activation map of a genre; none if the native engine does not run the model.
fn overlay(model: &Model, poster: &Path, genre: usize) -> Option<Vec<u8>> {
    let bytes = std::fs::read(poster).ok()?;
    let name = poster.display().to_string();
    let explanation = model.explain(model.decode(&bytes, &name).ok()?).ok()?;
    let small = preprocess::decode(&thumbnail(&model.decode(&bytes, &name).ok()?), &name).ok()?;
    Some(thumbnail(&explanation.map(genre).overlay(&small).into()))
}

/// The last part of a path without its extension.
fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Numbers the subjects whose names an earlier one has.
fn distinguish(subjects: &mut [Subject]) {
    for index in 1..subjects.len() {
        let (before, rest) = subjects.split_at_mut(index);
        let name = rest[0].name.clone();
        let mut number = 2;
        while before.iter().any(|subject| subject.name == rest[0].name) {
            rest[0].name = format!("{name} ({number})");
            number += 1;
        }
    }
}
