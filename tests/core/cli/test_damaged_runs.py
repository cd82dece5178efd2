"""A damaged run, a change that it does not allow, a full disk: one sentence, and what is there is left alone."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY, Command, tree

DIGITS = ("train", *TINY["digits"], "--steps", "4", "-q")


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a tiny run on the digits."""
    return Path(shutil.copytree(trained["digits"], tmp_path / "runs" / "0001-wgan_gp_conv-digits"))


def hostile(text: bytes) -> Callable[[Path], None]:
    return lambda checkpoints: checkpoints.joinpath("last").write_bytes(text)  # type: ignore[return-value]


def flipped(name: str) -> Callable[[Path], None]:
    def flip(checkpoints: Path) -> None:
        (path,) = checkpoints.glob(f"step-*/{name}")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return flip


def truncated(name: str) -> Callable[[Path], None]:
    def truncate(checkpoints: Path) -> None:
        (path,) = checkpoints.glob(f"step-*/{name}")
        path.write_bytes(path.read_bytes()[:-7])

    return truncate


def missing(name: str) -> Callable[[Path], None]:
    return lambda checkpoints: next(checkpoints.glob(f"step-*/{name}")).unlink()


def signed(name: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file and make the manifest say so: damage that no checksum shows."""

    def forge(checkpoints: Path) -> None:
        import hashlib

        (path,) = checkpoints.glob(f"step-*/{name}")
        path.write_bytes(content)
        manifest = json.loads((path.parent / "checkpoint.json").read_text())
        manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
        (path.parent / "checkpoint.json").write_text(json.dumps(manifest))

    return forge


FILES = ("networks.safetensors", "ema.safetensors", "state.pt", "checkpoint.json")


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(kind(name), id=f"{kind.__name__}-{name}") for name in FILES for kind in (truncated, missing)),
        *(pytest.param(flipped(name), id=f"flipped-{name}") for name in FILES[:3]),
        *(pytest.param(signed(name, b"garbage"), id=f"signed-{name}") for name in FILES[:3]),
        *(
            pytest.param(hostile(text), id=f"last-{index}")
            for index, text in enumerate(
                [b"", b"../../x", b"/etc", b"step-", b"step-..", b"step-000099", b"\xff\0\n", b"step-" + b"9" * 5000]
            )
        ),
        pytest.param(lambda checkpoints: checkpoints.joinpath("last").unlink(), id="last-missing"),
        pytest.param(lambda checkpoints: shutil.rmtree(checkpoints), id="no-checkpoints"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_left_alone(
    cli: Command, run: Path, damage: Callable[[Path], None]
) -> None:
    damage(run / "checkpoints")
    before = tree(run)
    where = str(run / "checkpoints") if (run / "checkpoints" / "last").exists() else str(run)
    cli("train", "--resume", run, "--steps", "8").refused(where)
    if not list(run.glob("checkpoints/step-*/state.pt")) or (run / "checkpoints" / "last").exists():
        sampled = cli("sample", run, "-n", "1")
        assert sampled.code in (0, 2)  # 0 where the damage is in what only training needs
        if sampled.code:
            sampled.refused(where)
    assert tree(run) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps = ", ["config.toml is not TOML"]),
        ("plugin = 'gone'", ["unknown model 'gone'"]),
        ("", ["name a model"]),
        ("plugin = 'wgan_gp_conv'", ["not the description of a data set"]),
        ("plugin = 'wgan_gp_conv'\ndata_spec = 3", ["not the description of a data set"]),
    ],
)
def test_a_damaged_config_is_refused(cli: Command, run: Path, text: str, words: list[str]) -> None:
    (run / "config.toml").write_text(text)
    cli("sample", run).refused(*words)


def test_a_cut_line_of_metrics_does_no_harm(cli: Command, run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('[1]\n{"no": "step"}\n{"step": 5, "discrim')
    assert cli("sample", run, "-n", "1").code == 0
    assert cli("train", "--resume", run, "--steps", "6", "-q").code == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]


# --- Going on


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["trained to its last step, 4; give more with --steps"]),
        (["--steps", "3"], ["trained to its last step, 4"]),
        (["--steps", "8", "-p", "gan_fc"], ["--plugin cannot change a run that is resumed"]),
        (["--steps", "8", "--data", "digits"], ["--data cannot change"]),
        (["--steps", "8", "--loss", "wgan"], ["--loss cannot change"]),
        (["--steps", "8", "--regularizer", "weight_clip"], ["--regularizer cannot change"]),
        (["--steps", "8", "--preset", "textbook"], ["--preset cannot change"]),
        (["--steps", "8", "--config", "x.toml"], ["--config cannot change"]),
        (["--steps", "8", "--seed", "0"], ["--seed cannot change"]),
        (["--steps", "8", "--out", "runs"], ["--out cannot change"]),
        (["--steps", "8", "--set", "seed=1"], ["'seed' cannot change"]),
        (["--steps", "8", "--set", "model.width=3"], ["'model.width' cannot change"]),
        (
            ["--steps", "8", "--set", "model.optimizer.name=sgd"],
            ["'model.optimizer.name' cannot change", "lr_schedule"],
        ),
        (["--steps", "8", "--set", "loss.name=wgan"], ["'loss.name' cannot change"]),
        (["--steps", "8", "--set", "regularizer.weight_clip.limit=3"], ["cannot change"]),
        (["--steps", "8", "--set", "data.name=mnist5k"], ["'data.name' cannot change"]),
        (["--steps", "8", "--set", "plugin=gan_fc"], ["cannot change"]),
        (["--steps", "8", "--set", "stpes=3"], ["did you mean 'steps'?"]),
    ],
)
def test_what_cannot_change_when_a_run_goes_on(cli: Command, run: Path, arguments: list[str], words: list[str]) -> None:
    before = tree(run)
    cli("train", "--resume", run, *arguments).refused(*words)
    assert tree(run) == before


def test_a_full_disk(trained: dict[str, Path], tmp_path: Path) -> None:
    """Files larger than a limit fail to be written, as on a full disk; the command says so and keeps what was there."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    (tmp_path / "old.npz").write_bytes(b"old")
    arguments = ["sample", str(trained["digits"] / "generator.onnx"), "-n", "200", "--out", "old.npz"]
    command = [sys.executable, "-m", "ganzoo", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ganzoo: cannot write old.npz: File too large\n"
    assert tree(tmp_path) == {"old.npz": b"old"}


def test_a_checkpoint_that_does_not_fit_on_the_disk_keeps_the_last_one(
    cli: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = {name: data for name, data in tree(run).items() if name.startswith("checkpoints")}
    monkeypatch.setattr("ganzoo.runs.checkpoint.save_file", full)
    cli("train", "--resume", run, "--steps", "8", "-q").sentence(
        "cannot write the checkpoint", "No space left on device"
    )
    monkeypatch.undo()
    after = {name: data for name, data in tree(run).items() if name.startswith("checkpoints")}
    assert {name: after.get(name) for name in before} == before
    monkeypatch.chdir(run.parent)
    assert cli("train", "--resume", run, "--steps", "8", "-q").code == 0


def test_too_little_memory(cli: Command) -> None:
    outcome = cli(*DIGITS, "--set", "model.latent_dim=99999999999999")
    outcome.refused("out of memory", "take a smaller wgan_gp_conv")


def test_a_system_error_is_a_sentence(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error", "some/file")

    monkeypatch.setattr("ganzoo.plugin.registry.load_registry", fail)
    outcome = cli("list")
    assert outcome.code == 1
    assert outcome.sentence() == "ganzoo: some/file: Input/output error"
