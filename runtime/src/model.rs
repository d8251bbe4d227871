//! A model file and the engine that runs it: poster in, genres out.

pub mod card;
mod explanation;
#[cfg(feature = "tract")]
mod interface;
mod prediction;
mod recognize;
#[cfg(feature = "tract")]
mod tract;

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use prost::Message;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use self::card::{Card, Output};
pub use self::explanation::{ActivationMap, Explanation};
pub use self::prediction::{Genre, Prediction};
use crate::error::Error;
pub use crate::kernels::Instructions;
use crate::kernels::MobileNet;
use crate::onnx;
use crate::operating_point::{self, OperatingPoint};
use crate::preprocess::{self, DecodedImage, EncodedImage, MAX_PIXELS};

/// The shipped model, embedded in the program.
static SHIPPED: &[u8] = include_bytes!("../../models/poster-genres.onnx");

/// Name of the shipped model in messages.
const SHIPPED_NAME: &str = "the shipped model";

/// A multi-label classifier of film posters, loaded from one ONNX file.
///
/// It is `Send` and `Sync`: threads share one by reference.
pub struct Model {
    name: String,
    card: Card,
    genres: Arc<[String]>,
    max_pixels: u64,
    max_memory: u64,
    fingerprint: LazyLock<String, Deferred<String>>,
    /// Compiled with the first poster, or when [`Model::compile`] is called. An error is kept without the model's name.
    backend: LazyLock<Result<Backend, EngineError>, Deferred<Result<Backend, EngineError>>>,
}

/// The initialiser of a [`LazyLock`] that captures what it needs.
type Deferred<T> = Box<dyn FnOnce() -> T + Send>;

/// The engine that runs a model's graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// [`Engine::Native`] if it supports the graph, else [`Engine::Tract`].
    #[default]
    Auto,
    /// This crate's own kernels: a MobileNetV2 as `train export` writes it, several times as fast as tract.
    Native,
    /// tract: any ONNX graph with the input and output that the card describes, channels first or last, of 32-bit or
    /// 16-bit floats. Needs the feature `tract`.
    Tract,
}

/// A graph compiled by one engine.
enum Backend {
    Native(Box<MobileNet>),
    #[cfg(feature = "tract")]
    Tract(tract::Plan),
}

/// Why a graph was not compiled; [`Error`] adds the model's name.
enum EngineError {
    Graph(String),
    Engine(&'static str),
}

/// Options for opening a model: engine, lazy compilation, limits of a poster.
///
/// ```
/// use runtime::{Engine, ModelOptions};
///
/// let model = ModelOptions::new().engine(Engine::Native).max_pixels(25_000_000).shipped()?;
/// assert_eq!(model.engine()?, Engine::Native);
/// # Ok::<(), runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelOptions {
    engine: Engine,
    instructions: Option<Instructions>,
    lazy: bool,
    max_pixels: u64,
    max_memory: u64,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { engine: Engine::Auto, instructions: None, lazy: false, max_pixels: MAX_PIXELS, max_memory: u64::MAX }
    }
}

impl ModelOptions {
    /// The defaults: [`Engine::Auto`], compiled at once, posters of up to [`MAX_PIXELS`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The engine that runs the graph.
    #[must_use]
    pub fn engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// The vector instructions of the native engine, instead of the processor's preferred ones.
    #[must_use]
    pub fn instructions(self, instructions: Instructions) -> Self {
        Self { instructions: Some(instructions), ..self }
    }

    /// Whether the graph is compiled with the first poster only. [`Error::Graph`] and [`Error::Engine`] then come with that
    /// poster.
    #[must_use]
    pub fn lazy(self, lazy: bool) -> Self {
        Self { lazy, ..self }
    }

    /// The most pixels (width times height) that a poster may claim.
    #[must_use]
    pub fn max_pixels(self, max_pixels: u64) -> Self {
        Self { max_pixels, ..self }
    }

    /// The most bytes of memory that decoding a poster may take; no limit by default. See
    /// [`Budget::usual`](crate::memory::Budget::usual).
    #[must_use]
    pub fn max_memory(self, max_memory: u64) -> Self {
        Self { max_memory, ..self }
    }

    /// Opens the model that is embedded in this crate.
    ///
    /// # Errors
    /// [`Error::Engine`] if the engine asked for is not part of this build.
    pub fn shipped(&self) -> Result<Model, Error> {
        self.load(Bytes::from_static(SHIPPED), SHIPPED_NAME)
    }

