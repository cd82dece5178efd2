"""A training whose process dies at any single file operation loses nothing, and ends as one that nothing disturbed."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from warm import CRASHED, Ended, Warm

from ganzoo.runs import checkpoint

RUN = Path("runs/0001-gan_fc-digits")
SETTINGS = {
    "model.hidden": "[4]",
    "model.latent_dim": 2,
    "batch_size": 8,
    "threads": 1,
    "steps": 6,
    "log_every": 1,
    "sample_every": 3,
    "checkpoint_every": 2,
    "keep_checkpoints": 3,
}
SETS = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
TRAIN = ("train", "-p", "gan_fc", "--data", "digits", *SETS, "-q")
RESUME = ("train", "--resume", RUN, "-q")
BACK = (*RESUME, "--from-step", 2)
REPLACED = f"os.rename {RUN}/checkpoints/.last"

Whole = tuple[Path, Ended]


@pytest.fixture(scope="module")
def whole(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The folder of a training that nothing disturbs, and how it ended."""
    folder = tmp_path_factory.mktemp("whole")
    ended = warm(folder, *TRAIN)
    assert (ended.code, ended.err) == (0, "")
    return folder, ended


def start(warm: Warm, whole: Whole, folder: Path, begin: str) -> tuple[str | int | Path, ...]:
    """Bring a folder to where a command begins, and return the command."""
    if begin == "train":
        return TRAIN
    if begin == "back":  # from the end of the whole training to its first checkpoint
        shutil.copytree(whole[0], folder, dirs_exist_ok=True)
        return BACK
    # "resume": a training that died while it replaced `last` the second time, and has left all kinds of things
    renames = [number for number, each in enumerate(whole[1].operations, 1) if each.startswith(REPLACED)]
    assert warm(folder, *TRAIN, crash_at=renames[1]).code == CRASHED
    return RESUME


def points(warm: Warm, whole: Whole, tmp_path: Path, begin: str) -> int:
    """Return how many file operations a command has."""
    folder = tmp_path / "counted"
    folder.mkdir()
    ended = warm(folder, *start(warm, whole, folder, begin))
    assert (ended.code, ended.err) == (0, "")
    return len(ended.operations)


def test_what_gets_its_name_is_on_the_disk(whole: Whole) -> None:
    """Without power the system forgets what was not fsynced: the content before the name, the name before all else."""
    operations = whole[1].operations
    renames = [at for at, each in enumerate(operations) if re.fullmatch(r"os\.rename .*/\.[^/]+", each)]
    for at in renames:
        temporary = Path(operations[at].partition(" ")[2])
        parts = [temporary]
        if temporary.name.startswith(".step-"):
            parts += [temporary / each.name for each in checkpoint.latest(whole[0] / RUN / "checkpoints").iterdir()]
        for part in parts:
            done = [each.partition(" ")[0] for each in operations[:at] if each.endswith(f" {part}")]
            assert done[-1:] == ["fsync"], (part, done)
        assert operations[at + 1] == f"fsync {temporary.parent}"
    # A checkpoint is deleted under another name: of what has its own, nothing is missing.
    assert not [each for each in operations if "/step-" in each and not each.startswith("os.rename ")]
    named = {Path(operations[at]).name.partition(".ganzoo-")[0] for at in renames}
    assert named >= {".config.toml", ".metrics.jsonl", ".last", ".step-000002", ".000000.png", ".README.md"}


