"""Files of every kind that ganzoo reads, damaged by chance and by design, and processes of their own that read them.

``python foreign.py TEMPLATES FIRST LAST [KIND ...]`` reads the cases of these numbers, each in a child process with
limits, and prints a line of JSON for each that did harm: a traceback, a crash, more than 10 seconds of work, 1 GiB, or
something written outside of the case's folder. A case is made by its number alone, so it can be repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import tomllib
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import tomli_w
from PIL import Image

SECONDS, BYTES = 10, 2**30

Bytes = Callable[[bytes, random.Random], bytes]

# --- What is done to files


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes cut off, put in, copied, numbers made huge: once or several times."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if not data:
            break
        at, other = rng.randrange(len(data)), rng.randrange(len(data))
        match rng.randrange(9):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice((0, 255, 127, 128, 10, 34, 91, 123, rng.randrange(256)))
            case 2:
                del data[at:]
            case 3:
                del data[at : at + rng.randrange(1, 17)]
            case 4:
                data[at:at] = rng.randbytes(rng.randrange(1, 33))
            case 5:
                data[at:at] = data[other : other + rng.randrange(1, 257)]
            case 6:
                size = rng.choice((2, 4, 8))
                number = rng.choice((0, 2 ** (8 * size) - 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2**15))
                data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 7:
                data[at : at + rng.randrange(1, 65)] = bytes(rng.randrange(1, 65))
            case 8:
                data[at : at + 1] = data[at : at + 1] * rng.choice((2, 100, 10_000))
    return bytes(data)


def _odd(rng: random.Random) -> Any:
    """A value that nobody expects; a string in angle brackets stands for a text that Python would not write."""
    numbers = (0, 1, -1, 2**31, 2**53, 2**62, 2**63, 2**64, -(2**63), 0.5, -1e308, 1e308)
    special = ("<digits>", "<inf>", "<nan>", "<minus>", "<deep 33>", "<deep 500>", "<deep 100000>")
    texts = ("", "x", "a" * 100_000, "\x1b[2J", "\u202e", "../../x", "/dev/zero", "$x^$", "None", "1", "é\u3000")
    tables = ([], {}, [[]], [0] * 1000, [None], ["x"], {"": 0}, {"a": {"b": [1]}}, True, False)
    return rng.choice(rng.choice((numbers, special, texts, tables)))


def _changed(document: Any, rng: random.Random) -> Any:
    """Replace, add, drop or double something in a document, at any depth."""
    if not isinstance(document, dict | list) or not document or rng.random() < 0.1:
        return _odd(rng)
    keys: list[Any] = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = rng.choice(keys)
    match rng.randrange(8):
        case 0:
            del document[key]
        case 1:
            document[key] = _odd(rng)
        case 2 if isinstance(document, list):
            document.insert(key, _odd(rng))
        case 2 | 3 if isinstance(document, dict):
            document[rng.choice(("", "x", "name", "\x1b[2J", "a.b", "é", str(key) * 2))] = _odd(rng)
        case 3:
            document *= rng.choice((2, 50))
        case _:
            document[key] = _changed(document[key], rng)
    return document


def _written(text: str, rng: random.Random) -> bytes:
    """Put the texts that Python would not write in their places."""
    plain = {"digits": "9" * rng.choice((20, 400, 10_000)), "inf": "Infinity", "nan": "NaN", "minus": "-0"}

    def put(found: re.Match[str]) -> str:
        word, _, depth = found[1].partition(" ")
        return "[" * int(depth) + "]" * int(depth) if depth else plain[word]

    return re.sub(r'"<([a-z]+(?: \d+)?)>"', put, text).encode()


def json_changed(content: bytes, rng: random.Random) -> bytes:
    return _written(json.dumps(_changed(json.loads(content), rng)), rng)


def lines_changed(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = json_changed(lines[at], rng) + rng.choice((b"\n", b"", b"\r\n", b"\n\n", b"\0\n"))
    return b"".join(lines) * rng.choice((1, 1, 3))


def toml_changed(content: bytes, rng: random.Random) -> bytes:
    document = tomllib.loads(content.decode())
    for _ in range(rng.choice((1, 1, 3))):
        changed = _changed(document, rng)
        document = changed if isinstance(changed, dict) else {"x": changed}
    text = tomli_w.dumps(_for_toml(document))
    text += rng.choice(("", "", "", f"[{'a.' * 40}a]\n", f"{'a.' * 50_000}a = 1\n", "[[data]]\n", "day = 2020-02-30\n"))
    return _written(text, rng).replace(b"Infinity", b"inf").replace(b"NaN", b"nan")


def _for_toml(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _for_toml(each) for key, each in value.items()}
    return [_for_toml(each) for each in value] if isinstance(value, list) else "" if value is None else value


def csv_changed(content: bytes, rng: random.Random) -> bytes:
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 4))):
        row = rng.choice(rows)
        odd = ["9999999", "9" * 5000, "-1", "nan", "1e999", '"', '""', '"\n"', "\0", "x" * 200_000, "", "a,b", "\u2028"]
        row[rng.randrange(len(row))] = rng.choice([*odd, "\x1b[2J", "0x10", "1_0", "٣", "yes", "../a.png", "=1"])
        if rng.random() < 0.2:
            rows.insert(rng.randrange(len(rows)), rng.choice(rows) * rng.randrange(1, 3))
    return rng.choice(("\n", "\r\n", "\n\n")).join(",".join(row) for row in rows).encode()


def zip_changed(content: bytes, rng: random.Random) -> bytes:
    """Change a member of an archive, and write the archive anew so that its checksums are right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(target, "w") as copy:
        names = archive.namelist()
        wanted = rng.choice([name for name in names if name.endswith("data.pkl")] * 3 + names)
        for name in names:
            part = archive.read(name)
            if name == wanted:
                part = header_changed(part, rng) if part[:6] == b"\x93NUMPY" else damaged(part, rng)
            copy.writestr(name, part, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return target.getvalue()


def header_changed(content: bytes, rng: random.Random) -> bytes:
    """Exchange the shape or type that an .npy says that it has."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    shapes = ["(0,)", "()", "(-1,)", "(1,2,3)", f"({2**40},)", f"({2**62}, 4)", f"({2**70},)", "(True,)", "(1," * 20]
    kinds = ["|O", "<f2", "<f16", "<c8", "|V8", "<U9", "<M8[s]", ">f4", "|b1", "<f9", "", "<i8", "<f4,<f4", "('<f4',9)"]
    header = (
        f"{{'descr': '{rng.choice(['<f4', *kinds])}', 'fortran_order': {rng.choice(['False', 'True', '1', '()'])}, "
    )
    header += f"'shape': {rng.choice(['(4,)', '(20, 4)', *shapes])}, }}"
    header += rng.choice(("", " " * 20_000, "#", "L" * 9))
    body = content[content.index(b"\n") + 1 :]
    return (
        b"\x93NUMPY"
        + rng.choice((b"\1\0", b"\1\0", b"\2\0"))
        + struct.pack("<H", len(header) % 2**16)
        + header.encode()
        + b"\n"
        + body
    )


def tensors_changed(content: bytes, rng: random.Random) -> bytes:
    """Change the JSON in front of a file of safetensors, its length included."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json_changed(content[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def png_changed(content: bytes, rng: random.Random) -> bytes:
    """Change one chunk of a PNG, its checksum included."""
    parts, at = [content[:8]], 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        parts.append(content[at + 4 : at + 8 + size])
        at += size + 12
    wanted = rng.randrange(1, len(parts))
    parts[wanted] = parts[wanted][:4] + damaged(parts[wanted][4:], rng)
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts[1:]]
    return parts[0] + b"".join(chunks)


