"""Files of every kind that ganzoo reads, damaged by chance and by design, and processes of their own that read them.

``python foreign.py TEMPLATES FIRST LAST [KIND ...]`` reads the cases of these numbers, each in a child process with
limits, and prints a line of JSON for each that did harm: a traceback, a crash, more than 10 seconds of work, 1 GiB, or
something written outside of the case's folder. A case is made by its number alone, so it can be repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from damaging import (
    Bytes,
    csv_changed,
    damaged,
    header_changed,
    json_changed,
    lines_changed,
    onnx_changed,
    png_changed,
    tensors_changed,
    toml_changed,
    zip_changed,
)
from PIL import Image
from readers import (
    compare,
    data,
    draw,
    edit,
    fit,
    judge,
    read_batches,
    read_classifier,
    read_config,
    read_images,
    read_metrics,
    read_networks,
    read_onnx,
    read_state,
    start,
)

SECONDS, BYTES = 10, 2**30


_STEP = "run/checkpoints/step-000004"
_FORMATS = ("png", "jpg", "tif", "webp", "gif", "bmp")
KINDS: dict[str, tuple[str, list[Bytes], Callable[[Path, random.Random], None]]] = {
    "config": ("run/config.toml", [damaged, toml_changed, toml_changed], read_config),
    "metrics": ("run/metrics.jsonl", [damaged, lines_changed, lines_changed], read_metrics),
    "last": ("run/checkpoints/last", [damaged], draw),
    "manifest": (f"{_STEP}/checkpoint.json", [damaged, json_changed, json_changed], draw),
    "networks": (f"{_STEP}/networks.safetensors", [damaged, tensors_changed], read_networks),
    "ema": (f"{_STEP}/ema.safetensors", [damaged, tensors_changed], read_networks),
    "state": (f"{_STEP}/state.pt", [damaged, zip_changed, zip_changed], read_state),
    "eval": ("run/eval.json", [damaged, json_changed, json_changed], compare),
    "directions": ("directions.json", [damaged, json_changed, json_changed], edit),
    "npz": ("latents.npz", [damaged, zip_changed], start("latents.npz")),
    "deflated": ("deflated.npz", [damaged, zip_changed], start("deflated.npz")),
    "npy": ("latents.npy", [damaged, header_changed], start("latents.npy")),
    "labels": ("labels.csv", [damaged, csv_changed], fit),
    "table": (
        "images/table.csv",
        [damaged, csv_changed],
        data("data.name=folder", "data.path={}/images", "data.size=8", "data.attributes=table.csv"),
    ),
    **{f"{form}": (f"images/b.{form}", [damaged], read_images) for form in _FORMATS},
    "chunks": ("images/b.png", [png_changed], read_images),
    "idx images": ("MNIST/raw/train-images-idx3-ubyte", [damaged], data("data.name=mnist", "data.root={}")),
    "idx labels": ("MNIST/raw/train-labels-idx1-ubyte", [damaged], data("data.name=mnist", "data.root={}")),
    "onnx": ("model.onnx", [damaged, onnx_changed, onnx_changed], read_onnx),
    "classifier": ("cache/classifiers/NAME.safetensors", [damaged, tensors_changed], read_classifier),
    "batches": ("cache/batches.json", [damaged, json_changed], read_batches),
}
"""By kind: the file, what may be done to it, and what reads it."""


def make_templates(folder: Path, run: Path) -> None:
    """Write an intact file of each kind; ``run`` is a run of four steps on the digits, exported."""
    shutil.copytree(run, folder / "run", ignore=shutil.ignore_patterns("tb", "samples", "*.onnx", "*.png", "*.gif"))
    shutil.copy(run / "generator.onnx", folder / "model.onnx")
    figures = {"fid/classifier_digits/distance": 1.5, "modes/covered": None}
    (folder / "run" / "eval.json").write_text(json.dumps({"schema": 1, "figures": figures}))
    up = {"latent": "z", "vector": [0.5, 0.5, 0.5, 0.5], "range": [-3, 3], "method": "svm"}
    (folder / "directions.json").write_text(json.dumps({"up": up, "down": {**up, "vector": [-0.5] * 4}}))
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((20, 4), np.float32)
    np.savez(folder / "latents.npz", latents=latents, files=np.arange(3))
    np.savez_compressed(folder / "deflated.npz", z=latents)
    np.save(folder / "latents.npy", latents)
    rows = [f"{number:06d},{number % 2},{number / 3:.3f},{'yes' if number % 3 else 'no'}" for number in range(30)]
    (folder / "labels.csv").write_text("\n".join(["sample,seed,smile,old", *rows]) + "\n")
    (folder / "images").mkdir()
    for name in ("a.png", *(f"b.{form}" for form in _FORMATS)):
        Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)).save(folder / "images" / name)
    lines = [f"{name},1,{index}.5" for index, name in enumerate(["a.png", *(f"b.{form}" for form in _FORMATS)])]
    (folder / "images" / "table.csv").write_text("\n".join(["file,age,size", *lines]) + "\n")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in (
        ("train-images-idx3-ubyte", rng.integers(0, 256, (20, 8, 8), np.uint8)),
        ("train-labels-idx1-ubyte", rng.integers(0, 10, 20).astype(np.uint8)),
    ):
        header = struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape)
        (raw / name).write_bytes(header + array.tobytes())
    os.environ["GANZOO_CACHE"] = str(folder / "cache")
    judge()
    (folder / "cache" / "batches.json").write_text(json.dumps({"key": 16, "other": 64}))


def make_case(number: int, kinds: list[str], templates: Path, case: Path) -> tuple[str, random.Random]:
    """Copy what the case needs, with one file of it changed; return its kind."""
    rng = random.Random(number)
    kind = kinds[number % len(kinds)]
    name, changes, _ = KINDS[kind]
    top = name.partition("/")[0]
    for needed in {top, "model.onnx"}:
        source = templates / needed
        shutil.copytree(source, case / needed) if source.is_dir() else shutil.copy(source, case / needed)
    if top == "images":  # the intact one, and that which is changed
        for other in (case / "images").glob("b.*"):
            if other.name != Path(name).name and not name.endswith("csv"):
                other.unlink()
    path = next(case.glob(name.replace("NAME", "*")))
    path.write_bytes(rng.choice(changes)(path.read_bytes(), rng))
    if _STEP in name and kind != "manifest":  # else the hash would hide it all
        manifest = json.loads((path.parent / "checkpoint.json").read_text())
        manifest["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (path.parent / "checkpoint.json").write_text(json.dumps(manifest))
    return kind, rng


# --- Processes of their own


class Watch:
    """Notes whatever is opened for writing, made, renamed or removed outside of the case's folder."""

    _PATHS = {  # noqa: RUF012
        "os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1
    }  # fmt: skip

    def __init__(self) -> None:
        self.case, self.seen = "", list[str]()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        paths: tuple[Any, ...] = arguments[: self._PATHS.get(event, 0)]
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            paths = arguments[:1]
        for path in paths if self.case else ():
            if not isinstance(path, int):
                real = os.path.realpath(os.fsdecode(path))
                if not f"{real}/".startswith((f"{self.case}/", "/dev/null/")):
                    self.seen.append(f"{event} {real}")


