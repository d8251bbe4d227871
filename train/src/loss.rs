//! What training makes small.

use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use serde::{Deserialize, Serialize};

/// How much a probability costs, given its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// Binary cross-entropy.
    Bce,
    /// Binary cross-entropy times the square of the part by which the probability is wrong (Lin et al., "Focal loss for
    /// dense object detection", 2017).
    Focal,
    /// Binary cross-entropy, but for a `no` that of a probability 0.05 lower, times that to the power of four (Ridnik et
    /// al., "Asymmetric loss for multi-label classification", 2021).
    Asl,
}

/// A loss with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The cost of a probability.
    pub cost: Cost,
    /// The part of every target that is the genre's prevalence instead of the label (label smoothing: Szegedy et al.,
    /// "Rethinking the Inception architecture", 2016), 0 to 1.
    pub smoothing: f64,
    /// A genre's `yes` weighs as many times more as there are more `no`, to this power; 0 is not at all, 1 makes both
    /// weigh the same.
    pub positive_weight: f64,
    /// While training, the log-odds of a genre's prevalence times this are added to its logit, so that the network learns
    /// what the poster adds to them (Menon et al., "Long-tail learning via logit adjustment", 2021).
    pub adjustment: f64,
    /// The part of the loss that is the distance to the teacher's probabilities, where there is a teacher (Hinton et al.,
    /// "Distilling the knowledge in a neural network", 2015), 0 to 1.
    pub distillation: f64,
}

/// The labels of a batch.
pub struct Labels {
    /// Targets, 0 to 1, `[N, G]`.
    pub targets: Tensor<2>,
    /// What each target counts: 1 where it is known, 0 where it is not, `[N, G]`.
    pub mask: Tensor<2>,
    /// What each group counts: 1 where at least one of its members is known to hold, `[N, groups]`.
    pub groups: Tensor<2>,
    /// A teacher's probabilities, `[N, G]`.
    pub teacher: Option<Tensor<2>>,
}

/// What a loss must know of the whole set.
#[derive(Clone, Debug)]
pub struct Prior {
    /// The part of the posters of known label that have each genre, `[G]`, never quite 0 or 1.
    pub prevalence: Vec<f32>,
    /// Groups of genres that are known together only, by their places.
    pub groups: Vec<Vec<usize>>,
}

impl Prior {
    /// The log-odds of each genre, `[G]`.
    pub fn log_odds(&self) -> Vec<f32> {
        self.prevalence.iter().map(|part| (part / (1.0 - part)).ln()).collect()
    }

    fn row(values: Vec<f32>, device: &Device) -> Tensor<2> {
        let len = values.len();
        Tensor::from_data(TensorData::new(values, [1, len]), device)
    }
}

impl Loss {
    /// Binary cross-entropy and nothing else.
    pub const PLAIN: Self =
        Self { cost: Cost::Bce, smoothing: 0.0, positive_weight: 0.0, adjustment: 0.0, distillation: 0.0 };

    /// The loss of `logits`, `[N, G]`: the mean over all known labels and groups, `[1]`; 0 where nothing is known.
    ///
    /// A group costs `-ln(1 - (1 - p) (1 - q) ...)` for the probabilities of its members: at least one of them holds.
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
            let weight = |part: &f32| ((1.0 - part) / part).powf(self.positive_weight as f32);
            yes = yes * Prior::row(prior.prevalence.iter().map(weight).collect(), &device);
        }
        let mut total = ((yes + no * (targets.neg() + 1.0)) * labels.mask.clone()).sum();
        let mut known = labels.mask.sum();
        let none = softplus(logits.clone());
        for (place, members) in prior.groups.iter().enumerate() {
            let weight = labels.groups.clone().narrow(1, place, 1);
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
    /// What a logit costs if the label is yes, and if it is no.
    fn of(self, logits: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (yes, no) = (softplus(logits.clone().neg()), softplus(logits.clone()));
        match self {
            Self::Bce => (yes, no),
            Self::Focal => {
                // The probability and its complement, from what is there already.
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

/// `ln(1 + exp(x))` without its overflow: the binary cross-entropy of a logit whose label is no.
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
    fn neither_large_logits_nor_unknown_labels_break_it() {
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
    fn settings_do_what_they_say() {
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
}
