"""Checks and times the GPU paths, on a machine that has one; nothing of it has been measured on the authors' machines.

    python benchmarks/gpu.py [--model zoo:cgan-mnist5k] [--out gpu.json]

For one exported generator, and for the batch sizes 1, 16, 256 and 1024, images per second of

    torch eager           the zoo has files alone, so this is timed for --run RUN, a run folder, if one is given
    cpu                   onnxruntime on the CPU, the reference of all differences
    cuda                  as ganzoo opens it: cuDNN's heuristic search, no TF32
    cuda, tf32            with use_tf32
    cuda, on device       outputs left on the GPU (OrtValue)
    cuda, graph           a captured CUDA graph for the batch size
    tensorrt              if TensorRT is installed; the first run builds an engine

each with its largest difference to the CPU, as a share of the range of values. A path that cannot be used says why.
The tests of the same paths: pytest -m gpu.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np

from ganzoo_runtime import Generator, ModelError

SIZES = (1, 16, 256, 1024)
SECONDS = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="zoo:cgan-mnist5k", help="an .onnx file or zoo:NAME")
    parser.add_argument("--run", type=Path, help="a run folder of the same model, for torch eager")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    source = options.model
    if source.startswith("zoo:"):
        source = str(files("ganzoo_zoo").joinpath(source.removeprefix("zoo:"), "generator.onnx"))
    reference = Generator(source, providers=["cpu"])
    rows = []
    for size in SIZES:
        inputs = next(iter(reference.stream(size, seed=1, batch=size))).inputs
        arrays = [inputs[name] for name in reference.inputs]
        expected = reference(*arrays)
        row = {"batch": size, "cpu": {"images_per_second": rate(reference, arrays)}}
        for name, open_path in paths(source, size, options.run).items():
            try:
                call = open_path()
                output = call(*arrays)
                found = np.asarray(output.numpy() if hasattr(output, "numpy") else output, np.float32)
                low, high = reference.signature["output"]["range"]
                row[name] = {
                    "images_per_second": rate(call, arrays),
                    "difference": float(np.abs(found - expected).max() / (high - low)),
                }
            except (ModelError, ImportError, RuntimeError, ValueError) as error:
                row[name] = {"not usable": " ".join(str(error).split())[:200]}
        rows.append(row)
        print(json.dumps(row, indent=2), flush=True)
    document = {"model": options.model, "devices": _devices(), "rows": rows}
    options.out.write_text(json.dumps(document, indent=2) + "\n")


def paths(source: str, size: int, run: Path | None) -> dict[str, Callable[[], Callable[..., object]]]:
    """Return by name what opens a path: a function that returns a function of the inputs."""

    def opened(*providers, **settings) -> Callable[[], Callable[..., object]]:
        return lambda: Generator(source, providers=list(providers), **settings)

    def eager() -> Callable[..., object]:
        if run is None:
            raise ValueError("no --run was given")
        import torch

        from ganzoo import Run, load_registry

        network, _ = Run.open(run).load(load_registry())
        network = network.cuda()

        @torch.no_grad()
        def call(*arrays):
            return network(*(torch.from_numpy(array).cuda() for array in arrays)).cpu().numpy()

        return call

    return {
        "torch eager": eager,
        "cuda": opened("cuda"),
        "cuda, tf32": opened(("cuda", {"use_tf32": "1"})),
        "cuda, on device": lambda: Generator(source, providers=["cuda"]).on_device,
        "cuda, graph": opened("cuda", cuda_graphs=[size]),
        "tensorrt": opened("tensorrt"),
    }


def rate(call: Callable[..., object], arrays: list[np.ndarray]) -> float:
    """Return images per second: calls for some seconds, after three that count for nothing."""
    for _ in range(3):
        call(*arrays)
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        call(*arrays)
        calls += 1
    return round(calls * len(arrays[0]) / (time.perf_counter() - started), 1)


def _devices() -> list[str]:
    try:
        import torch

        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except ImportError:
        return []


if __name__ == "__main__":
    main()
