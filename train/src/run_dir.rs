//! Run directory: configuration, checkpoints, history and results of one training run.
//!
//! ```text
//! runs/0001-cnn/
//!   settings.json          configuration
//!   state.json             epochs done, best epoch, fingerprints of the data
//!   history.csv            metrics, one row per epoch
//!   epoch-0012.model       checkpoint after the last epoch: weights (burnpack),
//!   epoch-0012.average     their EMA,
//!   epoch-0012.optimizer   and the optimiser's moments
//!   best-0009.model        EMA weights of the epoch with the lowest validation loss
//!   calibration.json       calibration and rounding of the best epoch's network
//!   operating-points.json  thresholds, chosen on validation
//!   figures/test.json      metrics by `train evaluate`
//!   predictions/test.json  labels and probabilities behind them, for `train report`
//! ```
//!
//! Crash guarantee: a run that is killed at any moment resumes after its last whole epoch. Every file is written
//! atomically; the weights of an epoch have the epoch in their name, `state.json`, which says which epoch counts, is
//! replaced after them, and files of earlier epochs are removed last.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use runtime::atomic_file::AtomicFile;
use runtime::metrics::Evaluation;
use runtime::model::card::{Card, Output, Training};
use runtime::operating_point::OperatingPoint;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::calibration::Scale;
use crate::config::TrainConfig;
use crate::data::source::short_names;
use crate::files;
use crate::history::RunState;
use crate::model::Model;
use crate::scored::ScoredPosters;

/// The file whose presence makes a directory a run directory.
const CONFIG: &str = "settings.json";
const STATE: &str = "state.json";
const CALIBRATION: &str = "calibration.json";
const OPERATING_POINTS: &str = "operating-points.json";
/// Directory of the metrics, one file per dataset.
const FIGURES: &str = "figures";
/// Directory of the labels and probabilities behind the metrics, one file per dataset.
const PREDICTIONS: &str = "predictions";
/// Extensions of the files of a checkpoint: weights, their EMA, the optimiser's moments.
const CHECKPOINT: [&str; 3] = ["model", "average", "optimizer"];

/// The steps that turn the best epoch's network into the exported one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Platt scaling of each genre, `[G]`.
    pub scales: Vec<Scale>,
    /// Tensors of at least this number of values are rounded to f16, and stored as such; none if absent.
    #[serde(alias = "halved")]
    pub f16_min_size: Option<usize>,
}

/// The directory of one training run.
#[derive(Clone, Debug)]
pub struct RunDir {
    folder: PathBuf,
}

impl RunDir {
    /// Creates the directory `named`, or else the next numbered one in `runs`, and saves the configuration.
    ///
    /// # Errors
    /// If the directory cannot be created, or holds a run already.
    pub fn create(runs: &Path, named: Option<&Path>, config: &TrainConfig) -> Result<Self> {
        let folder = named.map_or_else(
            || {
                let number = numbered(runs).last().map_or(1, |(number, _)| number + 1);
                runs.join(format!("{number:04}-{}", config.architecture.name()))
            },
            Path::to_path_buf,
        );
        ensure!(
            !folder.join(CONFIG).exists(),
            "{}: holds a run already; resume it with --resume, or name another directory",
            folder.display()
        );
        fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        let run = Self { folder };
        run.write_json(CONFIG, config)?;
        Ok(run)
    }

    /// Opens the run directory `named`, or else the one in `runs` with the highest number.
    ///
    /// # Errors
    /// If there is no such run.
    pub fn find(runs: &Path, named: Option<&Path>) -> Result<Self> {
        let folder = match named {
            Some(folder) => folder.to_path_buf(),
            None => numbered(runs).pop().map(|(_, folder)| folder).ok_or_else(|| {
                anyhow!("{}: holds no run; make one with `train fit`, or name one with --run", runs.display())
            })?,
        };
        ensure!(
            folder.join(CONFIG).exists(),
            "{}: is not a run's directory (it has no {CONFIG}); name one with --run",
            folder.display()
        );
        Ok(Self { folder })
    }

