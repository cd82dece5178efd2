"""Which checkpoints there are: the newest by number, an older one in place of a damaged one, and what comes after."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, Command
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from ganzoo import UserError, files
from ganzoo.runs import checkpoint
from ganzoo.runs.run import Run

EVERY = (
    "--set",
    "checkpoint_every=2",
    "--set",
    "sample_every=2",
    "--set",
    "log_every=1",
    "--set",
    "keep_checkpoints=9",
)
DIGITS = ("train", *TINY["digits"], *EVERY, "-q")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps with the checkpoints 2, 4 and 6."""
    from ganzoo.cli import main

    out = tmp_path_factory.mktemp("whole")
    main([*DIGITS, "--steps", "6", "--out", str(out)])
    return out / "0001-wgan_gp_conv-digits"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def steps(run: Path) -> list[int]:
    return list(checkpoint.steps(run / "checkpoints"))


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:06d}" / "networks.safetensors")


def assert_same(run: Path, whole: Path, step: int = 6) -> None:
    one, other = weights(run, step), weights(whole, step)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


# --- Order


def test_the_newest_by_number_are_kept_beyond_a_million_steps(tmp_path: Path) -> None:
    networks = {"generator": nn.Linear(1, 1)}
    for step in (999_998, 999_999, 1_000_000, 1_000_001):
        path = checkpoint.save(tmp_path, step, networks, networks, {}, keep=2)
        assert checkpoint.latest(tmp_path) == path
        assert checkpoint.load_state(path)[0] == step
    assert list(checkpoint.steps(tmp_path)) == [1_000_000, 1_000_001]


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 7, 30])
def test_as_many_are_kept_as_the_setting_says(tmp_path: Path, keep: int) -> None:
    networks = {"generator": nn.Linear(1, 1)}
    for step in range(1, 21):
        checkpoint.save(tmp_path, step, networks, networks, {}, keep=keep)
        assert list(checkpoint.steps(tmp_path)) == list(range(max(1, step - keep + 1), step + 1))


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"format": 1, "step": 4, "sha256": []}', '{"format": 1, "step": 4, "sha256": {}}']
)
def test_a_manifest_that_says_nothing_is_one_sentence(cli: Command, run: Path, text: str) -> None:
    newest = checkpoint.latest(run / "checkpoints")
    (newest / "checkpoint.json").write_text(text)
    refused = cli("train", "--resume", run, "--steps", "99")
    refused.refused(f"{newest} is damaged: ")
    assert "checkpoint.json has no" in refused.err or "is not what was written" in refused.err


def test_sheets_are_in_the_order_of_their_steps(run: Path) -> None:
    for step in (1_000_000, 999_999):
        shutil.copy(run / "samples" / "000002.png", run / "samples" / f"{step:06d}.png")
    assert [int(path.stem) for path in Run(run).grids()] == [0, 2, 4, 6, 999_999, 1_000_000]
    assert [path.name for path in Run(run).later(999_999)] == ["1000000.png"]


def test_every_global_generator_goes_on_where_it_was() -> None:
    def draw() -> tuple[float, float, float]:
        return torch.rand(1).item(), float(np.random.standard_normal()), random.gauss()

    draw()  # so that NumPy and Python keep the second number of a pair
    state = checkpoint.random_state()
    drawn = [draw() for _ in range(3)]
    checkpoint.restore_random_state(state)
    assert [draw() for _ in range(3)] == drawn


# --- A damaged one


def damage(run: Path, step: int) -> None:
    path = run / "checkpoints" / f"step-{step:06d}" / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def test_a_damaged_checkpoint_names_the_intact_ones(cli: Command, run: Path, whole: Path) -> None:
    damage(run, 6)
    sentence = (
        f"ganzoo: the checkpoint {run / 'checkpoints' / 'step-000006'} is damaged: ema.safetensors is not what was "
        f"written; the checkpoint of step 4 is intact (those of 2 too), go on from it with: "
        f"ganzoo train --resume {run} --from-step 4"
    )
    for command in (("train", "--resume", run), ("sample", run), ("export", run, "--onnx"), ("eval", run)):
        assert cli(*command).refused() == sentence
    assert cli(*sentence.partition(": ganzoo ")[2].split(), "-q").code == 0
    assert_same(run, whole)
    assert cli("sample", run, "-n", "1").code == 0


