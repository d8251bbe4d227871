//! The training objective: binary cross-entropy, focal or asymmetric loss, with label smoothing, class weights, logit
//! adjustment and distillation.
//!
//! For logits `x`, labels `t`, class weights `w`, the loss of a known label is
//!
//! ```text
//! w * t' * cost_yes(x') + (1 - t') * cost_no(x')
//! t' = (1 - smoothing) * t + smoothing * prevalence        label smoothing
//! x' = x + adjustment * log_odds(prevalence)               logit adjustment
//! w  = ((1 - prevalence) / prevalence) ^ positive_weight   class weight
//! ```
//!
//! and the loss of a batch is its mean over all known labels, blended with the binary cross-entropy against a teacher's
//! probabilities.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, anyhow};
use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use serde::{Deserialize, Serialize};

/// The cost of a probability `p`, given its label; the name is in lower case in settings and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// Binary cross-entropy: yes `-ln p`, no `-ln (1 - p)`.
    Bce,
    /// Focal loss with gamma = 2: yes `-(1 - p)^2 ln p`, no `-p^2 ln (1 - p)` (Lin et al., "Focal loss for dense object
    /// detection", 2017).
    Focal,
    /// Asymmetric loss with gamma+ = 0, gamma- = 4, margin 0.05: yes `-ln p`, no `-q^4 ln (1 - q)` with
    /// `q = max(p - 0.05, 0)` (Ridnik et al., "Asymmetric loss for multi-label classification", 2021).
    Asl,
}

impl Cost {
    /// Every cost.
    pub const ALL: [Self; 3] = [Self::Bce, Self::Focal, Self::Asl];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bce => "bce",
            Self::Focal => "focal",
            Self::Asl => "asl",
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Cost {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|cost| cost.name() == name);
        let known = || Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| anyhow!("\"{name}\" is no known loss; the known ones are {}", known()))
    }
}

/// The training objective and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The cost of a probability.
    pub cost: Cost,
    /// Label smoothing, 0 to 1: the weight of the genre's prevalence in every target, the rest is the label's (Szegedy et
    /// al., "Rethinking the Inception architecture for computer vision", 2016).
    pub smoothing: f64,
    /// The exponent of the positive class weight, `(negatives / positives)^exponent`: 0 is off, 1 balances both classes.
    pub positive_weight: f64,
    /// Logit adjustment: while training, the log-odds of a genre's prevalence times this are added to its logit, so that
    /// the network learns the difference to them (Menon et al., "Long-tail learning via logit adjustment", 2021).
    pub adjustment: f64,
    /// The weight of the distillation loss, the binary cross-entropy against a teacher's probabilities, 0 to 1; without a
    /// teacher it has no effect (Hinton et al., "Distilling the knowledge in a neural network", 2015).
    pub distillation: f64,
}

/// The labels of a batch.
pub struct Labels {
    /// Targets, 0 to 1, `[N, G]`.
    pub targets: Tensor<2>,
    /// The weight of each target, `[N, G]`: 1 where the label is known, 0 where it is not.
    pub mask: Tensor<2>,
    /// The weight of each group, `[N, groups]`: 1 where at least one of its genres is known to hold, otherwise 0.
    pub groups: Tensor<2>,
    /// A teacher's probabilities, `[N, G]`.
    pub teacher: Option<Tensor<2>>,
}

/// Statistics of the training set that the objective needs.
#[derive(Clone, Debug)]
pub struct Prior {
    /// The share of positives among the known labels of each genre, `[G]`, strictly between 0 and 1.
    pub prevalence: Vec<f32>,
    /// Groups of genres that are labelled together only ("at least one of them"), as genre indices.
    pub groups: Vec<Vec<usize>>,
}

impl Prior {
    /// The log-odds of each genre's prevalence, `[G]`.
    pub fn log_odds(&self) -> Vec<f32> {
        self.prevalence.iter().map(|share| (share / (1.0 - share)).ln()).collect()
    }

    /// `[1, G]`, to be broadcast over a batch.
    fn row(values: Vec<f32>, device: &Device) -> Tensor<2> {
        let len = values.len();
        Tensor::from_data(TensorData::new(values, [1, len]), device)
    }
}

impl Loss {
    /// Plain binary cross-entropy.
    pub const PLAIN: Self =
        Self { cost: Cost::Bce, smoothing: 0.0, positive_weight: 0.0, adjustment: 0.0, distillation: 0.0 };

