//! A [`Trunk`] as an operator of tract.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use crate::mobilenet::Trunk;

/// From a picture `[1, 3, height, width]` to means `[1, channels, 1, 1]`.
#[derive(Clone, Debug)]
pub struct TrunkOperator(pub Arc<Trunk>);

/// tract asks for it; two trunks are the same only if they are one.
impl PartialEq for TrunkOperator {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TrunkOperator {}

impl Op for TrunkOperator {
    fn name(&self) -> StaticName {
        "MobileNetTrunk".into()
    }

    op_as_typed_op!();
}

impl EvalOp for TrunkOperator {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[1, 3, height, width] = input.shape() else { bail!("a trunk takes one picture at a time") };
        let means = self.0.means(input.try_as_plain_ram()?.as_slice::<f32>()?, [height, width]);
        means.into_iter().map(|mean| Ok(Tensor::from_shape(&[1, mean.len(), 1, 1], &mean)?.into_tvalue())).collect()
    }
}

impl TypedOp for TrunkOperator {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.0.channels().into_iter().map(|channels| f32::fact([1, channels, 1, 1])).collect())
    }
}

impl InferenceRulesOp for TrunkOperator {
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        for (output, channels) in outputs.iter().zip(self.0.channels()) {
            solver.equals(&output.datum_type, f32::datum_type())?;
            solver.equals(&output.shape, tvec![1.to_dim(), channels.to_dim(), 1.to_dim(), 1.to_dim()])?;
        }
        Ok(())
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.channels().len())
    }

    as_op!();
    to_typed!();
}