@pytest.mark.parametrize("text", ["step-000008\n", "../x\n", "", None])
def test_last_that_names_none_names_the_intact_ones(cli: Command, run: Path, whole: Path, text: str | None) -> None:
    pointer = run / "checkpoints" / "last"
    if text is None:
        pointer.unlink()
    else:
        pointer.write_text(text)
    for command in (("train", "--resume", run), ("sample", run)):
        cli(*command).refused(str(pointer), "the checkpoint of step 6 is intact (those of 2, 4 too)", "--from-step 6")
    assert cli("train", "--resume", run, "--from-step", "4", "-q").code == 0
    assert_same(run, whole)


def test_where_none_is_intact_none_is_named(cli: Command, run: Path) -> None:
    for step in (2, 4, 6):
        damage(run, step)
    sentence = cli("train", "--resume", run).refused("step-000006 is damaged")
    assert "--from-step" not in sentence
    cli("train", "--resume", run, "--from-step", "4").refused("step-000004 is damaged")


# --- Going back


def test_from_step_takes_what_is_there(cli: Command, run: Path) -> None:
    cli("train", "--resume", run, "--from-step", "3").refused("has no checkpoint of step 3; there is: 2, 4, 6")
    cli("train", "--resume", run, "--from-step", "6").refused("is trained to its last step, 6")
    cli("train", "--resume", run, "--from-step", "4", "--steps", "4").refused("is trained to its last step, 4")
    cli("train", *TINY["digits"], "--from-step", "4").refused("--from-step", "give --resume RUN too")
    cli("train", "--resume", run, "--from-step", "four").refused("'--from-step': it is a whole number")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_later_checkpoints_are_given_up_for_the_first_new_one(
    cli: Command, run: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "samples" / "000006-extra.png").write_bytes((run / "samples" / "000006.png").read_bytes())
    before = [row["step"] for row in Run(run).metrics()]
    arguments = ("train", "--resume", run, "--from-step", "2", "-q")
    # Nothing is given up before: here it cannot be written.
    monkeypatch.setattr("ganzoo.runs.checkpoint.save_file", full)
    every = ("--set", "checkpoint_every=5", "--set", "sample_every=5", "--set", "log_every=1")
    cli(*arguments, *every, "--steps", "5").refused("cannot write the checkpoint", "No space left on device")
    monkeypatch.undo()
    monkeypatch.chdir(run.parent)
    assert steps(run) == [2, 4, 6]
    assert [row["step"] for row in Run(run).metrics()] == before
    assert (run / "samples" / "000006.png").exists()
    assert cli("sample", run, "-n", "1").code == 0
    assert_same(run, whole)
    # Then everything is: those after the new one, and those between the old one and it.
    assert cli(*arguments, *every, "--steps", "5").code == 0
    assert steps(run) == [2, 5]
    assert (run / "checkpoints" / "last").read_text() == "step-000005\n"
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["000000.png", "000002.png", "000005.png"]
    assert [row["step"] for row in Run(run).metrics()] == [1, 2, 3, 4, 5]
    with Image.open(run / "progress.gif") as film:
        assert film.n_frames == 3
    assert "5 of 5 steps" in (run / "README.md").read_text()


def test_the_same_step_once_more(cli: Command, run: Path, whole: Path) -> None:
    assert cli("train", "--resume", run, "--from-step", "4", "-q").code == 0
    assert_same(run, whole)
    assert steps(run) == [2, 4, 6]
    assert not list(run.glob("checkpoints/.*"))


# --- Modes


