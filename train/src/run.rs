//! A run's directory: everything about one training.
//!
//! ```text
//! runs/0001-cnn/
//!   settings.json         what was asked for
//!   state.json            how far it is: epochs done, which one was best, fingerprints of the data
//!   history.csv           a row for each epoch
//!   epoch-0012.model      weights after the last epoch (burnpack)
//!   epoch-0012.average    their moving average
//!   epoch-0012.optimizer  and the optimiser's moments
//!   best-0009.model       the average with the lowest validation loss
//!   calibration.json      what makes the best epoch's network the one that is shipped, fitted on validation
//!   operating-points.json chosen on validation
//!   figures/test.json     what `train evaluate` found
//! ```
//!
//! `state.json` names the files that belong to it and is replaced last, so that a run killed at any moment is found as
//! it was after some whole epoch.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use runtime::atomic_file::AtomicFile;
use runtime::dataset::Source;
use runtime::metrics::Evaluation;
use runtime::model::card::Training;
use runtime::operating_point::OperatingPoint;
use runtime::preprocess::InputSpec;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::calibration::Calibration;
use crate::commands::data_name;
use crate::data::augment::Augmentation;
use crate::loss::Loss;
use crate::model::{Architecture, Model};
use crate::schedule::Schedule;

/// Everything that was asked for. Together with the data it decides the outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// CSV files learned from.
    pub train: Vec<Source>,
    /// CSV files that checkpoints and thresholds are chosen on.
    pub validation: Vec<Source>,
    /// The number of genres, in alphabetical order, after which the lists of all these files were cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_limit: Option<usize>,
    /// The architecture.
    pub architecture: Architecture,
    /// Weights that the network started from: a file, or another run.
    pub pretrained: Option<PathBuf>,
    /// How the network that it started from was trained, if that was one for posters.
    #[serde(default)]
    pub started_from: Option<Training>,
    /// Parts of the trunk, from the first on, that keep the weights they started from.
    pub freeze: usize,
    /// Views of each poster that the frozen parts look at once for all; 0 is a new one in every epoch.
    #[serde(default)]
    pub views: usize,
    /// The network's input.
    pub input: InputSpec,
    /// Posters a step.
    pub batch_size: usize,
    /// Learning rate.
    pub schedule: Schedule,
    /// The trunk's learning rate as a part of the head's.
    pub trunk_rate: f64,
    /// What is made small.
    pub loss: Loss,
    /// Trained models whose probabilities are learned too.
    pub teachers: Vec<PathBuf>,
    /// How much more often posters of rare genres come, 0 to 1.
    pub sampling: f64,
    /// Decoupled weight decay (Loshchilov and Hutter, 2019); 0 is plain Adam.
    pub weight_decay: f64,
    /// What the moving average of the weights keeps at each step, 0 to 1; 0 is the weights themselves.
    pub average: f64,
    /// Changes to each poster.
    pub augmentation: Augmentation,
    /// Epochs without a new lowest validation loss after which the run ends; none means never.
    pub patience: Option<usize>,
    /// Seed of weights, order, augmentation and dropout.
    pub seed: u64,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Genres in the order of the network's output.
    pub genres: Vec<String>,
    /// Fingerprint and number of the posters learned from.
    pub train: (String, usize),
    /// Fingerprint and number of the posters validated on.
    pub validation: (String, usize),
    /// A row for each epoch done.
    pub history: Vec<Epoch>,
    /// The number of the epoch with the lowest validation loss, counted from 1; 0 before the first.
    pub best: usize,
}

/// What one epoch brought. Precision, recall and F1 are micro averages at a threshold of 0.5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number, counted from 1.
    pub epoch: usize,
    /// Learning rate at the epoch's end.
    pub learning_rate: f64,
    /// Mean loss over the epoch's steps.
    pub train_loss: f64,
    /// Loss on validation.
    pub validation_loss: f64,
    /// Precision on validation.
    pub precision: f64,
    /// Recall on validation.
    pub recall: f64,
    /// F1 on validation.
    pub f1: f64,
    /// Mean average precision on validation.
    pub mean_average_precision: f64,
    /// Seconds that the epoch took, validation included.
    pub seconds: f64,
    /// Posters learned from in a second.
    pub posters_per_second: f64,
    /// The part of the training loop's time that it waited for data.
    pub waited: f64,
}

