"""Exported files on a GPU, for ``benchmarks/gpu.py``: images a second, and the largest difference to the CPU.

Of the generators of dcgan (28x28, 64x64), wgan_gp_conv, sngan and cyclegan, with random weights, at batch 1, 16 and
256. Graph and call are timed apart. Graphs, each through a binding that is made once, all on the device:

    plain       as torch exports it
    any         as ganzoo exports it
    cpu         the form for CPUs (``--for cpu``)
    fp16        ``--precision fp16``
    ..., tf32   the same with TF32

Calls, of the file as ganzoo exports it:

    on_device   ``Generator.on_device`` of tensors on the device
    call        ``Generator`` of NumPy arrays, to NumPy
    graph       ``Generator.on_device`` from a captured CUDA graph

All take turns; a figure is the median of the turns. ``rules`` is for sngan what each rule of the export brings: images
a second without it, relative to those with all. ``large`` is a request of many samples to a .npy file: the share of its
time that the network alone takes at the batch size that was found, and that writing as many bytes takes.
"""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from ganzoo import DataSpec, Image, load_config, load_registry
from ganzoo_exporters import export as exporting
from ganzoo_runtime import Generator, ModelError, write_npy
from ganzoo_runtime.cpu import for_cpu
from ganzoo_runtime.file_checks import read_model

CASES = {
    "dcgan 28x28": ("dcgan", 1, 28),
    "dcgan 64x64": ("dcgan", 3, 64),
    "wgan_gp_conv": ("wgan_gp_conv", 1, 28),
    "sngan": ("sngan", 3, 32),
    "cyclegan": ("cyclegan", 3, 32),
}
SIZES = (1, 16, 256)
TURNS, TURN = 3, 0.06  # seconds of each of the turns
Call = Callable[[], object]
FAILURES = (ModelError, ImportError, RuntimeError, ValueError, AssertionError)


