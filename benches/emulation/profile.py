#!/usr/bin/env python3
"""Instructions and memory accesses of one poster on aarch64 by kernel, counted in emulation, and estimated times.

    benches/emulation/profile.py [POSTER]

Needs `qemu-user`, `gcc`, `gcc-aarch64-linux-gnu` and `rustup target add aarch64-unknown-linux-gnu`. The counts are exact;
the times are ESTIMATES, lower bounds from the counts and the throughput of each kind of instruction.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections import Counter

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRIPLE = "aarch64-unknown-linux-gnu"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "emulation"
MODELS = [ROOT / "models" / name for name in ("poster-genres.onnx", "poster-genres-f32.onnx", "poster-genres-small.onnx")]

# A function belongs to the first kernel whose words its name contains, and to "everything else" otherwise.
KERNELS = [
    ("pointwise convolutions (GEMM)", ["Gemm", "gemm"]),
    ("depthwise convolutions", ["depthwise"]),
    ("stem, head, pooling", ["im2col", "head::", "pooling", "Quantize", "AddChannelSums", "kernels"]),
    ("decoding and scaling", ["jpeg", "resize", "decode", "preprocess", "zune", "png"]),
]

# Clock in GHz, and instructions a cycle: of any kind, and of each group that shares a pipeline. Cortex-A72 and A76: Arm's
# Software Optimization Guides. Cortex-A53, for which there is none: two instructions, of which one vector and one
# memory instruction, in order; a 128-bit load occupies its 64-bit path twice.
MULTIPLY = ("smull", "smlal", "sdot", "fmla")
VECTOR = (*MULTIPLY, "sadalp", "vector")
PROCESSORS = [
    ("Cortex-A53, Zero 2 W", "cortex-a53", 1.0, 2, [(VECTOR, 1), (("memory",), 0.5)]),
    ("Cortex-A53, Pi 3 B+", "cortex-a53", 1.4, 2, [(VECTOR, 1), (("memory",), 0.5)]),
    ("Cortex-A72, Pi 4", "cortex-a72", 1.8, 3, [(VECTOR, 2), (MULTIPLY, 1), (("sadalp",), 1), (("memory",), 1)]),
    ("Cortex-A76, Pi 5", "cortex-a76", 2.4, 4, [(VECTOR, 2), (("memory",), 2)]),
]


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def build(work):
    plugin = work / "profile.so"
    run("gcc", "-O2", "-shared", "-fPIC", "-o", plugin, pathlib.Path(__file__).with_name("profile.c"))
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(TARGET),
        "CC_aarch64_unknown_linux_gnu": "aarch64-linux-gnu-gcc",
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc",
        # Names with type parameters tell the kernels apart.
        "RUSTFLAGS": "-C symbol-mangling-version=v0 -C strip=none",
    }
    features = ["--no-default-features", "--features", "cli"]
    run("cargo", "build", "--release", "-p", "runtime", "--target", TRIPLE, *features, cwd=ROOT, env=environment)
    return plugin, TARGET / TRIPLE / "release" / "runtime"


def counts(work, plugin, program, cpu, model, posters):
    out = work / "counts"
    emulator = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", cpu, "-plugin", f"{plugin},out={out}"]
    run(*emulator, program, "classify", "--model", model, *posters, stdout=subprocess.DEVNULL)
    names = run("c++filt", input=out.read_bytes(), stdout=subprocess.PIPE).stdout.decode()
    instructions, moved = Counter(), Counter()
    for line in names.splitlines():
        function, kind, executed, accessed = line.rsplit("\t", 3)
        kernel = next((kernel for kernel, words in KERNELS if any(word in function for word in words)), "everything else")
        instructions[kernel, kind] += int(executed)
        moved[kernel] += int(accessed)
    return instructions, moved


def milliseconds(instructions, clock, width, pipelines):
    cycles = [instructions.total() / width]
    cycles += [sum(instructions[kind] for kind in kinds) / rate for kinds, rate in pipelines]
    return max(cycles) / clock / 1e6


def main():
    poster = sys.argv[1] if len(sys.argv) > 1 else ROOT / "fixtures/posters/adventure-large.jpg"
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        plugin, program = build(work)
        for model in MODELS:
            measured = {}
            for cpu in ("cortex-a53", "cortex-a72", "cortex-a76"):
                # The difference between three posters and one, so that loading does not count.
                one, three = (counts(work, plugin, program, cpu, model, [poster] * copies) for copies in (1, 3))
                for both in zip(one, three):
                    both[1].subtract(both[0])
                measured[cpu] = three
            print(f"\n{model.name}, {pathlib.Path(poster).name}: millions a poster\n")
            kinds = sorted({kind for instructions, _ in measured.values() for _, kind in instructions})
            print("| emulated as | kernel | instructions | " + " | ".join(kinds) + " | MB accessed |")
            print("|---|---|" + "---:|" * (len(kinds) + 2))
            for cpu in ("cortex-a72", "cortex-a76"):
                instructions, moved = measured[cpu]
                for kernel in sorted(moved, key=lambda kernel: -moved[kernel]):
                    row = [instructions[kernel, kind] / 2e6 for kind in kinds]
                    cells = [sum(row), *row, moved[kernel] / 2e6]
                    print(f"| {cpu} | {kernel} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
            print("\n| ESTIMATE, one thread | inference, ms | with decoding, ms |\n|---|---:|---:|")
            for name, cpu, clock, width, pipelines in PROCESSORS:
                inference, all_of_it = Counter(), Counter()
                for (kernel, kind), executed in measured[cpu][0].items():
                    all_of_it[kind] += executed / 2
                    if "decoding" not in kernel and "else" not in kernel:
                        inference[kind] += executed / 2
                times = [milliseconds(counter, clock, width, pipelines) for counter in (inference, all_of_it)]
                print(f"| {name}, {clock} GHz | " + " | ".join(f"{time:.0f}" for time in times) + " |")


main()