    /// The path of the directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn config(&self) -> Result<TrainConfig> {
        self.read_json(CONFIG)
    }

    /// The state after the last whole epoch; none before the first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn state(&self) -> Result<Option<RunState>> {
        self.folder.join(STATE).exists().then(|| self.read_json(STATE)).transpose()
    }

    /// The state of a run with at least one whole epoch.
    ///
    /// # Errors
    /// If no epoch is done, or the file cannot be read.
    pub fn trained_state(&self) -> Result<RunState> {
        self.state()?
            .ok_or_else(|| anyhow!("{}: has no epoch done yet; go on with `train fit --resume`", self.folder.display()))
    }

    /// The network with the EMA weights of the best epoch, and the run's state.
    ///
    /// # Errors
    /// If no epoch is done or the weights cannot be read.
    pub fn best_model(&self, device: &Device) -> Result<(Model, RunState)> {
        let state = self.trained_state()?;
        let path = self.best_path(state.best_epoch);
        let config = self.config()?;
        let model = Model::new(config.architecture, state.genres.len(), device);
        let model = model.try_load_file(&path).map_err(|error| unreadable(&path, &error))?;
        Ok((if config.quantization_aware { model.fake_quantized(config.freeze) } else { model }, state))
    }

    /// The network that is evaluated and exported: the best epoch's, calibrated and with its weights rounded.
    ///
    /// # Errors
    /// If no epoch is done, the network is not calibrated yet, or a file cannot be read.
    pub fn calibrated_model(&self, device: &Device) -> Result<(Model, RunState)> {
        let (model, state) = self.best_model(device)?;
        let Calibration { scales, f16_min_size } = self.calibration()?;
        let model = model.with_calibration(&scales);
        let model = match f16_min_size {
            Some(min_size) => model.round_to_f16(min_size),
            None => model,
        };
        Ok((model, state))
    }

    /// Training settings and data for the model card.
    ///
    /// # Errors
    /// If no epoch is done or a file cannot be read.
    pub fn training(&self) -> Result<Training> {
        let (config, state) = (self.config()?, self.trained_state()?);
        let data = BTreeMap::from([
            (short_names(&config.train, " + "), state.train.1),
            (format!("{} (validation)", short_names(&config.validation, " + ")), state.validation.1),
        ]);
        let mut settings = config.to_card()?;
        settings["best_epoch"] = state.best_epoch.into();
        let settings = runtime::model::card::Settings::new(&settings);
        Ok(Training { architecture: config.architecture.name().into(), data, settings })
    }

    /// Calibration and rounding of the best epoch's network.
    ///
    /// # Errors
    /// If the network is not calibrated yet, or was calibrated for weights rounded to bfloat16, as versions before did,
    /// or if the file cannot be read.
    pub fn calibration(&self) -> Result<Calibration> {
        if !self.folder.join(CALIBRATION).exists() {
            bail!("{}: is not calibrated yet; do it with `train tune`", self.folder.display());
        }
        /// Key of an earlier version: whether the scales were fitted after weights had been rounded to bfloat16.
        #[derive(Deserialize)]
        struct Rounding {
            #[serde(default, alias = "narrowed")]
            bf16: bool,
        }
        let Rounding { bf16 } = self.read_json(CALIBRATION)?;
        ensure!(
            !bf16,
            "{}: is calibrated for weights in bfloat16, which are no longer made; calibrate it again with `train tune`",
            self.folder.display()
        );
        self.read_json(CALIBRATION)
    }

    /// Saves calibration and rounding of the best epoch's network.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_calibration(&self, calibration: &Calibration) -> Result<()> {
        self.write_json(CALIBRATION, calibration)
    }

    /// Loads the checkpoint of the last epoch: weights, their EMA and the optimiser's moments.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn load_checkpoint(
        &self,
        state: &RunState,
        model: Model,
        ema: Model,
        optimizer: ModuleOptimizer,
    ) -> Result<(Model, Model, ModuleOptimizer)> {
        let [model_path, ema_path, optimizer_path] = self.checkpoint_paths(state.epochs_done());
        let model = model.try_load_file(&model_path).map_err(|error| unreadable(&model_path, &error))?;
        let ema = ema.try_load_file(&ema_path).map_err(|error| unreadable(&ema_path, &error))?;
        let optimizer = optimizer.load(&optimizer_path).map_err(|error| unreadable(&optimizer_path, &error))?;
        Ok((model, ema, optimizer))
    }

    /// Saves the checkpoint of an epoch. Until this returns, the run stands as it was after the epoch before.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save_checkpoint(
        &self,
        state: &RunState,
        model: &Model,
        ema: &Model,
        optimizer: &ModuleOptimizer,
    ) -> Result<()> {
        let epoch = state.epochs_done();
        let checkpoint @ [model_path, ema_path, optimizer_path] = &self.checkpoint_paths(epoch);
        let failed = |path: &Path| format!("{}: cannot be written; make room and go on with --resume", path.display());
        model.clone().save_file(model_path).with_context(|| failed(model_path))?;
        ema.clone().save_file(ema_path).with_context(|| failed(ema_path))?;
        optimizer.save(optimizer_path).with_context(|| failed(optimizer_path))?;
        if state.best_epoch == epoch {
            let path = self.best_path(epoch);
            ema.clone().save_file(&path).with_context(|| failed(&path))?;
        }
        self.write_json(STATE, state)?;
        self.write("history.csv", |file| {
            let mut csv = csv::Writer::from_writer(file);
            state.history.iter().try_for_each(|row| csv.serialize(row))?;
            Ok(csv.flush()?)
        })?;
        self.remove_weights_except(checkpoint, &self.best_path(state.best_epoch))
    }

    /// Saves the operating points.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_operating_points(&self, points: &[OperatingPoint]) -> Result<()> {
        self.write_json(OPERATING_POINTS, &points)
    }

    /// The operating points.
    ///
    /// # Errors
    /// If the thresholds are not chosen yet, or the file cannot be read.
    pub fn operating_points(&self) -> Result<Vec<OperatingPoint>> {
        if !self.folder.join(OPERATING_POINTS).exists() {
            bail!("{}: has no thresholds yet; choose them with `train tune`", self.folder.display());
        }
        self.read_json(OPERATING_POINTS)
    }

    /// Saves the metrics on the dataset `name`, and the labels and probabilities that they were taken from.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save_figures(&self, name: &str, figures: &Evaluation, scored: &ScoredPosters) -> Result<()> {
        for folder in [FIGURES, PREDICTIONS].map(|folder| self.folder.join(folder)) {
            fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        }
        // The probabilities first: metrics without them are reported on as such, the reverse would not be.
        self.write(&format!("{PREDICTIONS}/{name}.json"), |file| Ok(serde_json::to_writer(file, scored)?))?;
        self.write_json(&format!("{FIGURES}/{name}.json"), figures)
    }

    /// The metrics on each dataset, by its name.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn figures(&self) -> Result<BTreeMap<String, Evaluation>> {
        self.read_all(FIGURES)
    }

    /// The labels and probabilities behind the metrics on each dataset, by its name; none of runs of earlier versions.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn predictions(&self) -> Result<BTreeMap<String, ScoredPosters>> {
        self.read_all(PREDICTIONS)
    }

    /// The model card of the network that is exported.
    ///
    /// # Errors
    /// If no epoch is done, the thresholds are not chosen yet, or a file cannot be read.
    pub fn card(&self, name: &str, description: String) -> Result<Card> {
        Ok(Card {
            name: name.into(),
            description,
            genres: self.trained_state()?.genres,
            input: self.config()?.input,
            operating_points: self.operating_points()?,
            output: Output::Probabilities,
            training: self.training()?,
            figures: self.figures()?,
        })
    }

    /// Every JSON file of a directory, by its name.
    fn read_all<T: DeserializeOwned>(&self, folder: &str) -> Result<BTreeMap<String, T>> {
        let mut found = BTreeMap::new();
        for path in files::list(&self.folder.join(folder)) {
            if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
                found.insert(name.to_string(), self.read_json(&format!("{folder}/{name}.json"))?);
            }
        }
        Ok(found)
    }

    fn checkpoint_paths(&self, epoch: usize) -> [PathBuf; 3] {
        CHECKPOINT.map(|extension| self.folder.join(format!("epoch-{epoch:04}.{extension}")))
    }

    fn best_path(&self, epoch: usize) -> PathBuf {
        self.folder.join(format!("best-{epoch:04}.model"))
    }

    fn remove_weights_except(&self, checkpoint: &[PathBuf], best: &Path) -> Result<()> {
        for path in files::list(&self.folder) {
            if is_weights(&path) && !checkpoint.contains(&path) && path != best {
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
        files::write_atomically(&path, fill).with_context(|| format!("{}: cannot be written", path.display()))
    }
}

fn unreadable(path: &Path, error: &dyn Display) -> anyhow::Error {
    anyhow!("{}: cannot be read ({error})", path.display())
}

/// The numbered run directories in a directory, in ascending order.
fn numbered(runs: &Path) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut found: Vec<(usize, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.split('-').next()?.parse().ok()?, entry.path())))
        .filter(|(_, folder)| folder.join(CONFIG).exists())
        .collect();
    found.sort();
    found
}