    /// The loss of a batch: the mean over all known labels and groups, 0 if nothing is known.
    ///
    /// A group costs `-ln(1 - (1 - p1) (1 - p2) ...)` for the probabilities of its genres: at least one of them holds.
    ///
    /// # Shapes
    /// - logits: `[N, G]`
    /// - result: `[1]`
    pub fn of(&self, logits: Tensor<2>, labels: Labels, prior: &Prior) -> Tensor<1> {
        let device = logits.device();
        let logits = if self.adjustment == 0.0 {
            logits
        } else {
            logits + Prior::row(prior.log_odds(), &device) * self.adjustment
        };
        let mut targets = labels.targets;
        if self.smoothing > 0.0 {
            let prevalence = Prior::row(prior.prevalence.clone(), &device);
            targets = targets * (1.0 - self.smoothing) + prevalence * self.smoothing;
        }

        let (yes, no) = self.cost.of(logits.clone());
        let mut yes = yes * targets.clone();
        if self.positive_weight != 0.0 {
            let weight = |share: &f32| ((1.0 - share) / share).powf(self.positive_weight as f32);
            yes = yes * Prior::row(prior.prevalence.iter().map(weight).collect(), &device);
        }
        let mut total = ((yes + no * (targets.neg() + 1.0)) * labels.mask.clone()).sum();
        let mut known = labels.mask.sum();
        let none = softplus(logits.clone());
        for (index, members) in prior.groups.iter().enumerate() {
            let weight = labels.groups.clone().narrow(1, index, 1);
            let none = members.iter().map(|member| none.clone().narrow(1, *member, 1)).reduce(|sum, next| sum + next);
            let some = none.expect("a group has members").neg().exp().neg() + 1.0;
            total = total - (some.clamp_min(1e-6).log() * weight.clone()).sum();
            known = known + weight.sum();
        }
        let hard = total / known.clamp_min(1.0);

        match labels.teacher {
            Some(teacher) if self.distillation > 0.0 => {
                let soft = softplus(logits.clone()) - logits * teacher;
                hard * (1.0 - self.distillation) + soft.mean() * self.distillation
            }
            _ => hard,
        }
    }
}

impl Cost {
    /// The cost of each logit, `[N, G]`, if the label is yes, and if it is no.
    fn of(self, logits: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (yes, no) = (softplus(logits.clone().neg()), softplus(logits.clone()));
        match self {
            Self::Bce => (yes, no),
            Self::Focal => {
                // p = exp(-softplus(-x)) and 1 - p = exp(-softplus(x)).
                let (p, q) = (yes.clone().neg().exp(), no.clone().neg().exp());
                (yes * q.clone() * q, no * p.clone() * p)
            }
            Self::Asl => {
                let p = relu(yes.clone().neg().exp() - 0.05);
                (yes, (p.clone().neg() + 1.0).log().neg() * p.powi_scalar(4))
            }
        }
    }
}