def attempt(number: int, kinds: list[str], templates: Path, watch: Watch) -> str:
    """Read one case, in this process; return what went wrong, nothing if nothing did."""
    from ganzoo import GanzooError

    with tempfile.TemporaryDirectory(prefix="case-", dir=templates.parent) as folder:
        case = Path(folder).resolve()
        kind, rng = make_case(number, kinds, templates, case)
        os.environ |= {"GANZOO_CACHE": str(case / "cache"), "TMPDIR": str(case), "HOME": str(case)}
        tempfile.tempdir = None
        os.chdir(case)
        watch.case, watch.seen = str(case), []
        try:
            KINDS[kind][2](case, rng)
        except GanzooError as error:
            if not str(error).strip():
                return f"{kind}: no sentence: {error!r}"
        except BaseException:
            return f"{kind}: {traceback.format_exc()[-3000:]}"
        finally:
            watch.case = ""
            os.chdir(templates)
        return f"{kind}: {watch.seen[0]}" if watch.seen else ""


def some(numbers: range, kinds: list[str], templates: Path) -> Iterator[tuple[int, str]]:
    """Read cases in a child process with limits; yield each with what went wrong, up to the one that ended it."""
    reading, writing = os.pipe()
    before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (before + BYTES, before + BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            watch = Watch()
            for number in numbers:
                # Seconds of work, and some more by the clock: the machine may be busy.
                signal.setitimer(signal.ITIMER_PROF, SECONDS)
                signal.alarm(20 * SECONDS)
                os.write(writing, f"{json.dumps([number, attempt(number, kinds, templates, watch)])}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    done = numbers.start - 1
    with os.fdopen(reading) as said:
        for line in said:
            done, problem = json.loads(line)
            yield done, problem
    _, status = os.waitpid(child, 0)
    if done + 1 < numbers.stop:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "itself"
        yield done + 1, f"{kinds[(done + 1) % len(kinds)]}: the process was ended by {name}"


def cases(numbers: range, templates: Path, kinds: list[str], at_once: int = 100) -> Iterator[dict[str, Any]]:
    """Read cases, and yield those that did harm."""
    templates = templates.resolve()
    # Each kind is read once, intact: what readers import is there when the children are forked.
    with tempfile.TemporaryDirectory(prefix="case-") as folder:
        case = Path(shutil.copytree(templates, Path(folder, "intact")))
        os.environ["GANZOO_CACHE"] = str(case / "cache")
        for other in list((case / "images").glob("b.*"))[1:]:
            other.rename(case / other.name)
        for kind in kinds:
            if kind not in ("table", *_FORMATS):
                for seed in range(12):
                    KINDS[kind][2](case, random.Random(seed))
    left = numbers
    while left:
        for number, problem in some(left[:at_once], kinds, templates):
            left = range(number + 1, numbers.stop)
            if problem:
                yield {"case": number, "problem": problem}


if __name__ == "__main__":
    for harm in cases(range(int(sys.argv[2]), int(sys.argv[3])), Path(sys.argv[1]), sys.argv[4:] or list(KINDS)):
        print(json.dumps(harm), flush=True)
