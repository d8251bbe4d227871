//! `runtime bench`: latency of each inference stage, peak memory and throughput on this device.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::ensure;
use cli_support::Outcome;
use runtime::preprocess;
use runtime::{Engine, Error, Model, OperatingPoint};
use serde::Serialize;

use super::ModelArgs;

/// A drawn poster of 1000 x 1500 pixels that takes as many bytes as a real one, part of the program.
static BUILT_IN: &[u8] = include_bytes!("../../../fixtures/posters/adventure-photographic.jpg");

/// The stages in their order, and all of them together.
const STAGES: [&str; 6] = ["read", "decode", "resize and normalise", "infer", "threshold", "whole path"];

/// Measure this device: time of each stage, memory, posters a second.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// JPEG, PNG or WebP file [default: a drawn poster of 1000 x 1500 pixels, part of the program]
    poster: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    /// Seconds that each measurement takes: that of the stages, and that of each number of threads
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,

    /// Print every figure as one JSON object
    #[arg(long)]
    json: bool,
}

/// Every figure.
#[derive(Serialize)]
struct Report {
    poster: String,
    width: u32,
    height: u32,
    file_bytes: usize,
    model: String,
    engine: &'static str,
    /// Number type and instructions, such as `int8, avx512-vnni`.
    kernels: String,
    load_ms: f64,
    /// Most memory that the process held at once while it took the poster through the stages, in one thread; only Linux
    /// tells.
    peak_memory_bytes: Option<u64>,
    /// How often the poster went through the stages.
    rounds: usize,
    stages: Vec<StageRecord>,
    throughput: Vec<ThroughputRecord>,
}

/// Percentiles of one stage's time over all rounds.
#[derive(Serialize)]
struct StageRecord {
    stage: &'static str,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

/// Posters a second of some threads, each with posters of its own.
#[derive(Serialize)]
struct ThroughputRecord {
    threads: usize,
    posters_per_second: f64,
}

/// What goes through the stages.
struct Bench<'a> {
    /// The file; none stands for [`BUILT_IN`], which needs no reading.
    path: Option<&'a Path>,
    model: &'a Model,
    point: &'a OperatingPoint,
}

/// Prints the figures to standard output.
///
/// # Errors
/// If the model or the poster cannot be used.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let hour = 3600.0;
    ensure!(args.seconds > 0.0 && args.seconds <= hour, "--seconds {}: must be over 0, an hour at most", args.seconds);
    let duration = Duration::from_secs_f64(args.seconds);

    let start = Instant::now();
    let model = args.model.open()?;
    let load_ms = milliseconds(start.elapsed());
    let point = args.model.choose(&model)?;
    let bench = Bench { path: args.poster.as_deref(), model: &model, point };

    let file = bench.read()?;
    let (width, height) = preprocess::decode(&file, &bench.name())?.dimensions();
    let (rounds, stages) = bench.stages(duration)?;
    let peak_memory_bytes = peak_memory();
    let report = Report {
        poster: bench.name(),
        width,
        height,
        file_bytes: file.len(),
        model: model.id(),
        engine: engine_name(model.engine()?),
        kernels: model.kernels()?,
        load_ms,
        peak_memory_bytes,
        rounds,
        stages,
        throughput: bench.throughput(duration)?,
    };

    let mut out = cli_support::stdout();
    if args.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        print(&mut out, &report)?;
    }
    Ok(Outcome::Complete)
}

