//! What training makes small.

use burn::tensor::{Tensor, activation::relu};

/// Binary cross-entropy from logits, averaged over the known labels.
///
/// For a logit `x` and a target `t` a term is `max(x, 0) - x t + ln(1 + exp(-|x|))`, which is
/// `-t ln(sigmoid(x)) - (1 - t) ln(1 - sigmoid(x))` without its overflow.
///
/// # Shapes
/// - logits, targets (0 or 1) and mask (1 where known, else 0): `[N, G]`
/// - the loss: `[1]`; 0 where nothing is known
pub fn binary_cross_entropy(logits: Tensor<2>, targets: Tensor<2>, mask: Tensor<2>) -> Tensor<1> {
    let terms = relu(logits.clone()) - logits.clone() * targets + (logits.abs().neg().exp() + 1.0).log();
    let known = mask.clone().sum().clamp_min(1.0);
    (terms * mask).sum() / known
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn loss(logits: &[f32], targets: &[f32], mask: &[f32]) -> f32 {
        let device = Device::flex();
        let tensor =
            |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &device);
        binary_cross_entropy(tensor(logits), tensor(targets), tensor(mask)).into_scalar::<f32>()
    }

    #[test]
    fn agrees_with_the_definition_on_known_labels() {
        let cases: [(&[f32], &[f32], &[f32]); 4] = [
            (&[0.0], &[1.0], &[1.0]),
            (&[2.0, -1.0, 0.5], &[1.0, 0.0, 1.0], &[1.0, 1.0, 1.0]),
            (&[2.0, -1.0, 0.5], &[1.0, 0.0, 0.0], &[1.0, 0.0, 1.0]),
            (&[-3.0, 4.0], &[1.0, 0.0], &[1.0, 1.0]),
        ];
        for (logits, targets, mask) in cases {
            let terms = logits.iter().zip(targets).zip(mask).filter(|(_, known)| **known == 1.0).map(|((x, t), _)| {
                let p = 1.0 / (1.0 + f64::from(-x).exp());
                -f64::from(*t) * p.ln() - (1.0 - f64::from(*t)) * (1.0 - p).ln()
            });
            let expected = terms.sum::<f64>() / f64::from(mask.iter().sum::<f32>());
            let found = f64::from(loss(logits, targets, mask));
            assert!((found - expected).abs() < 1e-6, "{logits:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn neither_large_logits_nor_unknown_labels_break_it() {
        assert_eq!(loss(&[200.0, -200.0], &[1.0, 0.0], &[1.0, 1.0]), 0.0);
        assert_eq!(loss(&[200.0], &[0.0], &[1.0]), 200.0);
        assert_eq!(loss(&[3.0], &[0.0], &[0.0]), 0.0);
        assert_eq!(loss(&[1.0, 9.0], &[1.0, 0.0], &[1.0, 0.0]), loss(&[1.0, -9.0], &[1.0, 1.0], &[1.0, 0.0]));
    }
}