@pytest.fixture(params=["022", "077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask = int(request.param, 8)
    before = os.umask(mask)
    yield mask
    os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_modes_are_what_the_umask_says(cli: Command, umask: int) -> None:
    assert cli(*DIGITS, "--steps", "2").code == 0
    with files.atomic_path("alone.safetensors") as temporary:
        save_file({"x": torch.zeros(1)}, temporary)
    for path in Path().rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path


# --- The end of a training


FINISHED = ("README.md", "losses.png", "progress.gif", "samples/000006.png")


@pytest.mark.parametrize("missing", [*([name] for name in FINISHED), FINISHED])
def test_what_a_killed_training_has_not_come_to_is_made_up_for(
    cli: Command, run: Path, whole: Path, missing: list[str]
) -> None:
    before = (run / "checkpoints" / "step-000006" / "checkpoint.json").stat().st_mtime_ns
    for name in missing:
        (run / name).unlink()
    assert cli("train", "--resume", run, "-q").code == 0
    for name in FINISHED:
        assert (run / name).read_bytes() == (whole / name).read_bytes().replace(b"0001-wgan_gp_conv-digits", b"run"), (
            name
        )
    assert (run / "checkpoints" / "step-000006" / "checkpoint.json").stat().st_mtime_ns == before
    cli("train", "--resume", run).refused("is trained to its last step, 6; give more with --steps")


def test_the_card_of_an_earlier_step_is_written_anew_and_anothers_is_not(cli: Command, run: Path) -> None:
    card = run / "README.md"
    text = card.read_text().replace("0001-wgan_gp_conv-digits", "run")
    card.write_text(text.replace("6 of 6 steps", "3 of 6 steps"))
    assert cli("train", "--resume", run, "-q").code == 0
    assert card.read_text() == text
    card.write_text("# Mine")
    cli("train", "--resume", run).refused("is trained to its last step, 6")
    assert card.read_text() == "# Mine"


def test_a_training_that_stopped_early_can_be_called_finished(cli: Command, run: Path) -> None:
    for path in (run / "samples" / "000006.png", run / "progress.gif", run / "README.md"):
        path.unlink()
    (run / "checkpoints" / "last").write_text("step-000004\n")
    (run / "samples" / "000004.png").unlink()
    assert cli("train", "--resume", run, "--steps", "4", "-q").code == 0
    assert (run / "samples" / "000004.png").exists()
    assert "4 of 4 steps" in (run / "README.md").read_text()


# --- Lines of metrics.jsonl


@pytest.mark.parametrize("torn", ['{"step": 9, "generat', "\x00\x00", '{"step": 9}x', "[" * 100_000])
def test_half_a_line_does_not_spoil_the_next(tmp_path: Path, torn: str) -> None:
    run = Run(tmp_path)
    run.log(1, {"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    run.log(2, {"loss": 2.0})
    run.log(3, {"loss": 3.0})
    assert [row["step"] for row in run.metrics()] == [1, 2, 3]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["loss"] == 3.0


def test_bytes_that_are_no_text_among_the_lines(cli: Command, run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\n")
    assert cli("train", "--resume", run, "--steps", "7", "-q").code == 0
    assert [row["step"] for row in Run(run).metrics()] == [1, 2, 3, 4, 5, 6, 7]


# --- What libraries raise


def test_whatever_a_library_raises_on_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    def chained() -> None:
        try:
            full()
        finally:
            raise RuntimeError("unexpected pos 704 vs 598")

    def rust() -> None:
        raise LookupError("Error while serializing: I/O error: No space left on device (os error 28)")

    for fail in (full, chained, rust):
        with (
            pytest.raises(UserError, match=r"cannot write .*x\.bin: No space left on device"),
            files.atomic_path(tmp_path / "x.bin"),
        ):
            fail()
    for error in (ValueError("a bug"), np.exceptions.AxisError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)), files.atomic_path(tmp_path / "x.bin"):
            raise error
    assert list(tmp_path.iterdir()) == []


# --- What TensorBoard shows


def test_tensorboard_shows_every_step_once(cli: Command, run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert cli("train", "--resume", run, "--from-step", "2", "-q").code == 0
    assert len(list((run / "tb").iterdir())) == 2
    events = EventAccumulator(str(run / "tb")).Reload()
    assert [each.step for each in events.Scalars("generator/loss")] == [1, 2, 3, 4, 5, 6]
    assert [each.step for each in events.Images("samples")] == [0, 2, 4, 6]
    losses = [row["generator/loss"] for row in Run(run).metrics()]
    assert [each.value for each in events.Scalars("generator/loss")] == pytest.approx(losses)
