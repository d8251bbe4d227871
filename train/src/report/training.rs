//! Training curves: loss, validation metrics and learning rate over the epochs, a line per run.

use serde_json::json;

use super::axes::{Axis, Key, Mark, Panels, Plot, legend, legend_height};
use super::svg::{Anchor, INK, SERIES, Svg, WIDTH};
use super::{Figure, Subject};
use crate::history::{EpochMetrics, RunState};

/// The figures of every subject that has a history; none if there is none.
pub fn figures(subjects: &[Subject]) -> Vec<Figure> {
    let runs: Vec<Run> = subjects
        .iter()
        .enumerate()
        .filter_map(|(index, subject)| {
            let state = &subject.training.as_ref()?.state;
            (!state.history.is_empty()).then_some(Run { name: &subject.name, state, colour: SERIES[index] })
        })
        .collect();
    if runs.is_empty() { Vec::new() } else { vec![loss(&runs), metrics(&runs), learning_rate(&runs)] }
}

struct Run<'a> {
    name: &'a str,
    state: &'a RunState,
    colour: &'a str,
}

impl Run<'_> {
    /// A figure of each epoch beside its number.
    fn line(&self, of: fn(&EpochMetrics) -> f64) -> Vec<[f64; 2]> {
        self.state.history.iter().map(|epoch| [epoch.epoch as f64, of(epoch)]).collect()
    }

    fn values(&self, of: fn(&EpochMetrics) -> f64) -> Vec<f64> {
        self.state.history.iter().map(of).collect()
    }
}

/// Epochs of the longest run.
fn epochs(runs: &[Run]) -> Axis {
    Axis::epochs(runs.iter().flat_map(|run| &run.state.history).map(|epoch| epoch.epoch).max().unwrap_or(1))
}

/// Names of the runs, where there are several.
fn run_keys<'a>(runs: &'a [Run]) -> Vec<Key<'a>> {
    let keys = runs.iter().map(|run| Key { text: run.name, colour: run.colour, mark: Mark::Line });
    if runs.len() > 1 { keys.collect() } else { Vec::new() }
}

const LEFT: f64 = 58.0;

/// The only plot of a figure, below a legend.
fn plot(top: f64, height: f64, x: Axis, y: Axis) -> Plot {
    Plot { origin: [LEFT, top], size: [WIDTH - LEFT - 12.0, height], x, y }
}

fn loss(runs: &[Run]) -> Figure {
    let losses: [fn(&EpochMetrics) -> f64; 2] = [|epoch| epoch.train_loss, |epoch| epoch.validation_loss];
    let mut keys = run_keys(runs);
    let is_alone = runs.len() == 1;
    let train_colour = |run: &Run| if is_alone { SERIES[1].to_string() } else { run.colour.to_string() };
    let [validation_key, train_key] = if is_alone { [SERIES[0], SERIES[1]] } else { [INK, INK] };
    keys.push(Key { text: "validation", colour: validation_key, mark: Mark::Line });
    keys.push(Key { text: "training", colour: train_key, mark: Mark::Dashed });
    keys.push(Key { text: "best epoch", colour: if is_alone { SERIES[0] } else { INK }, mark: Mark::Dot });
    let top = legend_height(LEFT, &keys) + 16.0;
    let mut svg = Svg::new(top + 220.0 + 40.0);
    legend(&mut svg, LEFT, 0.0, &keys);
    let values = runs.iter().flat_map(|run| losses.map(|of| run.values(of)).concat());
    let plot = plot(top, 220.0, epochs(runs), Axis::around(values, 5));
    plot.grid(&mut svg, true, true);
    plot.titles(&mut svg, "epoch", "loss, nats per label", 46.0, 32.0);
    for run in runs {
        plot.line(&mut svg, &run.line(losses[0]), &train_colour(run), "5 3");
        plot.line(&mut svg, &run.line(losses[1]), run.colour, "");
    }
    for run in runs {
        let Some(best) = run.state.history.get(run.state.best_epoch.wrapping_sub(1)) else { continue };
        let point @ [x, y] = plot.at(best.epoch as f64, best.validation_loss);
        let tip = format!("{}: epoch {}, validation loss {:.4}", run.name, best.epoch, best.validation_loss);
        svg.dot(point, 5.0, run.colour, &tip);
        if is_alone {
            let anchor = if x > WIDTH - 70.0 { Anchor::End } else { Anchor::Middle };
            svg.text([x, y - 10.0], &format!("{:.4}", best.validation_loss), anchor, 11.0, INK);
        }
    }
    Figure {
        name: "loss".into(),
        title: "Training and validation loss".into(),
        caption: "Validation loss is the binary cross-entropy of the calibrated network; the epoch with the lowest one \
                  is kept. Training loss is the training objective itself, on augmented posters and before calibration: \
                  the two lines need not meet."
            .into(),
        svg: svg.finish("Training and validation loss over the epochs"),
        numbers: numbers(runs, |epoch| {
            json!({ "epoch": epoch.epoch, "train_loss": epoch.train_loss, "validation_loss": epoch.validation_loss })
        }),
    }
}