def onnx_changed(content: bytes, rng: random.Random) -> bytes:
    return rng.choice((hostile.mutated, hostile.twisted))(content, rng.randrange(2**31))


# --- What reads them


def command(*arguments: object) -> None:
    """Call the command line; raises RuntimeError unless it works, or refuses in one sentence."""
    from ganzoo.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            code: Any = 0
        except SystemExit as end:
            code = end.code
    lines = err.getvalue().splitlines()
    if code and (code not in (1, 2) or len(lines) != 1 or not lines[0].startswith("ganzoo: ")):
        raise RuntimeError(f"exit code {code}: {err.getvalue()[-2000:]}")
    if code and "out of memory" in lines[0]:
        raise MemoryError(lines[0])
    if not (out.getvalue() + err.getvalue()).replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        acting = set(re.findall("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", out.getvalue() + err.getvalue()))
        if acting:
            raise RuntimeError(f"printed {acting}")


def rarely(rng: random.Random) -> bool:
    """Whether to go through the command, which takes some times as long as what it calls."""
    return rng.random() < 0.15


def draw(case: Path, rng: random.Random) -> None:
    if rarely(rng):
        command("sample", case / "run", "-n", "2", "--out", case / "a.npz")
    else:
        import ganzoo

        ganzoo.load(case / "run").sample(2)


def read_config(case: Path, rng: random.Random) -> None:
    from ganzoo import load_config, load_registry

    if rarely(rng):
        compare(case, rng)
    elif rarely(rng):
        command("train", "--config", case / "run" / "config.toml", "--dry-run", "--set", "data.name=digits")
    else:
        load_config(load_registry(), file=case / "run" / "config.toml")
        draw(case, rng)


