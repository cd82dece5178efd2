"""Every command of README.md and docs/ works as it is written, in the order in which it is written.

They are typed one after another into a folder with a few images in it; only trainings and judgements are shortened. A
training whose run no command uses is rehearsed: that takes one step and writes nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import typer
from conftest import ROOT, Command
from sites import importable
from small import small
from typer.core import TyperGroup

import ganzoo
from ganzoo.cli import app

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

PLUGINS = ROOT / "docs" / "plugins"
"""The pages whose reader has the sample plugins installed."""

ELSEWHERE = {
    "pip install": "installs into the environment that the tests run in; .ci/run does it in a fresh one",
    "pytest": "is running",
    "fidelity": "downloads InceptionV3; tests/plugins/metrics/test_fidelity_input.py runs it with other features",
    "python benchmarks/": "takes from minutes to days, some of it data that is not here",
    "ganzoo train --plugin wgan_gp_conv --tracker wandb": "needs a package; tests/plugins/trackers runs it",
    "ganzoo train --plugin dcgan --data shards --set 'data.path=s3": "needs an object store",
    "ganzoo train --plugin dcgan --data hf": "needs a package and files of it; tests/plugins/datasets has both",
    "ganzoo train --plugin cgan --data hf": "the same, and a network",
    "ganzoo import": "reads a file that is not here; the tests of importers write such",
    "ganzoo sample runs/ffhq": "the same",
    "ganzoo export runs/ffhq": "the same",
    "ganzoo train --from runs/ffhq": "the same",
}
"""Commands of the documents that are not run here, by how they begin, and why."""

NAMES = {
    "deployment.md": {"RUN": "runs/0001-cgan-mnist5k"},
    "tables.md": {"RUN": "last"},
    "text.md": {"RUN": "last", "MODEL": "text_mle"},
    "results.md": {"RUN_OF_CGAN": "runs/0001-cgan-mnist5k", "RUN_OF_R3GAN": "runs/0002-r3gan-mnist5k"},
    "sampling.md": {"MODEL": "zoo:aae-mnist5k"},
}
"""What stands for the names in capitals."""

_BLOCK = re.compile(
    r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$|^    (?P<indented>(?:ganzoo|pip|python) [^\s](?:\\\n|[^\n])*)$",
    re.MULTILINE | re.DOTALL,
)


def commands(document: Path) -> Iterator[list[str]]:
    """Yield the commands of a document's shell blocks, in words."""
    for block in _BLOCK.finditer(document.read_text(encoding="utf-8")):
        if block["indented"] is None and block["language"] != "sh":
            continue
        text = block["indented"] or block["fenced"]
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while "&&" in words:
                yield words[: words.index("&&")]
                words = words[words.index("&&") + 1 :]
            if words:
                yield words


def name(document: Path) -> str:
    """Return what a document is called in the tests."""
    return document.relative_to(ROOT).as_posix()


def elsewhere(words: list[str]) -> str:
    """Return which exception a command is, or nothing."""
    return next((begin for begin in ELSEWHERE if shlex.join(words).startswith(begin)), "")


JUDGED = ("classifier", "fid", "prdc", "memorization", "label_accuracy")
"""Metrics that train a classifier first."""


def shortened(words: list[str], resumed: int = 0) -> list[str]:
    """Return a command of ganzoo with what makes it quick added to it; the last of two options counts.

    Before it, trainings were ``resumed`` so often.
    """
    more: list[str] = []
    words = ["20_000" if word == "1_000_000" else word for word in words]  # two parts
    if words[0] == "train" and "--resume" in words:
        more = ["--steps", str(6 + 3 * resumed), "-q"]
    elif words[0] == "train":
        # With --from the model is that of the source, which was small already.
        sets = ["batch_size=4", *(small(words[words.index("--plugin") + 1]) if "--plugin" in words else ())]
        sets += ["data.size=60"] if "shapes" in words else []
        sets = [
            each for each in sets if "text" not in words or not each.startswith("data.")
        ]  # files as long as they are
        # What the document says counts, and latents are as long as those of the zoo's models, which directions are for.
        said = {word.partition("=")[0] for word in words} | {"model.latent_dim"}
        sets = [each for each in sets if each.partition("=")[0] not in said]
        more = ["--steps", "3", "-q", *(word for each in sets for word in ("--set", each))]
    if words[0] == "sweep":
        more = ["--steps", "3", *(["--trials", "2"] if "--random" in words else [])]
        more += [word for each in ("batch_size=4", *small(words[1])) for word in ("--set", each)]
    if words[0] == "eval" and not {"modes", "pair_distance"} & {*words}:  # which need no classifier
        named = [name for option, name in pairwise(words) if option == "--metric"]
        metrics = [each for each in named or JUDGED if each in JUDGED]
        more = ["-n", "40", *(word for name in metrics for word in ("--set", f"metric.{name}.classifier.steps=2"))]
    return [*words, *more]


def unused(words: list[str], after: list[str]) -> bool:
    """Return whether a command starts a training whose run the next one does not take."""
    fresh = words[0] == "train" and not {"--resume", "--profile"} & {*words}  # which go with no rehearsal
    return fresh and (not after or (after[1] == "train" and not {"last", "--resume"} & {*after}))


