"""A run is not resumed on other data of the same number and shapes; it is where the data has only moved."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import ganzoo
from ganzoo import UserError, load_registry
from ganzoo.config.config import Choice
from ganzoo.config.validation import validate
from ganzoo.training.changes import described

TINY = {"batch_size": 4, "model": {"hidden": [4]}, "tracker": {"tensorboard": False}}
POINTS = torch.linspace(-1, 1, 100).reshape(50, 2)
REFUSED = r"has changed since the run began \(other samples, or another order of them then, these now\); .*--config"


def images(folder: Path, count: int = 6) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        PIL.Image.fromarray(np.full((8, 8, 3), index * 9, np.uint8)).save(folder / f"{index}.bmp")  # of one length
    return folder


def content(name: str, **settings: Any) -> str:
    """Return the hash that a run records of a data set."""
    entry = load_registry().get("dataset", name)
    choice = Choice(entry, validate(entry.spec.load().Config, "data", settings))
    return described(choice, choice.build()).content


def test_given_data_is_the_same_or_refused() -> None:
    run = ganzoo.train("gan_fc", data=POINTS, steps=2, config=TINY, quiet=True)
    assert len(run.data_spec().content) == 64
    with pytest.raises(UserError, match=REFUSED):
        ganzoo.train(resume=run, data=POINTS.flip(0), steps=3, quiet=True)
    assert ganzoo.train(resume=run, data=POINTS.clone(), steps=3, quiet=True).metrics()[-1]["step"] == 3
    with pytest.raises(UserError, match=REFUSED):  # noted by the run that went on, too
        ganzoo.train(resume=run, data=POINTS.flip(0), steps=4, quiet=True)


def test_a_folder_may_move_but_not_change(tmp_path: Path) -> None:
    run = ganzoo.train("gan_fc", data=images(tmp_path / "images"), steps=1, config=TINY, quiet=True)
    shutil.copytree(tmp_path / "images", tmp_path / "elsewhere", copy_function=shutil.copyfile)  # of another time
    shutil.rmtree(tmp_path / "images")
    moved = {"sets": [f"data.path={tmp_path / 'elsewhere'}"], "quiet": True}
    with pytest.raises(UserError, match=r"if the data has moved, say where: --set data\.path=PATH"):
        ganzoo.train(resume=run, steps=2, quiet=True)
    with pytest.raises(UserError, match=r"if the data has moved, say where: --set data\.path=PATH"):
        ganzoo.evaluate(run, quiet=True)
    assert ganzoo.train(resume=run, steps=2, **moved).metrics()[-1]["step"] == 2
    (tmp_path / "elsewhere" / "0.bmp").rename(tmp_path / "elsewhere" / "9.bmp")
    with pytest.raises(UserError, match=REFUSED):
        ganzoo.train(resume=run, steps=3, **moved)


def test_an_evaluation_on_changed_data_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"line {index}" for index in range(10, 40)))
    settings = {"data": {"path": str(tmp_path / "a.txt"), "held_out": 0.5}, "model": {"hidden_dim": 4}}
    run = ganzoo.train("text_mle", data="text", steps=1, config={**TINY, **settings}, quiet=True)
    asked: dict[str, Any] = {"metrics": ["copies"], "n": 4, "quiet": True}
    assert not any("changed" in each for each in ganzoo.evaluate(run, **asked).warnings)
    _exchange(tmp_path / "a.txt", TESTED)
    assert "text has changed since the training; the figures are about what it holds now" in (
        ganzoo.evaluate(run, **asked).warnings
    )
    assert not any("changed" in each for each in ganzoo.evaluate(run, data="text", **asked).warnings)


def test_a_run_without_the_hash_goes_on() -> None:
    run = ganzoo.train("gan_fc", data=POINTS, steps=1, config=TINY, quiet=True)
    path = run.path / "config.toml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("content = ")]
    path.write_text("\n".join(kept))
    assert ganzoo.train(resume=run, data=POINTS.flip(0), steps=2, quiet=True).metrics()[-1]["step"] == 2


def test_data_made_from_settings_needs_none() -> None:
    assert content("gaussians", size=100) == content("iris") == ""


def _swap(one: Path, other: Path) -> None:
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


def _exchange(path: Path, rows: Any, first: int = 0) -> None:
    """Exchange the first two of these lines: of those that are held out, so that what is learned stays."""
    lines, (one, other) = path.read_text().splitlines(), (first + int(row) for row in rows[:2])
    lines[one], lines[other] = lines[other], lines[one]
    path.write_text("\n".join(lines))


def _lines(path: Path, *, first: int = 0) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:first], *reversed(lines[first:])]))


def _tar(path: Path, colors: range) -> None:
    with tarfile.open(path, "w") as archive:
        for index, color in enumerate(colors):
            file = io.BytesIO()
            PIL.Image.fromarray(np.full((8, 8, 3), color, np.uint8)).save(file, "bmp")
            info = tarfile.TarInfo(f"{index}.bmp")
            info.size = file.tell()
            archive.addfile(info, io.BytesIO(file.getvalue()))


TESTED = torch.randperm(30, generator=torch.Generator().manual_seed(0))
HELD = np.random.Generator(np.random.Philox(0)).permutation(30)
ONE, TWO = "images/1.bmp", "images/2.bmp"

CASES: dict[str, tuple[str, dict[str, Any], Callable[[Path], object]]] = {
    "lines": ("text", {"path": "a.txt", "held_out": 0}, lambda at: _lines(at / "a.txt")),
    "held out lines": ("text", {"path": "a.txt", "held_out": 0.5}, lambda at: _exchange(at / "a.txt", TESTED)),
    "rows": ("table", {"path": "a.csv"}, lambda at: _lines(at / "a.csv", first=1)),
    "held out rows": ("table", {"path": "a.csv"}, lambda at: _exchange(at / "a.csv", HELD, first=1)),
    "steps": ("series", {"path": "a.csv", "length": 4}, lambda at: _lines(at / "a.csv", first=1)),
    "image": ("folder", {"path": "images"}, lambda at: _swap(at / ONE, at / TWO)),
    "mirrored": (
        "folder",
        {"path": "images", "flip": True},
        lambda at: _swap(at / ONE, at / TWO),
    ),
    "on disk": ("folder", {"path": "images", "memory": 0}, lambda at: _swap(at / ONE, at / TWO)),
    "shards": ("shards", {"path": "a.tar"}, lambda at: _tar(at / "a.tar", range(6, 0, -1))),
    "captions": ("captioned_images", {"path": "images"}, lambda at: _swap(at / "images/1.txt", at / "images/2.txt")),
    "pairs": ("paired", {"a": "images", "b": "b"}, lambda at: _swap(at / "b/1.bmp", at / "b/2.bmp")),
    "domains": ("unpaired", {"a": "images", "b": "b"}, lambda at: _swap(at / "b/1.bmp", at / "b/2.bmp")),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_data_notices(case: str, tmp_path: Path) -> None:
    name, settings, change = CASES[case]
    at = tmp_path / "one"
    for folder in ("images", "b"):
        for path in images(at / folder).glob("*.bmp"):
            path.with_suffix(".txt").write_text(f"gray {path.stem}")
    (at / "a.txt").write_text("\n".join(f"line {index}" for index in range(10, 40)))
    (at / "a.csv").write_text("\n".join(["x,y", *(f"{index * index % 17},{index}.5" for index in range(30))]))
    _tar(at / "a.tar", range(6))

    def found(place: Path) -> str:
        files = {key: place / value if isinstance(value, str) else value for key, value in settings.items()}
        return content(name, **{key: str(value) if isinstance(value, Path) else value for key, value in files.items()})

    before = found(at)
    shutil.copytree(at, tmp_path / "other", copy_function=shutil.copyfile)
    assert found(tmp_path / "other") == before != ""
    change(at)
    assert found(at) != before