/// `ln(1 + exp(x))` without overflow: the binary cross-entropy of a logit whose label is no.
fn softplus(x: Tensor<2>) -> Tensor<2> {
    relu(x.clone()) + (x.abs().neg().exp() + 1.0).log()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &Device::flex())
    }

    fn sigmoid(x: f32) -> f64 {
        1.0 / (1.0 + f64::from(-x).exp())
    }

    fn labels(targets: &[f32], mask: &[f32], groups: &[f32], teacher: Option<&[f32]>) -> Labels {
        Labels { targets: tensor(targets), mask: tensor(mask), groups: tensor(groups), teacher: teacher.map(tensor) }
    }

    fn value(loss: Loss, logits: &[f32], labels: Labels, prior: &Prior) -> f32 {
        loss.of(tensor(logits), labels, prior).into_scalar::<f32>()
    }

    fn prior(prevalence: &[f32], groups: &[&[usize]]) -> Prior {
        Prior { prevalence: prevalence.to_vec(), groups: groups.iter().map(|group| group.to_vec()).collect() }
    }

    #[test]
    fn costs_agree_with_their_definitions() {
        type Definition = fn(f64, f64) -> f64;
        let bce: Definition = |p, t| -t * p.ln() - (1.0 - t) * (1.0 - p).ln();
        let focal: Definition = |p, t| -t * (1.0 - p).powi(2) * p.ln() - (1.0 - t) * p.powi(2) * (1.0 - p).ln();
        let asl: Definition = |p, t| {
            let shifted = (p - 0.05).max(0.0);
            -t * p.ln() - (1.0 - t) * shifted.powi(4) * (1.0 - shifted).ln()
        };
        let cases: [(&[f32], &[f32], &[f32]); 4] = [
            (&[0.0], &[1.0], &[1.0]),
            (&[2.0, -1.0, 0.5], &[1.0, 0.0, 1.0], &[1.0, 1.0, 1.0]),
            (&[2.0, -1.0, 0.5], &[1.0, 0.0, 0.0], &[1.0, 0.0, 1.0]),
            (&[-3.0, 4.0], &[1.0, 0.0], &[1.0, 1.0]),
        ];
        for (cost, definition) in [(Cost::Bce, bce), (Cost::Focal, focal), (Cost::Asl, asl)] {
            for (logits, targets, mask) in cases {
                let terms = logits.iter().zip(targets).zip(mask).filter(|(_, known)| **known == 1.0);
                let sum: f64 = terms.map(|((x, t), _)| definition(sigmoid(*x), f64::from(*t))).sum();
                let expected = sum / f64::from(mask.iter().sum::<f32>());
                let prior = prior(&vec![0.5; logits.len()], &[]);
                let found = value(Loss { cost, ..Loss::PLAIN }, logits, labels(targets, mask, &[0.0], None), &prior);
                assert!((f64::from(found) - expected).abs() < 1e-5, "{cost:?} {logits:?}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn large_logits_and_unknown_labels_give_finite_losses() {
        let prior = prior(&[0.5; 2], &[]);
        let loss = |logits: &[f32], targets: &[f32], mask: &[f32]| {
            value(Loss::PLAIN, logits, labels(targets, mask, &[0.0], None), &prior)
        };
        assert_eq!(loss(&[200.0, -200.0], &[1.0, 0.0], &[1.0, 1.0]), 0.0);
        assert_eq!(loss(&[200.0, 0.0], &[0.0, 0.0], &[1.0, 0.0]), 200.0);
        assert_eq!(loss(&[3.0, 1.0], &[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(loss(&[1.0, 9.0], &[1.0, 0.0], &[1.0, 0.0]), loss(&[1.0, -9.0], &[1.0, 1.0], &[1.0, 0.0]));
    }

    #[test]
    fn a_group_costs_what_the_absence_of_all_its_members_costs() {
        let prior = prior(&[0.5; 3], &[&[0, 2]]);
        for (logits, weight) in [([0.3, 5.0, -1.0], 1.0), ([-9.0, 0.0, -9.0], 1.0), ([0.0, 0.0, 0.0], 0.0)] {
            let found = value(Loss::PLAIN, &logits, labels(&[0.0; 3], &[0.0; 3], &[weight], None), &prior);
            let expected = -(1.0 - (1.0 - sigmoid(logits[0])) * (1.0 - sigmoid(logits[2]))).ln() * f64::from(weight);
            assert!((f64::from(found) - expected).abs() < 2e-3, "{logits:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn settings_change_the_loss_by_their_formulas() {
        let prior = prior(&[0.2], &[]);
        let bce = |p: f64, t: f64| -t * p.ln() - (1.0 - t) * (1.0 - p).ln();
        let p = sigmoid(0.7);
        let cases = [
            ("smoothing", Loss { smoothing: 0.1, ..Loss::PLAIN }, bce(p, 0.9 + 0.1 * 0.2)),
            ("positive weight", Loss { positive_weight: 0.5, ..Loss::PLAIN }, 2.0 * bce(p, 1.0)),
            ("adjustment", Loss { adjustment: 1.0, ..Loss::PLAIN }, bce(sigmoid(0.7 + 0.25_f32.ln()), 1.0)),
            ("distillation", Loss { distillation: 0.25, ..Loss::PLAIN }, 0.75 * bce(p, 1.0) + 0.25 * bce(p, 0.6)),
        ];
        for (name, loss, expected) in cases {
            let found = value(loss, &[0.7], labels(&[1.0], &[1.0], &[0.0], Some(&[0.6])), &prior);
            assert!((f64::from(found) - expected).abs() < 1e-5, "{name}: {found} is not {expected}");
        }
    }

    #[test]
    fn costs_are_named_as_settings_name_them() {
        for cost in Cost::ALL {
            assert_eq!(cost.to_string().parse::<Cost>().unwrap(), cost);
            assert_eq!(serde_json::to_value(cost).unwrap(), cost.to_string());
        }
        let error = "mse".parse::<Cost>().unwrap_err().to_string();
        assert_eq!(error, "\"mse\" is no known loss; the known ones are bce, focal, asl");
    }
}