def read_networks(case: Path, rng: random.Random) -> None:
    from ganzoo import Run, load_registry

    networks = Run.open(case / "run").load_all(load_registry())
    import torch

    for network, _ in networks.values():
        network(*(torch.zeros(2, *field.shape) for field in network.signature.inputs))


def read_state(case: Path, rng: random.Random) -> None:
    from ganzoo.runs import checkpoint

    checkpoint.load_state(checkpoint.latest(case / "run" / "checkpoints"))


def read_metrics(case: Path, rng: random.Random) -> None:
    from ganzoo import Run
    from ganzoo.images.plots import save_curves

    compare(case, rng)
    if rarely(rng):
        save_curves(case / "a.png", Run.open(case / "run").metrics())
        draw(case, rng)


def compare(case: Path, rng: random.Random) -> None:
    if rarely(rng):
        command("compare", case / "run", *rng.choice(((), ("--json",))))
    else:
        from ganzoo.cli.evaluate import compare as show

        with contextlib.redirect_stdout(io.StringIO()):
            show([str(case / "run")], as_json=rng.random() < 0.5)


def editor(case: Path) -> Any:
    import ganzoo
    from ganzoo_plugins.latent.editing import Editor

    return Editor(ganzoo.load(case / "model.onnx"), {"seed": 0, "truncation": 1.0, "label": None, "attributes": None})


def edit(case: Path, rng: random.Random) -> None:
    if rarely(rng):
        known = ("--directions", case / "directions.json")
        command("edit", case / "model.onnx", *known, "--direction", "up=1", "-n", "2", "--out", case / "a.npz")
        command("directions", "grid", case / "model.onnx", *known, "-n", "1", "--out", case / "a.png")
        return
    from ganzoo.fields import Latent, Points, Signature
    from ganzoo_plugins.latent.directions import read_directions, write_directions
    from ganzoo_runtime.latent_arithmetic import edit as move

    known = read_directions(case / "directions.json", Signature((Latent((4,)),), Points(2)))
    moved = move(np.zeros((2, 4)), known, dict.fromkeys(known, 1.0))
    assert np.isfinite(moved).all()
    write_directions(case / "directions.json", known)


def start(name: str) -> Callable[[Path, random.Random], None]:
    def read(case: Path, rng: random.Random) -> None:
        if rarely(rng):
            to = ("--steps", "1", "--out", case / "a.png")
            command("interpolate", case / "model.onnx", "--latent", case / name, *to)
        from types import SimpleNamespace

        from ganzoo.fields import Latent
        from ganzoo_plugins.latent.editing import Editor

        field: Any = SimpleNamespace(field=Latent((4,)))
        assert np.isfinite(Editor.read_latents(field, case / name)).all()

    return read


def fit(case: Path, rng: random.Random) -> None:
    if rarely(rng):
        command("directions", "fit", case / "model.onnx", "--labels", case / "labels.csv", "--out", case / "d.json")
    else:
        from ganzoo_plugins.latent.labeling import read_table

        read_table(editor(case), case / "labels.csv")


def data(*sets: str) -> Callable[[Path, random.Random], None]:
    def read(case: Path, rng: random.Random) -> None:
        from ganzoo import load_config, load_registry

        config = load_config(load_registry(), "wgan_gp_conv", sets=[each.format(case) for each in sets])
        dataset = config.build_dataset()
        import torch

        dataset.batch(torch.arange(len(dataset)), torch.Generator())

    return read


def read_images(case: Path, rng: random.Random) -> None:
    data("data.name=folder", "data.path={}/images", "data.size=8", f"data.memory={rng.choice((0, 10**9))}")(case, rng)
    if rarely(rng):
        (image,) = (case / "images").glob("b.*")
        command("encode", case / "model.onnx", image, "--optimize", "--steps", "1", "--out", case / "a.npz")


def read_onnx(case: Path, rng: random.Random) -> None:
    if rarely(rng):
        command("sample", case / "model.onnx", "-n", "2", "--out", case / "a.npz")
    else:
        import ganzoo
        from ganzoo import UserError

        try:
            ganzoo.load(case / "model.onnx").sample(2)
        except ValueError as error:  # the runtime's own, which the commands turn into ours
            raise UserError(str(error)) from None


def read_classifier(case: Path, rng: random.Random) -> None:
    judge()


def read_batches(case: Path, rng: random.Random) -> None:
    from ganzoo_runtime.batching import Batching

    Batching("key", 1000).next(1, 1)


def judge() -> None:
    from ganzoo import load_config, load_registry
    from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig

    dataset = load_config(load_registry(), "wgan_gp_conv", sets=["data.name=digits"]).build_dataset()
    Evaluator(dataset, EvaluatorConfig(steps=1)).prepare(quiet=True)


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
