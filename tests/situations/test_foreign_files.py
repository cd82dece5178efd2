"""Whatever a file holds that somebody else has made: it is read, or refused in one sentence. No crash, no hang."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import foreign
import numpy as np
import pytest
from conftest import TINY, Command

CI, MANY = 300, 50_000


@pytest.fixture(scope="module")
def templates(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact file of every kind; made in another process, since it trains a classifier."""
    folder = tmp_path_factory.mktemp("foreign") / "templates"
    folder.mkdir()
    code = "import sys, pathlib, foreign; foreign.make_templates(*map(pathlib.Path, sys.argv[1:]))"
    made = [sys.executable, "-c", code, str(folder), str(trained["digits"])]
    subprocess.run(made, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    return folder


def read(templates: Path, first: int, last: int) -> list[dict[str, object]]:
    """Return the cases that did harm."""
    command = [sys.executable, foreign.__file__, str(templates), str(first), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_damaged_files_of_every_kind(templates: Path) -> None:
    assert len(foreign.KINDS) < CI / 10
    assert read(templates, 0, CI) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("start", range(CI, CI + MANY, MANY // 20))
def test_many_damaged_files(start: int, templates: Path) -> None:
    assert read(templates, start, start + MANY // 20) == []


def test_harm_is_found(templates: Path, tmp_path: Path) -> None:
    """Readers that do what they must not: the fuzzer names each, and goes on after the process is gone."""
    code = """
import os, sys, pathlib, foreign
kinds = {
    "well": lambda case, rng: None,
    "crash": lambda case, rng: os.abort(),
    "trace": lambda case, rng: {}["key"],
    "memory": lambda case, rng: bytearray(2**31),
    "outside": lambda case, rng: pathlib.Path(sys.argv[1], "new").mkdir(),
}
armed = False
for name, reader in kinds.items():
    def read(case, rng, reader=reader):
        return armed and reader(case, rng)
    foreign.KINDS[name] = ("labels.csv", [foreign.damaged], read)
def arm(*arguments):
    global armed
    armed = True
    return some(*arguments)
some, foreign.some = foreign.some, arm
for harm in foreign.cases(range(10), pathlib.Path(sys.argv[2]), list(kinds)):
    print(harm["case"] % 5, harm["problem"].splitlines()[-1])
"""
    command = [sys.executable, "-c", code, str(tmp_path), str(templates)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    lines = done.stdout.splitlines()
    assert [line[0] for line in lines] == list("1234123" + "4")[: len(lines)], done.stdout
    assert "SIGABRT" in lines[0]
    assert "KeyError" in lines[1]
    assert "MemoryError" in lines[2]
    assert "os.mkdir" in lines[3]


# --- What is no file


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained["digits"], tmp_path / "run"))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # sparse: it takes no room


KINDS = [fifo, endless, folder, huge]
STEP = "checkpoints/step-000004"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("config.toml", ["sample", "run"]),
        ("checkpoints/last", ["sample", "run"]),
        (f"{STEP}/checkpoint.json", ["sample", "run"]),
        (f"{STEP}/state.pt", ["train", "--resume", "run", "--steps", "8"]),
        ("metrics.jsonl", ["compare", "run"]),
        ("eval.json", ["compare", "run"]),
        ("x.toml", ["train", "-p", "gan_fc", "--config", "run/x.toml"]),
        ("x.json", ["export", "run", "--onnx", "--directions", "run/x.json"]),
        ("x.json", ["edit", "run/generator.onnx", "--directions", "run/x.json", "--direction", "a=1"]),
        ("x.npz", ["interpolate", "run/generator.onnx", "--latent", "run/x.npz"]),
        ("x.csv", ["directions", "fit", "run/generator.onnx", "--labels", "run/x.csv"]),
        ("x.onnx", ["sample", "run/x.onnx"]),
    ],
)
def test_what_is_no_file_is_not_waited_for(
    cli: Command, run: Path, name: str, arguments: list[str], kind: Callable[[Path], None]
) -> None:
    if kind is huge and name in (f"{STEP}/state.pt", "x.onnx"):
        pytest.skip("they may be as large, and all of it is looked at")
    (run / name).unlink(missing_ok=True)
    kind(run / name)
    cli(*arguments).refused("run")


def test_the_caches_may_be_no_files(cli: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    for kind in KINDS:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        (tmp_path / "cache").mkdir()
        kind(tmp_path / "cache" / "batches.json")
        assert cli("sample", run / "generator.onnx", "-n", "2", "--out", "a.npz").code == 0


@pytest.mark.parametrize(
    ("option", "name"), [("--web", "page/index.html"), ("--triton", "page/wgan_gp_conv-digits/config.pbtxt")]
)
@pytest.mark.parametrize("kind", [fifo, endless])
def test_what_lies_where_a_page_or_repository_goes(
    cli: Command, run: Path, option: str, name: str, kind: Callable[[Path], None]
) -> None:
    Path(name).parent.mkdir(parents=True)
    kind(Path(name))
    outcome = cli("export", run, "--onnx", option, "page")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == f"ganzoo: cannot read {name}: it is not a regular file"


@pytest.mark.parametrize("kind", [fifo, folder, huge])
def test_sample_sheets_may_be_no_files(cli: Command, run: Path, kind: Callable[[Path], None]) -> None:
    kind(run / "samples" / "000001.png")
    (run / "samples" / "000002.png").write_bytes(b"no image")
    assert cli("train", "--resume", run, "--steps", "5", "-q").code == 0
    assert (run / "progress.gif").is_file()


# --- Numbers out of range


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.hidden=[9223372036854775808]", ["'model.hidden'", "at most 64 bits, not 9223372036854775808"]),
        ("model.hidden=[9223372036854775807]", ["the model 'gan_fc'", "cannot be made with its settings"]),
        ("model.hidden=[4611686018427387904]", ["cannot be made with its settings"]),
        ("model.latent_dim=4611686018427387904", ["cannot be made with its settings"]),
        ("model.pack=4611686018427387904", ["pack"]),
        ("steps=" + "9" * 10_000, ["'steps'", "not '9999"]),
        ("steps=" + "9" * 4_000, ["'steps'", "not 9999"]),
        ("batch_size=9223372036854775807", ["'batch_size'"]),
        ("threads=9223372036854775807", ["'threads'"]),
        ("workers=9223372036854775807", ["'workers'"]),
        ("metric.modes.samples=9223372036854775807", ["'metric.modes.samples'"]),
        ("model.optimizer.lr=inf", ["'model.optimizer.lr': a number is finite, not inf"]),
        ("model.optimizer.lr='inf'", ["'model.optimizer.lr': a number is finite, not inf"]),
        ("model.optimizer.betas=[0, nan]", ["'model.optimizer.betas': a number is finite"]),
        ("clip_grad=1e999", ["'clip_grad': a number is finite"]),
        ("data.sigma=-inf", ["'data.sigma': a number is finite"]),
    ],
)
def test_settings_out_of_range(cli: Command, setting: str, words: list[str]) -> None:
    cli("train", *TINY["gaussians"], "--set", setting).refused(*words)
    assert not Path("runs").exists()


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "9" * 30, "'1e30 GiB'", "'inf'"])
def test_memory_out_of_range(cli: Command, value: str) -> None:
    folder = ("--data", "folder", "--set", "data.path=.")
    cli("train", "-p", "wgan_gp_conv", *folder, "--set", f"data.memory={value}").refused("'data.memory'")