impl Bench<'_> {
    fn name(&self) -> String {
        self.path.map_or("a drawn poster".into(), |path| path.display().to_string())
    }

    fn read(&self) -> Result<Cow<'static, [u8]>, Error> {
        let Some(path) = self.path else { return Ok(BUILT_IN.into()) };
        fs::read(path).map(Cow::from).map_err(|cause| Error::Unreadable { name: self.name(), cause })
    }

    /// Takes the poster through the stages once. The time of each of [`STAGES`].
    fn round(&self) -> anyhow::Result<[Duration; STAGES.len()]> {
        let start = Instant::now();
        let bytes = self.read()?;
        let read = Instant::now();
        let input = &self.model.card().input;
        let image = self.model.decode(&bytes, &self.name())?;
        let decoded = Instant::now();
        let input = preprocess::tensor(&image, input);
        let resized = Instant::now();
        let probabilities = self.model.probabilities(&input)?;
        let inferred = Instant::now();
        std::hint::black_box(self.point.decide(&probabilities));
        let end = Instant::now();
        Ok([read - start, decoded - read, resized - decoded, inferred - resized, end - inferred, end - start])
    }

    /// Repeats the stages in this thread, after one round that only warms up. The number of rounds and the percentiles.
    fn stages(&self, duration: Duration) -> anyhow::Result<(usize, Vec<StageRecord>)> {
        self.round()?;
        let start = Instant::now();
        let mut rounds = Vec::new();
        while rounds.is_empty() || start.elapsed() < duration {
            rounds.push(self.round()?);
        }
        let record = |(index, stage)| {
            let mut times: Vec<f64> = rounds.iter().map(|round| milliseconds(round[index])).collect();
            times.sort_by(f64::total_cmp);
            let [p50_ms, p95_ms, p99_ms] = [50, 95, 99].map(|percent| percentile(&times, percent));
            StageRecord { stage, p50_ms, p95_ms, p99_ms }
        };
        Ok((rounds.len(), STAGES.into_iter().enumerate().map(record).collect()))
    }

    /// Posters a second with 1, 2, 4… threads, and with as many as the device runs at once.
    fn throughput(&self, duration: Duration) -> anyhow::Result<Vec<ThroughputRecord>> {
        let most = thread::available_parallelism().map_or(1, usize::from);
        let counts = (0..).map(|power| 1 << power).take_while(|&threads| threads < most).chain([most]);
        let measure = |threads: usize| {
            let start = Instant::now();
            let work = || -> anyhow::Result<usize> {
                let mut posters = 0;
                while posters == 0 || start.elapsed() < duration {
                    self.round()?;
                    posters += 1;
                }
                Ok(posters)
            };
            let posters: anyhow::Result<usize> = thread::scope(|scope| {
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                workers.into_iter().map(|worker| worker.join().expect("no stage panics")).sum()
            });
            Ok(ThroughputRecord { threads, posters_per_second: posters? as f64 / start.elapsed().as_secs_f64() })
        };
        counts.map(measure).collect()
    }
}

/// The smallest of `sorted` that at least so many percent of them do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Native => "native",
        Engine::Tract => "tract",
        _ => "auto",
    }
}

/// Most memory that this process has held at once, in bytes, where the system tells as Linux does.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    Some(1024 * kilobytes.trim().parse::<u64>().ok()?)
}

fn print(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let bold = anstyle::Style::new().bold();
    let Report { poster, width, height, .. } = report;
    writeln!(out, "poster       {poster}, {width} x {height} pixels, {} kB", report.file_bytes / 1000)?;
    writeln!(out, "model        {}, loaded in {:.0} ms", report.model, report.load_ms)?;
    writeln!(out, "engine       {} ({})", report.engine, report.kernels)?;
    if let Some(bytes) = report.peak_memory_bytes {
        writeln!(out, "peak memory  {:.0} MB, in one thread", bytes as f64 / 1e6)?;
    }

    writeln!(
        out,
        "\n{bold}{:20}  {:>9}  {:>9}  {:>9}{bold:#}  of {} rounds",
        "ms", "p50", "p95", "p99", report.rounds
    )?;
    for StageRecord { stage, p50_ms, p95_ms, p99_ms } in &report.stages {
        writeln!(out, "{stage:20}  {p50_ms:9.3}  {p95_ms:9.3}  {p99_ms:9.3}")?;
    }

    writeln!(out, "\n{bold}threads  posters a second{bold:#}")?;
    for ThroughputRecord { threads, posters_per_second } in &report.throughput {
        writeln!(out, "{threads:7}  {posters_per_second:16.1}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 95, 99].map(|percent| percentile(&hundred, percent)), [50.0, 95.0, 99.0]);
        assert_eq!([50, 95, 99].map(|percent| percentile(&[1.0, 2.0, 3.0], percent)), [2.0, 3.0, 3.0]);
        assert_eq!([50, 95, 99].map(|percent| percentile(&[7.0], percent)), [7.0; 3]);
    }
}
