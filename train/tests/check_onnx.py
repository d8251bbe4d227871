"""Checks an exported model with the reference tools of the field.

usage: check_onnx.py MODEL INPUTS EXPECTED HEIGHT WIDTH TOLERANCE

MODEL must pass onnx.checker and strict shape inference with a dynamic batch; ONNX Runtime must give the probabilities in
EXPECTED for INPUTS (raw little-endian float32, [N, G] and [N, 3, HEIGHT, WIDTH]) to TOLERANCE. Exit status 77: the packages
onnx, onnxruntime and numpy are not all installed.
"""

import sys

try:
    import numpy
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"Python lacks a package: {error}")
    sys.exit(77)

path, inputs, expected, height, width, tolerance = sys.argv[1:]

model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)
inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph


def shape(value):
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


assert [value.name for value in inferred.input] == ["poster"], inferred.input
assert [value.name for value in inferred.output] == ["probabilities"], inferred.output
assert shape(inferred.input[0]) == ["batch", 3, int(height), int(width)], shape(inferred.input[0])
assert shape(inferred.output[0])[0] == "batch", shape(inferred.output[0])
assert "genres" in {entry.key for entry in model.metadata_props}

inputs = numpy.fromfile(inputs, "<f4").reshape(-1, 3, int(height), int(width))
expected = numpy.fromfile(expected, "<f4").reshape(len(inputs), -1)
assert shape(inferred.output[0])[1] == expected.shape[1]
options = onnxruntime.SessionOptions()
# Without VNNI, products of bytes would saturate.
options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
for batch in (inputs, inputs[:1]):
    (found,) = session.run(["probabilities"], {"poster": batch})
    difference = numpy.abs(found - expected[: len(batch)]).max()
    assert difference <= float(tolerance), f"ONNX Runtime and tract differ by {difference}"
print(f"onnx {onnx.__version__} and ONNX Runtime {onnxruntime.__version__} accept the model, difference {difference:.1e}")