/// A panel's name and its figure.
type Metric = (&'static str, fn(&EpochMetrics) -> f64);

fn metrics(runs: &[Run]) -> Figure {
    let metrics: [Metric; 4] = [
        ("precision", |epoch| epoch.precision),
        ("recall", |epoch| epoch.recall),
        ("F1", |epoch| epoch.f1),
        ("mean average precision", |epoch| epoch.mean_average_precision),
    ];
    let keys = run_keys(runs);
    let top = if keys.is_empty() { 0.0 } else { legend_height(46.0, &keys) + 4.0 };
    let panels = Panels { top, count: metrics.len(), columns: 2, height: 104.0 };
    let mut svg = Svg::new(panels.bottom());
    legend(&mut svg, 46.0, 0.0, &keys);
    // One scale for all four, so that they can be compared.
    let values = runs.iter().flat_map(|run| metrics.map(|(_, of)| run.values(of)).concat());
    let share = Axis::around(values, 4);
    for (index, (name, of)) in metrics.into_iter().enumerate() {
        let plot = panels.draw(&mut svg, index, name, epochs(runs), share.clone());
        for run in runs {
            plot.line(&mut svg, &run.line(of), run.colour, "");
        }
    }
    panels.titles(&mut svg, "epoch", "share, 0 to 1");
    Figure {
        name: "validation-metrics".into(),
        title: "Precision, recall, F1 and mAP on validation".into(),
        caption: "Precision, recall and F1 are micro averages at a threshold of 0.5, before thresholds are chosen: \
                  recall is low there, and rises with the thresholds of the operating points. Mean average precision \
                  does not depend on thresholds."
            .into(),
        svg: svg.finish("Precision, recall, F1 and mean average precision over the epochs"),
        numbers: numbers(runs, |epoch| {
            json!({
                "epoch": epoch.epoch, "precision": epoch.precision, "recall": epoch.recall, "f1": epoch.f1,
                "mean_average_precision": epoch.mean_average_precision,
            })
        }),
    }
}

fn learning_rate(runs: &[Run]) -> Figure {
    let keys = run_keys(runs);
    let top = if keys.is_empty() { 12.0 } else { legend_height(LEFT, &keys) + 12.0 };
    let mut svg = Svg::new(top + 130.0 + 40.0);
    legend(&mut svg, LEFT, 0.0, &keys);
    let of: fn(&EpochMetrics) -> f64 = |epoch| epoch.learning_rate;
    // In thousandths, since tick labels of 0.00015 take the room of the plot.
    let thousandths = |value: f64| value * 1e3;
    let values = runs.iter().flat_map(|run| run.values(of)).map(thousandths).chain([0.0]);
    let plot = plot(top, 130.0, epochs(runs), Axis::around(values, 4));
    plot.grid(&mut svg, true, true);
    plot.titles(&mut svg, "epoch", "learning rate, 1/1000", 46.0, 32.0);
    for run in runs {
        let line: Vec<[f64; 2]> = run.line(of).into_iter().map(|[x, y]| [x, thousandths(y)]).collect();
        plot.line(&mut svg, &line, run.colour, "");
    }
    Figure {
        name: "learning-rate".into(),
        title: "Learning rate".into(),
        caption: "Of the last step of each epoch, for the classifier head.".into(),
        svg: svg.finish("Learning rate over the epochs"),
        numbers: numbers(runs, |epoch| json!({ "epoch": epoch.epoch, "learning_rate": epoch.learning_rate })),
    }
}

fn numbers(runs: &[Run], of: fn(&EpochMetrics) -> serde_json::Value) -> serde_json::Value {
    let run = |run: &Run| {
        json!({
            "run": run.name,
            "best_epoch": run.state.best_epoch,
            "epochs": run.state.history.iter().map(of).collect::<Vec<_>>(),
        })
    };
    runs.iter().map(run).collect()
}
