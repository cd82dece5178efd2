"""What reads files of every kind, in a case's folder: the commands, and the functions beneath them."""

from __future__ import annotations

import contextlib
import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


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
    from ganzoo import read_directions
    from ganzoo.fields import Latent, Points, Signature
    from ganzoo_plugins.latent.directions import write_directions
    from ganzoo_runtime.latent_arithmetic import edit as move

    signature = Signature((Latent((4,)),), Points(2))
    known = read_directions(case / "directions.json", signature).get("directions", {})
    moved = move(np.zeros((2, 4)), known, dict.fromkeys(known, 1.0))
    assert np.isfinite(moved).all()
    write_directions(case / "directions.json", known, signature)


def start(name: str) -> Callable[[Path, random.Random], None]:
    def read(case: Path, rng: random.Random) -> None:
        if rarely(rng):
            to = ("--steps", "1", "--out", case / "a.png")
            command("interpolate", case / "model.onnx", "--latent", case / name, *to)
        from types import SimpleNamespace

        from ganzoo.fields import Latent
        from ganzoo_plugins.latent.editing import Editor

        field: Any = SimpleNamespace(field=Latent((4,)), styled=False)
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
