#!/usr/bin/env python3
"""Measures this project beside other libraries for the same work, and writes the tables of docs/benchmarks.md.

    benches/compare/compare.py [--quick]

Builds the Rust programs, installs the Python packages into target/python (PYTHON names another interpreter that has
them), and measures all libraries in interleaved rounds: in every round each works for a moment on the same file, on the
same CPU core, with one thread. Times are medians over all rounds. A ratio is taken between the medians within a round;
its median over the rounds is given, with the smallest and the largest in brackets. Leave the machine alone meanwhile;
the tables say how busy it was.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASELINES = HERE / "baselines.py"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- The tables: written by benches/compare/compare.py -->", "<!-- The end of the tables -->"

REQUIRED = ["numpy", "pillow", "onnxruntime", "onnx"]
# Libraries that are left out where their packages cannot be installed.
OPTIONAL = {"OpenCV": ["opencv-python-headless"], "ncnn": ["ncnn", "pnnx"]}

# The largest accepted difference of an output value from ours: sums in another order, int8 codes rounded the other way,
# ncnn's weights of 16 bits, decoders that scale down before or after the last step. More would mean that a library does
# other work.
TOLERANCE = {"infer": 0.06, "tensor": 0.25, "classify": 0.08}

# Models in int8, and the same networks in 32 bits.
MODELS = {"poster-genres": "poster-genres-f32", "poster-genres-small": "poster-genres-small-f32"}


def main():
    arguments = argparse.ArgumentParser(description="Writes the tables of docs/benchmarks.md.")
    arguments.add_argument("--quick", action="store_true", help="a few short rounds, to see that everything works")
    quick = arguments.parse_args().quick
    rounds, milliseconds, starts = (3, 60, 3) if quick else (15, 300, 25)

    python, missing = interpreter()
    build()
    busy = os.getloadavg()[0]
    everywhere = os.sched_getaffinity(0)
    # Child processes inherit it.
    os.sched_setaffinity(0, {max(everywhere)})
    workers = Workers(python, missing, rounds, milliseconds)
    posters = TARGET / "posters"
    run(TARGET / "release/bench_worker", "posters", posters)
    pairs = [[ROOT / "models" / f"{name}.onnx" for name in pair] for pair in MODELS.items()]
    models = [int8 for int8, _ in pairs]

    tables = [
        machine(python, missing, busy, rounds),
        *(inference(workers, *pair, posters) for pair in pairs),
        instructions(models),
        decoding(workers, models[0], posters),
        whole_path(workers, *pairs[0], posters, python, starts),
        memory(models[0], posters, python),
        stages(posters, everywhere),
        limits(workers, [f32 for _, f32 in pairs], posters, python),
    ]
    document = DOCUMENT.read_text()
    before, after = document.split(BEGIN)[0], document.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(tables) + f"\n\n{END}{after}")
    print(f"{DOCUMENT} is written")


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def output(*command):
    return run(*command, capture_output=True, text=True).stdout


def interpreter():
    """The Python interpreter that has the packages, and the libraries that could not be installed."""
    if "PYTHON" in os.environ:
        return pathlib.Path(os.environ["PYTHON"]), []
    run(sys.executable, "-m", "venv", TARGET / "python")
    python = TARGET / "python/bin/python"
    install = [python, "-m", "pip", "install", "--quiet"]
    run(*install, *REQUIRED)
    failed = lambda packages: subprocess.run([str(part) for part in [*install, *packages]]).returncode != 0
    return python, [name for name, packages in OPTIONAL.items() if failed(packages)]


def build():
    # The features of the whole workspace, as tests have them: others would compile tract anew.
    run("cargo", "build", "--release", "--workspace", "--bins", "--features", "benches/baselines", cwd=ROOT)


class Workers:
    """The worker processes, one in Rust and one in Python, and the rounds in which they measure."""

    def __init__(self, python, missing, rounds, milliseconds):
        package = pathlib.Path(output(python, "-c", "import onnxruntime; print(onnxruntime.__file__)").strip()).parent
        library = str(next(package.glob("capi/libonnxruntime.so*")))
        serve = lambda *command, **environment: subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env=os.environ | environment,
        )
        self.rust = serve(TARGET / "release/bench_worker", "serve", ORT_DYLIB_PATH=library)
        self.python = serve(python, BASELINES, "serve")
        self.missing, self.rounds, self.milliseconds = missing, rounds, milliseconds

    def ask(self, task, model, poster):
        in_rust = ("runtime", "image", "rten", "ONNX Runtime", "multiply-add")
        child = self.rust if task.split(", ")[-1] in in_rust else self.python
        child.stdin.write(f"{task}\t{model}\t{poster}\t{self.milliseconds}\n")
        answer = json.loads(child.stdout.readline())
        return answer["ns"], answer["values"]

    def measure(self, kind, names, model, poster):
        """Interleaved rounds. Of each library: the median in ms, and its ratio to that of the first, in every round."""
        return self.measure_models(kind, {name: (name, model) for name in names}, poster)

    def measure_models(self, kind, entries, poster):
        """As `measure`, of libraries and models by the names of the rows."""
        entries = {row: entry for row, entry in entries.items() if not any(absent in row for absent in self.missing)}
        names = list(entries)
        times = {name: [] for name in names}
        expected = {}
        for turn in range(self.rounds):
            # The order changes, so that no library always follows the same one.
            for name in names[turn % len(names):] + names[:turn % len(names)]:
                library, model = entries[name]
                ns, values = self.ask(f"{kind}, {library}", model, poster)
                times[name].append(ns)
                expected.setdefault(model, values)
                if kind in TOLERANCE:
                    furthest = max(abs(a - b) for a, b in zip(values, expected[model], strict=True))
                    assert furthest <= TOLERANCE[kind], f"{kind}, {name}: {furthest} away from the first"
        medians = {name: [statistics.median(ns) for ns in times[name]] for name in names}
        ratios = {name: [a / b for a, b in zip(medians[name], medians[names[0]])] for name in names}
        return {name: (statistics.median(sum(times[name], [])) / 1e6, ratios[name]) for name in names}


def table(head, rows):
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value):
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.01 else f"{value:.4f}"


def ratio(values):
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def machine(python, missing, busy, rounds):
    facts = dict(line.split(":", 1) for line in output("lscpu").splitlines() if ":" in line)
    width = next((name for name in ("avx512f", "avx2", "asimd") if name in facts.get("Flags", "")), "no SIMD extension")
    memory = next(line for line in open("/proc/meminfo") if line.startswith("MemTotal")).split()[1]
    packages = "import importlib.metadata as m; print(*(f'{d.name} {d.version}' for d in m.distributions()), sep='\\n')"
    wanted = sum(OPTIONAL.values(), REQUIRED)
    versions = [line for line in output(python, "-c", packages).splitlines() if line.split()[0].lower() in wanted]
    left_out = f" Left out, since their packages could not be installed: {', '.join(missing)}." if missing else ""
    return (
        f"{datetime.date.today()}: {facts['Model name'].strip()}, {os.cpu_count()} processors, {width}, "
        f"{int(memory) / 1e6:.0f} GB, {platform.system()} {platform.release()}; "
        f"{output('rustc', '--version').strip()}; Python {output(python, '-V').split()[1]} with "
        f"{', '.join(sorted(set(versions)))}. {rounds} rounds; {busy:.1f} processors were busy with something "
        f"else when it began.{left_out}"
    )


def inference(workers, int8, f32, posters):
    """OpenCV's and ncnn's converters do not read quantised files."""
    entries = {f"{name}, int8": (name, int8) for name in ("runtime", "ONNX Runtime", "ONNX Runtime in Python", "rten")}
    wide = ("runtime", "ONNX Runtime", "ONNX Runtime in Python", "rten", "OpenCV", "ncnn")
    entries |= {f"{name}, 32 bits": (name, f32) for name in wide}
    result = workers.measure_models("infer", entries, posters / "182x268-baseline.jpg")
    rows = [[name, number(time), ratio(ratios)] for name, (time, ratios) in result.items()]
    title = f"### Inference alone, `{int8.name}` and `{f32.name}`"
    return f"{title}\n\n" + table(["", "ms", "times ours in int8"], rows)


def instructions(models):
    """The native engine in int8 and 32 bits with each instruction set of this processor."""
    rows = []
    for model in models:
        for name in ("avx512-vnni", "avx-vnni", "avx512", "avx2", "neon-dotprod", "neon", "plain"):
            times = []
            for variant in (model, model.with_stem(f"{model.stem}-f32")):
                command = [TARGET / "release/runtime", "bench", "--json", "--model", variant, "--instructions", name]
                child = subprocess.run([str(part) for part in command], capture_output=True, text=True)
                if child.returncode == 0:
                    report = json.loads(child.stdout)
                    times += [stage["p50_ms"] for stage in report["stages"] if stage["stage"] == "infer"]
            if len(times) == 2:
                rows.append([f"{model.stem}, {name}", *map(number, times), f"{times[0] / times[1]:.2f}"])
    return "### Inference by instruction set\n\n" + table(["", "ms in int8", "ms in 32 bits", "ratio"], rows)


def decoding(workers, model, posters):
    rows = []
    for poster in ("300x444-baseline", "1000x1500-baseline", "1000x1500-progressive", "2000x3000-baseline",
                   "2000x3000-progressive"):
        result = workers.measure("tensor", ["runtime", "image", "Pillow", "OpenCV"], model, posters / f"{poster}.jpg")
        rows += [[f"{poster}, {name}", number(time), ratio(ratios)] for name, (time, ratios) in result.items()]
    return "### From the bytes of a JPEG to the network's input\n\n" + table(["", "ms", "times ours"], rows)


def whole_path(workers, model, f32, posters, python, starts):
    """Warm, in a process that has classified before, and cold, from the start of a process to its end."""
    poster = posters / "1000x1500-baseline.jpg"
    entries = {name: (name, model) for name in ("runtime", "Pillow and ONNX Runtime")}
    entries |= {f"{name}, 32 bits": (name, f32) for name in ("Pillow and ONNX Runtime", "OpenCV")}
    warm = workers.measure_models("classify", entries, poster)
    rows = [[f"{name}, warm", number(ms), number(1000 / ms), ratio(ratios)] for name, (ms, ratios) in warm.items()]

    cold = {"runtime": [TARGET / "release/runtime", "classify", poster],
            "Pillow and ONNX Runtime": [python, BASELINES, "classify", poster, model]}
    times = {name: [] for name in cold}
    for _ in range(starts):
        for name, command in cold.items():
            before = time.perf_counter()
            run(*command, stdout=subprocess.DEVNULL)
            times[name].append(1000 * (time.perf_counter() - before))
    for name in cold:
        ratios = [a / b for a, b in zip(times[name], times["runtime"])]
        rows.append([f"{name}, cold", number(statistics.median(times[name])), "", ratio(ratios)])
    extra = statistics.median(times["runtime"]) - warm["runtime"][0]
    return (
        "### Genres of a poster of 1000 x 1500 pixels\n\n"
        + table(["", "ms", "posters a second", "times ours"], rows)
        + "\n\nWarm is a poster after others in the same process. Cold is one poster from the start of a process to "
        f"its end, its files already in the system's cache; ours takes {extra:.0f} ms more than warm."
    )


def memory(model, posters, python):
    rows = []
    for poster in ("2000x3000-baseline", "2000x3000-progressive"):
        path = posters / f"{poster}.jpg"
        for name, command in {
            "runtime": [TARGET / "release/runtime", "classify", path],
            "Pillow and ONNX Runtime": [python, BASELINES, "classify", path, model],
        }.items():
            # The maximum of a child starts at the memory of its parent: this script holds little.
            child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            assert status == 0, command
            child.returncode = 0
            rows.append([f"{poster}, {name}", f"{usage.ru_maxrss / 1000:.0f}"])
    return "### Most memory that `classify` holds at once\n\n" + table(["", "MB"], rows)


def stages(posters, everywhere):
    """Latency of each stage and throughput by threads, as `runtime bench` measures them."""
    bench = lambda size: json.loads(
        output(TARGET / "release/runtime", "bench", "--json", posters / f"{size}-baseline.jpg")
    )
    reports = {size: bench(size) for size in ("182x268", "300x444", "1000x1500", "2000x3000")}
    rows = [
        [f"{size}, {stage['stage']}", *(number(stage[key]) for key in ("p50_ms", "p95_ms", "p99_ms"))]
        for size, report in reports.items() for stage in report["stages"]
    ]
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, everywhere)
    many = bench("1000x1500")
    os.sched_setaffinity(0, here)
    rates = {record["threads"]: record["posters_per_second"] for record in many["throughput"]}
    threads = [[str(count), number(rate), f"{rate / rates[1]:.2f}"] for count, rate in rates.items()]
    return (
        "### Where the time goes\n\n" + table(["ms", "p50", "p95", "p99"], rows)
        + f"\n\nLoading the model took {many['load_ms']:.0f} ms."
        + "\n\n### Threads, each with posters of its own, at 1000 x 1500\n\n"
        + table(["threads", "posters a second", "times one thread"], threads)
    )


def limits(workers, models, posters, python):
    """The least time that the machine allows, beside the measured time."""
    done = workers.ask("multiply-add", models[0], posters)
    # Multiply-adds a nanosecond, at the best round.
    peak = done[1][0] / min(done[0])
    rows = []
    for model in models if peak else []:
        needed = int(output(python, BASELINES, "multiply-adds", model))
        least = needed / peak / 1e6
        measured = workers.measure("infer", ["runtime"], model, posters / "182x268-baseline.jpg")["runtime"][0]
        rows.append([f"{model.name}: {needed / 1e6:.0f} million multiply-adds", number(least), number(measured),
                     f"{100 * least / measured:.0f} %"])
    for poster in ("1000x1500-baseline", "2000x3000-baseline", "1000x1500-progressive", "2000x3000-progressive"):
        path = posters / f"{poster}.jpg"
        least = workers.measure("entropy", ["libjpeg-turbo"], models[0], path)["libjpeg-turbo"][0]
        measured = workers.measure("tensor", ["runtime"], models[0], path)["runtime"][0]
        rows.append([f"{poster}: {path.stat().st_size / 1000:.0f} kB of entropy-coded data", number(least),
                     number(measured), f"{100 * least / measured:.0f} %"])
    return (
        "### How far from the limit\n\n" + table(["", "ms at best", "ms of ours", "share"], rows)
        + "\n\nAt best: multiply-adds of 32 bits at the rate at which this core did them with nothing else to do, "
        f"{peak:.0f} a nanosecond; for a JPEG, libjpeg-turbo at an eighth of the size, which still decodes every code "
        "and transforms next to nothing."
    )


if __name__ == "__main__":
    main()