    /// Opens a model file.
    ///
    /// # Errors
    /// If it cannot be read, is not an ONNX model with a card, or its graph cannot be run.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Model, Error> {
        let name = path.as_ref().display().to_string();
        let bytes = fs::read(path).map_err(|cause| Error::Unreadable { name: name.clone(), cause })?;
        self.load(bytes.into(), &name)
    }

    /// Opens the bytes of a model file; `name` stands for its path in messages.
    ///
    /// # Errors
    /// As [`ModelOptions::open`].
    pub fn from_bytes(&self, bytes: &[u8], name: &str) -> Result<Model, Error> {
        self.load(Bytes::copy_from_slice(bytes), name)
    }

    fn load(&self, file: Bytes, name: &str) -> Result<Model, Error> {
        let proto = onnx::Model::decode(file.clone())
            .map_err(|error| Error::NotOnnx { name: name.into(), reason: error.to_string() })?;
        let card = Card::read(&proto).map_err(|cause| Error::Card { name: name.into(), cause })?;
        let (engine, instructions) = (self.engine, self.instructions.unwrap_or_else(Instructions::detect));
        let hashed = file.clone();
        let described = card.clone();
        let model = Model {
            name: name.into(),
            genres: card.genres.clone().into(),
            card,
            max_pixels: self.max_pixels,
            max_memory: self.max_memory,
            fingerprint: LazyLock::new(Box::new(move || fingerprint(&hashed))),
            backend: LazyLock::new(Box::new(move || compile(&file, proto, &described, engine, instructions))),
        };
        if !self.lazy {
            model.compile()?;
        }
        Ok(model)
    }
}

impl Model {
    /// Opens the model that is embedded in this crate, with default options.
    ///
    /// # Errors
    /// None; the signature is that of the other ways to open a model.
    pub fn shipped() -> Result<Self, Error> {
        ModelOptions::new().shipped()
    }