def draw_files(folder: Path) -> None:
    """Make the images that the documents name."""
    rng = np.random.default_rng(0)

    def make(name: str, height: int = 40, width: int = 40) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(rng.integers(256, size=(height, width, 3), dtype=np.uint8)).save(path)

    for name in ("drawing.png", "image.png", "image.jpg", "digit.png", "survey.tif"):
        make(name, 64, 64)
    PIL.Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 22)).save(folder / "hole.png")
    for kind in ("images", "horses", "zebras"):
        for index in range(5):
            make(f"{kind}/{index}.png")
    for index in range(5):
        make(f"facades/{index}.png", 32, 64)
    (folder / "icons").mkdir()
    for name in ("icon.png", *(f"icons/{index}.png" for index in range(5))):
        pixels = rng.integers(256, size=(32, 32, 4), dtype=np.uint8)  # transparent to different degrees
        PIL.Image.fromarray(pixels).save(folder / name)
    rows = "".join(f"{20 + index},{('high', 'low')[index % 2]}\n" for index in range(60))
    (folder / "people.csv").write_text(f"age,income\n{rows}")
    (folder / "names.txt").write_text("anna\nbert\ncarl\ndora\n" * 20)
    (folder / "reviews").mkdir()
    (folder / "reviews" / "a.txt").write_text("a good film\nnot a good film\n" * 20)
    (folder / "evaluators.py").write_text(
        re.findall(r"```python\n(def strokes.*?)```", (ROOT / "docs" / "sampling.md").read_text(), re.DOTALL)[0]
    )


def smile(model: str) -> None:
    """Write directions.json with a direction of the model's latents that has been fitted, let us say, to smiles."""
    latent = ganzoo.load(model).metadata["signature"]["inputs"][0]
    vector = np.zeros(latent["shape"])
    vector.flat[0] = 1.0
    document = {"latent": latent["name"], "vector": vector.tolist(), "range": [-3, 3], "method": "logistic"}
    Path("directions.json").write_text(json.dumps({"smile": document}))


def label(path: Path) -> None:
    """Do what the document asks for: write numbers into the table."""
    first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([first, *(f"{row.rstrip(',')},{index % 7}" for index, row in enumerate(rows))]) + "\n")


def prepare(cli: Command, name: str) -> None:
    """Do what a document supposes to be done already."""
    for model in {"deployment.md": ["cgan"], "results.md": ["cgan", "r3gan"]}.get(name, []):
        assert cli(*shortened(["train", "--plugin", model])).code == 0
    if name == "deployment.md":
        assert cli("directions", "find", "runs/0001-cgan-mnist5k", "--out", "directions.json").code == 0


MEANWHILE: dict[tuple[str, ...], Callable[[], None]] = {
    ("directions", "fit", "zoo:cgan-mnist5k", "--labels"): lambda: label(Path("lab/labels.csv")),
    ("edit", "zoo:aae-mnist5k"): lambda: smile("zoo:aae-mnist5k"),
    ("edit", "last"): lambda: smile("last"),
}
"""What somebody does by hand before a command that begins so."""


@pytest.fixture
def installed(document: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """What a document supposes to be installed."""
    if document.parent == PLUGINS:
        with importable(request.getfixturevalue("samples_site")):
            yield
    else:
        yield


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_work_as_they_are_written(
    cli: Command, document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANZOO_ZOO", str(tmp_path / "zoo"))
    monkeypatch.syspath_prepend(tmp_path)
    draw_files(tmp_path)
    prepare(cli, document.name)
    typed = [command for command in commands(document) if not elsewhere(command)]
    trainings = resumed = 0
    for (program, *words), after in pairwise([*typed, []]):
        assert program == "ganzoo", f"{program} is not run here and not excepted"
        words = [NAMES.get(document.name, {}).get(word, word) for word in words]
        for begun, act in MEANWHILE.items():
            if tuple(words[: len(begun)]) == begun:
                act()
        words = shortened(words, resumed)
        trainings += words[0] == "train"
        resumed += "--resume" in words
        if trainings > 2 and unused(words, after):  # the first two runs are called by their numbers later on
            words.append("--dry-run")
        monkeypatch.setattr("sys.argv", ["ganzoo", *words])  # which several processes are started with
        outcome = cli(*words)
        assert outcome.code == 0, f"{name(document)}: ganzoo {shlex.join(words)}: {outcome.err}"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "document",
    [
        ROOT / "README.md",
        *(ROOT / "docs" / f"{page}.md" for page in ("index", "own-data", "python")),
        *sorted(PLUGINS.glob("*.md")),
    ],
    ids=name,
)
def test_python_runs_as_it_is_written(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANZOO_ZOO", str(tmp_path / "zoo"))
    draw_files(tmp_path)
    # Files that are shown have tests of their own.
    shown = re.compile(r"^\[`[^\n]+\)\n\n```python\n.*?^```$", re.MULTILINE | re.DOTALL)
    text = shown.sub("", document.read_text(encoding="utf-8"))
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        if "ganzoo_runtime" not in block:  # needs no torch, and is run without it by tests/house/test_house.py
            capsys.readouterr()
            exec(block, names)
            if "print(" not in block:
                assert capsys.readouterr().out == ""
    if document.parent != PLUGINS:
        assert names["points"].shape == (1000, 2)
    if document.parent != PLUGINS or "run" in names:
        assert list(names["run"].samples.iterdir())


def test_exceptions_are_still_needed() -> None:
    used = {elsewhere(words) for document in DOCUMENTS for words in commands(document)}
    assert used == {"", *ELSEWHERE}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_in_the_text_exist_with_their_options(document: Path) -> None:
    group = typer.main.get_command(app)
    for text in re.findall(r"`ganzoo ([^`\n]+)`", document.read_text(encoding="utf-8")):
        words = text.split()
        command = group
        while words and not words[0].startswith("-") and isinstance(command, TyperGroup):
            command = command.get_command(None, words.pop(0))
        known = {option for parameter in command.params for option in parameter.opts}
        options = {word for word in words if word.startswith("-")}
        assert options <= known | {"--help"}, f"ganzoo {text}"
