"""The Python worker of compare.py, and the libraries that it measures, each with one thread: Pillow and ONNX Runtime,
OpenCV, ncnn.

`baselines.py classify POSTER MODEL` is a whole program, for the comparison of cold starts with `runtime classify`.
`baselines.py serve` answers the requests that `benches/src/bin/bench_worker/main.rs` describes.
`baselines.py multiply-adds MODEL` prints how many of them the model needs for a poster.

Packages are imported where they are used: a missing one affects no other library, and a cold start loads only what it
uses.
"""

import functools
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import time


def onnx_runtime(model):
    """A session, its card's input, and its first operating point with the genres."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    card = session.get_modelmeta().custom_metadata_map
    return session, json.loads(card["input"]), json.loads(card["genres"]), json.loads(card["operating_points"])[0]


def pillow_tensor(file, width, height):
    """[1, 3, height, width] from a file or its bytes. `draft` lets libjpeg-turbo scale down while it decodes."""
    import numpy
    from PIL import Image

    picture = Image.open(file)
    picture.draft("RGB", (width, height))
    picture = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return numpy.ascontiguousarray(numpy.asarray(picture, numpy.float32).transpose(2, 0, 1)[None] / 127.5 - 1)


def classify(poster, model):
    """Prints the genres of a poster, as a script of a dozen lines would."""
    session, size, genres, point = onnx_runtime(model)
    (probabilities,) = session.run(None, {"poster": pillow_tensor(poster, size["width"], size["height"])})[0]
    for genre, probability, threshold in zip(genres, probabilities, point["thresholds"]):
        if probability >= threshold:
            print(f"{genre} {probability:.3f}")


def opencv_tensor(data, width, height):
    """[1, 3, height, width] from a file's bytes, scaled down in decoding as far as leaves enough pixels."""
    import cv2
    import numpy
    from PIL import Image

    cv2.setNumThreads(1)
    # OpenCV does not tell a file's size before it has decoded it; Pillow reads no more than the header here.
    across, down = Image.open(io.BytesIO(data)).size
    reduced = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
    fitting = [mode for scale, mode in reduced.items() if across // scale >= width and down // scale >= height]
    picture = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), (fitting + [cv2.IMREAD_COLOR])[0])
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.dnn.blobFromImage(picture, 1 / 127.5, mean=(127.5, 127.5, 127.5), swapRB=True)


@functools.cache
def folder():
    return tempfile.TemporaryDirectory()


@functools.cache
def fixed(model):
    """The model for exactly one poster, its constants folded: OpenCV cannot read it otherwise."""
    import onnxruntime

    path = pathlib.Path(folder().name) / pathlib.Path(model).name
    options = onnxruntime.SessionOptions()
    options.add_free_dimension_override_by_name("batch", 1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model, options)
    return str(path)


@functools.cache
def opencv_network(model):
    import cv2

    cv2.setNumThreads(1)
    return cv2.dnn.readNetFromONNX(fixed(model))


@functools.cache
def ncnn_network(model, width, height):
    """The model as its own converter makes it, which rounds the weights to 16 bits."""
    import ncnn

    path = pathlib.Path(folder().name) / "ncnn" / pathlib.Path(model).name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pathlib.Path(model).read_bytes())
    convert = [pathlib.Path(sys.executable).parent / "pnnx", path, f"inputshape=[1,3,{height},{width}]"]
    subprocess.run(convert, check=True, capture_output=True)
    network = ncnn.Net()
    network.opt.num_threads = 1
    converted = str(path.with_name(path.stem.replace("-", "_")))
    assert network.load_param(converted + ".ncnn.param") == 0 and network.load_model(converted + ".ncnn.bin") == 0
    return network


def task(name, model, poster):
    """A task ready to be repeated; it returns its output values."""
    import numpy

    session, size, _, _ = onnx_runtime(model)
    width, height = size["width"], size["height"]
    data = pathlib.Path(poster).read_bytes()
    # The same values as in Rust.
    values = (numpy.arange(3 * height * width) * 7919 % 1000).astype(numpy.float32) / 500 - 1
    values = values.reshape(1, 3, height, width)

    def opencv(values):
        network = opencv_network(model)
        network.setInput(values)
        return network.forward()

    def ncnn():
        import ncnn

        extractor = ncnn_network(model, width, height).create_extractor()
        extractor.input("in0", ncnn.Mat(values[0]))
        return numpy.array(extractor.extract("out0")[1])

    def entropy():
        """libjpeg-turbo at an eighth of the size: it decodes every code, and transforms next to nothing."""
        from PIL import Image

        picture = Image.open(io.BytesIO(data))
        picture.draft("RGB", (1, 1))
        return numpy.array([picture.convert("L").getpixel((0, 0))])

    return {
        "infer, ONNX Runtime in Python": lambda: session.run(None, {"poster": values})[0],
        "infer, OpenCV": lambda: opencv(values),
        "infer, ncnn": ncnn,
        "tensor, Pillow": lambda: pillow_tensor(io.BytesIO(data), width, height),
        "tensor, OpenCV": lambda: opencv_tensor(data, width, height),
        "entropy, libjpeg-turbo": entropy,
        "classify, Pillow and ONNX Runtime": lambda: session.run(
            None, {"poster": pillow_tensor(poster, width, height)}
        )[0],
        "classify, OpenCV": lambda: opencv(opencv_tensor(pathlib.Path(poster).read_bytes(), width, height)),
    }[name]


def serve():
    for line in sys.stdin:
        name, model, poster, milliseconds = line.rstrip("\n").split("\t")
        run = task(name, model, poster)
        run()
        times, start = [], time.perf_counter_ns()
        while not times or time.perf_counter_ns() - start < int(milliseconds) * 1_000_000:
            before = time.perf_counter_ns()
            values = run()
            times.append(time.perf_counter_ns() - before)
        print(json.dumps({"ns": times, "values": [float(value) for value in values.ravel()[:24]]}), flush=True)


def multiply_adds(model):
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(fixed(model))).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
              for value in [*graph.value_info, *graph.input, *graph.output]}
    shapes |= {weight.name: list(weight.dims) for weight in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            # Each output value is a sum over the kernel, [in / groups, height, width].
            _, *kernel = shapes[node.input[1]]
            total += product(shapes[node.output[0]]) * product(kernel)
        elif node.op_type in ("Gemm", "MatMul"):
            total += product(shapes[node.input[1]])
    print(total)


def product(numbers):
    return functools.reduce(lambda a, b: a * b, numbers, 1)


if __name__ == "__main__":
    {"classify": classify, "serve": serve, "multiply-adds": multiply_adds}[sys.argv[1]](*sys.argv[2:])