def run(device: str, quick: bool, out: Callable[[Any], None]) -> None:
    """Measure everything, and call ``out`` with what is known after each model."""
    section: dict[str, Any] = {"onnxruntime": ort.__version__, "models": {}, "rules": {}, "large": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in list(CASES)[:1] if quick else CASES:
            files = Files(Path(folder), name)
            section["models"][name] = [row for size in SIZES[: 2 if quick else 3] for row in rates(files, device, size)]
            out(section)
            if name == "sngan" or quick:
                section["rules"] = without_each_rule(files, device, 16 if quick else 256)
                print("without", section["rules"], flush=True)
            if name == "dcgan 28x28":
                section["large"] = large(files.paths["any"], device, 5_000 if quick else 200_000)
                print("large", section["large"], flush=True)
            out(section)


class Files:
    """A generator with random weights, and the files that it is exported to."""

    def __init__(self, folder: Path, name: str) -> None:
        model, channels, size = CASES[name]
        torch.manual_seed(0)
        fields = [Image(channels, size, size, (0, 255), name=each) for each in ("a", "b")]
        data = DataSpec("made", tuple(fields) if model == "cyclegan" else (Image(channels, size, size, (0, 255)),), 1)
        network = next(iter(load_config(load_registry(), model).build_trainer(data).networks.values()))
        self.network: Any = network.eval().requires_grad_(False)
        self.folder = folder / name.replace(" ", "-")
        self.folder.mkdir()
        self.paths = {"plain": self.export("plain", ()), "any": self.export("any")}
        self.paths["fp16"] = self.export("fp16", precision="fp16")
        content = self.paths["any"].read_bytes()
        self.paths["cpu"] = self.folder / "cpu.onnx"
        self.paths["cpu"].write_bytes(for_cpu(read_model(content, "any")) or content)
        self.reference = Generator(self.paths["any"], providers=["cpu"])
        self._opened: dict[tuple[str, str, bool], Generator] = {}

    def open(self, graph: str, device: str, *, tf32: bool = False) -> Generator:
        """Return the generator of a file; opened once, as that takes longer than what is measured."""
        key = graph, device, tf32
        if key not in self._opened:
            self._opened[key] = Generator(self.paths[graph], providers=[device], tf32=tf32)
        return self._opened[key]

    def export(self, name: str, rules: Any = exporting.FAST, **settings: Any) -> Path:
        path, before = self.folder / f"{name}.onnx", exporting.FAST
        exporting.FAST = rules
        try:
            exporting.export(self.network, path, {}, **settings)
        finally:
            exporting.FAST = before
        return path


def rates(files: Files, device: str, size: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each graph and call at a batch size, or why it cannot be used."""
    arrays = files.network.signature.examples(size, seed=1)
    expected = files.reference(*arrays)
    span = float(np.ptp(files.network.signature.output.range))
    ways: dict[str, Callable[[], Call]] = {}
    for graph in ("plain", "any", "cpu", "fp16"):
        for tf32 in (False, True) if graph in ("plain", "any") else (False,):
            opened = partial(files.open, graph, device, tf32=tf32)
            ways[f"bound once: {graph}{', tf32' * tf32}"] = lambda opened=opened: bound_once(opened(), arrays)

    captured = cache(lambda: with_graphs(Generator(files.paths["any"], providers=[device], cuda_graphs=[size])))
    ways |= {
        "on_device": lambda: on_device(files.open("any", device), arrays),
        "on_device, tf32": lambda: on_device(files.open("any", device, tf32=True), arrays),
        "on_device, fp16": lambda: on_device(files.open("fp16", device), arrays),
        "call": lambda: partial(files.open("any", device), *arrays),
        "graph": lambda: on_device(captured(), arrays),
        "graph, call": lambda: partial(captured(), *arrays),
    }
    calls: dict[str, Call] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, make in ways.items():
        row: dict[str, Any] = {"batch": size, "way": name}
        rows[name] = row
        try:
            with on_stderr() as said:
                calls[name] = make()
                found: Any = calls[name]()
            found = found if isinstance(found, np.ndarray) else found.numpy()
            row["difference"] = float(np.abs(found.astype(np.float64) - expected).max()) / span
            if said():
                row["stderr"] = said()
        except FAILURES as error:
            calls.pop(name, None)
            row["not usable"] = " ".join(str(error).split())[:200]
    for name, seconds in take_turns(calls).items():
        rows[name]["images_per_second"] = round(size / seconds, 1)
    for row in rows.values():
        print(files.folder.name, row, flush=True)
        yield row


def with_graphs(generator: Generator) -> Generator:
    assert generator._graphs is not None, "no CUDA graphs here"
    return generator


def bound_once(generator: Generator, arrays: list[np.ndarray]) -> Callable[[], ort.OrtValue]:
    """Return what runs a session by hand, on buffers that are bound once."""
    session, binding = generator._session, generator._session.io_binding()
    for name, array in zip(generator.inputs, arrays, strict=True):
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array.copy(), *generator._memory))
    shape = [len(arrays[0]), *generator.signature["output"]["shape"]]
    value = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, *generator._memory)
    binding.bind_ortvalue_output(generator.output, value)

    def call() -> ort.OrtValue:
        session.run_with_iobinding(binding)
        return value

    return call


def on_device(generator: Generator, arrays: list[np.ndarray]) -> Callable[[], ort.OrtValue]:
    place = "cuda" if generator._memory[0] == "cuda" else "cpu"
    tensors = [torch.from_numpy(array).to(place) for array in arrays]
    return lambda: generator.on_device(*tensors)


def take_turns(calls: dict[str, Call]) -> dict[str, float]:
    """Return the seconds of a call, by name."""
    repeats, found = {}, {name: list[float]() for name in calls}
    for name, call in calls.items():
        for _ in range(3):
            call()
        repeats[name] = max(1, round(TURN / timed(call, 1)))
    for _ in range(TURNS):
        for name, call in calls.items():
            found[name].append(timed(call, repeats[name]))
    return {name: statistics.median(each) for name, each in found.items()}


def timed(call: Call, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def without_each_rule(files: Files, device: str, size: int) -> dict[str, Any]:
    """Return images a second without each rule of the export, relative to those with all, at batch 1 and ``size``."""
    found: dict[str, Any] = {}
    for rule in exporting.FAST:
        path = files.export(f"without_{rule.__name__}", tuple(each for each in exporting.FAST if each is not rule))
        for batch in (1, size):
            arrays = files.network.signature.examples(batch, seed=1)
            try:
                both = {"with": files.paths["any"], "without": path}
                calls = {name: bound_once(Generator(each, providers=[device]), arrays) for name, each in both.items()}
                seconds = take_turns(dict(calls))
                found[f"{rule.__name__}, {batch}"] = round(seconds["with"] / seconds["without"], 3)
            except FAILURES as error:
                found[f"{rule.__name__}, {batch}"] = " ".join(str(error).split())[:200]
    return found


def large(path: Path, device: str, n: int) -> dict[str, Any]:
    """Return what the time of a large request goes to."""
    try:
        generator = Generator(path, providers=[device])
    except ModelError as error:
        return {"not usable": str(error)[:200]}
    generator.sample(n // 2)  # finds the fastest batch
    batch = generator._batching.best or 256
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.npy")
        whole = timed(lambda: write_npy(file, generator.stream(n), n, generator.signature), 1)
        again = np.ones(file.stat().st_size, np.uint8)
        disk = timed(lambda: Path(folder, "b").write_bytes(again.data), 1)
    one = timed(bound_once(generator, [generator.latents(batch)]), 20)
    return {
        "samples": n,
        "batch": batch,
        "seconds": round(whole, 2),
        "share_of_the_network": round(one * n / batch / whole, 3),
        "share_of_writing": round(disk / whole, 3),
    }


@contextlib.contextmanager
def on_stderr() -> Iterator[Callable[[], str]]:
    """Yield what returns, afterwards, what libraries wrote to stderr inside."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            text: list[str] = []
            yield lambda: text[0]
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            text.append(file.read().decode(errors="replace")[:500])