    /// Opens a model file with default options.
    ///
    /// # Errors
    /// As [`ModelOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        ModelOptions::new().open(path)
    }

    /// Opens the bytes of a model file with default options.
    ///
    /// # Errors
    /// As [`ModelOptions::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        ModelOptions::new().from_bytes(bytes, "the model")
    }

    /// Classifies a poster given as the bytes of a JPEG, PNG or WebP file.
    ///
    /// # Errors
    /// If the bytes are not such an image, or it has too many pixels or would take too much memory; see [`Error`].
    pub fn classify(&self, poster: &[u8]) -> Result<Prediction, Error> {
        self.classify_image(self.decode(poster, "the poster")?)
    }

    /// Classifies a poster file.
    ///
    /// # Errors
    /// If it cannot be read, and as [`Model::classify`]; messages name the path.
    pub fn classify_file(&self, path: impl AsRef<Path>) -> Result<Prediction, Error> {
        let name = path.as_ref().display().to_string();
        let bytes = fs::read(path).map_err(|cause| Error::Unreadable { name: name.clone(), cause })?;
        self.classify_image(self.decode(&bytes, &name)?)
    }

    /// Decodes a poster at the resolution that this model's input needs; `name` stands for its path in messages.
    ///
    /// # Errors
    /// As [`Model::classify`].
    pub fn decode(&self, poster: &[u8], name: &str) -> Result<DecodedImage, Error> {
        let image = EncodedImage::read(poster, name, self.max_pixels)?;
        let size = self.card.input.size();
        let (bytes, limit) = (image.memory(size), self.max_memory);
        if bytes > limit {
            return Err(Error::TooMuchMemory { name: name.to_string(), bytes, limit });
        }
        image.decode_for(size)
    }

    /// Classifies a decoded image. Its memory is freed before the network allocates its own, so that peak memory is that
    /// of the larger of the two.
    ///
    /// # Errors
    /// [`Error::Graph`] if the graph puts out no probabilities; [`Error::Graph`] or [`Error::Engine`] if the model was
    /// opened lazily and cannot be compiled.
    pub fn classify_image(&self, image: DecodedImage) -> Result<Prediction, Error> {
        let input = preprocess::tensor(&image, &self.card.input);
        drop(image);
        Ok(Prediction::new(self.genres.clone(), self.probabilities(&input)?))
    }

    /// Classifies a decoded image and keeps what its activation maps need, which takes a few hundredths of the time more.
    ///
    /// # Errors
    /// As [`Model::classify_image`], and [`Error::Engine`] if tract runs this model: its feature maps are not at hand.
    pub fn explain(&self, image: DecodedImage) -> Result<Explanation<'_>, Error> {
        let spec = &self.card.input;
        let input = preprocess::tensor(&image, spec);
        drop(image);
        let size = [spec.height as usize, spec.width as usize];
        match self.backend()? {
            Backend::Native(network) => {
                let evidence = network.evidence(&input, size, size.map(|side| side.div_ceil(explanation::CELL)));
                let probabilities = prediction::probabilities(evidence.probabilities.clone(), &self.genres)
                    .map_err(|reason| self.named(&EngineError::Graph(reason)))?;
                let prediction = Prediction::new(self.genres.clone(), probabilities);
                Ok(Explanation { prediction, network, evidence })
            }
            #[cfg(feature = "tract")]
            Backend::Tract(_) => Err(self.named(&EngineError::Engine(
                "only the native engine makes activation maps, of MobileNetV2 graphs as `train export` writes them",
            ))),
        }
    }

    /// The probability of each genre, `[G]` in card order, for one input `[3, height, width]` as [`preprocess::tensor`]
    /// makes it.
    ///
    /// # Errors
    /// As [`Model::classify_image`].
    ///
    /// # Panics
    /// If the length of `input` is not [`InputSpec::len`](preprocess::InputSpec::len).
    pub fn probabilities(&self, input: &[f32]) -> Result<Vec<f32>, Error> {
        let spec = &self.card.input;
        assert_eq!(input.len(), spec.len(), "an input must be [3, height, width]");
        let size = [spec.height as usize, spec.width as usize];
        let output = match self.backend()? {
            Backend::Native(network) => Ok(network.probabilities(input, size)),
            #[cfg(feature = "tract")]
            Backend::Tract(plan) => plan.run(input, size),
        };
        let probabilities = output.and_then(|values| prediction::probabilities(values, &self.genres));
        probabilities.map_err(|reason| self.named(&EngineError::Graph(reason)))
    }

    /// The operating point of that name: one threshold a genre.
    ///
    /// # Errors
    /// [`Error::OperatingPoint`], which lists those of the card.
    pub fn operating_point(&self, name: &str) -> Result<&OperatingPoint, Error> {
        Ok(operating_point::find(&self.card.operating_points, Some(name))?)
    }

    /// The first operating point of the card, which holds where none is named.
    pub fn default_operating_point(&self) -> &OperatingPoint {
        &self.card.operating_points[0]
    }

    /// The model card: genres, input, operating points, training and figures.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The first 12 hexadecimal digits of the SHA-256 of the model file.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// `name@fingerprint`, as results cite a model.
    pub fn id(&self) -> String {
        format!("{}@{}", self.card.name, self.fingerprint())
    }

    /// The engine that runs this model, [`Engine::Native`] or [`Engine::Tract`].
    ///
    /// # Errors
    /// As [`Model::compile`].
    pub fn engine(&self) -> Result<Engine, Error> {
        Ok(match self.backend()? {
            Backend::Native(_) => Engine::Native,
            #[cfg(feature = "tract")]
            Backend::Tract(_) => Engine::Tract,
        })
    }

    /// The kernels in use: number type and instructions of the native engine, such as `int8, avx512-vnni`, or `tract`.
    ///
    /// # Errors
    /// As [`Model::compile`].
    pub fn kernels(&self) -> Result<String, Error> {
        Ok(match self.backend()? {
            Backend::Native(network) => format!("{}, {}", network.number_type(), network.instructions),
            #[cfg(feature = "tract")]
            Backend::Tract(_) => "tract".into(),
        })
    }

    /// Compiles the graph, if that is not done yet: recognises it and packs its weights, or has tract optimise it.
    ///
    /// # Errors
    /// [`Error::Graph`] if the graph does not fit its card, [`Error::Engine`] if the engine asked for does not run it.
    pub fn compile(&self) -> Result<(), Error> {
        self.backend().map(|_| ())
    }

    fn backend(&self) -> Result<&Backend, Error> {
        self.backend.as_ref().map_err(|error| self.named(error))
    }

    fn named(&self, error: &EngineError) -> Error {
        let name = self.name.clone();
        match error {
            EngineError::Graph(reason) => Error::Graph { name, reason: reason.clone() },
            EngineError::Engine(reason) => Error::Engine { name, reason: (*reason).into() },
        }
    }
}

