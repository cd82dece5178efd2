"""One process trains in a run folder, whatever others try; those that read it are not kept waiting."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, Command, tree
from warm import Warm

from ganzoo import UserError, files
from ganzoo.files.locks import Lock, held
from ganzoo.runs import naming
from ganzoo.runs.run import Run

RUN = Path("runs/0001-gan_fc-digits")
LONG = (
    *("train", "-p", "gan_fc", "--data", "digits", "--set", "model.hidden=[4]", "--set", "batch_size=4", "-q"),
    *("--set", "log_every=1", "--set", "sample_every=1000000", "--set", "checkpoint_every=10", "--steps", "1000000"),
)
SHORT = ("train", *TINY["digits"], "--steps", "2", "-q")


def within(seconds: float, path: Path) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a tiny run."""
    return Path(shutil.copytree(trained["digits"], tmp_path / "run"))


def test_a_run_that_is_being_trained(warm: Warm, cli: Command, tmp_path: Path) -> None:
    process = warm.start(tmp_path, *LONG)
    within(60, RUN / "checkpoints" / "last")
    owner = f"is being trained by process {process} on {socket.gethostname()} since 2"
    for also in ([], ["--from-step", "10"], ["--dry-run"]):
        cli("train", "--resume", RUN, "--steps", "2000000", *also).refused(f"{RUN} {owner}", "wait until it has ended")
    with pytest.raises(UserError, match="is being trained"), Run.open(RUN).locked():
        pass
    assert cli("sample", RUN, "-n", "1").code == 0
    assert cli("export", RUN, "--onnx").code == 0
    # The system gives the lock back, whatever happens to its owner; the file that is left is nobody's.
    os.kill(process, signal.SIGKILL)
    assert warm.wait(process).code == -signal.SIGKILL
    assert (RUN / "train.lock").exists()
    with Run.open(RUN).locked():
        assert f"process {os.getpid()} " in (RUN / "train.lock").read_text()
    assert not (RUN / "train.lock").exists()