/// A run's directory.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// Makes the next directory in `runs`, numbered and named after the architecture, or the one named.
    ///
    /// # Errors
    /// If it cannot be made, or if the one named holds a run already.
    pub fn create(runs: &Path, named: Option<&Path>, settings: &Settings) -> Result<Self> {
        let folder = named.map_or_else(
            || {
                let number = numbered(runs).last().map_or(1, |(number, _)| number + 1);
                let architecture = format!("{:?}", settings.architecture).to_lowercase();
                runs.join(format!("{number:04}-{architecture}"))
            },
            Path::to_path_buf,
        );
        ensure!(
            !folder.join("settings.json").exists(),
            "{}: holds a run already; take it up with --resume, or name another directory",
            folder.display()
        );
        fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        let run = Self { folder };
        run.write_json("settings.json", settings)?;
        Ok(run)
    }

    /// The run named, or the newest of those in `runs`.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(runs: &Path, named: Option<&Path>) -> Result<Self> {
        let folder = match named {
            Some(folder) => folder.to_path_buf(),
            None => numbered(runs).pop().map(|(_, folder)| folder).ok_or_else(|| {
                anyhow!("{}: holds no run; make one with `train fit`, or name one with --run", runs.display())
            })?,
        };
        ensure!(
            folder.join("settings.json").exists(),
            "{}: is not a run's directory (it has no settings.json); name one with --run",
            folder.display()
        );
        Ok(Self { folder })
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was asked for.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn settings(&self) -> Result<Settings> {
        self.read_json("settings.json")
    }

    /// How far the run is, if an epoch is done.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn state(&self) -> Result<Option<State>> {
        if self.folder.join("state.json").exists() { self.read_json("state.json").map(Some) } else { Ok(None) }
    }

    /// The state of a run that has at least one epoch to use.
    ///
    /// # Errors
    /// If no epoch is done.
    pub fn trained(&self) -> Result<State> {
        self.state()?
            .ok_or_else(|| anyhow!("{}: has no epoch done yet; go on with `train fit --resume`", self.folder.display()))
    }

    /// The network with the weights of the best epoch, and the run's state.
    ///
    /// # Errors
    /// If no epoch is done or the weights cannot be read.
    pub fn best(&self, device: &Device) -> Result<(Model, State)> {
        let state = self.trained()?;
        let path = self.best_path(state.best);
        let model = Model::new(self.settings()?.architecture, state.genres.len(), device);
        let model =
            model.try_load_file(&path).map_err(|error| anyhow!("{}: cannot be read ({error})", path.display()))?;
        Ok((model, state))
    }

    /// What a card says of how the network of [`Run::best`] was trained.
    ///
    /// # Errors
    /// If no epoch is done or the run's files cannot be read.
    pub fn training(&self) -> Result<Training> {
        let (settings, state) = (self.settings()?, self.trained()?);
        let names = |sources: &[Source]| sources.iter().map(data_name).collect::<Vec<_>>().join(" + ");
        let data = BTreeMap::from([
            (names(&settings.train), state.train.1),
            (format!("{} (validation)", names(&settings.validation)), state.validation.1),
        ]);
        let mut public = serde_json::to_value(&settings)?;
        if let Some(object) = public.as_object_mut() {
            // Where the files lay is nobody's business; their names are in `data`.
            object.retain(|key, _| key != "train" && key != "validation");
            let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
            object.insert("pretrained".into(), settings.pretrained.as_ref().and_then(name).into());
            object.insert("teachers".into(), settings.teachers.iter().filter_map(name).collect());
            object.insert("best_epoch".into(), state.best.into());
        }
        let architecture = format!("{:?}", settings.architecture).to_lowercase();
        Ok(Training { architecture, data, settings: public })
    }

    /// The network of [`Run::best`], calibrated.
    ///
    /// # Errors
    /// If no epoch is done, it is not calibrated yet, or a file cannot be read.
    pub fn calibrated(&self, device: &Device) -> Result<(Model, State)> {
        let (model, state) = self.best(device)?;
        let Calibration { scales, narrowed, halved } = self.calibration()?;
        let model = model.scaled(&scales);
        let model = if narrowed { model.narrowed() } else { model };
        Ok((if let Some(size) = halved { model.halved(size) } else { model }, state))
    }

    /// The calibration of the best epoch.
    ///
    /// # Errors
    /// If there is none yet.
    pub fn calibration(&self) -> Result<Calibration> {
        if !self.folder.join("calibration.json").exists() {
            bail!("{}: is not calibrated yet; do it with `train tune`", self.folder.display());
        }
        self.read_json("calibration.json")
    }

    /// Keeps the calibration of the best epoch.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_calibration(&self, calibration: &Calibration) -> Result<()> {
        self.write_json("calibration.json", calibration)
    }

    /// Loads the weights, their average and the optimiser's moments after the last epoch.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn load_last(
        &self,
        state: &State,
        model: Model,
        average: Model,
        optimizer: ModuleOptimizer,
    ) -> Result<(Model, Model, ModuleOptimizer)> {
        let [model_path, average_path, optimizer_path] = self.last_paths(state.history.len());
        let failed =
            |path: &Path, error: &dyn std::fmt::Display| anyhow!("{}: cannot be read ({error})", path.display());
        let model = model.try_load_file(&model_path).map_err(|error| failed(&model_path, &error))?;
        let average = average.try_load_file(&average_path).map_err(|error| failed(&average_path, &error))?;
        let optimizer = optimizer.load(&optimizer_path).map_err(|error| failed(&optimizer_path, &error))?;
        Ok((model, average, optimizer))
    }

    /// Keeps the outcome of an epoch. Until this returns, the run stands as it was after the epoch before.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, state: &State, model: &Model, average: &Model, optimizer: &ModuleOptimizer) -> Result<()> {
        let epoch = state.history.len();
        let last @ [model_path, average_path, optimizer_path] = &self.last_paths(epoch);
        let failed = |path: &Path| format!("{}: cannot be written; make room and go on with --resume", path.display());
        model.clone().save_file(model_path).with_context(|| failed(model_path))?;
        average.clone().save_file(average_path).with_context(|| failed(average_path))?;
        optimizer.save(optimizer_path).with_context(|| failed(optimizer_path))?;
        if state.best == epoch {
            let path = self.best_path(epoch);
            average.clone().save_file(&path).with_context(|| failed(&path))?;
        }
        self.write_json("state.json", state)?;
        self.write("history.csv", |file| {
            let mut csv = csv::Writer::from_writer(file);
            state.history.iter().try_for_each(|row| csv.serialize(row))?;
            Ok(csv.flush()?)
        })?;
        self.remove_all_but(last, &self.best_path(state.best))
    }

    /// Keeps the thresholds chosen on validation.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save_operating_points(&self, points: &[OperatingPoint]) -> Result<()> {
        self.write_json("operating-points.json", &points)
    }

    /// The thresholds chosen on validation.
    ///
    /// # Errors
    /// If none have been chosen yet.
    pub fn operating_points(&self) -> Result<Vec<OperatingPoint>> {
        if !self.folder.join("operating-points.json").exists() {
            bail!("{}: has no thresholds yet; choose them with `train tune`", self.folder.display());
        }
        self.read_json("operating-points.json")
    }

    /// Keeps the figures reached on the data of that name.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save_figures(&self, name: &str, figures: &Evaluation) -> Result<()> {
        fs::create_dir_all(self.folder.join("figures"))?;
        self.write_json(&format!("figures/{name}.json"), figures)
    }

    /// The figures reached, by the name of the data.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn figures(&self) -> Result<BTreeMap<String, Evaluation>> {
        let mut figures = BTreeMap::new();
        for path in files(&self.folder.join("figures")) {
            if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
                figures.insert(name.to_string(), self.read_json(&format!("figures/{name}.json"))?);
            }
        }
        Ok(figures)
    }

    fn last_paths(&self, epoch: usize) -> [PathBuf; 3] {
        ["model", "average", "optimizer"].map(|kind| self.folder.join(format!("epoch-{epoch:04}.{kind}")))
    }

    fn best_path(&self, epoch: usize) -> PathBuf {
        self.folder.join(format!("best-{epoch:04}.model"))
    }

    fn remove_all_but(&self, last: &[PathBuf], best: &Path) -> Result<()> {
        for path in files(&self.folder) {
            let weights =
                path.extension().is_some_and(|kind| ["model", "average", "optimizer"].iter().any(|own| kind == *own));
            if weights && !last.contains(&path) && path != best {
                fs::remove_file(&path).with_context(|| format!("{}: cannot be removed", path.display()))?;
            }
        }
        Ok(())
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: is damaged; start the run again", path.display()))
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.write(name, |file| {
            serde_json::to_writer_pretty(&mut *file, value)?;
            Ok(writeln!(file)?)
        })
    }

    fn write(&self, name: &str, fill: impl FnOnce(&mut AtomicFile) -> Result<()>) -> Result<()> {
        let path = self.folder.join(name);
        write_whole(&path, fill).with_context(|| format!("{}: cannot be written", path.display()))
    }
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// If `fill` fails or the file cannot be written; then nothing is left behind.
pub fn write_whole(path: &Path, fill: impl FnOnce(&mut AtomicFile) -> Result<()>) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file)?;
    file.finish()?;
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// The runs in a directory with their numbers, in order.
fn numbered(runs: &Path) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut found: Vec<(usize, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.split('-').next()?.parse().ok()?, entry.path())))
        .filter(|(_, folder)| folder.join("settings.json").exists())
        .collect();
    found.sort();
    found
}