/// Whether a file holds weights, `epoch-0001.model`, or is what burn leaves of one when it is killed while it writes:
/// `epoch-0001.model.4711-0.tmp`.
fn is_weights(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut parts = name.split('.').skip(1);
    let is_weights = parts.next().is_some_and(|kind| CHECKPOINT.contains(&kind));
    is_weights && (parts.next().is_none() || name.ends_with(".tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::example;
    use crate::history::EpochMetrics;
    use burn::module::ModuleVisitor;
    use burn::module::Param;
    use burn::optim::AdamWConfig;
    use burn::tensor::Tensor;
    use tempfile::TempDir;

    fn optimizer() -> ModuleOptimizer {
        AdamWConfig::new().init()
    }

    fn model() -> Model {
        Model::new(example().architecture, 2, &Device::flex())
    }

    /// The first weights of a network, which tell two networks apart.
    fn weights(model: &Model) -> Vec<f32> {
        struct First(Vec<f32>);
        impl ModuleVisitor for First {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if self.0.is_empty() {
                    self.0 = param.val().into_data().try_to_vec().unwrap();
                }
            }
        }
        let mut first = First(Vec::new());
        model.visit(&mut first);
        first.0
    }

    fn new_run() -> (TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), None, &example()).unwrap();
        (folder, run)
    }

    fn new_state() -> RunState {
        RunState {
            genres: vec!["Comedy".into(), "Drama".into()],
            train: ("a".into(), 100),
            validation: ("b".into(), 20),
            ..RunState::default()
        }
    }

    fn push(state: &mut RunState, validation_loss: f64) {
        state.push(EpochMetrics { epoch: state.epochs_done() + 1, validation_loss, ..EpochMetrics::default() });
    }

    fn names(run: &RunDir) -> Vec<String> {
        files::list(&run.folder).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_string()).collect()
    }

    #[test]
    fn weights_and_what_a_kill_leaves_of_them_are_removed_and_nothing_else_is() {
        let cases = [
            ("epoch-0001.model", true),
            ("epoch-0012.average", true),
            ("epoch-0012.optimizer", true),
            ("best-0009.model", true),
            ("epoch-0001.model.14593-0.tmp", true),
            ("settings.json", false),
            ("notes.tmp", false),
            ("epoch-0001.model.bak", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_weights(&Path::new("runs/0001-cnn").join(name)), expected, "{name}");
        }
    }

    #[test]
    fn runs_are_numbered_and_the_newest_is_found() {
        let (folder, first) = new_run();
        assert!(first.folder().ends_with("0001-cnn"), "{first:?}");
        fs::create_dir(folder.path().join("0007-not-a-run")).unwrap();
        let second = RunDir::create(folder.path(), None, &example()).unwrap();
        assert!(second.folder().ends_with("0002-cnn"), "{second:?}");
        let named = RunDir::create(folder.path(), Some(&folder.path().join("named")), &example()).unwrap();
        assert_eq!(RunDir::find(folder.path(), None).unwrap().folder(), second.folder());
        assert_eq!(RunDir::find(folder.path(), Some(named.folder())).unwrap().config().unwrap(), example());
    }

    #[test]
    fn missing_files_are_errors_that_name_the_remedy() {
        let (folder, run) = new_run();
        let cases: [(anyhow::Error, &str); 6] = [
            (RunDir::create(folder.path(), Some(run.folder()), &example()).unwrap_err(), "holds a run already"),
            (RunDir::find(&folder.path().join("none"), None).unwrap_err(), "make one with `train fit`"),
            (RunDir::find(folder.path(), Some(folder.path())).unwrap_err(), "it has no settings.json"),
            (run.trained_state().unwrap_err(), "has no epoch done yet; go on with `train fit --resume`"),
            (run.calibration().unwrap_err(), "is not calibrated yet; do it with `train tune`"),
            (run.operating_points().unwrap_err(), "choose them with `train tune`"),
        ];
        for (error, expected) in cases {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_checkpoint_keeps_the_last_epoch_and_the_best_one() {
        let (_folder, run) = new_run();
        let mut state = new_state();
        assert_eq!(run.state().unwrap(), None);
        let best = model();
        push(&mut state, 0.5);
        run.save_checkpoint(&state, &model(), &best, &optimizer()).unwrap();
        push(&mut state, 0.6);
        let (last, ema) = (model(), model());
        run.save_checkpoint(&state, &last, &ema, &optimizer()).unwrap();

        let files = [
            "best-0001.model",
            "epoch-0002.average",
            "epoch-0002.model",
            "epoch-0002.optimizer",
            "history.csv",
            "settings.json",
            "state.json",
        ];
        assert_eq!(names(&run), files);
        let (loaded, loaded_ema, _) = run.load_checkpoint(&state, model(), model(), optimizer()).unwrap();
        assert_eq!((weights(&loaded), weights(&loaded_ema)), (weights(&last), weights(&ema)));
        let (loaded, loaded_state) = run.best_model(&Device::flex()).unwrap();
        assert_eq!((weights(&loaded), loaded_state), (weights(&best), state));
    }

    #[test]
    fn a_run_killed_while_a_checkpoint_is_written_stands_after_the_epoch_before() {
        let (_folder, run) = new_run();
        let mut state = new_state();
        push(&mut state, 0.5);
        let first = model();
        run.save_checkpoint(&state, &first, &first, &optimizer()).unwrap();
        // The files that the next epoch writes before `state.json`, the last of them cut short.
        model().save_file(run.checkpoint_paths(2)[0].clone()).unwrap();
        model().save_file(run.best_path(2)).unwrap();
        fs::write(&run.checkpoint_paths(2)[1], "half of it").unwrap();

        assert_eq!(run.state().unwrap(), Some(state.clone()));
        let (resumed, ..) = run.load_checkpoint(&state, model(), model(), optimizer()).unwrap();
        assert_eq!(weights(&resumed), weights(&first));
        assert_eq!(weights(&run.best_model(&Device::flex()).unwrap().0), weights(&first));

        push(&mut state, 0.6);
        run.save_checkpoint(&state, &model(), &model(), &optimizer()).unwrap();
        assert!(!names(&run).contains(&"best-0002.model".into()), "a stale file is left: {:?}", names(&run));
    }

    #[test]
    fn the_card_names_data_and_best_epoch() {
        let (_folder, run) = new_run();
        let mut state = new_state();
        push(&mut state, 0.5);
        run.save_checkpoint(&state, &model(), &model(), &optimizer()).unwrap();
        let training = run.training().unwrap();
        assert_eq!(training.architecture, "cnn");
        let data = [("posters-train".to_string(), 100), ("posters-val (validation)".to_string(), 20)];
        assert_eq!(training.data, BTreeMap::from(data));
        assert!(training.settings.entries().contains(&("best_epoch".into(), "1".into())), "{training:?}");
    }

    #[test]
    fn calibration_files_of_versions_before_are_read_unless_weights_were_bfloat16() {
        let (_folder, run) = new_run();
        let calibration = Calibration { scales: vec![Scale { slope: 0.5, offset: 0.25 }], f16_min_size: Some(2048) };
        run.save_calibration(&calibration).unwrap();
        assert_eq!(run.calibration().unwrap(), calibration);
        let cases = [
            (r#"{"scales":[{"slope":0.5,"offset":0.25}],"bf16":false,"f16_min_size":2048}"#, Some(&calibration)),
            (r#"{"scales":[{"slope":0.5,"offset":0.25}],"halved":2048}"#, Some(&calibration)),
            (r#"{"scales":[],"bf16":true,"f16_min_size":null}"#, None),
            (r#"{"scales":[],"narrowed":true,"halved":null}"#, None),
        ];
        for (text, expected) in cases {
            fs::write(run.folder().join(CALIBRATION), text).unwrap();
            match (run.calibration(), expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, *expected, "{text}"),
                (Err(error), None) => {
                    assert!(error.to_string().ends_with("calibrate it again with `train tune`"), "{text}: {error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
