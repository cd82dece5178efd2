"""A disk that is full at any moment: one sentence, nothing half-written is left, and with space training goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from warm import Ended, Warm

from ganzoo.runs import checkpoint

KB = 1024
LEVELS = range(1024, 12 * 1024 + 1, 256)
"""Sizes of the disk, in kB."""

TRAIN = (
    *("train", "-p", "wgan_gp_conv", "--data", "digits", "--steps", "8", "--set", "threads=1", "-q"),
    *("--set", "model.width=10", "--set", "model.latent_dim=16", "--set", "batch_size=4"),
    *("--set", "log_every=1", "--set", "sample_every=2", "--set", "checkpoint_every=2"),
)
RUN = Path("0001-wgan_gp_conv-digits")

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Make the disk of so many kB and return where it is; or give one that is there another size."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(kilobytes: int) -> Path:
        mounted = place.is_mount()
        options = f"{'remount,' if mounted else ''}size={kilobytes}k"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a disk of one's own needs the right to mount one: {done.stderr.strip()}")
        return place

    try:
        yield sized
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    finally:
        if place.is_mount():
            subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="module")
def whole(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that had space enough."""
    folder = tmp_path_factory.mktemp("whole")
    assert warm(folder, *TRAIN, "--out", folder).code == 0
    return folder / RUN


def assert_tidy(folder: Path) -> None:
    """Assert that nothing half-written is left, and no lock."""
    left = [path for path in folder.rglob("*") if path.name.startswith(".") or path.name == "train.lock"]
    assert left == []


def refused(ended: Ended) -> str:
    return ended.refused("cannot write", ": No space left on device")


def train_on(warm: Warm, disk: Disk, whole: Path, level: int) -> int:
    """Train on a disk of so many kB; return the step of the last checkpoint that was on it."""
    place = disk(level)
    run = place / RUN
    ended = warm(place.parent, *TRAIN, "--out", "disk")
    if ended.code:
        refused(ended)
    assert_tidy(place)
    kept = (run / "checkpoints" / "last").exists()
    step = checkpoint.load_state(checkpoint.latest(run / "checkpoints"))[0] if kept else 0
    resume = ("train", "--resume", Path("disk") / RUN, "-q")
    if ended.code:  # while it is as full as before
        again = warm(place.parent, *resume)
        assert again.code in (0, 2), again
        assert not again.code or len(again.err.splitlines()) == 1, again
        assert_tidy(place)
    disk(64 * KB)
    ended = warm(place.parent, *resume)
    if not kept:
        ended.refused("has no complete checkpoint yet; start again with: ganzoo train --config disk/")
        return step
    if ended.code:
        ended.refused("is trained to its last step, 8")
    assert_tidy(place)
    assert checkpoint.latest(run / "checkpoints").name == "step-000008"
    for name in ("networks.safetensors", "ema.safetensors"):
        one, other = (each / "checkpoints" / "step-000008" / name for each in (run, whole))
        assert one.read_bytes() == other.read_bytes(), (level, name)
    names = {path.relative_to(run) for path in run.rglob("*") if path.parent.name != "tb"}
    assert names == {path.relative_to(whole) for path in whole.rglob("*") if path.parent.name != "tb"}
    return step


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("level", LEVELS)
def test_a_training_at_every_level(warm: Warm, disk: Disk, whole: Path, level: int) -> None:
    train_on(warm, disk, whole, level)


@pytest.mark.parametrize(("level", "last"), [(1024, range(1)), (5 * 1024, range(2, 8)), (LEVELS[-1], range(8, 9))])
def test_a_training_at_some_levels(warm: Warm, disk: Disk, whole: Path, level: int, last: range) -> None:
    assert train_on(warm, disk, whole, level) in last


OUTS = {
    "g.onnx": ("export", "{run}", "--onnx"),
    "s.png": ("sample", "{run}", "-n", 400),
    "s.npz": ("sample", "{run}", "-n", 400),
    "s.npy": ("sample", "{run}", "-n", 400),
    "s.parquet": ("sample", "{run}", "-n", 400),
    "s.tar": ("sample", "{run}", "-n", 400),
    "folder": ("sample", "{run}", "-n", 400),
    "walk.gif": ("interpolate", "{run}", "--steps", 9),
    "walk.mp4": ("interpolate", "{run}", "--steps", 9),
}
ALIKE = ("s.npy", "walk.gif", "walk.mp4")
"""Of those, what is written as others are."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ()) for name in OUTS])
def test_what_is_drawn_or_exported_to_a_full_disk(warm: Warm, disk: Disk, whole: Path, name: str) -> None:
    place = disk(64)
    (place / "fill").write_bytes(bytes(44 * KB))
    command = [str(each).format(run=whole) for each in OUTS[name]]
    if name != "folder":
        (place / name).write_bytes(b"old")
    refused(warm(place.parent, *command, "--out", Path("disk") / name))
    if name != "folder":
        assert (place / name).read_bytes() == b"old"
        assert {path.name for path in place.iterdir()} == {"fill", name}
    assert_tidy(place)
    disk(64 * KB)
    assert warm(place.parent, *command, "--out", Path("disk") / name).code == 0
    assert_tidy(place)


@pytest.mark.parametrize("name", ["new/folder", "new/s.png"])
def test_a_full_disk_gets_no_empty_folder(warm: Warm, disk: Disk, whole: Path, name: str) -> None:
    place = disk(64)
    (place / "fill").write_bytes(bytes(44 * KB))
    refused(warm(place.parent, "sample", whole, "-n", 400, "--out", Path("disk") / name))
    assert [path.name for path in place.rglob("*") if path.name != "new"] == ["fill"]


def test_a_run_that_cannot_begin_leaves_no_folder(warm: Warm, disk: Disk) -> None:
    place = disk(64)
    (place / "fill").write_bytes(bytes(64 * KB))
    refused(warm(place.parent, *TRAIN, "--out", "disk"))
    assert [path.name for path in place.iterdir()] == ["fill"]