def test_the_failures_of_a_validator_are_the_plugins(cli: Command) -> None:
    from pydantic import BaseModel, field_validator

    from ganzoo.config.validation import validate
    from ganzoo.errors import UserError

    class Strange(BaseModel):
        size: int = 1

        @field_validator("size")
        @classmethod
        def _check(cls, value: int) -> int:
            return {1: value}[value]

    with pytest.raises(UserError, match="the settings of 'model' cannot be checked: KeyError: 2"):
        validate(Strange, "model", {"size": 2})


# --- Tables


def test_a_sample_far_off_takes_no_memory(cli: Command, run: Path) -> None:
    rows = [f"{number},0,{number % 2}" for number in range(12)]
    Path("far.csv").write_text("\n".join(["sample,seed,x", *rows, "9999999,0,1"]) + "\n")
    code = """
import resource, sys
from ganzoo.cli import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
main(["directions", "fit", "run/generator.onnx", "--labels", "far.csv"])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 400, done.stdout


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["10000000,0,1"], ["far.csv", "out of range in line 2"]),
        (["-1,0,1"], ["out of range in line 2"]),
        ([f"9999999,{seed},1" for seed in range(3)], ["more than 10,000,000 samples together"]),
        (["1,0,1", "x,0,1"], ["line 3 is none of them"]),
        (["9" * 5000 + ",0,1"], ["line 2 is none of them"]),
    ],
)
def test_tables_that_reach_too_far(cli: Command, run: Path, rows: list[str], words: list[str]) -> None:
    Path("far.csv").write_text("\n".join(["sample,seed,x", *rows]) + "\n")
    cli("directions", "fit", run / "generator.onnx", "--labels", "far.csv").refused(*words)


@pytest.mark.parametrize("number", [0x7FF0000000000001, 0x7FE0000000000000, 0x7FF0000000000000])
def test_latents_that_are_no_numbers(cli: Command, run: Path, number: int) -> None:
    """A signalling NaN, what float32 cannot hold, and infinity."""
    np.save("z.npy", np.full(4, number, np.uint64).view(np.float64))
    cli("interpolate", run / "generator.onnx", "--latent", "z.npy").refused("z.npy holds latents that are not finite")


def test_latents_by_their_numbers_are_those_of_the_samples(run: Path) -> None:
    import ganzoo

    for sampler in (ganzoo.load(run), ganzoo.load(run / "generator.onnx")):
        drawn = sampler.latents(300_001, 5, truncation=0.5)
        numbers = [300_000, 7, 0, 7, 262_144, 262_143]
        np.testing.assert_array_equal(sampler.latents(numbers, 5, truncation=0.5), drawn[numbers])
        for wrong in ([], [-1], [0, -3]):
            with pytest.raises(ValueError, match="at least"):
                sampler.latents(wrong)