@pytest.mark.parametrize("begin", ["train", "resume", "back"])
def test_a_process_that_dies_at_some_file_operations(warm: Warm, whole: Whole, tmp_path: Path, begin: str) -> None:
    count = points(warm, whole, tmp_path, begin)
    for at in range(7, count, count // 3):
        die_at(warm, whole, tmp_path / str(at), begin, at)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("begin", ["train", "resume", "back"])
def test_a_process_that_dies_at_every_file_operation(warm: Warm, whole: Whole, tmp_path: Path, begin: str) -> None:
    for at in range(1, points(warm, whole, tmp_path, begin) + 1):
        die_at(warm, whole, tmp_path / str(at), begin, at)


def die_at(warm: Warm, whole: Whole, folder: Path, begin: str, at: int) -> None:
    """Let a command die at an operation; what was complete still is, and going on ends as the whole training did."""
    folder.mkdir()
    command = start(warm, whole, folder, begin)
    run = folder / RUN
    before = last(run)
    if begin == "train":
        before = 2 * len([each for each in whole[1].operations[: at - 1] if each.startswith(REPLACED)])
    died = warm(folder, *command, crash_at=at)
    assert died.code == CRASHED, (at, died)
    assert_intact(run)
    assert last(run) >= before or (begin == "back" and last(run) >= 2), at
    outcome = warm(folder, *RESUME)
    if outcome.code == 0:
        assert outcome.err == "", (at, outcome)
    elif begin == "back":  # it is where it was before
        outcome.refused("is trained to its last step, 6")
        assert warm(folder, *BACK).code == 0
    elif (run / "checkpoints" / "last").exists():
        outcome.refused("is trained to its last step, 6")
    elif checkpoint.steps(run / "checkpoints"):
        outcome.refused("last is missing; the checkpoint of step 2 is intact, go on from it with", "--from-step 2")
        assert warm(folder, *BACK).code == 0
    else:
        made = "start again with" if (run / "config.toml").exists() else "is not a run folder"
        outcome.refused(made if run.exists() else "there is no run folder")
        assert before == 0, at
        shutil.rmtree(folder / "runs", ignore_errors=True)
        assert warm(folder, *TRAIN).code == 0
    assert_same_end(run, whole[0] / RUN, at)


def last(run: Path) -> int:
    """Return the step of the checkpoint that `last` names, 0 without one."""
    if not (run / "checkpoints" / "last").exists():
        return 0
    return checkpoint.load_state(checkpoint.latest(run / "checkpoints"))[0]


def assert_intact(run: Path) -> None:
    """Assert that all that has its name is whole."""
    if (run / "config.toml").exists():
        assert tomllib.loads((run / "config.toml").read_text())["steps"] == 6
    for path in [*run.glob("samples/[0-9]*.png"), *run.glob("*.png"), *run.glob("*.gif")]:
        if not path.name.startswith("."):
            with Image.open(path) as image:
                image.load()
    for path in checkpoint.steps(run / "checkpoints").values():
        checkpoint.load_state(path)


def assert_same_end(run: Path, whole: Path, at: int) -> None:
    """Assert that a run has become what the whole one is, and that nothing else lies about."""
    assert names(run) == names(whole), at
    assert last(run) == 6, at
    for name in ("networks", "ema"):
        one, other = (load_file(each / "checkpoints" / "step-000006" / f"{name}.safetensors") for each in (run, whole))
        assert same(one, other), (at, name)
    one, other = (
        torch.load(each / "checkpoints" / "step-000006" / "state.pt", weights_only=True) for each in (run, whole)
    )
    assert same(one, other), at
    for path in whole.glob("samples/*.png"):
        assert (run / "samples" / path.name).read_bytes() == path.read_bytes(), (at, path.name)
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5, 6], at
    for one, other in zip(rows(run), rows(whole), strict=True):
        machine = {"samples_per_second": 0, "peak_memory_mib": 0}
        assert {**one, **machine} == {**other, **machine}, at
    assert (
        (run / "README.md")
        .read_text()
        .startswith((whole / "README.md").read_text().partition("##")[0].partition("|")[0])
    )


def names(run: Path) -> set[str]:
    """Return every file and folder of a run but for the event files and the older checkpoints."""
    return {
        str(path.relative_to(run))
        for path in run.rglob("*")
        if path.parent.name != "tb" and not set(path.parts) & {"step-000002", "step-000004"}
    }


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def same(one: Any, other: Any) -> bool:
    """Return whether two nests of tensors and numbers are the same bits."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