fn compile(
    file: &[u8],
    proto: onnx::Model,
    card: &Card,
    engine: Engine,
    instructions: Instructions,
) -> Result<Backend, EngineError> {
    if engine != Engine::Tract && card.output == Output::Probabilities {
        let network = proto.graph.as_ref().and_then(|graph| recognize::mobilenet(graph, instructions));
        let fits = |network: &MobileNet| {
            let size = [card.input.height as usize, card.input.width as usize];
            network.classes() == card.genres.len() && network.backbone.takes(size)
        };
        if let Some(network) = network.filter(fits) {
            return Ok(Backend::Native(Box::new(network)));
        }
    }
    if engine == Engine::Native {
        return Err(EngineError::Engine(
            "the native engine runs only MobileNetV2 graphs as `train export` writes them; choose the engine tract or auto",
        ));
    }
    compile_with_tract(file, proto, card)
}

#[cfg(feature = "tract")]
fn compile_with_tract(file: &[u8], proto: onnx::Model, card: &Card) -> Result<Backend, EngineError> {
    let interface = interface::Interface::of(&proto.graph.unwrap_or_default(), card).map_err(EngineError::Graph)?;
    tract::Plan::new(file, &interface, card).map(Backend::Tract).map_err(EngineError::Graph)
}

#[cfg(not(feature = "tract"))]
fn compile_with_tract(_: &[u8], _: onnx::Model, _: &Card) -> Result<Backend, EngineError> {
    Err(EngineError::Engine("only tract runs this graph, and this build is without it; build with the feature `tract`"))
}

/// The first 12 hexadecimal digits of the SHA-256 of `bytes`.
pub fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(all(test, feature = "tract"))]
mod tests {
    use super::*;

    #[test]
    fn int8_models_give_the_same_bits_with_all_instructions() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let mut compared = 0;
        for entry in fs::read_dir(models).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|kind| kind != "onnx") {
                continue;
            }
            let mut expected: Option<Vec<u32>> = None;
            for instructions in Instructions::available() {
                let model = ModelOptions::new().engine(Engine::Native).instructions(instructions).open(&path).unwrap();
                if !model.kernels().unwrap().starts_with("int8") {
                    continue;
                }
                let bits: Vec<u32> = (0..2)
                    .flat_map(|seed| {
                        let value = |index: usize| ((index * (2 * seed + 1) * 7919) % 997) as f32 / 498.0 - 1.0;
                        let input: Vec<f32> = (0..model.card().input.len()).map(value).collect();
                        model.probabilities(&input).unwrap()
                    })
                    .map(f32::to_bits)
                    .collect();
                let expected = expected.get_or_insert_with(|| bits.clone());
                assert_eq!(*expected, bits, "{}, {instructions}", path.display());
                compared += 1;
            }
        }
        assert!(compared > 1, "no shipped model is in int8");
    }

    #[test]
    fn native_and_tract_agree_over_all_shipped_models() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let is_onnx = |path: &std::path::PathBuf| path.extension().is_some_and(|kind| kind == "onnx");
        let paths: Vec<_> = fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path()).filter(is_onnx).collect();
        assert!(paths.len() >= 2, "the shipped models are missing");
        for path in paths {
            let name = path.display();
            let open = |options: ModelOptions| options.open(&path).unwrap();
            let tract = open(ModelOptions::new().engine(Engine::Tract));
            let native = open(ModelOptions::new().engine(Engine::Native));
            let by_default = open(ModelOptions::new());
            let engines = [&tract, &native, &by_default].map(|model| model.engine().unwrap());
            assert_eq!(engines, [Engine::Tract, Engine::Native, Engine::Native], "{name}");
            let len = tract.card().input.len();
            for seed in 0..4 {
                let value = |index: usize| ((index * (2 * seed + 1) * 7919) % 997) as f32 / 498.0 - 1.0;
                let input: Vec<f32> = (0..len).map(value).collect();
                let expected = tract.probabilities(&input).unwrap();
                let found = native.probabilities(&input).unwrap();
                let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // An int8 code between two integers may be rounded either way.
                let tolerance = if native.kernels().unwrap().starts_with("int8") { 0.05 } else { 1e-4 };
                assert!(worst < tolerance, "{name}: a probability differs by {worst}");
            }
        }
    }
}