def test_data_workers_that_outlive_their_parent_hold_no_lock(warm: Warm, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    for index in range(4):
        Image.new("L", (8, 8), 50 * index).save(tmp_path / "images" / f"{index}.png")
    workers = ("--data", "folder", "--set", "data.path=images", "--set", "data.memory=0", "--set", "workers=1")
    process = warm.start(tmp_path, *LONG[:3], *workers, *LONG[5:])
    run = tmp_path / "runs" / "0001-gan_fc-folder"
    within(60, run / "checkpoints" / "last")
    os.kill(process, signal.SIGKILL)
    warm.wait(process)
    os.killpg(process, 0)  # the worker, which finds out within seconds
    with Run.open(run).locked():
        pass


def test_of_many_that_resume_one_trains(warm: Warm, run: Path) -> None:
    started = [warm.start(run.parent, "train", "--resume", "run", "--steps", "200", "-q") for _ in range(3)]
    ended = [warm.wait(each) for each in started]
    refused = [each for each in ended if each.code == 2]
    assert [each.code for each in ended].count(0) >= 1, ended
    for each in refused:
        each.refused("run is ")  # being trained; or trained to its last step, for one that came late
    steps = [row["step"] for row in Run(run).metrics()]
    assert steps == sorted(set(steps))
    assert not (run / "train.lock").exists()


def test_a_new_run_is_locked_from_its_first_moment(
    cli: Command, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganzoo.plugin.registry import load_registry

    made = Run(trained["digits"])
    run = Run.create(Path("runs"), made.config(load_registry()), made.data_spec())
    with pytest.raises(UserError, match="is being trained"), Run.open(run.path).locked():
        pass
    with run.locked():
        pass
    with Run.open(run.path).locked():
        pass


TURNS = """
import os, sys, time
from pathlib import Path
from ganzoo.files.locks import Lock

for _ in range(300):
    lock = Lock(Path("lock"))
    while lock.acquire() is not None:
        pass
    os.close(os.open("mine", os.O_CREAT | os.O_EXCL))  # it fails where another is at it
    time.sleep(0.0001)
    os.unlink("mine")
    lock.release()
"""


def test_a_lock_that_is_taken_by_turns_is_never_that_of_two(tmp_path: Path) -> None:
    """Each deletes the file when it is done, while others have opened it already and wait for it."""
    command = [sys.executable, "-c", TURNS]
    started = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(30)
def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "lock").symlink_to("target")
    with pytest.raises(UserError, match=r"cannot write .*lock"):
        Lock(tmp_path / "lock").acquire()
    assert (tmp_path / "target").read_text() == "mine"


def test_a_checkpoint_that_is_deleted_while_it_is_read(warm: Warm, cli: Command, tmp_path: Path) -> None:
    from ganzoo.plugin.registry import load_registry

    registry = load_registry()
    often = ("--set", "checkpoint_every=1", "--set", "keep_checkpoints=1")
    process = warm.start(tmp_path, *LONG, *often)
    within(60, RUN / "checkpoints" / "last")
    seen = set()
    deadline = time.monotonic() + 120
    while len(seen) < 4:
        assert time.monotonic() < deadline
        networks = Run.open(RUN).load_all(registry)
        seen |= {metadata["training"]["step"] for _, metadata in networks.values()}
    os.kill(process, signal.SIGKILL)
    warm.wait(process)


def test_a_number_that_another_process_takes_first(
    cli: Command, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganzoo.plugin.registry import load_registry

    made = Run(trained["digits"])
    config = made.config(load_registry())

    def taken(root: Path) -> int:
        number = naming.next_number(root)
        if number < 3:
            (root / f"{number:04d}-{config.name}").mkdir()
        return number

    monkeypatch.setattr("ganzoo.runs.run.next_number", taken)
    assert Run.create(Path("runs"), config, made.data_spec()).path.name == f"0003-{config.name}"


@pytest.mark.parametrize("link", [False, True])
def test_a_number_that_something_else_has(cli: Command, link: bool) -> None:
    """As a link to a disk that is not mounted; it once was tried again for ever."""
    Path("runs").mkdir()
    if link:
        Path("runs/0001-gan_fc-digits").symlink_to("/nonexistent/run")
    else:
        Path("runs/0001-gan_fc-digits").write_text("")
    assert cli("train", "--plugin", "gan_fc", "--data", "digits", "--steps", "1", "-q").code == 0
    assert Path("runs/0002-gan_fc-digits/config.toml").is_file()


def test_a_file_system_without_locks(cli: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def without(handle: int, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", without)
    assert cli("train", "--resume", run, "--steps", "6", "-q").code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(cli: Command, run: Path) -> None:
    run.chmod(0o500)
    cli("train", "--resume", run, "--steps", "6").refused("cannot write", "train.lock", "Permission denied")
    run.chmod(0o700)


# --- What a killed process has left


LEFT = (
    *("checkpoints/.step-000002.tmp/state.pt", "checkpoints/.step-000002.ganzoo-0a1b2c3d/state.pt"),
    *("checkpoints/.last.k3jd8s_x", "checkpoints/.last.ganzoo-0a1b2c3d", ".metrics.jsonl.ganzoo-00000000.jsonl"),
    *("samples/.000004.png.ab3d_f7h.png", "samples/.000004-b_to_a.png.ganzoo-12345678.png"),
    *(".generator.onnx.ganzoo-ffffffff.onnx", ".config.toml.ganzoo-01234567.toml"),
)
OTHERS = (
    *(".gitignore", ".notes.original", "notes.ganzoo-01234567.md", ".git/config", "samples/.hidden.png", "my.tmp"),
    *("checkpoints/.keep", "checkpoints/step-mine/state.pt", "checkpoints/step-000004.bak"),
)


def test_leftovers_are_removed_and_nothing_else_is(cli: Command, run: Path) -> None:
    for name in (*LEFT, *OTHERS):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("half")
    writing = run / ".eval.json.ganzoo-76543210.json"
    writing.write_text("another process is at it")
    assert cli("sample", run, "-n", "1").code == 0
    assert all((run / name).exists() for name in LEFT)
    with held(writing):
        assert cli("train", "--resume", run, "--steps", "6", "-q").code == 0
    assert [name for name in LEFT if (run / name).exists() or (run / name).parent.name.startswith(".step")] == [
        name for name in LEFT if (run / name).parent.name.startswith(".step")
    ]
    assert not list(run.glob("checkpoints/.step*"))
    assert all((run / name).exists() for name in OTHERS)
    assert writing.exists()
    with Run.open(run).locked():
        assert not writing.exists()


# --- Where links lead


LINKED = ("checkpoints", "samples", "tb", "metrics.jsonl", "config.toml", "README.md", "train.lock", "progress.gif")


@pytest.mark.parametrize("name", [*LINKED, "checkpoints/last", "checkpoints/step-000004", "samples/000004.png"])
def test_a_link_in_a_run_is_not_followed(cli: Command, run: Path, name: str) -> None:
    outside = run.parent / "outside"
    outside.mkdir()
    if (run / name).exists():
        shutil.move(run / name, outside / "target")
    else:
        (outside / "target").write_text("mine")
    (run / name).symlink_to(outside / "target")
    before = tree(outside)
    cli("train", "--resume", run, "--steps", "6").refused(f"{run / name} is a symbolic link")
    assert tree(outside) == before
    assert (run / name).is_symlink()


def test_a_link_to_a_run_is_followed(cli: Command, run: Path) -> None:
    Path("newest").symlink_to(run)
    assert cli("train", "--resume", "newest", "--steps", "6", "-q").code == 0


def test_what_is_written_into_a_run_besides_replaces_links(cli: Command, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "outside"
    target.write_text("mine")
    for name in ("generator.onnx", "eval.json"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(target)
    assert cli("export", run, "--onnx").code == 0
    files.write_atomic(run / "eval.json", "{}")
    assert target.read_text() == "mine"
    assert not (run / "generator.onnx").is_symlink()
